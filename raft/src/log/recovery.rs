//! What a start believes of the files it finds. It changes nothing.
//!
//! A bad batch is a torn tail only in the last segment and only if no later batch is valid; anything else is damage and refused. In a segment
//! nothing counts from the first batch number of any later segment on. The last valid batch is held back, because the caller writes it again:
//! it may never have been synced.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_placement::ids::{ClusterId, NodeId};

use super::batch::{BatchBody, BatchCopy, HEAD_BYTES, PlacedRecord, find_batch};
use super::error::LogError;
use super::files::{LogFile, LogFiles};
use super::header::{Header, Points};
use super::limits;
use super::memory::{GroupMemory, Location, Place};
use super::record::{GroupKey, Record};
use super::segment;
use super::written::{SegmentUse, Written};

/// Bytes read to find a header: more than one with the most groups takes.
const HEADER_BYTES_MAX: u64 = 1024 * 1024;

/// Whose log it must be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    pub(crate) cluster: ClusterId,
    pub(crate) node: NodeId,
}

/// What was found, all but the last batch taken in.
#[derive(Debug, Default)]
pub(crate) struct Recovery {
    pub(crate) groups: BTreeMap<GroupKey, GroupMemory>,
    pub(crate) written: Written,
    pub(crate) files: BTreeMap<u64, Arc<dyn LogFile>>,
    /// The last valid batch.
    pub(crate) last: Option<HeldBatch>,
    /// The number of the next batch.
    pub(crate) next_number: u64,
    /// The number of the next segment.
    pub(crate) next_segment: u64,
    /// A segment that counts was found.
    begun: bool,
    /// The header whose points are compared before the next batch is taken in.
    unchecked: Option<(String, BTreeMap<GroupKey, Points>)>,
}

/// A valid batch and where it starts.
#[derive(Clone, Debug)]
pub(crate) struct HeldBatch {
    pub(crate) number: u64,
    pub(crate) body: BatchBody,
    segment: u64,
    offset: u64,
}

/// A segment before its batches are read.
struct Segment {
    number: u64,
    name: String,
    file: Arc<dyn LogFile>,
    length: u64,
    header: Header,
    start: u64,
}

/// Reads the whole log.
///
/// # Errors
/// It is damaged, another's, of an unknown version, or cannot be read.
pub(crate) fn recover(files: &dyn LogFiles, identity: Identity) -> Result<Recovery, LogError> {
    let segments = open_segments(files, identity)?;
    let mut recovery = Recovery { next_number: 1, next_segment: 1, ..Recovery::default() };
    for (place, segment) in segments.iter().enumerate() {
        let later = segments.get(place + 1..).unwrap_or_default();
        // What a later segment begins with is written there again.
        let end = later.iter().map(|later| later.header.first).min();
        recovery.read_segment(segment, end)?;
    }
    Ok(recovery)
}

fn open_segments(files: &dyn LogFiles, identity: Identity) -> Result<Vec<Segment>, LogError> {
    let names = files.list().map_err(|error| LogError::io("list the folder of", files.folder(), error))?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment::number(name)).collect();
    numbers.sort_unstable();
    // A number may be missing: a segment that a start made and the next start replaced, lost with the power. Batch numbers tell whether that matters.
    numbers.into_iter().map(|number| open_segment(files, identity, number)).collect()
}

fn open_segment(files: &dyn LogFiles, identity: Identity, number: u64) -> Result<Segment, LogError> {
    let name = segment::name(number);
    let file = files.open(&name).map_err(|error| LogError::io("open", &name, error))?;
    let length = file.length().map_err(|error| LogError::io("read", &name, error))?;
    let head = read(file.as_ref(), &name, length.min(HEADER_BYTES_MAX))?;
    let (header, start) = Header::decode(&name, &head)?;
    if header.cluster != identity.cluster {
        return Err(LogError::WrongCluster { file: name, expected: identity.cluster, found: header.cluster });
    }
    if header.node != identity.node {
        return Err(LogError::WrongNode { file: name, expected: identity.node, found: header.node });
    }
    if header.segment != number {
        return Err(LogError::damaged(name, 0, format!("its header says that it is segment {}", header.segment)));
    }
    Ok(Segment { number, name, file, length, header, start })
}

