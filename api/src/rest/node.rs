//! Entries, workspaces and versions as the nodes of the REST face.

use std::collections::BTreeMap;

use serde_json::Value;
use skep_placement::ids::{EntryId, VersionId};
use skep_raft::wire::meta::v1::{Entry, VersionRecord};

use super::messages::{AppearsIn, TreeNode};
use super::wire::seconds;
use crate::service::place::Place;
use crate::service::tree::is_folder;
use crate::service::workspaces::SeenWorkspace;

const LEAF: &str = "LEAF";
const COLLECTION: &str = "COLLECTION";
const FILE_MODE: i32 = 0o644;
const FOLDER_MODE: i32 = 0o755;

/// The node above all workspaces.
pub(crate) fn root_node() -> TreeNode {
    TreeNode {
        uuid: "ROOT".to_owned(),
        kind: COLLECTION,
        size: "0".to_owned(),
        mtime: "0".to_owned(),
        mode: FOLDER_MODE,
        ..TreeNode::default()
    }
}

/// A workspace as a node of the root.
pub(crate) fn workspace_node(seen: &SeenWorkspace) -> TreeNode {
    let mut meta = workspace_meta(seen);
    meta.insert("name".to_owned(), text(&seen.record.slug));
    TreeNode {
        uuid: seen.uuid(),
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
    // What is noted comes first: it never stands for what the server itself says.
    let mut meta: BTreeMap<String, String> = entry.meta.iter().map(|noted| (noted.namespace.clone(), noted.json.clone())).collect();
    meta.extend(context_meta(&seen));
    let folder = is_folder(entry);
    let name = place.path().last().unwrap_or_default();
    meta.insert("name".to_owned(), text(name));
    if folder {
        if let Some(sums) = &entry.sums {
            meta.insert("skep:files".to_owned(), sums.files.to_string());
            meta.insert("skep:folders".to_owned(), sums.folders.to_string());
        }
    } else {
        meta.insert("mime".to_owned(), text(&media_type("", name)));
        meta.insert("skep:blake3".to_owned(), text(&hex(&entry.blake3)));
        meta.insert("skep:version".to_owned(), entry.version_number.to_string());
    }
    let uuid = if place.is_workspace_root() {
        meta.extend(workspace_meta(&seen));
        if let Some(sums) = &entry.sums {
            meta.insert("ws_quota_usage".to_owned(), sums.bytes.to_string());
        }
        seen.uuid()
    } else {
        EntryId::try_from(entry.entry.as_ref()).unwrap_or_default().to_string()
    };
    TreeNode {
        uuid,
        path: place.path().to_string(),
        kind: if folder { COLLECTION } else { LEAF },
        size: entry.size.to_string(),
        mtime: seconds(entry.mtime).to_string(),
        mode: if folder { FOLDER_MODE } else { FILE_MODE },
        etag: entry.etag.clone(),
        meta_store: meta,
        appears_in: vec![appears_in(&seen, place)],
    }
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
    node.meta_store.insert("versionId".to_owned(), text(&id));
    node.meta_store.insert("versionDescription".to_owned(), text(&described));
    node.meta_store.insert("skep:version".to_owned(), version.number.to_string());
    node.meta_store.insert("skep:blake3".to_owned(), text(&hex(&version.blake3)));
    node
}

/// The media type as sent, or guessed from the name.
pub(crate) fn media_type(sent: &str, name: &str) -> String {
    if sent.is_empty() { mime_guess::from_path(name).first_or_octet_stream().to_string() } else { sent.to_owned() }
}

fn appears_in(seen: &SeenWorkspace, place: &Place) -> AppearsIn {
    AppearsIn {
        ws_uuid: seen.uuid(),
        ws_label: seen.record.label.clone(),
        path: place.path().below().join("/"),
        ws_slug: seen.record.slug.clone(),
        ws_scope: seen.scope().to_owned(),
    }
}

fn context_meta(seen: &SeenWorkspace) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("repository_id".to_owned(), text(&seen.uuid())),
        ("repository_display".to_owned(), text(&seen.record.label)),
        ("ws_permissions".to_owned(), text(seen.permissions())),
        ("ws_slug".to_owned(), text(&seen.record.slug)),
    ])
}

fn workspace_meta(seen: &SeenWorkspace) -> BTreeMap<String, String> {
    let mut meta = context_meta(seen);
    meta.insert("ws_uuid".to_owned(), text(&seen.uuid()));
    meta.insert("ws_label".to_owned(), text(&seen.record.label));
    meta.insert("ws_description".to_owned(), text(&seen.record.description));
    meta.insert("ws_scope".to_owned(), text(seen.scope()));
    meta.insert("ws_root".to_owned(), "true".to_owned());
    if seen.record.quota_bytes != 0 {
        meta.insert("ws_quota".to_owned(), seen.record.quota_bytes.to_string());
    }
    if seen.record.skip_recycle {
        meta.insert("ws_skip_recycle".to_owned(), "true".to_owned());
    }
    meta
}

/// A text as JSON.
fn text(value: &str) -> String {
    Value::String(value.to_owned()).to_string()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| char::from(DIGITS[usize::from(half)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use skep_raft::wire::meta::v1::{Entry, EntryKind};

    use super::{entry_node, media_type, root_node, workspace_node};
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
        assert_eq!(node.meta_store["name"], r#""a \"b\".pdf""#);
        assert_eq!(node.meta_store["mime"], "\"application/pdf\"");
        assert_eq!(node.meta_store["ws_permissions"], "\"rw\"");
        assert_eq!(node.appears_in[0].path, "a \"b\".pdf");
        for value in node.meta_store.values() {
            serde_json::from_str::<serde_json::Value>(value).expect("every value is a JSON text");
        }
    }

    #[test]
    fn workspaces_are_recognised_by_their_scope() {
        let node = workspace_node(&SeenWorkspace { record: workspace("files", false), writable: false });
        assert_eq!((node.path.as_str(), node.kind), ("files", "COLLECTION"));
        assert_eq!(node.meta_store["ws_scope"], "\"ADMIN\"");
        assert_eq!(node.meta_store["ws_permissions"], "\"r\"");
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
