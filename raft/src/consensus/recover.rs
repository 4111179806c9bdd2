//! `skep recover`: looks what is left of a group, and has it go on from one replica. Any node can do this for any group.
//!
//! A datasource's group is recovered by a command of the system group, which compares the generation and names the new placement; its node then makes it
//! ([`super::groups`]). The system group, which cannot speak for itself, is recovered by an order to the chosen node ([`super::system_placement`]).
//! Whatever ends in between, the second run finds either the old generation, and does it again, or the new one, and has nothing to do.
//!
//! What this cannot do: reach who cannot be reached. Members that were given up while they live may acknowledge commands among themselves until they hear of
//! the recovery; so the operator must be sure that they are down.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::join_all;
use skep_placement::ids::{Generation, GroupId, NodeId, RaftId};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::context::Context;
use super::directory::Directory;
use super::reconciler::status_of;
use super::system_placement::Order;
use super::{limits, survey};
use crate::format::raft_types::encode_log_id;
use crate::recovery::{Choice, Position, RecoverError, Recovered, Replica, Survey, SurveyedNode};
use crate::types::LogId;
use crate::wire::meta::v1::{ClusterCommand, Command, NodeState, Outcome, RecoverGroup, cluster_command, command, outcome};
use crate::wire::raft::v1::metadata_client::MetadataClient;
use crate::wire::raft::v1::{RecoverSystemRequest, SurveyRequest, SurveyedReplica};

impl Context {
    /// Asks every node what it has of a group.
    pub(crate) async fn survey_group(self: &Arc<Self>, group: GroupId) -> Survey {
        self.survey_by(&self.directory(), group).await
    }

    async fn survey_by(self: &Arc<Self>, directory: &Directory, group: GroupId) -> Survey {
        let mut nodes: BTreeSet<NodeId> = BTreeSet::from([self.options.node]);
        nodes.extend(directory.nodes.iter().filter(|(_, node)| node.state != NodeState::Removed).map(|(id, _)| *id));
        let asked = nodes.into_iter().map(|node| async move {
            match self.survey_node(node, group).await {
                Ok(replicas) => SurveyedNode { node: node.0, unreachable: None, replicas },
                Err(why) => SurveyedNode { node: node.0, unreachable: Some(why), replicas: Vec::new() },
            }
        });
        let found = join_all(asked).await;
        // Of the system group the word of its own replicas counts.
        let newest = found.iter().flat_map(|node| &node.replicas).map(|replica| replica.generation).max().unwrap_or(0);
        let recorded = directory.groups.get(&group);
        let generation = Generation(newest.max(recorded.map_or(0, |entry| entry.generation.0)));
        let begun = recorded.and_then(|entry| entry.recovery).filter(|_| group != GroupId::SYSTEM);
        Survey::of(group, generation, found, begun.map(|recovery| [recovery.from, recovery.to]))
    }

    async fn survey_node(self: &Arc<Self>, node: NodeId, group: GroupId) -> Result<Vec<Replica>, String> {
        let found = if node == self.options.node {
            survey::survey(self, group).await.map_err(|error| error.to_string())?
        } else {
            self.survey_there(node, group).await?
        };
        found.iter().map(|replica| Replica::read(replica).map_err(|error| error.to_string())).collect()
    }

    async fn survey_there(&self, node: NodeId, group: GroupId) -> Result<Vec<SurveyedReplica>, String> {
        let channel = self.peers.channel(node).map_err(|error| error.to_string())?;
        let request = SurveyRequest { envelope: Some(self.envelope(group, RaftId(0), RaftId(0))) };
        let reply = tokio::time::timeout(limits::STATUS_DEADLINE, MetadataClient::new(channel).survey(request)).await;
        match reply {
            Ok(Ok(reply)) => Ok(reply.into_inner().replicas),
            Ok(Err(status)) => Err(status.message().to_owned()),
            Err(_elapsed) => Err(format!("no answer within {:?}", limits::STATUS_DEADLINE)),
        }
    }

    /// Has a group go on from the replica that was chosen, if everything is still as it was when it was.
    pub(crate) async fn recover_group(self: &Arc<Self>, group: GroupId, choice: Choice) -> Result<Recovered, RecoverError> {
        let directory = self.directory_for(group).await?;
        let now = self.survey_by(&directory, group).await;
        if let Some(why) = now.refusal() {
            return Err(RecoverError::Refused(why));
        }
        // A leader without a quorum may still append to its own log.
        let is_still = |found: Choice| found.node == choice.node && found.raft_id == choice.raft_id && found.last >= choice.last;
        if !now.choice.is_some_and(is_still) {
            return Err(RecoverError::Changed);
        }
        let node = NodeId(choice.node);
        let raft_id = if group == GroupId::SYSTEM {
            self.recover_system(choice).await?
        } else {
            self.recover_datasource(group, &directory, choice).await?
        };
        self.wait_for_leader(group, node, raft_id).await?;
        if group == GroupId::SYSTEM {
            self.wait_for_adoption(&now, raft_id).await;
        }
        Ok(Recovered { node, raft_id })
    }

