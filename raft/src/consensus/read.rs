//! Linearizable reads: a read id of the leader, a replica that has applied it, a snapshot of its state.
//!
//! Where this node has no replica the question goes to one that has. A wait that ends at its deadline is an error, never an older answer.

use std::sync::{Arc, PoisonError};

use skep_placement::ids::{GroupId, NodeId, RaftId};
use tokio::time::Instant;

use super::context::Context;
use super::directory::Directory;
use super::limits;
use super::replica::Replica;
use crate::errors::QueryError;
use crate::query;
use crate::state::GroupKind;
use crate::store::remembered::RememberedState;
use crate::store::{ReadState, StateError};
use crate::system_view::SystemView;
use crate::wire::meta::v1::query::What;
use crate::wire::meta::v1::{Answer, Query, answer};
use crate::wire::raft::v1::metadata_client::MetadataClient;
use crate::wire::raft::v1::{QueryRequest, Status};

impl Context {
    /// A fresh view of the system group.
    pub(crate) async fn system(&self, deadline: Instant) -> Result<SystemView, QueryError> {
        let replica =
            self.replica(GroupId::SYSTEM).ok_or_else(|| QueryError::unavailable("this node has no replica of the system group"))?;
        wait_until_fresh(&replica, deadline).await?;
        Ok(self.system_now(&replica))
    }

    /// The view of what the replica of the system group holds now. As long as that does not change, all requests share one, and the rows that it has read.
    fn system_now(&self, replica: &Arc<Replica>) -> SystemView {
        let mut shared = self.system_shared.lock().unwrap_or_else(PoisonError::into_inner);
        // Read before the state: a view that is newer than it says is only replaced too early.
        let key = (replica.id, *replica.state.applied().borrow());
        match &*shared {
            Some((of, view)) if *of == key => view.clone(),
            _ => {
                let view = SystemView::new(Box::new(RememberedState::over(replica.state.snapshot())));
                // A replica that is being stopped is not held.
                if self.replica(GroupId::SYSTEM).is_some_and(|running| Arc::ptr_eq(&running, replica)) {
                    *shared = Some((key, view.clone()));
                }
                view
            }
        }
    }

    /// Makes sure that a group is known here, if it exists at all.
    pub(crate) async fn ensure_group(&self, group: GroupId, deadline: Instant) -> Result<(), QueryError> {
        if group == GroupId::SYSTEM || self.directory().groups.contains_key(&group) {
            return Ok(());
        }
        let view = self.system(deadline).await?;
        let directory = Directory::read(&view).map_err(|error| QueryError::unavailable(error.to_string()))?;
        if !directory.groups.contains_key(&group) {
            return Err(QueryError::NoSuchGroup(group));
        }
        self.set_directory(directory);
        Ok(())
    }

    /// Answers a question, here or elsewhere.
    pub(crate) async fn query(self: &Arc<Self>, group: GroupId, query: Query, deadline: Instant) -> Result<Answer, QueryError> {
        self.ensure_group(group, deadline).await?;
        let mut why = "no node has a replica of the group".to_owned();
        let mut turn = 0;
        while Instant::now() < deadline {
            let mut holders = self.directory().holders(group, self.options.node);
            holders.retain(|node| *node != self.options.node);
            // A replica that has just been placed here may need long to catch up; until then others answer.
            if let Some(replica) = self.replica(group).filter(|replica| replica.is_ready() || holders.is_empty()) {
                return self.query_here(replica, query, deadline).await;
            }
            if let Some(node) = turn_of(&holders, turn) {
                match self.query_there(node, group, query.clone(), deadline).await {
                    Ok(answer) => return Ok(answer),
                    Err(failed) => why = failed,
                }
            }
            turn += 1;
            tokio::time::sleep_until((Instant::now() + limits::RETRY_PAUSE).min(deadline)).await;
        }
        Err(QueryError::unavailable(why))
    }

