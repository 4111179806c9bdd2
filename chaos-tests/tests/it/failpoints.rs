//! `kill -9` at every point of the write path that the code names; a point that was never reached fails the test.

use std::time::{Duration, Instant};

use skep_chaos_tests::client::Outcome;
use skep_chaos_tests::cluster::{Cluster, ClusterOptions};
use skep_chaos_tests::oracle::Oracle;
use skep_chaos_tests::skipped::skip;

/// How long a point may take to be reached.
const REACHED_WITHIN: Duration = Duration::from_secs(30);

/// Points that ordinary writes to a running device do not reach: a segment of the log goes only after many of them, a device begins a segment
/// every gigabyte, a deletion follows a refused commit. The tests of log and device store die there.
const RARE: [&str; 3] = ["log-before-unlink", "device-segment-creation", "device-delete"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn death_at_every_failpoint_loses_nothing() {
    if !skep::failpoints::are_compiled_in() {
        skip("death_at_every_failpoint_loses_nothing", "the binary was built without the feature failpoints");
        return;
    }
    let mut cluster = Cluster::start(ClusterOptions::nodes(3)).await;
    let mut oracle = Oracle::default();
    let victim = 1;
    for name in skep::failpoints::all().into_iter().filter(|name| !RARE.iter().any(|rare| name.starts_with(rare))) {
        cluster.kill(victim);
        // Points of a start are reached at the first time, so the node may never get ready.
        let armed = format!("{name}:1");
        cluster.start_armed(victim, &armed);
        let begun = Instant::now();
        while !cluster.has_ended(victim) {
            assert!(begun.elapsed() < REACHED_WITHIN, "failpoint {name} was not reached");
            let outcome = oracle.put_next(&cluster.client(0), "/common-files").await;
            assert!(!matches!(outcome, Outcome::Refused(status, _) if status.is_client_error()), "{name}: {outcome:?}");
        }
        cluster.start_again(victim).await;
        oracle.check(&cluster.client(victim)).await;
    }
    cluster.wait_repaired(0, Duration::from_secs(90)).await;
    for client in cluster.clients() {
        oracle.check(&client).await;
    }
}
