//! How a group goes on from one replica after a lost quorum: the replica becomes a new placement of which it is the only member.
//!
//! What one replica has is never changed in place. Its state is copied, its **whole log** is applied to the copy, committed or not (an acknowledged entry may
//! be committed without this replica knowing it, and no leader is left to say), the copy is made to say that the new placement is the only member and
//! that the log goes on far behind anything that may be lost ([`crate::state::recovered`]), and is made durable. Only then the new placement's first vote
//! is written to the log. **The vote is the beginning**: a placement without one does not exist, its folder is removed at the next start, and everything is
//! done anew; with it, the placement is complete and is never made again. The old replica stays, stopped, until the group has grown again.
//!
//! Why a new Raft id: members of the old generation that live on, unheard, know the old id as one of a quorum; the new one is in none of their
//! configurations and their calls name a generation that is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use openraft::storage::RaftLogStorage;
use skep_placement::ids::{Generation, GroupId, RaftId};

use super::context::Context;
use super::limits;
use super::replica::{folder, kind_of};
use super::replica_state::ReplicaState;
use super::state_machine::apply_entry;
use super::stores::StoreFactory;
use crate::log::{GroupKey, GroupLog};
use crate::state::recovered::{self, GoingOn, LOST_ENTRIES_MAX};
use crate::types::{LeaderId, LogId, MemberNode, Membership, SnapshotMeta, StoredMembership, Vote};

/// The steps, for tests that end the process between them.
pub const FAILPOINTS: &[&str] = &["recovery-copied", "recovery-before-vote", "recovery-before-start"];

/// Which replica a group goes on from, and as what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seed {
    pub(crate) group: GroupId,
    pub(crate) from: RaftId,
    pub(crate) to: RaftId,
    pub(crate) generation: Generation,
}

/// What the blocking part needs.
struct Work {
    seed: Seed,
    member: MemberNode,
    stores: Arc<dyn StoreFactory>,
    old: (PathBuf, GroupLog),
    new: PathBuf,
}

/// Makes the new placement, unless it has begun already. The old replica must have stopped.
pub(crate) async fn make(context: &Context, seed: Seed) -> io::Result<()> {
    let begun = |raft| context.log.groups().contains(&GroupKey { group: seed.group, raft });
    if !begun(seed.to) {
        begin(context, seed).await?;
    }
    fail::fail_point!("recovery-before-start", |_| Err(io::Error::other("the process ends after the vote")));
    Ok(())
}

/// Copies, and then votes.
async fn begin(context: &Context, seed: Seed) -> io::Result<()> {
    if !context.log.groups().contains(&GroupKey { group: seed.group, raft: seed.from }) {
        return Err(io::Error::other(format!("this node has no replica {} of group {} to go on from", seed.from, seed.group)));
    }
    let work = Work {
        seed,
        member: MemberNode::from(context.options.node),
        stores: Arc::clone(&context.options.stores),
        old: (folder(context, seed.group, seed.from), context.log.group(seed.group, seed.from)?),
        new: folder(context, seed.group, seed.to),
    };
    let vote = tokio::task::spawn_blocking(move || work.run()).await.map_err(io::Error::other)??;
    fail::fail_point!("recovery-before-vote", |_| Err(io::Error::other("the process ends before the vote")));
    context.log.group(seed.group, seed.to)?.save_vote(&vote).await?;
    tracing::warn!(group = %seed.group, from = %seed.from, to = %seed.to, "the group goes on from the replica here as its only member");
    Ok(())
}

impl Work {
    /// Makes the new folder; returns the new placement's first vote.
    fn run(self) -> io::Result<Vote> {
        let (old_folder, log) = &self.old;
        match fs::remove_dir_all(&self.new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let old = self.open_old(old_folder)?;
        let new = old.copy_to(self.new.clone())?;
        drop(old);
        fail::fail_point!("recovery-copied", |_| Err(io::Error::other("the process ends after the copy")));
        let last = self.apply_tail(log, &new)?;
        let term = log.vote()?.map_or(0, |vote| vote.term).max(last.leader_id.term) + 1;
        self.go_on(&new, last, term)?;
        // A checkpoint makes the state durable; the copy itself is not needed.
        drop(new.build_snapshot()?);
        Ok(Vote::new(term, self.seed.to.0))
    }

    /// Opens the old state. Whoever still reads from it keeps it closed for a moment.
    fn open_old(&self, folder: &Path) -> io::Result<ReplicaState> {
        let limit = Instant::now() + limits::RELEASE_DEADLINE;
        loop {
            match ReplicaState::open(folder.to_owned(), Arc::clone(&self.stores)) {
                Err(error) if Instant::now() < limit => tracing::debug!(%error, "the replica to go on from is still in use"),
                opened => return opened,
            }
            std::thread::sleep(limits::RELEASE_PAUSE);
        }
    }

    /// Applies everything that the old log has; returns the last of it.
    fn apply_tail(&self, log: &GroupLog, new: &ReplicaState) -> io::Result<LogId> {
        let kind = kind_of(self.seed.group);
        loop {
            let covers = new.covers();
            let next = covers.last_log_id.map_or(0, |last| last.index + 1);
            let entries = log.read(next..u64::MAX, limits::APPLY_BYTES_MAX)?;
            if entries.is_empty() {
                let (_, end) = log.bounds()?;
                return match (covers.last_log_id, end.map(LogId::from)) {
                    (None, _) => Err(io::Error::other(format!("replica {} of group {} holds nothing", self.seed.from, self.seed.group))),
                    (Some(last), Some(end)) if end.index > last.index => {
                        Err(io::Error::other(format!("entries are missing from {next} on")))
                    }
                    (Some(last), _) => Ok(last),
                };
            }
            for (entry, expected) in entries.into_iter().zip(next..) {
                if entry.position.index != expected {
                    return Err(io::Error::other(format!("entry {expected} is missing")));
                }
                apply_entry(new, kind, (crate::log::decode(entry)?, None))?;
            }
        }
    }

    /// Makes the state that of a group with one member.
    fn go_on(&self, new: &ReplicaState, last: LogId, term: u64) -> io::Result<()> {
        let Seed { group, from, to, generation } = self.seed;
        let index = last.index + LOST_ENTRIES_MAX;
        let going = GoingOn { from, to, node: self.member.node(), index, generation };
        let changes = recovered::changes(new.snapshot().as_ref(), kind_of(group), going).map_err(io::Error::other)?;
        let log_id = LogId { leader_id: LeaderId { term, node_id: to.0 }, index };
        let nodes = BTreeMap::from([(to.0, self.member)]);
        let members = Membership::new(vec![BTreeSet::from([to.0])], nodes).map_err(io::Error::other)?;
        let covers = SnapshotMeta { last_log_id: Some(log_id), last_membership: StoredMembership::new(Some(log_id), members) };
        new.commit(changes, covers)
    }
}
