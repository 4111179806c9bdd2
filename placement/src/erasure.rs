//! Cuts a payload into k data and m parity shards and puts it together again. The only file that names the Reed–Solomon crate.
//!
//! Layout, for a payload of n bytes: every shard has the same length, ⌈n/k⌉ bytes. Data shard i is the payload from i·⌈n/k⌉ on, as it is, the
//! end filled with zeros; so a range of the payload lies in consecutive data shards and is read without decoding. Parity is computed byte
//! by byte over the same place of all data shards; so any range of a lost shard comes back from the same range of any k others. The codes
//! 1+m are copies, k+0 has no parity. Which bytes a code makes of a payload is on disk and never changes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use reed_solomon_erasure::galois_8::ReedSolomon;

use crate::limits::{CHECKSUM_BLOCK_LENGTH_BYTES, PAYLOAD_LENGTH_BYTES_MAX};
use crate::profile::Code;

/// Length of each shard of a payload, in bytes.
pub fn shard_length(code: Code, payload_length: usize) -> usize {
    payload_length.div_ceil(usize::from(code.data()))
}

/// Cuts a payload into its k+m shards, in the order of their indexes.
///
/// # Panics
/// If the payload is longer than [`PAYLOAD_LENGTH_BYTES_MAX`]; who cuts files into chunks keeps to it.
pub fn encode(code: Code, payload: &[u8]) -> Vec<Vec<u8>> {
    let parity = encode_parity(code, payload);
    (0..code.data()).map(|index| data_shard(code, payload, index).into_owned()).chain(parity).collect()
}

/// Data shard `index` of a payload: a part of it, or a copy where zeros had to be added.
pub fn data_shard(code: Code, payload: &[u8], index: u8) -> Cow<'_, [u8]> {
    let length = shard_length(code, payload.len());
    let begin = length.saturating_mul(usize::from(index)).min(payload.len());
    let end = begin.saturating_add(length).min(payload.len());
    let part = payload.get(begin..end).unwrap_or_default();
    if part.len() == length {
        return Cow::Borrowed(part);
    }
    let mut padded = Vec::with_capacity(length);
    padded.extend_from_slice(part);
    padded.resize(length, 0);
    Cow::Owned(padded)
}

/// The m parity shards of a payload, for who can send the data shards from where they lie (see [`data_shard`]).
///
/// # Panics
/// If the payload is longer than [`PAYLOAD_LENGTH_BYTES_MAX`].
pub fn encode_parity(code: Code, payload: &[u8]) -> Vec<Vec<u8>> {
    assert!(payload.len() <= PAYLOAD_LENGTH_BYTES_MAX, "a payload of {} bytes is longer than a chunk can be", payload.len());
    if code.data() == 1 || payload.is_empty() {
        return vec![payload.to_vec(); usize::from(code.parity())];
    }
    let Some(codec) = codec(code) else { return Vec::new() };
    let data: Vec<Cow<'_, [u8]>> = (0..code.data()).map(|index| data_shard(code, payload, index)).collect();
    let mut parity = vec![vec![0; shard_length(code, payload.len())]; usize::from(code.parity())];
    codec.encode_sep(&data, &mut parity).expect("k data and m parity shards of one length that is not 0");
    parity
}

/// Puts a payload together from any k of its shards; `shards` has a place for each index.
///
/// # Errors
/// [`ErasureError`] if fewer than k shards are there or one has a wrong length. What a shard holds is not checked here.
pub fn decode(code: Code, payload_length: usize, shards: Vec<Option<Vec<u8>>>) -> Result<Vec<u8>, ErasureError> {
    let length = shard_length(code, payload_length);
    let mut shards = checked(code, length, shards)?;
    if code.data() == 1 {
        return shards.into_iter().flatten().next().ok_or(ErasureError::TooFewShards { found: 0, needed: 1 });
    }
    let data_count = usize::from(code.data());
    if shards.iter().take(data_count).any(Option::is_none) {
        rebuild(code, &mut shards, false);
    }
    let mut payload = Vec::with_capacity(length * data_count);
    for shard in shards.iter().take(data_count).flatten() {
        payload.extend_from_slice(shard);
    }
    payload.truncate(payload_length);
    Ok(payload)
}

