//! Starts after crashes and damage: what was acknowledged is there, what is bad is said, and nothing wrong is read.

use super::*;
use crate::device_store::segment::DATA_START;

fn corrupt(events: &[DeviceEvent]) -> Vec<(Option<ShardKey>, Location)> {
    let damage = |event: &DeviceEvent| match event {
        DeviceEvent::Corrupt { shard, location, .. } => Some((*shard, *location)),
        DeviceEvent::Failed { .. } | DeviceEvent::IndexRebuilt { .. } => None,
    };
    events.iter().filter_map(damage).collect()
}

/// A device with the shards, crashed.
async fn crashed_with(records: &[ShardRecord]) -> Bench {
    let bench = Bench::new();
    let store = bench.open();
    for record in records {
        store.put(record.clone()).await.expect("stored");
    }
    store.crash().await;
    bench
}

/// Cuts the newest record at an offset, or zeroes it from there on; it is gone then, and everything else is there.
async fn torn_at(bench: &mut Bench, class: &str, whole: &[u8], cut: usize, with_zeros: bool) {
    for path in bench.segment_paths() {
        std::fs::remove_file(path).expect("removed");
    }
    let path = bench.folder.path().join(SEGMENT_FOLDER).join(format!("{class}-0000000000000001.seg"));
    let mut torn = whole[..cut].to_vec();
    if with_zeros {
        torn.resize(whole.len(), 0);
    }
    std::fs::write(&path, torn).expect("written");
    bench.lose_index();
    let store = bench.open();
    for number in 1..3 {
        let length = if class == "large" { 66_000 } else { 300 };
        assert_stored(&store, &shard(number, length)).await;
    }
    let lost = read_all(&store, key(3)).await;
    assert!(matches!(lost, Err(ReadError::NotFound)), "cut at {cut}: {lost:?}");
    store.put(shard(4, 300)).await.expect("stored");
    assert_stored(&store, &shard(4, 300)).await;
    store.crash().await;
    assert_eq!(corrupt(&bench.taken_events()), [], "a torn tail is nobody's damage");
}

#[tokio::test]
async fn torn_tail_is_ignored_at_every_offset() {
    let records = [shard(1, 300), shard(2, 300), shard(3, 300)];
    let mut bench = crashed_with(&records).await;
    let whole = std::fs::read(bench.segment_path("small")).expect("a segment");
    let first = usize::try_from(DATA_START).expect("small") + 2 * 464;
    assert_eq!(whole.len(), first + 464);
    for cut in first..whole.len() {
        torn_at(&mut bench, "small", &whole, cut, false).await;
        if cut % 8 == 0 && cut + 8 < whole.len() {
            torn_at(&mut bench, "small", &whole, cut, true).await;
        }
    }
}

#[tokio::test]
async fn torn_tail_of_a_large_segment_is_ignored() {
    let records = [shard(1, 66_000), shard(2, 66_000), shard(3, 66_000)];
    let mut bench = crashed_with(&records).await;
    let whole = std::fs::read(bench.segment_path("large")).expect("a segment");
    let first = usize::try_from(DATA_START).expect("small") + 2 * (4096 + 69_632);
    for cut in (first..whole.len()).step_by(1511) {
        torn_at(&mut bench, "large", &whole, cut, false).await;
        torn_at(&mut bench, "large", &whole, cut, true).await;
    }
}

#[tokio::test]
async fn flipped_bit_is_never_read_as_data() {
    let mut bench = Bench::new();
    let store = bench.open();
    let records = [shard(1, 70_000), shard(2, 900), shard(3, 900)];
    for record in &records {
        store.put(record.clone()).await.expect("stored");
    }
    let small = bench.segment_path("small");
    let small_bits = DATA_START * 8..(DATA_START + 160 + 4 + 900) * 8;
    let large = bench.segment_path("large");
    let large_header = DATA_START * 8..(DATA_START + 160 + 8) * 8;
    let large_payload = ((DATA_START + 4096) * 8..(DATA_START + 4096 + 70_000) * 8).step_by(4099);
    let flips = small_bits.map(|bit| (&small, 2, bit)).chain(large_header.chain(large_payload).map(|bit| (&large, 1, bit)));
    let mut flipped = 0;
    for (path, number, bit) in flips {
        flip_bit(path, bit);
        let found = read_all(&store, key(number)).await;
        assert!(matches!(found, Err(ReadError::Corrupt(_))), "bit {bit} of {}", path.display());
        flip_bit(path, bit);
        flipped += 1;
        let events = corrupt(&bench.taken_events());
        assert_eq!(events.iter().map(|(shard, _location)| *shard).collect::<Vec<_>>(), [Some(key(number))]);
    }
    for record in &records {
        assert_stored(&store, record).await;
    }
    assert_eq!(store.usage().expect("a usage").corrupt, flipped);
}

