//! The log as openraft asks for it.
//!
//! Entries and votes keep their order across kinds because a group's requests wait in one queue. `save_vote` returns when the vote is durable, `append`
//! calls back when its entries are; `truncate_after` and `purge` take effect at once and reach the disk in their turn.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;

use futures_util::Stream;
use futures_util::stream::{self, BoxStream};
use openraft::OptionalSend;
use openraft::errors::LeaderChanged;
use openraft::storage::{IOFlushed, LeaderBoundedStreamError, LogState, RaftLogReader, RaftLogStorage};
use tokio::sync::oneshot;

use super::error::LogError;
use super::group::GroupLog;
use super::limits;
use super::record::{LogEntry, LogPosition, StoredVote};
use crate::format::raft_types::{decode_payload, encode_payload};
use crate::types::{Entry, LeaderId, LogId, TypeConfig, Vote};

impl From<LogId> for LogPosition {
    fn from(id: LogId) -> Self {
        Self { term: id.leader_id.term, leader: id.leader_id.node_id, index: id.index }
    }
}

impl From<LogPosition> for LogId {
    fn from(position: LogPosition) -> Self {
        LogId { leader_id: LeaderId { term: position.term, node_id: position.leader }, index: position.index }
    }
}

impl From<Vote> for StoredVote {
    fn from(vote: Vote) -> Self {
        Self { term: vote.leader_id.term, leader: vote.leader_id.node_id, committed: vote.committed }
    }
}

impl From<StoredVote> for Vote {
    fn from(vote: StoredVote) -> Self {
        Vote { leader_id: LeaderId { term: vote.term, node_id: vote.leader }, committed: vote.committed }
    }
}

impl GroupLog {
    /// Reads entries as of now; on a blocking thread if some are not in memory.
    async fn read_entries(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let plan = self.plan_read(range, bytes_max)?;
        let entries = if plan.is_in_memory() {
            plan.run()?
        } else {
            tokio::task::spawn_blocking(move || plan.run()).await.map_err(io::Error::other)??
        };
        entries.into_iter().map(decode).collect()
    }

    fn stored_vote(&self) -> io::Result<Option<Vote>> {
        Ok(self.vote()?.map(Vote::from))
    }
}

fn encode(entry: &Entry) -> LogEntry {
    LogEntry { position: entry.log_id.into(), payload: encode_payload(&entry.payload) }
}

/// Reads what an entry of the log carries.
pub(crate) fn decode(entry: LogEntry) -> io::Result<Entry> {
    let payload = decode_payload(&entry.payload).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(Entry { log_id: entry.position.into(), payload })
}

fn bounds(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

/// A range that is read piece by piece.
struct Pieces {
    log: GroupLog,
    range: Range<u64>,
    /// From now on the next entry must be the first of the range.
    begun: bool,
    ready: std::vec::IntoIter<Entry>,
    /// Only while the saved vote says that this one leads.
    leader: Option<LeaderId>,
}

impl Pieces {
    async fn next(mut self) -> Result<Option<(Entry, Self)>, LeaderBoundedStreamError<TypeConfig>> {
        loop {
            if let Some(entry) = self.ready.next() {
                return Ok(Some((entry, self)));
            }
            self.check_leader()?;
            if self.range.is_empty() {
                return Ok(None);
            }
            let entries = self.log.read_entries(self.range.clone(), limits::READ_BYTES_MAX).await?;
            self.check_leader()?;
            let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(None) };
            if self.begun && first.log_id.index != self.range.start {
                let gone = format!("entry {} of {} was purged while it was read", self.range.start, self.log.key());
                return Err(io::Error::new(io::ErrorKind::NotFound, gone).into());
            }
            self.begun = true;
            self.range.start = last.log_id.index + 1;
            self.ready = entries.into_iter();
        }
    }

    fn check_leader(&self) -> Result<(), LeaderBoundedStreamError<TypeConfig>> {
        let Some(leader) = self.leader else { return Ok(()) };
        match self.log.stored_vote()? {
            Some(vote) if vote.leader_id == leader && vote.committed => Ok(()),
            vote => Err(LeaderChanged::new(leader, vote).into()),
        }
    }

    fn stream(self) -> BoxStream<'static, Result<Entry, LeaderBoundedStreamError<TypeConfig>>> {
        Box::pin(stream::try_unfold(self, Self::next))
    }
}

impl RaftLogReader<TypeConfig> for GroupLog {
    async fn leader_bounded_stream<RB>(
        &mut self,
        leader: LeaderId,
        range: RB,
    ) -> impl Stream<Item = Result<Entry, LeaderBoundedStreamError<TypeConfig>>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let ready = Vec::new().into_iter();
        Pieces { log: self.clone(), range: bounds(&range), begun: false, ready, leader: Some(leader) }.stream()
    }

    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        use futures_util::TryStreamExt;
        let ready = Vec::new().into_iter();
        let pieces = Pieces { log: self.clone(), range: bounds(&range), begun: false, ready, leader: None };
        pieces.stream().map_err(|error| match error {
            LeaderBoundedStreamError::IoError(error) => error,
            LeaderBoundedStreamError::LeaderChanged(changed) => io::Error::other(changed),
        })
    }

    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<Entry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        self.read_entries(bounds(&range), usize::MAX).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        self.stored_vote()
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        self.read_entries(start..end, limits::READ_BYTES_MAX).await
    }
}

impl RaftLogStorage<TypeConfig> for GroupLog {
    type LogReader = GroupLog;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let (purged, last) = self.bounds()?;
        Ok(LogState { last_purged_log_id: purged.map(LogId::from), last_log_id: last.map(LogId::from) })
    }

    async fn get_log_reader(&mut self) -> GroupLog {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let (durable, wait) = oneshot::channel();
        let done = Box::new(move |result| {
            // Whoever asked may have gone; the vote is saved all the same.
            let _gone = durable.send(result);
        });
        self.submit_vote((*vote).into(), done)?;
        let result = wait.await.map_err(|_dropped| LogError::Stopped { reason: "it was closed".into() })?;
        Ok(result?)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        if let Some(committed) = committed {
            self.note_committed(committed.into())?;
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.committed()?.map(LogId::from))
    }

    /// Waits first while too much waits for the writer.
    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<LogEntry> = entries.into_iter().map(|entry| encode(&entry)).collect();
        let bytes: usize = entries.iter().map(|entry| entry.payload.len()).sum();
        let permits = u32::try_from(bytes.min(limits::WAITING_BYTES_MAX)).expect("the limit fits into 32 bits");
        let room = Arc::clone(&self.shared.room).acquire_many_owned(permits).await.map_err(io::Error::other)?;
        let done = Box::new(move |result: Result<(), LogError>| {
            drop(room);
            callback.io_completed(result.map_err(io::Error::from));
        });
        Ok(self.submit_append(entries, done)?)
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let from = last_log_id.map_or(0, |last| last.index + 1);
        Ok(self.submit_truncate(from, Box::new(|_result| {}))?)
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        Ok(self.submit_purge(log_id.into(), Box::new(|_result| {}))?)
    }
}
