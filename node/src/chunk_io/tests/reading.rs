//! Reads over devices that are slow, down, damaged or wrong.

use std::time::Duration;

use skep_api::ports::BodyError;

use super::rig::{Mood, Rig, Settings, id_of, large, map};
use crate::chunk_io::{Times, record_of};
use crate::cluster_map::ClusterMap;

/// Nothing is hedged within the test unless it is to be.
fn patient() -> Settings {
    Settings { times: Times { hedge_after: Duration::from_secs(60), ..Times::default() }, ..Settings::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_reads_only_the_data_shard_that_it_lies_in() {
    let rig = Rig::new(&patient());
    let bytes = large();
    let stored = rig.store(&bytes).await.remove(0);
    assert_eq!(rig.read(&stored, 10..20).await.unwrap(), bytes.slice(10..20));
    assert_eq!(rig.devices.reads(), [(rig.set[0], 0)]);
    assert_eq!(rig.read(&stored, 299_990..300_001).await.unwrap(), bytes.slice(299_990..));
    assert_eq!(rig.devices.reads()[1..], [(rig.set[1], 1)]);
    assert_eq!(rig.read(&stored, 0..300_001).await.unwrap(), bytes);
    assert!(!rig.devices.reads().iter().any(|(_, shard)| *shard == 2), "parity is not read without need");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_device_is_hedged_by_parity() {
    let mut rig =
        Rig::new(&Settings { times: Times { hedge_after: Duration::from_millis(20), ..Times::default() }, ..Settings::default() });
    let bytes = large();
    let stored = rig.store(&bytes).await.remove(0);
    rig.devices.set(rig.set[0], Mood::Silent);
    assert_eq!(rig.read(&stored, 0..300_001).await.unwrap(), bytes);
    assert_eq!(rig.read(&stored, 5..70_000).await.unwrap(), bytes.slice(5..70_000));
    let reads = rig.devices.reads();
    assert!(reads.contains(&(rig.set[0], 0)) && reads.contains(&(rig.set[2], 2)), "both were asked: {reads:?}");
    assert!(rig.damages.try_recv().is_err(), "who is slow is not damaged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_is_down_is_replaced_at_once_and_asked_last_from_then_on() {
    let mut rig = Rig::new(&patient());
    let bytes = large();
    let stored = rig.store(&bytes).await.remove(0);
    rig.devices.set(rig.set[1], Mood::Down);
    assert_eq!(rig.read(&stored, 0..300_001).await.unwrap(), bytes, "parity takes its place");
    let before = rig.devices.reads().len();
    assert_eq!(rig.read(&stored, 0..300_001).await.unwrap(), bytes);
    let second = rig.devices.reads().split_off(before);
    assert!(!second.iter().any(|(device, _)| *device == rig.set[1]), "it is known to be down: {second:?}");
    assert!(rig.damages.try_recv().is_err(), "who is down is not damaged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_is_gone_is_read_around_and_reported() {
    let mut rig = Rig::new(&patient());
    let bytes = large();
    let stored = rig.store(&bytes).await.remove(0);
    rig.devices.lose(rig.set[0]);
    assert_eq!(rig.read(&stored, 0..300_001).await.unwrap(), bytes);
    let damage = rig.damage().await;
    assert_eq!((damage.instance.chunk, damage.missing), (id_of(&bytes), 0b001));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_is_younger_than_the_map_has_the_reader_wait_for_it() {
    let rig = Rig::new(&patient());
    let bytes = large();
    let mut stored = rig.store(&bytes).await.remove(0);
    assert!(stored.devices.is_empty(), "at home");
    let known = |index, epoch| map(&patient(), index, epoch, Some(rig.set[..3].to_vec()));
    // First a pool that this node has not heard of, then a set; its own set of before lies elsewhere.
    let elsewhere = map(&patient(), 4, 1, Some(vec![rig.set[3], rig.set[2], rig.set[0]]));
    for (old, new, epoch) in [(ClusterMap { pools: Default::default(), ..known(2, 1) }, known(3, 1), 1), (elsewhere, known(5, 2), 2)] {
        rig.maps.publish(old);
        stored.epoch = epoch;
        let (maps, later) = (rig.maps.clone(), Duration::from_millis(100));
        let published = tokio::spawn(async move {
            tokio::time::sleep(later).await;
            maps.publish(new);
        });
        let asked = std::time::Instant::now();
        assert_eq!(rig.read(&stored, 0..300_001).await.unwrap(), bytes);
        assert!(asked.elapsed() >= later, "epoch {epoch}: it was read before its set was known");
        published.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_too_few_shards_the_stream_breaks_and_says_why() {
    let rig = Rig::new(&patient());
    let stored = rig.store(&large()).await.remove(0);
    rig.devices.set(rig.set[0], Mood::Down);
    rig.devices.lose(rig.set[1]);
    let Err(BodyError::Unreadable(why)) = rig.read(&stored, 0..300_001).await else { panic!("it was read") };
    assert!(why.contains("of the 2 shards needed"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_names_another_instance_by_now_is_fetched_anew() {
    let rig = Rig::new(&patient());
    let bytes = large();
    let old = rig.store(&bytes).await.remove(0);
    for device in rig.set.iter().take(3) {
        rig.devices.lose(*device);
    }
    let new = rig.store(&bytes).await.remove(0);
    assert_ne!(old.write, new.write, "another instance of the same chunk");
    rig.groups.record(id_of(&bytes), record_of(&new));
    assert_eq!(rig.read(&old, 0..300_001).await.unwrap(), bytes);
    rig.groups.record(id_of(&bytes), record_of(&old));
    assert!(rig.read(&old, 0..300_001).await.is_err(), "one that names what was missed is no help");
}

/// Its bytes pass every checksum and are not the chunk's: parity is good, so the file is read, and the shard made anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_shard_is_found_out_deleted_and_reported() {
    for (profile, count) in [("2+1", 1), ("2+2", 2), ("1+1", 1)] {
        let mut rig = Rig::new(&Settings { profile, ..patient() });
        let bytes = large();
        let stored = rig.store(&bytes).await.remove(0);
        rig.read(&stored, 0..300_001).await.unwrap();
        // Of copies one is read, of an erasure code the data shards.
        let wrong: Vec<u8> = rig.devices.reads().iter().map(|(_, shard)| *shard).take(count).collect();
        for shard in &wrong {
            rig.devices.spoil(rig.set[usize::from(*shard)], *shard);
        }
        assert_eq!(rig.read(&stored, 0..300_001).await.unwrap(), bytes, "{profile}");
        let damage = rig.damage().await;
        let mask = wrong.iter().fold(0, |mask, shard| mask | 1 << shard);
        assert_eq!((damage.instance.chunk, damage.missing), (id_of(&bytes), mask), "{profile}");
        let deleted: Vec<_> = rig.devices.deleted().into_iter().map(|(device, key)| (device, key.shard)).collect();
        let expected: Vec<_> = wrong.iter().map(|shard| (rig.set[usize::from(*shard)], *shard)).collect();
        assert!(expected.iter().all(|one| deleted.contains(one)) && deleted.len() == expected.len(), "{profile}: {deleted:?}");
        assert_eq!(rig.read(&stored, 0..300_001).await.unwrap(), bytes, "{profile}: it is readable without them");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_bytes_are_never_given_out_or_deleted_on_suspicion() {
    let rig = Rig::new(&patient());
    let bytes = large();
    let stored = rig.store(&bytes).await.remove(0);
    rig.devices.spoil(rig.set[0], 0);
    rig.devices.spoil(rig.set[2], 2);
    let Err(BodyError::Unreadable(why)) = rig.read(&stored, 0..300_001).await else { panic!("it was read") };
    assert!(why.contains("no shards that can be read give the chunk"), "{why}");
    assert!(rig.devices.deleted().is_empty(), "nobody knows which is right");
}
