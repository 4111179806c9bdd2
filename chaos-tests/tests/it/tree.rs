//! A loaded tree under the death of each node in turn: its checksum through every survivor, files written meanwhile, and redundancy back within
//! a minute, so that another node may die next.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use skep_chaos_tests::client::{Client, Outcome};
use skep_chaos_tests::cluster::{Cluster, ClusterOptions};
use skep_chaos_tests::content::random_bytes;
use skep_chaos_tests::skipped::is_short_run;
use skep_chaos_tests::wait::wait_for;

const FOLDERS: u64 = 12;
const FILES_A_FOLDER: u64 = 40;
/// Written through each survivor while a node is dead.
const SMALL_FILES: u64 = 1_000;
const LARGE_BYTES: usize = 200 << 20;
/// After the last byte was written and the node is back.
const REDUNDANT_WITHIN: Duration = Duration::from_secs(60);
const TAKE_OVER_LIMIT: Duration = Duration::from_secs(15);
const AT_ONCE: usize = 8;

/// A file by its path, seed and length.
type File = (String, u64, usize);

fn tree() -> Vec<File> {
    let one = |folder: u64, file: u64| {
        let seed = folder * 1_000 + file;
        (format!("/common-files/tree-{folder}/file-{file}.bin"), seed, skep_chaos_tests::content::length_of(seed))
    };
    (0..FOLDERS).flat_map(|folder| (0..FILES_A_FOLDER).map(move |file| one(folder, file))).collect()
}

async fn write_all(client: &Client, files: &[File]) {
    let writes = files.iter().map(|(path, seed, length)| async move {
        assert_eq!(client.put(path, random_bytes(*seed, *length)).await, Outcome::Acknowledged, "{path} through {}", client.base());
    });
    futures_util::stream::iter(writes).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
}

async fn check_all(client: &Client, files: &[File]) {
    let reads = files.iter().map(|(path, seed, length)| async move {
        let read = client.get(path).await.unwrap_or_else(|why| panic!("{path} through {}: {why}", client.base()));
        assert!(
            read.as_ref() == Some(&random_bytes(*seed, *length)),
            "{path} through {} is another: {:?}",
            client.base(),
            read.map(|b| b.len())
        );
    });
    futures_util::stream::iter(reads).buffer_unordered(AT_ONCE / 2).collect::<Vec<()>>().await;
}

/// The dead node is noticed and a leader is there.
async fn taken_over(client: &Client, dead: usize) {
    wait_for("the survivors to go on", TAKE_OVER_LIMIT, async || {
        match client.put(&format!("/common-files/without-{dead}.txt"), random_bytes(1, 10_000)).await {
            Outcome::Acknowledged => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loaded_tree_outlives_each_node_in_turn() {
    if is_short_run("a_loaded_tree_outlives_each_node_in_turn") {
        return;
    }
    let mut cluster = Cluster::start(ClusterOptions::nodes(3)).await;
    for folder in 0..FOLDERS {
        assert_eq!(cluster.client(0).make_folder(&format!("/common-files/tree-{folder}")).await, Outcome::Acknowledged);
    }
    let mut files = tree();
    write_all(&cluster.client(0), &files).await;
    cluster.wait_repaired(0, REDUNDANT_WITHIN).await;
    for dead in 0..3 {
        cluster.kill(dead);
        let survivors: Vec<usize> = (0..3).filter(|place| *place != dead).collect();
        taken_over(&cluster.client(survivors[0]), dead).await;
        let mut written = Vec::new();
        for place in survivors {
            let client = cluster.client(place);
            check_all(&client, &files).await;
            let base = u64::try_from(dead * 10 + place + 1).unwrap() * 100_000;
            let mut new: Vec<File> =
                (0..SMALL_FILES).map(|file| (format!("/common-files/small-{dead}-{place}-{file}.bin"), base + file, 2_000)).collect();
            new.push((format!("/common-files/large-{dead}-{place}.bin"), base + SMALL_FILES, LARGE_BYTES));
            write_all(&client, &new).await;
            written.extend(new);
        }
        cluster.start_again(dead).await;
        let begun = Instant::now();
        cluster.wait_repaired(dead, REDUNDANT_WITHIN).await;
        files.extend(written);
        assert!(begun.elapsed() <= REDUNDANT_WITHIN + Duration::from_secs(5), "redundancy came back after {:?}", begun.elapsed());
    }
    // Another one than the last: what was written without a node is read without one of those that took it.
    cluster.kill(0);
    taken_over(&cluster.client(1), 0).await;
    for place in [1, 2] {
        check_all(&cluster.client(place), &files).await;
    }
}
