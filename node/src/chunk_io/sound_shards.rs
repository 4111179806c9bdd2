//! Finds a chunk among shards that pass their checksums and yet do not give it: one of them was wrong when it was written.
//!
//! All shards are read whole and k of them tried after k others until their plaintext has the chunk's id. That id is keyed BLAKE3, so what has it is the
//! chunk; encoded anew it says of every shard that was read whether it is right. A wrong one is deleted and then reported, so that the repair queue
//! makes it anew: a device refuses other bytes under a name it has. Invariants: a shard is deleted only after the chunk was found without it; only
//! shards of the one instance are combined; one search at a time on a node, as it holds a chunk several times over.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use skep_placement::checksum::block_count;
use skep_placement::chunk::{ChunkKey, chunk_id};
use skep_placement::erasure::{decode, encode, shard_length};
use skep_placement::ids::{ChunkId, DeviceId, InstanceId};
use skep_placement::profile::Code;

use super::chunk_reader::{ChunkReadError, ChunkSource};
use super::encoded::heavy;
use super::limits::COMBINATIONS_MAX;
use super::metrics::{DAMAGED_SHARDS, WRONG_CHUNKS};
use super::{Damage, Shared};
use crate::device_store::ShardKey;

/// A shard as a device has it.
struct Had {
    shard: u8,
    device: DeviceId,
    bytes: Bytes,
}

/// Reads the chunk in spite of wrong shards, and has them repaired.
///
/// # Errors
/// [`ChunkReadError::WrongChunk`] if no k of the shards that can be read give it.
pub(super) async fn read_whole(shared: &Arc<Shared>, source: &ChunkSource, key: &ChunkKey) -> Result<Bytes, ChunkReadError> {
    metrics::counter!(WRONG_CHUNKS).increment(1);
    let _one_at_a_time = shared.searches.lock().await;
    let had = read_all(shared, source).await;
    let (code, length, expected, key) = (source.code, source.length, source.chunk, key.clone());
    let found = heavy(length.max(1 << 20), move || search(code, length, expected, &key, had)).await;
    let Some((plaintext, wrong)) = found else {
        tracing::error!(chunk = %source.chunk, write = %source.write, "no shards that can be read give the chunk");
        return Err(ChunkReadError::WrongChunk(source.chunk));
    };
    have_repaired(shared, source, wrong);
    Ok(plaintext)
}

/// Reads every shard whole, each from the first of its places that gives it.
async fn read_all(shared: &Shared, source: &ChunkSource) -> Vec<Had> {
    let blocks = u32::try_from(block_count(shard_length(source.code, source.length))).expect("a shard has 4 MiB at most");
    let instance = InstanceId { chunk: source.chunk, write: source.write };
    let reads = (0..source.code.total()).zip(&source.order).map(|(shard, devices)| async move {
        for device in devices.iter().copied() {
            match shared.transport.read(device, ShardKey { instance, shard }, 0..blocks).await {
                Ok(read) if read.header.code == source.code => return Some(Had { shard, device, bytes: read.payload }),
                Ok(_other_code) => {}
                Err(error) => drop(shared.health.note(device, &error)),
            }
        }
        None
    });
    join_all(reads).await.into_iter().flatten().collect()
}

/// The chunk and which shards are not its own; nothing if no k of them give it.
fn search(code: Code, length: usize, expected: ChunkId, key: &ChunkKey, had: Vec<Had>) -> Option<(Bytes, Vec<(u8, DeviceId)>)> {
    let plaintext = combinations(had.len(), usize::from(code.data())).take(COMBINATIONS_MAX).find_map(|chosen| {
        let mut shards: Vec<Option<Vec<u8>>> = vec![None; usize::from(code.total())];
        for one in chosen.iter().filter_map(|place| had.get(*place)) {
            *shards.get_mut(usize::from(one.shard))? = Some(one.bytes.to_vec());
        }
        decode(code, length, shards).ok().filter(|plaintext| chunk_id(key, plaintext) == expected)
    })?;
    let right = encode(code, &plaintext);
    let is_wrong = |one: &Had| right.get(usize::from(one.shard)).is_none_or(|right| right.as_slice() != one.bytes.as_ref());
    let wrong = had.into_iter().filter(is_wrong).map(|one| (one.shard, one.device)).collect();
    Some((plaintext.into(), wrong))
}

