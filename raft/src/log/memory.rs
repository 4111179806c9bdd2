//! What the log holds in memory: where each group's entries lie, how each group stands, the newest payloads, and what waits for the writer.
//!
//! Memory runs ahead of the disk: an entry can be read as soon as it was appended. The payloads in memory are always the last ones of a group, and
//! an entry not yet written always has its payload here.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::LogError;
use super::files::LogFile;
use super::header::Points;
use super::limits;
use super::record::{GroupKey, LogEntry, LogPosition, Record};

/// What is called when a request is durable, or can no longer become so.
pub type Done = Box<dyn FnOnce(Result<(), LogError>) + Send>;

/// Where an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It waits for the writer, under this sequence.
    Waiting(u64),
    /// Its record lies in a segment.
    At(Location),
}

/// Where a record lies, in bytes from the start of its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) segment: u64,
    pub(crate) offset: u32,
    pub(crate) length: u32,
}

/// Entries of one leader, from an index to the next run.
#[derive(Clone, Copy, Debug)]
struct LeaderRun {
    start: u64,
    term: u64,
    leader: u64,
}

/// The log of one group.
#[derive(Debug, Default)]
pub(crate) struct GroupMemory {
    pub(crate) points: Points,
    /// Index of the first place.
    first: u64,
    places: VecDeque<Place>,
    leaders: VecDeque<LeaderRun>,
    /// Payloads of the last entries.
    cached: VecDeque<Bytes>,
}

/// What came of dropping a payload from memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Eviction {
    Dropped(usize),
    /// It was not there any more.
    Gone,
    /// The entry is not on the disk yet.
    Waiting,
}

impl GroupMemory {
    /// A group without entries.
    pub(crate) fn new(points: Points) -> Self {
        Self { points, ..Self::default() }
    }

    /// Indexes of the entries there are.
    pub(crate) fn range(&self) -> Range<u64> {
        self.first..self.first + length_of(&self.places)
    }

    /// The last entry, or where the group was purged to.
    pub(crate) fn last(&self) -> Option<LogPosition> {
        let range = self.range();
        if range.is_empty() { self.points.purged } else { self.position(range.end - 1) }
    }

    /// The index that the next entry must have; none if any will do.
    pub(crate) fn next_index(&self) -> Option<u64> {
        if self.places.is_empty() { self.points.purged.map(|purged| purged.index + 1) } else { Some(self.range().end) }
    }

    fn position(&self, index: u64) -> Option<LogPosition> {
        let run = self.leaders.partition_point(|run| run.start <= index).checked_sub(1).and_then(|run| self.leaders.get(run))?;
        Some(LogPosition { term: run.term, leader: run.leader, index })
    }

    /// An entry's position, place, and payload if that is in memory.
    pub(crate) fn entry(&self, index: u64) -> Option<(LogPosition, Place, Option<Bytes>)> {
        let at = usize::try_from(index.checked_sub(self.first)?).ok()?;
        let place = *self.places.get(at)?;
        let payload = (at + self.cached.len()).checked_sub(self.places.len()).and_then(|at| self.cached.get(at)).cloned();
        Some((self.position(index)?, place, payload))
    }

    /// Adds an entry at the end; the caller has checked that it follows.
    pub(crate) fn push(&mut self, position: LogPosition, place: Place, payload: Option<Bytes>) {
        if self.places.is_empty() {
            self.first = position.index;
        }
        assert_eq!(position.index, self.range().end, "entries follow one another");
        if self.leaders.back().is_none_or(|run| (run.term, run.leader) != (position.term, position.leader)) {
            self.leaders.push_back(LeaderRun { start: position.index, term: position.term, leader: position.leader });
        }
        self.places.push_back(place);
        match payload {
            Some(payload) => self.cached.push_back(payload),
            None => assert!(self.cached.is_empty(), "the payloads in memory are the last ones"),
        }
    }

    /// Drops the entries from an index on; returns the bytes of payload freed.
    pub(crate) fn truncate(&mut self, from: u64) -> usize {
        let mut freed = 0;
        while self.range().end > from && self.places.pop_back().is_some() {
            freed += self.cached.pop_back().map_or(0, |payload| payload.len());
        }
        while self.leaders.back().is_some_and(|run| run.start >= self.range().end) {
            self.leaders.pop_back();
        }
        freed
    }

    /// Drops the entries up to one; returns the bytes of payload freed.
    pub(crate) fn purge(&mut self, upto: LogPosition) -> usize {
        let mut freed = 0;
        while self.first <= upto.index && self.places.pop_front().is_some() {
            self.first += 1;
            if self.cached.len() > self.places.len() {
                freed += self.cached.pop_front().map_or(0, |payload| payload.len());
            }
        }
        while self.leaders.get(1).is_some_and(|next| next.start <= self.first) || (self.places.is_empty() && !self.leaders.is_empty()) {
            self.leaders.pop_front();
        }
        self.points.purged = Some(upto);
        freed
    }

    /// Notes where a waiting entry was written, unless it has gone meanwhile.
    fn locate(&mut self, index: u64, sequence: u64, location: Location) {
        let at = index.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        if let Some(place) = at.and_then(|at| self.places.get_mut(at))
            && *place == Place::Waiting(sequence)
        {
            *place = Place::At(location);
        }
    }

