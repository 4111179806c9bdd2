//! Who shall have a replica of a group, and the next command towards that. Pure.
//!
//! A group's record says who shall be a member and in which role; the group's own membership says who is. One thing changes at a time: the record first,
//! then, by the group's leader, the membership, then the record lets go of who has left.

use std::collections::{BTreeMap, BTreeSet};

use skep_placement::ids::{GroupId, NodeId, RaftId};

use super::directory::{GroupEntry, MemberEntry};
use super::limits;
use crate::wire::meta::v1::{MemberRole, NodeState};

/// A node as the reconciler sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeSeen {
    pub(crate) zone: String,
    pub(crate) state: NodeState,
    /// It was heard a moment ago: it may be given something.
    pub(crate) alive: bool,
}

/// What is known of a group besides its record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupSeen {
    /// Members of the group as it is, voters and learners.
    pub(crate) voters: BTreeSet<RaftId>,
    pub(crate) learners: BTreeSet<RaftId>,
    /// Its membership is uniform and committed.
    pub(crate) settled: bool,
    /// Placements that are no members yet because their nodes have not begun them.
    pub(crate) waiting: BTreeSet<RaftId>,
    /// Members that were silent for longer than a voter may be.
    pub(crate) silent: BTreeSet<RaftId>,
}

/// What is to be done next for a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// All is as it shall be.
    Nothing,
    /// Give a node a placement.
    Place(NodeId, MemberRole),
    /// Change what a member shall be.
    SetRole(RaftId, MemberRole),
    /// Forget a member that is none any more.
    Forget(RaftId),
    /// Have the leader bring the membership nearer to the record.
    Change,
    /// The group has grown again after a lost quorum: what is left of older generations may go.
    FinishRecovery,
}

/// How many voters a group shall have on so many nodes: the largest odd number up to its limit, or both of two.
fn voters_wanted(group: GroupId, nodes: usize) -> usize {
    let most = if group == GroupId::SYSTEM { limits::SYSTEM_VOTERS_MAX } else { limits::DATASOURCE_VOTERS_MAX };
    match nodes.min(most) {
        2 => 2,
        count if count.is_multiple_of(2) => count.saturating_sub(1),
        count => count,
    }
}

/// Decides what is to be done next for a group.
pub(crate) fn plan(group: GroupId, entry: &GroupEntry, seen: &GroupSeen, nodes: &BTreeMap<NodeId, NodeSeen>) -> Action {
    // What has left the membership is forgotten first, so that its node can be given another placement.
    let left = entry.members.iter().find(|member| {
        member.role == MemberRole::Leaving && seen.settled && !seen.voters.contains(&member.raft) && !seen.learners.contains(&member.raft)
    });
    if let Some(member) = left {
        return Action::Forget(member.raft);
    }
    if let Some(member) = entry.members.iter().find(|member| is_lost(group, member, entry, seen)) {
        return Action::SetRole(member.raft, MemberRole::Leaving);
    }
    if !agrees(entry, seen) {
        return Action::Change;
    }
    let voters = choose_voters(group, entry, seen, nodes);
    match next_change(group, entry, nodes, &voters) {
        Action::Nothing if entry.recovery.is_some() && seen.waiting.is_empty() => Action::FinishRecovery,
        action => action,
    }
}

/// Whether a placement was never begun though its node had long enough. A learner of the system group was promised to a node that joins; it keeps nobody
/// waiting.
fn is_lost(group: GroupId, member: &MemberEntry, entry: &GroupEntry, seen: &GroupSeen) -> bool {
    let promised = group == GroupId::SYSTEM && member.role == MemberRole::Learner;
    member.role != MemberRole::Leaving
        && !promised
        && seen.waiting.contains(&member.raft)
        && seen.silent.contains(&member.raft)
        && entry.members.iter().any(|other| other.role == MemberRole::Voter && seen.voters.contains(&other.raft))
}

/// Whether the membership is what the record says, but for those who have not begun.
fn agrees(entry: &GroupEntry, seen: &GroupSeen) -> bool {
    let begun = |member: &&MemberEntry| !seen.waiting.contains(&member.raft);
    let in_role = |role| entry.members.iter().filter(begun).filter(move |member| member.role == role).map(|member| member.raft);
    let voters: BTreeSet<RaftId> = in_role(MemberRole::Voter).collect();
    let learners: BTreeSet<RaftId> = in_role(MemberRole::Learner).collect();
    seen.settled && seen.voters == voters && seen.learners == learners
}

