//! What is known of a shard beside its bytes, and the request that stores one.
//!
//! Invariant: a [`ShardHeader`] that passed [`ShardHeader::fault`] has a shard index below k+m and between 1 and
//! `PAYLOAD_BYTES_MAX` payload bytes, so that its checksum table has a known, bounded length.

use std::fmt;

use bytes::Bytes;
use skep_placement::checksum::ShardAddress;
use skep_placement::ids::{DatasourceId, Epoch, InstanceId, PgId, Stamp};
use skep_placement::profile::Code;

use super::limits::{BLOCK_BYTES, LARGE_BYTES_MIN, PAYLOAD_BYTES_MAX};

/// Names one shard of one instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardKey {
    /// The writing it belongs to.
    pub instance: InstanceId,
    /// Its place in the code, from 0; data shards come first.
    pub shard: u8,
}

impl ShardKey {
    /// What its checksums are seeded with.
    pub fn address(self) -> ShardAddress {
        ShardAddress { write: self.instance.write, index: self.shard }
    }
}

impl fmt::Display for ShardKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.instance, self.shard)
    }
}

/// What is stored of a shard beside its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardHeader {
    /// Whose chunk it is.
    pub datasource: DatasourceId,
    /// The writing it belongs to.
    pub instance: InstanceId,
    /// Its place in the code, from 0.
    pub shard: u8,
    /// The code of the instance.
    pub code: Code,
    /// When the gateway began the instance, by its clock.
    pub began: Stamp,
    /// The placement group it was written for.
    pub pg: PgId,
    /// The epoch of the group the writer went by.
    pub epoch: Epoch,
    /// Length of the chunk in bytes, before encryption.
    pub plaintext_length: u32,
    /// Length of this shard in bytes.
    pub payload_length: u32,
    /// The version of the datasource's key if the chunk is encrypted.
    pub key_version: Option<u32>,
}

/// Why a header describes no shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// The index is not below k+m.
    #[error("its index is not below the number of shards of its code")]
    ShardIndex,
    /// Nothing to store.
    #[error("its payload is empty")]
    PayloadEmpty,
    /// More than a chunk can be.
    #[error("its payload is longer than {PAYLOAD_BYTES_MAX} bytes")]
    PayloadTooLong,
}

impl ShardHeader {
    /// The name of the shard.
    pub fn key(&self) -> ShardKey {
        ShardKey { instance: self.instance, shard: self.shard }
    }

    /// Number of 64 KiB blocks of the payload; the last may be shorter.
    pub fn blocks(&self) -> u32 {
        self.payload_length.div_ceil(BLOCK_BYTES)
    }

    /// Says why this describes no shard, if it doesn't.
    pub fn fault(&self) -> Option<HeaderFault> {
        if self.shard >= self.code.total() {
            Some(HeaderFault::ShardIndex)
        } else if self.payload_length == 0 {
            Some(HeaderFault::PayloadEmpty)
        } else if self.payload_length > PAYLOAD_BYTES_MAX {
            Some(HeaderFault::PayloadTooLong)
        } else {
            None
        }
    }

    /// Whether a second write describes the same stored thing. Group and epoch may differ: a write refused with a
    /// stale epoch is sent again under the same write id.
    pub(super) fn same_content(&self, other: &ShardHeader) -> bool {
        let group_of_other = ShardHeader { pg: other.pg, epoch: other.epoch, ..*self };
        group_of_other == *other
    }

    pub(super) fn is_large(&self) -> bool {
        self.payload_length >= LARGE_BYTES_MIN
    }
}

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
