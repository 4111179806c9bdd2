//! What is left of a group after a lost quorum, and which replica it goes on from. Pure.
//!
//! The group goes on from the replica of the newest generation with the highest last log id; votes decide only between equals. **No reachable replica has
//! a committed entry that the chosen one lacks**: let an entry be committed in term T at index i. The chosen log ends in a term t. If t > T, the
//! leader of t had the entry before it appended its first own one, and the log is a prefix of what that leader had. If t = T, the log is a prefix of that
//! leader's, and reaches i if any log that ends in T does. If t < T, no reachable log ends in T or later, so none has it. (The order of votes proves
//! nothing: a replica that voted late for a leader that is lost may miss entries that another one, which did not vote, has.) What only unreachable
//! replicas have may be lost: nobody who is left can say whether there is anything.

use std::collections::BTreeSet;
use std::fmt;

use openraft::Membership as Members;
use serde::Serialize;
use skep_placement::ids::{Generation, GroupId, NodeId, RaftId};

use crate::format::raft_types::{FormatError, decode_log_id, decode_membership, decode_vote};
use crate::types::{LogId, MemberNode};
use crate::wire::raft::v1::SurveyedReplica;

/// A place in a group's log. Ordered as Raft orders them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Position {
    /// The term of the entry's leader.
    pub term: u64,
    /// Its Raft id.
    pub leader: u64,
    /// The index.
    pub index: u64,
}

impl From<LogId> for Position {
    fn from(id: LogId) -> Self {
        Self { term: id.leader_id.term, leader: id.leader_id.node_id, index: id.index }
    }
}

impl From<Position> for LogId {
    fn from(position: Position) -> Self {
        let leader_id = crate::types::LeaderId { term: position.term, node_id: position.leader };
        LogId { leader_id, index: position.index }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}:{}", self.term, self.leader, self.index)
    }
}

/// One replica that a node has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Replica {
    /// Its Raft id.
    pub raft_id: u64,
    /// The generation of the group that it belongs to; 0: the cluster map places it nowhere.
    pub generation: u64,
    /// Whether it runs.
    pub running: bool,
    /// The term and the Raft id it last voted for.
    pub vote: Option<(u64, u64)>,
    /// The last entry it has; none: it holds nothing.
    pub last: Option<Position>,
    /// The last entry in its state.
    pub applied: Option<Position>,
    /// The last entry that it knows to be committed.
    pub committed: Option<Position>,
    /// The newest membership it has: sets of voters by Raft id, a quorum of each of which decides.
    pub voters: Vec<BTreeSet<u64>>,
    /// Where its members are, by Raft id.
    pub members: Vec<(u64, u64)>,
}

/// A node and what it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SurveyedNode {
    /// Its id.
    pub node: u64,
    /// Why it could not be asked; none: it answered.
    pub unreachable: Option<String>,
    /// Its replicas of the group.
    pub replicas: Vec<Replica>,
}

/// The replica that a group would go on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Choice {
    /// Where it is.
    pub node: u64,
    /// Its Raft id.
    pub raft_id: u64,
    /// The last entry it has.
    pub last: Position,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Survey {
    /// The group's id.
    pub group: u64,
    /// Its generation, as far as it is known.
    pub generation: u64,
    /// Every node of the cluster.
    pub nodes: Vec<SurveyedNode>,
    /// Whether the replicas that can be reached are a quorum: then there is nothing to recover.
    pub has_quorum: bool,
    /// A recovery was begun and its node can be reached: it only has to be waited for.
    pub under_way: bool,
    /// The replica to go on from; none: nobody who answers has one.
    pub choice: Option<Choice>,
    /// The last entry that any reachable replica knows to be committed.
    pub committed: Option<Position>,
    /// Nodes with a voter that is not there: what only they have may be lost.
    pub missing: Vec<u64>,
}

impl Replica {
    /// Reads what a node says of a replica.
    ///
    /// # Errors
    /// It is no description of this version.
    pub(crate) fn read(found: &SurveyedReplica) -> Result<Self, FormatError> {
        let position = |bytes: &[u8]| decode_log_id(bytes).map(|id| id.map(Position::from));
        let membership: Members<u64, MemberNode> = decode_membership(&found.membership)?;
        let vote = if found.vote.is_empty() { None } else { Some(decode_vote(&found.vote)?) };
        Ok(Self {
            raft_id: found.raft_id,
            generation: found.generation,
            running: found.running,
            vote: vote.map(|vote| (vote.leader_id.term, vote.leader_id.node_id)),
            last: position(&found.last_log_id)?,
            applied: position(&found.applied)?,
            committed: position(&found.committed)?,
            voters: membership.get_joint_config().clone(),
            members: membership.nodes().map(|(member, node)| (*member, node.node_id)).collect(),
        })
    }
}

