//! Entries, workspaces and versions as the nodes of the REST face.

use std::borrow::Cow;

use serde_json::Value;
use skep_placement::ids::{EntryId, VersionId};
use skep_raft::wire::meta::v1::{Entry, VersionRecord};

use super::messages::{AppearsIn, MetaStore, Text, TreeNode};
use super::wire::seconds;
use crate::error_code::Failure;
use crate::service::place::Place;
use crate::service::tree::is_folder;
use crate::service::user_path::{UserPath, check_name};
use crate::service::workspaces::SeenWorkspace;

const LEAF: &str = "LEAF";
const COLLECTION: &str = "COLLECTION";
const FILE_MODE: i32 = 0o644;
const FOLDER_MODE: i32 = 0o755;
/// Keys that a file has when nothing is noted on it.
const KEYS_USUAL: usize = 8;

/// The node above all workspaces.
pub(crate) fn root_node() -> TreeNode {
    TreeNode {
        uuid: "ROOT".into(),
        kind: COLLECTION,
        size: "0".to_owned(),
        mtime: "0".to_owned(),
        mode: FOLDER_MODE,
        ..TreeNode::default()
    }
}

/// A workspace as a node of the root.
pub(crate) fn workspace_node(seen: &SeenWorkspace) -> TreeNode {
    let common = Common::of(seen);
    let mut meta = MetaStore::default();
    common.write(&mut meta);
    write_workspace(seen, &common, &mut meta);
    meta.insert("name", text(&seen.record.slug));
    TreeNode {
        uuid: common.uuid,
        path: seen.record.slug.clone(),
        kind: COLLECTION,
        size: "0".to_owned(),
        mtime: seconds(seen.record.changed_at).to_string(),
        mode: FOLDER_MODE,
        etag: seen.record.changed_at.to_string(),
        meta_store: meta,
        appears_in: Vec::new(),
    }
}

/// An entry at a place. The root of a workspace also says what the workspace is.
pub(crate) fn entry_node(entry: &Entry, place: &Place, writable: bool) -> TreeNode {
    let seen = SeenWorkspace { record: place.workspace().clone(), writable };
    node_in(&seen, &Common::of(&seen), entry, place)
}

/// Entries at their places, as [`entry_node`] shows each.
pub(crate) fn entry_nodes<'a>(entries: impl Iterator<Item = (&'a Entry, &'a Place)>, writable: bool) -> Vec<TreeNode> {
    let mut known: Option<(&Place, SeenWorkspace, Common)> = None;
    let node = |(entry, place): (&Entry, &'a Place)| {
        let (_, seen, common) = match known.take() {
            Some(known @ (of, ..)) if place.shares_workspace(of) => known,
            _ => {
                let seen = SeenWorkspace { record: place.workspace().clone(), writable };
                let common = Common::of(&seen);
                (place, seen, common)
            }
        };
        let node = node_in(&seen, &common, entry, place);
        known = Some((place, seen, common));
        node
    };
    entries.map(node).collect()
}

fn node_in(seen: &SeenWorkspace, common: &Common, entry: &Entry, place: &Place) -> TreeNode {
    let name = place.path().last().unwrap_or_default();
    let mut node = common.node(entry, name, (place.path().to_string(), below(place.path())));
    if place.is_workspace_root() {
        write_workspace(seen, common, &mut node.meta_store);
        if let Some(sums) = &entry.sums {
            node.meta_store.insert("ws_quota_usage", sums.bytes.to_string());
        }
        node.uuid = common.uuid.clone();
    }
    node
}

/// A version of a file.
pub(crate) fn version_node(entry: &Entry, version: &VersionRecord, place: &Place, writable: bool) -> TreeNode {
    let mut node = entry_node(entry, place, writable);
    let id = VersionId::try_from(version.version.as_ref()).unwrap_or_default().to_string();
    node.size = version.size.to_string();
    node.mtime = seconds(version.mtime).to_string();
    node.etag.clone_from(&id);
    let author = version.author.as_ref().map(|author| author.login.as_str()).unwrap_or_default();
    let described =
        if version.description.is_empty() { format!("version {} by {author}", version.number) } else { version.description.clone() };
    node.meta_store.insert("versionId", text(&id));
    node.meta_store.insert("versionDescription", text(&described));
    node.meta_store.insert("skep:version", version.number.to_string());
    node.meta_store.insert("skep:blake3", quoted(&hex(&version.blake3)));
    node
}

