//! The index in RocksDB: kept over a start, and made anew when it is lost or damaged.

use super::*;

fn options(bench: &Bench) -> DeviceOptions {
    let cache = rocksdb::Cache::new_lru_cache(8 << 20);
    DeviceOptions { index: Arc::new(RocksIndexes::new(cache, None)), index_flush_bytes: 50_000, ..bench.options() }
}

fn open(bench: &Bench) -> DeviceStore {
    DeviceStore::open(options(bench)).expect("the device opens")
}

async fn listing(store: &DeviceStore) -> Vec<ShardHeader> {
    let mut all = Vec::new();
    for group in 0..4 {
        let mut last = None;
        loop {
            let page = store.list_pg(pg(group), last, 7).await.expect("a page");
            let Some(header) = page.last() else { break };
            last = Some(header.key());
            all.extend(page);
        }
    }
    all
}

async fn filled(bench: &Bench) -> DeviceStore {
    let store = open(bench);
    for number in 0..60 {
        let length = if number % 3 == 0 { 70_000 } else { 2_000 };
        store.put(shard(number, length)).await.expect("stored");
    }
    for number in (0..60).step_by(7) {
        assert_eq!(store.delete(key(number)).await, Ok(true));
    }
    store
}

#[tokio::test]
async fn index_is_kept_over_a_start() {
    let mut bench = Bench::new();
    let store = filled(&bench).await;
    let (before, usage) = (listing(&store).await, store.usage().expect("a usage"));
    assert_eq!(before.len(), 51);
    store.close().await.expect("closed");
    drop(store);
    let store = open(&bench);
    assert_eq!(listing(&store).await, before);
    assert_eq!(store.usage().expect("a usage").live_bytes, usage.live_bytes);
    assert_stored(&store, &shard(1, 2_000)).await;
    assert_eq!(store.find(key(3).instance.chunk).await.expect("found"), [shard(3, 70_000).header]);
    assert_eq!(bench.taken_events(), [], "nothing was rebuilt");
}

#[tokio::test]
async fn lost_or_damaged_index_is_made_anew() {
    let mut bench = Bench::new();
    let store = filled(&bench).await;
    let before = listing(&store).await;
    store.close().await.expect("closed");
    drop(store);
    let index = bench.folder.path().join("index");
    let damages: [&dyn Fn(); 3] = [
        &|| std::fs::remove_dir_all(&index).expect("removed"),
        &|| std::fs::write(index.join("CURRENT"), "MANIFEST-999999\n").expect("damaged"),
        &|| std::fs::write(bench.folder.path().join("skep-index-rebuild"), "").expect("marked"),
    ];
    let mut rebuilt = 0;
    for damage in damages {
        damage();
        let store = open(&bench);
        assert_eq!(listing(&store).await, before);
        store.close().await.expect("closed");
        rebuilt += 1;
    }
    let events = bench.taken_events();
    assert_eq!(events, vec![DeviceEvent::IndexRebuilt { device: DeviceId(12), shards: 51 }; rebuilt]);
}

#[tokio::test]
async fn unflushed_index_is_completed_from_the_segments() {
    let mut bench = Bench::new();
    let store = filled(&bench).await;
    store.close().await.expect("closed");
    drop(store);
    // The index as it was, the segments as they are later: what a crash leaves.
    let saved = bench.folder.path().join("index-saved");
    copy_folder(&bench.folder.path().join("index"), &saved);
    let store = open(&bench);
    for number in 100..110 {
        store.put(shard(number, 3_000)).await.expect("stored");
    }
    assert_eq!(store.delete(key(1)).await, Ok(true));
    let before = listing(&store).await;
    store.crash().await;
    std::fs::remove_dir_all(bench.folder.path().join("index")).expect("removed");
    std::fs::rename(&saved, bench.folder.path().join("index")).expect("put back");
    let store = open(&bench);
    assert_eq!(listing(&store).await, before);
    assert_stored(&store, &shard(109, 3_000)).await;
    assert_eq!(bench.taken_events(), [], "nothing was rebuilt");
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("a folder");
    for file in std::fs::read_dir(from).expect("a folder") {
        let file = file.expect("a file");
        std::fs::copy(file.path(), to.join(file.file_name())).expect("copied");
    }
}
