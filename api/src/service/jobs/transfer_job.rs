//! Copies and moves as a job: item after item, each decided anew as the user who asked, each step safe to take twice.
//!
//! Within a datasource an item is one command. What is too large for one, or goes to another datasource, is built entry by entry in a hidden folder and
//! linked by one command, so that nobody ever sees half of it.

use std::sync::Arc;
use std::time::Duration;

use skep_placement::chunk::FileHasher;
use skep_placement::ids::EntryId;
use skep_raft::handle::Proposed;
use skep_raft::wire::meta::v1::{Command, CopyEntry, DeleteEntry, Entry, MoveEntry, Precondition, TreeCommand, command, tree_command};

use super::across::Builder;
use super::ends::Ends;
use super::position::Position;
use super::record::{JobKind, TransferParameters, derived_id};
use super::running::Running;
use tokio::time::Instant;

use crate::auth::rights::{Action, Authorized, WriteTree};
use crate::error_code::{ErrorCode, Failure};
use crate::limits;
use crate::request_context::RequestContext;
use crate::service::place::Place;
use crate::service::tree::{StatRequest, entry_id, is_folder};
use crate::service::user_path::UserPath;
use crate::service::{command_of, id_bytes};

/// Works through all items.
pub(super) async fn run(running: &Running, kind: JobKind) -> Result<(), Failure> {
    let parameters = TransferParameters::from_json(&running.job.parameters_json)?;
    let items = parameters.nodes.len();
    let mut went_elsewhere = false;
    while let Some(node) = parameters.nodes.get(running.position().item) {
        let position = running.position();
        running.show(permille(position.item, items), format!("item {} of {items}: {node}", position.item + 1));
        item(running, kind, &parameters, node).await.map_err(|failure| failure.at(node))?;
        went_elsewhere |= running.position().linked;
        running.reach(position.next_item());
    }
    if went_elsewhere && kind == JobKind::Move {
        running.show(1_000, "done; what went to another datasource has its notes there, but not its older versions".to_owned());
    }
    Ok(())
}

fn permille(done: usize, all: usize) -> u64 {
    u64::try_from(done * 1_000 / all.max(1)).unwrap_or(1_000)
}

async fn item(running: &Running, kind: JobKind, parameters: &TransferParameters, node: &str) -> Result<(), Failure> {
    let mut ends = Ends::decide(running, (kind, parameters), node, &target_path(running, parameters, node)?).await?;
    let mut position = running.position();
    let source = running.service().stat_if_there(&mut ends.source, StatRequest::default(), &running.context()).await?;
    if position.is_begun() && taken_before(running, &mut ends, &mut position).await? {
        return finish_move(running, &ends, &mut position).await;
    }
    let source = source.ok_or_else(|| Failure::not_found(node))?;
    if !position.is_begun() {
        let there = running.service().stat_if_there(&mut ends.target, StatRequest::default(), &running.context()).await?;
        if let Some(there) = there.filter(|_| !ends.overwrite) {
            free_name(running, kind, &mut ends, &there).await?;
        }
        ends.check_source(running, &source).await?;
        // A copy by one command that is taken twice would give way to itself; one that is built first is linked once.
        position.stepwise = ends.overwrite && ends.leaving.is_none();
        position.source = Some(entry_id(&source).to_string());
        position.source_etag = Some(source.etag.clone());
        position.target = Some(ends.target.subject().path().to_string());
        running.reach(position.clone());
        running.save().await?;
    }
    take(running, &mut ends, &source, &mut position).await?;
    finish_move(running, &ends, &mut position).await
}

/// Where an item goes: as decided before, else by the parameters.
fn target_path(running: &Running, parameters: &TransferParameters, node: &str) -> Result<UserPath, Failure> {
    if let Some(decided) = running.position().target {
        return decided.parse();
    }
    let target: UserPath = parameters.target.parse()?;
    if !parameters.target_parent {
        return Ok(target);
    }
    let source: UserPath = node.parse()?;
    let name = source.last().ok_or_else(|| Failure::new(ErrorCode::BadRequest, "nodes: a path is empty"))?;
    target.child(name)
}

