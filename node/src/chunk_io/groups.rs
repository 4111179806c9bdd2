//! What reading and writing contents asks of the metadata, as a trait, so that their behaviour is tested without groups.

use std::fmt;

use futures_util::future::BoxFuture;
use skep_placement::ids::GroupId;
use skep_raft::errors::{ProposeError, QueryError};
use skep_raft::handle::{Metadata, Proposed};
use skep_raft::wire::meta::v1 as meta;
use tokio::time::Instant;

/// The groups of the cluster. Means the same as [`Metadata`]'s functions of the same names.
pub trait Groups: Send + Sync + fmt::Debug {
    /// Has a command done exactly once.
    fn propose(&self, group: GroupId, command: meta::Command, deadline: Instant) -> BoxFuture<'_, Result<Proposed, ProposeError>>;
    /// Answers a question by a state that holds everything acknowledged before this call.
    fn query(&self, group: GroupId, query: meta::Query, deadline: Instant) -> BoxFuture<'_, Result<meta::Answer, QueryError>>;
}

impl Groups for Metadata {
    fn propose(&self, group: GroupId, command: meta::Command, deadline: Instant) -> BoxFuture<'_, Result<Proposed, ProposeError>> {
        Box::pin(Metadata::propose(self, group, command, deadline))
    }

    fn query(&self, group: GroupId, query: meta::Query, deadline: Instant) -> BoxFuture<'_, Result<meta::Answer, QueryError>> {
        Box::pin(Metadata::query(self, group, query, deadline))
    }
}
