//! The state of one group in a RocksDB of its own. All groups of a node share block cache, write buffers and threads.
//!
//! There is no write-ahead log: the Raft log is one. An entry is one write batch over all families, and families are flushed together, so
//! what a crash leaves is the state after some whole entry, which names itself. Invariant: nothing is ever half an entry.

mod owned_snapshot;

use std::fmt;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ChecksumType, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType,
    DBRawIteratorWithThreadMode, Env, ErrorKind, FlushOptions, LruCacheOptions, Options, ReadOptions, ReadTier, SliceTransform, WriteBatch,
    WriteBufferManager, WriteOptions, properties,
};

use self::owned_snapshot::OwnedSnapshot;
use super::{Changes, Direction, Family, LastRow, ReadState, Row, Rows, StateError, StateStore};

/// What all stores of a node share. Cheap to clone.
#[derive(Clone)]
pub struct RocksShared {
    cache: Cache,
    write_buffers: WriteBufferManager,
    env: Env,
    background_jobs: i32,
}

/// Kind and first id of a key of the tree: what is asked for in one scan mostly has these in common.
const PREFIX_BYTES: usize = 17;
/// Of one family; all of a node's are bounded together.
const WRITE_BUFFER_BYTES: usize = 32 << 20;
/// Of a write buffer, for its filter: some 20 bits a key.
const MEMTABLE_FILTER_RATIO: f64 = 0.01;
/// A part of the cache is not smaller.
const CACHE_SHARD_BYTES_MIN: usize = 32 << 20;
/// And there are not more.
const CACHE_SHARDS_MAX: usize = 64;

/// Sizes of what all stores of a node share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RocksOptions {
    /// Memory for blocks that were read, in bytes; write buffers are counted in it.
    pub block_cache_bytes: usize,
    /// Memory for changes that are not flushed yet, in bytes.
    pub write_buffer_bytes: usize,
    /// Threads that flush and compact.
    pub background_threads: u8,
}

impl Default for RocksOptions {
    fn default() -> Self {
        Self { block_cache_bytes: 128 << 20, write_buffer_bytes: 64 << 20, background_threads: 2 }
    }
}

/// Into how many parts the cache is divided, as a power of two. Write buffers are counted in it by entries of 256 KiB that fall on parts by chance: of RocksDB's own
/// choice, parts of 2 MiB, some are full of them, and what belongs there is read and decompressed each time.
fn shard_bits(cache_bytes: usize) -> i32 {
    let shards = (cache_bytes / CACHE_SHARD_BYTES_MIN).clamp(1, CACHE_SHARDS_MAX);
    i32::try_from(shards.ilog2()).expect("the logarithm of a small number")
}

impl fmt::Debug for RocksShared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RocksShared").field("write_buffer_bytes", &self.write_buffers.get_usage()).finish_non_exhaustive()
    }
}

impl RocksShared {
    /// Takes memory and threads.
    ///
    /// # Errors
    /// The environment of the storage cannot be made.
    pub fn new(options: RocksOptions) -> Result<Self, StateError> {
        let mut cache = LruCacheOptions::default();
        cache.set_capacity(options.block_cache_bytes);
        cache.set_num_shard_bits(shard_bits(options.block_cache_bytes));
        let cache = Cache::new_lru_cache_opts(&cache);
        let write_buffers = WriteBufferManager::new_write_buffer_manager_with_cache(options.write_buffer_bytes, false, cache.clone());
        let mut env = Env::new().map_err(failed)?;
        let background_jobs = i32::from(options.background_threads.max(2));
        env.set_background_threads(background_jobs);
        env.set_high_priority_background_threads(1);
        Ok(Self { cache, write_buffers, env, background_jobs })
    }

    fn database_options(&self) -> Options {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_env(&self.env);
        options.set_write_buffer_manager(&self.write_buffers);
        options.set_max_background_jobs(self.background_jobs);
        options.set_atomic_flush(true);
        options.set_paranoid_checks(true);
        options.set_max_open_files(512);
        options.set_keep_log_file_num(4);
        options.set_max_log_file_size(1 << 20);
        options.set_bytes_per_sync(1 << 20);
        options
    }

