//! Repairs over shards that are missing or wrong.

use skep_raft::wire::meta::v1 as meta;

use super::rig::{DATASOURCE, Rig, Settings, large};
use crate::chunk_io::{Repaired, record_of};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_shard_is_made_anew() {
    let rig = Rig::new(&Settings::default());
    let bytes = large();
    let stored = rig.store(&bytes).await.remove(0);
    let was = rig.devices.payload(rig.set[1], 1).unwrap();
    rig.devices.lose(rig.set[1]);
    let record = meta::ChunkRecord { missing: 0b010, ..record_of(&stored) };
    let placed = meta::PlacedChunk { chunk: stored.chunk.clone(), record: Some(record) };
    assert_eq!(rig.chunks.repair(DATASOURCE, &placed).await.unwrap(), Repaired::Done);
    assert_eq!(rig.devices.payload(rig.set[1], 1), Some(was), "byte by byte");
    let proposed = rig.groups.proposed();
    let Some(meta::content_command::What::ShardRepaired(repaired)) = proposed.last() else { panic!("{proposed:?}") };
    assert_eq!((repaired.write, repaired.missing_was, repaired.missing), (stored.write, 0b010, 0));
}

/// What is made of a wrong shard would be wrong too, and nobody could tell which was first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_made_of_a_wrong_shard() {
    let mut rig = Rig::new(&Settings { profile: "2+2", ..Settings::default() });
    let bytes = large();
    let stored = rig.store(&bytes).await.remove(0);
    let was = rig.devices.payload(rig.set[1], 1).unwrap();
    rig.devices.lose(rig.set[1]);
    rig.devices.spoil(rig.set[0], 0);
    let record = meta::ChunkRecord { missing: 0b0010, ..record_of(&stored) };
    let placed = meta::PlacedChunk { chunk: stored.chunk.clone(), record: Some(record) };
    assert_eq!(rig.chunks.repair(DATASOURCE, &placed).await.unwrap(), Repaired::Done);
    assert_eq!(rig.devices.payload(rig.set[1], 1), Some(was), "it is right");
    assert_eq!(rig.damage().await.missing, 0b0001, "and the wrong one is known");
    assert_eq!(rig.devices.payload(rig.set[0], 0), None, "and gone");
}
