//! The cluster map as consensus needs it, read from the local replica of the system group: who the nodes are, which groups there are and who is in them.
//!
//! It may lag behind. What would be unsafe to decide by an old map (starting a replica from nothing, removing one) is decided by a fresh read instead.

use std::collections::BTreeMap;

use skep_placement::ids::{BootNumber, Generation, GroupId, NodeId, RaftId};

use crate::store::StateError;
use crate::system_view::SystemView;
use crate::wire::meta::v1::{GroupRecord, MemberRole, NodeState};

/// What is known of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Directory {
    pub(crate) nodes: BTreeMap<NodeId, NodeEntry>,
    pub(crate) groups: BTreeMap<GroupId, GroupEntry>,
}

/// What is known of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeEntry {
    pub(crate) zone: String,
    /// The highest boot number registered.
    pub(crate) boot: BootNumber,
    pub(crate) state: NodeState,
}

/// What is known of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupEntry {
    pub(crate) generation: Generation,
    pub(crate) bootstrap: RaftId,
    pub(crate) members: Vec<MemberEntry>,
    /// The group goes on after a lost quorum and has not grown again yet.
    pub(crate) recovery: Option<RecoveryEntry>,
}

/// A recovery under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecoveryEntry {
    /// The replica that the group goes on from.
    pub(crate) from: RaftId,
    /// The placement that goes on.
    pub(crate) to: RaftId,
}

/// A placement of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemberEntry {
    pub(crate) raft: RaftId,
    pub(crate) node: NodeId,
    pub(crate) role: MemberRole,
}

impl GroupEntry {
    /// Reads a record.
    pub(crate) fn of(record: &GroupRecord) -> Self {
        let member = |member: &crate::wire::meta::v1::GroupMember| MemberEntry {
            raft: RaftId(member.raft_id),
            node: NodeId(member.node),
            role: member.role(),
        };
        Self {
            generation: Generation(record.generation),
            bootstrap: RaftId(record.bootstrap),
            members: record.members.iter().map(member).collect(),
            recovery: record.recovery.map(|recovery| RecoveryEntry { from: RaftId(recovery.from), to: RaftId(recovery.to) }),
        }
    }

    /// The placement on a node.
    pub(crate) fn on(&self, node: NodeId) -> Option<MemberEntry> {
        self.members.iter().copied().find(|member| member.node == node)
    }

    /// The placement with an id.
    pub(crate) fn member(&self, raft: RaftId) -> Option<MemberEntry> {
        self.members.iter().copied().find(|member| member.raft == raft)
    }
}

impl Directory {
    /// Reads the map.
    pub(crate) fn read(view: &SystemView) -> Result<Self, StateError> {
        let mut directory = Directory::default();
        for node in view.nodes()? {
            let state = node.state();
            directory.nodes.insert(NodeId(node.id), NodeEntry { zone: node.zone, boot: BootNumber(node.boot), state });
        }
        for group in view.groups()? {
            directory.groups.insert(GroupId(group.id), GroupEntry::of(&group));
        }
        Ok(directory)
    }

    /// The recovery of a group, if one is under way.
    pub(crate) fn recovery(&self, group: GroupId) -> Option<RecoveryEntry> {
        self.groups.get(&group)?.recovery
    }

    /// The nodes that have a replica of a group, the caller's zone first, voters before learners.
    pub(crate) fn holders(&self, group: GroupId, near: NodeId) -> Vec<NodeId> {
        let zone = |node: NodeId| self.nodes.get(&node).map(|node| node.zone.as_str());
        let Some(entry) = self.groups.get(&group) else { return Vec::new() };
        let mut holders: Vec<_> = entry.members.iter().filter(|member| member.role != MemberRole::Leaving).collect();
        holders.sort_by_key(|member| (zone(member.node) != zone(near), member.role != MemberRole::Voter, member.node));
        holders.iter().map(|member| member.node).collect()
    }
}
