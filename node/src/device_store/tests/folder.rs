//! Which folders are taken for the device, and what the others are told.

use super::*;

fn refused(options: DeviceOptions) -> OpenError {
    let folder = options.folder.display().to_string();
    let error = DeviceStore::open(options).expect_err("the folder is refused");
    assert!(error.to_string().contains(&folder), "the sentence names the folder: {error}");
    error
}

/// A device that was opened and closed once.
async fn closed() -> Bench {
    let bench = Bench::new();
    let store = bench.open();
    store.put(shard(1, 100)).await.expect("stored");
    store.close().await.expect("closed");
    bench
}

#[tokio::test]
async fn other_folders_are_refused() {
    let bench = Bench::new();
    let not_asked_for = DeviceOptions { initialize: false, ..bench.options() };
    assert!(matches!(refused(not_asked_for), OpenError::NotADevice { .. }));
    std::fs::write(bench.folder.path().join("letter.txt"), "dear").expect("a file");
    assert!(matches!(refused(bench.options()), OpenError::NotEmpty { .. }));
    let missing = DeviceOptions { folder: bench.folder.path().join("none"), ..bench.options() };
    assert!(matches!(refused(missing), OpenError::Missing { .. }));
}

#[tokio::test]
async fn foreign_device_is_refused() {
    let bench = closed().await;
    let others = [
        DeviceIdentity { cluster: ClusterId([8; 16]), ..identity() },
        DeviceIdentity { node: NodeId(2), ..identity() },
        DeviceIdentity { device: DeviceId(13), ..identity() },
    ];
    for identity in others {
        assert!(matches!(refused(DeviceOptions { identity, ..bench.options() }), OpenError::Foreign { .. }));
    }
    bench.open().close().await.expect("its own still opens");
}

#[tokio::test]
async fn second_process_is_refused_until_the_first_ends() {
    let bench = Bench::new();
    let store = bench.open();
    assert!(matches!(refused(bench.options()), OpenError::Locked { .. }));
    store.close().await.expect("closed");
    bench.open().close().await.expect("closed");
}

#[tokio::test]
async fn copy_is_refused_unless_accepted_once() {
    let bench = closed().await;
    let copy = tempfile::tempdir().expect("a folder");
    let folder = copy.path().to_owned();
    std::fs::create_dir(folder.join(SEGMENT_FOLDER)).expect("a folder");
    for name in [IDENTITY_FILE, FENCE_FILE, &format!("{SEGMENT_FOLDER}/small-0000000000000001.seg")] {
        std::fs::copy(bench.folder.path().join(name), folder.join(name)).expect("copied");
    }
    let options = DeviceOptions { folder, ..bench.options() };
    assert!(matches!(refused(options.clone()), OpenError::Cloned { .. }));
    let store = DeviceStore::open(DeviceOptions { accept_moved: true, ..options.clone() }).expect("accepted");
    assert_stored(&store, &shard(1, 100)).await;
    store.close().await.expect("closed");
    DeviceStore::open(options).expect("it is the original now").close().await.expect("closed");
}

#[tokio::test]
async fn damaged_or_newer_identity_is_refused() {
    let bench = closed().await;
    let path = bench.folder.path().join(IDENTITY_FILE);
    let text = std::fs::read_to_string(&path).expect("an identity");
    let damages = [text.replace("\"node\": 1", "\"node\": 2"), text[..text.len() / 2].to_owned(), String::new()];
    for damage in damages {
        std::fs::write(&path, damage).expect("written");
        assert!(matches!(refused(bench.options()), OpenError::IdentityDamaged { .. }));
    }
    std::fs::write(&path, r#"{"format": 2, "anything": "else"}"#).expect("written");
    assert!(matches!(refused(bench.options()), OpenError::Format { found: 2, known: 1, .. }));
    std::fs::write(&path, text).expect("written");
    bench.open().close().await.expect("closed");
}

#[tokio::test]
async fn lost_fences_are_refused() {
    let bench = closed().await;
    let path = bench.folder.path().join(FENCE_FILE);
    flip_bit(&path, 90);
    assert!(matches!(refused(bench.options()), OpenError::FencesDamaged { .. }));
    std::fs::remove_file(&path).expect("removed");
    assert!(matches!(refused(bench.options()), OpenError::FencesDamaged { .. }));
}

#[tokio::test]
async fn unfinished_initialization_is_done_again() {
    let bench = closed().await;
    for path in bench.segment_paths() {
        std::fs::remove_file(path).expect("removed");
    }
    std::fs::remove_file(bench.folder.path().join(IDENTITY_FILE)).expect("removed");
    bench.indexes.destroy(&bench.folder.path().join("index")).expect("removed");
    bench.open().close().await.expect("closed");
}

#[tokio::test]
async fn wrong_options_are_all_named() {
    let bench = Bench::new();
    let options =
        DeviceOptions { segment_bytes: 1, readers: 0, queue_max: 0, open_files_max: 0, reserve_thousandths: 1000, ..bench.options() };
    let Err(OpenError::Options(faults)) = DeviceStore::open(options) else { panic!("refused for its options") };
    assert_eq!(faults.len(), 5);
}
