//! Any node may die, the leader too: the others read everything and write on; when it is back, redundancy is.

use std::time::Duration;

use skep_chaos_tests::client::Outcome;
use skep_chaos_tests::cluster::{Cluster, ClusterOptions};
use skep_chaos_tests::oracle::Oracle;
use skep_chaos_tests::wait::wait_for;

/// How long the others may take to write again after a node died: an election and the notice that its devices are gone.
const TAKE_OVER_LIMIT: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_node_in_turn_may_die() {
    let mut cluster = Cluster::start(ClusterOptions::nodes(3)).await;
    let mut oracle = Oracle::default();
    for place in 0..24 {
        assert_eq!(oracle.put_next(&cluster.client(place % 3), "/common-files").await, Outcome::Acknowledged);
    }
    for dead in 0..3 {
        cluster.kill(dead);
        for alive in (0..3).filter(|place| *place != dead) {
            let client = cluster.client(alive);
            let mut tries = 0;
            wait_for("a write through a survivor", TAKE_OVER_LIMIT, async || {
                tries += 1;
                let path = format!("/common-files/after-{dead}-{alive}-{tries}.bin");
                match oracle.put(&client, &path, 200_000).await {
                    Outcome::Acknowledged => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            })
            .await;
            for _ in 0..8 {
                assert_eq!(oracle.put_next(&client, "/common-files").await, Outcome::Acknowledged, "node {dead} is dead");
            }
            oracle.check(&client).await;
        }
        cluster.start_again(dead).await;
        cluster.wait_repaired(dead, Duration::from_secs(90)).await;
        oracle.check(&cluster.client(dead)).await;
    }
    assert!(oracle.acknowledged() >= 24 + 3 * 18, "only {} files are acknowledged", oracle.acknowledged());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_at_once_may_be_killed() {
    let mut cluster = Cluster::start(ClusterOptions::nodes(3)).await;
    let mut oracle = Oracle::default();
    for round in 0..2 {
        for place in 0..16 {
            assert_eq!(oracle.put_next(&cluster.client(place % 3), "/common-files").await, Outcome::Acknowledged, "round {round}");
        }
        cluster.restart_all().await;
        for client in cluster.clients() {
            oracle.check(&client).await;
        }
    }
}
