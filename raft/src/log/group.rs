//! One group's log: what is asked takes effect in memory at once and on the disk in the order asked.
//!
//! Every request may bring a [`Done`]; it is called on the writer's thread once the request and everything before it is durable, and must not block.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::error::LogError;
use super::files::LogFile;
use super::limits;
use super::memory::{Done, GroupMemory, Location, Memory, Place};
use super::record::{GroupKey, LogEntry, LogPosition, Record, StoredVote, take_record};
use super::segment;
use super::shared::Shared;
use crate::format::fields::Fields;

/// A handle on one group's log. Clones are the same log.
#[derive(Clone)]
pub struct GroupLog {
    pub(super) shared: Arc<Shared>,
    pub(super) key: GroupKey,
}

impl fmt::Debug for GroupLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupLog").field("key", &self.key).finish_non_exhaustive()
    }
}

impl GroupLog {
    /// Whose log it is.
    #[must_use]
    pub fn key(&self) -> GroupKey {
        self.key
    }

    /// Saves a vote.
    ///
    /// # Errors
    /// The group was removed or the log has stopped; nothing was changed and `done` is not called.
    pub fn submit_vote(&self, vote: StoredVote, done: Done) -> Result<(), LogError> {
        self.change(|memory, key| {
            memory.group_mut(key)?.points.vote = Some(vote);
            memory.enqueue(key, Some(Record::Vote(vote)), Some(done));
            Ok(())
        })
    }

    /// Appends entries; they can be read when this returns.
    ///
    /// # Errors
    /// They do not follow the last one, one is too large, the group was removed or the log has stopped; nothing was changed and `done` is not called.
    pub fn submit_append(&self, entries: Vec<LogEntry>, done: Done) -> Result<(), LogError> {
        self.change(|memory, key| {
            check_append(key, memory.group_mut(key)?, &entries)?;
            let mut done = Some(done);
            let count = entries.len();
            for (place, entry) in entries.into_iter().enumerate() {
                let last = place + 1 == count;
                memory.append(key, entry, if last { done.take() } else { None })?;
            }
            if done.is_some() {
                memory.enqueue(key, None, done);
            }
            Ok(())
        })
    }

    /// Drops the entries from an index on.
    ///
    /// # Errors
    /// The group was removed or the log has stopped; nothing was changed and `done` is not called.
    pub fn submit_truncate(&self, from: u64, done: Done) -> Result<(), LogError> {
        self.change(|memory, key| {
            memory.truncate(key, from)?;
            memory.enqueue(key, Some(Record::Truncate { from }), Some(done));
            Ok(())
        })
    }

    /// Drops the entries up to one, which need not exist. Going back is no change.
    ///
    /// # Errors
    /// Entries would be missing between it and the first left, the group was removed or the log has stopped; nothing was changed and `done` is not called.
    pub fn submit_purge(&self, upto: LogPosition, done: Done) -> Result<(), LogError> {
        self.change(|memory, key| {
            let group = memory.group_mut(key)?;
            if group.points.purged.is_some_and(|purged| purged.index >= upto.index) {
                memory.enqueue(key, None, Some(done));
                return Ok(());
            }
            let range = group.range();
            if !range.is_empty() && range.start > upto.index + 1 {
                return Err(LogError::OutOfOrder { key, expected: range.start, found: upto.index + 1 });
            }
            memory.purge(key, upto)?;
            memory.enqueue(key, Some(Record::Purge(upto)), Some(done));
            Ok(())
        })
    }

    /// Notes how far entries are committed; it becomes durable with the next batch and forces none.
    ///
    /// # Errors
    /// The group was removed or the log has stopped.
    pub fn note_committed(&self, committed: LogPosition) -> Result<(), LogError> {
        let mut memory = self.shared.memory();
        memory.check_running()?;
        memory.group_mut(self.key)?.points.committed = Some(committed);
        memory.commit(self.key, committed);
        Ok(())
    }

    /// The newest vote.
    ///
    /// # Errors
    /// The group was removed.
    pub fn vote(&self) -> Result<Option<StoredVote>, LogError> {
        self.shared.memory().group_mut(self.key).map(|group| group.points.vote)
    }

    /// How far entries are known to be committed.
    ///
    /// # Errors
    /// The group was removed.
    pub fn committed(&self) -> Result<Option<LogPosition>, LogError> {
        self.shared.memory().group_mut(self.key).map(|group| group.points.committed)
    }

    /// The entry purged up to, and the last entry or the same.
    ///
    /// # Errors
    /// The group was removed.
    pub fn bounds(&self) -> Result<(Option<LogPosition>, Option<LogPosition>), LogError> {
        self.shared.memory().group_mut(self.key).map(|group| (group.points.purged, group.last()))
    }

    /// Reads the entries of a range that exist, from its start, up to so many bytes but at least one. Blocks if some are not in memory.
    ///
    /// # Errors
    /// The group was removed, or a segment is damaged or cannot be read.
    pub fn read(&self, range: Range<u64>, bytes_max: usize) -> Result<Vec<LogEntry>, LogError> {
        self.plan_read(range, bytes_max)?.run()
    }

