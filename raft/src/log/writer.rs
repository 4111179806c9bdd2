//! The writer: one thread that makes batches of what waits and makes them durable one after the other.
//!
//! **The next batch is written only after the last one is durable**, so a valid later batch proves every earlier one. After a failed write or sync
//! nothing is written and nothing acknowledged any more.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use metrics::counter;

use super::batch::BatchBody;
use super::error::LogError;
use super::files::{LogFile, LogFiles};
use super::header::Header;
use super::memory::{Done, Location, Waiting};
use super::record::{GroupKey, Record};
use super::recovery::Identity;
use super::segment::{self, OpenSegment};
use super::shared::{Pressure, Shared};
use super::written::{SegmentUse, Written};
use super::{Salt, limits, metrics as names};

/// What the thread does next.
enum Next {
    /// Something waits.
    Batch,
    /// It is quiet, and the last batch is not proven yet.
    Settle,
    /// Nothing waits and the log is closing, or has stopped.
    Stop,
}

/// Writes batches; nobody else writes.
pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) files: Arc<dyn LogFiles>,
    pub(crate) identity: Identity,
    pub(crate) salt: Salt,
    pub(crate) segment_bytes_max: u64,
    pub(crate) written: Written,
    pub(crate) segment: OpenSegment,
    pub(crate) next_number: u64,
    /// No later batch proves the last one yet.
    pub(crate) unproven: bool,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("segment", &self.segment).field("next_number", &self.next_number).finish_non_exhaustive()
    }
}

/// A record of the batch that is being written.
struct Chosen {
    key: GroupKey,
    record: Record,
    sequence: u64,
    start: usize,
    length: usize,
}