impl Survey {
    /// Draws the conclusions. `begun` are the Raft ids, before and after, of a recovery that was begun.
    pub(crate) fn of(group: GroupId, generation: Generation, nodes: Vec<SurveyedNode>, begun: Option<[RaftId; 2]>) -> Self {
        let all = nodes.iter().flat_map(|node| node.replicas.iter().map(move |replica| (node.node, replica)));
        let holding = all.clone().filter_map(|(node, replica)| replica.last.map(|last| (node, replica, last)));
        let best = holding.max_by_key(|(node, replica, last)| (replica.generation, *last, replica.vote, std::cmp::Reverse(*node)));
        let running: BTreeSet<u64> = all.clone().filter(|(_, replica)| replica.running).map(|(_, replica)| replica.raft_id).collect();
        let has_quorum = best.is_some_and(|(_, replica, _)| is_quorum(&replica.voters, &running));
        let there: BTreeSet<u64> = all.clone().map(|(_, replica)| replica.raft_id).collect();
        let voting = best.iter().flat_map(|(_, replica, _)| {
            let votes = |member: &u64| replica.voters.iter().any(|voters| voters.contains(member));
            replica.members.iter().filter(move |(member, _)| votes(member))
        });
        let missing: BTreeSet<u64> = voting.filter(|(member, _)| !there.contains(member)).map(|(_, node)| *node).collect();
        Self {
            group: group.0,
            generation: generation.0,
            has_quorum,
            under_way: begun.is_some_and(|ids| ids.iter().any(|raft| there.contains(&raft.0))),
            choice: best.map(|(node, replica, last)| Choice { node, raft_id: replica.raft_id, last }),
            committed: all.filter_map(|(_, replica)| replica.committed).max(),
            missing: missing.into_iter().collect(),
            nodes,
        }
    }

    /// Why nothing is to be recovered; none: it may be.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let group = GroupId(self.group);
        if self.has_quorum {
            return Some(format!("group {group} has a quorum of its replicas: there is nothing to recover"));
        }
        if self.under_way {
            return Some(format!("group {group} is being recovered already: the node that goes on answers, give it a moment"));
        }
        match self.choice {
            None => Some(format!("no node that answers has a replica of group {group} with anything in it")),
            Some(_) => None,
        }
    }

    /// What may be lost, for people.
    #[must_use]
    pub fn losses(&self) -> String {
        let Some(choice) = self.choice else { return "everything: no replica is left".to_owned() };
        let committed = self.committed.map_or_else(|| "none".to_owned(), |position| position.to_string());
        if self.missing.is_empty() {
            return format!("nothing that was acknowledged; entry {} is the last, {committed} the last known to be committed", choice.last);
        }
        let missing = self.missing.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        format!(
            "entries after {} that only the unreachable nodes have (nodes {missing}); the group's last entry known to be committed is {committed}",
            choice.last
        )
    }
}

/// Whether these are a majority of every set.
fn is_quorum(voters: &[BTreeSet<u64>], those: &BTreeSet<u64>) -> bool {
    !voters.is_empty() && voters.iter().all(|set| !set.is_empty() && set.intersection(those).count() * 2 > set.len())
}

/// A replica that is to be gone on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Where it is.
    pub node: NodeId,
    /// The new Raft id of its group's only member.
    pub raft_id: RaftId,
}

