//! A datasource's group goes on after a lost quorum. (The system group cannot say so of itself: see [`crate::consensus::seed`].)
//!
//! Invariant: a generation is given once, and is higher than all before it, also than those of commands that were lost with an older state of the
//! system group: it is the command's stamp.

use skep_placement::ids::{GroupId, NodeId};

use super::{cluster, member, node};
use crate::state::rejection::{Stop, invalid, refuse};
use crate::state::transaction::Transaction;
use crate::wire::meta::v1::{Done, FinishRecovery, GroupMember, GroupRecord, GroupRecovery, MemberRole, RecoverGroup, RejectionCode};

/// Makes a new placement on the node of the replica the only member. The outcome names its Raft id and the generation.
pub(super) fn recover(transaction: &mut Transaction<'_>, command: &RecoverGroup) -> Result<Done, Stop> {
    if command.group == GroupId::SYSTEM.0 {
        return Err(invalid("the system group cannot be recovered by a command of its own"));
    }
    if command.raft_id == 0 {
        return Err(invalid("no replica to go on from"));
    }
    let (key, mut group) = member::existing(transaction, command.group)?;
    check_generation(&group, command.generation)?;
    node::existing(transaction, NodeId(command.node))?;
    let raft_id = cluster::next(transaction, |cluster| &mut cluster.next_raft_id)?;
    group.generation = (group.generation + 1).max(transaction.stamp());
    group.members = vec![GroupMember { raft_id, node: command.node, role: MemberRole::Voter.into() }];
    group.recovery = Some(GroupRecovery { from: command.raft_id, to: raft_id });
    transaction.put(&key, &group);
    Ok(Done { number: raft_id, numbers: vec![group.generation], created: true, ..Done::default() })
}

/// Ends a recovery. One that has ended already is no refusal.
pub(super) fn finish(transaction: &mut Transaction<'_>, command: &FinishRecovery) -> Result<Done, Stop> {
    let (key, mut group) = member::existing(transaction, command.group)?;
    check_generation(&group, command.generation)?;
    group.recovery = None;
    transaction.put(&key, &group);
    Ok(Done { number: command.group, ..Done::default() })
}

fn check_generation(group: &GroupRecord, expected: u64) -> Result<(), Stop> {
    if group.generation == expected {
        return Ok(());
    }
    Err(refuse(RejectionCode::Stale, format!("group {} is of generation {}, not {expected}", group.id, group.generation)))
}
