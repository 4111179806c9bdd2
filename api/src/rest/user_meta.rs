//! `/a/user-meta` and `/a/meta`: what people and programs note at nodes: values, bookmarks, locks; and finding them.
//!
//! Invariant: the values of one request are noted all or none; locks, which are commands of their own, are taken and given back before them.

use axum::extract::{Path, State};
use skep_placement::ids::EntryId;
use skep_raft::state::namespace::BOOKMARK;
use skep_raft::wire::meta::v1::{Entry, EntryMeta};

use super::messages::{
    BookmarksRequest, BulkResponse, MetaNamesRequest, MetaValuesRequest, Pagination, RestError, SearchUserMetaRequest, TreeNode,
    UpdateUserMetaRequest, UpdateUserMetaResponse, UserMetaCollection, UserMetaMessage,
};
use super::node::entry_node;
use super::tree::is_writable;
use super::wire::{RestRequest, RestResult, answer};
use crate::app::{App, Caller};
use crate::auth::rights::{ReadNamespace, ReadTree, WriteNamespace, WriteTree};
use crate::error_code::{ErrorCode, Failure};
use crate::limits;
use crate::service::batch::Step;
use crate::service::by_id::{place_of_text, readable_roots};
use crate::service::metadata::{Noted, each_once};
use crate::service::place::Place;
use crate::service::tree::StatRequest;
use crate::service::user_path::UserPath;

/// A value that is to be noted.
struct Change {
    place: Place,
    namespace: String,
    /// Empty: taken away.
    json: String,
}

/// Notes values at nodes of one datasource, or takes them away, all or none. Under `content_lock` the caller's lock is taken or given back.
#[utoipa::path(
    put, path = "/a/user-meta/update", tag = "user-meta", request_body = UpdateUserMetaRequest,
    responses((status = 200, body = UpdateUserMetaResponse), (status = 403, body = RestError), (status = 423, body = RestError))
)]
pub(crate) async fn update(State(_app): State<App>, request: RestRequest) -> RestResult {
    let message: UpdateUserMetaRequest = request.json()?;
    let caller = request.caller().await?;
    check_count("MetaDatas", message.meta_datas.len())?;
    let clears = match message.operation.as_str() {
        "" | "PUT" => false,
        "DELETE" => true,
        other => return Err(Failure::new(ErrorCode::BadRequest, format!("Operation: {other:?} is neither PUT nor DELETE")).into()),
    };
    let mut changes = Vec::with_capacity(message.meta_datas.len());
    let mut meta_datas = Vec::with_capacity(message.meta_datas.len());
    for (number, sent) in message.meta_datas.into_iter().enumerate() {
        let place = place_of_text(&caller.continued(), &sent.node_uuid).await;
        let place = place.map_err(|failure| failure.at(&format!("MetaDatas[{number}]")))?;
        let json = if clears { String::new() } else { value_of(&sent.json_value) };
        meta_datas.push(UserMetaMessage {
            uuid: uuid_of(&sent.node_uuid, &sent.namespace),
            node_uuid: sent.node_uuid,
            namespace: sent.namespace.clone(),
            json_value: json.clone(),
            ..UserMetaMessage::default()
        });
        changes.push(Change { place, namespace: sent.namespace, json });
    }
    apply(&caller, changes).await?;
    Ok(answer(UpdateUserMetaResponse { meta_datas }))
}

/// Finds values: of nodes that are named, or of a searchable namespace in all workspaces of the caller, also by one exact value. Values noted before their
/// namespace was Indexable are not found.
#[utoipa::path(
    post, path = "/a/user-meta/search", tag = "user-meta", request_body = SearchUserMetaRequest,
    responses((status = 200, body = UserMetaCollection), (status = 400, body = RestError))
)]
pub(crate) async fn search(State(_app): State<App>, request: RestRequest) -> RestResult {
    let message: SearchUserMetaRequest = request.json()?;
    let caller = request.caller().await?;
    let owner = message.resource_subject_owner.as_str();
    if !owner.is_empty() && owner != caller.login() && owner != caller.user().to_string() {
        let why = "ResourceSubjectOwner: this server finds values by their nodes and namespaces, and bookmarks of the caller alone";
        return Err(Failure::new(ErrorCode::Unsupported, why).into());
    }
    let mut asked: Vec<(String, String)> = message.node_uuids.iter().map(|uuid| (uuid.clone(), message.namespace.clone())).collect();
    for uuid in &message.meta_uuids {
        asked.push(parts_of(uuid)?);
    }
    let found = if !asked.is_empty() {
        check_count("NodeUuids and MetaUuids", asked.len())?;
        of_nodes(&caller, asked).await?
    } else if message.namespace.is_empty() {
        return Err(Failure::new(ErrorCode::BadRequest, "name NodeUuids, MetaUuids or a Namespace").into());
    } else {
        in_all_workspaces(&caller, &message.namespace, &message.json_value).await?
    };
    let wanted = found.into_iter().filter(|noted| message.json_value.is_empty() || noted.json == message.json_value);
    Ok(answer(UserMetaCollection { metadatas: wanted.map(|noted| found_message(&caller, &noted)).collect() }))
}

