//! Files that each client of a round has for itself, and changes again and again: on conditions, under locks, with tags, into the bin and back, to old versions.
//!
//! Invariant: at the end of a round every client's file is read, and has the bytes that its last request gave it.

use http::Method;
use serde_json::json;

use super::data::{Known, all, fresh_seed};
use super::steps::{ClientState, Step};
use crate::content::Content;
use crate::fault::Fault;
use crate::protocol::skep::rest_path;
use crate::protocol::{Operation, Protocol};
use crate::row::Work;
use crate::side::Side;

/// Bytes of files whose contents no request changes.
const SMALL: u64 = 1 << 10;

/// A version that can be used again.
#[derive(Clone, Debug, Default)]
struct Version {
    id: String,
    content: Option<Content>,
}

/// The file of one client.
#[derive(Debug)]
struct OwnFile {
    name: String,
    content: Content,
    /// Its id, where requests need it.
    uuid: String,
    /// The two that it was made with.
    versions: [Version; 2],
}

/// The files of all clients of a round.
#[derive(Debug, Default)]
pub(super) struct OwnFiles {
    files: Vec<OwnFile>,
}

impl OwnFiles {
    /// Whether some work needs such files.
    pub(super) fn are_used_by(work: Work) -> bool {
        matches!(work, Work::PutIf(_) | Work::LockedPut(_) | Work::SetTag | Work::Recycle | Work::Revert)
    }

    /// Makes a file for each client in the folder of a round.
    pub(super) async fn make(side: &Side, (work, clients): (Work, usize), folder: &str) -> Result<Self, Fault> {
        let size = if let Work::PutIf(size) | Work::LockedPut(size) = work { size } else { SMALL };
        let content = || Content { seed: fresh_seed(), length: size };
        // Names that no other round has: in the bin they all lie side by side.
        let name = |client: usize| format!("{folder}/{folder}-c{client}");
        let first: Vec<Known> = (0..clients).map(|client| (name(client), content())).collect();
        put(side, &first).await?;
        if work != Work::Revert || !matches!(side.speaker.protocol(), Protocol::Skep) {
            let own = |(name, content): Known| OwnFile { name, content, uuid: String::new(), versions: Default::default() };
            return Ok(Self { files: first.into_iter().map(own).collect() });
        }
        // Of another length, so that an answer tells which of the two it is about.
        let longer = || Content { seed: fresh_seed(), length: size + 1 };
        let second: Vec<Known> = first.iter().map(|(name, _)| (name.clone(), longer())).collect();
        put(side, &second).await?;
        let mut files = Vec::with_capacity(clients);
        for ((name, old), (_, new)) in first.into_iter().zip(second) {
            files.push(with_versions(side, name, [old, new]).await?);
        }
        Ok(Self { files })
    }

    /// The next requests of a client.
    pub(super) fn next(&self, work: Work, state: &mut ClientState, count: usize) -> Option<Step> {
        let own = self.files.get(state.client)?;
        let (name, content) = (own.name.clone(), Content { seed: fresh_seed(), length: own.content.length });
        let operations = match work {
            // The first one is to get an ETag.
            Work::PutIf(_) if count == 0 => vec![Operation::Put(name.clone(), content)],
            Work::PutIf(_) => vec![Operation::PutIf(name.clone(), content)],
            Work::LockedPut(_) => {
                vec![Operation::Lock(name.clone()), Operation::PutLocked(name.clone(), content), Operation::Unlock(name.clone())]
            }
            Work::SetTag => return Some(Step::one(Operation::SetTag(name, format!("tag-{}", content.seed)))),
            Work::Recycle => {
                let in_bin = name.rsplit('/').next().unwrap_or_default().to_owned();
                return Some(Step::of(vec![Operation::Recycle(name), Operation::Unrecycle(in_bin)], 1.0));
            }
            Work::Revert => return Some(self.revert(state, count)),
            _no_own_file => return None,
        };
        state.left = Some((name, content));
        Some(Step::of(operations, 1.0))
    }

    /// The older of the two versions, the newer one, and so on.
    fn revert(&self, state: &mut ClientState, count: usize) -> Step {
        let own = &self.files[state.client];
        let version = own.versions[count % 2].clone();
        let content = version.content.unwrap_or(own.content);
        state.left = version.content.map(|content| (own.name.clone(), content));
        let file = if own.uuid.is_empty() { own.name.clone() } else { own.uuid.clone() };
        Step::one(Operation::Revert { file, version: version.id, length: content.length })
    }

    /// Reads what each client has left.
    pub(super) async fn compare(&self, side: &Side, states: &[ClientState]) -> Result<(), Fault> {
        let left = self.files.iter().enumerate().map(|(client, own)| {
            let left = states.iter().find(|state| state.client == client).and_then(|state| state.left.clone());
            left.unwrap_or_else(|| (own.name.clone(), own.versions[1].content.unwrap_or(own.content)))
        });
        let reads = left.map(|(name, content)| Operation::Get(name, content, None)).collect();
        all(side, reads).await.map_err(|fault| fault.at("reading what the clients have left"))
    }
}

async fn put(side: &Side, files: &[Known]) -> Result<(), Fault> {
    all(side, files.iter().map(|(name, content)| Operation::Put(name.clone(), *content)).collect()).await
}

/// The ids of a file and its two versions.
async fn with_versions(side: &Side, name: String, contents: [Content; 2]) -> Result<OwnFile, Fault> {
    let asked = json!({"NodePaths": [rest_path(&name)], "Versions": true});
    let listed = side.send(Method::POST, "/a/tree/stats", &asked).await?;
    let of_size = |content: Content| {
        let size = content.length.to_string();
        let nodes = listed["Nodes"].as_array().into_iter().flatten();
        let mut ids = nodes.filter(|node| node["Size"] == size.as_str()).filter_map(|node| node["Etag"].as_str());
        let id = ids.next().ok_or_else(|| Fault::new(format!("{name} has no version of {size} bytes: {listed}")))?;
        Ok::<_, Fault>(Version { id: id.to_owned(), content: Some(content) })
    };
    let versions = [of_size(contents[0])?, of_size(contents[1])?];
    let uuid = listed["Nodes"][0]["Uuid"].as_str().unwrap_or_default().to_owned();
    Ok(OwnFile { name, content: contents[1], uuid, versions })
}
