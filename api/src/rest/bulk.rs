//! `/a/tree/stats` and `/a/meta/bulk/get`: many nodes, listings and versions in one answer.
//!
//! A path stands for its node, `p/*` for what lies in the folder `p`. The first pages are read before the answer begins, so that failures have their status;
//! more pages are streamed, and a failure in between cuts the connection: a listing never ends short in silence.

use std::collections::VecDeque;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use skep_raft::wire::meta::v1::{Entry, EntryKind};

use super::messages::{BulkRequest, BulkResponse, Pagination, RestError, TreeNode};
use super::node::{NodeFolder, root_node, version_node, workspace_node};
use super::tree::{is_writable, stat_node};
use super::wire::{RestRequest, RestResult, answer};
use crate::app::{App, Caller};
use crate::auth::rights::ReadTree;
use crate::error_code::{ErrorCode, Failure};
use crate::limits;
use crate::ports::BodyError;
use crate::service::listing::{FolderReader, ListRequest};
use crate::service::metadata::VisibleNotes;
use crate::service::tree::is_folder;
use crate::service::user_path::UserPath;

/// A file's node as JSON is about so long.
const NODE_BYTES_USUAL: usize = 1_024;

/// What one sent path asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    Node(UserPath),
    Members(UserPath),
}

impl std::str::FromStr for Asked {
    type Err = Failure;

    fn from_str(sent: &str) -> Result<Self, Failure> {
        match sent.strip_suffix('*') {
            Some(folder) if folder.is_empty() || folder.ends_with('/') => Ok(Self::Members(folder.parse()?)),
            _ => Ok(Self::Node(sent.parse()?)),
        }
    }
}

/// An order other than by names ascending, which needs all members at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Order {
    by: OrderBy,
    descending: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OrderBy {
    Name,
    Natural,
    Time,
    Size,
    Kind,
}

/// Nodes, listings and versions.
#[utoipa::path(
    post, path = "/a/tree/stats", tag = "tree", request_body = BulkRequest,
    responses((status = 200, body = BulkResponse), (status = 404, body = RestError))
)]
pub(crate) async fn bulk(State(_app): State<App>, request: RestRequest) -> RestResult {
    let message: BulkRequest = request.json()?;
    let caller = request.caller().await?;
    if message.node_paths.is_empty() || message.node_paths.len() > limits::PATHS_PER_REQUEST {
        let why = format!("NodePaths: name 1 to {} paths", limits::PATHS_PER_REQUEST);
        return Err(Failure::new(ErrorCode::BadRequest, why).into());
    }
    let page = Page::of(&message)?;
    let asked = message.node_paths.iter().map(|sent| sent.parse()).collect::<Result<Vec<Asked>, Failure>>()?;
    let mut gathered = Gathered::of(&caller);
    for one in &asked {
        match one {
            Asked::Node(path) if message.versions => gathered.versions(&caller, path, &page).await?,
            Asked::Node(path) => gathered.node(&caller, path, &page, asked.len() > 1).await?,
            Asked::Members(path) if path.slug().is_none() => gathered.workspaces(&caller, &page)?,
            Asked::Members(path) => gathered.members(&caller, path, &page).await?,
        }
    }
    gathered.check()?;
    gathered.answer(&page).await.map_err(Into::into)
}

/// Which members are wanted.
#[derive(Clone, Debug)]
struct Page {
    offset: u64,
    limit: u64,
    kind: Option<EntryKind>,
    order: Option<Order>,
    with_meta: bool,
    /// The instant asked about; empty: now.
    at: String,
}

