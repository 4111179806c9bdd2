//! The log of the limit program: node 0 numbers records and is answered by a quorum of logs.
//!
//! No terms, no elections: the leader is not the one that is killed.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::{mpsc, oneshot};

use super::node::Node;
use super::peer::Kind;

/// Sent to a follower at once at most.
const APPEND_BYTES_MAX: usize = 1 << 20;

type Queue = mpsc::UnboundedReceiver<(u64, Bytes)>;

#[derive(Debug, Default)]
struct Progress {
    next: u64,
    /// What each voter has; the leader's own log is the first.
    matched: Vec<u64>,
    committed: u64,
    waiting: BTreeMap<u64, oneshot::Sender<u64>>,
}

/// The leader's side.
#[derive(Debug)]
pub(super) struct Leader {
    progress: Mutex<Progress>,
    queues: Vec<mpsc::UnboundedSender<(u64, Bytes)>>,
}

impl Leader {
    /// A leader of so many voters, and the queue of each.
    pub(super) fn new(voters: usize) -> (Self, Vec<Queue>) {
        let (queues, receivers) = (0..voters).map(|_voter| mpsc::unbounded_channel()).unzip();
        let progress = Progress { matched: vec![0; voters], ..Progress::default() };
        (Self { progress: Mutex::new(progress), queues }, receivers)
    }

    /// Begins to send what waits.
    pub(super) fn start(node: &Arc<Node>, queues: Vec<Queue>) {
        for (voter, queue) in queues.into_iter().enumerate() {
            tokio::spawn(feed(Arc::clone(node), voter, queue));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts records into the log; returns their number when a quorum has them.
    pub(super) async fn propose(&self, records: Bytes) -> io::Result<u64> {
        let wait = {
            let mut progress = self.lock();
            progress.next += 1;
            let number = progress.next;
            let (answer, wait) = oneshot::channel();
            progress.waiting.insert(number, answer);
            for queue in &self.queues {
                // The queue of a dead follower is closed.
                let _dead = queue.send((number, records.clone()));
            }
            wait
        };
        wait.await.map_err(|_gone| io::Error::other("no quorum"))
    }

    fn matched(&self, voter: usize, number: u64) {
        let mut progress = self.lock();
        progress.matched[voter] = number;
        let mut sorted = progress.matched.clone();
        sorted.sort_unstable();
        // The middle one, or the lower of the two, is on a majority.
        progress.committed = progress.committed.max(sorted[(sorted.len() - 1) / 2]);
        let later = progress.committed + 1;
        let pending = progress.waiting.split_off(&later);
        for (number, answer) in std::mem::replace(&mut progress.waiting, pending) {
            let _gone = answer.send(number);
        }
    }

    /// The newest number a quorum has.
    pub(super) fn committed(&self) -> u64 {
        self.lock().committed
    }
}

/// Sends a voter what waits for it, one batch at a time.
async fn feed(node: Arc<Node>, voter: usize, mut queue: Queue) {
    while let Some((mut last, first)) = queue.recv().await {
        let mut batch = BytesMut::from(first.as_ref());
        while batch.len() < APPEND_BYTES_MAX
            && let Ok((number, records)) = queue.try_recv()
        {
            batch.extend_from_slice(&records);
            last = number;
        }
        let sent = match node.peer(voter) {
            None => node.append(last, batch.freeze()).await,
            Some(peer) => {
                let mut numbered = BytesMut::with_capacity(8 + batch.len());
                numbered.extend_from_slice(&last.to_be_bytes());
                numbered.extend_from_slice(&batch);
                peer.call(Kind::Append, &numbered.freeze()).await.map(|_done| ())
            }
        };
        if sent.is_err() {
            return;
        }
        if let Some(leader) = node.leader() {
            leader.matched(voter, last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Leader;

    #[test]
    fn a_majority_commits() {
        let (leader, _queues) = Leader::new(3);
        leader.matched(0, 5);
        assert_eq!(leader.committed(), 0);
        leader.matched(2, 3);
        assert_eq!(leader.committed(), 3);
        leader.matched(1, 9);
        assert_eq!(leader.committed(), 5);
        let (alone, _queues) = Leader::new(1);
        alone.matched(0, 2);
        assert_eq!(alone.committed(), 2);
    }
}