    fn family_options(&self, family: Family) -> Options {
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&self.cache);
        blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
        blocks.set_partition_filters(true);
        blocks.set_metadata_block_size(4 << 10);
        blocks.set_block_size(16 << 10);
        blocks.set_bloom_filter(10.0, false);
        blocks.set_optimize_filters_for_memory(true);
        blocks.set_cache_index_and_filter_blocks(true);
        blocks.set_cache_index_and_filter_blocks_with_high_priority(true);
        blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
        blocks.set_pin_top_level_index_and_filter(true);
        blocks.set_checksum_type(ChecksumType::XXH3);
        blocks.set_format_version(5);
        let mut options = Options::default();
        options.set_block_based_table_factory(&blocks);
        options.set_write_buffer_size(WRITE_BUFFER_BYTES);
        options.set_level_compaction_dynamic_level_bytes(true);
        // On all levels: ids and hashes, which are most of it, do not get smaller by more effort.
        options.set_compression_type(DBCompressionType::Lz4);
        if matches!(family, Family::Tree | Family::Data) {
            // What is made anew is looked for first: most reads of a commit find nothing.
            options.set_memtable_whole_key_filtering(true);
            options.set_memtable_prefix_bloom_ratio(MEMTABLE_FILTER_RATIO);
        }
        if family == Family::Tree {
            options.set_prefix_extractor(SliceTransform::create_fixed_prefix(PREFIX_BYTES));
        }
        if family == Family::Inline {
            // Bytes that people sent: moved by compactions as little as can be.
            options.set_enable_blob_files(true);
            options.set_min_blob_size(256);
            options.set_blob_cache(&self.cache);
            options.set_blob_file_size(64 << 20);
            options.set_blob_compression_type(DBCompressionType::Lz4);
            options.set_enable_blob_gc(true);
        }
        options
    }

    fn descriptors(&self) -> Vec<ColumnFamilyDescriptor> {
        Family::ALL.map(|family| ColumnFamilyDescriptor::new(family.name(), self.family_options(family))).into()
    }
}

/// The state of a group on disk. Cheap to clone: all clones are one store.
#[derive(Clone)]
pub struct RocksStore {
    db: Arc<DB>,
}

impl fmt::Debug for RocksStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RocksStore").field("path", &self.db.path()).finish()
    }
}

impl RocksStore {
    /// Opens a folder, or makes an empty store in it.
    ///
    /// # Errors
    /// [`StateError::Storage`]: the folder is used by another process, is damaged, or cannot be written.
    pub fn open(dir: &Path, shared: &RocksShared) -> Result<Self, StateError> {
        let db = DB::open_cf_descriptors(&shared.database_options(), dir, shared.descriptors()).map_err(failed)?;
        Ok(Self { db: Arc::new(db) })
    }

    /// Opens a checkpoint to read it; changes are refused.
    ///
    /// # Errors
    /// [`StateError::Storage`]: there is no store in the folder, or it is damaged.
    pub fn open_read_only(dir: &Path, shared: &RocksShared) -> Result<Self, StateError> {
        let db = DB::open_cf_descriptors_read_only(&shared.database_options(), dir, shared.descriptors(), false).map_err(failed)?;
        Ok(Self { db: Arc::new(db) })
    }

    /// Makes all changes so far durable; returns when they are.
    ///
    /// # Errors
    /// [`StateError::Storage`]: the node must stop.
    pub fn flush(&self) -> Result<(), StateError> {
        let families = Family::ALL.iter().map(|family| handle(&self.db, *family)).collect::<Result<Vec<&ColumnFamily>, StateError>>()?;
        let mut options = FlushOptions::default();
        options.set_wait(true);
        self.db.flush_cfs_opt(&families, &options).map_err(failed)
    }

    /// Writes the state as it is now into a folder that must not exist yet, sharing files by hard links.
    ///
    /// # Errors
    /// [`StateError::Storage`]: the folder exists, or cannot be written.
    pub fn checkpoint(&self, dir: &Path) -> Result<(), StateError> {
        self.flush()?;
        Checkpoint::new(&self.db).and_then(|checkpoint| checkpoint.create_checkpoint(dir)).map_err(failed)
    }