/// Makes the shards `wanted` from any k others, in the order asked for.
///
/// `shards` has a place for each index and holds whole shards, or the same range of each: then the same range of those wanted comes back.
/// So a range read of a lost shard reads no more than that range of k others, and a repair goes block by block.
///
/// # Errors
/// [`ErasureError`] if fewer than k shards are there, their lengths differ, or an index is none of the code's.
pub fn reconstruct_shards(code: Code, wanted: &[u8], shards: Vec<Option<Vec<u8>>>) -> Result<Vec<Vec<u8>>, ErasureError> {
    if let Some(index) = wanted.iter().copied().find(|index| *index >= code.total()) {
        return Err(ErasureError::NoSuchShard { index, code });
    }
    let length = shards.iter().flatten().map(Vec::len).next().unwrap_or(0);
    let mut shards = checked(code, length, shards)?;
    if code.data() == 1 {
        let copy = shards.into_iter().flatten().next().unwrap_or_default();
        return Ok(vec![copy; wanted.len()]);
    }
    let absent = |index: &u8| shards.get(usize::from(*index)).is_none_or(Option::is_none);
    let absent: Vec<u8> = wanted.iter().copied().filter(absent).collect();
    if !absent.is_empty() {
        rebuild(code, &mut shards, absent.iter().any(|index| *index >= code.data()));
    }
    Ok(wanted.iter().map(|index| shards.get(usize::from(*index)).cloned().flatten().unwrap_or_default()).collect())
}

/// A range of one shard.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ShardRange {
    /// The shard.
    pub index: u8,
    /// Bytes of it.
    pub range: Range<usize>,
}

/// Where a range of the payload lies: ranges of data shards that, put one after the other, are that range.
///
/// What of `range` is past the end of the payload is left out.
pub fn shard_ranges(code: Code, payload_length: usize, range: Range<usize>) -> Vec<ShardRange> {
    let length = shard_length(code, payload_length);
    let end = range.end.min(payload_length);
    let mut ranges = Vec::new();
    for index in 0..code.data() {
        let shard_begin = usize::from(index) * length;
        let first = range.start.max(shard_begin);
        let last = end.min(shard_begin + length);
        if first < last {
            ranges.push(ShardRange { index, range: first - shard_begin..last - shard_begin });
        }
    }
    ranges
}

/// The smallest range of whole checksum blocks around a range of a shard, cut at the shard's end.
pub fn whole_blocks(range: &Range<usize>, shard_length: usize) -> Range<usize> {
    let begin = range.start / CHECKSUM_BLOCK_LENGTH_BYTES * CHECKSUM_BLOCK_LENGTH_BYTES;
    let end = range.end.div_ceil(CHECKSUM_BLOCK_LENGTH_BYTES).saturating_mul(CHECKSUM_BLOCK_LENGTH_BYTES).min(shard_length);
    begin.min(end)..end
}

/// Shards that give nothing back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ErasureError {
    /// Fewer than k: find others.
    #[error("{found} shards are there, {needed} are needed")]
    TooFewShards {
        /// How many are there.
        found: u8,
        /// How many are needed (k).
        needed: u8,
    },
    /// A shard of another length than its fellows.
    #[error("a shard of {found} bytes where each has {expected}")]
    WrongLength {
        /// Length of every shard, in bytes.
        expected: usize,
        /// Length of this one, in bytes.
        found: usize,
    },
    /// Not k+m places.
    #[error("{found} places for shards, code {code} has {}", code.total())]
    WrongCount {
        /// The code.
        code: Code,
        /// How many places were given.
        found: usize,
    },
    /// An index that the code has not.
    #[error("code {code} has no shard {index}")]
    NoSuchShard {
        /// The index.
        index: u8,
        /// The code.
        code: Code,
    },
}

fn checked(code: Code, length: usize, shards: Vec<Option<Vec<u8>>>) -> Result<Vec<Option<Vec<u8>>>, ErasureError> {
    if shards.len() != usize::from(code.total()) {
        return Err(ErasureError::WrongCount { code, found: shards.len() });
    }
    if let Some(shard) = shards.iter().flatten().find(|shard| shard.len() != length) {
        return Err(ErasureError::WrongLength { expected: length, found: shard.len() });
    }
    let found = u8::try_from(shards.iter().flatten().count()).expect("at most k+m");
    if found < code.data() {
        return Err(ErasureError::TooFewShards { found, needed: code.data() });
    }
    Ok(shards)
}

/// Fills in the missing data shards, and the missing parity shards too if asked for. The shards were checked.
fn rebuild(code: Code, shards: &mut [Option<Vec<u8>>], parity_too: bool) {
    if shards.iter().flatten().any(Vec::is_empty) {
        // Shards of nothing: the codec refuses them, and there is nothing to compute.
        shards.iter_mut().for_each(|shard| *shard = Some(Vec::new()));
        return;
    }
    let codec = codec(code).expect("without parity k shards are all shards, and nothing is missing");
    let made = if parity_too { codec.reconstruct(shards) } else { codec.reconstruct_data(shards) };
    made.expect("checked: k shards at least, of one length that is not 0");
}

