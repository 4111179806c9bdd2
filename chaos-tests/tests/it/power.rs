//! Power cuts: each node on a disk of its own that loses what was not synced. One node, all at once, in the middle of writes; and a node that
//! leaves out one sync, which the same test must notice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use skep_chaos_tests::client::{Client, Outcome};
use skep_chaos_tests::cluster::{Cluster, ClusterOptions};
use skep_chaos_tests::oracle::Oracle;
use skep_chaos_tests::power::{Disk, is_skipped};
use skep_chaos_tests::processes::failpoints;
use skep_chaos_tests::skipped::skip;
use skep_chaos_tests::wait::wait_for;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::failpoints::SMALL;

/// Of a node's disk.
const DISK_MIB: u64 = 1024;
const NODES: usize = 3;
/// After this what can't be read is looked at on the devices.
const LOSS_LIMIT: Duration = Duration::from_secs(30);
/// How long a start may take on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(120);
/// How long a node whose log can't be written may live on.
const END_LIMIT: Duration = Duration::from_secs(20);
/// How long the log may take to be rolled, snapshot and cut.
const WORN_LIMIT: Duration = Duration::from_secs(60);
const WRITERS: usize = 6;

/// A cluster whose nodes lie on disks of their own. Fields end in this order: processes, mounts, images.
struct OnDisks {
    cluster: Cluster,
    disks: Vec<Disk>,
    _images: TempDir,
}

/// Writers that go on until they are told to end, each with what it knows.
struct Writers {
    ending: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<Oracle>>,
}

impl Writers {
    /// Small files into the log, larger ones onto the devices, through all nodes.
    fn begin(cluster: &Cluster, round: u64) -> Self {
        let (ending, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let tasks = (0..WRITERS).map(|worker| {
            let (client, ending, written) = (cluster.client(worker % NODES), Arc::clone(&ending), Arc::clone(&written));
            tokio::spawn(write_on(client, round * 100 + u64::try_from(worker).unwrap(), ending, written))
        });
        Self { tasks: tasks.collect(), ending, written }
    }

    fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// What they know in the end; what was under way when the power went is unknown.
    async fn end(self, oracle: &mut Oracle) {
        self.ending.store(true, Ordering::Relaxed);
        for task in self.tasks {
            oracle.absorb(task.await.unwrap());
        }
    }
}

async fn write_on(client: Client, worker: u64, ending: Arc<AtomicBool>, written: Arc<AtomicU64>) -> Oracle {
    let mut oracle = Oracle::from_seed(worker * 1_000_000);
    let mut number = 0;
    while !ending.load(Ordering::Relaxed) {
        number += 1;
        let length = if number % 10 == 0 { 150_000 } else { 4_000 };
        match oracle.put(&client, &format!("/common-files/w{worker}-{number:05}.bin"), length).await {
            Outcome::Acknowledged => drop(written.fetch_add(1, Ordering::Relaxed)),
            // The power is off; whoever is asked next may be on again.
            Outcome::Unknown(_) | Outcome::Refused(..) => tokio::time::sleep(skep_chaos_tests::wait::INTERVAL).await,
        }
    }
    oracle
}

impl OnDisks {
    async fn start() -> Self {
        let images = TempDir::new().unwrap();
        let folder = images.path().join("cluster");
        std::fs::create_dir(&folder).unwrap();
        let disks = (1..=NODES).map(|node| Disk::create(&folder, &format!("n{node}"), DISK_MIB).unwrap()).collect();
        // The images lie beside the mounts; `skep dev` minds only its own files.
        let environment = SMALL.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let cluster = Cluster::start(ClusterOptions { folder: Some(folder), environment, ..ClusterOptions::nodes(NODES) }).await;
        Self { cluster, disks, _images: images }
    }

    /// Writes files of all classes through all nodes until so many are acknowledged.
    async fn write(&self, oracle: &mut Oracle, count: usize) {
        for place in 0..count {
            assert_eq!(oracle.put_next(&self.cluster.client(place % NODES), "/common-files").await, Outcome::Acknowledged);
        }
    }

    /// Waits until every node has built two snapshots more and has unlinked the segments of its log that it had before.
    async fn wear(&self, writers: &Writers) {
        let mut before = Vec::new();
        for place in 0..NODES {
            before.push((self.snapshots(place).await.unwrap(), newest_segment(&self.cluster, place)));
        }
        wait_for("snapshots and a log that is cut, on every node", WORN_LIMIT, async || {
            for (place, (snapshots, newest)) in before.iter().enumerate() {
                let (now, oldest) = (self.snapshots(place).await?, oldest_segment(&self.cluster, place));
                if now < snapshots + 2 || oldest <= *newest {
                    let written = writers.written();
                    return Err(format!("node {place}: {snapshots} then {now} snapshots, {newest} then {oldest}, {written} files"));
                }
            }
            Ok(())
        })
        .await;
    }

