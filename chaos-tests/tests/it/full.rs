//! A full device: writes go elsewhere, or are refused as 507 where there is no elsewhere; reads and deletions go on.

use std::path::Path;

use reqwest::StatusCode;
use skep_chaos_tests::client::Outcome;
use skep_chaos_tests::cluster::{Cluster, ClusterOptions};
use skep_chaos_tests::oracle::Oracle;
use skep_chaos_tests::power::{Disk, is_skipped};
use tempfile::TempDir;

const DISK_MIB: u64 = 128;
const FILE_BYTES: usize = 5 << 20;

/// The only device of a node, on a small disk of its own.
fn small_device(cluster: &Path, node: usize) -> Disk {
    let folder = cluster.join(format!("n{node}"));
    std::fs::create_dir_all(&folder).unwrap();
    Disk::create(&folder, "d1", DISK_MIB).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_go_around_a_full_device() {
    if is_skipped("writes_go_around_a_full_device") {
        return;
    }
    let images = TempDir::new().unwrap();
    let folder = images.path().join("cluster");
    let _disk = small_device(&folder, 2);
    let cluster = Cluster::start(ClusterOptions { folder: Some(folder), ..ClusterOptions::nodes(3) }).await;
    let mut oracle = Oracle::default();
    // At 2+1 each device gets half of every file: more than the small one holds.
    let files = usize::try_from(DISK_MIB).unwrap() * 5 / 10;
    for file in 0..files {
        let client = cluster.client(file % 3);
        assert_eq!(oracle.put(&client, &format!("/common-files/{file}.bin"), FILE_BYTES).await, Outcome::Acknowledged, "file {file}");
    }
    let status = cluster.status(0).unwrap();
    assert!(status["below_profile"].as_u64().unwrap() > 0, "the device never got full: {status}");
    oracle.check(&cluster.client(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_another_device_a_write_is_refused_as_507_and_reads_go_on() {
    if is_skipped("without_another_device_a_write_is_refused_as_507_and_reads_go_on") {
        return;
    }
    let images = TempDir::new().unwrap();
    let folder = images.path().join("cluster");
    let _disk = small_device(&folder, 1);
    let cluster = Cluster::start(ClusterOptions { folder: Some(folder), ..ClusterOptions::nodes(1) }).await;
    let client = cluster.client(0);
    let mut oracle = Oracle::default();
    let most = usize::try_from(DISK_MIB).unwrap() / 5 + 5;
    let mut refused = None;
    for file in 0..most {
        match oracle.put(&client, &format!("/common-files/{file}.bin"), FILE_BYTES).await {
            Outcome::Acknowledged => {}
            other => {
                refused = Some((file, other));
                break;
            }
        }
    }
    let (file, outcome) = refused.expect("the disk holds less");
    assert!(file > 10, "refused after {file} files already: {outcome:?}");
    let Outcome::Refused(status, text) = outcome else { panic!("{outcome:?}") };
    assert_eq!(status, StatusCode::INSUFFICIENT_STORAGE, "{text}");
    assert!(text.contains("full"), "{text}");
    oracle.check(&client).await;
    // What is small enough for the metadata has room still, and so has a deletion.
    assert_eq!(oracle.put(&client, "/common-files/small.txt", 100).await, Outcome::Acknowledged);
    assert_eq!(client.delete("/common-files/0.bin").await, Outcome::Acknowledged);
}