fn read(file: &dyn LogFile, name: &str, length: u64) -> Result<Vec<u8>, LogError> {
    let mut bytes = vec![0; usize::try_from(length).expect("a segment fits into memory")];
    file.read_at(&mut bytes, 0).map_err(|error| LogError::io("read", name, error))?;
    Ok(bytes)
}

impl Recovery {
    /// Takes in a segment's batches up to `end`, which a later segment proves; none: up to a torn tail.
    fn read_segment(&mut self, segment: &Segment, end: Option<u64>) -> Result<(), LogError> {
        self.next_segment = segment.number + 1;
        self.files.insert(segment.number, Arc::clone(&segment.file));
        self.written.segments.insert(segment.number, SegmentUse { bytes: segment.length, ..SegmentUse::default() });
        if end.is_some_and(|end| end <= segment.header.first) {
            // A start came before its first batch: nothing in it counts.
            return Ok(());
        }
        if !self.begun {
            self.begin(&segment.header);
        }
        if segment.header.first != self.next_number {
            let problem = format!("its first batch is {}, batch {} was expected", segment.header.first, self.next_number);
            return Err(LogError::damaged(&segment.name, 0, problem));
        }
        self.unchecked = Some((segment.name.clone(), segment.header.points.clone()));
        let bytes = read(segment.file.as_ref(), &segment.name, segment.length)?;
        let mut offset = segment.start;
        while end.is_none_or(|end| self.next_number < end) {
            let Some(found) = next_batch(segment, &bytes, offset, self.next_number)? else { break };
            offset = found.next;
            self.hold(HeldBatch { number: self.next_number, body: found.body, segment: segment.number, offset: found.offset })?;
            self.next_number += 1;
        }
        match end {
            Some(end) if self.next_number < end => {
                let problem = format!("batch {} is bad or missing, and a later segment proves that it was written", self.next_number);
                Err(LogError::damaged(&segment.name, offset, problem))
            }
            _ => Ok(()),
        }
    }

    /// Takes the header of the oldest segment that counts for what was before it.
    fn begin(&mut self, header: &Header) {
        self.begun = true;
        self.next_number = header.first;
        self.written.points.clone_from(&header.points);
        self.groups = header.points.iter().map(|(key, points)| (*key, GroupMemory::new(*points))).collect();
    }

    /// Holds back the newest batch and takes in the one before.
    fn hold(&mut self, batch: HeldBatch) -> Result<(), LogError> {
        if let Some(held) = self.last.replace(batch) {
            self.take_in(&held.body, held.segment, held.offset)?;
        }
        match self.unchecked.take() {
            Some((name, points)) if points != self.written.points => {
                Err(LogError::damaged(name, 0, "its header says otherwise how the groups stood than the batches before it"))
            }
            _ => Ok(()),
        }
    }

    /// Takes in a batch that starts at an offset of a segment.
    pub(crate) fn take_in(&mut self, body: &BatchBody, segment: u64, offset: u64) -> Result<(), LogError> {
        let damaged = |problem: String| LogError::damaged(segment::name(segment), offset, problem);
        let placed = body.decode().map_err(|error| damaged(format!("a batch with a right checksum cannot be read: {error}")))?;
        for placed in placed {
            let index = match &placed.record {
                Record::Entry(entry) => entry.position.index,
                _ => 0,
            };
            let location = placed.location(segment, offset);
            self.written.apply(segment, placed.key, &placed.record);
            if !self.replay(placed.key, placed.record, location) {
                return Err(damaged(format!("entry {index} of {} does not follow the one before it", placed.key)));
            }
        }
        Ok(())
    }

    /// Does in memory what a record says; false if it contradicts what came before. Entries before the first segment are not known here, so a
    /// group may begin anywhere; [`Self::finish`] looks at the end.
    fn replay(&mut self, key: GroupKey, record: Record, location: Location) -> bool {
        if record == Record::Removed {
            self.groups.remove(&key);
            return true;
        }
        let group = self.groups.entry(key).or_default();
        match record {
            Record::Vote(vote) => group.points.vote = Some(vote),
            Record::Committed(position) => group.points.committed = Some(position),
            Record::Truncate { from } => {
                group.truncate(from);
            }
            Record::Purge(upto) => {
                group.purge(upto);
            }
            Record::Entry(entry) => {
                let index = entry.position.index;
                let follows = if group.range().is_empty() {
                    group.points.purged.is_none_or(|purged| purged.index < index)
                } else {
                    group.range().end == index
                };
                if !follows {
                    return false;
                }
                group.push(entry.position, Place::At(location), None);
            }
            Record::Removed => {}
        }
        true
    }

