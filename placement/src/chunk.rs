//! Chunk ids, file hashes and the placement group of a chunk. The only file that names BLAKE3.
//!
//! Invariant: the id of a plaintext under a key never changes, on no node and in no release; it is a name on disk.

use std::fmt;

use crate::ids::{ChunkId, PgId, PoolId};
use crate::limits::{PLACEMENT_GROUPS_PER_POOL, PLACEMENT_GROUPS_PER_POOL_MAX};

/// The secret of a datasource that its chunk ids are made with, so that ids tell nobody what a file holds.
#[derive(Clone, PartialEq, Eq)]
pub struct ChunkKey(pub [u8; 32]);

impl fmt::Debug for ChunkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChunkKey(…)")
    }
}

/// The id of a plaintext that lies in memory as a whole.
pub fn chunk_id(key: &ChunkKey, plaintext: &[u8]) -> ChunkId {
    ChunkId(*blake3::keyed_hash(&key.0, plaintext).as_bytes())
}

/// The plain hash of bytes that lie in memory as a whole.
pub fn hash(bytes: &[u8]) -> [u8; 32] {
    *blake3::hash(bytes).as_bytes()
}

/// The hash of a message under a key: a tag that who has not the key can neither make nor check.
pub fn keyed_hash(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    *blake3::keyed_hash(key, message).as_bytes()
}

/// A key made of other key material, for one purpose.
///
/// `purpose` is a constant text that no other purpose uses; `material` is secret.
pub fn derive_key(purpose: &'static str, material: &[u8]) -> [u8; 32] {
    blake3::derive_key(purpose, material)
}

/// The plain BLAKE3 of a stream: whole files, and whatever else needs a checksum that nobody can forge.
#[derive(Clone, Default)]
pub struct FileHasher(blake3::Hasher);

impl FileHasher {
    /// Begins an empty stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all bytes taken so far; more may follow.
    pub fn hash(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }

    /// How many bytes were taken.
    pub fn length_bytes(&self) -> u64 {
        self.0.count()
    }
}

impl fmt::Debug for FileHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileHasher").field("length_bytes", &self.length_bytes()).finish()
    }
}

/// The keyed BLAKE3 of a stream: chunk ids whose plaintext comes in pieces.
#[derive(Clone)]
pub struct KeyedHasher(blake3::Hasher);

impl KeyedHasher {
    /// Begins an empty stream under a key.
    pub fn new(key: &ChunkKey) -> Self {
        Self(blake3::Hasher::new_keyed(&key.0))
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The id of all bytes taken so far; more may follow.
    pub fn chunk_id(&self) -> ChunkId {
        ChunkId(*self.0.finalize().as_bytes())
    }
}

impl fmt::Debug for KeyedHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyedHasher(…)")
    }
}

/// How many placement groups a pool has: a power of two, so that doubling splits each group and mixes none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PgCount(u32);

impl PgCount {
    /// The count of a new pool.
    pub const NEW_POOL: PgCount = PgCount(PLACEMENT_GROUPS_PER_POOL);

    /// Makes a count.
    ///
    /// # Errors
    /// [`InvalidPgCount`] if it is no power of two or above [`PLACEMENT_GROUPS_PER_POOL_MAX`].
    pub const fn new(count: u32) -> Result<Self, InvalidPgCount> {
        if count.is_power_of_two() && count <= PLACEMENT_GROUPS_PER_POOL_MAX { Ok(Self(count)) } else { Err(InvalidPgCount { count }) }
    }

    /// The number itself.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Twice as many; group i becomes the groups 2i and 2i+1. `None` at the limit.
    pub fn doubled(self) -> Option<Self> {
        self.0.checked_mul(2).and_then(|count| Self::new(count).ok())
    }

    /// The placement group of a chunk: as many first bits of its id as number the groups.
    pub fn group_of(self, pool: PoolId, chunk: &ChunkId) -> PgId {
        let [first, second, third, fourth, ..] = chunk.0;
        let first_bits = u32::from_be_bytes([first, second, third, fourth]);
        // One group alone has no bits: the shift by all 32 gives nothing, that is 0.
        PgId { pool, index: first_bits.checked_shr(32 - self.0.trailing_zeros()).unwrap_or(0) }
    }
}

/// A number that cannot count the placement groups of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{count} placement groups: must be a power of two up to {PLACEMENT_GROUPS_PER_POOL_MAX}")]
pub struct InvalidPgCount {
    /// The number asked for.
    pub count: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: ChunkKey = ChunkKey([7; 32]);

    #[test]
    fn ids_are_frozen() {
        assert_eq!(chunk_id(&KEY, b"skep").to_string(), "517a95559cff3718a6e376c2b0907b89eb31ed5d78bdabdee5046115660ba59c");
        assert_eq!(chunk_id(&KEY, b"").to_string(), "29dc8692843c22e4bdc8f56a93c364a3c50a82df3887397a90c02c7da1636876");
        assert_eq!(ChunkId(hash(b"skep")).to_string(), "1de45ac8576b33961f587b317c2742920e3c85215142328aae69b4b0645d4457");
        assert_eq!(
            ChunkId(derive_key("skep test 1", b"skep")).to_string(),
            "fda2d0c6b5b7d6afa42ff519fad66d42499eeafd80b42352f1dda121731b53d9"
        );
    }

    #[test]
    fn streams_hash_as_the_whole() {
        let bytes: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut keyed = KeyedHasher::new(&KEY);
        let mut plain = FileHasher::new();
        for piece in bytes.chunks(777) {
            keyed.update(piece);
            plain.update(piece);
        }
        assert_eq!(keyed.chunk_id(), chunk_id(&KEY, &bytes));
        assert_eq!(plain.hash(), hash(&bytes));
        assert_eq!(plain.length_bytes(), 400_000);
    }

    #[test]
    fn a_key_is_not_printed() {
        assert_eq!(format!("{KEY:?} {:?}", KeyedHasher::new(&KEY)), "ChunkKey(…) KeyedHasher(…)");
    }

    #[test]
    fn groups_are_the_first_bits_and_split_when_doubled() {
        let pool = PoolId(1);
        let mut id = [0; 32];
        (id[0], id[1]) = (0b1010_1010, 0b1101_1111);
        assert_eq!(PgCount::NEW_POOL.group_of(pool, &ChunkId(id)).index, 0b10_1010_1011);
        assert_eq!(PgCount::NEW_POOL.group_of(pool, &ChunkId([255; 32])).index, 1023);
        assert_eq!(PgCount::new(1).unwrap().group_of(pool, &ChunkId([255; 32])).index, 0);
        let doubled = PgCount::NEW_POOL.doubled().unwrap();
        for seed in 0..500_u32 {
            let id = chunk_id(&KEY, &seed.to_le_bytes());
            assert_eq!(doubled.group_of(pool, &id).index / 2, PgCount::NEW_POOL.group_of(pool, &id).index);
        }
    }

    #[test]
    fn counts_are_powers_of_two() {
        assert!([0, 3, 1000, 1 << 17].into_iter().all(|count| PgCount::new(count).is_err()));
        assert_eq!(PgCount::new(1 << 16).unwrap().doubled(), None);
    }
}
