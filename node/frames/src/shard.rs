//! What is known of a shard beside its bytes.
//!
//! Invariant: a [`ShardHeader`] that passed [`ShardHeader::fault`] has a shard index below k+m and between 1 and
//! `PAYLOAD_BYTES_MAX` payload bytes, so that its checksum table has a known, bounded length.

use std::fmt;

use skep_placement::checksum::ShardAddress;
use skep_placement::ids::{DatasourceId, Epoch, InstanceId, PgId, Stamp};
use skep_placement::profile::Code;

use crate::limits::{BLOCK_BYTES, PAYLOAD_BYTES_MAX};

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
}
