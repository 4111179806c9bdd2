//! Power cuts: each node on a disk of its own that loses what was not synced. One node, all at once; and a node that leaves out one sync, which
//! the same test must notice.

use std::time::Duration;

use skep_chaos_tests::client::Outcome;
use skep_chaos_tests::cluster::{Cluster, ClusterOptions, failpoints};
use skep_chaos_tests::oracle::Oracle;
use skep_chaos_tests::power::{Disk, is_skipped};
use skep_chaos_tests::skipped::skip;
use tempfile::TempDir;

/// Of a node's disk.
const DISK_MIB: u64 = 1024;
const NODES: usize = 3;
/// After this what can't be read counts as lost.
const LOSS_LIMIT: Duration = Duration::from_secs(30);

/// A cluster whose nodes lie on disks of their own. Fields end in this order: processes, mounts, images.
struct OnDisks {
    cluster: Cluster,
    disks: Vec<Disk>,
    _images: TempDir,
}

impl OnDisks {
    async fn start() -> Self {
        let images = TempDir::new().unwrap();
        let folder = images.path().join("cluster");
        std::fs::create_dir(&folder).unwrap();
        let disks = (1..=NODES).map(|node| Disk::create(&folder, &format!("n{node}"), DISK_MIB).unwrap()).collect();
        // The images lie beside the mounts; `skep dev` minds only its own files.
        let cluster = Cluster::start(ClusterOptions { folder: Some(folder), ..ClusterOptions::nodes(NODES) }).await;
        Self { cluster, disks, _images: images }
    }

    /// Writes files of all classes through all nodes until so many are acknowledged.
    async fn write(&self, oracle: &mut Oracle, count: usize) {
        for place in 0..count {
            assert_eq!(oracle.put_next(&self.cluster.client(place % NODES), "/common-files").await, Outcome::Acknowledged);
        }
    }

    /// Cuts the power of all nodes at the same moment and gives it back.
    async fn cut_all(&mut self) {
        for disk in &self.disks {
            disk.cut().unwrap();
        }
        self.cluster.kill_all();
        for disk in &mut self.disks {
            disk.remount().await.unwrap();
        }
        self.cluster.start_all().await;
    }

    /// Whether a power cut of all nodes takes something away.
    async fn loses(&mut self, oracle: &Oracle) -> bool {
        for disk in &self.disks {
            disk.cut().unwrap();
        }
        self.cluster.kill_all();
        for disk in &mut self.disks {
            disk.remount().await.unwrap();
        }
        // A log that lost its end may also be refused at the start.
        match self.cluster.try_start_all(LOSS_LIMIT).await {
            Ok(()) => oracle.first_wrong(&self.cluster.client(0), LOSS_LIMIT).await.is_some(),
            Err(_refused) => true,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_cuts_lose_nothing_that_was_acknowledged() {
    if is_skipped("power_cuts_lose_nothing_that_was_acknowledged") {
        return;
    }
    let mut on = OnDisks::start().await;
    let mut oracle = Oracle::default();
    on.write(&mut oracle, 24).await;
    for round in 0..2 {
        on.cut_all().await;
        for client in on.cluster.clients() {
            oracle.check(&client).await;
        }
        on.write(&mut oracle, 8).await;
        // One alone, in the middle of writing through the others.
        let place = round % NODES;
        on.disks[place].cut().unwrap();
        on.cluster.kill(place);
        for file in 0..6 {
            let client = on.cluster.client((place + 1 + file % 2) % NODES);
            let outcome = oracle.put_next(&client, "/common-files").await;
            assert!(!matches!(outcome, Outcome::Refused(status, _) if status.is_client_error()), "{outcome:?}");
        }
        on.disks[place].remount().await.unwrap();
        on.cluster.start_again(place).await;
        on.cluster.wait_repaired(0, Duration::from_secs(90)).await;
        oracle.check(&on.cluster.client(place)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_that_is_left_out_is_noticed() {
    if is_skipped("a_sync_that_is_left_out_is_noticed") {
        return;
    }
    if failpoints().is_empty() {
        skip("a_sync_that_is_left_out_is_noticed", "the binary was built without the feature failpoints");
        return;
    }
    for lie in ["log-skip-sync:on", "device-skip-sync:on"] {
        let mut on = OnDisks::start().await;
        let mut oracle = Oracle::default();
        on.cluster.set_environment(&[("SKEP_FAILPOINTS", lie)]);
        on.cluster.restart_all().await;
        on.write(&mut oracle, 16).await;
        on.cluster.set_environment(&[]);
        assert!(on.loses(&oracle).await, "{lie}: the power was cut and everything is there, so this test would not notice a missing sync");
    }
}
