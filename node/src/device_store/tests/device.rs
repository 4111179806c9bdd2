//! What callers see: storing, reading, listing, deleting, fencing, and a device that is full or out.

use super::*;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

#[tokio::test]
async fn shards_of_every_size_are_read_back() {
    let bench = Bench::new();
    let store = bench.open();
    let lengths = [1, 7, 4096, 65_535, 65_536, 65_537, 131_072, 400_000, limits::PAYLOAD_BYTES_MAX];
    for (number, length) in (0..).zip(lengths) {
        store.put(shard(number, length)).await.expect("stored");
    }
    for (number, length) in (0..).zip(lengths) {
        assert_stored(&store, &shard(number, length)).await;
    }
    let usage = store.usage().expect("a usage");
    assert_eq!((usage.state, usage.records, usage.writes), (DeviceState::Running, 9, 9));
    assert_eq!(usage.live_bytes, lengths.iter().map(|length| u64::from(*length)).sum::<u64>());
    store.close().await.expect("closed");
    assert!(matches!(store.put(shard(50, 1)).await, Err(PutError::Closed)));
    assert!(matches!(read_all(&store, key(0)).await, Err(ReadError::Closed)));
    store.close().await.expect("closed twice");
}

#[tokio::test]
async fn ranges_of_blocks_are_read() {
    let bench = Bench::new();
    let store = bench.open();
    let written = shard(1, 200_000);
    store.put(written.clone()).await.expect("stored");
    let found = store.read(key(1), 1..3).await.expect("read");
    assert_eq!((found.first_block, found.checksums.as_slice()), (1, &written.checksums[1..3]));
    assert_eq!(found.payload, written.payload.slice(65_536..196_608));
    let last = store.read(key(1), 3..4).await.expect("read");
    assert_eq!(last.payload, written.payload.slice(196_608..));
    for empty in [4..5, 2..2] {
        assert!(matches!(store.read(key(1), empty).await, Err(ReadError::OutOfRange { blocks: 4 })));
    }
    assert!(matches!(read_all(&store, key(2)).await, Err(ReadError::NotFound)));
}

#[tokio::test]
async fn same_again_succeeds_and_other_content_is_refused() {
    let bench = Bench::new();
    let store = bench.open();
    let written = shard(1, 70_000);
    store.put(written.clone()).await.expect("stored");
    let mut later_epoch = written.clone();
    later_epoch.header.epoch = Epoch(11);
    for again in [written.clone(), later_epoch] {
        store.put(again).await.expect("the same again");
    }
    let mut other_bytes = written.payload.to_vec();
    other_bytes[5] ^= 1;
    let checksums = block_checksums(key(1).address(), &other_bytes);
    let other = ShardRecord { payload: other_bytes.into(), checksums, ..written.clone() };
    assert_eq!(store.put(other).await, Err(PutError::Conflict));
    assert_eq!(store.put(shard(1, 70_001)).await, Err(PutError::Conflict));
    assert_stored(&store, &written).await;
    assert_eq!(store.usage().expect("a usage").writes, 1);
}

#[tokio::test]
async fn what_arrives_damaged_is_refused() {
    let bench = Bench::new();
    let store = bench.open();
    let good = shard(1, 200_000);
    let mut payload = good.payload.to_vec();
    payload[70_000] ^= 4;
    let damaged = ShardRecord { payload: payload.into(), ..good.clone() };
    assert_eq!(store.put(damaged).await, Err(PutError::Checksum { block: 1 }));
    let short = ShardRecord { payload: good.payload.slice(1..), ..good.clone() };
    assert_eq!(store.put(short).await, Err(PutError::Length));
    let mut other_shard = good.clone();
    other_shard.header.shard = (key(1).shard + 1) % 3;
    assert_eq!(store.put(other_shard).await, Err(PutError::Checksum { block: 0 }));
    let mut no_such_shard = good.clone();
    no_such_shard.header.shard = 3;
    assert_eq!(store.put(no_such_shard).await, Err(PutError::Header(HeaderFault::ShardIndex)));
    assert_eq!(store.put(shard(1, 0)).await, Err(PutError::Header(HeaderFault::PayloadEmpty)));
    assert_eq!(store.usage().expect("a usage").records, 0);
}

