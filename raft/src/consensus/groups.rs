//! Which replicas run on this node: those that the system group places here.
//!
//! The local copy of the system group may be old, also after a restart. So a replica that this node has begun is started by what the copy says, but one is
//! begun from nothing, or removed for ever, only by a fresh read: a member that comes back empty could vote a second time.
//!
//! While a group is recovered after a lost quorum, its replicas that are placed no more are stopped but kept: they may be all that is left if the one that
//! the group goes on from is lost too. Of several placements of a group that this node has begun, only the one with the highest Raft id may run. While the
//! system group itself is recovered nothing is removed: its records may be older than the groups' memberships, which the reconciler brings together first.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use skep_placement::ids::{GroupId, RaftId};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::context::Context;
use super::directory::{Directory, GroupEntry};
use super::limits;
use super::replica::{Replica, folder};
use super::seed::{self, Seed};
use super::system_placement;
use crate::errors::StartError;
use crate::log::LogError;
use crate::types::MemberNode;

/// Removes the folders of replicas without a log: of those that were being removed, or that never came to vote.
fn remove_ended(groups: &Path, begun: &BTreeSet<PathBuf>) -> io::Result<()> {
    let folders = match fs::read_dir(groups) {
        Ok(folders) => folders,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for found in folders {
        let path = found?.path();
        if !begun.contains(&path) {
            tracing::info!(folder = %path.display(), "what is left of a replica is removed");
            fs::remove_dir_all(path)?;
        }
    }
    Ok(())
}

/// Starts what the local copy of the system group says this node has begun before.
pub(crate) async fn start_known(context: &Arc<Context>) -> Result<(), StartError> {
    let groups = context.options.data_dir.join("groups");
    let mut begun: BTreeSet<PathBuf> = context.log.groups().into_iter().map(|key| folder(context, key.group, key.raft)).collect();
    begun.extend(context.replicas().iter().map(|replica| folder(context, replica.group, replica.id)));
    let shown = groups.display().to_string();
    let removed = tokio::task::spawn_blocking(move || remove_ended(&groups, &begun)).await.map_err(io::Error::other).flatten();
    removed.map_err(|error| StartError::Replica { group: GroupId::SYSTEM, folder: shown, problem: error.to_string() })?;
    let directory = context.directory();
    let here = here(context, &directory);
    let newest: BTreeMap<GroupId, RaftId> = context.log.groups().into_iter().map(|key| (key.group, key.raft)).collect();
    for (group, id) in newest.into_iter().filter(|(group, _)| *group != GroupId::SYSTEM) {
        let unsettled = directory.recovery(GroupId::SYSTEM).is_some() && directory.recovery(group).is_none();
        if unsettled || here.contains(&(group, id)) {
            start(context, group, id).await?;
        }
    }
    Ok(())
}

async fn start(context: &Arc<Context>, group: GroupId, id: RaftId) -> Result<(), StartError> {
    let replica = Replica::start(context, group, id).await?;
    begin(context, &replica).await;
    context.add_replica(replica);
    Ok(())
}

/// The first replica of a group makes itself its only member, if nobody else was placed yet.
async fn begin(context: &Context, replica: &Replica) {
    let alone = |entry: &GroupEntry| entry.bootstrap == replica.id && entry.members.len() == 1;
    if !context.directory().groups.get(&replica.group).is_some_and(alone) {
        return;
    }
    if let Err(fatal) = replica.initialize(MemberNode::from(context.options.node)).await {
        tracing::error!(group = %replica.group, %fatal, "a group cannot begin");
    }
}

/// Follows the system group, and starts and ends replicas, until everything must end.
pub(crate) async fn run(context: Arc<Context>) {
    let Some(mut orders) = context.take_orders() else { return };
    let mut stop = context.stop.subscribe();
    loop {
        // Nobody else holds the replica for long: it may be replaced.
        let Some(mut applied) = context.replica(GroupId::SYSTEM).map(|system| system.state.applied()) else { return };
        let index = *applied.borrow_and_update();
        if index > 0 {
            context.keep_system_view(None);
            read_directory(&context);
            context.system_applied.send_replace(index);
        }
        let unfinished = work(&context).await;
        let rest = Instant::now() + if unfinished { limits::UPKEEP_INTERVAL } else { limits::DIRECTORY_INTERVAL };
        if !context.sleep_until(rest).await {
            return;
        }
        let order = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            order = orders.recv() => order,
            changed = applied.changed(), if !unfinished => if changed.is_ok() { None } else { return },
            () = std::future::ready(()), if unfinished => None,
        };
        if let Some(order) = order {
            system_placement::carry_out(&context, order).await;
        }
    }
}

/// Reads the cluster map from the local copy of the system group.
pub(crate) fn read_directory(context: &Context) {
    match Directory::read(&context.system_stale()) {
        Ok(directory) => context.set_directory(directory),
        Err(error) => (context.options.on_fatal)(&format!("cannot read the state of the system group: {error}")),
    }
}

/// A placement: the group and its Raft id.
type Placement = (GroupId, RaftId);