    /// Takes in the last batch where it is going to be written again, and refuses a log with entries missing after a group's purge point.
    pub(crate) fn finish(&mut self, segment: u64, offset: u64) -> Result<Option<HeldBatch>, LogError> {
        let newest = self.files.last_key_value().map_or(segment, |(newest, _)| *newest);
        self.written.segments.insert(segment, SegmentUse::default());
        let last = self.last.take();
        if let Some(last) = &last {
            self.take_in(&last.body, segment, offset)?;
        }
        for (key, group) in &self.groups {
            if let Some(purged) = group.points.purged
                && !group.range().is_empty()
                && group.range().start != purged.index + 1
            {
                let problem = format!("{key} is purged up to entry {}, but its next entry is {}", purged.index, group.range().start);
                return Err(LogError::damaged(segment::name(newest), 0, problem));
            }
        }
        Ok(last)
    }
}

impl PlacedRecord {
    /// Where the record lies when its batch starts at an offset of a segment.
    pub(crate) fn location(&self, segment: u64, offset: u64) -> Location {
        let start = u64::try_from(self.start).expect("a length fits into 64 bits");
        Location {
            segment,
            offset: u32::try_from(offset + start).expect("a segment is smaller than 4 GiB"),
            length: u32::try_from(self.length).expect("a record is smaller than 4 GiB"),
        }
    }
}

/// A batch that counts, where the copy that was read starts, and where the next batch starts.
struct NextBatch {
    body: BatchBody,
    offset: u64,
    next: u64,
}

/// Reads the batch of a number at an offset; none: nothing valid is there or behind it.
fn next_batch(segment: &Segment, bytes: &[u8], offset: u64, expected: u64) -> Result<Option<NextBatch>, LogError> {
    let sector = segment.header.sector;
    let damaged = |problem: String| LogError::damaged(&segment.name, offset, problem);
    let at = |offset: u64| usize::try_from(offset).ok().and_then(|start| bytes.get(start..));
    if let Some(found) = at(offset).and_then(|bytes| find_batch(bytes, segment.header.salt)) {
        if found.number != expected || found.copy == BatchCopy::Second {
            return Err(damaged(format!("batch {} lies where batch {expected} belongs", found.number)));
        }
        let next = offset + found.padded_bytes(sector) * if found.copy == BatchCopy::First { 2 } else { 1 };
        return Ok(Some(NextBatch { body: found.to_body(), offset, next }));
    }
    let mut later = offset + u64::from(sector);
    while let Some(rest) = at(later).filter(|rest| rest.len() >= HEAD_BYTES) {
        // A smaller number can only be content that looks like a batch.
        if let Some(found) = find_batch(rest, segment.header.salt).filter(|found| found.number >= expected) {
            if found.number == expected && found.copy == BatchCopy::Second && later == offset + found.padded_bytes(sector) {
                let next = later + found.padded_bytes(sector);
                return Ok(Some(NextBatch { body: found.to_body(), offset: later, next }));
            }
            let problem =
                format!("batch {expected} is bad, but batch {} at byte {later} is valid, which was only written after it", found.number);
            return Err(damaged(problem));
        }
        later += u64::from(sector);
    }
    Ok(None)
}

/// Refuses a folder without a log where one must be.
pub(crate) fn check_present(files: &dyn LogFiles, recovery: &Recovery, allow_empty: bool) -> Result<(), LogError> {
    if recovery.files.is_empty() && !allow_empty { Err(LogError::Missing { folder: files.folder() }) } else { Ok(()) }
}

/// Checks that no more groups are held than may be.
pub(crate) fn check_group_count(count: usize) -> Result<(), LogError> {
    if count < limits::GROUPS_MAX { Ok(()) } else { Err(LogError::TooManyGroups { limit: limits::GROUPS_MAX }) }
}
