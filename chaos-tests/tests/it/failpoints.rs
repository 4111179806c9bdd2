//! `kill -9` at every point of the write path that the code names; a point that was never reached fails the test.

use std::time::{Duration, Instant};

use skep_chaos_tests::client::{Client, Outcome};
use skep_chaos_tests::cluster::{Cluster, ClusterOptions};
use skep_chaos_tests::oracle::Oracle;
use skep_chaos_tests::processes::failpoints;
use skep_chaos_tests::skipped::skip;
use skep_chaos_tests::wait::{INTERVAL, wait_for};

/// How long a point may take to be reached.
const REACHED_WITHIN: Duration = Duration::from_secs(60);
/// How long a node that fell behind may take to get a snapshot, and how often it is tried.
const INSTALLED_WITHIN: Duration = Duration::from_secs(20);
const INSTALL_TRIES: u32 = 5;
/// The sync of the log that fails: a start takes fewer.
const FAILING_SYNC: u32 = 60;
const VICTIM: usize = 1;
/// Small segments and frequent snapshots, so that what is rare in production happens within seconds.
pub(crate) const SMALL: [(&str, &str); 4] = [
    ("SKEP_RAFT_SEGMENT_MIB", "1"),
    ("SKEP_RAFT_LOG_MIB_MAX", "4"),
    ("SKEP_RAFT_SNAPSHOT_MIB", "1"),
    ("SKEP_RAFT_SNAPSHOT_COMMANDS", "100"),
];
/// Small files of 4 KB that make more than half of the log that is kept: then even a log that a late follower still needs goes.
const FALL_BEHIND: u32 = 900;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn death_at_every_failpoint_loses_nothing() {
    let mut names = failpoints();
    if names.is_empty() {
        skip("death_at_every_failpoint_loses_nothing", "the binary was built without the feature failpoints");
        return;
    }
    names.retain(|name| !is_of_recovery(name));
    // A device begins a segment with its first shard and then after a gigabyte.
    names.sort_by_key(|name| name != "device-segment-creation");
    let environment = SMALL.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let mut cluster = Cluster::start(ClusterOptions { environment, ..ClusterOptions::nodes(3) }).await;
    let mut everything = Oracle::default();
    let mut oracle = Oracle::default();
    for name in names {
        let reached = match name.starts_with("repair-") {
            true => die_repairing(&mut cluster, &mut oracle, &name).await,
            false => die_at(&mut cluster, &mut oracle, &name).await,
        };
        assert!(reached, "failpoint {name} was not reached");
        cluster.start_again(VICTIM).await;
        oracle.check(&cluster.client(VICTIM)).await;
        everything.absorb(oracle.take());
    }
    end_by_a_failed_sync(&mut cluster, &mut oracle).await;
    everything.absorb(oracle.take());
    cluster.wait_repaired(0, Duration::from_secs(90)).await;
    for client in cluster.clients() {
        everything.check(&client).await;
    }
}

/// Whether a point lies where a group goes on after a lost quorum.
pub(crate) fn is_of_recovery(name: &str) -> bool {
    name.starts_with("recovery-") || name.starts_with("adoption-")
}

/// A sync of the log fails: the node ends by itself, says why, and what it acknowledged before is there; nothing is acknowledged after.
async fn end_by_a_failed_sync(cluster: &mut Cluster, oracle: &mut Oracle) {
    cluster.kill(VICTIM);
    cluster.start_armed(VICTIM, &format!("log-fail-sync:{FAILING_SYNC}"));
    let victim = cluster.client(VICTIM);
    let (begun, mut after) = (Instant::now(), 0);
    while !cluster.has_ended(VICTIM) {
        assert!(begun.elapsed() < REACHED_WITHIN, "the node lives on");
        let outcome = oracle.put_next_small(&victim, "/common-files").await;
        if cluster.logs().contains("a test has this sync fail") && outcome == Outcome::Acknowledged {
            after += 1;
        }
    }
    // One answer may have been on its way when the line was read.
    assert!(after <= 1, "{after} writes were acknowledged after the log failed");
    assert!(cluster.logs().contains("the node cannot go on"), "it does not say why it ended");
    cluster.start_again(VICTIM).await;
    oracle.check(&cluster.client(VICTIM)).await;
}