#[tokio::test]
async fn shards_are_listed_group_by_group() {
    let bench = Bench::new();
    let store = bench.open();
    for number in (0..100).rev() {
        store.put(shard(number, 50)).await.expect("stored");
    }
    let expected: Vec<ShardHeader> = (0..100).filter(|number| number % 4 == 2).map(|number| shard(number, 50).header).collect();
    let mut found = Vec::new();
    loop {
        let page = store.list_pg(pg(2), found.last().map(ShardHeader::key), 7).await.expect("a page");
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 7, "a page is limited");
        found.extend(page);
    }
    assert_eq!(found, expected);
    assert_eq!(store.list_pg(pg(9), None, 7).await.expect("a page"), []);
    let mut second = shard(6, 50);
    second.header.instance.write.counter = 1000;
    second.checksums = block_checksums(second.header.key().address(), &second.payload);
    store.put(second.clone()).await.expect("stored");
    assert_eq!(store.find(key(6).instance.chunk).await.expect("found"), [shard(6, 50).header, second.header]);
    assert_eq!(store.stat(key(6)).await.expect("known"), Some(shard(6, 50).header));
    assert_eq!(store.stat(key(600)).await.expect("unknown"), None);
}

#[tokio::test]
async fn deleted_shards_stay_deleted_and_free_their_space() {
    let mut bench = Bench::new();
    let store = bench.open();
    for (number, length) in [(1, 300_000), (2, 300), (3, 300_000)] {
        store.put(shard(number, length)).await.expect("stored");
    }
    let allocated = |bench: &Bench| {
        use std::os::unix::fs::MetadataExt;
        bench.segment_paths().iter().map(|path| std::fs::metadata(path).expect("a file").blocks() * 512).sum::<u64>()
    };
    let before = allocated(&bench);
    for number in [1, 2] {
        assert_eq!(store.delete(key(number)).await, Ok(true));
        assert_eq!(store.delete(key(number)).await, Ok(false));
        assert!(matches!(read_all(&store, key(number)).await, Err(ReadError::NotFound)));
    }
    assert!(before - allocated(&bench) >= 290_000, "the large payload is given back");
    assert_eq!(store.usage().expect("a usage").live_bytes, 300_000);
    store.crash().await;
    for _index_kept_then_lost in 0..2 {
        let store = bench.open();
        assert_eq!(store.usage().expect("a usage").records, 1);
        assert_stored(&store, &shard(3, 300_000)).await;
        assert_eq!(store.stat(key(1)).await.expect("known"), None);
        store.close().await.expect("closed");
        bench.lose_index();
    }
    let store = bench.open();
    store.put(shard(1, 300_000)).await.expect("a deleted shard may come back");
    store.crash().await;
    bench.lose_index();
    assert_stored(&bench.open(), &shard(1, 300_000)).await;
    assert!(!bench.taken_events().iter().any(|event| matches!(event, DeviceEvent::Corrupt { .. })), "nothing is damaged");
}

#[tokio::test]
async fn fence_refuses_older_epochs_for_ever() {
    let bench = Bench::new();
    let store = bench.open();
    store.put(shard(1, 50)).await.expect("stored");
    assert_eq!(store.fence(pg(1), Epoch(11)).await, Ok(Epoch(11)));
    assert_eq!(store.fence(pg(1), Epoch(4)).await, Ok(Epoch(11)));
    let stale = Err(PutError::StaleEpoch { current: Epoch(11) });
    assert_eq!(store.put(shard(5, 50)).await, stale);
    assert_eq!(store.put(shard(1, 50)).await, stale, "also what is stored");
    store.put(shard(2, 50)).await.expect("another group is open");
    store.crash().await;
    let store = bench.open();
    assert_eq!(store.put(shard(5, 50)).await, stale);
    let mut fresh = shard(5, 50);
    fresh.header.epoch = Epoch(11);
    store.put(fresh).await.expect("the new epoch is taken");
    assert_eq!(store.list_pg(pg(1), None, 10).await.expect("a page").len(), 2);
}

#[tokio::test]
async fn full_device_refuses_writes_and_goes_on_reading() {
    let bench = Bench::new();
    let reserve = DeviceOptions { reserve_bytes: 1_000_000, ..bench.options() };
    let store = DeviceStore::open(reserve).expect("opens");
    store.put(shard(1, 100_000)).await.expect("stored");
    bench.files.plan().free_bytes = Some(1_050_000);
    assert_eq!(store.put(shard(2, 100_000)).await, Err(PutError::Full));
    assert_eq!(store.usage().expect("a usage").state, DeviceState::Full);
    store.put(shard(3, 10_000)).await.expect("a shorter one has room");
    assert_stored(&store, &shard(1, 100_000)).await;
    bench.files.plan().free_bytes = Some(0);
    assert_eq!(store.put(shard(4, 10)).await, Err(PutError::Full));
    assert_eq!(store.delete(key(1)).await, Ok(true), "deletions go on, on the reserve");
    bench.files.plan().free_bytes = None;
    store.put(shard(4, 10)).await.expect("stored");
    assert_eq!(store.usage().expect("a usage").state, DeviceState::Running);
}