/// A folder whose members become nodes.
#[derive(Debug)]
pub(crate) struct NodeFolder {
    common: Common,
    /// Both end with a slash, or are empty.
    path: String,
    below: String,
}

impl NodeFolder {
    pub(crate) fn of(place: &Place, writable: bool) -> Self {
        let with_slash = |path: String| if path.is_empty() { path } else { path + "/" };
        Self {
            common: Common::of(&SeenWorkspace { record: place.workspace().clone(), writable }),
            path: with_slash(place.path().to_string()),
            below: with_slash(below(place.path())),
        }
    }

    /// A member as a node.
    ///
    /// # Errors
    /// [`ErrorCode::NameInvalid`](crate::error_code::ErrorCode::NameInvalid) for a name that cannot be.
    pub(crate) fn member(&self, entry: &Entry) -> Result<TreeNode, Failure> {
        check_name(&entry.name)?;
        let joined = |folder: &str| [folder, &entry.name].concat();
        Ok(self.common.node(entry, &entry.name, (joined(&self.path), joined(&self.below))))
    }
}

/// What all nodes of a workspace share.
#[derive(Debug)]
struct Common {
    uuid: Text,
    label: Text,
    slug: Text,
    scope: &'static str,
    /// The same as JSON.
    uuid_json: Text,
    label_json: Text,
    slug_json: Text,
    permissions_json: &'static str,
}

impl Common {
    fn of(seen: &SeenWorkspace) -> Self {
        let record = &seen.record;
        let uuid = seen.uuid();
        Self {
            label: Text::shared(&record.label),
            slug: Text::shared(&record.slug),
            scope: seen.scope(),
            uuid_json: Text::shared(&quoted(&uuid)),
            label_json: Text::shared(&text(&record.label)),
            slug_json: Text::shared(&text(&record.slug)),
            permissions_json: if seen.writable { "\"rw\"" } else { "\"r\"" },
            uuid: Text::shared(&uuid),
        }
    }

    fn write(&self, meta: &mut MetaStore) {
        meta.insert("repository_id", self.uuid_json.clone());
        meta.insert("repository_display", self.label_json.clone());
        meta.insert("ws_permissions", self.permissions_json);
        meta.insert("ws_slug", self.slug_json.clone());
    }

    /// An entry, its name, and its path from the root and in the workspace.
    fn node(&self, entry: &Entry, name: &str, (path, below): (String, String)) -> TreeNode {
        let mut meta = MetaStore::with_capacity(KEYS_USUAL + entry.meta.len());
        // What is noted comes first: it never stands for what the server itself says.
        for noted in &entry.meta {
            meta.insert(Cow::Owned(noted.namespace.clone()), noted.json.clone());
        }
        self.write(&mut meta);
        let folder = is_folder(entry);
        meta.insert("name", text(name));
        if folder {
            if let Some(sums) = &entry.sums {
                meta.insert("skep:files", sums.files.to_string());
                meta.insert("skep:folders", sums.folders.to_string());
            }
        } else {
            meta.insert("mime", quoted(guessed(name)));
            meta.insert("skep:blake3", quoted(&hex(&entry.blake3)));
            meta.insert("skep:version", entry.version_number.to_string());
        }
        TreeNode {
            uuid: EntryId::try_from(entry.entry.as_ref()).unwrap_or_default().to_string().into(),
            path,
            kind: if folder { COLLECTION } else { LEAF },
            size: entry.size.to_string(),
            mtime: seconds(entry.mtime).to_string(),
            mode: if folder { FOLDER_MODE } else { FILE_MODE },
            etag: entry.etag.clone(),
            meta_store: meta,
            appears_in: vec![AppearsIn {
                ws_uuid: self.uuid.clone(),
                ws_label: self.label.clone(),
                path: below,
                ws_slug: self.slug.clone(),
                ws_scope: self.scope.into(),
            }],
        }
    }
}

/// What the workspace's root says more.
fn write_workspace(seen: &SeenWorkspace, common: &Common, meta: &mut MetaStore) {
    meta.insert("ws_uuid", common.uuid_json.clone());
    meta.insert("ws_label", common.label_json.clone());
    meta.insert("ws_description", text(&seen.record.description));
    meta.insert("ws_scope", quoted(seen.scope()));
    meta.insert("ws_root", "true");
    if seen.record.quota_bytes != 0 {
        meta.insert("ws_quota", seen.record.quota_bytes.to_string());
    }
    if seen.record.skip_recycle {
        meta.insert("ws_skip_recycle", "true");
    }
}