    /// How many flushes and compactions have failed since the store was opened. Any is a reason to stop the node.
    ///
    /// # Errors
    /// [`StateError::Storage`]: the store does not say.
    pub fn background_errors(&self) -> Result<u64, StateError> {
        let count = self.db.property_int_value(properties::BACKGROUND_ERRORS).map_err(failed)?;
        count.ok_or_else(|| StateError::Storage { detail: "the number of background errors is not known".to_owned() })
    }
}

impl StateStore for RocksStore {
    fn snapshot(&self) -> Box<dyn ReadState> {
        Box::new(OwnedSnapshot::of(Arc::clone(&self.db)))
    }

    fn commit(&self, changes: Changes) -> Result<(), StateError> {
        // Of a row the batch holds, beside key and value, the family and two lengths.
        let bytes = changes.iter().map(|(_, key, value)| key.len() + value.map_or(0, Bytes::len) + 12).sum::<usize>();
        let mut batch = WriteBatch::with_capacity_bytes(bytes + 12);
        for (family, key, value) in changes.iter() {
            let handle = handle(&self.db, family)?;
            match value {
                Some(value) => batch.put_cf(handle, key, value),
                None => batch.delete_cf(handle, key),
            }
        }
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        self.db.write_opt(batch, &options).map_err(failed)
    }
}

impl ReadState for OwnedSnapshot {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        get(self, ReadTier::All, family, key)
    }

    fn scan<'a>(&'a self, family: Family, start: Bound<&[u8]>, end: Bound<&[u8]>, direction: Direction) -> Rows<'a> {
        scan(self, ReadTier::All, (family, start, end), direction)
    }

    /// By one iterator: to make one costs more than to move it.
    fn last_rows<'a>(&'a self, family: Family) -> LastRow<'a> {
        let mut iterator = None;
        Box::new(move |start, end| {
            let rows = match &mut iterator {
                Some(rows) => rows,
                none => match cursor(self, ReadTier::All, (family, Bound::Unbounded, Bound::Unbounded), Seek::Ordered)? {
                    Some(rows) => none.insert(rows),
                    None => return Ok(None),
                },
            };
            rows.seek_for_prev(end);
            if rows.key() == Some(end) {
                rows.prev();
            }
            rows.status().map_err(failed)?;
            Ok(rows
                .item()
                .filter(|(key, _)| *key >= start)
                .map(|(key, value)| (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value))))
        })
    }

    fn count(&self, family: Family, start: Bound<&[u8]>, end: Bound<&[u8]>) -> Result<u64, StateError> {
        let Some(mut rows) = cursor(self, ReadTier::All, (family, start, end), Seek::Ordered)? else { return Ok(0) };
        rows.seek_to_first();
        let mut count = 0;
        while rows.valid() {
            count += 1;
            rows.next();
        }
        rows.status().map_err(failed)?;
        Ok(count)
    }

    fn in_memory<'a>(&'a self) -> Option<Box<dyn ReadState + 'a>> {
        Some(Box::new(InMemory(self)))
    }
}

/// What of a snapshot is in write buffers or in the cache.
struct InMemory<'a>(&'a OwnedSnapshot);

impl ReadState for InMemory<'_> {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        get(self.0, ReadTier::BlockCache, family, key)
    }

    fn scan<'a>(&'a self, family: Family, start: Bound<&[u8]>, end: Bound<&[u8]>, direction: Direction) -> Rows<'a> {
        scan(self.0, ReadTier::BlockCache, (family, start, end), direction)
    }
}

/// Rows of a family between two bounds.
type Part<'b> = (Family, Bound<&'b [u8]>, Bound<&'b [u8]>);

fn get(state: &OwnedSnapshot, tier: ReadTier, family: Family, key: &[u8]) -> Result<Option<Bytes>, StateError> {
    let mut options = ReadOptions::default();
    options.set_read_tier(tier);
    let handle = handle(state.database(), family)?;
    Ok(state.snapshot().get_cf_opt(handle, key, options).map_err(failed)?.map(Bytes::from))
}

fn scan<'a>(state: &'a OwnedSnapshot, tier: ReadTier, part: Part<'_>, direction: Direction) -> Rows<'a> {
    let (family, start, end) = part;
    let seek = match direction {
        Direction::Forward if family == Family::Tree && have_one_prefix(start, end) => Seek::ByPrefix,
        Direction::Forward | Direction::Backward => Seek::Ordered,
    };
    let mut rows = match cursor(state, tier, part, seek) {
        Ok(Some(rows)) => rows,
        Ok(None) => return Box::new(std::iter::empty()),
        Err(error) => return Box::new(std::iter::once(Err(error))),
    };
    match direction {
        Direction::Forward => rows.seek_to_first(),
        Direction::Backward => rows.seek_to_last(),
    }
    Box::new(RocksRows { rows, direction, at_row: true, ended: false })
}

