//! Groups that have lost their quorum for ever go on from what is left.

use std::collections::BTreeSet;
use std::time::Duration;

use skep_placement::ids::{GroupId, NodeId};
use skep_raft::consensus::seed;
use skep_raft::options::Peers as _;
use skep_raft::recovery::{Choice, RecoverError, Survey};
use skep_raft::wire::raft::v1::raft_client::RaftClient;
use skep_raft::wire::raft::v1::{Envelope, VoteRequest};
use tokio::sync::{Mutex, MutexGuard};

use super::harness::{Cluster, DATA, From, Node, Settings, has_folder, later, make_folder, until};

/// Failpoints are the whole process's: one of these tests runs at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// Ends all failpoints when the test ends, however it does.
struct Alone(#[expect(dead_code, reason = "held to the end")] MutexGuard<'static, ()>);

impl Alone {
    async fn begin() -> Self {
        Self(ONE_AT_A_TIME.lock().await)
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        for name in skep_raft::consensus::RECOVERY_FAILPOINTS {
            fail::remove(name);
        }
    }
}

async fn begin(count: u64) -> (Alone, Cluster) {
    (Alone::begin().await, Cluster::grown(count, Settings::default()).await)
}

impl Cluster {
    /// Waits until all replicas of a group have all entries.
    async fn even(&self, group: GroupId) {
        until("all replicas have everything", || async {
            let mut ends = BTreeSet::new();
            for node in self.nodes.values() {
                if let Some(replica) = node.replica(group).await {
                    ends.insert((replica.last_log_index, replica.applied_index));
                }
            }
            ends.len() == 1 && ends.iter().all(|(last, applied)| last == applied)
        })
        .await;
    }

    async fn kill_all(&mut self, ids: impl IntoIterator<Item = NodeId>) -> Vec<Node> {
        let mut killed = Vec::new();
        for id in ids {
            killed.push(self.kill(id).await);
        }
        killed
    }

    /// The nodes with a voting replica of the datasource's group.
    async fn voters(&self, group: GroupId) -> BTreeSet<NodeId> {
        let mut found = BTreeSet::new();
        for node in self.nodes.values() {
            if node.replica(group).await.is_some_and(|replica| replica.voters.contains(&replica.raft_id)) {
                found.insert(node.id);
            }
        }
        found
    }

    /// Waits until exactly these vote, and all see it so.
    async fn settle_on(&self, group: GroupId, count: usize) {
        until("the group grows again", || async {
            let mut voting = 0;
            for node in self.nodes.values() {
                let Some(replica) = node.replica(group).await else { continue };
                if replica.voters.len() != count || replica.joint || replica.unsettled || replica.leader == 0 {
                    return false;
                }
                voting += usize::from(replica.voters.contains(&replica.raft_id));
            }
            voting == count
        })
        .await;
    }
}

/// What a node finds of a group that may be recovered.
async fn lost(node: &Node, group: GroupId) -> (Survey, Choice) {
    let survey = node.metadata.survey(group).await;
    assert_eq!(survey.refusal(), None, "it may be recovered: {survey:#?}");
    let choice = survey.choice.expect("somebody is left");
    (survey, choice)
}

async fn recover(node: &Node, group: GroupId) {
    let (_, choice) = lost(node, group).await;
    let recovered = node.metadata.recover(group, choice).await.expect("it is recovered");
    assert_eq!(recovered.node.0, choice.node, "where it was chosen");
    assert_ne!(recovered.raft_id.0, choice.raft_id, "under a new id");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_datasource_goes_on_from_the_only_replica_left() {
    let (_alone, mut cluster) = begin(5).await;
    for number in 0..50 {
        make_folder(cluster.node(1), &format!("f{number}"), number, later()).await.unwrap();
    }
    cluster.even(DATA).await;
    let voters: Vec<NodeId> = cluster.voters(DATA).await.into_iter().collect();
    let survivor = voters[0];
    let old = cluster.node(survivor.0).replica(DATA).await.unwrap();
    let survey = cluster.node(1).metadata.survey(DATA).await;
    assert!(survey.refusal().unwrap().contains("has a quorum"), "a group that is well is not recovered: {survey:#?}");
    let refused = cluster.node(1).metadata.recover(DATA, survey.choice.unwrap()).await;
    assert!(matches!(refused, Err(RecoverError::Refused(_))), "{refused:?}");
    let mut dead = cluster.kill_all(voters[1..].iter().copied()).await;
    let asked = cluster.nodes.keys().copied().find(|id| *id != survivor).unwrap();
    let (survey, choice) = lost(cluster.node(asked.0), DATA).await;
    assert_eq!((choice.node, choice.raft_id), (survivor.0, old.raft_id), "the only one that is left");
    assert_eq!(survey.missing, voters[1..].iter().map(|node| node.0).collect::<Vec<_>>(), "what only they have may be lost");
    recover(cluster.node(asked.0), DATA).await;
    for number in [0, 49] {
        assert!(has_folder(cluster.node(asked.0), &format!("f{number}"), later()).await.unwrap(), "what the survivor had is there");
    }
    make_folder(cluster.node(asked.0), "after", 100, later()).await.expect("and it goes on");
    cluster.settle_on(DATA, 3).await;
    let now = cluster.node(survivor.0).replica(DATA).await.unwrap();
    assert!(now.generation > old.generation, "of a higher generation");
    // An old member that comes back is refused and has no place any more.
    let back = dead.remove(0);
    let id = back.id;
    let old_id = old.nodes.iter().find(|member| member.node == id.0).unwrap().raft_id;
    cluster.restart(back).await;
    let channel = From::new(id, cluster.world.ports.clone()).channel(survivor).unwrap();
    let envelope = Envelope {
        cluster: super::harness::CLUSTER.0.to_vec().into(),
        group: DATA.0,
        generation: old.generation,
        from: old_id,
        to: now.raft_id,
        from_node: id.0,
        from_boot: 2,
    };
    let request = VoteRequest { envelope: Some(envelope), ..VoteRequest::default() };
    let status = RaftClient::new(channel).vote(request).await.unwrap_err();
    assert!(status.message().contains("another generation"), "{status}");
    until("the old replica is gone", || async {
        let replica = cluster.node(id.0).replica(DATA).await;
        replica.is_none_or(|replica| replica.raft_id != old_id)
            && !cluster
                .node(id.0)
                .metadata
                .survey(DATA)
                .await
                .nodes
                .iter()
                .any(|node| node.replicas.iter().any(|had| had.raft_id == old_id))
    })
    .await;
    assert!(has_folder(cluster.node(id.0), "after", later()).await.unwrap(), "it reads what the group wrote without it");
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_goes_on_from_its_only_node() {
    let (_alone, mut cluster) = begin(3).await;
    for number in 0..50 {
        make_folder(cluster.node(1), &format!("f{number}"), number, later()).await.unwrap();
    }
    // The second datasource's group too: with its only voter on node 1 it would keep its quorum.
    cluster.settle_on(GroupId(2), 3).await;
    for group in [GroupId::SYSTEM, DATA, GroupId(2)] {
        cluster.even(group).await;
    }
    let refused = cluster.node(2).metadata.survey(GroupId::SYSTEM).await.refusal();
    assert!(refused.unwrap().contains("has a quorum"), "a cluster that is well");
    let mut dead = cluster.kill_all([NodeId(2), NodeId(3)]).await;
    let data = lost(cluster.node(1), DATA).await.1;
    let refused = cluster.node(1).metadata.recover(DATA, data).await;
    assert!(matches!(&refused, Err(RecoverError::Refused(why)) if why.contains("system group")), "the system group first: {refused:?}");
    for group in [GroupId::SYSTEM, DATA, GroupId(2)] {
        recover(cluster.node(1), group).await;
        let again = cluster.node(1).metadata.survey(group).await;
        assert!(again.refusal().unwrap().contains("has a quorum"), "a second time there is nothing to do: {again:#?}");
    }
    assert!(has_folder(cluster.node(1), "f49", later()).await.unwrap(), "what was acknowledged is there");
    make_folder(cluster.node(1), "after", 100, later()).await.expect("and it goes on");
    // Of what was made nothing is lost by a restart.
    let alone = cluster.kill(NodeId(1)).await;
    cluster.restart(alone).await;
    assert!(has_folder(cluster.node(1), "after", later()).await.unwrap(), "also after a restart");
    // An old member comes back with its older generation and gets a new place.
    let old = dead.remove(0);
    cluster.restart(old).await;
    cluster.settle_on(GroupId::SYSTEM, 2).await;
    cluster.settle_on(DATA, 2).await;
    let place = cluster.node(2).replica(GroupId::SYSTEM).await.unwrap();
    let system = cluster.node(1).metadata.survey(GroupId::SYSTEM).await;
    assert_eq!(place.generation, system.generation, "it is of the new generation");
    assert!(place.raft_id > 3, "under a new id: {}", place.raft_id);
    assert!(has_folder(cluster.node(2), "after", later()).await.unwrap(), "it has what was written without it");
    until("nothing is left of the older generation", || async {
        cluster.node(1).metadata.survey(GroupId::SYSTEM).await.nodes.iter().all(|node| node.replicas.len() <= 1)
    })
    .await;
    let again = cluster.kill(NodeId(2)).await;
    cluster.restart(again).await;
    make_folder(cluster.node(2), "both", 101, later()).await.expect("it stays so after a restart");
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_survivors_the_one_that_has_more_goes_on() {
    let (_alone, mut cluster) = begin(5).await;
    cluster.even(GroupId::SYSTEM).await;
    let late = cluster.kill(NodeId(1)).await;
    let id = cluster.node(2).metadata.propose(GroupId::SYSTEM, token(7), later()).await.unwrap().index;
    until("node 5 has it", || async { cluster.node(5).replica(GroupId::SYSTEM).await.unwrap().applied_index >= id }).await;
    drop(cluster.kill_all([2, 3, 4].map(NodeId)).await);
    cluster.restart(late).await;
    let asked = cluster.node(1);
    let (survey, choice) = lost(asked, GroupId::SYSTEM).await;
    assert_eq!(choice.node, 5, "it has an entry more: {survey:#?}");
    recover(asked, GroupId::SYSTEM).await;
    let view = asked.metadata.system(later()).await.expect("the cluster is well");
    assert_eq!(view.join_token(&[7; 32]).unwrap().map(|token| token.used_by), Some(0), "what only one survivor had is there");
    cluster.settle_on(GroupId::SYSTEM, 2).await;
    let status = cluster.node(1).replica(GroupId::SYSTEM).await.unwrap();
    assert_eq!(status.generation, cluster.node(5).replica(GroupId::SYSTEM).await.unwrap().generation, "both are of one generation");
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recovery_that_ends_at_any_step_is_finished_by_the_next_run() {
    if !fail::has_failpoints() {
        return;
    }
    for point in seed::FAILPOINTS {
        let (_alone, mut cluster) = begin(3).await;
        make_folder(cluster.node(1), "before", 1, later()).await.unwrap();
        cluster.even(DATA).await;
        cluster.even(GroupId::SYSTEM).await;
        drop(cluster.kill_all([NodeId(2), NodeId(3)]).await);
        for group in [GroupId::SYSTEM, DATA] {
            fail::cfg(*point, "return").unwrap();
            let (_, choice) = lost(cluster.node(1), group).await;
            let cut = tokio::time::timeout(Duration::from_secs(3), cluster.node(1).metadata.recover(group, choice)).await;
            // A datasource's placement that has voted is started by the next look at what is placed here.
            let goes_on = group == DATA && *point == "recovery-before-start";
            assert!(goes_on || !matches!(cut, Ok(Ok(_))), "{point}: it does not come so far: {cut:?}");
            let node = cluster.kill(NodeId(1)).await;
            fail::remove(point);
            cluster.restart(node).await;
            // Nothing was done, or it goes on by itself.
            if cluster.node(1).metadata.survey(group).await.refusal().is_none() {
                recover(cluster.node(1), group).await;
            }
            until("the group is well", || async { cluster.node(1).metadata.is_leader(group).await }).await;
        }
        assert!(has_folder(cluster.node(1), "before", later()).await.unwrap(), "{point}: what was acknowledged is there");
        make_folder(cluster.node(1), "after", 2, later()).await.expect("and it goes on");
        cluster.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_told_of_a_new_generation_remembers_it() {
    if !fail::has_failpoints() {
        return;
    }
    let (_alone, mut cluster) = begin(3).await;
    cluster.even(GroupId::SYSTEM).await;
    let mut dead = cluster.kill_all([NodeId(2), NodeId(3)]).await;
    recover(cluster.node(1), GroupId::SYSTEM).await;
    let generation = cluster.node(1).metadata.survey(GroupId::SYSTEM).await.generation;
    fail::cfg("adoption-noted", "return").unwrap();
    let told = dead.remove(0);
    cluster.restart(told).await;
    let noted = cluster.node(2).folder().join("system-placement");
    until("node 2 has noted it", || async { noted.exists() }).await;
    let cut = cluster.kill(NodeId(2)).await;
    drop(cluster.kill(NodeId(1)).await);
    fail::remove("adoption-noted");
    cluster.restart(cut).await;
    let status = cluster.node(2).replica(GroupId::SYSTEM).await.unwrap();
    assert_eq!((status.generation, status.state.as_str()), (generation, "learner"), "the older generation is over, and it has no vote");
    assert_eq!(status.last_log_index, 0, "it begins empty");
    cluster.close().await;
}

fn token(byte: u8) -> skep_raft::wire::meta::v1::Command {
    let put = skep_raft::wire::meta::v1::PutJoinToken { hash: vec![byte; 32].into(), lifetime_seconds: 600 };
    super::harness::cluster(skep_raft::wire::meta::v1::cluster_command::What::PutJoinToken(put))
}
