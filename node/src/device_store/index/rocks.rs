//! The index in RocksDB, without a write-ahead log.
//!
//! One column family: RocksDB then makes memtables durable in the order of the writes, so that a crash leaves a prefix.

use std::fmt;
use std::ops::Bound;
use std::path::Path;

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, DB, DBCompressionType, Direction, IteratorMode, Options, ReadOptions, WriteBatch,
    WriteBufferManager, WriteOptions,
};

use super::{Change, IndexBackend, IndexError, IndexProvider, KeyValue};

/// Opens RocksDB indexes that share the node's block cache and write-buffer budget.
#[derive(Clone)]
pub struct RocksIndexes {
    cache: Cache,
    write_buffers: Option<WriteBufferManager>,
    memtable_bytes: usize,
}

impl fmt::Debug for RocksIndexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RocksIndexes").field("memtable_bytes", &self.memtable_bytes).finish_non_exhaustive()
    }
}

impl RocksIndexes {
    /// Indexes with the shared cache, and the shared write-buffer budget if there is one.
    pub fn new(cache: Cache, write_buffers: Option<WriteBufferManager>) -> Self {
        Self { cache, write_buffers, memtable_bytes: 16 * 1024 * 1024 }
    }

    fn options(&self) -> Options {
        let mut tables = BlockBasedOptions::default();
        tables.set_block_cache(&self.cache);
        tables.set_bloom_filter(10.0, false);
        tables.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
        tables.set_partition_filters(true);
        tables.set_cache_index_and_filter_blocks(true);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_paranoid_checks(true);
        options.set_block_based_table_factory(&tables);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_write_buffer_size(self.memtable_bytes);
        options.set_max_open_files(128);
        options.set_keep_log_file_num(2);
        options.set_max_log_file_size(4 * 1024 * 1024);
        options.set_stats_dump_period_sec(0);
        if let Some(manager) = &self.write_buffers {
            options.set_write_buffer_manager(manager);
        }
        options
    }
}

fn failed(error: rocksdb::Error) -> IndexError {
    IndexError::Backend { detail: error.into_string() }
}

impl IndexProvider for RocksIndexes {
    fn open(&self, folder: &Path) -> Result<Box<dyn IndexBackend>, IndexError> {
        let db = DB::open(&self.options(), folder).map_err(failed)?;
        let mut unlogged = WriteOptions::default();
        unlogged.disable_wal(true);
        Ok(Box::new(RocksIndex { db, unlogged }))
    }

    fn destroy(&self, folder: &Path) -> Result<(), IndexError> {
        match std::fs::remove_dir_all(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(IndexError::Backend { detail: error.to_string() }),
            _ => Ok(()),
        }
    }
}

struct RocksIndex {
    db: DB,
    unlogged: WriteOptions,
}

impl fmt::Debug for RocksIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RocksIndex").field("path", &self.db.path()).finish_non_exhaustive()
    }
}

impl IndexBackend for RocksIndex {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        self.db.get(key).map_err(failed)
    }

    fn scan(&self, from: Bound<&[u8]>, to: &[u8], limit: usize) -> Result<Vec<KeyValue>, IndexError> {
        let mut range = ReadOptions::default();
        range.set_iterate_upper_bound(to);
        let (start, excluded) = match from {
            Bound::Included(key) => (key, None),
            Bound::Excluded(key) => (key, Some(key)),
            Bound::Unbounded => (&[][..], None),
        };
        let mut found = Vec::new();
        for pair in self.db.iterator_opt(IteratorMode::From(start, Direction::Forward), range) {
            let (key, value) = pair.map_err(failed)?;
            if excluded == Some(&*key) {
                continue;
            }
            if found.len() == limit {
                break;
            }
            found.push((key.into_vec(), value.into_vec()));
        }
        Ok(found)
    }

    fn write(&self, changes: Vec<Change>) -> Result<(), IndexError> {
        let mut batch = WriteBatch::default();
        for change in changes {
            match change {
                Change::Set(key, value) => batch.put(key, value),
                Change::Remove(key) => batch.delete(key),
            }
        }
        self.db.write_opt(batch, &self.unlogged).map_err(failed)
    }

    fn flush(&self) -> Result<(), IndexError> {
        self.db.flush().map_err(failed)
    }
}