#[tokio::test]
async fn damaged_block_leaves_the_others_readable() {
    let bench = Bench::new();
    let store = bench.open();
    let written = shard(1, 200_000);
    store.put(written.clone()).await.expect("stored");
    flip_bit(&bench.segment_path("large"), (DATA_START + 4096 + 65_536 + 17) * 8);
    assert!(matches!(store.read(key(1), 0..4).await, Err(ReadError::Corrupt(RecordFault::Block(1)))));
    assert_eq!(store.read(key(1), 2..4).await.expect("read").payload, written.payload.slice(131_072..));
    store.put(written.clone()).await.expect("a repair writes it again");
    assert_stored(&store, &written).await;
    assert_eq!(store.usage().expect("a usage").records, 1);
    store.crash().await;
    assert_stored(&bench.open(), &written).await;
}

#[tokio::test]
async fn damage_in_the_middle_is_reported_and_the_rest_is_there() {
    let records = [shard(1, 300), shard(2, 300), shard(3, 300)];
    let mut bench = crashed_with(&records).await;
    let path = bench.segment_path("small");
    let second = DATA_START + 464;
    for bit in (second * 8..(second + 164) * 8).step_by(5) {
        flip_bit(&path, bit);
        bench.lose_index();
        let store = bench.open();
        assert_stored(&store, &records[0]).await;
        assert_stored(&store, &records[2]).await;
        assert!(matches!(read_all(&store, key(2)).await, Err(ReadError::NotFound)), "bit {bit}");
        store.crash().await;
        let location = Location { segment: 1, offset: second };
        assert_eq!(corrupt(&bench.taken_events()), [(None, location)]);
        flip_bit(&path, bit);
    }
    flip_bit(&path, (second + 200) * 8);
    bench.lose_index();
    let store = bench.open();
    assert!(matches!(read_all(&store, key(2)).await, Err(ReadError::Corrupt(RecordFault::Block(0)))));
    assert_eq!(corrupt(&bench.taken_events()).len(), 1);
    store.put(records[1].clone()).await.expect("repaired");
    assert_stored(&store, &records[1]).await;
}

#[tokio::test]
async fn unsynced_record_before_a_good_one_is_put_aside() {
    let mut bench = crashed_with(&[shard(1, 300)]).await;
    let store = Arc::new(bench.open());
    bench.files.plan().sync_error = Some(5);
    let puts: Vec<_> = [2, 3]
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.put(shard(number, 300)).await })
        })
        .into();
    for put in puts {
        assert!(matches!(put.await.expect("no panic"), Err(PutError::Failed { .. })));
    }
    Arc::into_inner(store).expect("the last").crash().await;
    bench.files.plan().sync_error = None;
    let path = bench.segment_path("small");
    if std::fs::metadata(&path).expect("a segment").len() < DATA_START + 3 * 464 {
        return; // The second came when the device was out already.
    }
    flip_bit(&path, (DATA_START + 464 + 200) * 8);
    for _index_kept_then_lost in 0..2 {
        let store = bench.open();
        assert_stored(&store, &shard(1, 300)).await;
        assert_stored(&store, &shard(3, 300)).await;
        assert!(matches!(read_all(&store, key(2)).await, Err(ReadError::NotFound)));
        store.crash().await;
        bench.lose_index();
    }
    assert_eq!(corrupt(&bench.taken_events())[0].0, Some(key(2)));
}

async fn listing(store: &DeviceStore) -> Vec<ShardHeader> {
    let mut all = Vec::new();
    for group in 0..4 {
        all.extend(store.list_pg(pg(group), None, 10_000).await.expect("a listing"));
    }
    all
}

#[tokio::test]
async fn index_is_rebuilt_as_it_was() {
    let mut bench = Bench::new();
    let store = bench.open();
    for number in 0..60 {
        let length = if number % 3 == 0 { 100_000 } else { 30_000 };
        store.put(shard(number, length)).await.expect("stored");
    }
    for number in (0..60).step_by(7) {
        assert_eq!(store.delete(key(number)).await, Ok(true));
    }
    let (before, usage) = (listing(&store).await, store.usage().expect("a usage"));
    assert!(usage.segments > 6, "several segments of each class");
    store.close().await.expect("closed");
    bench.lose_index();
    let store = bench.open();
    let rebuilt = store.usage().expect("a usage");
    assert_eq!(listing(&store).await, before);
    assert_eq!((rebuilt.records, rebuilt.live_bytes), (usage.records, usage.live_bytes));
    let shards = usage.records;
    assert_eq!(bench.taken_events(), [DeviceEvent::IndexRebuilt { device: DeviceId(12), shards }]);
    store.put(shard(100, 300)).await.expect("stored");
}

