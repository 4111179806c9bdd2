//! The threads that read. They go on when the device takes no more writes.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::errors::{IndexError, ReadError};
use super::index::IndexEntry;
use super::limits::LIST_LIMIT_MAX;
use super::metrics;
use super::record::RecordKind;
use super::requests::ReadRequest;
use super::segment::{RecordBlocks, RecordFault};
use super::shard::{ShardBlocks, ShardKey};
use super::shared::Shared;

/// Requests that wait, for all readers.
pub(super) type ReadQueue = Arc<Mutex<mpsc::Receiver<ReadRequest>>>;

/// Answers requests until nobody can send any.
pub(super) fn run(shared: &Shared, queue: &ReadQueue) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(request) = next else { return };
        answer(shared, request);
    }
}

/// Whoever asked may have gone away; the answer is dropped then.
fn answer(shared: &Shared, request: ReadRequest) {
    match request {
        ReadRequest::Read { key, blocks, answer } => {
            if !answer.is_closed() {
                let _gone = answer.send(read(shared, key, &blocks));
            }
        }
        ReadRequest::Stat { key, answer } => {
            let found = shared.index.get(key).map(|entry| entry.map(|entry| entry.header));
            let _gone = answer.send(found.map_err(|error| index_failed(shared, error)));
        }
        ReadRequest::Find { chunk, answer } => {
            let found = shared.index.find(chunk, LIST_LIMIT_MAX);
            let _gone = answer.send(found.map_err(|error| index_failed(shared, error)));
        }
        ReadRequest::List { pg, after, limit, answer } => {
            let found = shared.index.list(pg, after, limit.min(LIST_LIMIT_MAX));
            let _gone = answer.send(found.map_err(|error| index_failed(shared, error)));
        }
    }
}

fn read(shared: &Shared, key: ShardKey, blocks: &Range<u32>) -> Result<ShardBlocks, ReadError> {
    let mut entry = look_up(shared, key)?.ok_or(ReadError::NotFound)?;
    loop {
        let count = entry.header.blocks();
        if blocks.start >= count || blocks.start >= blocks.end {
            return Err(ReadError::OutOfRange { blocks: count });
        }
        let fault = match read_entry(shared, &entry, blocks) {
            Ok(found) => {
                shared.count(&shared.counts.blocks_read, metrics::SHARD_BLOCKS_READ, found.checksums.len() as u64);
                let RecordBlocks { header, payload, checksums } = found;
                let payload = Bytes::from(payload);
                return Ok(ShardBlocks { header: header.shard, first_block: blocks.start, payload, checksums });
            }
            Err(fault) => fault,
        };
        // A deletion may have punched the payload meanwhile, or a repair replaced the record: then it isn't damaged.
        let now = look_up(shared, key)?.ok_or(ReadError::NotFound)?;
        if now == entry {
            if !fault.is_damage() {
                return Err(ReadError::Unreadable(fault));
            }
            shared.report_corrupt(key, entry.location);
            return Err(ReadError::Corrupt(fault));
        }
        entry = now;
    }
}

fn look_up(shared: &Shared, key: ShardKey) -> Result<Option<IndexEntry>, ReadError> {
    shared.index.get(key).map_err(|error| index_failed(shared, error))
}

/// An index that can't be read can't say what is stored either: the device is out until the index is made anew.
fn index_failed(shared: &Shared, error: IndexError) -> ReadError {
    shared.fail_index(&error.to_string());
    ReadError::Index(error)
}

/// Reads blocks of the record an entry points to, and checks that it is the shard the entry says.
pub(super) fn read_entry(shared: &Shared, entry: &IndexEntry, blocks: &Range<u32>) -> Result<RecordBlocks, RecordFault> {
    let segment = shared.segments.get(entry.location.segment)?;
    let found = segment.read_record(entry.location.offset, blocks.start, blocks.end)?;
    let is_ours =
        found.header.kind == RecordKind::Shard && found.header.device == shared.identity.device && found.header.shard == entry.header;
    if is_ours { Ok(found) } else { Err(RecordFault::Header) }
}