    /// Answers a question from the replica here.
    pub(crate) async fn query_here(&self, replica: Arc<Replica>, query: Query, deadline: Instant) -> Result<Answer, QueryError> {
        let generation = self.generation(replica.group);
        wait_until_fresh(&replica, deadline).await?;
        let little = reads_little(&query);
        let state: Arc<dyn ReadState> = if little { replica.state.shared() } else { Arc::from(replica.state.snapshot()) };
        let kind = replica.kind;
        let at_once = if little { from_memory(state.as_ref(), kind, &query) } else { Err(StateError::NotInMemory) };
        let answered = match at_once {
            Err(StateError::NotInMemory) => {
                let reading = tokio::task::spawn_blocking(move || query::answer(state.as_ref(), kind, &query)).await;
                reading.map_err(|panicked| QueryError::unavailable(panicked.to_string()))?
            }
            answered => answered,
        };
        let mut found = answered.map_err(|error| {
            (self.options.on_fatal)(&format!("cannot read the state of group {}: {error}", replica.group));
            QueryError::unavailable(error.to_string())
        })?;
        if let Some(answer::What::Changes(page)) = &mut found.what {
            // A state of one generation must not be told as that of another.
            let known = generation.filter(|generation| self.generation(replica.group) == Some(*generation));
            page.generation = known.ok_or_else(|| QueryError::unavailable("the group was recovered meanwhile"))?.0;
        }
        Ok(found)
    }

    async fn query_there(&self, node: NodeId, group: GroupId, query: Query, deadline: Instant) -> Result<Answer, String> {
        let channel = self.peers.channel(node).map_err(|error| error.to_string())?;
        let left = deadline.saturating_duration_since(Instant::now());
        let request = QueryRequest {
            envelope: Some(self.envelope(group, RaftId(0), RaftId(0))),
            query: Some(query),
            timeout_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
            hops: 1,
        };
        let mut client = MetadataClient::new(channel).max_decoding_message_size(limits::MESSAGE_BYTES_MAX);
        let reply = match tokio::time::timeout_at(deadline, client.query(request)).await {
            Ok(Ok(reply)) => reply.into_inner(),
            Ok(Err(status)) => return Err(format!("node {node}: {}", status.message())),
            Err(_elapsed) => return Err(format!("node {node} did not answer in time")),
        };
        match (reply.status(), reply.answer) {
            (Status::Ok, Some(answer)) => Ok(answer),
            (status, _) => Err(format!("node {node}: {}", status.as_str_name())),
        }
    }
}

/// Whether a question is about a few rows, so that going to another thread costs more than the answer if they are in memory.
fn reads_little(query: &Query) -> bool {
    matches!(query.what, Some(What::Stat(_) | What::Content(_) | What::Locate(_) | What::Totals(_) | What::Chunk(_)))
}

/// The answer, if no disk has to be waited for.
fn from_memory(state: &dyn ReadState, kind: GroupKind, query: &Query) -> Result<Answer, StateError> {
    match state.in_memory() {
        Some(in_memory) => query::answer(in_memory.as_ref(), kind, query),
        None => query::answer(state, kind, query),
    }
}

fn turn_of(holders: &[NodeId], turn: usize) -> Option<NodeId> {
    holders.get(turn.checked_rem(holders.len())?).copied()
}

/// Waits until a replica holds everything that was acknowledged before this call.
pub(crate) async fn wait_until_fresh(replica: &Replica, deadline: Instant) -> Result<(), QueryError> {
    let index = replica.read_ids.get(deadline).await.map_err(QueryError::unavailable)?;
    let mut applied = replica.state.applied();
    match tokio::time::timeout_at(deadline, applied.wait_for(|applied| *applied >= index)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_closed)) => Err(QueryError::unavailable("the replica stops")),
        Err(_elapsed) => Err(QueryError::unavailable("the replica here did not catch up in time")),
    }
}
