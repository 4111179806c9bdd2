//! Consensus between nodes in one process, over loopback.

#[path = "consensus/clocks.rs"]
mod clocks;
#[path = "consensus/feed.rs"]
mod feed;
#[path = "consensus/harness.rs"]
mod harness;
#[path = "consensus/recovery.rs"]
mod recovery;
#[path = "state_machine/replayed.rs"]
mod replayed;
#[path = "consensus/sessions.rs"]
mod sessions;
#[path = "consensus/space.rs"]
mod space;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use harness::{Cluster, DATA, Settings, create_folder, has_folder, later, make_folder, soon, until};
use skep_placement::ids::{GroupId, NodeId};
use skep_raft::errors::{ProposeError, QueryError};
use skep_raft::options::Peers as _;
use skep_raft::wire::meta::v1::{Proposal, outcome};
use skep_raft::wire::raft::v1::metadata_client::MetadataClient;
use skep_raft::wire::raft::v1::raft_client::RaftClient;
use skep_raft::wire::raft::v1::{AppendRequest, Envelope, ProposeRequest, Status};
use tokio::time::Instant;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_begins_works_and_starts_again() {
    let mut cluster = Cluster::begin(Settings::default()).await;
    make_folder(cluster.node(1), "before", 1, later()).await.expect("one node is a quorum");
    let refused = cluster.node(1).metadata.init_cluster(harness::init()).await;
    assert!(matches!(refused, Err(ProposeError::Rejected(_))), "a cluster begins once: {refused:?}");
    let node = cluster.kill(NodeId(1)).await;
    cluster.restart(node).await;
    let node = cluster.node(1);
    assert!(has_folder(node, "before", later()).await.unwrap(), "what was acknowledged is there");
    assert!(!has_folder(node, "after", later()).await.unwrap(), "what was not is not");
    make_folder(node, "after", 2, later()).await.expect("it goes on");
    let view = node.metadata.system(later()).await.unwrap();
    assert_eq!(view.nodes().unwrap().len(), 1, "the cluster map is there");
    assert_eq!(node.metadata.replicas().await.len(), 3, "the system group and two datasources");
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_lose_a_leader_and_no_command() {
    let mut cluster = Cluster::grown(3, Settings::default()).await;
    let leader = cluster.leader(DATA).await;
    let other = cluster.nodes.keys().copied().find(|id| *id != leader).unwrap();
    let metadata = cluster.node(other.0).metadata.clone();
    // Each command would be refused if it were applied twice; whatever was under way when the leader goes is tried again.
    let proposing = tokio::spawn(async move {
        let one = |number: u32| {
            let metadata = metadata.clone();
            async move { metadata.propose(DATA, create_folder(&format!("f{number}"), u128::from(number)), later()).await }
        };
        let mut results = Vec::new();
        for round in 0..20 {
            results.extend(join_all((0..20).map(|place| one(round * 20 + place))).await);
        }
        results
    });
    until("the first commands are done", || async { has_folder(cluster.node(other.0), "f20", soon()).await.unwrap_or(false) }).await;
    let dead = cluster.kill(leader).await;
    for (number, result) in proposing.await.unwrap().into_iter().enumerate() {
        result.unwrap_or_else(|error| panic!("command {number}: {error}"));
    }
    for node in cluster.nodes.values() {
        assert!(has_folder(node, "f399", later()).await.unwrap(), "node {} reads what was acknowledged", node.id);
    }
    cluster.restart(dead).await;
    let back = cluster.node(leader.0);
    assert!(has_folder(back, "f399", later()).await.unwrap(), "also the node that was away");
    make_folder(back, "back", 1000, later()).await.expect("and it proposes again");
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_sent_twice_is_done_once() {
    let cluster = Cluster::grown(3, Settings::default()).await;
    let leader = cluster.leader(DATA).await;
    let other = cluster.nodes.keys().copied().find(|id| *id != leader).unwrap();
    let channel = cluster.peers(other).channel(leader).unwrap();
    let envelope = envelope(other, DATA);
    let open = skep_raft::wire::meta::v1::OpenSession { node: other.0, boot: 1 };
    let open = skep_raft::wire::meta::v1::Command {
        what: Some(skep_raft::wire::meta::v1::command::What::OpenSession(open)),
        ..skep_raft::wire::meta::v1::Command::default()
    };
    let send = |proposal: Proposal| {
        let mut client = MetadataClient::new(channel.clone());
        let request = ProposeRequest { envelope: Some(envelope.clone()), proposals: vec![proposal], timeout_ms: 4_000 };
        async move { client.propose(request).await.unwrap().into_inner().replies.remove(0) }
    };
    let opened = send(Proposal { session: 0, number: 0, lowest_unanswered: 0, command: Some(open) }).await;
    let Some(outcome::What::SessionOpened(opened)) = opened.outcome.unwrap().what else { panic!("no session") };
    let command = Proposal { session: opened.session, number: 1, lowest_unanswered: 1, command: Some(create_folder("twice", 2)) };
    let (one, two) = (send(command.clone()).await, send(command.clone()).await);
    assert_eq!(one.status(), Status::Ok);
    assert_eq!(one.outcome, two.outcome, "the same outcome");
    let later_command = Proposal { number: 2, lowest_unanswered: 2, command: Some(create_folder("next", 3)), ..command.clone() };
    assert_eq!(send(later_command).await.status(), Status::Ok);
    let late = send(command).await.outcome.unwrap().what;
    assert_eq!(late, Some(outcome::What::GivenUp(true)), "a late copy is refused");
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_a_replica_reads_and_writes() {
    let cluster = Cluster::grown(5, Settings::default()).await;
    let mut outside = Vec::new();
    for node in cluster.nodes.values() {
        if node.replica(DATA).await.is_none() {
            outside.push(node);
        }
    }
    assert_eq!(outside.len(), 2, "three of five have a replica");
    make_folder(outside[0], "here", 1, later()).await.expect("it is carried to the leader");
    assert!(has_folder(outside[1], "here", later()).await.unwrap(), "and read elsewhere");
    let missing = outside[0].metadata.propose(GroupId(99), create_folder("x", 9), later()).await;
    assert_eq!(missing, Err(ProposeError::NoSuchGroup(GroupId(99))), "a group that is not there");
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_joiner_gets_a_snapshot() {
    let settings = Settings { snapshot_commands: 50, kept_entries: 0, ..Settings::default() };
    let mut cluster = Cluster::begin(settings).await;
    for number in 0..120 {
        make_folder(cluster.node(1), &format!("f{number}"), number, later()).await.unwrap();
    }
    until("the log is purged behind a snapshot", || async {
        cluster.node(1).replica(DATA).await.is_some_and(|replica| replica.snapshot_index >= 50)
    })
    .await;
    let id = cluster.join().await;
    cluster.settle(2, 2).await;
    let joined = cluster.node(id.0);
    assert!(joined.replica(DATA).await.unwrap().snapshot_index >= 50, "it came by a snapshot");
    until("it has caught up", || async { joined.replica(DATA).await.unwrap().applied_index >= 120 }).await;
    for name in ["f0", "f119"] {
        assert!(has_folder(joined, name, later()).await.unwrap(), "{name} is there");
    }
    // Of what it got nothing is lost by a restart.
    let node = cluster.kill(id).await;
    cluster.restart(node).await;
    assert!(has_folder(cluster.node(id.0), "f119", later()).await.unwrap(), "after a restart too");
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_log_makes_idle_groups_let_go() {
    let segment = 64 * 1024;
    let mut cluster = Cluster::begin(Settings { log_segment_bytes: segment, ..Settings::default() }).await;
    // The system group and the second datasource hold the oldest segments and have nothing to do.
    for round in 0..60 {
        let one = |place: u32| {
            let (cluster, number) = (&cluster, round * 50 + place);
            async move {
                let name = format!("{number}-{}", "x".repeat(200));
                let limit = later();
                while let Err(error) = make_folder(cluster.node(1), &name, u128::from(number), later()).await {
                    assert_eq!(error, ProposeError::TooBusy, "only the log may be full");
                    assert!(Instant::now() < limit, "the log stays full");
                    tokio::task::yield_now().await;
                }
            }
        };
        join_all((0..50).map(one)).await;
    }
    until("the log has been purged", || async { cluster.node(1).log_bytes() < segment * 8 }).await;
    let node = cluster.kill(NodeId(1)).await;
    cluster.restart(node).await;
    let name = format!("2999-{}", "x".repeat(200));
    assert!(has_folder(cluster.node(1), &name, later()).await.unwrap(), "what was acknowledged is there");
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_errors_come_soon_and_say_so() {
    let mut cluster = Cluster::grown(3, Settings::default()).await;
    make_folder(cluster.node(1), "before", 1, later()).await.unwrap();
    for id in [2, 3] {
        drop(cluster.kill(NodeId(id)).await);
    }
    let alone = cluster.node(1);
    // However many are on their way when the others are gone.
    let many = (1_000..1_600).map(|number| async move { make_folder(alone, &format!("f{number}"), number, soon()).await });
    for result in join_all(many).await {
        assert!(matches!(result, Err(ProposeError::Unknown { .. } | ProposeError::Unavailable { .. })), "without a quorum: {result:?}");
    }
    let limit = Instant::now() + Duration::from_secs(60);
    for number in 10.. {
        let asked = Instant::now();
        let result = make_folder(alone, &format!("f{number}"), number, soon()).await;
        assert!(asked.elapsed() < Duration::from_secs(5), "an answer within five seconds");
        match result {
            // A leader that does not know yet that it is alone appends; nobody can say what becomes of that.
            Err(ProposeError::Unknown { .. }) => assert!(Instant::now() < limit, "it never learns that it is alone"),
            Err(ProposeError::Unavailable { .. }) => break,
            other => panic!("without a quorum: {other:?}"),
        }
    }
    let asked = Instant::now();
    let read = has_folder(alone, "before", soon()).await;
    assert!(matches!(read, Err(QueryError::Unavailable { .. })), "never an old answer: {read:?}");
    assert!(asked.elapsed() < Duration::from_secs(5), "an answer within five seconds");
    assert!(alone.metadata.system(soon()).await.is_err(), "neither of the system group");
    cluster.close().await;
}

/// A database that could not flush would lose what the log lets go of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_fails_in_the_background_ends_the_node() {
    let cluster = Cluster::begin(Settings::default()).await;
    make_folder(cluster.node(1), "before", 1, later()).await.unwrap();
    assert!(cluster.node(1).take_fatal().is_empty(), "nothing has failed yet");
    cluster.world.failed.store(true, std::sync::atomic::Ordering::Relaxed);
    let told = std::sync::Mutex::new(Vec::new());
    until("the node says that it cannot go on", || async {
        let mut told = told.lock().unwrap();
        told.extend(cluster.node(1).take_fatal());
        // The system group and two datasources, each once.
        told.len() == 3
    })
    .await;
    for sentence in told.into_inner().unwrap() {
        assert!(sentence.contains("failed in the background: 3 flushes have failed"), "{sentence}");
    }
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_voter_is_replaced() {
    let settings = Settings { silent_voter: Duration::from_secs(2), ..Settings::default() };
    let mut cluster = Cluster::grown(4, settings).await;
    let mut voting = Vec::new();
    for node in cluster.nodes.values() {
        if node.replica(DATA).await.is_some() {
            voting.push(node.id);
        }
    }
    let gone = *voting.last().unwrap();
    drop(cluster.kill(gone).await);
    let spare = cluster.nodes.keys().copied().find(|id| !voting.contains(id)).unwrap();
    until("the spare node votes", || async {
        let replica = cluster.node(spare.0).replica(DATA).await;
        replica.is_some_and(|replica| replica.voters.contains(&replica.raft_id) && replica.voters.len() == 3 && !replica.joint)
    })
    .await;
    make_folder(cluster.node(spare.0), "after", 1, later()).await.expect("the group goes on");
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draining_leader_hands_over() {
    let cluster = Cluster::grown(3, Settings::default()).await;
    let leader = cluster.leader(DATA).await;
    cluster.node(leader.0).metadata.drain().await;
    assert!(!cluster.node(leader.0).metadata.is_leader(DATA).await, "another leads");
    make_folder(cluster.node(leader.0), "after", 1, later()).await.expect("and takes commands");
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_with_a_wrong_envelope_is_refused() {
    let cluster = Cluster::grown(3, Settings::default()).await;
    let replica = cluster.node(1).replica(DATA).await.unwrap();
    let sender = cluster.node(2).replica(DATA).await.unwrap();
    let good = Envelope { from: sender.raft_id, to: replica.raft_id, ..envelope(NodeId(2), DATA) };
    let wrong = [
        Envelope { cluster: vec![1; 16].into(), ..good.clone() },
        Envelope { generation: good.generation + 1, ..good.clone() },
        Envelope { generation: 0, ..good.clone() },
        Envelope { to: good.to + 1, ..good.clone() },
        Envelope { from: 0, ..good.clone() },
        Envelope { from: replica.raft_id, ..good.clone() },
        Envelope { from_node: 3, ..good.clone() },
        Envelope { group: 99, ..good.clone() },
        Envelope { from_boot: 0, ..good.clone() },
    ];
    let channel = cluster.peers(NodeId(2)).channel(NodeId(1)).unwrap();
    let refused = |code| matches!(code, tonic::Code::PermissionDenied | tonic::Code::FailedPrecondition);
    for envelope in wrong {
        let request = AppendRequest { envelope: Some(envelope.clone()), ..AppendRequest::default() };
        let status = RaftClient::new(channel.clone()).append(request).await.unwrap_err();
        assert!(refused(status.code()), "{envelope:?}: {status}");
    }
    let request = AppendRequest { envelope: Some(good), ..AppendRequest::default() };
    let status = RaftClient::new(channel).append(request).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument, "a right envelope comes as far as its content: {status}");
    cluster.close().await;
}

fn envelope(from: NodeId, group: GroupId) -> Envelope {
    Envelope { cluster: harness::CLUSTER.0.to_vec().into(), group: group.0, generation: 1, from: 0, to: 0, from_node: from.0, from_boot: 1 }
}

impl Cluster {
    fn peers(&self, from: NodeId) -> harness::From {
        harness::From::new(from, Arc::clone(&self.world.ports))
    }
}
