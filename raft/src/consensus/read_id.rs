//! Read ids: the index that a replica must have applied so that a read there is linearizable.
//!
//! One is fetched at a time for a group; who comes while one is on its way waits for the next, because that one may be older than his request. Other nodes'
//! fetchers are readers of the leader's, so that one confirmation serves the readers of all nodes.

use std::sync::Arc;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{LinearizableReadError, RaftError};
use openraft::{LinearizerOption, ReadPolicy};
use skep_placement::ids::{GroupId, NodeId, RaftId};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::context::Context;
use super::limits;
use super::state_machine::StateMachine;
use crate::metrics as names;
use crate::types::{MemberNode, Raft, TypeConfig};
use crate::wire::raft::v1::{ReadIdRequest, Status};

/// Who waits for a read id, and until when.
struct Reader {
    answer: oneshot::Sender<Result<u64, String>>,
    deadline: Instant,
}

/// The way to the read ids of one replica.
#[derive(Clone, Debug)]
pub(crate) struct ReadIds {
    queue: mpsc::Sender<Reader>,
}

/// The task's side.
pub(crate) struct ReadIdFetcher {
    queue: mpsc::Receiver<Reader>,
    context: Arc<Context>,
    group: GroupId,
    raft: Raft<StateMachine>,
    label: Arc<str>,
}

/// Makes a queue of readers and the task that serves it.
pub(crate) fn read_ids(context: Arc<Context>, group: GroupId, raft: Raft<StateMachine>, label: Arc<str>) -> (ReadIds, ReadIdFetcher) {
    let (sender, queue) = mpsc::channel(limits::WAITING_READERS_MAX);
    (ReadIds { queue: sender }, ReadIdFetcher { queue, context, group, raft, label })
}

impl ReadIds {
    /// Waits for a read id that is younger than this call.
    pub(crate) async fn get(&self, deadline: Instant) -> Result<u64, String> {
        let (answer, wait) = oneshot::channel();
        self.queue
            .try_send(Reader { answer, deadline })
            .map_err(|_full_or_closed| "too many readers wait, or the replica stops".to_owned())?;
        match tokio::time::timeout_at(deadline, wait).await {
            Ok(Ok(result)) => result,
            Ok(Err(_dropped)) => Err("the replica stops".to_owned()),
            Err(_elapsed) => Err("the leader did not confirm in time that it leads".to_owned()),
        }
    }
}

impl ReadIdFetcher {
    /// Works until everything must end.
    pub(crate) async fn run(mut self) {
        let mut stop = self.context.stop.subscribe();
        loop {
            let first = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                first = self.queue.recv() => first,
            };
            let Some(first) = first else { return };
            let mut readers = vec![first];
            // Whoever is about to ask asks with him, and who comes meanwhile.
            for _turn in 0..limits::READERS_TURNS_MAX {
                let before = readers.len();
                tokio::task::yield_now().await;
                while let Ok(next) = self.queue.try_recv() {
                    readers.push(next);
                }
                if readers.len() == before {
                    break;
                }
            }
            let fetched = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                fetched = self.fetch(&readers) => fetched,
            };
            for reader in readers {
                // Whoever asked may have given up.
                let _gone = reader.answer.send(fetched.clone());
            }
        }
    }

    /// Asks until there is an answer or nobody waits any more.
    async fn fetch(&self, readers: &[Reader]) -> Result<u64, String> {
        let latest = readers.iter().map(|reader| reader.deadline).max().unwrap_or_else(Instant::now);
        // The reason must arrive before the readers give up.
        let deadline = latest.checked_sub(limits::ANSWER_MARGIN).unwrap_or(latest);
        let mut hint = None;
        let mut hops = 0;
        loop {
            // A leader that died silently must not take the time in which another is elected.
            let attempt = deadline.min(Instant::now() + limits::READ_ID_ATTEMPT);
            let (why, leader) = match self.try_fetch(hint, attempt).await {
                Ok(index) => {
                    metrics::counter!(names::READ_IDS_TOTAL, "group" => self.label.to_string()).increment(1);
                    return Ok(index);
                }
                Err(missed) => missed,
            };
            hint = leader;
            hops += 1;
            let pause = if hint.is_some() && hops % limits::HOPS_MAX != 0 { Instant::now() } else { Instant::now() + limits::RETRY_PAUSE };
            if pause >= deadline || readers.iter().all(|reader| reader.answer.is_closed()) {
                return Err(why);
            }
            tokio::time::sleep_until(pause).await;
        }
    }

    /// Asks once: the node that a refusal named, else the leader as this replica knows it.
    async fn try_fetch(&self, hint: Option<NodeId>, deadline: Instant) -> Result<u64, (String, Option<NodeId>)> {
        let leader = hint.or_else(|| leader_of(&self.raft).map(|(_, node)| node));
        let Some(leader) = leader else { return Err(("the group has no leader".to_owned(), None)) };
        if leader == self.context.options.node {
            return confirm(&self.raft, deadline).await;
        }
        let channel = self.context.peers.channel(leader).map_err(|error| (error.to_string(), None))?;
        let left = deadline.saturating_duration_since(Instant::now());
        let request = ReadIdRequest {
            envelope: Some(self.context.envelope(self.group, RaftId(0), RaftId(0))),
            timeout_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
        };
        let reply = match tokio::time::timeout_at(deadline, self.context.lines.read_id(leader, channel, request)).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(status)) => return Err((format!("node {leader}: {}", status.message()), None)),
            Err(_elapsed) => return Err((format!("node {leader} did not answer in time"), None)),
        };
        match reply.status() {
            Status::Ok => Ok(reply.index),
            Status::NotLeader => Err((format!("node {leader} does not lead"), super::propose::named(reply.leader_node))),
            status => Err((format!("node {leader}: {}", status.as_str_name()), None)),
        }
    }
}

/// The leader that a replica knows.
pub(crate) fn leader_of(raft: &Raft<StateMachine>) -> Option<(RaftId, NodeId)> {
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    let leader = metrics.current_leader?;
    let node = metrics.membership_config.get_node(&leader)?;
    Some((RaftId(leader), node.node()))
}

/// Has a leader here confirm with a quorum that it leads, and returns what a reader must have applied.
async fn confirm(raft: &Raft<StateMachine>, deadline: Instant) -> Result<u64, (String, Option<NodeId>)> {
    let left = deadline.saturating_duration_since(Instant::now());
    let option = LinearizerOption::from(ReadPolicy::ReadIndex).with_wait_timeout(left);
    match tokio::time::timeout_at(deadline, raft.get_read_log_id(option)).await {
        Ok(Ok((read, _applied))) => Ok(read.index()),
        Ok(Err(error)) => Err((error.to_string(), hinted(&error))),
        Err(_elapsed) => Err(("no quorum confirmed in time that this node leads".to_owned(), None)),
    }
}

fn hinted(error: &RaftError<TypeConfig, LinearizableReadError<TypeConfig>>) -> Option<NodeId> {
    match error {
        RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)) => forward.leader_node.map(MemberNode::node),
        _ => None,
    }
}