/// The nodes that shall vote. Those that do and can go on are kept; the rest is spread over zones.
fn choose_voters(group: GroupId, entry: &GroupEntry, seen: &GroupSeen, nodes: &BTreeMap<NodeId, NodeSeen>) -> BTreeSet<NodeId> {
    let active: BTreeMap<NodeId, &NodeSeen> =
        nodes.iter().filter(|(_, node)| node.state == NodeState::Active).map(|(id, node)| (*id, node)).collect();
    let count = voters_wanted(group, active.len());
    let voting = |member: &&MemberEntry| member.role == MemberRole::Voter && active.contains_key(&member.node);
    let (silent, mut kept): (Vec<&MemberEntry>, Vec<&MemberEntry>) =
        entry.members.iter().filter(voting).partition(|member| seen.silent.contains(&member.raft));
    kept.sort_by_key(|member| member.raft);
    let mut chosen: BTreeSet<NodeId> = kept.iter().map(|member| member.node).collect();
    while chosen.len() > count {
        let Some(crowded) = most_crowded(&chosen, &active) else { break };
        chosen.remove(&crowded);
    }
    let may_join = |node: &NodeId, seen: &NodeSeen| seen.alive && entry.on(*node).is_none_or(|member| member.role == MemberRole::Learner);
    while chosen.len() < count {
        let candidates = active.iter().filter(|(id, node)| !chosen.contains(id) && may_join(id, node));
        let Some(best) = candidates.map(|(id, _)| *id).min_by_key(|id| (crowd(&chosen, &active, *id), *id)) else { break };
        chosen.insert(best);
    }
    // A silent voter stays as long as nobody can take its place.
    for member in silent {
        if chosen.len() < count {
            chosen.insert(member.node);
        }
    }
    spread(&mut chosen, &active, may_join);
    chosen
}

/// Moves one voter from a crowded zone to an emptier one, if that is really better.
fn spread(chosen: &mut BTreeSet<NodeId>, active: &BTreeMap<NodeId, &NodeSeen>, may_join: impl Fn(&NodeId, &NodeSeen) -> bool) {
    let Some(crowded) = most_crowded(chosen, active) else { return };
    let here = crowd(chosen, active, crowded);
    let candidates = active.iter().filter(|(id, node)| !chosen.contains(id) && may_join(id, node));
    let best = candidates.map(|(id, _)| (crowd(chosen, active, *id), *id)).min();
    if let Some((there, candidate)) = best
        && there + 2 <= here
    {
        chosen.remove(&crowded);
        chosen.insert(candidate);
    }
}

/// How many of the chosen are in a node's zone.
fn crowd(chosen: &BTreeSet<NodeId>, active: &BTreeMap<NodeId, &NodeSeen>, node: NodeId) -> usize {
    let zone = |node: NodeId| active.get(&node).map(|node| node.zone.as_str());
    chosen.iter().filter(|other| zone(**other) == zone(node)).count()
}

/// The youngest node in the zone with most of the chosen.
fn most_crowded(chosen: &BTreeSet<NodeId>, active: &BTreeMap<NodeId, &NodeSeen>) -> Option<NodeId> {
    chosen.iter().copied().max_by_key(|node| (crowd(chosen, active, *node), *node))
}