/// The nodes that the caller has marked.
#[utoipa::path(
    post, path = "/a/user-meta/bookmarks", tag = "user-meta", request_body = BookmarksRequest,
    responses((status = 200, body = BulkResponse))
)]
pub(crate) async fn bookmarks(State(_app): State<App>, request: RestRequest) -> RestResult {
    let _message: BookmarksRequest = request.json()?;
    let caller = request.caller().await?;
    let nodes: Vec<TreeNode> =
        in_all_workspaces(&caller, BOOKMARK, "").await?.iter().map(|noted| node_of(&caller, &noted.entry, &noted.place)).collect();
    let pagination = Pagination::of(0, 0, u64::try_from(nodes.len()).unwrap_or(u64::MAX));
    Ok(answer(BulkResponse { nodes, pagination }))
}

/// Looks at what is noted at a node.
#[utoipa::path(
    post, path = "/a/meta/get/{NodePath}", tag = "meta", request_body = MetaNamesRequest,
    params(("NodePath" = String, Path, description = "slug/dir/file")),
    responses((status = 200, body = TreeNode), (status = 404, body = RestError))
)]
pub(crate) async fn get(State(_app): State<App>, Path(path): Path<String>, request: RestRequest) -> RestResult {
    let message: MetaNamesRequest = request.json()?;
    let caller = request.caller().await?;
    let (place, mut entry) = seen(&caller, caller.place(path.parse::<UserPath>()?)?).await?;
    let wanted = |note: &EntryMeta| message.namespace.is_empty() || message.namespace.contains(&note.namespace);
    entry.meta.retain(wanted);
    Ok(answer(node_of(&caller, &entry, &place)))
}

/// Notes values at a node, all or none. Names that the server itself writes under are refused.
#[utoipa::path(
    post, path = "/a/meta/set/{NodePath}", tag = "meta", request_body = MetaValuesRequest,
    params(("NodePath" = String, Path, description = "slug/dir/file")),
    responses((status = 200, body = TreeNode), (status = 403, body = RestError), (status = 404, body = RestError))
)]
pub(crate) async fn set(State(_app): State<App>, Path(path): Path<String>, request: RestRequest) -> RestResult {
    let message: MetaValuesRequest = request.json()?;
    check_count("Metadatas", message.metadatas.len())?;
    let changes = message.metadatas.into_iter().map(|sent| (sent.namespace, value_of(&sent.json_meta))).collect();
    change_node(&request.caller().await?, &path, changes).await
}

/// Takes values from a node, all or none.
#[utoipa::path(
    post, path = "/a/meta/delete/{NodePath}", tag = "meta", request_body = MetaNamesRequest,
    params(("NodePath" = String, Path, description = "slug/dir/file")),
    responses((status = 200, body = TreeNode), (status = 403, body = RestError), (status = 404, body = RestError))
)]
pub(crate) async fn delete(State(_app): State<App>, Path(path): Path<String>, request: RestRequest) -> RestResult {
    let message: MetaNamesRequest = request.json()?;
    check_count("Namespace", message.namespace.len())?;
    let changes = message.namespace.into_iter().map(|name| (name, String::new())).collect();
    change_node(&request.caller().await?, &path, changes).await
}

async fn change_node(caller: &Caller, path: &str, values: Vec<(String, String)>) -> RestResult {
    let place = caller.place(path.parse::<UserPath>()?)?;
    let changes = values.into_iter().map(|(namespace, json)| Change { place: place.clone(), namespace, json }).collect();
    apply(caller, changes).await?;
    let (place, entry) = seen(caller, place).await?;
    Ok(answer(node_of(caller, &entry, &place)))
}

