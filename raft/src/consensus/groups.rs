//! Which replicas run on this node: those that the system group places here.
//!
//! The local copy of the system group may be old, also after a restart. So a replica that this node has begun is started by what the copy says, but one is
//! begun from nothing, or removed for ever, only by a fresh read: a member that comes back empty could vote a second time.

use std::collections::BTreeSet;
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
use crate::errors::StartError;
use crate::log::LogError;
use crate::types::MemberNode;

/// Starts the replica of the system group.
pub(crate) async fn start_system(context: &Arc<Context>) -> Result<(), StartError> {
    let logged = context.log.groups().into_iter().filter(|key| key.group == GroupId::SYSTEM).map(|key| key.raft).next_back();
    let id = match (context.options.system_raft_id, logged) {
        (Some(told), Some(found)) if told != found => return Err(StartError::OtherSystemReplica { expected: told.0, found: found.0 }),
        (Some(id), _) | (None, Some(id)) => id,
        (None, None) => return Err(StartError::NoSystemReplica),
    };
    let replica = Replica::start(context, GroupId::SYSTEM, id).await?;
    context.add_replica(Arc::clone(&replica));
    read_directory(context);
    Ok(())
}

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
    for key in context.log.groups() {
        let placed = context.directory().groups.get(&key.group).and_then(|group| group.member(key.raft));
        if key.group != GroupId::SYSTEM && placed.is_some_and(|member| member.node == context.options.node) {
            start(context, key.group, key.raft).await?;
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

/// Follows the system group until everything must end.
pub(crate) async fn run(context: Arc<Context>) {
    let Some(system) = context.replica(GroupId::SYSTEM) else { return };
    let mut applied = system.state.applied();
    let mut stop = context.stop.subscribe();
    loop {
        let index = *applied.borrow_and_update();
        read_directory(&context);
        context.system_applied.send_replace(index);
        let unfinished = work(&context).await;
        let rest = Instant::now() + if unfinished { limits::UPKEEP_INTERVAL } else { limits::DIRECTORY_INTERVAL };
        if !context.sleep_until(rest).await {
            return;
        }
        if unfinished {
            continue;
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            changed = applied.changed() => if changed.is_err() { return },
        }
    }
}

/// Measures free space until everything must end.
pub(crate) async fn measure_space(context: Arc<Context>) {
    while context.sleep_until(Instant::now() + limits::SPACE_INTERVAL).await {
        let measuring = Arc::clone(&context);
        if tokio::task::spawn_blocking(move || measuring.space.measure()).await.is_err() {
            return;
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

/// Starts and ends replicas; true if something is left to do that cannot be done now.
async fn work(context: &Arc<Context>) -> bool {
    let here = here(context, &context.directory());
    let begun: BTreeSet<(GroupId, RaftId)> = context.log.groups().into_iter().map(|key| (key.group, key.raft)).collect();
    let running: BTreeSet<(GroupId, RaftId)> = context.replicas().iter().map(|replica| (replica.group, replica.id)).collect();
    let mut failed = false;
    for (group, id) in here.intersection(&begun).filter(|key| !running.contains(key)) {
        failed |= !try_start(context, *group, *id).await;
    }
    let to_begin: Vec<_> = here.difference(&begun).copied().collect();
    let to_end: Vec<_> = begun.union(&running).filter(|key| key.0 != GroupId::SYSTEM && !here.contains(key)).copied().collect();
    if to_begin.is_empty() && to_end.is_empty() {
        return failed;
    }
    let Ok(view) = context.system(Instant::now() + limits::DEFAULT_DEADLINE).await else { return true };
    let Ok(fresh) = Directory::read(&view) else { return true };
    drop(view);
    let here = self::here(context, &fresh);
    context.set_directory(fresh);
    for (group, id) in to_end.into_iter().filter(|key| !here.contains(key)) {
        if let Err(error) = end(context, group, id).await {
            tracing::error!(%group, %id, %error, "a replica cannot be removed");
            failed = true;
        }
    }
    for (group, id) in to_begin.into_iter().filter(|key| here.contains(key)) {
        failed |= !try_start(context, group, id).await;
    }
    failed
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

/// Ends a placement for ever: first its log, so that it can never vote again, then its state.
async fn end(context: &Arc<Context>, group: GroupId, id: RaftId) -> io::Result<()> {
    if context.replica(group).is_some_and(|replica| replica.id == id)
        && let Some(replica) = context.take_replica(group)
    {
        replica.stop().await;
        context.leadership(group).send_replace(super::context::Leadership::default());
    }
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
