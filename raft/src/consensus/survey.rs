//! What a node has of a group, read from its log and states: also of replicas that do not run, and without asking openraft.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use openraft::EntryPayload;
use skep_placement::ids::{GroupId, RaftId};

use super::context::Context;
use super::limits;
use super::replica::folder;
use super::replica_state::ReplicaState;
use crate::format::raft_types::{encode_log_id, encode_membership, encode_vote};
use crate::keys::GroupKey as GroupRecordKey;
use crate::log::{GroupLog, decode};
use crate::state::read;
use crate::types::{LogId, Membership, SnapshotMeta, Vote};
use crate::wire::raft::v1::SurveyedReplica;

/// Lists the replicas of a group here.
pub(crate) async fn survey(context: &Arc<Context>, group: GroupId) -> io::Result<Vec<SurveyedReplica>> {
    let mut found = BTreeMap::new();
    for key in context.log.groups().into_iter().filter(|key| key.group == group) {
        found.insert(key.raft, None);
    }
    if let Some(replica) = context.replica(group) {
        found.insert(replica.id, Some((Arc::clone(&replica.state), replica.state.covers())));
    }
    let mut replicas = Vec::new();
    for (raft, running) in found {
        let is_running = running.is_some();
        let generation = match &running {
            // A replica of the system group knows the generation that it belongs to: this node's copy of the map is its state.
            Some((state, _)) if group == GroupId::SYSTEM => generation_in(state)?,
            _ => context.directory().groups.get(&group).filter(|entry| entry.member(raft).is_some()).map_or(0, |entry| entry.generation.0),
        };
        // What was removed meanwhile is not there.
        let Some(log) = context.log.existing(group, raft) else { continue };
        let (folder, stores) = (folder(context, group, raft), Arc::clone(&context.options.stores));
        let read = move || {
            let covers = match running {
                Some((_, covers)) => covers,
                None => ReplicaState::peek(&folder, stores.as_ref())?,
            };
            describe(&log, covers)
        };
        match tokio::task::spawn_blocking(read).await.map_err(io::Error::other)? {
            Ok(described) => replicas.push(SurveyedReplica { raft_id: raft.0, generation, running: is_running, ..described }),
            Err(_gone) if context.log.existing(group, raft).is_none() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(replicas)
}

fn generation_in(state: &ReplicaState) -> io::Result<u64> {
    let record = read::get(state.snapshot().as_ref(), &GroupRecordKey { group: GroupId::SYSTEM }).map_err(io::Error::other)?;
    Ok(record.map_or(0, |record| record.generation))
}

/// Describes a replica by its log and by what its state covers. Blocks.
fn describe(log: &GroupLog, covers: SnapshotMeta) -> io::Result<SurveyedReplica> {
    let (_, end) = log.bounds()?;
    let applied = covers.last_log_id;
    let committed = log.committed()?.map(LogId::from).max(applied);
    let membership = newest_membership(log, covers)?;
    Ok(SurveyedReplica {
        vote: log.vote()?.map_or_else(Bytes::new, |vote| encode_vote(&Vote::from(vote))),
        last_log_id: encode_log_id(end.map(LogId::from).max(applied).as_ref()),
        applied: encode_log_id(applied.as_ref()),
        committed: encode_log_id(committed.as_ref()),
        membership: encode_membership(&membership),
        ..SurveyedReplica::default()
    })
}

/// The last membership in the log, else the state's.
fn newest_membership(log: &GroupLog, covers: SnapshotMeta) -> io::Result<Membership> {
    let mut newest = covers.last_membership.membership().clone();
    let mut range: Range<u64> = covers.last_log_id.map_or(0, |last| last.index + 1)..u64::MAX;
    loop {
        let entries = log.read(range.clone(), limits::APPLY_BYTES_MAX)?;
        let Some(last) = entries.last() else { return Ok(newest) };
        range.start = last.position.index + 1;
        for entry in entries {
            if let EntryPayload::Membership(membership) = decode(entry)?.payload {
                newest = membership;
            }
        }
    }
}

/// A Raft id that no placement has had, as far as this node can know: the time, if that is later than all it knows.
pub(crate) fn unused_raft_id(context: &Context) -> io::Result<RaftId> {
    let view = context.system_stale();
    let counter = view.cluster().map_err(io::Error::other)?.map_or(0, |cluster| cluster.next_raft_id);
    let known = context.log.groups().iter().map(|key| key.raft.0).max().unwrap_or(0).max(counter);
    Ok(RaftId(context.options.clock.now_micros().max(known.saturating_add(crate::state::recovered::LOST_PLACEMENTS_MAX))))
}