/// Why a group was not recovered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    /// There is nothing to recover, or nothing to recover it from; a sentence.
    #[error("{0}")]
    Refused(String),
    /// What is left has changed since it was shown.
    #[error("the replicas are not as they were shown any more: look again and decide anew")]
    Changed,
    /// It failed, or is not known to be done; asking again is safe.
    #[error("the group is not recovered yet: {0}; run it again, it goes on where it was")]
    Failed(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(term: u64, index: u64) -> Position {
        Position { term, leader: 1, index }
    }

    /// A replica on the node of the same number, of a group with five voters.
    fn replica(raft_id: u64, vote: u64, last: Position) -> Replica {
        Replica {
            raft_id,
            generation: 1,
            running: true,
            vote: Some((vote, 1)),
            last: Some(last),
            applied: Some(at(1, 1)),
            committed: Some(at(1, 1)),
            voters: vec![(1..=5).collect()],
            members: (1..=5).map(|id| (id, id)).collect(),
        }
    }

    fn survey(found: Vec<Replica>) -> Survey {
        let node = |id: u64| {
            let replicas: Vec<Replica> = found.iter().filter(|replica| replica.raft_id == id).cloned().collect();
            let unreachable = replicas.is_empty().then(|| "it does not answer".to_owned());
            SurveyedNode { node: id, unreachable, replicas }
        };
        Survey::of(GroupId(1), Generation(1), (1..=5).map(node).collect(), None)
    }

    fn chosen(found: Vec<Replica>) -> Option<u64> {
        survey(found).choice.map(|choice| choice.node)
    }

    #[test]
    fn the_last_log_id_decides_before_the_vote() {
        // Node 1 voted in term 9 for a leader that is lost; node 2 has what nodes 2, 3 and 4 committed in term 7.
        assert_eq!(chosen(vec![replica(1, 9, at(5, 100)), replica(2, 8, at(7, 120))]), Some(2), "what may be committed is kept");
        assert_eq!(chosen(vec![replica(1, 9, at(7, 90)), replica(2, 8, at(5, 100))]), Some(1), "the term counts before the index");
        assert_eq!(chosen(vec![replica(1, 7, at(7, 90)), replica(2, 8, at(7, 90))]), Some(2), "equal logs: the higher vote");
        assert_eq!(chosen(vec![replica(1, 7, at(7, 90)), replica(2, 7, at(7, 90))]), Some(1), "equals: the lower node");
    }

    #[test]
    fn an_older_generation_never_wins() {
        let newer = Replica { generation: 2, ..replica(2, 1, at(2, 5)) };
        assert_eq!(chosen(vec![replica(1, 9, at(9, 900)), newer]), Some(2), "whatever it went on to write");
    }

    #[test]
    fn a_replica_that_holds_nothing_is_no_choice() {
        let empty = Replica { last: None, ..replica(1, 9, at(1, 1)) };
        let found = survey(vec![empty]);
        assert_eq!(found.choice, None, "there is nothing to go on from");
        assert!(found.refusal().expect("it is refused").contains("no node"), "{found:?}");
    }

    #[test]
    fn a_quorum_is_not_recovered() {
        let three = |ids: [u64; 3]| survey(ids.map(|id| replica(id, 1, at(1, 1))).to_vec());
        let whole = three([1, 3, 5]);
        assert!(whole.has_quorum, "three of five");
        assert!(whole.refusal().expect("it is refused").contains("has a quorum"), "{whole:?}");
        let mut parked = [1, 3, 5].map(|id| replica(id, 1, at(1, 1)));
        parked[0].running = false;
        assert!(!survey(parked.to_vec()).has_quorum, "who does not run does not vote");
        let joint = |id| Replica { voters: vec![(1..=3).collect(), (3..=5).collect()], ..replica(id, 1, at(1, 1)) };
        assert!(!survey(vec![joint(1), joint(2), joint(3)]).has_quorum, "of both halves of a change");
        assert!(survey(vec![joint(2), joint(3), joint(4)]).has_quorum, "here it is one of both");
    }

    #[test]
    fn what_may_be_lost_is_said() {
        let found = survey(vec![replica(1, 9, at(5, 100))]);
        assert_eq!(found.missing, [2, 3, 4, 5], "nodes that do not answer");
        assert_eq!(
            found.losses(),
            "entries after 5-1:100 that only the unreachable nodes have (nodes 2, 3, 4, 5); the group's last entry known to be committed is 1-1:1"
        );
        assert_eq!(found.refusal(), None, "it may be recovered");
    }

    #[test]
    fn a_recovery_under_way_is_waited_for_if_its_replica_is_there() {
        let nodes = survey(vec![replica(1, 9, at(5, 100))]).nodes;
        let again = |from| Survey::of(GroupId(1), Generation(1), nodes.clone(), Some([RaftId(from), RaftId(70)]));
        assert!(again(1).refusal().expect("it is refused").contains("already"), "its node answers");
        assert_eq!(again(2).refusal(), None, "its node does not answer, so another goes on");
    }
}
