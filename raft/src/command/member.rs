//! Where the replicas of a group are to be. The group's own membership follows by the reconciler.
//!
//! Invariant: a Raft id is one placement of one group on one node; it is never given out again, nor taken back to life.

use skep_placement::ids::{GroupId, NodeId};

use super::{cluster, node};
use crate::keys::GroupKey;
use crate::state::rejection::{Stop, invalid, refuse};
use crate::state::transaction::Transaction;
use crate::wire::meta::v1::{Done, DropMember, GroupMember, GroupRecord, MemberRole, PlaceMember, RejectionCode, SetMemberRole};

/// Gives a node a place in a group. Asked again for the same place it names the same Raft id.
pub(super) fn place(transaction: &mut Transaction<'_>, command: &PlaceMember) -> Result<Done, Stop> {
    let role = staying_role(command.role)?;
    let (key, mut group) = existing(transaction, command.group)?;
    node::existing(transaction, NodeId(command.node))?;
    if let Some(member) = group.members.iter().find(|member| member.node == command.node) {
        if member.role == i32::from(MemberRole::Leaving) {
            let detail = format!("node {} still leaves the group as {}", command.node, member.raft_id);
            return Err(refuse(RejectionCode::Stale, detail));
        }
        return Ok(Done { number: member.raft_id, ..Done::default() });
    }
    let raft_id = cluster::next(transaction, |cluster| &mut cluster.next_raft_id)?;
    group.members.push(GroupMember { raft_id, node: command.node, role: role.into() });
    transaction.put(&key, &group);
    Ok(Done { number: raft_id, created: true, ..Done::default() })
}

/// Says what a replica is to be.
pub(super) fn set_role(transaction: &mut Transaction<'_>, command: &SetMemberRole) -> Result<Done, Stop> {
    let (key, mut group) = existing(transaction, command.group)?;
    let role = MemberRole::try_from(command.role).unwrap_or_default();
    if role == MemberRole::Unspecified {
        return Err(invalid("no role for the member"));
    }
    let is_leaving = |member: &GroupMember| member.role == i32::from(MemberRole::Leaving);
    let member = group.members.iter_mut().find(|member| member.raft_id == command.raft_id);
    let member = member.ok_or_else(|| refuse(RejectionCode::NotFound, format!("the group has no member {}", command.raft_id)))?;
    if is_leaving(member) && role != MemberRole::Leaving {
        return Err(refuse(RejectionCode::Stale, format!("member {} is leaving; the node comes back under a new id", command.raft_id)));
    }
    member.role = role.into();
    if !group.members.iter().any(|member| member.role == i32::from(MemberRole::Voter)) {
        return Err(invalid("the group would have no voter left"));
    }
    transaction.put(&key, &group);
    Ok(Done { number: command.raft_id, ..Done::default() })
}

/// Forgets a replica whose data are gone. One that is forgotten already is no refusal.
pub(super) fn drop_member(transaction: &mut Transaction<'_>, command: &DropMember) -> Result<Done, Stop> {
    let (key, mut group) = existing(transaction, command.group)?;
    if let Some(member) = group.members.iter().find(|member| member.raft_id == command.raft_id) {
        if member.role == i32::from(MemberRole::Voter) {
            return Err(invalid(format!("member {} is a voter; it has to leave first", command.raft_id)));
        }
        group.members.retain(|member| member.raft_id != command.raft_id);
        transaction.put(&key, &group);
    }
    Ok(Done { number: command.raft_id, ..Done::default() })
}

fn staying_role(role: i32) -> Result<MemberRole, Stop> {
    match MemberRole::try_from(role).unwrap_or_default() {
        role @ (MemberRole::Voter | MemberRole::Learner) => Ok(role),
        MemberRole::Unspecified | MemberRole::Leaving => Err(invalid("a new member is a voter or a learner")),
    }
}

/// A group and where it is kept.
pub(super) fn existing(transaction: &Transaction<'_>, group: u64) -> Result<(GroupKey, GroupRecord), Stop> {
    let key = GroupKey { group: GroupId(group) };
    let record = transaction.get(&key)?.ok_or_else(|| refuse(RejectionCode::NotFound, format!("there is no group {group}")))?;
    Ok((key, record))
}