/// How an iterator finds its first row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seek {
    /// In the order of all keys.
    Ordered,
    /// Forward from the lower bound, within its prefix alone: files whose filter does not know the prefix are passed over.
    ByPrefix,
}

/// Whether all keys between two bounds begin with the same prefix.
fn have_one_prefix(start: Bound<&[u8]>, end: Bound<&[u8]>) -> bool {
    let lower = least(start);
    let (Some(prefix), Some(upper)) = (lower.get(..PREFIX_BYTES), least_above(end)) else { return false };
    upper.starts_with(prefix) || crate::keys::after_prefix(prefix) == upper
}

/// An iterator over a part, which stands nowhere yet; nothing if no key is between the bounds.
fn cursor<'a>(
    state: &'a OwnedSnapshot,
    tier: ReadTier,
    (family, start, end): Part<'_>,
    seek: Seek,
) -> Result<Option<DBRawIteratorWithThreadMode<'a, DB>>, StateError> {
    let handle = handle(state.database(), family)?;
    let (lower, upper) = (least(start), least_above(end));
    if upper.as_ref().is_some_and(|upper| *upper <= lower) {
        return Ok(None);
    }
    let mut options = ReadOptions::default();
    options.set_read_tier(tier);
    options.set_total_order_seek(seek == Seek::Ordered);
    options.set_prefix_same_as_start(seek == Seek::ByPrefix);
    options.set_iterate_lower_bound(lower);
    if let Some(upper) = upper {
        options.set_iterate_upper_bound(upper);
    }
    Ok(Some(state.snapshot().raw_iterator_cf_opt(handle, options)))
}

/// The rows of a scan. It steps on only when the next row is asked for: a step back may read a block.
struct RocksRows<'a> {
    rows: DBRawIteratorWithThreadMode<'a, DB>,
    direction: Direction,
    /// The iterator stands at a row that was not given yet.
    at_row: bool,
    ended: bool,
}

impl RocksRows<'_> {
    fn step(&mut self) {
        match self.direction {
            Direction::Forward => self.rows.next(),
            Direction::Backward => self.rows.prev(),
        }
    }
}

impl Iterator for RocksRows<'_> {
    type Item = Result<Row, StateError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.nth(0)
    }

    /// Passes rows over without copying them.
    fn nth(&mut self, passed: usize) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        for _ in 0..passed + usize::from(!self.at_row) {
            if !self.rows.valid() {
                break;
            }
            self.step();
        }
        self.at_row = false;
        let row: Option<Row> = self.rows.item().map(|(key, value)| (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
        if row.is_none() {
            self.ended = true;
            return self.rows.status().err().map(|error| Err(failed(error)));
        }
        row.map(Ok)
    }
}

/// The least key that a bound from below admits.
fn least(start: Bound<&[u8]>) -> Vec<u8> {
    match start {
        Bound::Included(key) => key.to_vec(),
        Bound::Excluded(key) => next_key(key),
        Bound::Unbounded => Vec::new(),
    }
}

/// The least key that a bound from above does not admit; `None` if it admits all.
fn least_above(end: Bound<&[u8]>) -> Option<Vec<u8>> {
    match end {
        Bound::Included(key) => Some(next_key(key)),
        Bound::Excluded(key) => Some(key.to_vec()),
        Bound::Unbounded => None,
    }
}

/// The least key that is greater.
fn next_key(key: &[u8]) -> Vec<u8> {
    let mut next = key.to_vec();
    next.push(0);
    next
}

fn handle(db: &DB, family: Family) -> Result<&ColumnFamily, StateError> {
    db.cf_handle(family.name()).ok_or_else(|| StateError::Storage { detail: format!("the store has no family {family}") })
}

fn failed(error: rocksdb::Error) -> StateError {
    if error.kind() == ErrorKind::Incomplete {
        return StateError::NotInMemory;
    }
    StateError::Storage { detail: error.into_string() }
}
