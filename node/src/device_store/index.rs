//! The index: which shards are on the device and where, and up to where in the segments it is complete.
//!
//! It holds nothing that the segments don't, and is never synced on the way to an acknowledgement. Each batch writes the
//! positions reached in the same step as the entries; a backend keeps a prefix of the batches over a crash, so the
//! positions are true whenever the index opens. What lies behind them is scanned at start.

mod entry;
mod ledger;
mod memory;
mod rocks;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use skep_placement::ids::{ChunkId, PgId};

use super::errors::IndexError;
use super::identity::DeviceIdentity;
use super::shard::{ShardHeader, ShardKey};

pub(super) use entry::IndexEntry;
pub(super) use ledger::{Ledger, Position};
pub use memory::MemoryIndexes;
pub use rocks::RocksIndexes;

/// Opens the index of a device.
pub trait IndexProvider: Send + Sync + fmt::Debug {
    /// Opens the index in a folder, an empty one if there is none.
    ///
    /// # Errors
    /// [`IndexError`] if what is there is damaged; it can be destroyed and made anew.
    fn open(&self, folder: &Path) -> Result<Box<dyn IndexBackend>, IndexError>;

    /// Removes the index in a folder, whatever its state.
    ///
    /// # Errors
    /// [`IndexError`] if something can't be removed.
    fn destroy(&self, folder: &Path) -> Result<(), IndexError>;
}

/// One change of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The key has this value from now on.
    Set(Vec<u8>, Vec<u8>),
    /// The key is gone.
    Remove(Vec<u8>),
}

/// A key and its value.
pub type KeyValue = (Vec<u8>, Vec<u8>);

/// An ordered map of bytes. After a crash it holds a prefix of the batches written, at least up to the last flush.
pub trait IndexBackend: Send + Sync + fmt::Debug {
    /// The value of a key.
    ///
    /// # Errors
    /// [`IndexError::Backend`].
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError>;

    /// At most `limit` keys from `from` up to, not including, `to`, in order.
    ///
    /// # Errors
    /// [`IndexError::Backend`].
    fn scan(&self, from: Bound<&[u8]>, to: &[u8], limit: usize) -> Result<Vec<KeyValue>, IndexError>;

    /// Writes a batch at once.
    ///
    /// # Errors
    /// [`IndexError::Backend`].
    fn write(&self, changes: Vec<Change>) -> Result<(), IndexError>;

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// [`IndexError::Backend`].
    fn flush(&self) -> Result<(), IndexError>;
}

/// What a batch does to the index.
#[derive(Clone, Copy, Debug)]
pub(super) enum IndexChange {
    Insert(IndexEntry),
    Remove(IndexEntry),
}

/// The index of one device.
#[derive(Debug)]
pub(super) struct ShardIndex {
    backend: Box<dyn IndexBackend>,
    identity: DeviceIdentity,
    ledger: Mutex<Ledger>,
}

impl ShardIndex {
    /// Reads what the index says of itself. `Ok(None)` if it is another device's or of another format.
    pub(super) fn open(backend: Box<dyn IndexBackend>, identity: DeviceIdentity) -> Result<Option<Self>, IndexError> {
        let is_new = backend.scan(Bound::Unbounded, &[0xff], 1)?.is_empty();
        if is_new {
            return Ok(Some(Self { backend, identity, ledger: Mutex::default() }));
        }
        let Some(stored) = backend.get(ledger::META_KEY)? else { return Ok(None) };
        let Some(mut ledger) = Ledger::decode_meta(&stored, identity) else { return Ok(None) };
        let mut from = ledger::SEGMENT_START.to_vec();
        loop {
            let page = backend.scan(Bound::Excluded(&from), ledger::SEGMENT_END, 1000)?;
            let Some((last, _value)) = page.last() else { break };
            from.clone_from(last);
            for (key, value) in &page {
                ledger.load_segment(key, value).ok_or(IndexError::Damaged)?;
            }
        }
        Ok(Some(Self { backend, identity, ledger: Mutex::new(ledger) }))
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // Each change of the ledger is complete when a panic could happen.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a shard is.
    pub(super) fn get(&self, key: ShardKey) -> Result<Option<IndexEntry>, IndexError> {
        let Some(value) = self.backend.get(&entry::shard_key(key))? else { return Ok(None) };
        IndexEntry::decode(key, &value).map(Some).ok_or(IndexError::Damaged)
    }

    /// Every shard of a chunk, of all its instances.
    pub(super) fn find(&self, chunk: ChunkId, limit: usize) -> Result<Vec<ShardHeader>, IndexError> {
        let (from, to) = entry::chunk_range(chunk);
        let found = self.backend.scan(Bound::Included(&from), &to, limit)?;
        found.iter().map(|(key, value)| entry::decode_pair(key, value).ok_or(IndexError::Damaged)).collect()
    }

    /// Shards of a placement group after the one named, in the order chunk, write, shard.
    pub(super) fn list(&self, pg: PgId, after: Option<ShardKey>, limit: usize) -> Result<Vec<ShardHeader>, IndexError> {
        let start = entry::group_start(pg);
        let end = entry::group_end(pg);
        let after = after.map(|key| entry::group_key(pg, key));
        let from = after.as_deref().map_or(Bound::Included(start.as_slice()), Bound::Excluded);
        let mut found = Vec::new();
        for (key, _empty) in self.backend.scan(from, &end, limit)? {
            let key = entry::decode_group_key(&key).ok_or(IndexError::Damaged)?;
            // A shard deleted since the scan is not listed.
            found.extend(self.get(key)?.map(|entry| entry.header));
        }
        Ok(found)
    }

    /// Writes the changes, and the positions up to which the index is complete then, in one batch.
    pub(super) fn commit(&self, changes: &[IndexChange], positions: Option<[Position; 2]>) -> Result<(), IndexError> {
        let mut ledger = self.ledger();
        let mut batch = Vec::with_capacity(2 * changes.len() + 4);
        let mut segments = BTreeSet::new();
        for change in changes {
            match change {
                IndexChange::Insert(entry) => {
                    let key = entry.header.key();
                    batch.push(Change::Set(entry::shard_key(key), entry.encode()));
                    batch.push(Change::Set(entry::group_key(entry.header.pg, key), Vec::new()));
                    ledger.insert(entry);
                    segments.insert(entry.location.segment);
                }
                IndexChange::Remove(entry) => {
                    let key = entry.header.key();
                    batch.push(Change::Remove(entry::shard_key(key)));
                    batch.push(Change::Remove(entry::group_key(entry.header.pg, key)));
                    ledger.remove(entry);
                    segments.insert(entry.location.segment);
                }
            }
        }
        if let Some(positions) = positions {
            segments.extend(ledger.advance(positions));
        }
        batch.push(Change::Set(ledger::META_KEY.to_vec(), ledger.encode_meta(self.identity)));
        for segment in segments {
            let (key, value) = ledger.encode_segment(segment);
            batch.push(Change::Set(key, value));
        }
        drop(ledger);
        // After an error the ledger is ahead of the backend: the caller takes the device out and the index is made anew.
        self.backend.write(batch)
    }

    pub(super) fn flush(&self) -> Result<(), IndexError> {
        self.backend.flush()
    }
}
