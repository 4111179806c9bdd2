//! Brings commands to a leader on another node, many in one call: a call costs more than what it carries.
//!
//! While a call to a leader is under way, what comes meanwhile goes with the next; only what is large by itself does not wait for that. Invariant: a command is
//! answered "not proposed" only if its call surely reached nobody; whoever has given up before his command was sent takes it back.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use prost::Message;
use skep_placement::ids::{GroupId, NodeId, RaftId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::context::Context;
use super::limits;
use super::propose::is_surely_not_handled;
use crate::metrics as names;
use crate::wire::meta::v1::Proposal;
use crate::wire::raft::v1::metadata_client::MetadataClient;
use crate::wire::raft::v1::{ProposalReply, ProposeRequest};

/// Why there is no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Missed {
    /// Surely nothing was proposed.
    Not(String),
    /// It may have been proposed.
    Perhaps(String),
    /// Too much waits already; nothing was proposed.
    Busy,
}

/// A group, and the node that leads it.
type Way = (GroupId, NodeId);

/// A command on its way.
pub(crate) struct Waiting {
    way: Way,
    proposal: Proposal,
    bytes: usize,
    deadline: Instant,
    answer: oneshot::Sender<Result<ProposalReply, Missed>>,
    /// Whoever sets it first has the command: its call, or who gives up.
    claimed: Arc<AtomicBool>,
    /// Of the bytes that may wait; given back when the command is answered.
    room: OwnedSemaphorePermit,
}

/// The way into the queue, and the queue until its task takes it.
pub(crate) struct Forwards {
    queue: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
    taken: Mutex<Option<mpsc::Receiver<Waiting>>>,
}

impl Default for Forwards {
    fn default() -> Self {
        let (queue, waiting) = mpsc::channel(limits::WAITING_COMMANDS_MAX);
        Self { queue, room: Arc::new(Semaphore::new(limits::WAITING_BYTES_MAX)), taken: Mutex::new(Some(waiting)) }
    }
}

impl Forwards {
    /// Sends a command to a node and waits for what it says, for as long as one try may take.
    ///
    /// # Cancel safety
    /// Dropped, the command may still be proposed.
    pub(crate) async fn send(&self, way: Way, proposal: Proposal, deadline: Instant) -> Result<ProposalReply, Missed> {
        let bytes = proposal.encoded_len();
        let permits = u32::try_from(bytes.max(1)).map_err(|_too_large| Missed::Busy)?;
        let room = Arc::clone(&self.room).try_acquire_many_owned(permits).map_err(|_full| Missed::Busy)?;
        let (answer, reply) = oneshot::channel();
        let claimed = Arc::new(AtomicBool::new(false));
        let waiting = Waiting { way, proposal, bytes, deadline, answer, claimed: Arc::clone(&claimed), room };
        self.queue.try_send(waiting).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Missed::Busy,
            mpsc::error::TrySendError::Closed(_) => Missed::Not("this node stops".to_owned()),
        })?;
        // A leader that died silently must not take the time in which another is elected.
        match tokio::time::timeout(limits::PROPOSAL_ATTEMPT, reply).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(_dropped)) => Err(Missed::Perhaps("this node stops".to_owned())),
            Err(_elapsed) if !claimed.swap(true, Ordering::AcqRel) => {
                Err(Missed::Not(format!("node {} did not answer earlier commands in time", way.1)))
            }
            Err(_elapsed) => Err(Missed::Perhaps(format!("node {} did not answer in time", way.1))),
        }
    }

    fn take(&self) -> Option<mpsc::Receiver<Waiting>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// What waits for one leader.
struct Lane {
    waiting: VecDeque<Waiting>,
    calls: Arc<Semaphore>,
}

impl Default for Lane {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), calls: Arc::new(Semaphore::new(limits::FORWARDS_IN_FLIGHT_MAX)) }
    }
}

impl Lane {
    /// Whether a call may go now.
    fn goes(&self) -> bool {
        let is_idle = self.calls.available_permits() == limits::FORWARDS_IN_FLIGHT_MAX;
        !self.waiting.is_empty() && (is_idle || limits::is_worth_a_further_one(self.waiting.iter().map(|waiting| waiting.bytes)))
    }