    /// Decides what to read, as of now.
    pub(super) fn plan_read(&self, range: Range<u64>, bytes_max: usize) -> Result<ReadPlan, LogError> {
        let mut memory = self.shared.memory();
        let group = memory.group_mut(self.key)?;
        let there = group.range();
        let mut plan = ReadPlan { key: self.key, entries: Vec::new(), files: BTreeMap::new() };
        let mut bytes = 0;
        for index in range.start.max(there.start)..range.end.min(there.end) {
            let (position, place, payload) = group.entry(index).expect("the index is in the range");
            let planned = match (payload, place) {
                (Some(payload), _) => {
                    bytes += payload.len();
                    Planned::Ready(LogEntry { position, payload })
                }
                (None, Place::At(location)) => {
                    bytes += usize::try_from(location.length).expect("a record fits into memory");
                    Planned::Stored(position, location)
                }
                (None, Place::Waiting(_)) => unreachable!("an entry that is not written has its payload in memory"),
            };
            if bytes > bytes_max && !plan.entries.is_empty() {
                break;
            }
            plan.entries.push(planned);
        }
        for planned in &plan.entries {
            if let Planned::Stored(_, location) = planned {
                let file = memory.files.get(&location.segment).expect("a segment with entries that are not purged is open");
                plan.files.entry(location.segment).or_insert_with(|| Arc::clone(file));
            }
        }
        Ok(plan)
    }

    fn change(&self, change: impl FnOnce(&mut Memory, GroupKey) -> Result<(), LogError>) -> Result<(), LogError> {
        let mut memory = self.shared.memory();
        memory.check_running()?;
        change(&mut memory, self.key)?;
        drop(memory);
        self.shared.work.notify_one();
        Ok(())
    }
}

fn check_append(key: GroupKey, group: &GroupMemory, entries: &[LogEntry]) -> Result<(), LogError> {
    let mut expected = group.next_index();
    for entry in entries {
        let found = entry.position.index;
        match expected {
            Some(expected) if expected != found => return Err(LogError::OutOfOrder { key, expected, found }),
            _ => expected = Some(found + 1),
        }
        if entry.payload.len() > limits::ENTRY_BYTES_MAX {
            return Err(LogError::TooLarge { length: entry.payload.len(), limit: limits::ENTRY_BYTES_MAX });
        }
    }
    Ok(())
}

/// An entry to return.
enum Planned {
    Ready(LogEntry),
    Stored(LogPosition, Location),
}

/// What a read returns, with the files that stay open for it though they may be unlinked meanwhile.
pub(super) struct ReadPlan {
    key: GroupKey,
    entries: Vec<Planned>,
    files: BTreeMap<u64, Arc<dyn LogFile>>,
}

impl ReadPlan {
    /// Whether nothing must be read from a file.
    pub(super) fn is_in_memory(&self) -> bool {
        self.files.is_empty()
    }

    /// Reads what is not in memory; neighbours in a segment at once.
    pub(super) fn run(self) -> Result<Vec<LogEntry>, LogError> {
        let mut entries = Vec::with_capacity(self.entries.len());
        let mut span: Option<Span> = None;
        for (at, planned) in self.entries.iter().enumerate() {
            match planned {
                Planned::Ready(entry) => entries.push(entry.clone()),
                Planned::Stored(position, location) => {
                    if !span.as_ref().is_some_and(|span| span.holds(*location)) {
                        span = Some(self.read_span(at, *location)?);
                    }
                    let record = span.as_ref().and_then(|span| span.get(*location)).expect("the span was read for it");
                    entries.push(self.decode(*position, *location, record)?);
                }
            }
        }
        Ok(entries)
    }

    /// Reads a record and those that follow it closely.
    fn read_span(&self, at: usize, first: Location) -> Result<Span, LogError> {
        let mut end = first.offset + first.length;
        for planned in self.entries.get(at + 1..).unwrap_or_default() {
            match planned {
                Planned::Stored(_, next)
                    if next.segment == first.segment && next.offset >= end && next.offset - end <= limits::READ_GAP_BYTES_MAX =>
                {
                    end = next.offset + next.length;
                }
                _ => break,
            }
        }
        let file = self.files.get(&first.segment).expect("the plan holds the files it needs");
        let mut bytes = vec![0; usize::try_from(end - first.offset).expect("a span fits into memory")];
        file.read_at(&mut bytes, u64::from(first.offset)).map_err(|error| LogError::io("read", segment::name(first.segment), error))?;
        Ok(Span { segment: first.segment, offset: first.offset, bytes })
    }

    fn decode(&self, position: LogPosition, location: Location, record: &[u8]) -> Result<LogEntry, LogError> {
        let damaged = |problem: String| LogError::damaged(segment::name(location.segment), u64::from(location.offset), problem);
        let mut fields = Fields::new(record);
        match take_record(&mut fields) {
            Ok((key, Record::Entry(entry))) if key == self.key && entry.position == position => Ok(entry),
            Ok(_) => Err(damaged(format!("entry {} of {} is not where it was written", position.index, self.key))),
            Err(error) => Err(damaged(error.to_string())),
        }
    }
}

/// Bytes of a segment.
struct Span {
    segment: u64,
    offset: u32,
    bytes: Vec<u8>,
}

impl Span {
    fn holds(&self, location: Location) -> bool {
        self.get(location).is_some()
    }

    fn get(&self, location: Location) -> Option<&[u8]> {
        let start = usize::try_from(location.offset.checked_sub(self.offset)?).ok()?;
        let length = usize::try_from(location.length).ok()?;
        if location.segment == self.segment { self.bytes.get(start..start + length) } else { None }
    }
}
