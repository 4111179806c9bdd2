//! Lines: one stream to each other node for the small calls that every request needs, appends of few bytes, commands, read ids. A call by itself costs several times
//! what these carry.
//!
//! Invariants: a call is answered once, by its reply, by the end of its line, or not at all because nobody waits for it any more. A call whose line broke may
//! have been handled; only one whose line never came about surely was not.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{Stream, StreamExt};
use skep_placement::ids::NodeId;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use super::context::Context;
use super::{gateway_calls, limits, router};
use crate::options::PeerIdentity;
use crate::wire::raft::v1::raft_client::RaftClient;
use crate::wire::raft::v1::{
    AppendReply, AppendRequest, Call, CallReply, ProposeReply, ProposeRequest, ReadIdReply, ReadIdRequest, Refusal, call, call_reply,
};

/// The lines to other nodes, and the way to the task that holds them.
pub(crate) struct Lines {
    open: Mutex<BTreeMap<NodeId, Arc<Line>>>,
    opening: mpsc::Sender<Opening>,
    taken: Mutex<Option<mpsc::Receiver<Opening>>>,
}

/// A line that is to be opened.
struct Opening {
    node: NodeId,
    channel: Channel,
    line: Arc<Line>,
    calls: mpsc::Receiver<Call>,
}

/// The caller's end of a line.
struct Line {
    calls: mpsc::Sender<Call>,
    number: AtomicU64,
    /// Who waits for which reply; nothing once the line has ended.
    waiting: Mutex<Option<BTreeMap<u64, Answer>>>,
}

type Answer = oneshot::Sender<Result<call_reply::What, Status>>;

impl Default for Lines {
    fn default() -> Self {
        let (opening, taken) = mpsc::channel(limits::LINES_OPENING_MAX);
        Self { open: Mutex::default(), opening, taken: Mutex::new(Some(taken)) }
    }
}

impl Lines {
    /// Sends an append of few bytes and waits for its reply.
    pub(crate) async fn append(&self, node: NodeId, channel: Channel, request: AppendRequest) -> Result<AppendReply, Status> {
        match self.call(node, channel, call::What::Append(request)).await? {
            call_reply::What::Append(reply) => Ok(reply),
            _ => Err(another()),
        }
    }

    /// Sends commands for a leader and waits for what became of them.
    pub(crate) async fn propose(&self, node: NodeId, channel: Channel, request: ProposeRequest) -> Result<ProposeReply, Status> {
        match self.call(node, channel, call::What::Propose(request)).await? {
            call_reply::What::Propose(reply) => Ok(reply),
            _ => Err(another()),
        }
    }

    /// Asks a leader for a read id.
    pub(crate) async fn read_id(&self, node: NodeId, channel: Channel, request: ReadIdRequest) -> Result<ReadIdReply, Status> {
        match self.call(node, channel, call::What::ReadId(request)).await? {
            call_reply::What::ReadId(reply) => Ok(reply),
            _ => Err(another()),
        }
    }

    /// # Cancel safety
    /// Dropped, the call may still be handled.
    async fn call(&self, node: NodeId, channel: Channel, what: call::What) -> Result<call_reply::What, Status> {
        let (line, number, reply) = self.register(node, channel)?;
        let _registered = Registered { line: &line, number };
        // The line may end while its queue is full; its end answers this call too.
        let _ended = line.calls.send(Call { number, what: Some(what) }).await;
        match reply.await.unwrap_or_else(|_dropped| Err(Status::unavailable("the line has ended")))? {
            call_reply::What::Refused(refusal) => {
                Err(Status::new(Code::from_i32(i32::try_from(refusal.code).unwrap_or_default()), refusal.message))
            }
            what => Ok(what),
        }
    }

    /// A place on the open line to a node, or on a new one.
    #[expect(clippy::type_complexity, reason = "three parts of one place, taken apart at once")]
    fn register(
        &self,
        node: NodeId,
        channel: Channel,
    ) -> Result<(Arc<Line>, u64, oneshot::Receiver<Result<call_reply::What, Status>>), Status> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = open.get(&node)
            && let Some((number, reply)) = line.register()
        {
            return Ok((Arc::clone(line), number, reply));
        }
        let (sender, calls) = mpsc::channel(limits::LINE_CALLS_MAX);
        let line = Arc::new(Line { calls: sender, number: AtomicU64::new(0), waiting: Mutex::new(Some(BTreeMap::new())) });
        let (number, reply) = line.register().ok_or_else(another)?;
        let opening = Opening { node, channel, line: Arc::clone(&line), calls };
        self.opening.try_send(opening).map_err(|_full_or_closed| Status::unavailable("this node stops, or opens too many lines"))?;
        open.insert(node, Arc::clone(&line));
        Ok((line, number, reply))
    }

    fn take(&self) -> Option<mpsc::Receiver<Opening>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Line {
    fn waiting(&self) -> MutexGuard<'_, Option<BTreeMap<u64, Answer>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn register(&self) -> Option<(u64, oneshot::Receiver<Result<call_reply::What, Status>>)> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let (answer, reply) = oneshot::channel();
        self.waiting().as_mut()?.insert(number, answer);
        Some((number, reply))
    }

    fn answer(&self, reply: CallReply) {
        let asker = self.waiting().as_mut().and_then(|waiting| waiting.remove(&reply.number));
        if let (Some(asker), Some(what)) = (asker, reply.what) {
            // Whoever asked may have given up.
            let _gone = asker.send(Ok(what));
        }
    }

    fn end(&self, why: &Status) {
        for (_number, asker) in self.waiting().take().into_iter().flatten() {
            let _gone = asker.send(Err(why.clone()));
        }
    }
}

