//! Data folders that are nearly full: who leads by them, and what goes on.

use bytes::Bytes;
use skep_placement::ids::GroupId;
use skep_raft::errors::ProposeError;
use skep_raft::wire::meta::v1::{Command, DeleteEntry, EntryPath, TreeCommand, command, tree_command};

use super::harness::{Cluster, DATA, Settings, has_folder, later, make_folder, soon, until};

fn delete(name: &str) -> Command {
    let path = EntryPath { base: Bytes::from(vec![0; 16]), names: vec![name.to_owned()] };
    let delete = DeleteEntry { path: Some(path), permanently: true, ..DeleteEntry::default() };
    let tree = TreeCommand { what: Some(tree_command::What::DeleteEntry(delete)) };
    Command { what: Some(command::What::Tree(tree)), ..Command::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_without_room_hands_over() {
    let cluster = Cluster::grown(3, Settings::default()).await;
    let full = cluster.leader(DATA).await;
    cluster.world.spaces.fill(full);
    for group in [GroupId::SYSTEM, DATA] {
        until("a node with room leads", || async { cluster.leader(group).await != full }).await;
    }
    make_folder(cluster.node(full.0), "after", 1, later()).await.expect("writing goes on, also through the full node");
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nobody_has_room_only_deleting_goes_on() {
    let cluster = Cluster::grown(3, Settings::default()).await;
    make_folder(cluster.node(1), "old", 1, later()).await.unwrap();
    for node in cluster.nodes.values() {
        cluster.world.spaces.fill(node.id);
    }
    let mut number = 2;
    until("writing is refused", || {
        number += 1;
        let (node, name) = (cluster.node(1), format!("f{number}"));
        async move { make_folder(node, &name, number, soon()).await == Err(ProposeError::NoSpace) }
    })
    .await;
    cluster.node(2).metadata.propose(DATA, delete("old"), later()).await.expect("deleting goes on");
    assert!(!has_folder(cluster.node(3), "old", later()).await.unwrap(), "and is done");
    cluster.close().await;
}
