//! Contents made from a seed, so that they are compared without being kept.

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};

/// Random bytes of a seed.
pub fn random_bytes(seed: u64, length: usize) -> Bytes {
    let mut bytes = vec![0; length];
    StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes.into()
}

/// A length of each size class in turn: inline, whole copies, erasure-coded, and several chunks.
pub fn length_of(seed: u64) -> usize {
    let spread = usize::try_from(seed % 997).expect("below a thousand");
    match seed % 8 {
        0 | 1 => spread,
        2 | 3 => 4 + spread,
        4 | 5 => 5_000 + 100 * spread,
        6 => 140_000 + 300 * spread,
        _large => (5 << 20) + 1_000 * spread,
    }
}