/// The first difference between the record and what is wanted: who comes before who goes.
fn next_change(group: GroupId, entry: &GroupEntry, nodes: &BTreeMap<NodeId, NodeSeen>, voters: &BTreeSet<NodeId>) -> Action {
    let role_wanted = |node: NodeId| {
        let state = nodes.get(&node).map(|node| node.state);
        if voters.contains(&node) {
            Some(MemberRole::Voter)
        } else if group == GroupId::SYSTEM && matches!(state, Some(NodeState::Active | NodeState::Draining)) {
            Some(MemberRole::Learner)
        } else {
            None
        }
    };
    for (node, seen) in nodes {
        match (role_wanted(*node), entry.on(*node)) {
            // A node that does not answer could not begin what it is given.
            (Some(role), None) if seen.alive => return Action::Place(*node, role),
            (Some(role @ MemberRole::Voter), Some(member)) if member.role != role => {
                return if member.role == MemberRole::Leaving { Action::Nothing } else { Action::SetRole(member.raft, role) };
            }
            _ => {}
        }
    }
    for member in &entry.members {
        let wanted = role_wanted(member.node).unwrap_or(MemberRole::Leaving);
        if member.role == MemberRole::Leaving || member.role == wanted {
            continue;
        }
        // The last voter never goes: the record would ask for a group of nobody.
        let other_voter = entry.members.iter().any(|other| other.role == MemberRole::Voter && other.raft != member.raft);
        if member.role != MemberRole::Voter || other_voter {
            return Action::SetRole(member.raft, wanted);
        }
    }
    Action::Nothing
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consensus::directory::RecoveryEntry;
    use skep_placement::ids::Generation;

    const DATA: GroupId = GroupId(7);

    fn nodes(zones: &[&str]) -> BTreeMap<NodeId, NodeSeen> {
        let seen = |zone: &&str| NodeSeen { zone: (*zone).to_owned(), state: NodeState::Active, alive: true };
        (1..).map(NodeId).zip(zones.iter().map(seen)).collect()
    }

    /// Works with a group until nothing is left to do, as the reconciler and a perfect leader would.
    fn settle(group: GroupId, entry: &mut GroupEntry, nodes: &BTreeMap<NodeId, NodeSeen>, silent: &BTreeSet<RaftId>) -> usize {
        let mut next_raft = entry.members.iter().map(|member| member.raft.0).max().unwrap_or(0) + 1;
        let in_role =
            |entry: &GroupEntry, role| entry.members.iter().filter(|member| member.role == role).map(|member| member.raft).collect();
        let mut seen = GroupSeen {
            voters: in_role(entry, MemberRole::Voter),
            learners: in_role(entry, MemberRole::Learner),
            settled: true,
            silent: silent.clone(),
            waiting: BTreeSet::new(),
        };
        for steps in 0..200 {
            match plan(group, entry, &seen, nodes) {
                Action::Nothing => return steps,
                Action::Place(node, role) => {
                    assert!(entry.on(node).is_none(), "one placement a node");
                    entry.members.push(MemberEntry { raft: RaftId(next_raft), node, role });
                    next_raft += 1;
                }
                Action::SetRole(raft, role) => {
                    let member = entry.members.iter_mut().find(|member| member.raft == raft).expect("a member");
                    assert_ne!(member.role, role, "a change changes something");
                    member.role = role;
                }
                Action::Forget(raft) => entry.members.retain(|member| member.raft != raft),
                Action::FinishRecovery => entry.recovery = None,
                Action::Change => {
                    seen.voters = in_role(entry, MemberRole::Voter);
                    seen.learners = in_role(entry, MemberRole::Learner);
                    assert!(!seen.voters.is_empty(), "a group of nobody");
                }
            }
        }
        panic!("it never settles: {entry:?}");
    }

    fn begun() -> GroupEntry {
        let first = MemberEntry { raft: RaftId(1), node: NodeId(1), role: MemberRole::Voter };
        GroupEntry { generation: Generation(1), bootstrap: RaftId(1), members: vec![first], recovery: None }
    }

    fn on(entry: &GroupEntry, role: MemberRole) -> Vec<u64> {
        let mut found: Vec<u64> = entry.members.iter().filter(|member| member.role == role).map(|member| member.node.0).collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn groups_grow_to_their_size() {
        for (count, system, data) in [(1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 3, 3), (5, 5, 3), (9, 5, 3)] {
            let zones = vec!["a"; count];
            let mut entry = begun();
            settle(GroupId::SYSTEM, &mut entry, &nodes(&zones), &BTreeSet::new());
            assert_eq!(on(&entry, MemberRole::Voter).len(), system, "voters of the system group on {count} nodes");
            assert_eq!(on(&entry, MemberRole::Learner).len(), count - system, "all others learn");
            let mut entry = begun();
            settle(DATA, &mut entry, &nodes(&zones), &BTreeSet::new());
            assert_eq!(on(&entry, MemberRole::Voter).len(), data, "voters of a datasource on {count} nodes");
            assert_eq!(entry.members.len(), data, "and nobody else");
        }
    }

    #[test]
    fn voters_spread_over_zones() {
        let mut entry = begun();
        settle(DATA, &mut entry, &nodes(&["a", "a", "a"]), &BTreeSet::new());
        let grown = nodes(&["a", "a", "a", "b", "c"]);
        settle(DATA, &mut entry, &grown, &BTreeSet::new());
        assert_eq!(on(&entry, MemberRole::Voter), vec![1, 4, 5], "one a zone");
    }

    #[test]
    fn a_silent_voter_is_replaced_if_somebody_can() {
        let mut entry = begun();
        let mut three = nodes(&["a", "a", "a"]);
        settle(DATA, &mut entry, &three, &BTreeSet::new());
        let silent: BTreeSet<RaftId> = entry.on(NodeId(2)).map(|member| member.raft).into_iter().collect();
        three.get_mut(&NodeId(2)).expect("a node").alive = false;
        settle(DATA, &mut entry, &three, &silent);
        assert_eq!(on(&entry, MemberRole::Voter), vec![1, 2, 3], "nobody can take its place");
        let mut four = nodes(&["a", "a", "a", "a"]);
        four.get_mut(&NodeId(2)).expect("a node").alive = false;
        settle(DATA, &mut entry, &four, &silent);
        assert_eq!(on(&entry, MemberRole::Voter), vec![1, 3, 4], "the fourth node does");
    }

    #[test]
    fn draining_and_removed_nodes_lose_their_places() {
        let mut entry = begun();
        let mut four = nodes(&["a", "a", "a", "a"]);
        settle(GroupId::SYSTEM, &mut entry, &four, &BTreeSet::new());
        four.get_mut(&NodeId(1)).expect("a node").state = NodeState::Draining;
        settle(GroupId::SYSTEM, &mut entry, &four, &BTreeSet::new());
        assert_eq!(on(&entry, MemberRole::Voter), vec![2, 3, 4], "it votes no more");
        assert_eq!(on(&entry, MemberRole::Learner), vec![1], "but still learns");
        four.get_mut(&NodeId(1)).expect("a node").state = NodeState::Removed;
        settle(GroupId::SYSTEM, &mut entry, &four, &BTreeSet::new());
        assert!(entry.on(NodeId(1)).is_none(), "and goes at last");
    }

    #[test]
    fn who_has_not_begun_keeps_nobody_waiting() {
        let late = MemberEntry { raft: RaftId(2), node: NodeId(2), role: MemberRole::Learner };
        let mut entry = begun();
        entry.members.push(late);
        let mut seen = GroupSeen { voters: BTreeSet::from([RaftId(1)]), settled: true, ..GroupSeen::default() };
        seen.waiting.insert(RaftId(2));
        let mut three = nodes(&["a", "a", "a"]);
        three.get_mut(&NodeId(2)).expect("a node").alive = false;
        assert_eq!(plan(GroupId::SYSTEM, &entry, &seen, &three), Action::Place(NodeId(3), MemberRole::Voter), "another comes in between");
        seen.silent.insert(RaftId(2));
        assert_eq!(plan(GroupId::SYSTEM, &entry, &seen, &three), Action::Place(NodeId(3), MemberRole::Voter), "what was promised stays");
        assert_eq!(plan(DATA, &entry, &seen, &three), Action::SetRole(RaftId(2), MemberRole::Leaving), "else it goes when it is lost");
    }

    #[test]
    fn a_recovery_ends_when_the_group_has_grown() {
        let mut entry = begun();
        entry.recovery = Some(RecoveryEntry { from: RaftId(9), to: RaftId(1) });
        let mut three = nodes(&["a", "a", "a"]);
        three.get_mut(&NodeId(3)).expect("a node").alive = false;
        let mut seen = GroupSeen { voters: BTreeSet::from([RaftId(1)]), settled: true, ..GroupSeen::default() };
        assert_eq!(plan(DATA, &entry, &seen, &three), Action::Place(NodeId(2), MemberRole::Voter), "first it grows");
        entry.members.push(MemberEntry { raft: RaftId(2), node: NodeId(2), role: MemberRole::Voter });
        seen.waiting.insert(RaftId(2));
        assert_eq!(plan(DATA, &entry, &seen, &three), Action::Nothing, "who has not begun has nothing yet");
        seen.waiting.clear();
        assert_eq!(plan(DATA, &entry, &seen, &three), Action::Change, "then it votes");
        seen.voters.insert(RaftId(2));
        assert_eq!(plan(DATA, &entry, &seen, &three), Action::FinishRecovery, "as far as it can grow");
        entry.recovery = None;
        assert_eq!(plan(DATA, &entry, &seen, &three), Action::Nothing, "once");
    }

    #[test]
    fn an_only_voter_stays_until_another_votes() {
        let mut entry = begun();
        let mut one = nodes(&["a"]);
        one.get_mut(&NodeId(1)).expect("a node").state = NodeState::Draining;
        assert_eq!(settle(DATA, &mut entry, &one, &BTreeSet::new()), 0, "nobody can take its place");
    }
}
