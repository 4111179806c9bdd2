//! CRC32C of each 64 KiB block of a shard, seeded with the block's address.
//!
//! The seed is the CRC32C of (write id, shard index, block number), so that the right bytes at a wrong place fail too: a block of another
//! writing, of another shard, or of another place in the shard. Invariant: the value for an address and bytes never changes; it is on disk.
//! It finds what rots and what is misplaced; it is no proof against a forger (the chunk id is).

use crate::ids::WriteId;
use crate::limits::CHECKSUM_BLOCK_LENGTH_BYTES;

/// Where a shard's blocks belong: one shard of one writing. A write id names one chunk only, so the chunk needs not be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ShardAddress {
    /// The writing.
    pub write: WriteId,
    /// Which of its shards.
    pub index: u8,
}

impl ShardAddress {
    /// The checksum of one block.
    ///
    /// `block` is its number in the shard, from 0; `bytes` are at most [`CHECKSUM_BLOCK_LENGTH_BYTES`].
    pub fn block_checksum(self, block: u32, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(self.seed(block), bytes)
    }

    fn seed(self, block: u32) -> u32 {
        let mut seed = crc32c::crc32c(&self.write.node.0.to_le_bytes());
        seed = crc32c::crc32c_append(seed, &self.write.boot.0.to_le_bytes());
        seed = crc32c::crc32c_append(seed, &self.write.counter.to_le_bytes());
        seed = crc32c::crc32c_append(seed, &[self.index]);
        crc32c::crc32c_append(seed, &block.to_le_bytes())
    }
}

/// How many blocks a shard of `shard_length` bytes has.
pub const fn block_count(shard_length: usize) -> usize {
    shard_length.div_ceil(CHECKSUM_BLOCK_LENGTH_BYTES)
}

/// The checksums of all blocks of a shard, in order; none for an empty shard.
pub fn block_checksums(address: ShardAddress, shard: &[u8]) -> Vec<u32> {
    (0_u32..).zip(shard.chunks(CHECKSUM_BLOCK_LENGTH_BYTES)).map(|(block, bytes)| address.block_checksum(block, bytes)).collect()
}

/// Checks one block.
///
/// # Errors
/// [`ChecksumMismatch`] if the bytes are not those that were written at this address: read another shard and have this one repaired.
pub fn verify_block(address: ShardAddress, block: u32, bytes: &[u8], checksum: u32) -> Result<(), ChecksumMismatch> {
    let found = address.block_checksum(block, bytes);
    if found == checksum { Ok(()) } else { Err(ChecksumMismatch { address, block, expected: checksum, found }) }
}

/// Checks consecutive blocks of a shard from block `first` on; `bytes` begin where that block begins.
///
/// # Errors
/// [`ChecksumMismatch`] for the first block that fails, or that has bytes and no checksum, or a checksum and no bytes.
pub fn verify_blocks(address: ShardAddress, first: u32, bytes: &[u8], checksums: &[u32]) -> Result<(), ChecksumMismatch> {
    let mut blocks = bytes.chunks(CHECKSUM_BLOCK_LENGTH_BYTES);
    let mut expected = checksums.iter().copied();
    let mut block = first;
    loop {
        match (blocks.next(), expected.next()) {
            (None, None) => return Ok(()),
            (Some(bytes), Some(checksum)) => verify_block(address, block, bytes, checksum)?,
            (Some(bytes), None) => {
                return Err(ChecksumMismatch { address, block, expected: 0, found: address.block_checksum(block, bytes) });
            }
            (None, Some(expected)) => return Err(ChecksumMismatch { address, block, expected, found: 0 }),
        }
        block = block.wrapping_add(1);
    }
}

/// Bytes that are not those written at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("block {block} of shard {} of writing {}: checksum {found:08x}, expected {expected:08x}", address.index, address.write)]
pub struct ChecksumMismatch {
    /// The shard.
    pub address: ShardAddress,
    /// The block's number in it.
    pub block: u32,
    /// What was recorded.
    pub expected: u32,
    /// What the bytes give.
    pub found: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{BootNumber, NodeId};

    fn address(node: u64, boot: u64, counter: u64, index: u8) -> ShardAddress {
        ShardAddress { write: WriteId { node: NodeId(node), boot: BootNumber(boot), counter }, index }
    }

    #[test]
    fn checksums_are_frozen() {
        assert_eq!(address(0, 0, 0, 0).block_checksum(0, b""), 1274991160);
        assert_eq!(address(1, 2, 3, 4).block_checksum(5, b"skep"), 1685767367);
        assert_eq!(block_checksums(address(1, 2, 3, 4), &[0x5a; 150_000]), [4039682275, 2333823178, 3241209537]);
    }

    #[test]
    fn the_same_bytes_elsewhere_fail() {
        let here = address(1, 2, 3, 4);
        let checksum = here.block_checksum(5, b"skep");
        assert_eq!(verify_block(here, 5, b"skep", checksum), Ok(()));
        for other in [address(2, 2, 3, 4), address(1, 3, 3, 4), address(1, 2, 4, 4), address(1, 2, 3, 5)] {
            assert!(verify_block(other, 5, b"skep", checksum).is_err());
        }
        assert!((0..5).chain(6..10_000).all(|block| verify_block(here, block, b"skep", checksum).is_err()));
        assert!(verify_block(here, 5, b"skeq", checksum).is_err());
    }

    #[test]
    fn ranges_of_blocks_verify_and_short_or_long_ones_do_not() {
        let here = address(1, 1, 9, 2);
        let shard: Vec<u8> = (0..200_000_u32).map(|place| place.to_le_bytes()[0] ^ place.to_le_bytes()[1]).collect();
        let checksums = block_checksums(here, &shard);
        assert_eq!(checksums.len(), block_count(shard.len()));
        assert_eq!(verify_blocks(here, 0, &shard, &checksums), Ok(()));
        assert_eq!(verify_blocks(here, 1, &shard[65_536..], &checksums[1..]), Ok(()));
        assert_eq!(verify_blocks(here, 1, &shard[65_536..131_072], &checksums[1..2]), Ok(()));
        assert!(verify_blocks(here, 0, &shard[65_536..131_072], &checksums[1..2]).is_err());
        assert_eq!(verify_blocks(here, 0, &shard[..131_072], &checksums).unwrap_err().block, 2);
        assert_eq!(verify_blocks(here, 0, &shard, &checksums[..3]).unwrap_err().block, 3);
    }
}