/// Who gives up is not answered any more.
struct Registered<'a> {
    line: &'a Line,
    number: u64,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        if let Some(waiting) = self.line.waiting().as_mut() {
            waiting.remove(&self.number);
        }
    }
}

/// A line that is dropped has ended for everybody who waits.
struct Held(Arc<Line>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.end(&Status::unavailable("this node stops"));
    }
}

/// Holds lines until everything must end.
pub(crate) async fn run(context: Arc<Context>) {
    let Some(mut opening) = context.lines.take() else { return };
    let mut open = JoinSet::new();
    let mut stop = context.stop.subscribe();
    loop {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            Some(_ended) = open.join_next() => {}
            next = opening.recv() => match next {
                Some(next) => drop(open.spawn(hold(Arc::clone(&context), next))),
                None => return,
            },
        }
    }
}

/// Holds one line until it breaks.
async fn hold(context: Arc<Context>, Opening { node, channel, line, calls }: Opening) {
    let held = Held(line);
    let ended = listen(channel, calls, &held.0).await;
    tracing::debug!(%node, %ended, "a line has ended");
    let mut open = context.lines.open.lock().unwrap_or_else(PoisonError::into_inner);
    if open.get(&node).is_some_and(|line| Arc::ptr_eq(line, &held.0)) {
        open.remove(&node);
    }
    drop(open);
    held.0.end(&ended);
}

async fn listen(channel: Channel, calls: mpsc::Receiver<Call>, line: &Line) -> Status {
    let client = RaftClient::new(channel);
    let mut client = client.max_decoding_message_size(limits::MESSAGE_BYTES_MAX).max_encoding_message_size(limits::MESSAGE_BYTES_MAX);
    let mut replies = match client.talk(ReceiverStream::new(calls)).await {
        Ok(response) => response.into_inner(),
        Err(status) => return status,
    };
    loop {
        match replies.message().await {
            Ok(Some(reply)) => line.answer(reply),
            Ok(None) => return Status::unavailable("the other node has ended the line"),
            Err(status) => return status,
        }
    }
}

/// The replies of the other end of a line.
pub(crate) type Replies = Pin<Box<dyn Stream<Item = Result<CallReply, Status>> + Send>>;

/// Answers the calls of a line as they come, each as soon as it can be; once lines are to end, those that have come.
pub(crate) fn answer(context: Arc<Context>, identity: Option<PeerIdentity>, calls: Streaming<Call>) -> Replies {
    let mut ends = context.lines_end.subscribe();
    let ended = async move {
        // Without a sender everything has ended.
        let _closed = ends.wait_for(|ends| *ends).await;
    };
    let calls = tokio_stream::StreamExt::map_while(calls, Result::ok).take_until(ended);
    let replies = calls.map(move |call| answer_one(Arc::clone(&context), identity, call)).buffer_unordered(limits::LINE_ANSWERS_MAX);
    Box::pin(replies.map(Ok))
}

async fn answer_one(context: Arc<Context>, identity: Option<PeerIdentity>, call: Call) -> CallReply {
    let what = match call.what {
        Some(call::What::Append(request)) => router::append(&context, identity, &request).await.map(call_reply::What::Append),
        Some(call::What::Propose(request)) => gateway_calls::propose(&context, identity, request).await.map(call_reply::What::Propose),
        Some(call::What::ReadId(request)) => gateway_calls::read_id(&context, identity, &request).await.map(call_reply::What::ReadId),
        None => Err(Status::invalid_argument("the call is empty, or of a later release")),
    };
    let what = what.unwrap_or_else(|status| {
        call_reply::What::Refused(Refusal { code: i32::from(status.code()).unsigned_abs(), message: status.message().to_owned() })
    });
    CallReply { number: call.number, what: Some(what) }
}

fn another() -> Status {
    Status::internal("the other node answered something else")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> (Arc<Line>, mpsc::Receiver<Call>) {
        let (sender, calls) = mpsc::channel(8);
        (Arc::new(Line { calls: sender, number: AtomicU64::new(0), waiting: Mutex::new(Some(BTreeMap::new())) }), calls)
    }

    #[tokio::test]
    async fn replies_find_who_asked_in_any_order() {
        let (line, _calls) = line();
        let (first, first_reply) = line.register().expect("it is open");
        let (second, second_reply) = line.register().expect("it is open");
        let reply =
            |number, index| CallReply { number, what: Some(call_reply::What::ReadId(ReadIdReply { index, ..ReadIdReply::default() })) };
        line.answer(reply(second, 2));
        line.answer(reply(7, 7));
        line.answer(reply(first, 1));
        let index = |what| match what {
            Ok(Ok(call_reply::What::ReadId(reply))) => reply.index,
            other => panic!("another answer: {other:?}"),
        };
        assert_eq!((index(first_reply.await), index(second_reply.await)), (1, 2));
    }

    #[tokio::test]
    async fn the_end_of_a_line_answers_all_who_wait_and_takes_no_more() {
        let (line, _calls) = line();
        let (_number, reply) = line.register().expect("it is open");
        let (given_up, _reply) = line.register().expect("it is open");
        drop(Registered { line: &line, number: given_up });
        assert_eq!(line.waiting().as_ref().map(BTreeMap::len), Some(1), "who gave up is forgotten");
        drop(Held(Arc::clone(&line)));
        assert_eq!(reply.await.expect("it is answered").map_err(|status| status.code()), Err(Code::Unavailable));
        assert!(line.register().is_none(), "a line that has ended takes nobody");
    }
}
