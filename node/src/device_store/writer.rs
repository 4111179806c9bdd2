//! The one thread that writes: takes what waits, writes it, one fdatasync, index, answers.
//!
//! **Nothing is acknowledged before it is durable, and nothing after a write or sync that failed.** A failure takes the
//! device out; what was in flight then is unknown, and so are its answers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use skep_placement::checksum::verify_blocks;
use skep_placement::ids::{Epoch, PgId};
use tokio::sync::mpsc;

use super::appender::{AppendError, Appender, is_full};
use super::batch::{Batch, Waiting};
use super::errors::{ChangeError, PutError};
use super::fences::Fences;
use super::index::{IndexChange, IndexEntry};
use super::limits::{BATCH_BYTES_MAX, BATCH_REQUESTS_MAX};
use super::metrics;
use super::options::DeviceOptions;
use super::reader::read_entry;
use super::record::encode_table;
use super::requests::WriteRequest;
use super::shard::{ShardHeader, ShardKey, ShardRecord};
use super::shared::Shared;

/// Ends the writing on this device.
enum Fatal {
    Device(String),
    Index(String),
}

/// Why a put wasn't staged.
enum PutStop {
    Refused(PutError),
    Fatal(Fatal),
}

/// Why a tombstone wasn't staged.
enum DeleteStop {
    Full,
    Fatal(Fatal),
}

impl From<AppendError> for PutStop {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Full => PutStop::Refused(PutError::Full),
            AppendError::Io(error) => PutStop::Fatal(Fatal::Device(format!("a write failed: {error}"))),
        }
    }
}

