//! What can go wrong when metadata are asked or changed, each with what the caller can do.

use std::time::Duration;

use skep_placement::ids::{GroupId, NodeId};

use crate::wire::meta::v1::Rejection;

/// Why the metadata of a node did not start. The node must not serve.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The options contradict themselves; all faults are listed.
    #[error("the options of the metadata are wrong: {}", faults.join("; "))]
    Options {
        /// Each fault as a sentence.
        faults: Vec<String>,
    },
    /// The log cannot be opened.
    #[error(transparent)]
    Log(#[from] crate::log::LogError),
    /// The folder of a group's replica cannot be used.
    #[error("the replica of group {group} in {folder} cannot be opened: {problem}")]
    Replica {
        /// Whose replica.
        group: GroupId,
        /// Its folder.
        folder: String,
        /// What is wrong.
        problem: String,
    },
    /// The node has no replica of the system group and was not told which one to begin.
    #[error("this node has no replica of the system group yet: start it with `skep init` or `skep join`")]
    NoSystemReplica,
    /// The log holds another replica of the system group than the node was told.
    #[error(
        "the log of this node holds replica {found} of the system group, but the node is told to be replica {expected}: correct the configured folder"
    )]
    OtherSystemReplica {
        /// What the node was told.
        expected: u64,
        /// What its log says.
        found: u64,
    },
}

/// Why a command was not done, or is not known to be done.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ProposeError {
    /// The command was applied and refused; nothing was changed.
    #[error("refused: {0:?}")]
    Rejected(Rejection),
    /// Nothing was proposed and nothing was changed; a later try may succeed.
    #[error("the metadata are not available: {why}")]
    Unavailable {
        /// For people.
        why: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// The command may have been done or may still be done. Never try it again under a new id.
    #[error("it is unknown whether the command was done: {why}")]
    Unknown {
        /// For people.
        why: String,
    },
    /// Too much waits already; nothing was proposed.
    #[error("too many commands wait")]
    TooBusy,
    /// The command is larger than an entry may be.
    #[error("the command has {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Its encoded length.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The leader's disk is nearly full; only commands that free space are taken.
    #[error("the disk of the metadata is nearly full")]
    NoSpace,
    /// There is no such group.
    #[error("there is no group {0}")]
    NoSuchGroup(GroupId),
}

/// Why a question was not answered. Absence is an answer, never an error.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum QueryError {
    /// No answer that is surely fresh could be had in time.
    #[error("the metadata are not available: {why}")]
    Unavailable {
        /// For people.
        why: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// There is no such group.
    #[error("there is no group {0}")]
    NoSuchGroup(GroupId),
}

impl QueryError {
    /// Makes the error for what may be better soon.
    pub(crate) fn unavailable(why: impl Into<String>) -> Self {
        QueryError::Unavailable { why: why.into(), retry_after: crate::consensus::limits::RETRY_AFTER }
    }
}

impl ProposeError {
    /// Makes the error for what was surely not proposed.
    pub(crate) fn unavailable(why: impl Into<String>) -> Self {
        ProposeError::Unavailable { why: why.into(), retry_after: crate::consensus::limits::RETRY_AFTER }
    }
}

/// Why no channel to a node can be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("node {node} cannot be reached: {why}")]
pub struct PeerError {
    /// Which node.
    pub node: NodeId,
    /// For people.
    pub why: String,
}