    /// The next call's commands: as many as wait and fit, without those that nobody waits for any more.
    fn take(&mut self) -> Vec<Waiting> {
        let mut taken: Vec<Waiting> = Vec::new();
        let mut bytes = 0;
        while taken.len() < limits::ENTRY_COMMANDS_MAX {
            let Some(next) = self.waiting.pop_front() else { break };
            if next.answer.is_closed() {
                continue;
            }
            if !taken.is_empty() && bytes + next.bytes > limits::ENTRY_BYTES_MAX {
                self.waiting.push_front(next);
                break;
            }
            if next.claimed.swap(true, Ordering::AcqRel) {
                continue;
            }
            bytes += next.bytes;
            taken.push(next);
        }
        taken
    }
}

/// Carries commands until everything must end; calls under way are then dropped, and whoever waits for one hears "perhaps".
pub(crate) async fn run(context: Arc<Context>) {
    let Some(mut queue) = context.forwards.take() else { return };
    let mut lanes: BTreeMap<Way, Lane> = BTreeMap::new();
    let mut calls = JoinSet::new();
    let mut stop = context.stop.subscribe();
    loop {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            Some(_ended) = calls.join_next() => {}
            next = queue.recv() => match next {
                Some(next) => lanes.entry(next.way).or_default().waiting.push_back(next),
                None => return,
            },
        }
        // Whoever is about to send goes with it.
        tokio::task::yield_now().await;
        while let Ok(next) = queue.try_recv() {
            lanes.entry(next.way).or_default().waiting.push_back(next);
        }
        for (way, lane) in &mut lanes {
            while lane.goes() {
                let Ok(permit) = Arc::clone(&lane.calls).try_acquire_owned() else { break };
                let taken = lane.take();
                if !taken.is_empty() {
                    calls.spawn(carry(Arc::clone(&context), *way, taken, permit));
                }
            }
        }
        // A leader that nobody asks for any more needs no lane.
        lanes.retain(|_way, lane| !lane.waiting.is_empty() || lane.calls.available_permits() < limits::FORWARDS_IN_FLIGHT_MAX);
    }
}

/// Makes one call and answers everybody in it.
async fn carry(context: Arc<Context>, way: Way, taken: Vec<Waiting>, permit: OwnedSemaphorePermit) {
    let latest = taken.iter().map(|waiting| waiting.deadline).max().unwrap_or_else(Instant::now);
    let (proposals, askers): (Vec<_>, Vec<_>) = taken.into_iter().map(|waiting| (waiting.proposal, (waiting.answer, waiting.room))).unzip();
    metrics::histogram!(names::FORWARDED_COMMANDS).record(f64::from(u32::try_from(proposals.len()).unwrap_or(u32::MAX)));
    let replies = call(&context, way, proposals, latest).await;
    drop(permit);
    let replies = match replies {
        Ok(replies) if replies.len() == askers.len() => replies.into_iter().map(Ok).collect(),
        Ok(_) => vec![Err(Missed::Perhaps(format!("node {} answered something else", way.1))); askers.len()],
        Err(missed) => vec![Err(missed); askers.len()],
    };
    for ((asker, _room), reply) in askers.into_iter().zip(replies) {
        // Whoever asked may have given up.
        let _gone = asker.send(reply);
    }
}