#[tokio::test]
async fn index_that_knows_more_than_the_segments_is_made_anew() {
    let mut bench = Bench::new();
    let store = bench.open();
    for number in 0..10 {
        store.put(shard(number, 100_000)).await.expect("stored");
    }
    store.close().await.expect("closed");
    let lost = bench.segment_paths()[1].clone();
    std::fs::remove_file(&lost).expect("removed");
    let store = bench.open();
    let left = listing(&store).await;
    assert!(!left.is_empty() && left.len() < 10, "what was in the lost segment isn't listed");
    for header in &left {
        assert!(read_all(&store, header.key()).await.is_ok(), "what is listed is there");
    }
    let events = bench.taken_events();
    assert_eq!(corrupt(&events), [(None, Location { segment: 2, offset: 0 })]);
    for number in 0..10 {
        store.put(shard(number, 100_000)).await.expect("repaired");
        assert_stored(&store, &shard(number, 100_000)).await;
    }
}

#[tokio::test]
async fn one_damaged_segment_header_is_no_loss_and_two_are_reported() {
    let mut bench = crashed_with(&[shard(1, 300), shard(2, 100_000)]).await;
    let path = bench.segment_path("small");
    flip_bit(&path, 200);
    bench.lose_index();
    let store = bench.open();
    assert_stored(&store, &shard(1, 300)).await;
    store.crash().await;
    flip_bit(&path, 4096 * 8 + 200);
    bench.lose_index();
    bench.taken_events();
    let store = bench.open();
    assert!(matches!(read_all(&store, key(1)).await, Err(ReadError::NotFound)));
    assert_stored(&store, &shard(2, 100_000)).await;
    assert_eq!(corrupt(&bench.taken_events()), [(None, Location { segment: 1, offset: 0 })]);
    store.put(shard(1, 300)).await.expect("repaired, in a new segment");
    assert_stored(&store, &shard(1, 300)).await;
    store.close().await.expect("closed");
    assert_stored(&bench.open(), &shard(1, 300)).await;
}

#[tokio::test]
async fn record_inside_a_payload_is_not_believed() {
    let mut bench = crashed_with(&[shard(1, 300), shard(2, 300)]).await;
    let segment = std::fs::read(bench.segment_path("small")).expect("a segment");
    let first = usize::try_from(DATA_START).expect("small");
    let stolen = &segment[first..first + 464];
    let payload: Vec<u8> = stolen.iter().copied().cycle().take(464 * 8).collect();
    let mut nested = shard(3, u32::try_from(payload.len()).expect("short"));
    nested.checksums = block_checksums(key(3).address(), &payload);
    nested.payload = payload.into();
    let store = bench.open();
    assert_eq!(store.delete(key(1)).await, Ok(true));
    store.put(nested).await.expect("stored");
    store.put(shard(4, 300)).await.expect("stored");
    store.crash().await;
    // Its header damaged, the scan looks for a record inside its payload.
    let nested_at = DATA_START + 2 * 464 + 160;
    flip_bit(&bench.segment_path("small"), nested_at * 8 + 300);
    bench.lose_index();
    let store = bench.open();
    assert_eq!(listing(&store).await, [shard(4, 300).header, shard(2, 300).header]);
}

#[tokio::test]
async fn segment_is_inspected_without_its_device() {
    let bench = crashed_with(&[shard(1, 300), shard(2, 300), shard(3, 300)]).await;
    let path = bench.segment_path("small");
    flip_bit(&path, (DATA_START + 464 + 200) * 8);
    let mut bytes = std::fs::read(&path).expect("a segment");
    bytes.extend_from_slice(b"torn");
    std::fs::write(&path, bytes).expect("written");
    let found = inspect_segment(&path).expect("inspected");
    assert_eq!((found.header.device, found.header.class), (DeviceId(12), SegmentClass::Small));
    let keys: Vec<ShardKey> = found.records.iter().filter_map(|record| record.header).map(|header| header.shard.key()).collect();
    assert_eq!(keys, [key(1), key(2), key(3)]);
    let faults: Vec<bool> = found.records.iter().map(|record| record.fault.is_some()).collect();
    assert_eq!(faults, [false, true, false]);
    assert!(found.has_torn_tail && !found.has_unreadable_part);
}