impl Writer {
    /// Writes until the log is closed or fails. A panic counts as a failure: whoever waits must not wait for ever.
    pub(crate) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        if catch_unwind(AssertUnwindSafe(|| self.work())).is_err() {
            shared.fail(&LogError::Stopped { reason: "its writer panicked".into() }, Vec::new());
        }
    }

    fn work(&mut self) {
        loop {
            let written = match self.wait() {
                Next::Batch => self.step().map(drop),
                Next::Settle => self.settle(),
                Next::Stop => {
                    // A failure here is reported by the call itself.
                    let _reported = self.settle();
                    return;
                }
            };
            if written.is_err() {
                return;
            }
        }
    }

    fn wait(&self) -> Next {
        let mut memory = self.shared.memory();
        let quiet_since = Instant::now();
        loop {
            if memory.stopped.is_some() {
                return Next::Stop;
            }
            if !memory.waiting.is_empty() {
                return Next::Batch;
            }
            if memory.closing {
                return Next::Stop;
            }
            let left = self.shared.idle_delay.saturating_sub(quiet_since.elapsed());
            if self.unproven && left.is_zero() {
                return Next::Settle;
            }
            memory = if self.unproven {
                let (memory, _timed_out) = self.shared.work.wait_timeout(memory, left).unwrap_or_else(PoisonError::into_inner);
                memory
            } else {
                self.shared.work.wait(memory).unwrap_or_else(PoisonError::into_inner)
            };
        }
    }

    /// Writes one batch of what waits; returns whether anything did.
    ///
    /// # Errors
    /// The log has stopped, now or before; whoever waited was told.
    pub(crate) fn step(&mut self) -> Result<bool, LogError> {
        let taken = {
            let mut memory = self.shared.memory();
            if let Some(reason) = &memory.stopped {
                return Err(LogError::Stopped { reason: Arc::clone(reason) });
            }
            memory.take_batch()
        };
        if taken.is_empty() {
            return Ok(false);
        }
        if taken.iter().all(|waiting| waiting.record.is_none()) {
            self.shared.acknowledge(taken.into_iter().filter_map(|waiting| waiting.done).collect());
            return Ok(true);
        }
        self.write(taken, true).map(|()| true)
    }

    /// Follows the last batch by an empty one (with the committed ids that wait), if nothing has proven it yet or the log
    /// closes with such ids.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub(crate) fn settle(&mut self) -> Result<(), LogError> {
        let last_chance = {
            let memory = self.shared.memory();
            if let Some(reason) = &memory.stopped {
                return Err(LogError::Stopped { reason: Arc::clone(reason) });
            }
            memory.closing && memory.has_committed()
        };
        if self.unproven || last_chance { self.write(Vec::new(), false) } else { Ok(()) }
    }

    fn write(&mut self, taken: Vec<Waiting>, unproven: bool) -> Result<(), LogError> {
        let (body, chosen, done) = self.choose(taken);
        let written = self.write_batch(&body);
        match written {
            Ok(offset) => {
                self.unproven = unproven;
                self.take_in(chosen, offset);
                self.shared.acknowledge(done);
                self.remove_oldest().inspect_err(|error| self.shared.fail(error, Vec::new()))
            }
            Err(error) => {
                self.shared.fail(&error, done);
                Err(error)
            }
        }
    }

    /// Encodes what was taken, and the committed ids that may ride with it.
    fn choose(&self, taken: Vec<Waiting>) -> (BatchBody, Vec<Chosen>, Vec<Done>) {
        let mut body = BatchBody::default();
        let mut chosen = Vec::with_capacity(taken.len());
        let mut done = Vec::new();
        let committed = self.shared.memory().take_committed();
        let records = taken
            .into_iter()
            .filter_map(|waiting| {
                done.extend(waiting.done);
                waiting.record.map(|record| (waiting.key, waiting.sequence, record))
            })
            .chain(committed.into_iter().map(|(key, position)| (key, 0, Record::Committed(position))));
        for (key, sequence, record) in records {
            let length = record.length();
            let start = body.push(key, &record);
            chosen.push(Chosen { key, record, sequence, start, length });
        }
        (body, chosen, done)
    }

    /// Makes a batch durable; returns where it starts.
    fn write_batch(&mut self, body: &BatchBody) -> Result<u64, LogError> {
        let full = self.segment.end + body.stored_bytes(self.segment.sector) > self.segment_bytes_max;
        if full && self.segment.end > self.segment.start {
            self.roll()?;
        }
        let segment = &self.segment;
        let bytes = body.frame(self.next_number, segment.salt, segment.sector);
        let name = || segment::name(segment.number);
        fail::fail_point!("log-before-write");
        segment.file.write_at(&bytes, segment.end).map_err(|error| LogError::io("write", name(), error))?;
        fail::fail_point!("log-before-sync");
        sync(segment.file.as_ref()).map_err(|error| LogError::io("sync", name(), error))?;
        fail::fail_point!("log-after-sync");
        let length = u64::try_from(bytes.len()).expect("a length fits into 64 bits");
        let offset = self.segment.end;
        self.segment.end += length;
        self.next_number += 1;
        counter!(names::BATCHES).increment(1);
        counter!(names::SYNCS).increment(1);
        counter!(names::BYTES).increment(length);
        Ok(offset)
    }

    /// Begins the next segment, with the batch that comes next as its first.
    fn roll(&mut self) -> Result<(), LogError> {
        let header = Header {
            cluster: self.identity.cluster,
            node: self.identity.node,
            segment: self.segment.number + 1,
            first: self.next_number,
            salt: (self.salt)(),
            sector: self.files.sector_bytes(),
            points: self.written.points.clone(),
        };
        self.segment = segment::create(self.files.as_ref(), &header, None)?;
        counter!(names::SYNCS).increment(1);
        self.shared.memory().files.insert(self.segment.number, Arc::clone(&self.segment.file));
        self.written.segments.insert(self.segment.number, SegmentUse { bytes: self.segment.end, ..SegmentUse::default() });
        Ok(())
    }

    /// Notes what is durable now.
    fn take_in(&mut self, chosen: Vec<Chosen>, offset: u64) {
        let segment = self.segment.number;
        let mut memory = self.shared.memory();
        let mut entries = 0;
        for chosen in chosen {
            self.written.apply(segment, chosen.key, &chosen.record);
            if let Record::Entry(entry) = &chosen.record {
                entries += 1;
                let start = u64::try_from(chosen.start).expect("a length fits into 64 bits");
                let location = Location {
                    segment,
                    offset: u32::try_from(offset + start).expect("a segment is smaller than 4 GiB"),
                    length: u32::try_from(chosen.length).expect("a record is smaller than 4 GiB"),
                };
                memory.locate(chosen.key, entry.position.index, chosen.sequence, location);
            }
        }
        memory.evict();
        drop(memory);
        if let Some(segment_use) = self.written.segments.get_mut(&segment) {
            segment_use.bytes = self.segment.end;
        }
        counter!(names::ENTRIES).increment(entries);
    }

    /// Unlinks the segments that no group needs, oldest first, and tells who pins the oldest left.
    ///
    /// # Errors
    /// The folder cannot be changed.
    pub(crate) fn remove_oldest(&mut self) -> Result<(), LogError> {
        while let Some(oldest) = self.written.removable() {
            let name = segment::name(oldest);
            fail::fail_point!("log-before-unlink");
            self.files.unlink(&name).map_err(|error| LogError::io("unlink", &name, error))?;
            self.files.sync_folder().map_err(|error| LogError::io("sync the folder of", &name, error))?;
            self.written.segments.remove(&oldest);
            self.shared.memory().files.remove(&oldest);
        }
        let kept_bytes = self.written.kept_bytes();
        let pressed = kept_bytes > self.shared.kept_bytes_max / limits::PRESSURE_DIVISOR;
        let pinning = if pressed { self.written.pinning() } else { Vec::new() };
        self.shared.publish(Pressure { kept_bytes, full: kept_bytes >= self.shared.kept_bytes_max, pinning });
        Ok(())
    }
}

/// Makes a batch durable. Tests of power cuts leave it out to see that they would notice; others make it fail.
fn sync(file: &dyn LogFile) -> io::Result<()> {
    fail::fail_point!("log-skip-sync", |_left_out| Ok(()));
    fail::fail_point!("log-fail-sync", |_failed| Err(io::Error::other("a test has this sync fail")));
    file.sync_data()
}
