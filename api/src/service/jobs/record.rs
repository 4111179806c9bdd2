//! What a job's record says in words: its kind, its name for clients, its parameters.

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use skep_placement::ids::RecordId;
use skep_raft::wire::meta::v1::JobRecord;

use super::submitted::{Condition, Submitted};
use crate::error_code::{ErrorCode, Failure};

/// The kinds of jobs that this version works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobKind {
    /// Copies entries.
    Copy,
    /// Moves entries.
    Move,
    /// Notes a deletion that has taken effect.
    Delete,
    /// Notes a restoration from the recycle bin that has taken effect.
    Recycled,
    /// Brings a file or folder back to an instant.
    Restore,
}

impl JobKind {
    /// As stored.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Move => "move",
            Self::Delete => "delete",
            Self::Recycled => "restore",
            Self::Restore => "restore-instant",
        }
    }

    pub(crate) fn of(job: &JobRecord) -> Option<Self> {
        [Self::Copy, Self::Move, Self::Delete, Self::Recycled, Self::Restore].into_iter().find(|kind| kind.name() == job.name)
    }
}

/// The id by which clients know a job: a prefix by its kind, then the UUID.
///
/// Public: a pure function of a record that the caller may see.
#[must_use]
pub fn job_name(job: &JobRecord) -> String {
    let prefix = match JobKind::of(job) {
        Some(JobKind::Copy | JobKind::Move) => "copy-move",
        Some(JobKind::Delete) => "delete",
        Some(JobKind::Recycled | JobKind::Restore) => "restore",
        None => "job",
    };
    format!("{prefix}-{}", RecordId::try_from(job.id.as_ref()).unwrap_or_default())
}

/// Reads an id as clients know it.
///
/// Public: a pure function of a text.
#[must_use]
pub fn parse_job_name(name: &str) -> Option<RecordId> {
    let start = name.len().checked_sub(36)?;
    let uuid = name.get(start..)?;
    uuid.parse().ok()
}

/// The parameters of copies, moves and deletions, in the form clients send them and records keep them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferParameters {
    /// Paths of what is copied, moved or was deleted.
    #[serde(default)]
    pub nodes: Vec<String>,
    /// The path it goes to.
    #[serde(default)]
    pub target: String,
    /// The target is the folder to put it into.
    #[serde(default, rename = "targetParent")]
    pub target_parent: bool,
    /// What stands at the target gives way, by the command that puts the item there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overwrite: bool,
    /// What must hold for the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<Condition>,
    /// What must hold for the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_condition: Option<Condition>,
    /// What the request said of locks and states.
    #[serde(default, skip_serializing_if = "Submitted::is_nothing")]
    pub(crate) submitted: Submitted,
}

impl TransferParameters {
    /// The stored form.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("plain strings and a bool have a JSON form")
    }

    /// Reads the stored form.
    ///
    /// Public: a pure function of a text.
    ///
    /// # Errors
    /// [`ErrorCode::BadRequest`] naming what is wrong.
    pub fn from_json(text: &str) -> Result<Self, Failure> {
        serde_json::from_str(text).map_err(|error| Failure::new(ErrorCode::BadRequest, format!("JsonParameters: {error}")))
    }
}

/// The parameters of a restoration to an instant, as records keep them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreParameters {
    /// Its path.
    pub node: String,
    /// A stamp.
    pub at: u64,
    /// What the request said of locks and states.
    #[serde(default, skip_serializing_if = "Submitted::is_nothing")]
    pub(crate) submitted: Submitted,
}

impl RestoreParameters {
    /// The stored form.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a string and a number have a JSON form")
    }

    /// Reads the stored form.
    pub(crate) fn from_json(text: &str) -> Result<Self, Failure> {
        serde_json::from_str(text)
            .map_err(|error| Failure::new(ErrorCode::Internal, format!("the job's parameters cannot be read: {error}")))
    }
}

/// An id derived from a job and one of its steps: whoever takes the step again makes the same one.
pub(crate) fn derived_id(job: RecordId, item: usize, purpose: &str, about: &[u8]) -> [u8; 16] {
    let mut text = Vec::with_capacity(64);
    text.extend_from_slice(b"skep job id 1");
    text.extend_from_slice(&job.0);
    text.extend_from_slice(&u64::try_from(item).expect("an index fits 64 bits").to_be_bytes());
    text.extend_from_slice(purpose.as_bytes());
    text.push(0);
    text.extend_from_slice(about);
    let hash = digest(&SHA256, &text);
    let head = hash.as_ref().get(..16).and_then(|head| <[u8; 16]>::try_from(head).ok()).expect("SHA-256 has 32 bytes");
    uuid::Builder::from_random_bytes(head).into_uuid().into_bytes()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use skep_placement::ids::RecordId;
    use skep_raft::wire::meta::v1::JobRecord;

    use super::{TransferParameters, derived_id, job_name, parse_job_name};

    #[test]
    fn names_carry_the_id_and_the_prefix_clients_expect() {
        let job = JobRecord { id: Bytes::copy_from_slice(&[1; 16]), name: "move".to_owned(), ..JobRecord::default() };
        assert_eq!(job_name(&job), "copy-move-01010101-0101-0101-0101-010101010101");
        assert_eq!(parse_job_name(&job_name(&job)), Some(RecordId([1; 16])));
        for bad in ["", "copy-move-", "copy-move-0101", "éééééééééééééééééééé"] {
            assert_eq!(parse_job_name(bad), None, "{bad}");
        }
    }

    #[test]
    fn parameters_are_read_as_clients_send_them() {
        let parsed = TransferParameters::from_json(r#"{"target":"ws/b","nodes":["ws/a"],"targetParent":true}"#).expect("read");
        let expected = TransferParameters {
            nodes: vec!["ws/a".to_owned()],
            target: "ws/b".to_owned(),
            target_parent: true,
            ..TransferParameters::default()
        };
        assert_eq!(parsed, expected);
        assert_eq!(parsed.to_json(), r#"{"nodes":["ws/a"],"target":"ws/b","targetParent":true}"#);
        assert_eq!(TransferParameters::from_json(&parsed.to_json()).expect("read"), parsed);
        assert!(TransferParameters::from_json("{\"nodes\":7}").expect_err("refused").detail.contains("JsonParameters"));
    }

    #[test]
    fn derived_ids_depend_on_every_part_and_stay_the_same() {
        let id = |item, purpose, about: &[u8]| derived_id(RecordId([1; 16]), item, purpose, about);
        assert_eq!(id(0, "hidden", b""), id(0, "hidden", b""));
        assert_ne!(id(0, "hidden", b""), id(1, "hidden", b""));
        assert_ne!(id(0, "hidden", b""), id(0, "folder", b""));
        assert_ne!(id(0, "folder", b"a"), id(0, "folder", b"b"));
        assert_eq!(RecordId(id(0, "hidden", b"")).to_string().len(), 36);
    }
}