fn below(path: &UserPath) -> String {
    path.below().join("/")
}

/// The media type as sent, or guessed from the name.
pub(crate) fn media_type(sent: &str, name: &str) -> String {
    if sent.is_empty() { guessed(name).to_owned() } else { sent.to_owned() }
}

fn guessed(name: &str) -> &'static str {
    mime_guess::from_path(name).first_raw().unwrap_or("application/octet-stream")
}

/// A text as JSON.
fn text(value: &str) -> String {
    Value::String(value.to_owned()).to_string()
}

/// A text that needs no escapes as JSON.
fn quoted(plain: &str) -> String {
    ["\"", plain, "\""].concat()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| char::from(DIGITS[usize::from(half)]);
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
    text
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use skep_raft::wire::meta::v1::{Entry, EntryKind};

    use super::{entry_node, entry_nodes, media_type, root_node, workspace_node};
    use crate::auth::authenticator::SignedIn;
    use crate::service::place::{Place, tests::workspace};
    use crate::service::workspaces::SeenWorkspace;

    fn place(path: &str) -> Place {
        Place::in_workspace(workspace("files", false), &SignedIn::operator(), path.parse().expect("a path")).expect("a place")
    }

    #[test]
    fn a_file_says_what_clients_show() {
        let entry = Entry {
            entry: Bytes::copy_from_slice(&[1; 16]),
            kind: EntryKind::File.into(),
            size: 48_211,
            mtime: 1_751_000_000_123_456,
            etag: "v".to_owned(),
            ..Entry::default()
        };
        let node = entry_node(&entry, &place("files/a \"b\".pdf"), true);
        assert_eq!((node.kind, node.size.as_str(), node.mtime.as_str()), ("LEAF", "48211", "1751000000"));
        assert_eq!(node.uuid, "01010101-0101-0101-0101-010101010101");
        assert_eq!(node.meta_store.get("name").expect("it is said"), r#""a \"b\".pdf""#);
        assert_eq!(node.meta_store.get("mime").expect("it is said"), "\"application/pdf\"");
        assert_eq!(node.meta_store.get("ws_permissions").expect("it is said"), "\"rw\"");
        assert_eq!(node.appears_in[0].path, "a \"b\".pdf");
        for value in node.meta_store.values() {
            serde_json::from_str::<serde_json::Value>(value).expect("every value is a JSON text");
        }
    }

    #[test]
    fn many_nodes_are_shown_as_each_by_itself() {
        let entry = |byte: u8| Entry { entry: Bytes::copy_from_slice(&[byte; 16]), kind: EntryKind::File.into(), ..Entry::default() };
        let other = workspace("plans", false);
        let other = Place::in_workspace(other, &SignedIn::operator(), "plans/b".parse().expect("a path")).expect("a place");
        let first = place("files/a");
        let places = [first.clone(), other, first.with_path("files/c".parse().expect("a path"))];
        let entries = [entry(1), entry(2), entry(3)];
        let nodes = entry_nodes(entries.iter().zip(&places), false);
        let alone: Vec<_> = entries.iter().zip(&places).map(|(entry, place)| entry_node(entry, place, false)).collect();
        assert_eq!(nodes, alone);
    }

    #[test]
    fn workspaces_are_recognised_by_their_scope() {
        let node = workspace_node(&SeenWorkspace { record: workspace("files", false), writable: false });
        assert_eq!((node.path.as_str(), node.kind), ("files", "COLLECTION"));
        assert_eq!(node.meta_store.get("ws_scope").expect("it is said"), "\"ADMIN\"");
        assert_eq!(node.meta_store.get("ws_permissions").expect("it is said"), "\"r\"");
        let root = entry_node(&Entry { kind: EntryKind::Folder.into(), ..Entry::default() }, &place("files"), true);
        assert_eq!(root.uuid, node.uuid, "a workspace has one id, listed or looked at");
        assert_eq!((root_node().path.as_str(), root_node().kind), ("", "COLLECTION"));
    }

    #[test]
    fn media_types_are_guessed_from_names_unless_sent() {
        assert_eq!(media_type("text/x", "a.pdf"), "text/x");
        assert_eq!(media_type("", "a.pdf"), "application/pdf");
        assert_eq!(media_type("", "noending"), "application/octet-stream");
    }
}