impl From<AppendError> for DeleteStop {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Full => DeleteStop::Full,
            AppendError::Io(error) => DeleteStop::Fatal(Fatal::Device(format!("a write failed: {error}"))),
        }
    }
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    appender: Appender,
    fences: Fences,
    reserve_bytes: u64,
    reserve_thousandths: u64,
    index_flush_bytes: u64,
    unflushed_bytes: u64,
    /// A request about a shard of the batch before it.
    carried: Option<WriteRequest>,
    /// Bytes that the batch may still write.
    available: u64,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, appender: Appender, fences: Fences, options: &DeviceOptions) -> Self {
        Self {
            shared,
            appender,
            fences,
            reserve_bytes: options.reserve_bytes,
            reserve_thousandths: options.reserve_thousandths,
            index_flush_bytes: options.index_flush_bytes,
            unflushed_bytes: 0,
            carried: None,
            available: 0,
        }
    }

    /// Works until the store is closed, or dropped: then what waits is lost, as it would be in a crash.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<WriteRequest>) {
        loop {
            let Some(first) = self.carried.take().or_else(|| queue.blocking_recv()) else { return };
            let requests = self.collect(first, &mut queue);
            let mut batch = Batch::default();
            if let Err(fatal) = self.work(requests, &mut batch) {
                self.take_out(&fatal);
                let reason = self.shared.failure().unwrap_or_default().to_owned();
                batch.waiting.drain(..).for_each(|waiting| waiting.fail(&reason));
            }
            if batch.is_last {
                return;
            }
        }
    }

    /// What waits now, up to the limits of a batch, and at most one request a shard.
    fn collect(&mut self, first: WriteRequest, queue: &mut mpsc::Receiver<WriteRequest>) -> Vec<WriteRequest> {
        let mut touched: BTreeSet<ShardKey> = first.key().into_iter().collect();
        let mut bytes = first.bytes();
        let mut requests = vec![first];
        while requests.len() < BATCH_REQUESTS_MAX && bytes < BATCH_BYTES_MAX {
            let Ok(request) = queue.try_recv() else { break };
            if request.key().is_some_and(|key| !touched.insert(key)) {
                self.carried = Some(request);
                break;
            }
            bytes += request.bytes();
            requests.push(request);
        }
        requests
    }

    fn work(&mut self, requests: Vec<WriteRequest>, batch: &mut Batch) -> Result<(), Fatal> {
        let has_fence = requests.iter().any(|request| matches!(request, WriteRequest::Fence { .. }));
        let fences_before = has_fence.then(|| self.fences.clone());
        self.measure_space()?;
        let mut stopped = None;
        for request in requests {
            if let Some(reason) = self.shared.failure() {
                refuse(request, reason, batch);
            } else if let Err(fatal) = self.stage(request, batch) {
                // The requests behind it are refused with this reason.
                self.take_out(&fatal);
                stopped = Some(fatal);
            }
        }
        if let Some(fatal) = stopped {
            return Err(fatal);
        }
        if self.shared.failure().is_some() {
            return Ok(());
        }
        fail::fail_point!(super::failpoints::BEFORE_SYNC);
        let synced = self.appender.sync();
        self.count_appends();
        synced.map_err(|error| Fatal::Device(format!("an fdatasync failed: {error}")))?;
        if let Some(before) = fences_before.filter(|_before| batch.is_fenced) {
            self.write_fences(before, batch)?;
        }
        self.index_batch(batch)?;
        fail::fail_point!(super::failpoints::BEFORE_ACKNOWLEDGE);
        self.shared.count(&self.shared.counts.writes, metrics::SHARDS_WRITTEN, batch.written);
        self.shared.count(&self.shared.counts.deletions, metrics::SHARDS_DELETED, batch.deleted);
        batch.waiting.drain(..).for_each(Waiting::acknowledge);
        Ok(())
    }

    /// How much may be written before only the reserve is left.
    fn measure_space(&mut self) -> Result<(), Fatal> {
        if self.shared.failure().is_some() {
            return Ok(());
        }
        let space = self.shared.files.space(&self.shared.folder);
        let space = space.map_err(|error| Fatal::Device(format!("its free space can't be read: {error}")))?;
        let share = space.total_bytes / 1000 * self.reserve_thousandths;
        self.available = space.free_bytes.saturating_sub(self.reserve_bytes.min(share));
        self.shared.is_full.store(self.available == 0, Ordering::Relaxed);
        Ok(())
    }

    fn stage(&mut self, request: WriteRequest, batch: &mut Batch) -> Result<(), Fatal> {
        match request {
            WriteRequest::Put { record, answer } => match self.stage_put(&record, batch) {
                Ok(()) => batch.waiting.push(Waiting::Put(answer)),
                Err(PutStop::Refused(error)) => drop(answer.send(Err(error))),
                Err(PutStop::Fatal(fatal)) => {
                    batch.waiting.push(Waiting::Put(answer));
                    return Err(fatal);
                }
            },
            WriteRequest::Delete { key, answer } => match self.stage_delete(key, batch) {
                Ok(was_there) => batch.waiting.push(Waiting::Delete(answer, was_there)),
                Err(DeleteStop::Full) => drop(answer.send(Err(ChangeError::Full))),
                Err(DeleteStop::Fatal(fatal)) => {
                    batch.waiting.push(Waiting::Delete(answer, false));
                    return Err(fatal);
                }
            },
            WriteRequest::Fence { pg, epoch, answer } => {
                let in_force = self.stage_fence(pg, epoch, batch);
                batch.waiting.push(Waiting::Fence(answer, in_force));
            }
            WriteRequest::Close { answer } => {
                batch.is_last = true;
                batch.waiting.push(Waiting::Close(answer));
            }
        }
        Ok(())
    }

    fn stage_put(&mut self, record: &ShardRecord, batch: &mut Batch) -> Result<(), PutStop> {
        check(record).map_err(PutStop::Refused)?;
        let current = self.fences.lowest(record.header.pg);
        if record.header.epoch < current {
            return Err(PutStop::Refused(PutError::StaleEpoch { current }));
        }
        let key = record.header.key();
        let known = self.shared.index.get(key).map_err(|error| PutStop::Fatal(Fatal::Index(error.to_string())))?;
        let replaced = match known {
            Some(known) if self.is_stored(&known, record).map_err(PutStop::Refused)? => return Ok(()),
            known => known,
        };
        let length = record.payload.len() as u64;
        if self.available < length {
            self.shared.is_full.store(true, Ordering::Relaxed);
            return Err(PutStop::Refused(PutError::Full));
        }
        let entry = self.appender.append_shard(record)?;
        self.available -= length;
        if let Some(old) = replaced {
            self.appender.append_tombstone(&old)?;
            batch.changes.push(IndexChange::Remove(old));
            batch.freed.push(old);
        }
        batch.changes.push(IndexChange::Insert(entry));
        batch.written += 1;
        Ok(())
    }

    /// Whether the shard is stored already, with right bytes. What is stored and damaged is to be replaced.
    fn is_stored(&self, known: &IndexEntry, record: &ShardRecord) -> Result<bool, PutError> {
        let table_checksum = crc32c::crc32c(&encode_table(&record.checksums));
        if !same_content(&known.header, &record.header) || known.table_checksum != table_checksum {
            return Err(PutError::Conflict);
        }
        match read_entry(&self.shared, known, &(0..known.header.blocks())) {
            Ok(stored) if stored.checksums == record.checksums => Ok(true),
            Ok(_other_bytes) => Err(PutError::Conflict),
            Err(fault) if fault.is_damage() => Ok(false),
            Err(fault) => Err(PutError::Failed { reason: fault.to_string() }),
        }
    }

    fn stage_delete(&mut self, key: ShardKey, batch: &mut Batch) -> Result<bool, DeleteStop> {
        let known = self.shared.index.get(key).map_err(|error| DeleteStop::Fatal(Fatal::Index(error.to_string())))?;
        let Some(entry) = known else { return Ok(false) };
        self.appender.append_tombstone(&entry)?;
        batch.changes.push(IndexChange::Remove(entry));
        batch.freed.push(entry);
        batch.deleted += 1;
        Ok(true)
    }

    fn stage_fence(&mut self, pg: PgId, epoch: Epoch, batch: &mut Batch) -> Epoch {
        let (in_force, is_raised) = self.fences.raise(pg, epoch);
        batch.is_fenced |= is_raised;
        in_force
    }

    fn write_fences(&mut self, before: Fences, batch: &mut Batch) -> Result<(), Fatal> {
        match self.fences.write(&self.shared.folder) {
            Ok(()) => Ok(()),
            Err(error) if is_full(&error) => {
                self.fences = before;
                for waiting in std::mem::take(&mut batch.waiting) {
                    match waiting {
                        Waiting::Fence(answer, _epoch) => drop(answer.send(Err(ChangeError::Full))),
                        other => batch.waiting.push(other),
                    }
                }
                Ok(())
            }
            Err(error) => Err(Fatal::Device(format!("the fences can't be written: {error}"))),
        }
    }

    /// Makes the batch visible, frees what it deleted, and says that the index is complete up to here.
    fn index_batch(&mut self, batch: &mut Batch) -> Result<(), Fatal> {
        let failed = |error: super::errors::IndexError| Fatal::Index(error.to_string());
        fail::fail_point!(super::failpoints::BEFORE_INDEX);
        let index = &self.shared.index;
        let before = index.ledger().positions;
        let [large, small] = self.appender.positions();
        let positions = [large.or(before[0]), small.or(before[1])];
        if batch.freed.is_empty() {
            if positions != before {
                index.commit(&batch.changes, Some(positions)).map_err(failed)?;
            }
        } else {
            // Gone from the index before the payload goes, so that no reader takes it for damaged; and behind the
            // positions until it is gone, so that recovery frees it if we don't come to it.
            index.commit(&batch.changes, None).map_err(failed)?;
            fail::fail_point!(super::failpoints::DELETE);
            let refused = batch.freed.iter().filter(|entry| !self.shared.segments.punch(entry.location)).count();
            metrics::counter(metrics::PUNCHES_FAILED, self.shared.identity.device).increment(refused as u64);
            index.commit(&[], Some(positions)).map_err(failed)?;
        }
        if self.unflushed_bytes >= self.index_flush_bytes || batch.is_last {
            index.flush().map_err(failed)?;
            self.unflushed_bytes = 0;
        }
        Ok(())
    }

    fn count_appends(&mut self) {
        let bytes = std::mem::take(&mut self.appender.bytes_written);
        self.unflushed_bytes += bytes;
        self.shared.count(&self.shared.counts.bytes_written, metrics::BYTES_WRITTEN, bytes);
        let syncs = std::mem::take(&mut self.appender.syncs);
        self.shared.count(&self.shared.counts.fsyncs, metrics::FSYNCS, syncs);
    }

    fn take_out(&self, fatal: &Fatal) {
        match fatal {
            Fatal::Device(reason) => self.shared.fail(reason),
            Fatal::Index(reason) => self.shared.fail_index(reason),
        }
    }
}