    fn evict(&mut self, index: u64) -> Eviction {
        if self.cached.is_empty() || index != self.range().end - length_of(&self.cached) {
            return Eviction::Gone;
        }
        match self.entry(index) {
            Some((_, Place::At(_), _)) => Eviction::Dropped(self.cached.pop_front().map_or(0, |payload| payload.len())),
            _ => Eviction::Waiting,
        }
    }

    fn cached_bytes(&self) -> usize {
        self.cached.iter().map(Bytes::len).sum()
    }
}

fn length_of<T>(queue: &VecDeque<T>) -> u64 {
    u64::try_from(queue.len()).expect("a length fits into 64 bits")
}

/// One record on its way to the disk, or only somebody who waits for all before.
pub(crate) struct Waiting {
    pub(crate) key: GroupKey,
    pub(crate) record: Option<Record>,
    pub(crate) sequence: u64,
    pub(crate) done: Option<Done>,
}

/// Everything in memory, behind one lock.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) groups: BTreeMap<GroupKey, GroupMemory>,
    pub(crate) waiting: VecDeque<Waiting>,
    /// Committed ids that ride with the next batch after everything that came before them.
    committed: BTreeMap<GroupKey, (u64, LogPosition)>,
    next_sequence: u64,
    /// Bytes of all payloads in memory, and their entries in the order appended (with some that have gone).
    cached_bytes: usize,
    cached_order: VecDeque<(GroupKey, u64)>,
    cached_bytes_max: usize,
    /// Segments to read from.
    pub(crate) files: BTreeMap<u64, Arc<dyn LogFile>>,
    pub(crate) closing: bool,
    /// Why nothing is written any more.
    pub(crate) stopped: Option<Arc<str>>,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").field("groups", &self.groups.len()).field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

impl Memory {
    /// Memory of what was recovered, with a bound on the payloads it keeps.
    pub(crate) fn new(groups: BTreeMap<GroupKey, GroupMemory>, files: BTreeMap<u64, Arc<dyn LogFile>>, cached_bytes_max: usize) -> Self {
        Self { groups, files, cached_bytes_max, ..Self::default() }
    }

    /// Refuses when the log has stopped or is about to.
    pub(crate) fn check_running(&self) -> Result<(), LogError> {
        match &self.stopped {
            Some(reason) => Err(LogError::Stopped { reason: Arc::clone(reason) }),
            None if self.closing => Err(LogError::Stopped { reason: "it was closed".into() }),
            None => Ok(()),
        }
    }

    /// Finds a group that was not removed.
    pub(crate) fn group_mut(&mut self, key: GroupKey) -> Result<&mut GroupMemory, LogError> {
        self.groups.get_mut(&key).ok_or(LogError::Removed { key })
    }

    /// Queues one record, or only a wish to be told.
    pub(crate) fn enqueue(&mut self, key: GroupKey, record: Option<Record>, done: Option<Done>) -> u64 {
        let sequence = self.take_sequence();
        self.waiting.push_back(Waiting { key, record, sequence, done });
        sequence
    }

    fn take_sequence(&mut self) -> u64 {
        self.next_sequence += 1;
        self.next_sequence
    }

    /// Appends one entry that was checked, in memory and to what waits.
    pub(crate) fn append(&mut self, key: GroupKey, entry: LogEntry, done: Option<Done>) -> Result<(), LogError> {
        let position = entry.position;
        let payload = entry.payload.clone();
        self.group_mut(key)?;
        let sequence = self.enqueue(key, Some(Record::Entry(entry)), done);
        self.cached_bytes += payload.len();
        self.cached_order.push_back((key, position.index));
        self.group_mut(key)?.push(position, Place::Waiting(sequence), Some(payload));
        Ok(())
    }

    /// Drops a group's entries from an index on.
    pub(crate) fn truncate(&mut self, key: GroupKey, from: u64) -> Result<(), LogError> {
        let freed = self.group_mut(key)?.truncate(from);
        self.cached_bytes -= freed;
        Ok(())
    }

    /// Drops a group's entries up to one.
    pub(crate) fn purge(&mut self, key: GroupKey, upto: LogPosition) -> Result<(), LogError> {
        let freed = self.group_mut(key)?.purge(upto);
        self.cached_bytes -= freed;
        Ok(())
    }

    /// Forgets a group.
    pub(crate) fn remove(&mut self, key: GroupKey) -> Result<(), LogError> {
        let group = self.groups.remove(&key).ok_or(LogError::Removed { key })?;
        self.cached_bytes -= group.cached_bytes();
        self.committed.remove(&key);
        Ok(())
    }

    /// Notes a committed id that rides with the next batch.
    pub(crate) fn commit(&mut self, key: GroupKey, position: LogPosition) {
        let sequence = self.take_sequence();
        self.committed.insert(key, (sequence, position));
    }

