//! Skep as its clients speak to it: contents, renames and copies by WebDAV, the tree by REST.

use http::Method;
use serde_json::{Value, json};

use super::{Call, Operation};
use crate::fault::Fault;

/// The workspace of every cluster that the bench writes to.
const WORKSPACE: &str = "common-files";

pub(super) fn call(operation: &Operation) -> Result<Call, Fault> {
    let dav = |name: &str| format!("/dav/{WORKSPACE}/{name}");
    let path = |name: &str| format!("{WORKSPACE}/{name}");
    let created = |names: &[String], kind: &str, recursive: bool| {
        let nodes: Vec<Value> = names.iter().map(|name| json!({"Path": path(name), "Type": kind})).collect();
        let marker = (r#""Uuid""#, u64::try_from(names.len()).unwrap_or(u64::MAX));
        let call = Call::new(Method::POST, "/a/tree/create")?.json(&json!({"Nodes": nodes, "Recursive": recursive}));
        Ok(Call { entries: Some(marker), ..call })
    };
    Ok(match operation {
        Operation::Put(name, content) => Call::new(Method::PUT, &dav(name))?.sending(*content),
        Operation::Get(name, content, range) => Call::new(Method::GET, &dav(name))?.reading(*content, *range),
        Operation::CreateFiles(names) => return created(names, "LEAF", false),
        Operation::CreateFolders(names) => return created(names, "COLLECTION", true),
        Operation::Stat(name) => {
            let call = Call::new(Method::GET, &format!("/a/tree/stat/{}", path(name)))?;
            Call { entries: Some((r#""Uuid""#, 1)), ..call }
        }
        Operation::List(folder, page) => {
            let request = json!({"NodePaths": [format!("{}/*", path(folder))], "Limit": page.limit, "Offset": page.offset});
            Call::new(Method::POST, "/a/tree/stats")?.json(&request).listing(r#""Uuid""#, *page)
        }
        Operation::Batch(files) => {
            let operations: Vec<Value> =
                files.iter().map(|(name, text)| json!({"Type": "PUT_FILE", "Path": path(name), "Contents": text})).collect();
            let marker = (r#""Uuid""#, u64::try_from(files.len()).unwrap_or(u64::MAX));
            let call = Call::new(Method::POST, "/a/tree/batch")?.json(&json!({"Operations": operations}));
            Call { entries: Some(marker), ..call }
        }
        Operation::BatchDelete(names) => {
            let operations: Vec<Value> =
                names.iter().map(|name| json!({"Type": "DELETE", "Path": path(name), "RemovePermanently": true})).collect();
            Call::new(Method::POST, "/a/tree/batch")?.json(&json!({"Operations": operations}))
        }
        Operation::ListAt(folder, page, at) => {
            let request = json!({"NodePaths": [format!("{}/*", path(folder))], "Limit": page.limit, "Offset": page.offset, "At": at});
            Call::new(Method::POST, "/a/tree/stats")?.json(&request).listing(r#""Uuid""#, *page)
        }
        Operation::Versions(name, count) => {
            let call = Call::new(Method::POST, "/a/tree/stats")?.json(&json!({"NodePaths": [path(name)], "Versions": true}));
            Call { entries: Some((r#""versionId""#, *count)), ..call }
        }
        Operation::Changes(position, limit) => {
            let call = Call::new(Method::GET, &format!("{}&position={position}&limit={limit}", changes()))?;
            Call { entries: Some((r#""Uuid""#, *limit)), ..call }
        }
        Operation::Rename(from, to) => Call::new(method("MOVE"), &dav(from))?.header("destination", &dav(to)),
        Operation::Copy(from, to) => Call::new(method("COPY"), &dav(from))?.header("destination", &dav(to)),
        Operation::Delete(name) => {
            Call::new(Method::POST, "/a/tree/delete")?.json(&json!({"Nodes": [{"Path": path(name)}], "RemovePermanently": true}))
        }
    })
}

/// Where the change feed is asked for; without a position it says where it stands.
pub(crate) fn changes() -> String {
    format!("/a/changes?workspace={WORKSPACE}")
}

/// The path of something by REST.
pub(crate) fn rest_path(name: &str) -> String {
    format!("{WORKSPACE}/{name}")
}

/// A method of WebDAV.
pub(super) fn method(name: &str) -> Method {
    Method::from_bytes(name.as_bytes()).expect("letters only")
}