/// Carries changes out, after all rights were decided.
async fn apply(caller: &Caller, changes: Vec<Change>) -> Result<(), Failure> {
    let mut steps = Vec::with_capacity(changes.len());
    let mut locks = Vec::new();
    for Change { place, namespace, json } in changes {
        let namespace = Box::new(caller.namespace::<WriteNamespace>(&namespace)?);
        if namespace.subject().is_lock() {
            locks.push((caller.authorize::<WriteTree, _>(place)?, json.is_empty()));
        } else if namespace.subject().is_private() {
            steps.push(Step::SetOwnMeta { at: caller.authorize::<ReadTree, _>(place)?, namespace, json });
        } else {
            steps.push(Step::SetMeta { at: caller.authorize::<WriteTree, _>(place)?, namespace, json });
        }
    }
    for (proof, gives_back) in locks {
        let context = caller.context().continued();
        if gives_back {
            caller.service().remove_content_lock(proof, &context).await?;
        } else {
            caller.service().set_content_lock(proof, &context).await?;
        }
    }
    if !steps.is_empty() {
        caller.service().batch(steps, &caller.context().continued()).await?;
    }
    Ok(())
}

/// A node with what the caller may see of its notes.
async fn seen(caller: &Caller, place: Place) -> Result<(Place, Entry), Failure> {
    let proof = caller.authorize::<ReadTree, _>(place.clone())?;
    let mut entry = caller.service().stat(proof, StatRequest { with_meta: true }, &caller.context().continued()).await?;
    caller.visible_notes().only(&mut entry)?;
    Ok((place, entry))
}

async fn of_nodes(caller: &Caller, asked: Vec<(String, String)>) -> Result<Vec<Noted>, Failure> {
    let mut found = Vec::new();
    for (uuid, namespace) in asked {
        let (place, entry) = seen(caller, place_of_text(&caller.continued(), &uuid).await?).await?;
        for note in entry.meta.iter().filter(|note| namespace.is_empty() || note.namespace == namespace) {
            let (entry, place) = (entry.clone(), place.clone());
            found.push(Noted { place, entry, namespace: note.namespace.clone(), json: note.json.clone() });
        }
    }
    Ok(found)
}

async fn in_all_workspaces(caller: &Caller, namespace: &str, json: &str) -> Result<Vec<Noted>, Failure> {
    let namespace = caller.namespace::<ReadNamespace>(namespace)?;
    let mut found = Vec::new();
    for root in readable_roots(caller)? {
        let proof = caller.authorize::<ReadTree, _>(root)?;
        found.extend(caller.service().find_meta(proof, (&namespace, json), &caller.context().continued()).await?);
    }
    Ok(each_once(found))
}

fn found_message(caller: &Caller, noted: &Noted) -> UserMetaMessage {
    let node = node_of(caller, &noted.entry, &noted.place);
    UserMetaMessage {
        uuid: uuid_of(&node.uuid, &noted.namespace),
        node_uuid: node.uuid.to_string(),
        namespace: noted.namespace.clone(),
        json_value: noted.json.clone(),
        resolved_node: Some(node),
        ..UserMetaMessage::default()
    }
}

fn node_of(caller: &Caller, entry: &Entry, place: &Place) -> TreeNode {
    entry_node(entry, place, is_writable(caller, place))
}

/// A value as it is noted; what clients send to clear it is empty.
fn value_of(sent: &str) -> String {
    match sent.trim() {
        "" | "null" | "\"\"" => String::new(),
        _ => sent.to_owned(),
    }
}

/// The id of a value: of its node and its namespace.
fn uuid_of(node: &str, namespace: &str) -> String {
    format!("{node}:{namespace}")
}

fn parts_of(uuid: &str) -> Result<(String, String), Failure> {
    let bad = || Failure::new(ErrorCode::BadRequest, format!("MetaUuids: {uuid:?} is no id of a value"));
    let (node, namespace) = uuid.split_once(':').ok_or_else(bad)?;
    node.parse::<EntryId>().map_err(|_no_id| bad())?;
    Ok((node.to_owned(), namespace.to_owned()))
}

fn check_count(field: &str, count: usize) -> Result<(), Failure> {
    if count == 0 || count > limits::PATHS_PER_REQUEST {
        return Err(Failure::new(ErrorCode::BadRequest, format!("{field}: name 1 to {}, not {count}", limits::PATHS_PER_REQUEST)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{parts_of, uuid_of, value_of};

    #[test]
    fn values_are_cleared_in_every_way_that_clients_have() {
        for empty in ["", " ", "null", "\"\""] {
            assert_eq!(value_of(empty), "", "{empty:?}");
        }
        assert_eq!(value_of("\"a\""), "\"a\"");
        assert_eq!(value_of("false"), "false");
    }

    #[test]
    fn ids_of_values_name_their_node_and_namespace() {
        let node = "01010101-0101-0101-0101-010101010101";
        assert_eq!(parts_of(&uuid_of(node, "usermeta-a:b")).expect("an id"), (node.to_owned(), "usermeta-a:b".to_owned()));
        assert!(parts_of(node).is_err() && parts_of("x:usermeta-a").is_err());
    }
}
