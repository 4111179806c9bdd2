//! Clocks that are wrong: who leads by them, and that stamps only grow.

use std::time::Duration;

use skep_placement::ids::{GroupId, NodeId};

use super::harness::{Cluster, DATA, Settings, later, make_folder, until};

/// Whether the node has found out that its clock is about so far ahead.
fn knows(cluster: &Cluster, node: NodeId, ahead: Duration) -> bool {
    let found = cluster.node(node.0).metadata.clock_offset_micros().unwrap_or(0);
    let ahead = i64::try_from(ahead.as_micros()).expect("a test's clock is not that wrong");
    (found - ahead).abs() < 500_000
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_with_a_wrong_clock_hands_over() {
    let cluster = Cluster::grown(3, Settings::default()).await;
    let wrong = cluster.leader(DATA).await;
    cluster.world.clocks.set(wrong, Duration::from_secs(5));
    let before = make_folder(cluster.node(wrong.0), "before", 1, later()).await.unwrap();
    for group in [GroupId::SYSTEM, DATA] {
        until("a node with a right clock leads", || async { cluster.leader(group).await != wrong }).await;
    }
    let heir = cluster.leader(DATA).await;
    let mut last = before.stamp;
    for number in 2..40 {
        let next = make_folder(cluster.node(heir.0), &format!("f{number}"), number, later()).await.unwrap();
        assert!(next.stamp > last, "stamps grow though the clock goes back by seconds");
        last = next.stamp;
    }
    assert_eq!(cluster.leader(DATA).await, heir, "leadership does not go round");
    let view = cluster.node(heir.0).metadata.clock_offset_micros_of(wrong).unwrap();
    assert!((4_000_000..6_000_000).contains(&view), "others see how far it is off: {view}");
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_within_two_seconds_stays() {
    let cluster = Cluster::grown(3, Settings::default()).await;
    let leader = cluster.leader(DATA).await;
    let term = cluster.node(leader.0).replica(DATA).await.unwrap().term;
    let off = Duration::from_millis(1_500);
    cluster.world.clocks.set(leader, off);
    until("it knows that it is off", || async { knows(&cluster, leader, off) }).await;
    for number in 0..40 {
        make_folder(cluster.node(1), &format!("f{number}"), number, later()).await.unwrap();
    }
    let replica = cluster.node(leader.0).replica(DATA).await.unwrap();
    assert_eq!((replica.state.as_str(), replica.term), ("leader", term), "it leads in the same term");
    assert!((1_000..2_000).contains(&replica.leader_clock_skew_ms), "and says how far it is off: {}", replica.leader_clock_skew_ms);
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_nodes_nobody_hands_over() {
    let cluster = Cluster::grown(2, Settings::default()).await;
    let leader = cluster.leader(DATA).await;
    let term = cluster.node(leader.0).replica(DATA).await.unwrap().term;
    let off = Duration::from_secs(12);
    cluster.world.clocks.set(leader, off);
    until("it knows that it is off", || async { knows(&cluster, leader, off) }).await;
    for number in 0..40 {
        make_folder(cluster.node(leader.0), &format!("f{number}"), number, later()).await.unwrap();
    }
    let replica = cluster.node(leader.0).replica(DATA).await.unwrap();
    assert_eq!((replica.state.as_str(), replica.term), ("leader", term), "nobody knows which of the two is right");
    cluster.close().await;
}