async fn call(context: &Context, (group, node): Way, proposals: Vec<Proposal>, deadline: Instant) -> Result<Vec<ProposalReply>, Missed> {
    let channel = context.peers.channel(node).map_err(|error| Missed::Not(error.to_string()))?;
    let left = deadline.saturating_duration_since(Instant::now());
    let is_small = proposals.iter().map(Proposal::encoded_len).sum::<usize>() <= limits::LINE_CALL_BYTES_MAX;
    let request = ProposeRequest {
        envelope: Some(context.envelope(group, RaftId(0), RaftId(0))),
        proposals,
        timeout_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
    };
    let sent = async {
        if is_small {
            return context.lines.propose(node, channel, request).await;
        }
        let client = MetadataClient::new(channel);
        let mut client = client.max_decoding_message_size(limits::MESSAGE_BYTES_MAX).max_encoding_message_size(limits::MESSAGE_BYTES_MAX);
        client.propose(request).await.map(tonic::Response::into_inner)
    };
    // A leader that died silently must not take the time in which another is elected.
    match tokio::time::timeout(limits::PROPOSAL_ATTEMPT, sent).await {
        Ok(Ok(reply)) => Ok(reply.replies),
        Ok(Err(status)) if is_surely_not_handled(&status) => Err(Missed::Not(format!("node {node}: {}", status.message()))),
        Ok(Err(status)) => Err(Missed::Perhaps(format!("node {node}: {}", status.message()))),
        Err(_elapsed) => Err(Missed::Perhaps(format!("node {node} did not answer in time"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(bytes: usize) -> (Waiting, oneshot::Receiver<Result<ProposalReply, Missed>>) {
        let (answer, reply) = oneshot::channel();
        let room = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("there is one");
        let way = (GroupId(1), NodeId(2));
        let claimed = Arc::new(AtomicBool::new(false));
        (Waiting { way, proposal: Proposal::default(), bytes, deadline: Instant::now(), answer, claimed, room }, reply)
    }

    #[tokio::test]
    async fn calls_take_what_fits_and_leave_out_who_gave_up() {
        let mut lane = Lane::default();
        let half = limits::ENTRY_BYTES_MAX / 2;
        let mut replies = Vec::new();
        for bytes in [half, 1, half + 1, limits::ENTRY_BYTES_MAX + 1] {
            let (waiting, reply) = waiting(bytes);
            lane.waiting.push_back(waiting);
            replies.push(reply);
        }
        drop(replies.remove(1));
        let sizes = |taken: Vec<Waiting>| taken.iter().map(|waiting| waiting.bytes).collect::<Vec<_>>();
        assert_eq!(sizes(lane.take()), [half], "two would be too many bytes, and one has no asker");
        assert_eq!(sizes(lane.take()), [half + 1]);
        assert_eq!(sizes(lane.take()), [limits::ENTRY_BYTES_MAX + 1], "one alone may be larger");
        assert!(lane.take().is_empty());
    }

    #[tokio::test]
    async fn a_further_call_goes_only_with_much() {
        let mut lane = Lane::default();
        let mut replies = Vec::new();
        let mut add = |lane: &mut Lane, bytes| {
            let (waiting, reply) = waiting(bytes);
            lane.waiting.push_back(waiting);
            replies.push(reply);
        };
        assert!(!lane.goes(), "nothing waits");
        add(&mut lane, 1);
        assert!(lane.goes(), "no call is under way");
        let under_way = Arc::clone(&lane.calls).try_acquire_owned().expect("there are some");
        assert!(!lane.goes(), "one command waits for the call under way");
        add(&mut lane, limits::FURTHER_BYTES_MIN);
        assert!(lane.goes(), "many bytes do not");
        lane.take();
        for _ in 0..limits::FURTHER_COMMANDS_MIN {
            assert!(!lane.goes(), "fewer commands wait");
            add(&mut lane, 1);
        }
        assert!(lane.goes(), "many commands do not");
        lane.take();
        add(&mut lane, 1);
        drop(under_way);
        assert!(lane.goes(), "the call has ended");
    }

    #[tokio::test]
    async fn who_gives_up_takes_his_command_back_unless_it_was_sent() {
        let forwards = Arc::new(Forwards::default());
        let mut queue = forwards.take().expect("nobody has taken it");
        let mut lane = Lane::default();
        let send =
            |forwards: Arc<Forwards>| async move { forwards.send((GroupId(1), NodeId(2)), Proposal::default(), Instant::now()).await };
        let sent = tokio::spawn(send(Arc::clone(&forwards)));
        lane.waiting.push_back(queue.recv().await.expect("it waits"));
        let mut under_way = lane.take();
        assert_eq!(under_way.len(), 1, "its call goes");
        let unsent = tokio::spawn(send(Arc::clone(&forwards)));
        lane.waiting.push_back(queue.recv().await.expect("it waits"));
        assert!(matches!(sent.await.expect("no panic"), Err(Missed::Perhaps(_))), "its call may have reached the leader");
        assert!(matches!(unsent.await.expect("no panic"), Err(Missed::Not(_))), "it surely has not");
        assert!(lane.take().is_empty(), "and never will");
        under_way.clear();
    }

    #[tokio::test]
    async fn bytes_that_wait_are_bounded() {
        let forwards = Forwards::default();
        let _all = Arc::clone(&forwards.room).try_acquire_many_owned(u32::try_from(limits::WAITING_BYTES_MAX).expect("it fits"));
        let sent = forwards.send((GroupId(1), NodeId(2)), Proposal::default(), Instant::now()).await;
        assert_eq!(sent, Err(Missed::Busy));
    }
}
