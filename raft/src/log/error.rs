//! What can go wrong with the log, each as a sentence that names the file, the place and what to do.

use std::io;
use std::sync::Arc;

use skep_placement::ids::{ClusterId, NodeId};

use super::GroupKey;

/// What to do about damage; part of every sentence that reports it.
const ADVICE: &str = "Nothing was changed. Do not edit or delete the log: restore the file from an exact copy, or remove this node from the cluster and let it join anew with an empty folder";

/// A failure of the log.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// The operating system refused an operation.
    #[error(
        "cannot {action} the log file {file}: {source}. The node stops, because it cannot know what is on the disk; check the device, then start the node again"
    )]
    Io {
        /// What was tried, a verb.
        action: &'static str,
        /// On which file.
        file: String,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The bytes of a segment are not what was written.
    #[error("the log file {file} is damaged at byte {offset}: {problem}. {ADVICE}")]
    Damaged {
        /// Which file.
        file: String,
        /// Where in it, from its start.
        offset: u64,
        /// What is wrong there.
        problem: String,
    },
    /// The folder is another cluster's.
    #[error(
        "the log file {file} belongs to cluster {found}, not to {expected}: this is the folder of another cluster; correct the configured folder"
    )]
    WrongCluster {
        /// Which file.
        file: String,
        /// Whose log was to be opened.
        expected: ClusterId,
        /// Whose log it is.
        found: ClusterId,
    },
    /// The folder is another node's.
    #[error(
        "the log file {file} belongs to node {found}, not to node {expected}: this is the folder of another node or a copy of it; correct the configured folder"
    )]
    WrongNode {
        /// Which file.
        file: String,
        /// Whose log was to be opened.
        expected: NodeId,
        /// Whose log it is.
        found: NodeId,
    },
    /// The folder was written by a program this one does not understand.
    #[error(
        "the log file {file} has format version {found}, this program knows version {known}: start the version of skep that wrote it, or a newer one"
    )]
    UnknownVersion {
        /// Which file.
        file: String,
        /// The version it has.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// Another process uses the folder.
    #[error("the log folder {folder} is in use by another process: stop it first")]
    Locked {
        /// Which folder.
        folder: String,
    },
    /// A log was expected where none is.
    #[error(
        "the log folder {folder} holds no log, though this node had one: mount the right device or correct the configured folder. If the log is lost, remove this node from the cluster and let it join anew"
    )]
    Missing {
        /// Which folder.
        folder: String,
    },
    /// An entry is too large to be stored.
    #[error("an entry of {length} bytes is larger than the {limit} an entry may have")]
    TooLarge {
        /// Its length in bytes.
        length: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Entries of a group do not follow one another.
    #[error("{key}: entry {found} does not follow, entry {expected} would")]
    OutOfOrder {
        /// Whose log.
        key: GroupKey,
        /// The index that would follow.
        expected: u64,
        /// The index that came.
        found: u64,
    },
    /// The group's log was removed from this node.
    #[error("{key} was removed from this node's log")]
    Removed {
        /// Which group.
        key: GroupKey,
    },
    /// The node holds more groups than it may.
    #[error("the log holds {limit} groups already, as many as it may")]
    TooManyGroups {
        /// The limit.
        limit: usize,
    },
    /// The log was closed, or stopped after a failure; nothing is durable that was not acknowledged.
    #[error("the log has stopped: {reason}")]
    Stopped {
        /// Why it stopped.
        reason: Arc<str>,
    },
}

impl LogError {
    /// Makes the error of a refused operation.
    pub(crate) fn io(action: &'static str, file: impl Into<String>, source: io::Error) -> Self {
        LogError::Io { action, file: file.into(), source: Arc::new(source) }
    }

    /// Makes the error of a damaged place.
    pub(crate) fn damaged(file: impl Into<String>, offset: u64, problem: impl Into<String>) -> Self {
        LogError::Damaged { file: file.into(), offset, problem: problem.into() }
    }
}

impl From<LogError> for io::Error {
    fn from(error: LogError) -> Self {
        let kind = match &error {
            LogError::Io { source, .. } => source.kind(),
            LogError::Damaged { .. } | LogError::UnknownVersion { .. } => io::ErrorKind::InvalidData,
            LogError::Missing { .. } | LogError::Removed { .. } => io::ErrorKind::NotFound,
            LogError::Locked { .. } => io::ErrorKind::WouldBlock,
            LogError::Stopped { .. } => io::ErrorKind::BrokenPipe,
            LogError::WrongCluster { .. }
            | LogError::WrongNode { .. }
            | LogError::TooLarge { .. }
            | LogError::OutOfOrder { .. }
            | LogError::TooManyGroups { .. } => io::ErrorKind::InvalidInput,
        };
        io::Error::new(kind, error)
    }
}
