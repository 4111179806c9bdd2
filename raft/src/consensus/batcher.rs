//! Packs the commands that wait at a leader into entries, so that one round through the log serves many.
//!
//! Commands wait in a bounded queue; a full one refuses at once. While an entry is on its way the next one fills; only what is large by itself does not wait
//! for that. Every command gets its own outcome, or is told whether it was surely not proposed.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use openraft::errors::ClientWriteError;
use openraft::impls::ProgressResponder;
use openraft::raft::ClientWriteResponse;
use prost::Message;
use skep_placement::ids::NodeId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use super::limits;
use super::state_machine::StateMachine;
use crate::metrics as names;
use crate::options::Clock;
use crate::types::{Proposal as EntryData, Raft, TypeConfig};
use crate::wire::meta::v1::{Batch, Outcome, Outcomes, Proposal};

/// What became of a command that has no outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotDone {
    /// This replica does not lead; nothing was proposed. The node that does, if known.
    NotLeader(Option<NodeId>),
    /// This node has no replica of the group; nothing was proposed.
    NoReplica,
    /// The queue or the log is full; nothing was proposed.
    Busy,
    /// The disk is nearly full; nothing was proposed.
    NoSpace,
    /// It was proposed; what came of it is not known.
    Unknown(String),
}

/// A command that waits.
struct Waiting {
    proposal: Proposal,
    bytes: usize,
    answer: oneshot::Sender<Result<Outcome, NotDone>>,
    /// Of the bytes that may wait; given back when the command is answered.
    room: OwnedSemaphorePermit,
}

/// The way into the queue of one replica.
#[derive(Clone, Debug)]
pub(crate) struct Batcher {
    queue: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
}

/// The task's side.
pub(crate) struct Packer {
    queue: mpsc::Receiver<Waiting>,
    raft: Raft<StateMachine>,
    clock: Arc<dyn Clock>,
    label: Arc<str>,
}

/// Makes a queue and the task that empties it.
pub(crate) fn batcher(raft: Raft<StateMachine>, clock: Arc<dyn Clock>, label: Arc<str>) -> (Batcher, Packer) {
    let (sender, queue) = mpsc::channel(limits::WAITING_COMMANDS_MAX);
    let room = Arc::new(Semaphore::new(limits::WAITING_BYTES_MAX));
    (Batcher { queue: sender, room }, Packer { queue, raft, clock, label })
}

impl Batcher {
    /// Proposes a command and waits for its outcome.
    ///
    /// # Cancel safety
    /// Dropped, the command may still be done.
    pub(crate) async fn propose(&self, proposal: Proposal) -> Result<Outcome, NotDone> {
        let bytes = proposal.encoded_len();
        let permits = u32::try_from(bytes.max(1)).map_err(|_too_large| NotDone::Busy)?;
        let room = Arc::clone(&self.room).try_acquire_many_owned(permits).map_err(|_full| NotDone::Busy)?;
        let (answer, outcome) = oneshot::channel();
        self.queue.try_send(Waiting { proposal, bytes, answer, room }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => NotDone::Busy,
            mpsc::error::TrySendError::Closed(_) => NotDone::NotLeader(None),
        })?;
        outcome.await.unwrap_or_else(|_dropped| Err(NotDone::Unknown("this node stops".to_owned())))
    }
}

/// Those who wait for the outcomes of one entry, in its order.
type Askers = Vec<(oneshot::Sender<Result<Outcome, NotDone>>, OwnedSemaphorePermit)>;

impl Packer {
    /// Works until the queue is closed or everything must end.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let (mut on_their_way, mut slow) = (FuturesUnordered::new(), FuturesUnordered::new());
        let mut carried = VecDeque::new();
        loop {
            if goes(&carried, on_their_way.len()) {
                // Whoever is about to propose goes with it.
                tokio::task::yield_now().await;
                let (batch, askers) = self.pack(&mut carried);
                on_their_way.push(propose(self.raft.clone(), batch, askers));
                continue;
            }
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                Some(unanswered) = on_their_way.next() => slow.extend(unanswered),
                Some(()) = slow.next() => {}
                next = self.queue.recv(), if !is_worth_a_further_one(&carried) => match next {
                    Some(next) => carried.push_back(next),
                    None => return,
                },
            }
            while !is_worth_a_further_one(&carried) {
                let Ok(next) = self.queue.try_recv() else { break };
                carried.push_back(next);
            }
        }
    }

    /// Takes what waits into one entry.
    fn pack(&mut self, carried: &mut VecDeque<Waiting>) -> (Batch, Askers) {
        let mut batch = Batch { clock: self.clock.now_micros(), proposals: Vec::new() };
        let mut askers = Vec::new();
        let mut bytes = 0;
        while batch.proposals.len() < limits::ENTRY_COMMANDS_MAX {
            let Some(next) = carried.pop_front().or_else(|| self.queue.try_recv().ok()) else { break };
            // The frame of a command in the entry is at most ten bytes.
            let framed = next.bytes + 10;
            if !batch.proposals.is_empty() && bytes + framed > limits::ENTRY_BYTES_MAX {
                carried.push_front(next);
                break;
            }
            bytes += framed;
            batch.proposals.push(next.proposal);
            askers.push((next.answer, next.room));
        }
        let label = self.label.to_string();
        metrics::histogram!(names::ENTRY_COMMANDS, "group" => label.clone())
            .record(f64::from(u32::try_from(askers.len()).unwrap_or(u32::MAX)));
        let waiting = u32::try_from(self.queue.len() + carried.len()).unwrap_or(u32::MAX);
        metrics::gauge!(names::WAITING_COMMANDS, "group" => label).set(f64::from(waiting));
        (batch, askers)
    }
}