/// Starts and ends replicas; true if something is left to do that cannot be done now.
async fn work(context: &Arc<Context>) -> bool {
    let directory = context.directory();
    let here = here(context, &directory);
    let begun: BTreeSet<Placement> = context.log.groups().into_iter().map(|key| (key.group, key.raft)).collect();
    let running: BTreeSet<Placement> = context.replicas().iter().map(|replica| (replica.group, replica.id)).collect();
    let mut failed = false;
    // A group that goes on elsewhere, or here under another id, is not served by an older generation.
    for (group, id) in running.iter().filter(|key| !here.contains(key) && directory.recovery(key.0).is_some() && key.0 != GroupId::SYSTEM) {
        stop(context, *group, *id).await;
    }
    // A later placement that has begun proves that an earlier one is over, whatever an old map says.
    let newest: BTreeMap<GroupId, RaftId> = begun.iter().copied().collect();
    for (group, id) in here.intersection(&begun).filter(|key| !running.contains(key) && newest.get(&key.0) == Some(&key.1)) {
        failed |= !try_start(context, *group, *id).await;
    }
    let over = |directory: &Directory, here: &BTreeSet<Placement>| {
        let ended = |key: &Placement| is_over(context, directory, here, *key);
        begun.union(&running).copied().filter(ended).collect::<Vec<Placement>>()
    };
    let to_begin: Vec<_> = here.difference(&begun).copied().collect();
    if to_begin.is_empty() && over(&directory, &here).is_empty() {
        return failed;
    }
    let Ok(view) = context.system(Instant::now() + limits::DEFAULT_DEADLINE).await else { return true };
    let Ok(fresh) = Directory::read(&view) else { return true };
    drop(view);
    let here = self::here(context, &fresh);
    for (group, id) in over(&fresh, &here) {
        if let Err(error) = end(context, group, id).await {
            tracing::error!(%group, %id, %error, "a replica cannot be removed");
            failed = true;
        }
    }
    let recoveries = fresh.clone();
    context.set_directory(fresh);
    for (group, id) in to_begin.into_iter().filter(|key| here.contains(key)) {
        failed |= !try_begin(context, &recoveries, group, id).await;
    }
    failed
}

/// Whether a placement that was begun here is over for ever, by a map that is fresh. What a recovery may still need is not.
fn is_over(context: &Context, directory: &Directory, here: &BTreeSet<Placement>, (group, id): Placement) -> bool {
    let recovered = directory.recovery(GroupId::SYSTEM).is_some() || directory.recovery(group).is_some();
    if group != GroupId::SYSTEM {
        return !recovered && !here.contains(&(group, id));
    }
    let current = context.replica(GroupId::SYSTEM).map(|replica| replica.id);
    let is_member = directory.groups.get(&group).is_some_and(|entry| current.is_some_and(|current| entry.member(current).is_some()));
    !recovered && is_member && current.is_some_and(|current| id < current)
}

/// The placements on this node.
fn here(context: &Context, directory: &Directory) -> BTreeSet<(GroupId, RaftId)> {
    let placed = |(group, entry): (&GroupId, &GroupEntry)| entry.on(context.options.node).map(|member| (*group, member.raft));
    directory.groups.iter().filter_map(placed).filter(|(group, _)| *group != GroupId::SYSTEM).collect()
}

async fn try_start(context: &Arc<Context>, group: GroupId, id: RaftId) -> bool {
    // The placement before it must have ended.
    if context.replica(group).is_some() {
        return false;
    }
    match start(context, group, id).await {
        Ok(()) => true,
        Err(error) => {
            tracing::error!(%group, %id, %error, "a replica cannot be started");
            false
        }
    }
}

/// Begins a placement that this node has nothing of: from nothing, or from the replica here that its group goes on from.
async fn try_begin(context: &Arc<Context>, directory: &Directory, group: GroupId, id: RaftId) -> bool {
    let recovery = directory.recovery(group).filter(|recovery| recovery.to == id);
    let Some(recovery) = recovery else { return try_start(context, group, id).await };
    stop(context, group, recovery.from).await;
    let generation = context.generation(group).unwrap_or_default();
    match seed::make(context, Seed { group, from: recovery.from, to: id, generation }).await {
        Ok(()) => try_start(context, group, id).await,
        Err(error) => {
            tracing::error!(%group, from = %recovery.from, to = %id, %error, "the group cannot go on from the replica here");
            false
        }
    }
}

/// Stops a replica, if it runs; what it has stays.
async fn stop(context: &Context, group: GroupId, id: RaftId) {
    if context.replica(group).is_some_and(|replica| replica.id == id)
        && let Some(replica) = context.take_replica(group)
    {
        replica.stop().await;
        context.leadership(group).send_replace(super::context::Leadership::default());
    }
}

/// Ends a placement for ever: first its log, so that it can never vote again, then its state.
async fn end(context: &Arc<Context>, group: GroupId, id: RaftId) -> io::Result<()> {
    stop(context, group, id).await;
    let (done, removed) = oneshot::channel();
    let told = Box::new(move |result: Result<(), LogError>| {
        let _gone = done.send(result);
    });
    match context.log.remove(group, id, told) {
        Ok(()) => removed.await.map_err(io::Error::other)??,
        Err(LogError::Removed { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let folder = folder(context, group, id);
    tracing::info!(%group, %id, "a replica is removed");
    let removed = tokio::task::spawn_blocking(move || fs::remove_dir_all(folder)).await.map_err(io::Error::other)?;
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