    async fn snapshots(&self, place: usize) -> Result<u64, String> {
        self.cluster.client(place).counter("skep_raft_snapshots_built_total").await
    }

    /// Cuts the power of all nodes at the same moment and gives it back; the processes are not started.
    async fn cut_all(&mut self) {
        Disk::cut_all(&self.disks).unwrap();
        self.cluster.kill_all();
        for disk in &mut self.disks {
            disk.remount().await.unwrap();
        }
    }

    /// What a power cut of all nodes takes away, in a sentence; `None` if nothing.
    ///
    /// # Panics
    /// If neither everything is there nor a loss is said: a machine that is slow proves nothing.
    async fn what_a_cut_takes(&mut self, oracle: &Oracle) -> Option<String> {
        self.cut_all().await;
        if let Err(why) = self.cluster.try_start_all(START_LIMIT).await {
            let damaged = self.cluster.logs().lines().find(|line| says_damage(line)).map(str::to_owned);
            return Some(damaged.unwrap_or_else(|| panic!("the nodes do not start and no damage is said: {why}")));
        }
        let wrong = oracle.first_wrong(&self.cluster.client(0), LOSS_LIMIT).await?;
        if !wrong.is_refused {
            return Some(wrong.why);
        }
        // Nobody answers for it: then its shards must be gone from the devices, which are asked one by one.
        let path = wrong.path.strip_prefix("/common-files/").unwrap();
        let said = self.cluster.skep(0, &["debug", "chunk", "--path", path]).good().unwrap();
        let gone = said.lines().filter(|line| line.contains(" missing ") || line.contains("damaged:")).count();
        assert!(gone >= 2, "{}; and two of three shards are there, so this machine is slow: {said}", wrong.why);
        Some(format!("{gone} shards of {path} are gone"))
    }
}

/// Whether a node's log line says that what it has stored is not what it wrote.
fn says_damage(line: &str) -> bool {
    ["is damaged", "was removed from this node's log", "does not follow", "can't be opened or rebuilt"]
        .iter()
        .any(|word| line.contains(word))
}

/// Numbers of the segments of a node's log.
fn segments(cluster: &Cluster, place: usize) -> Vec<u64> {
    let folder = cluster.folder().join(format!("n{}", place + 1)).join("node/metadata/log");
    let names = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name().to_string_lossy().into_owned());
    let digits = |name: String| name.chars().filter(char::is_ascii_digit).collect::<String>().parse().ok();
    names.filter_map(digits).collect()
}

fn newest_segment(cluster: &Cluster, place: usize) -> u64 {
    segments(cluster, place).into_iter().max().expect("a node has a log")
}

fn oldest_segment(cluster: &Cluster, place: usize) -> u64 {
    segments(cluster, place).into_iter().min().expect("a node has a log")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_cuts_lose_nothing_that_was_acknowledged() {
    if is_skipped("power_cuts_lose_nothing_that_was_acknowledged") {
        return;
    }
    let mut on = OnDisks::start().await;
    let mut oracle = Oracle::default();
    on.write(&mut oracle, 16).await;
    for round in 0..2 {
        // All at once, in the middle of writes and with snapshots, new segments and unlinked ones behind and ahead.
        let writers = Writers::begin(&on.cluster, 2 * round);
        on.wear(&writers).await;
        on.cut_all().await;
        writers.end(&mut oracle).await;
        on.cluster.start_all().await;
        for client in on.cluster.clients() {
            oracle.check(&client).await;
        }
        // One alone: it ends by itself, for it can't write its log any more; the others go on.
        let place = usize::try_from(round).unwrap() % NODES;
        let writers = Writers::begin(&on.cluster, 2 * round + 1);
        let count = async |more: u64| {
            let begun = writers.written();
            wait_for("files written", WORN_LIMIT, async || match writers.written() - begun {
                done if done >= more => Ok(()),
                done => Err(format!("{done} of {more}")),
            })
            .await;
        };
        count(20).await;
        on.disks[place].cut().unwrap();
        on.cluster.wait_ended(place, END_LIMIT).await;
        count(20).await;
        writers.end(&mut oracle).await;
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
    let honest = SMALL.to_vec();
    for lie in ["device-skip-sync", "log-skip-sync"] {
        let mut on = OnDisks::start().await;
        let mut oracle = Oracle::default();
        // The control: the same, and nobody lies.
        on.write(&mut oracle, 16).await;
        assert_eq!(on.what_a_cut_takes(&oracle).await, None, "nobody left out a sync");
        let armed = format!("{lie}:on");
        on.cluster.set_environment(&[honest.as_slice(), &[("SKEP_FAILPOINTS", &armed)]].concat());
        on.cluster.restart_all().await;
        on.write(&mut oracle, 16).await;
        on.cluster.set_environment(&honest);
        let taken = on.what_a_cut_takes(&oracle).await;
        assert!(taken.is_some(), "{lie}: the power was cut and everything is there, so this test would not notice a missing sync");
    }
}