impl Page {
    fn of(message: &BulkRequest) -> Result<Self, Failure> {
        let bad = |field: &str, why: &str| Failure::new(ErrorCode::BadRequest, format!("{field}: {why}"));
        let kind = match message.filters.get("type").map(String::as_str) {
            None | Some("") => None,
            Some("LEAF") => Some(EntryKind::File),
            Some("COLLECTION") => Some(EntryKind::Folder),
            Some(_) => return Err(bad("Filters", "type is LEAF or COLLECTION")),
        };
        let by = match message.sort_field.as_str() {
            "" | "name" => OrderBy::Name,
            "natural" => OrderBy::Natural,
            "mtime" => OrderBy::Time,
            "size" => OrderBy::Size,
            "type" => OrderBy::Kind,
            _ => return Err(bad("SortField", "the order is by name, natural, mtime, size or type")),
        };
        let order = Order { by, descending: message.sort_dir_desc };
        Ok(Self {
            offset: u64::try_from(message.offset).map_err(|_negative| bad("Offset", "it cannot be negative"))?,
            limit: u64::try_from(message.limit).map_err(|_negative| bad("Limit", "it cannot be negative"))?,
            kind,
            order: (order != Order { by: OrderBy::Name, descending: false }).then_some(order),
            with_meta: message.all_meta_providers,
            at: message.at.clone(),
        })
    }

    /// The part of all members that is wanted.
    fn cut<T>(&self, all: Vec<T>) -> Vec<T> {
        let skip = usize::try_from(self.offset).unwrap_or(usize::MAX);
        let take = if self.limit == 0 { usize::MAX } else { usize::try_from(self.limit).unwrap_or(usize::MAX) };
        all.into_iter().skip(skip).take(take).collect()
    }
}

/// What has been read for an answer.
#[derive(Debug)]
struct Gathered {
    visible: VisibleNotes,
    nodes: Vec<TreeNode>,
    readers: VecDeque<Reader>,
    total: u64,
    listed: bool,
    missing: Vec<Failure>,
}

/// A folder whose members are still coming.
#[derive(Debug)]
struct Reader {
    folder: FolderReader,
    nodes: NodeFolder,
}

impl Gathered {
    fn of(caller: &Caller) -> Self {
        let visible = caller.visible_notes();
        Self { visible, nodes: Vec::new(), readers: VecDeque::new(), total: 0, listed: false, missing: Vec::new() }
    }

