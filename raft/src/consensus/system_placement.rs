//! Which placement of the system group this node has, and how it comes to another one after a lost quorum.
//!
//! The group's record cannot be trusted for that: it lies in the group itself. Two things happen, each by an order to the one task that starts and ends
//! replicas. *Going on*: this node's replica becomes the only member of a new generation ([`super::seed`]). *Adopting*: the recovered group tells this
//! node of its new placement, which begins empty. Either way Raft ids only grow, so of several that a node has begun the highest is in force; the
//! others stay, stopped, until the group's record says that the recovery is over.

use std::io;
use std::sync::Arc;

use skep_placement::ids::{Generation, GroupId, RaftId};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::adoption::{self, Adopted};
use super::context::{Context, Leadership};
use super::groups::read_directory;
use super::limits;
use super::replica::Replica;
use super::seed::{self, Seed};
use super::survey;
use crate::errors::StartError;
use crate::format::raft_types::decode_log_id;
use crate::recovery::Position;

/// What the replica of the system group here is to do.
#[derive(Debug)]
pub(crate) enum Order {
    /// Go on as the only member of a new generation; the new Raft id is the answer.
    GoOn { from: RaftId, last: Option<Position>, answer: oneshot::Sender<Result<RaftId, String>> },
    /// Begin anew as a member of a generation that went on elsewhere.
    Adopt(Adopted),
}

/// Starts the replica of the system group.
pub(crate) async fn start(context: &Arc<Context>) -> Result<(), StartError> {
    let folder = context.options.data_dir.clone();
    let shown = folder.display().to_string();
    let read = tokio::task::spawn_blocking(move || adoption::read(&folder)).await.map_err(io::Error::other).flatten();
    let adopted = read.map_err(|error| StartError::Replica { group: GroupId::SYSTEM, folder: shown, problem: error.to_string() })?;
    let logged = context.log.groups().into_iter().filter(|key| key.group == GroupId::SYSTEM).map(|key| key.raft).next_back();
    let id = match (context.options.system_raft_id, logged, adopted) {
        // A placement that was begun later than the one adopted last went on from here.
        (_, _, Some(adopted)) => logged.unwrap_or_default().max(adopted.raft),
        (Some(told), Some(found), None) if told > found => {
            return Err(StartError::OtherSystemReplica { expected: told.0, found: found.0 });
        }
        (_, Some(found), None) => found,
        (Some(told), None, None) => told,
        (None, None, None) => return Err(StartError::NoSystemReplica),
    };
    context.raise_system_generation(adopted.map(|adopted| adopted.generation).unwrap_or_default());
    let replica = Replica::start(context, GroupId::SYSTEM, id).await?;
    context.add_replica(replica);
    read_directory(context);
    Ok(())
}

/// Carries an order out.
pub(crate) async fn carry_out(context: &Arc<Context>, order: Order) {
    match order {
        Order::GoOn { from, last, answer } => {
            let done = go_on(context, from, last).await;
            if let Err(why) = &done {
                tracing::error!(%why, "the system group does not go on from here");
            }
            // Whoever asked may have given up; the second try finds what was done.
            let _gone = answer.send(done);
        }
        Order::Adopt(adopted) => {
            if let Err(error) = adopt(context, adopted).await {
                // The recovered group asks again.
                tracing::error!(%error, "a placement of the recovered system group cannot begin");
            }
        }
    }
}

/// Makes the replica here the only member of a new generation.
async fn go_on(context: &Arc<Context>, from: RaftId, last: Option<Position>) -> Result<RaftId, String> {
    let current = context.replica(GroupId::SYSTEM).map(|replica| replica.id);
    if current != Some(from) {
        return Err(format!("the node's replica of the system group is {current:?}, not {from}"));
    }
    let found = survey::survey(context, GroupId::SYSTEM).await.map_err(|error| error.to_string())?;
    let here = found.iter().find(|replica| replica.raft_id == from.0).ok_or("the replica is not there")?;
    let has = decode_log_id(&here.last_log_id).map_err(|error| error.to_string())?.map(Position::from);
    if has < last {
        return Err("the replica does not have what was shown of it".to_owned());
    }
    let known = context.generation(GroupId::SYSTEM).unwrap_or_default();
    let generation = Generation(context.options.clock.now_micros().max(known.0.saturating_add(1)));
    let to = survey::unused_raft_id(context).map_err(|error| error.to_string())?.max(RaftId(generation.0));
    stop_current(context).await;
    let seed = Seed { group: GroupId::SYSTEM, from, to, generation };
    let made = seed::make(context, seed).await;
    // The vote in the log decides which one is in force, whatever else went wrong.
    let begun = context.log.groups().iter().any(|key| key.group == GroupId::SYSTEM && key.raft == to);
    let id = if begun { to } else { from };
    if begun {
        context.raise_system_generation(generation);
    }
    begin(context, id).await;
    made.map(|()| to).map_err(|error| error.to_string())
}

/// Begins a placement of a generation that went on elsewhere, once it is noted durably.
async fn adopt(context: &Arc<Context>, adopted: Adopted) -> io::Result<()> {
    if !is_newer(context, adopted) {
        return Ok(());
    }
    let folder = context.options.data_dir.clone();
    tokio::task::spawn_blocking(move || adoption::write(&folder, adopted)).await.map_err(io::Error::other)??;
    fail::fail_point!("adoption-noted", |_| Err(io::Error::other("the process ends after the note")));
    context.raise_system_generation(adopted.generation);
    tracing::warn!(generation = %adopted.generation, id = %adopted.raft, "the system group was recovered elsewhere: the replica here begins anew");
    stop_current(context).await;
    begin(context, adopted.raft).await;
    Ok(())
}

/// Whether a placement is of a later generation, or a later one of the same, than the replica here.
pub(crate) fn is_newer(context: &Context, adopted: Adopted) -> bool {
    let generation = context.generation(GroupId::SYSTEM).unwrap_or_default();
    let raft = context.replica(GroupId::SYSTEM).map(|replica| replica.id).unwrap_or_default();
    adopted > Adopted { generation, raft } && adopted.raft > raft
}

/// Stops the replica here; its last view stays in use until the next one has something.
async fn stop_current(context: &Context) {
    let Some(replica) = context.replica(GroupId::SYSTEM) else { return };
    let covers_something = replica.state.covers().last_log_id.is_some();
    drop(replica);
    if covers_something {
        keep_view(context);
    }
    if let Some(replica) = context.take_replica(GroupId::SYSTEM) {
        replica.stop().await;
        context.leadership(GroupId::SYSTEM).send_replace(Leadership::default());
        context.set_leader_hint(GroupId::SYSTEM, None);
    }
}

/// Copies what a view is made of: a store that is held open could not be opened again.
fn keep_view(context: &Context) {
    match context.system_stale().copy() {
        Ok(view) => context.keep_system_view(Some(view)),
        Err(error) => (context.options.on_fatal)(&format!("cannot read the state of the system group: {error}")),
    }
}

/// Starts a placement. A node cannot do without one: what is durable is found at its next start.
async fn begin(context: &Arc<Context>, id: RaftId) {
    let limit = Instant::now() + limits::RELEASE_DEADLINE;
    loop {
        match Replica::start(context, GroupId::SYSTEM, id).await {
            Ok(replica) => {
                context.add_replica(replica);
                read_directory(context);
                return;
            }
            // Whoever still reads from its state keeps it closed for a moment.
            Err(_in_use) if Instant::now() < limit => tokio::time::sleep(limits::RETRY_PAUSE).await,
            Err(error) => return (context.options.on_fatal)(&error.to_string()),
        }
    }
}
