//! Weighted rendezvous hashing in integers: every node ranks candidates alike, without talking.
//!
//! A candidate with hash h (uniform in 1..2⁶⁴) and weight w gets the score −log₂(h/2⁶⁴)/w; the lowest is first. The scores are
//! exponentially distributed with rate w, so a candidate is first with probability w/Σw, and a candidate that comes or goes changes
//! nothing in the order of the others. The logarithm is computed bit by bit in fixed point: no float, hence no machine that rounds otherwise.
//! Invariant: scores never change; the device sets of all placement groups follow from them.
//! Source: Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998; weights after Schindelhauer and Schomaker, 2005.

/// Bits after the point of the logarithm.
const FRACTION_BITS: u32 = 48;

/// Bits that a score has more than the logarithm, so that division by the weight loses nothing that matters.
const SCORE_BITS: u32 = 40;

/// What a candidate is ranked by; the lowest is first. Equal only for candidates of one hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Score {
    scaled: u128,
    hash: u64,
}

/// The score of a candidate. A weight of 0 counts as the smallest there is; who must get nothing is left out before.
pub(crate) fn score(hash: u64, weight: u64) -> Score {
    let scaled = (u128::from(negative_log2(hash)) << SCORE_BITS) / u128::from(weight.max(1));
    Score { scaled, hash }
}

/// The hash of a list of numbers, each place and each number of weight.
pub(crate) fn hash_numbers(numbers: &[u64]) -> u64 {
    numbers.iter().fold(0x736b_6570, |state, number| mix(state ^ mix(number.wrapping_add(0x9e37_79b9_7f4a_7c15))))
}

/// The number that stands for a name in [`hash_numbers`].
pub(crate) fn number_of_name(name: &str) -> u64 {
    let length = u64::try_from(name.len()).expect("a length fits 64 bits");
    name.as_bytes().chunks(8).fold(mix(length), |state, bytes| {
        let number = bytes.iter().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
        mix(state ^ mix(number))
    })
}

/// The finalizer of SplitMix64: a bijection in which every bit of the input moves every bit of the output.
fn mix(number: u64) -> u64 {
    let mut number = number;
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// −log₂(hash/2⁶⁴) with [`FRACTION_BITS`] bits after the point, rounded up; 0 counts as 1.
fn negative_log2(hash: u64) -> u64 {
    let hash = hash.max(1);
    let whole = hash.ilog2();
    // The mantissa in [1, 2) with 63 bits after the point; squaring it brings out one bit of its logarithm after the other.
    let mut mantissa = u128::from(hash) << (63 - whole);
    let mut log = u64::from(whole);
    for _ in 0..FRACTION_BITS {
        mantissa = (mantissa * mantissa) >> 63;
        log <<= 1;
        if mantissa >> 64 != 0 {
            mantissa >>= 1;
            log |= 1;
        }
    }
    (64 << FRACTION_BITS) - log
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_are_exact_for_powers_of_two_and_frozen_for_others() {
        for power in 0..64 {
            assert_eq!(negative_log2(1 << power), (64 - power) << FRACTION_BITS);
        }
        assert_eq!(negative_log2(0), 64 << FRACTION_BITS);
        assert_eq!(negative_log2(u64::MAX), 1);
        // log2(3) is 1.5849625007211561…; 2⁴⁸ times that is 446127282977750.5.
        assert_eq!((64 << FRACTION_BITS) - negative_log2(3), 446_127_282_977_750);
    }

    #[test]
    fn the_logarithm_falls_as_the_hash_grows() {
        let hashes: Vec<u64> = (1..=4096_u64).map(|step| step << 52).map(|hash| hash.wrapping_sub(1)).collect();
        assert!(hashes.is_sorted_by(|a, b| negative_log2(*a) >= negative_log2(*b)));
    }

    #[test]
    fn a_candidate_is_first_by_its_weight() {
        let weights = [1_u64, 2, 3, 10];
        let mut firsts = [0_u32; 4];
        for trial in 0..16_000 {
            let rank = |place: &usize| score(hash_numbers(&[trial, *place as u64]), weights[*place]);
            firsts[(0..4).min_by_key(rank).unwrap()] += 1;
        }
        for (first, expected) in firsts.into_iter().zip([1000, 2000, 3000, 10_000]) {
            assert!(first.abs_diff(expected) < expected / 10, "{firsts:?}");
        }
    }

    #[test]
    fn hashes_are_frozen() {
        assert_eq!(hash_numbers(&[1, 2, 3]), 9_954_451_572_744_471_276);
        assert_eq!(number_of_name("north"), 13_657_351_464_097_069_124);
        assert_ne!(hash_numbers(&[1, 2]), hash_numbers(&[2, 1]));
        assert_ne!(hash_numbers(&[0]), hash_numbers(&[0, 0]));
        assert_ne!(number_of_name(""), number_of_name("\0"));
    }
}