/// The codec of a code, made once a process; `None` for codes without parity.
fn codec(code: Code) -> Option<Arc<ReedSolomon>> {
    static CODECS: RwLock<BTreeMap<Code, Arc<ReedSolomon>>> = RwLock::new(BTreeMap::new());
    if code.parity() == 0 {
        return None;
    }
    if let Some(codec) = CODECS.read().unwrap_or_else(PoisonError::into_inner).get(&code) {
        return Some(Arc::clone(codec));
    }
    let made = ReedSolomon::new(usize::from(code.data()), usize::from(code.parity())).expect("a Code has 1 to 32 shards, and parity here");
    let mut codecs = CODECS.write().unwrap_or_else(PoisonError::into_inner);
    Some(Arc::clone(codecs.entry(code).or_insert_with(|| Arc::new(made))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::hash;
    use crate::ids::ChunkId;

    fn code(text: &str) -> Code {
        text.parse().unwrap()
    }

    fn payload(length: u32) -> Vec<u8> {
        (0..length).map(|place| (place.wrapping_mul(2_654_435_761) >> 24).to_le_bytes()[0]).collect()
    }

    #[test]
    fn shards_are_frozen() {
        let hash_of = |text: &str, length: u32| ChunkId(hash(&encode(code(text), &payload(length)).concat())).to_string();
        assert_eq!(encode(code("2+1"), b"skeps"), [b"ske".to_vec(), b"ps\0".to_vec(), vec![117, 91, 175]]);
        assert_eq!(hash_of("4+2", 1_000_003), "13e9b33e6d1e3f395925b4617595e409f1e8c1a515e2ae01bae420cfb678b183");
        assert_eq!(hash_of("8+3", 131_073), "4823875231157f7c3df80602cf9767f235bf77811dfef20c15b3e79fd47a80c2");
    }

    #[test]
    fn copies_and_no_parity() {
        assert_eq!(encode(code("1+2"), b"skep"), vec![b"skep".to_vec(); 3]);
        assert_eq!(encode(code("2+0"), b"skep"), [b"sk", b"ep"]);
        assert_eq!(decode(code("1+2"), 4, vec![None, None, Some(b"skep".to_vec())]).unwrap(), b"skep");
        assert_eq!(decode(code("2+0"), 4, vec![Some(b"sk".to_vec()), Some(b"ep".to_vec())]).unwrap(), b"skep");
        let lost = decode(code("2+0"), 4, vec![Some(b"sk".to_vec()), None]);
        assert_eq!(lost, Err(ErasureError::TooFewShards { found: 1, needed: 2 }));
    }

    #[test]
    fn an_empty_payload_has_empty_shards() {
        for text in ["1+0", "1+1", "2+1", "4+2"] {
            let shards = encode(code(text), b"");
            assert_eq!(shards, vec![Vec::<u8>::new(); usize::from(code(text).total())]);
            let mut some: Vec<_> = shards.into_iter().map(Some).collect();
            if code(text).parity() > 0 {
                some[0] = None;
            }
            assert_eq!(decode(code(text), 0, some).unwrap(), b"");
        }
    }

    #[test]
    fn wrong_shards_are_errors() {
        let good = || encode(code("2+1"), &payload(100)).into_iter().map(Some).collect::<Vec<_>>();
        let mut short = good();
        short[1] = Some(vec![0; 49]);
        assert_eq!(decode(code("2+1"), 100, short), Err(ErasureError::WrongLength { expected: 50, found: 49 }));
        assert!(matches!(decode(code("2+2"), 100, good()), Err(ErasureError::WrongCount { .. })));
        assert!(matches!(reconstruct_shards(code("2+1"), &[3], good()), Err(ErasureError::NoSuchShard { index: 3, .. })));
        assert!(matches!(
            reconstruct_shards(code("2+1"), &[0], vec![None, None, good()[2].clone()]),
            Err(ErasureError::TooFewShards { .. })
        ));
    }

    #[test]
    fn ranges_name_the_shards_and_blocks_they_touch() {
        let at = |index, range| ShardRange { index, range };
        assert_eq!(shard_ranges(code("2+1"), 10, 0..10), [at(0, 0..5), at(1, 0..5)]);
        assert_eq!(shard_ranges(code("2+1"), 9, 4..100), [at(0, 4..5), at(1, 0..4)]);
        assert_eq!(shard_ranges(code("4+2"), 5, 0..5), [at(0, 0..2), at(1, 0..2), at(2, 0..1)]);
        assert_eq!(shard_ranges(code("1+2"), 10, 3..4), [at(0, 3..4)]);
        assert_eq!(shard_ranges(code("2+1"), 10, 7..7), []);
        assert_eq!(whole_blocks(&(70_000..70_001), 200_000), 65_536..131_072);
        assert_eq!(whole_blocks(&(0..200_000), 200_000), 0..200_000);
        assert_eq!(whole_blocks(&(5..5), 200_000), 0..65_536);
    }
}
