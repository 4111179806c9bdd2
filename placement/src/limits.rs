//! Every bound of what this crate decides. A number that is stored or sent stands here once.

/// Longest plaintext of one chunk, in bytes.
pub const CHUNK_LENGTH_BYTES_MAX: usize = 4 << 20;

/// Longest payload the codec takes, in bytes: a chunk and what encryption adds to it.
pub const PAYLOAD_LENGTH_BYTES_MAX: usize = CHUNK_LENGTH_BYTES_MAX + (64 << 10);

/// Longest content that lives in the metadata itself, in bytes, inclusive.
pub const INLINE_LENGTH_BYTES_MAX: usize = 4 << 10;

/// Longest chunk that is stored as whole copies (the code 1+m), in bytes, inclusive.
pub const WHOLE_COPY_LENGTH_BYTES_MAX: usize = 128 << 10;

/// Bytes of a shard that share one checksum; the last block of a shard may be shorter.
pub const CHECKSUM_BLOCK_LENGTH_BYTES: usize = 64 << 10;

/// Placement groups of a new pool; a power of two.
pub const PLACEMENT_GROUPS_PER_POOL: u32 = 1024;

/// Most placement groups a pool is ever split into; a power of two.
pub const PLACEMENT_GROUPS_PER_POOL_MAX: u32 = 1 << 16;

/// Most shards of one instance (k+m).
pub const SHARDS_MAX: u8 = 32;

/// Most devices of a cluster.
pub const DEVICES_MAX: usize = 4096;

/// Longest name of a zone, in bytes.
pub const ZONE_LENGTH_BYTES_MAX: usize = 255;

/// Most sets a placement group remembers since it was last clean.
pub const PAST_SETS_MAX: usize = 16;

/// Most moves of placement groups begun by one plan.
pub const MOVES_PER_PLAN_MAX: usize = 64;
