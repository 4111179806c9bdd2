//! What callers ask of a device's threads; each request carries where its answer goes.

use std::ops::Range;

use skep_placement::ids::{ChunkId, Epoch, PgId};
use tokio::sync::oneshot;

use super::errors::{ChangeError, PutError, ReadError};
use super::shard::{ShardBlocks, ShardHeader, ShardKey, ShardRecord};

/// Where an answer goes; nobody may be waiting any more.
pub(super) type Answer<T> = oneshot::Sender<T>;

/// For the one thread that writes.
#[derive(Debug)]
pub(super) enum WriteRequest {
    Put { record: ShardRecord, answer: Answer<Result<(), PutError>> },
    Delete { key: ShardKey, answer: Answer<Result<bool, ChangeError>> },
    Fence { pg: PgId, epoch: Epoch, answer: Answer<Result<Epoch, ChangeError>> },
    Close { answer: Answer<Result<(), ChangeError>> },
}

impl WriteRequest {
    /// The shard it is about.
    pub(super) fn key(&self) -> Option<ShardKey> {
        match self {
            WriteRequest::Put { record, .. } => Some(record.header.key()),
            WriteRequest::Delete { key, .. } => Some(*key),
            WriteRequest::Fence { .. } | WriteRequest::Close { .. } => None,
        }
    }

    /// Bytes it writes, about.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            WriteRequest::Put { record, .. } => record.payload.len() as u64,
            WriteRequest::Delete { .. } | WriteRequest::Fence { .. } | WriteRequest::Close { .. } => 0,
        }
    }
}

/// For any of the threads that read.
#[derive(Debug)]
pub(super) enum ReadRequest {
    Read { key: ShardKey, blocks: Range<u32>, answer: Answer<Result<ShardBlocks, ReadError>> },
    Stat { key: ShardKey, answer: Answer<Result<Option<ShardHeader>, ReadError>> },
    Find { chunk: ChunkId, answer: Answer<Result<Vec<ShardHeader>, ReadError>> },
    List { pg: PgId, after: Option<ShardKey>, limit: usize, answer: Answer<Result<Vec<ShardHeader>, ReadError>> },
}
