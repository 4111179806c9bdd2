//! One step of a group, at its leader, from the membership it has to the one it shall have.
//!
//! What the step is is decided purely by [`next`]; only one member changes at a time. A joint configuration that somebody left behind is finished before
//! anything else. A learner becomes a voter only when it has nearly caught up; a voter goes only when another has taken its place or it is not wanted
//! any more; who leaves is a learner first and then dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use openraft::ChangeMembers;
use openraft::async_runtime::watch::WatchReceiver;

use super::limits;
use super::replica::{Claim, Replica};
use crate::consensus::state_machine::StateMachine;
use crate::types::{MemberNode, Membership, Raft};
use crate::wire::raft::v1::ChangeMemberRequest;

/// The membership that a group shall have, by Raft ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) voters: BTreeSet<u64>,
    pub(crate) learners: BTreeSet<u64>,
    pub(crate) nodes: BTreeMap<u64, MemberNode>,
}

impl Wanted {
    /// Reads a request.
    pub(crate) fn of(request: &ChangeMemberRequest) -> Self {
        Self {
            voters: request.voters.iter().copied().collect(),
            learners: request.learners.iter().copied().collect(),
            nodes: request.nodes.iter().map(|member| (member.raft_id, MemberNode { node_id: member.node })).collect(),
        }
    }
}

/// A step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The membership is as it shall be.
    Settled,
    /// The newest membership must be committed first.
    Wait,
    /// Leave the joint configuration that somebody began.
    Finish,
    /// Replicate to a new member.
    AddLearner(u64, MemberNode),
    /// A member is not near enough to the leader's last entry yet.
    CatchUp(u64),
    /// These vote from now on: one more, one less, or one for another.
    Voters(BTreeSet<u64>),
    /// The leader is not to vote any more: another must lead first.
    HandOver(u64),
    /// Replicate no longer to a member.
    Drop(u64),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Settled => f.write_str("nothing is left to do"),
            Step::Wait => f.write_str("the newest membership is not committed yet"),
            Step::Finish => f.write_str("leave the joint configuration"),
            Step::AddLearner(member, node) => write!(f, "add member {member} on {node} as learner"),
            Step::CatchUp(member) => write!(f, "member {member} has not caught up yet"),
            Step::Voters(voters) => write!(f, "let {voters:?} vote"),
            Step::HandOver(member) => write!(f, "hand leadership over to member {member}"),
            Step::Drop(member) => write!(f, "drop member {member}"),
        }
    }
}

/// What a leader sees of its group.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) leader: u64,
    pub(crate) membership: Membership,
    /// The newest membership is committed.
    pub(crate) committed: bool,
    /// Entries behind the leader's last, of those that have answered.
    pub(crate) behind: BTreeMap<u64, u64>,
}

/// Decides the next step.
pub(crate) fn next(seen: &Seen, wanted: &Wanted) -> Step {
    if !seen.committed {
        return Step::Wait;
    }
    if seen.membership.get_joint_config().len() > 1 {
        return Step::Finish;
    }
    let voters: BTreeSet<u64> = seen.membership.voter_ids().collect();
    let members: BTreeSet<u64> = seen.membership.nodes().map(|(member, _)| *member).collect();
    // Who has no node in the wish has not begun yet.
    let mut missing = wanted.voters.union(&wanted.learners).filter(|member| !members.contains(member));
    if let Some((member, node)) = missing.find_map(|member| wanted.nodes.get_key_value(member)) {
        return Step::AddLearner(*member, *node);
    }
    // A group without a single wanted voter is a mistake of whoever asks, never an order to end it.
    let surplus: Vec<u64> = voters.difference(&wanted.voters).copied().collect();
    let joining: Vec<u64> = wanted.voters.difference(&voters).copied().filter(|member| members.contains(member)).collect();
    let near = |member: &u64| seen.behind.get(member).is_some_and(|behind| *behind <= limits::CAUGHT_UP_ENTRIES);
    if let Some(member) = joining.iter().find(|member| near(member)) {
        let mut target = voters;
        // Its place: of one that is not wanted, but not the leader's, which hands over first.
        if let Some(leaving) = surplus.iter().find(|leaving| **leaving != seen.leader) {
            target.remove(leaving);
        }
        target.insert(*member);
        return Step::Voters(target);
    }
    // Nobody stops voting before all have begun to that shall.
    if let Some(member) = wanted.voters.difference(&voters).next() {
        return Step::CatchUp(*member);
    }
    if wanted.voters.is_empty() {
        return Step::Settled;
    }
    if let Some(leaving) = surplus.iter().find(|leaving| **leaving != seen.leader) {
        let mut target = voters;
        target.remove(leaving);
        return Step::Voters(target);
    }
    if !surplus.is_empty() {
        // Only the leader is left that shall not vote.
        return match wanted.voters.iter().find(|member| near(member)) {
            Some(heir) => Step::HandOver(*heir),
            None => Step::Wait,
        };
    }
    let wanted_member = |member: &u64| wanted.voters.contains(member) || wanted.learners.contains(member);
    match members.iter().find(|member| !wanted_member(member)) {
        Some(member) => Step::Drop(*member),
        None => Step::Settled,
    }
}

/// Takes the next step and returns it.
pub(crate) async fn step(replica: &Replica, wanted: &Wanted) -> Result<Step, String> {
    let Some(_claim) = Claim::take(&replica.changing) else { return Ok(Step::Wait) };
    let step = next(&seen(&replica.raft, replica.id.0), wanted);
    if !matches!(step, Step::Settled | Step::Wait | Step::CatchUp(_)) {
        tracing::info!(group = %replica.group, %step, "the membership changes");
    }
    take(&replica.raft, &step).await?;
    Ok(step)
}

