//! Every maximum of the device store, and the sizes that are part of its format.

pub use skep_frames::limits::{BLOCK_BYTES, PAYLOAD_BYTES_MAX};

/// Shards with a payload of at least this length go into the large class.
pub const LARGE_BYTES_MIN: u32 = 64 * 1024;

/// Where large records begin and where their payloads begin: a multiple of this.
pub const LARGE_ALIGNMENT: u64 = 4096;

/// Where small records begin: a multiple of this.
pub const SMALL_ALIGNMENT: u64 = 8;

/// The length at which a segment is sealed and the next one begins.
pub const SEGMENT_BYTES: u64 = 1 << 30;

/// Shards that one page of a listing holds at most.
pub const LIST_LIMIT_MAX: usize = 10_000;

/// Requests that one batch, and so one fdatasync, holds at most.
pub const BATCH_REQUESTS_MAX: usize = 256;

/// Payload bytes that one batch holds at most, unless its first request alone is longer.
pub const BATCH_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Bytes written after which the index is flushed, so that a start after a crash scans no more than about this.
pub const INDEX_FLUSH_BYTES: u64 = 1 << 30;

/// Records that recovery takes into the index in one batch.
pub const RECOVERY_BATCH_MAX: usize = 4096;