#[tokio::test]
async fn disk_that_fills_up_in_a_write_loses_nothing() {
    let mut bench = Bench::new();
    let store = bench.open();
    store.put(shard(1, 5_000)).await.expect("stored");
    bench.files.plan().write_error = Some(ENOSPC);
    assert_eq!(store.put(shard(2, 5_000)).await, Err(PutError::Full));
    assert_eq!(store.put(shard(3, 100_000)).await, Err(PutError::Full), "nor can a segment be created");
    bench.files.plan().write_error = None;
    store.put(shard(4, 5_000)).await.expect("stored");
    store.put(shard(3, 100_000)).await.expect("stored");
    store.crash().await;
    bench.lose_index();
    let store = bench.open();
    for (number, length) in [(1, 5_000), (3, 100_000), (4, 5_000)] {
        assert_stored(&store, &shard(number, length)).await;
    }
    assert_eq!(store.usage().expect("a usage").records, 3);
    assert!(!bench.taken_events().iter().any(|event| matches!(event, DeviceEvent::Corrupt { .. })), "nothing is damaged");
}

#[tokio::test]
async fn failed_sync_takes_the_device_out_and_reading_goes_on() {
    let mut bench = Bench::new();
    let store = bench.open();
    store.put(shard(1, 5_000)).await.expect("stored");
    bench.files.plan().sync_error = Some(EIO);
    assert!(matches!(store.put(shard(2, 5_000)).await, Err(PutError::Failed { .. })));
    bench.files.plan().sync_error = None;
    assert!(matches!(store.put(shard(3, 5_000)).await, Err(PutError::Failed { .. })), "out until the next start");
    assert!(matches!(store.delete(key(1)).await, Err(ChangeError::Failed { .. })));
    assert!(matches!(store.fence(pg(1), Epoch(99)).await, Err(ChangeError::Failed { .. })));
    assert_stored(&store, &shard(1, 5_000)).await;
    assert!(matches!(read_all(&store, key(2)).await, Err(ReadError::NotFound)), "never acknowledged, never seen");
    assert!(matches!(store.usage().expect("a usage").state, DeviceState::Failed(_)));
    assert!(matches!(bench.taken_events().as_slice(), [DeviceEvent::Failed { .. }]));
    assert!(matches!(store.close().await, Err(ChangeError::Failed { .. })));
    let store = bench.open();
    assert_stored(&store, &shard(1, 5_000)).await;
    store.put(shard(3, 5_000)).await.expect("it writes again");
}

#[tokio::test]
async fn failed_write_takes_the_device_out() {
    let bench = Bench::new();
    let store = bench.open();
    store.put(shard(1, 5_000)).await.expect("stored");
    bench.files.plan().write_error = Some(EIO);
    assert!(matches!(store.put(shard(2, 5_000)).await, Err(PutError::Failed { .. })));
    bench.files.plan().write_error = None;
    assert!(matches!(store.put(shard(3, 5_000)).await, Err(PutError::Failed { .. })));
    assert_stored(&store, &shard(1, 5_000)).await;
}

#[tokio::test]
async fn unreadable_sector_is_damage_and_a_lack_of_descriptors_is_not() {
    const EMFILE: i32 = 24;
    let mut bench = Bench::new();
    let store = bench.open();
    store.put(shard(1, 5_000)).await.expect("stored");
    bench.files.plan().read_error = Some(EMFILE);
    assert!(matches!(read_all(&store, key(1)).await, Err(ReadError::Unreadable(_))));
    assert_eq!(bench.taken_events(), []);
    bench.files.plan().read_error = Some(EIO);
    assert!(matches!(read_all(&store, key(1)).await, Err(ReadError::Corrupt(_))));
    assert!(matches!(bench.taken_events().as_slice(), [DeviceEvent::Corrupt { shard: Some(found), .. }] if *found == key(1)));
    bench.files.plan().read_error = None;
    assert_stored(&store, &shard(1, 5_000)).await;
}

#[tokio::test]
async fn writes_that_wait_share_a_sync() {
    let bench = Bench::new();
    let store = Arc::new(bench.open());
    let before = bench.files.plan().syncs;
    let puts: Vec<_> = (0..200)
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.put(shard(number, 300)).await })
        })
        .collect();
    for put in puts {
        put.await.expect("no panic").expect("stored");
    }
    let syncs = bench.files.plan().syncs - before;
    assert!(syncs < 100, "200 writes took {syncs} syncs");
    for number in 0..200 {
        assert_stored(&store, &shard(number, 300)).await;
    }
}
