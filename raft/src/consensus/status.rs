//! What a replica says of itself.

use openraft::async_runtime::watch::WatchReceiver;
use openraft::{Instant, ServerState};
use skep_placement::ids::NodeId;

use super::context::Context;
use super::replica::Replica;
use crate::types::LogId;
use crate::wire::raft::v1::{MemberLag, MemberNode, ReplicaStatus};

/// The status of a replica here.
pub(crate) fn of(context: &Context, replica: &Replica) -> ReplicaStatus {
    let metrics = replica.raft.metrics().borrow_watched().clone();
    let membership = metrics.membership_config.membership();
    let index = |id: Option<LogId>| id.map_or(0, |id| id.index);
    let last = metrics.last_log_index.unwrap_or(0);
    let leader = metrics.current_leader.unwrap_or(0);
    let node = |member: u64| membership.get_node(&member).map_or(NodeId(0), |node| node.node());
    let heard = |member: u64| metrics.heartbeat.as_ref().and_then(|heard| heard.get(&member).copied().flatten());
    let lags = metrics.replication.iter().flatten().map(|(member, matched)| {
        // A leader does not answer itself.
        let silent = if *member == replica.id.0 { Some(0) } else { heard(*member).map(|at| millis(at.elapsed())) };
        MemberLag {
            raft_id: *member,
            entries: last.saturating_sub(index(*matched)),
            heard: silent.is_some(),
            silent_ms: silent.unwrap_or(0),
        }
    });
    ReplicaStatus {
        group: replica.group.0,
        generation: context.generation(replica.group).unwrap_or_default().0,
        raft_id: replica.id.0,
        node: context.options.node.0,
        leader,
        leader_node: node(leader).0,
        term: metrics.current_term,
        last_log_index: last,
        applied_index: index(metrics.last_applied),
        snapshot_index: index(metrics.snapshot),
        state: state_name(metrics.state).to_owned(),
        voters: membership.voter_ids().collect(),
        learners: membership.learner_ids().collect(),
        joint: membership.get_joint_config().len() > 1,
        nodes: membership.nodes().map(|(member, node)| MemberNode { raft_id: *member, node: node.node_id }).collect(),
        lag: 0,
        leader_clock_skew_ms: context.clocks.offsets().own().map_or(0, |off| off.unsigned_abs() / 1_000),
        lags: lags.collect(),
        unsettled: metrics.membership_config != metrics.committed_membership_config,
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn state_name(state: ServerState) -> &'static str {
    match state {
        ServerState::Leader => "leader",
        ServerState::Follower => "follower",
        ServerState::Candidate => "candidate",
        ServerState::Learner => "learner",
        ServerState::Shutdown => "stopped",
    }
}