    /// Takes what waits, up to the limit of a batch or one larger record.
    pub(crate) fn take_batch(&mut self) -> Vec<Waiting> {
        let mut taken = Vec::new();
        let mut bytes = 0;
        while let Some(waiting) = self.waiting.front() {
            bytes += waiting.record.as_ref().map_or(0, Record::length);
            if bytes > limits::BATCH_BYTES_MAX && !taken.is_empty() {
                break;
            }
            taken.extend(self.waiting.pop_front());
        }
        taken
    }

    /// Takes the committed ids that came before all that still waits, so that none is written before its entry.
    pub(crate) fn take_committed(&mut self) -> Vec<(GroupKey, LogPosition)> {
        let before = self.waiting.front().map_or(u64::MAX, |waiting| waiting.sequence);
        let ready: Vec<_> =
            self.committed.iter().filter(|(_, (sequence, _))| *sequence < before).map(|(key, (_, at))| (*key, *at)).collect();
        for (key, _) in &ready {
            self.committed.remove(key);
        }
        ready
    }

    /// Whether committed ids wait for a batch.
    pub(crate) fn has_committed(&self) -> bool {
        !self.committed.is_empty()
    }

    /// Notes where an entry was written.
    pub(crate) fn locate(&mut self, key: GroupKey, index: u64, sequence: u64, location: Location) {
        if let Some(group) = self.groups.get_mut(&key) {
            group.locate(index, sequence, location);
        }
    }

    /// Drops the oldest payloads until the bounds are kept, as far as they are on the disk.
    pub(crate) fn evict(&mut self) {
        while self.cached_bytes > self.cached_bytes_max || self.cached_order.len() > limits::CACHE_ENTRIES_MAX {
            let Some((key, index)) = self.cached_order.front().copied() else { return };
            match self.groups.get_mut(&key).map_or(Eviction::Gone, |group| group.evict(index)) {
                Eviction::Waiting => return,
                Eviction::Gone => {}
                Eviction::Dropped(bytes) => self.cached_bytes -= bytes,
            }
            self.cached_order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use skep_placement::ids::{GroupId, RaftId};

    use super::*;

    const KEY: GroupKey = GroupKey { group: GroupId(1), raft: RaftId(1) };

    fn entry(index: u64) -> LogEntry {
        LogEntry { position: LogPosition { term: index / 3, leader: 1, index }, payload: Bytes::from(vec![0; 10]) }
    }

    fn location(index: u64) -> Location {
        Location { segment: 1, offset: u32::try_from(index).expect("small"), length: 1 }
    }

    #[test]
    fn payloads_leave_memory_oldest_first_and_never_before_they_are_written() {
        let mut memory = Memory { cached_bytes_max: 35, ..Memory::default() };
        memory.groups.insert(KEY, GroupMemory::default());
        for index in 0..6 {
            memory.append(KEY, entry(index), None).expect("the group is there");
        }
        memory.evict();
        assert_eq!(memory.cached_bytes, 60, "nothing is written yet");
        for waiting in memory.take_batch() {
            let Some(Record::Entry(entry)) = waiting.record else { panic!("only entries wait") };
            memory.locate(KEY, entry.position.index, waiting.sequence, location(entry.position.index));
        }
        memory.evict();
        assert_eq!(memory.cached_bytes, 30, "the oldest half has left");
        let group = memory.groups.get(&KEY).expect("the group is there");
        let there: Vec<bool> = (0..6).map(|index| group.entry(index).expect("it exists").2.is_some()).collect();
        assert_eq!(there, [false, false, false, true, true, true], "the last ones stay");
    }

    #[test]
    fn truncated_and_purged_entries_are_gone_with_their_leaders() {
        let mut memory = Memory { cached_bytes_max: 1000, ..Memory::default() };
        memory.groups.insert(KEY, GroupMemory::default());
        for index in 0..9 {
            memory.append(KEY, entry(index), None).expect("the group is there");
        }
        memory.truncate(KEY, 7).expect("the group is there");
        memory.purge(KEY, entry(4).position).expect("the group is there");
        let group = memory.groups.get(&KEY).expect("the group is there");
        assert_eq!(group.range(), 5..7, "what is left");
        assert_eq!(group.last(), Some(entry(6).position), "the last one");
        assert_eq!(group.entry(5).expect("it exists").0, entry(5).position, "the leader before is known");
        assert_eq!(memory.cached_bytes, 20, "two payloads are left");
        memory.truncate(KEY, 0).expect("the group is there");
        let group = memory.groups.get(&KEY).expect("the group is there");
        assert_eq!((group.last(), group.next_index()), (Some(entry(4).position), Some(5)), "empty after the purge");
    }

    #[test]
    fn a_committed_id_never_overtakes_what_came_before_it() {
        let mut memory = Memory { cached_bytes_max: 1000, ..Memory::default() };
        memory.groups.insert(KEY, GroupMemory::default());
        memory.append(KEY, entry(0), None).expect("the group is there");
        memory.commit(KEY, entry(0).position);
        assert!(memory.take_committed().is_empty(), "its entry still waits");
        assert_eq!(memory.take_batch().len(), 1, "the entry is taken");
        assert_eq!(memory.take_committed(), vec![(KEY, entry(0).position)], "now it may ride");
    }
}
