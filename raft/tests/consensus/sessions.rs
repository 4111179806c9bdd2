//! A session that the group closed under a live node: its next command is *unknown*, never retried by us, and the one after works.

use std::time::Duration;

use skep_placement::ids::NodeId;
use skep_raft::errors::ProposeError;
use skep_raft::wire::meta::v1::{CloseSessions, Command, command};
use tokio::time::Instant;

use super::harness::{Cluster, DATA, Settings, has_folder, later, make_folder, until};

/// Sessions are closed that were not used for so long.
const UNUSED_SECONDS: u64 = 1;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_closed_under_a_live_node_makes_one_command_unknown() {
    let cluster = Cluster::grown(3, Settings::default()).await;
    let leader = cluster.leader(DATA).await;
    let mut followers = cluster.nodes.keys().copied().filter(|id| *id != leader);
    let (idle, closing) = (followers.next().unwrap(), followers.next().unwrap());
    let node = |id: NodeId| cluster.node(id.0);
    make_folder(node(idle), "before", 1, later()).await.expect("its session is open");
    let used = Instant::now();
    until("the session was not used for a while", || async { used.elapsed() > Duration::from_millis(1_500) }).await;
    let close = CloseSessions { unused_seconds: UNUSED_SECONDS };
    let close = Command { what: Some(command::What::CloseSessions(close)), ..Command::default() };
    let closed = node(closing).metadata.propose(DATA, close, later()).await.expect("any node may propose it");
    assert!(closed.done.count >= 1, "a session is closed: {closed:?}");
    let unknown = make_folder(node(idle), "unknown", 2, later()).await;
    assert!(matches!(unknown, Err(ProposeError::Unknown { .. })), "who hears of it cannot know: {unknown:?}");
    make_folder(node(idle), "after", 3, later()).await.expect("the next one opens another session");
    assert!(has_folder(node(closing), "after", later()).await.unwrap(), "it is there");
    assert!(!has_folder(node(closing), "unknown", later()).await.unwrap(), "nobody retried the unknown one");
    cluster.close().await;
}