async fn take(raft: &Raft<StateMachine>, step: &Step) -> Result<(), String> {
    let change = |change: ChangeMembers<u64, MemberNode>, retain| async move {
        raft.change_membership(change, retain).await.map(|_written| ()).map_err(|error| error.to_string())
    };
    match step {
        Step::Settled | Step::Wait | Step::CatchUp(_) => Ok(()),
        Step::Finish => change(ChangeMembers::AddVoterIds(BTreeSet::new()), true).await,
        Step::AddLearner(member, node) => {
            raft.add_learner(*member, *node, false).await.map(|_written| ()).map_err(|error| error.to_string())
        }
        Step::Voters(voters) => change(ChangeMembers::ReplaceAllVoters(voters.clone()), true).await,
        Step::HandOver(member) => raft.trigger().transfer_leader(*member).await.map_err(|fatal| fatal.to_string()),
        Step::Drop(member) => change(ChangeMembers::RemoveNodes(BTreeSet::from([*member])), true).await,
    }
}

/// What the leader here sees.
pub(crate) fn seen(raft: &Raft<StateMachine>, leader: u64) -> Seen {
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    let last = metrics.last_log_index.unwrap_or(0);
    let matched = metrics.replication.iter().flatten();
    Seen {
        leader,
        membership: metrics.membership_config.membership().clone(),
        committed: metrics.membership_config == metrics.committed_membership_config,
        behind: matched.filter_map(|(member, matched)| Some((*member, last.saturating_sub(matched.as_ref()?.index)))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(members: &[u64]) -> BTreeMap<u64, MemberNode> {
        members.iter().map(|member| (*member, MemberNode { node_id: *member })).collect()
    }

    fn seen(configurations: &[&[u64]], members: &[u64]) -> Seen {
        let configurations = configurations.iter().map(|voters| voters.iter().copied().collect()).collect();
        Seen {
            leader: 1,
            membership: Membership::new(configurations, nodes(members)).expect("voters have nodes"),
            committed: true,
            behind: members.iter().map(|member| (*member, 0)).collect(),
        }
    }

    fn wanted(voters: &[u64], learners: &[u64]) -> Wanted {
        let all: Vec<u64> = voters.iter().chain(learners).copied().collect();
        Wanted { voters: voters.iter().copied().collect(), learners: learners.iter().copied().collect(), nodes: nodes(&all) }
    }

    fn voters(ids: &[u64]) -> Step {
        Step::Voters(ids.iter().copied().collect())
    }

    #[test]
    fn a_group_grows_one_member_at_a_time() {
        let goal = wanted(&[1, 2, 3], &[4]);
        assert_eq!(next(&seen(&[&[1]], &[1]), &goal), Step::AddLearner(2, MemberNode { node_id: 2 }), "first a learner");
        assert_eq!(next(&seen(&[&[1]], &[1, 2, 3, 4]), &goal), voters(&[1, 2]), "then a voter");
        assert_eq!(next(&seen(&[&[1, 2]], &[1, 2, 3, 4]), &goal), voters(&[1, 2, 3]), "then the next");
        assert_eq!(next(&seen(&[&[1, 2, 3]], &[1, 2, 3, 4]), &goal), Step::Settled, "then nothing");
    }

    #[test]
    fn who_lags_waits() {
        let mut late = seen(&[&[1]], &[1, 2]);
        late.behind.insert(2, limits::CAUGHT_UP_ENTRIES + 1);
        assert_eq!(next(&late, &wanted(&[1, 2], &[])), Step::CatchUp(2), "too far behind");
        late.behind.remove(&2);
        assert_eq!(next(&late, &wanted(&[1, 2], &[])), Step::CatchUp(2), "not heard yet");
    }

    #[test]
    fn nobody_goes_before_its_successor_votes() {
        let mut goal = wanted(&[1, 2, 4], &[]);
        goal.nodes.remove(&4);
        assert_eq!(next(&seen(&[&[1, 2, 3]], &[1, 2, 3]), &goal), Step::CatchUp(4), "member 4 has not begun");
    }

    #[test]
    fn what_was_begun_is_finished_first() {
        let mut half = seen(&[&[1], &[1, 2]], &[1, 2]);
        assert_eq!(next(&half, &wanted(&[1], &[])), Step::Finish, "a joint configuration");
        half.committed = false;
        assert_eq!(next(&half, &wanted(&[1], &[])), Step::Wait, "not committed yet");
    }

    #[test]
    fn a_voter_is_replaced_in_one_change_and_then_dropped() {
        let goal = wanted(&[1, 2, 4], &[]);
        assert_eq!(next(&seen(&[&[1, 2, 3]], &[1, 2, 3, 4]), &goal), voters(&[1, 2, 4]), "one for another");
        assert_eq!(next(&seen(&[&[1, 2, 4]], &[1, 2, 3, 4]), &goal), Step::Drop(3), "then it goes");
    }

    #[test]
    fn a_leader_that_leaves_hands_over_first() {
        assert_eq!(next(&seen(&[&[1, 2, 3]], &[1, 2, 3]), &wanted(&[2, 3], &[])), Step::HandOver(2), "it still votes");
    }

    #[test]
    fn nobody_is_no_membership() {
        assert_eq!(next(&seen(&[&[1, 2]], &[1, 2]), &wanted(&[], &[])), Step::Settled, "an empty wish changes nothing");
    }
}
