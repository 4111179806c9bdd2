//! Writes over devices that are slow, down or fenced, of clients that are slow, with groups that refuse or do not answer.

use std::time::Duration;

use bytes::Bytes;
use skep_api::ports::{ChunkIo, WriteError};
use skep_placement::ids::{DeviceId, Epoch};
use skep_raft::errors::ProposeError;
use skep_raft::wire::meta::v1 as meta;
use skep_raft::wire::meta::v1::content_command::What;

use super::rig::{DATASOURCE, Mood, Rig, Settings, at_once, body, large, map, request};
use crate::chunk_io::Times;

fn code(stored: &meta::StoredChunk) -> (u32, u32) {
    stored.code.map(|code| (code.data, code.parity)).unwrap()
}

fn devices(stored: &meta::StoredChunk) -> Vec<DeviceId> {
    stored.devices.iter().copied().map(DeviceId).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_device_is_replaced_by_the_next() {
    let rig = Rig::new(&Settings::default());
    rig.devices.set(rig.set[1], Mood::Silent);
    let bytes = large();
    let stored = rig.store(&bytes).await.remove(0);
    assert_eq!((code(&stored), stored.missing, stored.below_profile), ((2, 1), 0, false));
    assert_eq!(devices(&stored), [rig.set[0], rig.set[3], rig.set[2]], "the record says where it lies");
    assert_eq!(rig.read(&stored, 0..300_001).await.unwrap(), bytes);
    // Whoever was slow once is passed over for a while.
    let next = rig.store(&Bytes::from(vec![1; 200_000])).await.remove(0);
    assert!(!devices(&next).contains(&rig.set[1]), "{next:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_substitute_k_shrinks_under_a_new_write_id() {
    let rig = Rig::new(&Settings { nodes: 3, ..Settings::default() });
    rig.devices.set(rig.set[2], Mood::Down);
    let bytes = large();
    let stored = rig.store(&bytes).await.remove(0);
    assert_eq!((code(&stored), stored.missing, stored.below_profile), ((1, 1), 0, true), "m stays");
    assert_eq!(rig.read(&stored, 0..300_001).await.unwrap(), bytes);
    rig.devices.until("the first writing is deleted", |devices| devices.stored().len() == 2).await;
    let counter = stored.write.unwrap().counter;
    assert!(rig.devices.stored().iter().all(|(_, key)| key.instance.write.counter == counter), "shards of one writing are left");
    assert!(rig.devices.deleted().iter().all(|(_, key)| key.instance.write.counter != counter), "and none of it was deleted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_too_few_domains_the_write_is_refused_and_nothing_is_left() {
    let rig = Rig::new(&Settings { nodes: 3, ..Settings::default() });
    rig.devices.set(rig.set[1], Mood::Down);
    rig.devices.set(rig.set[2], Mood::Down);
    let refused = rig.write(at_once(&large())).await;
    assert!(matches!(&refused, Err(WriteError::Unavailable { why, .. }) if why.contains("failure domains")), "{refused:?}");
    rig.devices.until("what was sent is deleted", |devices| devices.stored().is_empty()).await;
    // Nobody has told the writer that they are back: it asks before it refuses again.
    rig.devices.heal(rig.set[1]);
    rig.devices.heal(rig.set[2]);
    let stored = rig.store(&large()).await.remove(0);
    assert_eq!((code(&stored), stored.missing), ((2, 1), 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fenced_device_has_the_writer_wait_for_the_newer_set() {
    let settings = Settings::default();
    let rig = Rig::new(&settings);
    for device in &rig.set {
        rig.devices.set(*device, Mood::Fenced(Epoch(2)));
    }
    let moved = vec![rig.set[0], rig.set[3], rig.set[2]];
    let (maps, newer) = (rig.maps.clone(), map(&settings, 2, 2, Some(moved.clone())));
    let (bytes, devices) = (large(), std::sync::Arc::clone(&rig.devices));
    let published = tokio::spawn(async move {
        devices.until("a shard was sent", |devices| devices.sent() >= 1).await;
        maps.publish(newer);
    });
    let stored = rig.store(&bytes).await.remove(0);
    published.await.unwrap();
    assert_eq!((stored.epoch, stored.missing, code(&stored)), (2, 0, (2, 1)));
    assert!(stored.devices.is_empty(), "at home in the newer set");
    let at: Vec<(DeviceId, u8)> = rig.devices.stored().into_iter().map(|(device, key)| (device, key.shard)).collect();
    assert!((0..).zip(&moved).all(|(shard, device)| at.contains(&(*device, shard))) && at.len() == 3, "{at:?}");
    assert_eq!(rig.read(&stored, 0..300_001).await.unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn surplus_is_deleted_and_nothing_else() {
    let rig = Rig::new(&Settings::default());
    let kept = rig.store(&large()).await.remove(0);
    let surplus = rig.store(&large()).await.remove(0);
    rig.chunks.discard(DATASOURCE, vec![surplus.clone()]);
    rig.devices.until("the surplus is gone", |devices| devices.stored().len() == 3).await;
    let counter = |stored: &meta::StoredChunk| stored.write.unwrap().counter;
    assert!(rig.devices.stored().iter().all(|(_, key)| key.instance.write.counter == counter(&kept)));
    assert!(rig.devices.deleted().iter().all(|(_, key)| key.instance.write.counter == counter(&surplus)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_breaks_off_leaves_nothing() {
    let rig = Rig::new(&Settings::default());
    let (sender, pieces) = body();
    // The first chunk is complete and stored before the body ends short of what was announced.
    sender.send(Bytes::from(vec![1; 5 << 20])).unwrap();
    let announced = skep_api::ports::WriteRequest { expected_length: Some(6 << 20), ..request() };
    let (chunks, devices) = (rig.chunks.clone(), std::sync::Arc::clone(&rig.devices));
    let writing = tokio::spawn(async move { chunks.write(announced, pieces).await });
    devices.until("the first chunk is stored", |devices| devices.stored().len() == 3).await;
    drop(sender);
    assert!(matches!(writing.await.unwrap(), Err(WriteError::LengthMismatch { .. })));
    devices.until("it is deleted", |devices| devices.stored().is_empty()).await;
}

/// Times by which every body that does not come at once is a registered upload of several chunks.
fn hasty() -> Settings {
    let times = Times { chunk_fill_max: Duration::from_millis(20), unregistered_max: Duration::ZERO, ..Times::default() };
    Settings { times, ..Settings::default() }
}

/// Sends a piece, has it cut and named, and says what becomes of the write.
async fn upload(rig: &Rig) -> Result<skep_api::ports::Written, WriteError> {
    let (sender, pieces) = body();
    sender.send(large()).unwrap();
    let chunks = rig.chunks.clone();
    let writing = tokio::spawn(async move { chunks.write(request(), pieces).await });
    rig.groups.until("the upload is opened", |what| matches!(what, What::OpenUpload(_))).await;
    // It may have failed by now: then nobody takes more.
    let _taken = sender.send(Bytes::from_static(b"the rest"));
    drop(sender);
    writing.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_body_becomes_an_upload_whose_surplus_is_deleted() {
    let rig = Rig::new(&hasty());
    rig.groups.answer(|what| match what {
        What::OpenUpload(_) => Ok(meta::Done { number: 9, ..meta::Done::default() }),
        What::AppendUpload(append) if append.part == 0 => Ok(meta::Done { surplus: append.chunks.clone(), ..meta::Done::default() }),
        _any => Ok(meta::Done::default()),
    });
    let written = upload(&rig).await.unwrap();
    assert_eq!(written.content.from, Some(meta::new_content::From::Upload(9)));
    let proposed = rig.groups.proposed();
    let parts: Vec<u64> =
        proposed.iter().filter_map(|what| if let What::AppendUpload(part) = what { Some(part.part) } else { None }).collect();
    assert!(parts.iter().copied().eq(0..u64::try_from(parts.len()).unwrap()) && !parts.is_empty(), "{parts:?}");
    rig.devices.until("the surplus is gone", |devices| devices.deleted().len() >= 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_unknown_answer_nothing_is_deleted() {
    for unknown_at_open in [true, false] {
        let rig = Rig::new(&hasty());
        rig.groups.answer(move |what| match what {
            What::OpenUpload(_) if !unknown_at_open => Ok(meta::Done { number: 9, ..meta::Done::default() }),
            _any => Err(ProposeError::Unknown { why: "the test says so".to_owned() }),
        });
        let failed = upload(&rig).await;
        assert!(matches!(failed, Err(WriteError::Metadata(ProposeError::Unknown { .. }))), "{failed:?}");
        rig.chunks.close().await;
        assert!(rig.devices.deleted().is_empty(), "perhaps the group names it: {:?}", rig.devices.deleted());
        assert!(!rig.devices.stored().is_empty());
        assert!(!rig.groups.proposed().iter().any(|what| matches!(what, What::AbortUpload(_))), "nor is it taken back");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_refusal_everything_is_deleted() {
    let rig = Rig::new(&hasty());
    rig.groups.answer(|what| match what {
        What::OpenUpload(_) => Ok(meta::Done { number: 9, ..meta::Done::default() }),
        What::AppendUpload(_) => Err(ProposeError::Rejected(meta::Rejection::default())),
        _any => Ok(meta::Done::default()),
    });
    let failed = upload(&rig).await;
    assert!(matches!(failed, Err(WriteError::Metadata(ProposeError::Rejected(_)))), "{failed:?}");
    rig.groups.until("the upload is taken back", |what| matches!(what, What::AbortUpload(abort) if abort.upload == 9)).await;
    rig.devices.until("what was written is deleted", |devices| devices.stored().is_empty()).await;
}

/// The memory is for one chunk: who trickles holds it only until his chunk is cut.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_chunk_of_a_client_that_trickles_is_cut_and_its_memory_given_on() {
    let times = Times { chunk_fill_max: Duration::from_millis(100), ..Times::default() };
    let rig = Rig::new(&Settings { budget_bytes: 8 << 20, times, ..Settings::default() });
    let (sender, pieces) = body();
    sender.send(large()).unwrap();
    let chunks = rig.chunks.clone();
    let trickling = tokio::spawn(async move { chunks.write(request(), pieces).await });
    rig.devices.until("the trickling client's chunk is cut and stored", |devices| devices.stored().len() >= 3).await;
    let other = Bytes::from(vec![7; 1 << 20]);
    let stored = rig.store(&other).await.remove(0);
    assert_eq!(rig.read(&stored, 0..1 << 20).await.unwrap(), other, "another client has gone past");
    sender.send(Bytes::from_static(b"the end")).unwrap();
    drop(sender);
    let written = trickling.await.unwrap().unwrap();
    let Some(meta::new_content::From::Chunks(list)) = written.content.from else { panic!("no chunks") };
    let lengths: Vec<u32> = list.chunks.iter().map(|chunk| chunk.length).collect();
    assert_eq!((lengths.first(), lengths.iter().sum::<u32>()), (Some(&300_001), 300_008), "cut where it stopped: {lengths:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_bodies_stay_inline_with_the_md5_that_was_asked_for() {
    let rig = Rig::new(&Settings::default());
    let asked = skep_api::ports::WriteRequest { want_md5: true, ..request() };
    for length in [0, 5, 4_096, 4_097, 300_001] {
        let bytes = large().slice(..length);
        let written = rig.chunks.write(asked.clone(), at_once(&bytes)).await.unwrap();
        let inlined = matches!(&written.content.from, Some(meta::new_content::From::Inlined(inlined)) if *inlined == bytes);
        assert_eq!(inlined, length <= 4_096, "{length} bytes");
        assert_eq!(written.md5, Some(<md5::Md5 as md5::Digest>::digest(&bytes).into()), "{length} bytes");
    }
    let written = rig.write(at_once(&large())).await.unwrap();
    assert_eq!(written.md5, None, "not asked for, not computed");
}
