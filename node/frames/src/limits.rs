//! Every maximum of a frame and of the shard that it carries, and the size of a shard's blocks.

use skep_placement::limits::{CHECKSUM_BLOCK_LENGTH_BYTES, PAYLOAD_LENGTH_BYTES_MAX};

/// Longest header of a frame, in bytes: a page of a thousand shards.
pub const HEADER_LENGTH_BYTES_MAX: usize = 256 << 10;

/// Payload bytes that one checksum covers.
pub const BLOCK_BYTES: u32 = 64 * 1024;
const _: () = assert!(BLOCK_BYTES as usize == CHECKSUM_BLOCK_LENGTH_BYTES, "checksums are made by placement");

/// The longest payload of one shard: a chunk as a whole copy, with what encryption adds.
pub const PAYLOAD_BYTES_MAX: u32 = (4 << 20) + (64 << 10);
const _: () = assert!(PAYLOAD_BYTES_MAX as usize == PAYLOAD_LENGTH_BYTES_MAX, "a shard is at most a whole payload");