/// Answers a request that comes when the device is out. Closing works all the same.
fn refuse(request: WriteRequest, reason: &str, batch: &mut Batch) {
    let reason = reason.to_owned();
    match request {
        WriteRequest::Put { answer, .. } => drop(answer.send(Err(PutError::Failed { reason }))),
        WriteRequest::Delete { answer, .. } => drop(answer.send(Err(ChangeError::Failed { reason }))),
        WriteRequest::Fence { answer, .. } => drop(answer.send(Err(ChangeError::Failed { reason }))),
        WriteRequest::Close { answer } => {
            batch.is_last = true;
            drop(answer.send(Err(ChangeError::Failed { reason })));
        }
    }
}

/// Whether a second write describes the same stored thing. Group and epoch may differ: a write refused with a
/// stale epoch is sent again under the same write id.
fn same_content(stored: &ShardHeader, sent: &ShardHeader) -> bool {
    let group_of_sent = ShardHeader { pg: sent.pg, epoch: sent.epoch, ..*stored };
    group_of_sent == *sent
}

/// Whether a record is one that can be stored, and arrived as it was sent.
fn check(record: &ShardRecord) -> Result<(), PutError> {
    if let Some(fault) = record.header.fault() {
        return Err(PutError::Header(fault));
    }
    let ShardRecord { header, checksums, payload } = record;
    if payload.len() != header.payload_length as usize || checksums.len() != header.blocks() as usize {
        return Err(PutError::Length);
    }
    verify_blocks(header.key().address(), 0, payload, checksums).map_err(|wrong| PutError::Checksum { block: wrong.block })
}
