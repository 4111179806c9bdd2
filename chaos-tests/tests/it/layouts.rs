//! Other layouts than three nodes with a device each.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;
use skep_chaos_tests::client::Outcome;
use skep_chaos_tests::cluster::{Cluster, ClusterOptions};
use skep_chaos_tests::content::random_bytes;
use skep_chaos_tests::oracle::Oracle;
use skep_chaos_tests::skipped::is_short_run;
use skep_chaos_tests::timed::timed;
use skep_chaos_tests::wait::wait_for;

const LIMIT: Duration = Duration::from_secs(90);

fn with(nodes: usize, arguments: &[&str]) -> ClusterOptions {
    ClusterOptions { arguments: arguments.iter().map(|word| (*word).to_owned()).collect(), ..ClusterOptions::nodes(nodes) }
}

fn rows(status: &Value, name: &str) -> Vec<Value> {
    status[name].as_array().cloned().unwrap_or_default()
}

/// Values of a column of `skep debug chunk` in the rows of stored shards.
fn stored(said: &str, column: usize) -> Vec<String> {
    let rows = said.lines().filter(|line| line.contains("stored"));
    rows.map(|row| row.split_whitespace().nth(column).unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_spreads_over_its_three_devices() {
    let mut cluster = Cluster::start(with(1, &["--devices-per-node", "3"])).await;
    let mut oracle = Oracle::default();
    for _ in 0..8 {
        assert_eq!(oracle.put_next(&cluster.client(0), "/common-files").await, Outcome::Acknowledged);
    }
    let bytes = random_bytes(77, 1_000_000);
    assert_eq!(cluster.client(0).put("/common-files/spread.bin", bytes.clone()).await, Outcome::Acknowledged);
    let status = cluster.status(0).unwrap();
    assert!(rows(&status, "pools").iter().all(|pool| pool["code"] == "2+1" && pool["domain"] == "device"), "{status}");
    assert!(!status["warnings"].to_string().contains("one copy"), "{status}");
    let said = cluster.skep(0, &["debug", "chunk", "--path", "spread.bin"]).good().unwrap();
    assert_eq!(stored(&said, 1).into_iter().collect::<BTreeSet<_>>().len(), 3, "three devices: {said}");
    // One device loses its bytes while the node is down.
    cluster.kill_all();
    let damaged = crate::refusals::flip_bits(&cluster.file.nodes[0].data[1..2]);
    assert!(damaged > 0, "nothing was there to damage");
    cluster.start_all().await;
    assert_eq!(cluster.client(0).get("/common-files/spread.bin").await.unwrap(), Some(bytes));
    oracle.check(&cluster.client(0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_keep_two_copies_and_say_what_they_cannot() {
    let mut cluster = Cluster::start(ClusterOptions::nodes(2)).await;
    let mut oracle = Oracle::default();
    for place in 0..8 {
        assert_eq!(oracle.put_next(&cluster.client(place % 2), "/common-files").await, Outcome::Acknowledged);
    }
    let status = cluster.status(1).unwrap();
    assert!(rows(&status, "pools").iter().all(|pool| pool["code"] == "1+1" && pool["domain"] == "node"), "{status}");
    let warnings = status["warnings"].to_string();
    assert!(warnings.contains("two voters: safe, but not available with one of them down"), "{warnings}");
    for client in cluster.clients() {
        oracle.check(&client).await;
    }
    // Safe, not available: one alone refuses, in time, and has lost nothing when the other is back.
    cluster.kill(1);
    let client = cluster.client(0);
    timed("a read", client.request(reqwest::Method::GET, "/dav/common-files/file-00004.bin")).await.assert_unavailable();
    timed("a write", client.request(reqwest::Method::PUT, "/dav/common-files/new.bin").body("new")).await.assert_unavailable();
    cluster.start_again(1).await;
    for client in cluster.clients() {
        oracle.check(&client).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_nodes_in_three_zones_serve_from_nodes_that_are_no_members() {
    if is_short_run("five_nodes_in_three_zones_serve_from_nodes_that_are_no_members") {
        return;
    }
    let mut cluster = Cluster::start(with(5, &["--zones", "3"])).await;
    let status = cluster.status(0).unwrap();
    let zone_of =
        |id: &Value| rows(&status, "nodes").into_iter().find(|node| node["id"] == *id).unwrap()["zone"].as_str().unwrap().to_owned();
    let data = rows(&status, "groups").into_iter().find(|row| row["name"] == "pydiods1").unwrap();
    let voters = data["voters"].as_array().unwrap().clone();
    let zones: BTreeSet<String> = voters.iter().map(zone_of).collect();
    assert_eq!((voters.len(), zones.len()), (3, 3), "a voter in each zone: {data}");
    let outside: Vec<usize> = (0..5).filter(|place| !voters.contains(&cluster.file.nodes[*place].id.into())).collect();
    assert_eq!(outside.len(), 2);
    let mut oracle = Oracle::default();
    for number in 0..16 {
        let client = cluster.client(outside[number % 2]);
        assert_eq!(oracle.put_next(&client, "/common-files").await, Outcome::Acknowledged, "through a node that is no member");
    }
    let large = random_bytes(3, 70 << 20);
    assert_eq!(cluster.client(outside[0]).put("/common-files/large.bin", large.clone()).await, Outcome::Acknowledged);
    assert_eq!(cluster.client(outside[1]).get("/common-files/large.bin").await.unwrap(), Some(large));
    for client in cluster.clients() {
        oracle.check(&client).await;
    }
    // A whole zone may go: of five nodes in three zones two at most.
    let of_zone: Vec<usize> = (0..5)
        .filter(|place| zone_of(&cluster.file.nodes[*place].id.into()) == zone_of(&cluster.file.nodes[outside[0]].id.into()))
        .collect();
    cluster.kill_nodes(&of_zone);
    let alive = (0..5).find(|place| !of_zone.contains(place)).unwrap();
    let client = cluster.client(alive);
    wait_for("a write without a zone", LIMIT, async || match oracle.put_next(&client, "/common-files").await {
        Outcome::Acknowledged => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let answer = client.open("/healthz").await.unwrap();
    assert_eq!(answer.0, StatusCode::OK);
    for place in of_zone {
        cluster.start_again(place).await;
    }
    cluster.wait_repaired(alive, LIMIT).await;
    for client in cluster.clients() {
        oracle.check(&client).await;
    }
}