    async fn node(&mut self, caller: &Caller, path: &UserPath, page: &Page, others: bool) -> Result<(), Failure> {
        if path.slug().is_none() {
            self.nodes.push(root_node());
            return Ok(());
        }
        match stat_node(caller, path, (page.with_meta, &page.at)).await {
            Ok(node) => self.nodes.push(node),
            // Of many paths those that are not there are left out; if none is there, that is said.
            Err(failure) if failure.code == ErrorCode::NotFound && others => self.missing.push(failure),
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    fn workspaces(&mut self, caller: &Caller, page: &Page) -> Result<(), Failure> {
        let all = caller.service().workspaces_of(caller.own()?, caller.view())?;
        self.count(all.len());
        let all = if page.kind == Some(EntryKind::File) { Vec::new() } else { all };
        self.nodes.extend(page.cut(all).iter().map(workspace_node));
        Ok(())
    }

    async fn members(&mut self, caller: &Caller, path: &UserPath, page: &Page) -> Result<(), Failure> {
        let proof = caller.at_instant::<ReadTree>(path, &page.at)?;
        let writable = is_writable(caller, proof.subject());
        let sorted = page.order;
        let request = ListRequest {
            skip: if sorted.is_some() { 0 } else { u32::try_from(page.offset).unwrap_or(u32::MAX) },
            limit: if sorted.is_some() || page.limit == 0 { None } else { Some(u32::try_from(page.limit).unwrap_or(u32::MAX)) },
            kind: page.kind,
            with_meta: page.with_meta,
            count_total: true,
        };
        let mut folder = caller.service().open_folder(proof, request, caller.context()).await?;
        let nodes = NodeFolder::of(folder.place(), writable);
        self.count(usize::try_from(folder.total).unwrap_or(usize::MAX));
        match sorted {
            None => self.readers.push_back(Reader { folder, nodes }),
            Some(order) => {
                let mut all = folder.rest(limits::SORTED_ENTRIES).await?;
                all.sort_by(|a, b| order.compare(a, b));
                for mut entry in page.cut(all) {
                    self.visible.only(&mut entry)?;
                    self.nodes.push(nodes.member(&entry)?);
                }
            }
        }
        Ok(())
    }

    async fn versions(&mut self, caller: &Caller, path: &UserPath, page: &Page) -> Result<(), Failure> {
        let mut all = Vec::new();
        let mut before = 0;
        loop {
            let proof = caller.at_instant::<ReadTree>(path, &page.at)?;
            let place = proof.subject().clone();
            let writable = is_writable(caller, &place);
            let versions = caller.service().versions(proof, before, &caller.context().continued()).await?;
            let entry = versions.entry.unwrap_or_default();
            before = versions.versions.last().map_or(0, |version| version.number);
            all.extend(versions.versions.iter().map(|version| version_node(&entry, version, &place, writable)));
            if !versions.more || before == 0 || all.len() >= limits::SORTED_ENTRIES {
                break;
            }
        }
        self.count(all.len());
        self.nodes.extend(page.cut(all));
        Ok(())
    }

    fn count(&mut self, total: usize) {
        self.total = self.total.max(u64::try_from(total).unwrap_or(u64::MAX));
        self.listed = true;
    }

    fn check(&mut self) -> Result<(), Failure> {
        if self.nodes.is_empty() && !self.listed {
            return Err(self.missing.pop().unwrap_or_else(|| Failure::not_found("NodePaths")));
        }
        Ok(())
    }

    async fn answer(mut self, page: &Page) -> Result<Response, Failure> {
        let total = if self.listed { self.total } else { u64::try_from(self.nodes.len()).unwrap_or(u64::MAX) };
        let pagination = Pagination::of(page.limit, page.offset, total);
        if self.readers.is_empty() {
            return Ok(answer(BulkResponse { nodes: self.nodes, pagination }));
        }
        let first = self.next().await?;
        let tail = serde_json::to_string(&pagination).map_err(|_no_form| internal())?;
        let head = Bytes::from([&br#"{"Nodes":["#[..], &joined(&first)?].concat());
        let written = !first.is_empty();
        let open = Streaming { gathered: self, written, tail: Some(format!("],\"Pagination\":{tail}}}")) };
        let rest = stream::try_unfold(open, Streaming::next);
        let whole = futures_util::StreamExt::chain(stream::iter([Ok::<Bytes, BodyError>(head)]), rest);
        let headers = [(CONTENT_TYPE, HeaderValue::from_static("application/json")), (CACHE_CONTROL, HeaderValue::from_static("no-store"))];
        Ok((headers, Body::from_stream(whole)).into_response())
    }

    /// What was gathered at once, then page after page; nothing at the end.
    async fn next(&mut self) -> Result<Vec<TreeNode>, Failure> {
        let mut nodes = std::mem::take(&mut self.nodes);
        while let Some(reader) = self.readers.front_mut() {
            match reader.folder.next_page().await? {
                Some(mut entries) => {
                    for entry in &mut entries {
                        self.visible.only(entry)?;
                        nodes.push(reader.nodes.member(entry)?);
                    }
                    if !nodes.is_empty() {
                        break;
                    }
                }
                None => {
                    self.readers.pop_front();
                }
            }
        }
        Ok(nodes)
    }
}

struct Streaming {
    gathered: Gathered,
    written: bool,
    tail: Option<String>,
}

impl Streaming {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, BodyError> {
        let nodes = self.gathered.next().await.and_then(|nodes| Ok((joined(&nodes)?, nodes.len())));
        let (text, count) = nodes.map_err(|failure| {
            super::wire::log(&failure);
            BodyError::Broken(failure.to_string())
        })?;
        if count > 0 {
            let text = if self.written { [&b","[..], &text].concat() } else { text };
            self.written = true;
            return Ok(Some((Bytes::from(text), self)));
        }
        Ok(self.tail.take().map(|tail| (Bytes::from(tail), self)))
    }
}

/// Nodes as JSON with commas between them.
fn joined(nodes: &[TreeNode]) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::with_capacity(nodes.len() * NODE_BYTES_USUAL);
    for (number, node) in nodes.iter().enumerate() {
        if number > 0 {
            text.push(b',');
        }
        serde_json::to_writer(&mut text, node).map_err(|_no_form| internal())?;
    }
    Ok(text)
}

fn internal() -> Failure {
    Failure::new(ErrorCode::Internal, "the answer could not be written as JSON")
}

impl Order {
    fn compare(self, a: &Entry, b: &Entry) -> std::cmp::Ordering {
        let natural = |entry: &Entry| entry.name.to_lowercase();
        let ordering = match self.by {
            OrderBy::Name => std::cmp::Ordering::Equal,
            OrderBy::Natural => natural(a).cmp(&natural(b)),
            OrderBy::Time => a.mtime.cmp(&b.mtime),
            OrderBy::Size => a.size.cmp(&b.size),
            OrderBy::Kind => is_folder(b).cmp(&is_folder(a)),
        };
        let ordering = ordering.then_with(|| a.name.cmp(&b.name));
        if self.descending { ordering.reverse() } else { ordering }
    }
}

#[cfg(test)]
mod tests {
    use skep_raft::wire::meta::v1::{Entry, EntryKind};

    use super::{Asked, Order, OrderBy, Page};
    use crate::rest::messages::BulkRequest;

    #[test]
    fn a_star_at_the_end_asks_for_members() {
        let asked = |text: &str| text.parse::<Asked>().expect("a path");
        assert_eq!(asked("a/b"), Asked::Node("a/b".parse().expect("a path")));
        assert_eq!(asked("a/b/*"), Asked::Members("a/b".parse().expect("a path")));
        for root in ["*", "/*"] {
            assert_eq!(asked(root), Asked::Members("".parse().expect("a path")));
        }
        assert_eq!(asked("a/b*"), Asked::Node("a/b*".parse().expect("a path")));
        assert_eq!(asked(""), Asked::Node("".parse().expect("a path")));
    }

    #[test]
    fn pages_are_cut_and_bad_fields_named() {
        let page = |offset, limit| Page::of(&BulkRequest { offset, limit, ..BulkRequest::default() });
        let cut = |offset, limit| page(offset, limit).expect("a page").cut((0..5).collect::<Vec<_>>());
        assert_eq!(cut(0, 2), [0, 1]);
        assert_eq!(cut(4, 2), [4]);
        assert!(cut(5, 2).is_empty());
        assert_eq!(cut(3, 0), [3, 4]);
        assert!(page(-1, 0).expect_err("refused").detail.starts_with("Offset"));
        let sorted = Page::of(&BulkRequest { sort_field: "colour".to_owned(), ..BulkRequest::default() });
        assert!(sorted.expect_err("refused").detail.starts_with("SortField"));
    }

    #[test]
    fn orders_are_total_and_reversible() {
        let entry = |name: &str, size, kind: EntryKind| Entry { name: name.to_owned(), size, kind: kind.into(), ..Entry::default() };
        let mut all = vec![entry("b", 1, EntryKind::File), entry("a", 1, EntryKind::Folder), entry("C", 9, EntryKind::File)];
        let names = |all: &[Entry]| all.iter().map(|entry| entry.name.clone()).collect::<String>();
        all.sort_by(|a, b| Order { by: OrderBy::Size, descending: true }.compare(a, b));
        assert_eq!(names(&all), "Cba");
        all.sort_by(|a, b| Order { by: OrderBy::Natural, descending: false }.compare(a, b));
        assert_eq!(names(&all), "abC");
        all.sort_by(|a, b| Order { by: OrderBy::Kind, descending: false }.compare(a, b));
        assert_eq!(names(&all), "aCb");
    }
}