/// True if an earlier try has put the item at its target already.
async fn taken_before(running: &Running, ends: &mut Ends, position: &mut Position) -> Result<bool, Failure> {
    if position.linked {
        return Ok(true);
    }
    let Some(there) = running.service().stat_if_there(&mut ends.target, StatRequest::default(), &running.context()).await? else {
        return Ok(false);
    };
    let source: EntryId = position.source.as_deref().unwrap_or_default().parse().unwrap_or_default();
    let there = entry_id(&there);
    if there == Builder::root_entry(running, position.item) {
        position.linked = true;
        return Ok(true);
    }
    if there == source || there == copied_entry(running, position.item, source) {
        return Ok(true);
    }
    if ends.overwrite {
        return Ok(false);
    }
    Err(Failure::new(ErrorCode::AlreadyExists, format!("{}: something else has this name now", ends.target.subject().path())))
}

/// A copy beside its source gets a free name; anything else in the way is a failure.
async fn free_name(running: &Running, kind: JobKind, ends: &mut Ends, there: &Entry) -> Result<(), Failure> {
    let place = ends.target.subject().clone();
    let beside = ends.source.subject().path().parent() == place.path().parent();
    if kind != JobKind::Copy || !beside {
        let what = if is_folder(there) { "folder" } else { "file" };
        return Err(Failure::new(ErrorCode::AlreadyExists, format!("{}: a {what} of this name exists already", place.path())));
    }
    let view = running.service().metadata().system(running.context().deadline()).await?;
    for number in 1..=limits::COPY_NAMES {
        let name = numbered(place.name().unwrap_or_default(), number, is_folder(there));
        let parent = place.path().parent().unwrap_or_default();
        let candidate = place.with_path(parent.child(&name)?);
        let mut proof: Authorized<WriteTree, Place> = Authorized::decide(&view, Arc::clone(ends.target.who()), candidate)?;
        if running.service().stat_if_there(&mut proof, StatRequest::default(), &running.context()).await?.is_none() {
            ends.target = proof;
            return Ok(());
        }
    }
    Err(Failure::new(ErrorCode::AlreadyExists, format!("{}: no free name for a copy was found", place.path())))
}

/// `plan-1.pdf` for `plan.pdf`.
fn numbered(name: &str, number: u32, is_folder: bool) -> String {
    match name.rsplit_once('.') {
        Some((stem, ending)) if !stem.is_empty() && !is_folder => format!("{stem}-{number}.{ending}"),
        _ => format!("{name}-{number}"),
    }
}

/// Puts the item at its target: by one command if that can be, else entry by entry.
async fn take(running: &Running, ends: &mut Ends, source: &Entry, position: &mut Position) -> Result<(), Failure> {
    running.service().ensure_home(&mut ends.target, &running.context()).await?;
    let same = ends.source.subject().datasource() == ends.target.subject().datasource();
    // What lies in the past is made again entry by entry, as it was.
    if same && !position.stepwise && ends.source.subject().instant() == 0 {
        let done = if ends.leaving.is_some() {
            move_at_once(running, ends, source).await
        } else {
            copy_at_once(running, ends, position.item).await
        };
        match done {
            Err(failure) if failure.code == ErrorCode::TooLarge && ends.leaving.is_none() => {
                position.stepwise = true;
                running.reach(position.clone());
            }
            other => return other,
        }
    }
    Builder::new(running, ends, source).build(position).await?;
    position.linked = true;
    running.reach(position.clone());
    Ok(())
}

async fn move_at_once(running: &Running, ends: &mut Ends, source: &Entry) -> Result<(), Failure> {
    let putting = ends.putting(running, ends.source.subject().entry(), entry_id(source));
    let command = MoveEntry { condition: ends.condition.clone(), ..putting };
    step_or_there(running, ends, tree_command::What::MoveEntry(command), entry_id(source)).await
}

async fn copy_at_once(running: &Running, ends: &mut Ends, item: usize) -> Result<(), Failure> {
    let source: EntryId = running.position().source.as_deref().unwrap_or_default().parse().unwrap_or_default();
    let command = CopyEntry {
        from: Some(ends.source.subject().entry()),
        to: Some(ends.target.subject().entry()),
        seed: id_bytes(derived_id(running.id(), item, "copy", b"")),
        condition: ends.condition.clone(),
        target_condition: ends.target_condition.clone(),
        ..CopyEntry::default()
    };
    step_or_there(running, ends, tree_command::What::CopyEntry(command), copied_entry(running, item, source)).await
}