/// Whether what is carried is proposed now, with so many entries on their way.
fn goes(carried: &VecDeque<Waiting>, on_their_way: usize) -> bool {
    match on_their_way {
        0 => !carried.is_empty(),
        limits::ENTRIES_IN_FLIGHT_MAX.. => false,
        _ => is_worth_a_further_one(carried),
    }
}

fn is_worth_a_further_one(carried: &VecDeque<Waiting>) -> bool {
    limits::is_worth_a_further_one(carried.iter().map(|waiting| waiting.bytes))
}

/// Proposes one entry and answers everybody in it. If that takes long: what is left to be done.
async fn propose(raft: Raft<StateMachine>, batch: Batch, askers: Askers) -> Option<BoxFuture<'static, ()>> {
    let data = EntryData { payload: Bytes::from(batch.encode_to_vec()) };
    let (responder, answer) = ProgressResponder::<TypeConfig, _>::complete_only();
    if let Err(fatal) = raft.client_write_ff(data, Some(responder)).await {
        refuse(askers, &NotDone::Unknown(fatal.to_string()));
        return None;
    }
    let mut answer = Box::pin(answer);
    if let Ok(result) = tokio::time::timeout(limits::ENTRY_SLOW, &mut answer).await {
        tell(result, askers);
        return None;
    }
    Some(answer.map(|result| tell(result, askers)).boxed())
}

/// What became of an entry, or that the replica has stopped meanwhile.
type Became<E> = Result<Result<ClientWriteResponse<TypeConfig>, ClientWriteError<TypeConfig>>, E>;

fn tell<E>(became: Became<E>, askers: Askers) {
    match became {
        Ok(Ok(written)) => spread(written.data.payload, askers),
        Ok(Err(ClientWriteError::ForwardToLeader(forward))) => {
            refuse(askers, &NotDone::NotLeader(forward.leader_node.map(crate::types::MemberNode::node)));
        }
        Ok(Err(error)) => refuse(askers, &NotDone::Unknown(error.to_string())),
        Err(_dropped) => refuse(askers, &NotDone::Unknown("this replica stopped".to_owned())),
    }
}

fn spread(payload: Bytes, askers: Askers) {
    let outcomes = match Outcomes::decode(payload) {
        Ok(Outcomes { outcomes }) if outcomes.len() == askers.len() => outcomes,
        Ok(_) | Err(_) => return refuse(askers, &NotDone::Unknown("the state machine's answer does not fit the entry".to_owned())),
    };
    for ((asker, _room), outcome) in askers.into_iter().zip(outcomes) {
        // Whoever asked may have given up.
        let _gone = asker.send(Ok(outcome));
    }
}

fn refuse(askers: Askers, reason: &NotDone) {
    for (asker, _room) in askers {
        let _gone = asker.send(Err(reason.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(bytes: usize) -> Waiting {
        let room = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("there is one");
        Waiting { proposal: Proposal::default(), bytes, answer: oneshot::channel().0, room }
    }

    #[test]
    fn a_further_entry_goes_only_with_much() {
        let mut carried = VecDeque::new();
        assert!(!goes(&carried, 0) && !goes(&carried, 1), "nothing waits");
        carried.push_back(waiting(1));
        assert!(goes(&carried, 0), "nothing is on its way");
        assert!(!goes(&carried, 1), "one command waits for the entry on its way");
        carried.push_back(waiting(limits::FURTHER_BYTES_MIN));
        assert!(goes(&carried, 1) && goes(&carried, limits::ENTRIES_IN_FLIGHT_MAX - 1), "many bytes do not");
        assert!(!goes(&carried, limits::ENTRIES_IN_FLIGHT_MAX), "unless too many are on their way");
        carried = (1..limits::FURTHER_COMMANDS_MIN).map(|_| waiting(1)).collect();
        assert!(!goes(&carried, 1), "fewer commands wait");
        carried.push_back(waiting(1));
        assert!(goes(&carried, 1), "many commands do not");
    }
}