/// All ways to choose `size` of `count` places, the first places first.
fn combinations(count: usize, size: usize) -> impl Iterator<Item = Vec<usize>> {
    let first = (size > 0 && size <= count).then(|| (0..size).collect::<Vec<usize>>());
    std::iter::successors(first, move |last| {
        // The last place that can move on does, and those behind it follow close.
        let moving = (0..size).rev().find(|place| last.get(*place).is_some_and(|at| *at < count - size + place))?;
        let mut next = last.clone();
        let begin = last.get(moving)? + 1;
        for (step, place) in next.iter_mut().skip(moving).enumerate() {
            *place = begin + step;
        }
        Some(next)
    })
}

/// Deletes wrong shards, then tells the repair queue that they are missing.
fn have_repaired(shared: &Arc<Shared>, source: &ChunkSource, wrong: Vec<(u8, DeviceId)>) {
    let instance = InstanceId { chunk: source.chunk, write: source.write };
    let missing = wrong.iter().fold(0, |missing, (shard, _)| missing | 1 << shard);
    if missing == 0 {
        return;
    }
    tracing::error!(%instance, ?wrong, "shards pass their checksums and are not the chunk's: they are deleted and made anew");
    metrics::counter!(DAMAGED_SHARDS).increment(u64::try_from(wrong.len()).unwrap_or(u64::MAX));
    let damage = Damage { datasource: source.datasource, instance, missing };
    let background = Arc::clone(shared);
    shared.background.spawn(async move {
        for (shard, device) in wrong {
            if let Err(error) = background.transport.delete(device, ShardKey { instance, shard }).await {
                tracing::warn!(%device, %instance, shard, %error, "a wrong shard was not deleted; the next reader tries again");
            }
        }
        // Reported only now: a repair that found the wrong shard there would take it for whole.
        if background.damages.try_send(damage).is_err() {
            tracing::debug!(%instance, "too much damage is waiting to be reported; the next reader reports it");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: ChunkKey = ChunkKey([3; 32]);

    fn plaintext() -> Vec<u8> {
        (0..300_001_u32).map(|place| (place.wrapping_mul(2_654_435_761) >> 24).to_le_bytes()[0]).collect()
    }

    fn stored(code: Code, plaintext: &[u8]) -> Vec<Had> {
        let device = |shard: u8| DeviceId(100 + u64::from(shard));
        (0..).zip(encode(code, plaintext)).map(|(shard, bytes)| Had { shard, device: device(shard), bytes: bytes.into() }).collect()
    }

    #[test]
    fn every_choice_comes_once() {
        let all: Vec<Vec<usize>> = combinations(4, 2).collect();
        assert_eq!(all, [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]);
        assert_eq!(combinations(11, 8).count(), 165);
        assert_eq!((combinations(3, 3).count(), combinations(2, 3).count(), combinations(3, 0).count()), (1, 0, 0));
    }

    #[test]
    fn as_many_wrong_shards_as_parity_has_are_found_out() {
        let plaintext = plaintext();
        for text in ["1+2", "2+1", "4+2", "8+3"] {
            let code: Code = text.parse().unwrap();
            let mut had = stored(code, &plaintext);
            let wrong: Vec<u8> = (0..code.parity()).map(|nth| nth * 2 % code.total()).collect();
            for shard in &wrong {
                had[usize::from(*shard)].bytes = vec![9; had[0].bytes.len()].into();
            }
            let (found, told) = search(code, plaintext.len(), chunk_id(&KEY, &plaintext), &KEY, had).unwrap();
            assert!(found == plaintext, "{text}: the chunk");
            assert_eq!(told.iter().map(|(shard, _)| *shard).collect::<Vec<_>>(), wrong, "{text}: and no other shard is blamed");
            assert_eq!(told[0].1, DeviceId(100), "{text}: with its device");
        }
    }

    #[test]
    fn nothing_is_made_up_of_too_few() {
        let plaintext = plaintext();
        let code: Code = "2+1".parse().unwrap();
        let mut had = stored(code, &plaintext);
        had[0].bytes = vec![0; had[0].bytes.len()].into();
        had[2].bytes = vec![0; had[0].bytes.len()].into();
        assert!(search(code, plaintext.len(), chunk_id(&KEY, &plaintext), &KEY, had).is_none());
    }
}