/// Has the armed victim lead the group of the files while chunks wait for repair; false if it never dies at the point.
async fn die_repairing(cluster: &mut Cluster, oracle: &mut Oracle, name: &str) -> bool {
    cluster.wait_repaired(VICTIM, REACHED_WITHIN).await;
    cluster.kill(VICTIM);
    cluster.start_armed(VICTIM, &format!("{name}:1"));
    cluster.wait_node_ready(VICTIM).await;
    for round in 0..INSTALL_TRIES * 2 {
        let leads =
            wait_for("a leader", REACHED_WITHIN, async || cluster.leader(VICTIM, "pydiods1").ok_or_else(|| "none".to_owned())).await;
        // Without one of the others what is written is stored in less than the profile, and that is brought up when it is back.
        let away = if leads == VICTIM { 2 } else { leads };
        cluster.kill(away);
        wait_for("a write through the armed node", REACHED_WITHIN, async || {
            let path = format!("/common-files/{name}-{round}.bin");
            match oracle.put(&cluster.client(VICTIM), &path, 400_000).await {
                Outcome::Acknowledged => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        cluster.start_again(away).await;
        let begun = Instant::now();
        loop {
            if cluster.has_ended(VICTIM) {
                return true;
            }
            // Another one leads and repairs: once more.
            if cluster.leader(away, "pydiods1").is_some_and(|leads| leads != VICTIM) {
                break;
            }
            if begun.elapsed() > REACHED_WITHIN {
                return false;
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }
    false
}

/// Starts the victim armed and makes it die at the point; false if it does not.
async fn die_at(cluster: &mut Cluster, oracle: &mut Oracle, name: &str) -> bool {
    let is_install = name.starts_with("install-");
    let (tries, limit) = if is_install { (INSTALL_TRIES, INSTALLED_WITHIN) } else { (1, REACHED_WITHIN) };
    for _ in 0..tries {
        cluster.kill(VICTIM);
        if is_install {
            // Whether the leader's log still has what the node needs is the leader's affair; then it falls behind once more.
            fall_behind(cluster, oracle).await;
        }
        // Points of a start are reached at the first time, so the node may never get ready.
        cluster.start_armed(VICTIM, &format!("{name}:1"));
        if reach(cluster, oracle, name, limit).await {
            return true;
        }
    }
    false
}

/// Writes through the others until the log that the dead node needs is gone: only a snapshot helps it then.
async fn fall_behind(cluster: &Cluster, oracle: &mut Oracle) {
    let client = cluster.client(0);
    let built = client.counter("skep_raft_snapshots_built_total").await.unwrap();
    wait_for("snapshots of what the dead node has not got", REACHED_WITHIN, async || {
        for _ in 0..FALL_BEHIND {
            put_small(oracle, &client).await;
        }
        // One may have been under way; behind the second one nothing older is kept.
        match client.counter("skep_raft_snapshots_built_total").await? {
            now if now >= built + 2 => Ok(()),
            now => Err(format!("{} snapshots", now - built)),
        }
    })
    .await;
}

/// Writes in all ways there are until the armed node is dead; false if it lives on.
async fn reach(cluster: &mut Cluster, oracle: &mut Oracle, name: &str, limit: Duration) -> bool {
    let begun = Instant::now();
    let (steady, victim) = (cluster.client(0), cluster.client(VICTIM));
    let mut round = 0;
    while !cluster.has_ended(VICTIM) {
        if begun.elapsed() > limit {
            return false;
        }
        round += 1;
        put_small(oracle, &steady).await;
        for (what, length) in [("copies", 50_000), ("coded", 400_000)] {
            let path = format!("/common-files/{name}-{round}-{what}.bin");
            let outcome = oracle.put(&steady, &path, length).await;
            assert!(!matches!(outcome, Outcome::Refused(status, _) if status.is_client_error()), "{name}: {outcome:?}");
            // The same content once more: its shards are surplus and deleted.
            oracle.put_again(&steady, &format!("/common-files/{name}-{round}-{what}-again.bin"), &path).await;
        }
        // Through the armed node too; registered uploads begin at 64 MiB.
        let length = if name.starts_with("upload-") { 70 << 20 } else { 400_000 };
        oracle.put(&victim, &format!("/common-files/{name}-{round}-through-it.bin"), length).await;
    }
    true
}

async fn put_small(oracle: &mut Oracle, client: &Client) {
    let outcome = oracle.put_next_small(client, "/common-files").await;
    assert!(!matches!(outcome, Outcome::Refused(status, _) if status.is_client_error()), "{outcome:?}");
}