    /// The map to decide by: for a datasource's group as the system group has it now, which must be well.
    async fn directory_for(self: &Arc<Self>, group: GroupId) -> Result<Arc<Directory>, RecoverError> {
        if group == GroupId::SYSTEM {
            return Ok(self.directory());
        }
        let view = self.system(Instant::now() + limits::DEFAULT_DEADLINE).await;
        let view = view.map_err(|error| RecoverError::Refused(format!("the system group must be well first: {error}")))?;
        let directory = Directory::read(&view).map_err(|error| RecoverError::Failed(error.to_string()))?;
        if !directory.groups.contains_key(&group) {
            return Err(RecoverError::Refused(format!("there is no group {group}")));
        }
        Ok(Arc::new(directory))
    }

    async fn recover_datasource(self: &Arc<Self>, group: GroupId, directory: &Directory, choice: Choice) -> Result<RaftId, RecoverError> {
        let generation = directory.groups.get(&group).map_or(0, |entry| entry.generation.0);
        let recover = RecoverGroup { group: group.0, generation, node: choice.node, raft_id: choice.raft_id };
        let cluster = ClusterCommand { what: Some(cluster_command::What::RecoverGroup(recover)) };
        let command = Command { what: Some(command::What::Cluster(cluster)), ..Command::default() };
        let deadline = Instant::now() + limits::CHANGE_DEADLINE;
        let outcome = self.propose(GroupId::SYSTEM, command, deadline).await.map_err(|error| RecoverError::Failed(error.to_string()))?;
        match outcome {
            Outcome { what: Some(outcome::What::Done(done)), .. } => Ok(RaftId(done.number)),
            Outcome { what: Some(outcome::What::Rejection(_)), .. } => Err(RecoverError::Changed),
            Outcome { what, .. } => Err(RecoverError::Failed(format!("the outcome {what:?} does not fit the command"))),
        }
    }

    async fn recover_system(self: &Arc<Self>, choice: Choice) -> Result<RaftId, RecoverError> {
        let from = RaftId(choice.raft_id);
        if NodeId(choice.node) == self.options.node {
            return self.go_on_here(from, Some(choice.last)).await.map_err(RecoverError::Failed);
        }
        let channel = self.peers.channel(NodeId(choice.node)).map_err(|error| RecoverError::Failed(error.to_string()))?;
        let request = RecoverSystemRequest {
            envelope: Some(self.envelope(GroupId::SYSTEM, RaftId(0), RaftId(0))),
            raft_id: from.0,
            last_log_id: encode_log_id(Some(&LogId::from(choice.last))),
        };
        let asked = tokio::time::timeout(limits::RECOVERY_DEADLINE, MetadataClient::new(channel).recover_system(request)).await;
        match asked {
            Ok(Ok(reply)) => match reply.into_inner() {
                reply if reply.raft_id != 0 => Ok(RaftId(reply.raft_id)),
                reply => Err(RecoverError::Failed(reply.detail)),
            },
            Ok(Err(status)) => Err(RecoverError::Failed(status.message().to_owned())),
            Err(_elapsed) => Err(RecoverError::Failed(format!("node {} is still at it", choice.node))),
        }
    }

    /// Has the replica of the system group here go on alone.
    ///
    /// # Cancel safety
    /// Dropped, it is done all the same.
    pub(crate) async fn go_on_here(&self, from: RaftId, last: Option<Position>) -> Result<RaftId, String> {
        let (answer, done) = oneshot::channel();
        let order = Order::GoOn { from, last, answer };
        self.orders.try_send(order).map_err(|_full_or_closed| "the node is busy with this already, or stops".to_owned())?;
        done.await.unwrap_or_else(|_dropped| Err("the node stops".to_owned()))
    }

    async fn wait_for_leader(self: &Arc<Self>, group: GroupId, node: NodeId, raft_id: RaftId) -> Result<(), RecoverError> {
        let deadline = Instant::now() + limits::ADOPTION_DEADLINE;
        while Instant::now() < deadline {
            let status = status_of(self, node, group).await;
            if status.is_some_and(|status| status.raft_id == raft_id.0 && status.state == "leader") {
                return Ok(());
            }
            tokio::time::sleep(limits::RETRY_PAUSE).await;
        }
        Err(RecoverError::Failed(format!("node {node} does not lead group {group} as {raft_id} yet; its log says why")))
    }

    /// Waits a while until those who answered refuse the older generation. Who does not come so far is told again and again by the group's leader.
    async fn wait_for_adoption(self: &Arc<Self>, survey: &Survey, leader: RaftId) {
        let deadline = Instant::now() + limits::ADOPTION_DEADLINE;
        let mut left: BTreeSet<NodeId> =
            survey.nodes.iter().filter(|node| node.unreachable.is_none()).map(|node| NodeId(node.node)).collect();
        while !left.is_empty() && Instant::now() < deadline {
            for node in left.clone() {
                // Ids given out by the recovered group are higher than its leader's, and no older one is.
                if status_of(self, node, GroupId::SYSTEM).await.is_some_and(|status| status.raft_id >= leader.0) {
                    left.remove(&node);
                }
            }
            tokio::time::sleep(limits::RETRY_PAUSE).await;
        }
        if !left.is_empty() {
            tracing::warn!(?left, "these nodes have not taken the recovered system group over yet");
        }
    }
}
