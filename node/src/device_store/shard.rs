//! A shard with its bytes: as it comes to be stored, and as it was read.

use bytes::Bytes;

pub use skep_frames::shard::{HeaderFault, ShardHeader, ShardKey};

/// A shard to store.
#[derive(Clone, Debug)]
pub struct ShardRecord {
    /// What it is.
    pub header: ShardHeader,
    /// One for each block, seeded with its address; made at ingress.
    pub checksums: Vec<u32>,
    /// Its bytes, `header.payload_length` of them.
    pub payload: Bytes,
}

/// Blocks of a stored shard that were read and whose checksums are right.
#[derive(Clone, Debug)]
pub struct ShardBlocks {
    /// What is stored of the shard.
    pub header: ShardHeader,
    /// The number of the first block.
    pub first_block: u32,
    /// The bytes of the blocks; the last block of a shard may be shorter.
    pub payload: Bytes,
    /// One for each block in `payload`, for the reader to check again.
    pub checksums: Vec<u32>,
}