/// Takes a step; where its answer was lost, looks whether the wanted entry is at the target.
async fn step_or_there(running: &Running, ends: &mut Ends, what: tree_command::What, wanted: EntryId) -> Result<(), Failure> {
    let taken = step_as(running, &ends.target, what, &running.deciding()).await;
    let Err(failure) = taken else { return Ok(()) };
    if !matches!(failure.code, ErrorCode::Unknown | ErrorCode::NotFound | ErrorCode::AlreadyExists | ErrorCode::Conflict) {
        return Err(failure);
    }
    let there = running.service().stat_if_there(&mut ends.target, StatRequest::default(), &running.context()).await?;
    if there.is_some_and(|there| entry_id(&there) == wanted) { Ok(()) } else { Err(failure) }
}

/// Removes the source of a move that was built anew at its target, if nobody has changed it meanwhile.
async fn finish_move(running: &Running, ends: &Ends, position: &mut Position) -> Result<(), Failure> {
    let Some(leaving) = ends.leaving.as_ref().filter(|_| position.linked) else { return Ok(()) };
    let etags_any = position.source_etag.clone().into_iter().collect();
    let command = DeleteEntry {
        path: Some(leaving.subject().entry()),
        permanently: true,
        condition: Some(Precondition { etags_any, ..Precondition::default() }),
        ..DeleteEntry::default()
    };
    match step(running, leaving, tree_command::What::DeleteEntry(command)).await {
        Ok(_) => Ok(()),
        Err(failure) if failure.code == ErrorCode::NotFound => Ok(()),
        Err(failure) if failure.code == ErrorCode::PreconditionFailed => {
            let why = "it was changed while it was moved: the copy at the target is complete as of the beginning, and the source was left where it is";
            Err(Failure::new(ErrorCode::Conflict, why))
        }
        Err(failure) => Err(failure),
    }
}

/// Proposes one command of a job, tried again while the cluster is not available. Only for commands that are safe to take twice.
pub(super) async fn step<A: Action>(
    running: &Running,
    proof: &Authorized<A, Place>,
    what: tree_command::What,
) -> Result<Proposed, Failure> {
    step_as(running, proof, what, &running.context()).await
}

/// [`step`] under a context of the job.
pub(super) async fn step_as<A: Action>(
    running: &Running,
    proof: &Authorized<A, Place>,
    what: tree_command::What,
    context: &RequestContext,
) -> Result<Proposed, Failure> {
    let service = running.service();
    let what = command::What::Tree(TreeCommand { what: Some(what) });
    let mut tries = 0;
    loop {
        let deadline = Instant::now() + limits::JOB_STEP_WAIT;
        let index = proof.index_for_proposal(service.metadata(), service.now_micros(), deadline).await;
        let failure = match index {
            Ok(index) => {
                // What is built hidden counts nowhere; the command that links it must fit.
                let command = Command { quotas: proof.quotas(), ..command_of(proof.actor(), index, what.clone(), context) };
                match service.metadata().propose(proof.subject().group(), command, deadline).await {
                    Ok(proposed) => return Ok(proposed),
                    Err(error) => Failure::from(error),
                }
            }
            Err(failure) => failure,
        };
        if !matches!(failure.code, ErrorCode::Unavailable | ErrorCode::TooBusy) || tries >= limits::JOB_TRIES {
            return Err(failure);
        }
        tries += 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// The id that the state machine gives the copy of an entry under this job's seed. Only compared: if the two ever differed, a copy that is there already
/// would be reported as standing in the way.
fn copied_entry(running: &Running, item: usize, source: EntryId) -> EntryId {
    let mut hasher = FileHasher::new();
    hasher.update(&derived_id(running.id(), item, "copy", b""));
    hasher.update(&source.0);
    hasher.update(b"entry");
    let hash = hasher.hash();
    EntryId(*hash.first_chunk::<16>().expect("a hash has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::{numbered, permille};

    #[test]
    fn copies_beside_their_source_are_numbered_before_the_ending() {
        assert_eq!(numbered("plan.pdf", 1, false), "plan-1.pdf");
        assert_eq!(numbered("a.tar.gz", 2, false), "a.tar-2.gz");
        assert_eq!(numbered(".profile", 1, false), ".profile-1");
        assert_eq!(numbered("v1.2", 1, true), "v1.2-1");
        assert_eq!(numbered("notes", 3, false), "notes-3");
    }

    #[test]
    fn progress_is_counted_in_items() {
        assert_eq!((permille(0, 4), permille(1, 4), permille(4, 4), permille(0, 0)), (0, 250, 1_000, 0));
    }
}
