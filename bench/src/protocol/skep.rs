//! Skep as its clients speak to it: contents, locks, renames and copies by WebDAV, the rest by REST.
//!
//! A name that begins with `@` names another workspace first: `@slug/folder/file`.

use http::Method;
use serde_json::{Value, json};

use super::{Call, Operation, Page};
use crate::content::Content;
use crate::fault::Fault;

/// The workspace of every cluster that the bench writes to.
const WORKSPACE: &str = "common-files";
/// The folder of a workspace that takes what is deleted.
const BIN: &str = "recycle_bin";
/// Where tags are noted, in every cluster.
const TAGS: &str = "usermeta-tags";
/// The body of a request for an exclusive lock. Source: RFC 4918, section 9.10.7.
const LOCK_BODY: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?><D:lockinfo xmlns:D=\"DAV:\"><D:lockscope><D:exclusive/></D:lockscope>\
     <D:locktype><D:write/></D:locktype><D:owner>benchmark</D:owner></D:lockinfo>";

pub(super) fn call(operation: &Operation) -> Result<Call, Fault> {
    let dav = |name: &str| format!("/dav/{}", rest_path(name));
    Ok(match operation {
        Operation::Put(name, content) => Call::new(Method::PUT, &dav(name))?.sending(*content).giving("etag"),
        Operation::PutIf(name, content) => put_if(&dav(name), *content)?,
        Operation::Lock(name) => lock(&dav(name))?,
        Operation::PutLocked(name, content) => put_locked(&dav(name), *content)?,
        Operation::Unlock(name) => unlock(&dav(name))?,
        Operation::Get(name, content, range) => Call::new(Method::GET, &dav(name))?.reading(*content, *range),
        Operation::GetAt(name, content, at) => Call::new(Method::GET, &format!("{}?at={at}", dav(name)))?.reading(*content, None),
        Operation::Rename(from, to) => Call::new(method("MOVE"), &dav(from))?.header("destination", &dav(to)),
        Operation::Copy(from, to) => Call::new(method("COPY"), &dav(from))?.header("destination", &dav(to)),
        Operation::CreateFiles(names) => created(names, "LEAF", false)?,
        Operation::CreateFolders(names) => created(names, "COLLECTION", true)?,
        Operation::Stat(name) => Call::new(Method::GET, &stat(name))?.expecting(r#""Uuid""#, 1),
        Operation::StatAt(name, past) => {
            Call::new(Method::GET, &format!("{}?at={}", stat(name), past.at))?.expecting(sized(past.length), 1)
        }
        Operation::List(folder, page) => listed(&page_of(folder, *page), r#""Uuid""#, *page)?,
        Operation::ListAt(folder, page, past) => {
            let mut request = page_of(folder, *page);
            request["At"] = json!(past.at);
            listed(&request, &sized(past.length), *page)?
        }
        Operation::Batch(files) => {
            let put = |(name, text): &(String, String)| json!({"Type": "PUT_FILE", "Path": rest_path(name), "Contents": text});
            batch(files.iter().map(put).collect())?.expecting(r#""Uuid""#, u64::try_from(files.len()).unwrap_or(u64::MAX))
        }
        Operation::BatchDelete(names) => {
            let delete = |name: &String| json!({"Type": "DELETE", "Path": rest_path(name), "RemovePermanently": true});
            batch(names.iter().map(delete).collect())?
        }
        Operation::Versions(name, count) => {
            let call = Call::new(Method::POST, "/a/tree/stats")?.json(&json!({"NodePaths": [rest_path(name)], "Versions": true}));
            call.expecting(r#""versionId""#, *count)
        }
        // The version and the file both say their size.
        Operation::Revert { file, version, length } => {
            Call::new(Method::POST, &format!("/n/node/{file}/versions/{version}/promote"))?.expecting(sized(*length), 2)
        }
        Operation::Changes(position, limit) => {
            Call::new(Method::GET, &format!("{}&position={position}&limit={limit}", changes()))?.expecting(r#""Uuid""#, *limit)
        }
        Operation::SetTag(name, tag) => {
            let values = json!({"Metadatas": [{"Namespace": TAGS, "JsonMeta": json_text(tag)}]});
            let call = Call::new(Method::POST, &format!("/a/meta/set/{}", rest_path(name)))?.json(&values);
            call.expecting(format!("{}:{}", json_text(TAGS), json_text(&json_text(tag))), 1)
        }
        Operation::FindTag(tag, name) => {
            let asked = json!({"Namespace": TAGS, "JsonValue": json_text(tag)});
            let path = json_text(&rest_path(name));
            Call::new(Method::POST, "/a/user-meta/search")?.json(&asked).expecting(r#""ResolvedNode""#, 1).between(path.clone(), path)
        }
        Operation::Recycle(name) => deleted(name, false)?,
        Operation::Delete(name) => deleted(name, true)?,
        Operation::Unrecycle(name) => {
            let nodes = json!({"Nodes": [{"Path": rest_path(&format!("{BIN}/{name}"))}]});
            Call::new(Method::POST, "/a/tree/restore")?.json(&nodes)
        }
    })
}

fn created(names: &[String], kind: &str, recursive: bool) -> Result<Call, Fault> {
    let nodes: Vec<Value> = names.iter().map(|name| json!({"Path": rest_path(name), "Type": kind})).collect();
    let call = Call::new(Method::POST, "/a/tree/create")?.json(&json!({"Nodes": nodes, "Recursive": recursive}));
    Ok(call.expecting(r#""Uuid""#, u64::try_from(names.len()).unwrap_or(u64::MAX)))
}

fn deleted(name: &str, permanently: bool) -> Result<Call, Fault> {
    let nodes = json!({"Nodes": [{"Path": rest_path(name)}], "RemovePermanently": permanently});
    Ok(Call::new(Method::POST, "/a/tree/delete")?.json(&nodes))
}

fn batch(operations: Vec<Value>) -> Result<Call, Fault> {
    Ok(Call::new(Method::POST, "/a/tree/batch")?.json(&json!({"Operations": operations})))
}

fn page_of(folder: &str, page: Page) -> Value {
    json!({"NodePaths": [format!("{}/*", rest_path(folder))], "Limit": page.limit, "Offset": page.offset})
}

fn listed(request: &Value, marker: &str, page: Page) -> Result<Call, Fault> {
    let (first, last) = page.ends();
    let shown = |name: String| format!("/{name}\"");
    Ok(Call::new(Method::POST, "/a/tree/stats")?.json(request).expecting(marker, page.limit).between(shown(first), shown(last)))
}

fn stat(name: &str) -> String {
    format!("/a/tree/stat/{}", rest_path(name))
}

fn sized(length: u64) -> String {
    format!("\"Size\":\"{length}\"")
}

fn json_text(text: &str) -> String {
    Value::from(text).to_string()
}

/// A PUT that the ETag which is held must permit; as every WebDAV server takes it.
pub(super) fn put_if(path: &str, content: Content) -> Result<Call, Fault> {
    Ok(Call::new(Method::PUT, path)?.sending(content).giving("etag").sending_held("if-match", "", ""))
}

/// An exclusive lock; its token comes in the brackets in which it is sent.
pub(super) fn lock(path: &str) -> Result<Call, Fault> {
    let call = Call::new(method("LOCK"), path)?.text(LOCK_BODY.to_owned()).header("content-type", "application/xml");
    Ok(call.header("depth", "0").header("timeout", "Second-60").giving("lock-token"))
}

/// A PUT under a lock.
pub(super) fn put_locked(path: &str, content: Content) -> Result<Call, Fault> {
    Ok(Call::new(Method::PUT, path)?.sending(content).sending_held("if", "(", ")"))
}

/// The end of a lock.
pub(super) fn unlock(path: &str) -> Result<Call, Fault> {
    Ok(Call::new(method("UNLOCK"), path)?.sending_held("lock-token", "", ""))
}

/// The workspace that the bench writes to.
pub(crate) fn space() -> &'static str {
    WORKSPACE
}

/// Where the change feed is asked for; without a position it says where it stands.
pub(crate) fn changes() -> String {
    format!("/a/changes?workspace={WORKSPACE}")
}

/// The path of something by REST.
pub(crate) fn rest_path(name: &str) -> String {
    name.strip_prefix('@').map_or_else(|| format!("{WORKSPACE}/{name}"), str::to_owned)
}

/// A method of WebDAV.
pub(super) fn method(name: &str) -> Method {
    Method::from_bytes(name.as_bytes()).expect("letters only")
}

#[cfg(test)]
mod tests {
    use super::{call, rest_path};
    use crate::protocol::Operation;

    #[test]
    fn names_are_of_the_workspace_or_say_of_which() {
        assert_eq!((rest_path("a/b").as_str(), rest_path("@other/a").as_str()), ("common-files/a/b", "other/a"));
    }

    #[test]
    fn a_tag_is_looked_for_as_it_is_shown() {
        let call = call(&Operation::SetTag("a".into(), "blue".into())).unwrap();
        assert_eq!(call.expected.unwrap().marker, r#""usermeta-tags":"\"blue\"""#);
    }
}
