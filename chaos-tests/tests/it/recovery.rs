//! `kill -9` at every step of a recovery after a lost quorum: run again it comes to its end, and what the node had is there.

use std::time::Duration;

use skep_chaos_tests::client::{Client, Outcome};
use skep_chaos_tests::cluster::{Cluster, ClusterOptions};
use skep_chaos_tests::oracle::Oracle;
use skep_chaos_tests::processes::failpoints;
use skep_chaos_tests::skipped::{is_short_run, skip};
use skep_chaos_tests::wait::wait_for;

use crate::failpoints::is_of_recovery;

/// How long a group may take to go on, or to grow again.
const LIMIT: Duration = Duration::from_secs(90);
/// The node that is left.
const LEFT: usize = 0;
/// The node that hears of the recovery when it comes back.
const HEARS: usize = 1;
/// What both groups are recovered by.
const GROUPS: [&str; 2] = ["system", "pydiods1"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn death_at_every_step_of_a_recovery_is_made_good_by_the_next_run() {
    let name = "death_at_every_step_of_a_recovery_is_made_good_by_the_next_run";
    if is_short_run(name) {
        return;
    }
    let points: Vec<String> = failpoints().into_iter().filter(|name| is_of_recovery(name)).collect();
    if points.is_empty() {
        skip(name, "the binary was built without the feature failpoints");
        return;
    }
    let mut cluster = Cluster::start(ClusterOptions::nodes(3)).await;
    let mut oracle = Oracle::default();
    for point in &points {
        for _ in 0..4 {
            wait_written(&mut oracle, &cluster.client(LEFT)).await;
        }
        settle(&cluster).await;
        cluster.kill_nodes(&[HEARS, 2]);
        let is_hearing = point.starts_with("adoption-");
        if !is_hearing {
            cluster.kill(LEFT);
            cluster.start_armed(LEFT, &format!("{point}:1"));
            // It need not be whole to be asked what is left.
            wait_for("the node to answer", LIMIT, async || cluster.skep(LEFT, &["recover", "--group", GROUPS[0]]).good()).await;
            let cut = cluster.skep(LEFT, &["recover", "--group", GROUPS[0], "--yes"]);
            assert!(!cut.is_success, "{point}: the node died and the command says that all is well: {cut:?}");
            // Where the point was not reached the node lives on.
            cluster.wait_ended(LEFT, LIMIT).await;
            cluster.start_unready(LEFT);
        }
        wait_for("the groups to go on", LIMIT, async || {
            for group in GROUPS {
                let said = cluster.skep(LEFT, &["recover", "--group", group, "--yes"]);
                // A group that has gone on by itself meanwhile needs nothing.
                let needs_none = format!("{}{}", said.out, said.err).contains("has a quorum") || cluster.leader(LEFT, group) == Some(LEFT);
                if !said.is_success && !needs_none {
                    return Err(format!("{group}: {said:?}"));
                }
            }
            Ok(())
        })
        .await;
        if is_hearing {
            cluster.start_armed(HEARS, &format!("{point}:1"));
            let armed = &mut cluster;
            wait_for("the node that hears of it to die", LIMIT, async || match armed.has_ended(HEARS) {
                true => Ok(()),
                false => Err("it lives".to_owned()),
            })
            .await;
        }
        cluster.start_again(HEARS).await;
        cluster.start_again(2).await;
        settle(&cluster).await;
        cluster.wait_repaired(LEFT, LIMIT).await;
        for client in cluster.clients() {
            oracle.check(&client).await;
        }
    }
}

/// Waits until every group has three voters and none is behind: then the node that is left has everything.
async fn settle(cluster: &Cluster) {
    wait_for("three voters a group, none behind", LIMIT, async || {
        let status = cluster.status(LEFT)?;
        let groups = status["groups"].as_array().cloned().unwrap_or_default();
        let whole = |row: &serde_json::Value| row["voters"].as_array().is_some_and(|voters| voters.len() == 3) && row["lag"] == 0;
        if !groups.is_empty() && groups.iter().all(whole) { Ok(()) } else { Err(format!("{groups:?}")) }
    })
    .await;
}

async fn wait_written(oracle: &mut Oracle, client: &Client) {
    wait_for("a write", LIMIT, async || match oracle.put_next(client, "/common-files").await {
        Outcome::Acknowledged => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}
