//! In which order chunks are repaired: those nearest to their loss first.

use skep_placement::profile::Code;
use skep_raft::wire::meta::v1 as meta;

use crate::cluster_map::code;

/// How near a chunk is to its loss: how many more shards may be lost, then how large the part is that is missing. The least goes first.
pub(super) type Urgency = (i32, i32);

/// How urgent the repair of a chunk is. Records that are none come last: repair tells what is wrong with them.
pub(super) fn urgency(placed: &meta::PlacedChunk) -> Urgency {
    let record = placed.record.as_ref();
    let known = record.and_then(|record| Some((record.code.as_ref().and_then(code)?, record.missing)));
    known.map_or((i32::MAX, 0), |(code, missing)| of(code, missing))
}

fn of(code: Code, missing: u32) -> Urgency {
    let missing = i32::try_from(missing.count_ones()).unwrap_or(i32::MAX);
    (i32::from(code.parity()) - missing, -missing)
}

/// Puts the most endangered first; of equal ones the order stays.
pub(super) fn most_endangered_first(chunks: &mut [meta::PlacedChunk]) {
    chunks.sort_by_key(urgency);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(name: u8, code: &str, missing: u32) -> meta::PlacedChunk {
        let code: Code = code.parse().unwrap();
        let record = meta::ChunkRecord { code: Some(crate::cluster_map::code_record(code)), missing, ..meta::ChunkRecord::default() };
        meta::PlacedChunk { chunk: vec![name].into(), record: Some(record) }
    }

    #[test]
    fn who_can_lose_least_goes_first() {
        let mut chunks = vec![
            chunk(1, "4+2", 0),
            chunk(2, "4+2", 0b1),
            chunk(3, "2+1", 0b1),
            chunk(4, "8+3", 0b110),
            chunk(5, "4+2", 0b11),
            chunk(6, "2+1", 0b10),
            meta::PlacedChunk::default(),
            chunk(7, "2+1", 0),
        ];
        most_endangered_first(&mut chunks);
        let names: Vec<Vec<u8>> = chunks.iter().map(|placed| placed.chunk.to_vec()).collect();
        let expected: [&[u8]; 8] = [&[5], &[3], &[6], &[4], &[2], &[7], &[1], &[]];
        assert_eq!(names, expected);
    }
}
