//! Bringing a file or folder back to an instant, by one command: what has changed becomes a new version that shares the old content, what is gone is made
//! again, what is new goes. Nothing is copied.
//!
//! Invariant: the command is refused if anything below has changed since it was planned, and planned anew; so it is all of the instant or nothing.

use std::collections::BTreeSet;

use bytes::Bytes;
use skep_raft::wire::meta::v1::{
    BatchStep, Command, CreateFolder, CurrentRecord, DeleteEntry, DiffPage, DiffQuery, Difference, EntryKind, EntryPath, HoldsStill,
    MoveEntry, Precondition, SetTimes, TreeBatch, TreeCommand, UseVersion, answer, batch_step, command, query, tree_command,
};

use super::tree::absent_or_fault;
use super::{Service, command_of, id_bytes};
use crate::auth::rights::{Authorized, WriteTree};
use crate::error_code::{ErrorCode, Failure};
use crate::limits;
use crate::request_context::RequestContext;
use crate::service::place::{Place, RECYCLE_BIN};

/// How often a restore is planned anew because something changed meanwhile.
const TRIES: usize = 8;

/// What a restore did, or would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Files and folders made again.
    pub made: u64,
    /// Files that got an older content as a new version.
    pub reverted: u64,
    /// Entries moved back to where they were.
    pub moved: u64,
    /// Entries that were not there and went, folders counted as one.
    pub removed: u64,
    /// Names that were compared.
    pub looked_at: u64,
}

impl Service {
    /// Brings the place of the proof back to an instant, a stamp; or only says what that would change.
    ///
    /// # Errors
    /// [`ErrorCode::OutsideRetention`], [`ErrorCode::Gone`] if a content is not kept any more, [`ErrorCode::TooLarge`] if more differs than one command can
    /// change, [`ErrorCode::Conflict`] if it is changed all the time; [`ErrorCode::Unknown`].
    pub async fn restore(
        &self,
        mut proof: Authorized<WriteTree, Place>,
        (at, only_say): (u64, bool),
        context: &RequestContext,
    ) -> Result<Restored, Failure> {
        super::instant::check_past(at, self.now_micros())?;
        let place = proof.subject().clone();
        let mut moves = true;
        // What a command has perhaps done whose outcome is not known: the next comparison tells.
        let mut perhaps = None;
        for _ in 0..TRIES {
            let context = context.continued();
            let question = DiffQuery { path: Some(place.entry()), at, moves, ..DiffQuery::default() };
            let page = self.differences(&mut proof, question, &context).await?;
            let (steps, restored) = self.plan(&place, &page)?;
            // The first step changes nothing.
            if only_say || steps.len() <= 1 {
                return Ok(perhaps.unwrap_or(restored));
            }
            // The comparison of a large folder takes its time, which is not the command's.
            let context = context.continued();
            let index = proof.index_for_proposal(self.metadata(), self.now_micros(), context.deadline()).await?;
            let what = command::What::Tree(TreeCommand { what: Some(tree_command::What::Batch(TreeBatch { steps })) });
            let command = Command { quotas: proof.quotas(), ..command_of(proof.actor(), index, what, &context) };
            match self.metadata().propose(place.group(), command, context.deadline()).await.map_err(Failure::from) {
                Ok(_done) => return Ok(restored),
                Err(failure) if failure.code == ErrorCode::PreconditionFailed => {}
                Err(failure) if failure.code == ErrorCode::Unknown => {
                    tracing::info!(%failure, "a restoration may have been made; comparing again");
                    perhaps = Some(restored);
                }
                // Entries that changed places with each other cannot be moved one after the other: then they are made again.
                Err(failure) if moves && is_of_order(failure.code) => moves = false,
                Err(failure) => return Err(failure.at(&place.path().to_string())),
            }
        }
        if perhaps.is_some() {
            return Err(Failure::new(ErrorCode::Unknown, format!("{}: whether it was restored is not known; try again", place.path())));
        }
        let why = format!("{}: it is changed all the time; nothing was restored, try again", place.path());
        Err(Failure::new(ErrorCode::Conflict, why))
    }

    /// What differs at or below the place of a proof.
    pub(super) async fn differences(
        &self,
        proof: &mut Authorized<WriteTree, Place>,
        question: DiffQuery,
        context: &RequestContext,
    ) -> Result<DiffPage, Failure> {
        let question = DiffQuery { limit: u32::try_from(limits::BATCH_STEPS).unwrap_or(u32::MAX), ..question };
        match self.ask(proof, query::What::Diff(question), context).await?.what {
            Some(answer::What::Diff(page)) => Ok(page),
            other => Err(absent_or_fault(proof.subject(), other)),
        }
    }

    /// The steps that undo the differences.
    fn plan(&self, place: &Place, page: &DiffPage) -> Result<(Vec<BatchStep>, Restored), Failure> {
        let mut restored = Restored { looked_at: page.looked_at, ..Restored::default() };
        let moved: BTreeSet<Bytes> = page
            .differences
            .iter()
            .filter(|difference| difference.moved)
            .filter_map(|difference| Some(difference.was.as_ref()?.entry.clone()))
            .collect();
        let mut steps = Vec::new();
        let as_compared = match &page.folder {
            Some(folder) => Precondition { etags_any: vec![folder.etag.clone()], ..Precondition::default() },
            None => Precondition { must_not_exist: true, ..Precondition::default() },
        };
        let still = HoldsStill { path: Some(place.entry()), condition: Some(as_compared), ..HoldsStill::default() };
        steps.push(batch_step::What::HoldsStill(still));
        for difference in page.differences.iter().filter(|difference| !is_bin(place, &difference.names)) {
            if difference.pruned {
                return Err(self.pruned_at(place, &difference.names));
            }
            self.undo(place, difference, &moved, &mut steps, &mut restored);
        }
        if page.total > u64::try_from(page.differences.len()).unwrap_or(u64::MAX) {
            let why = format!(
                "{}: {} entries differ from then, more than the {} that one change may touch; begin the job restore-instant, which brings more \
                 back (`skep restore` does with --as)",
                place.path(),
                page.total,
                limits::BATCH_STEPS
            );
            return Err(Failure::new(ErrorCode::TooLarge, why));
        }
        Ok((steps.into_iter().map(|what| BatchStep { what: Some(what) }).collect(), restored))
    }

    /// The steps that undo one difference at or below a place.
    pub(super) fn undo(
        &self,
        place: &Place,
        difference: &Difference,
        moved: &BTreeSet<Bytes>,
        steps: &mut Vec<batch_step::What>,
        restored: &mut Restored,
    ) {
        let mut path = place.entry();
        path.names.extend_from_slice(&difference.names);
        let delete = |path: &EntryPath| {
            let path = Some(path.clone());
            batch_step::What::DeleteEntry(DeleteEntry { path, permanently: true, ..DeleteEntry::default() })
        };
        let (was, is) = (difference.was.as_ref(), difference.is.as_ref());
        let Some(was) = was else {
            if is.is_some_and(|is| !moved.contains(&is.entry)) {
                steps.push(delete(&path));
                restored.removed += 1;
            }
            return;
        };
        let same_kind = is.is_some_and(|is| is.kind == was.kind);
        if is.is_some_and(|is| is.entry == was.entry) && is_folder(was) {
            steps.push(batch_step::What::SetTimes(SetTimes { path: Some(path), mtime: was.mtime }));
            return;
        }
        // What is in the way and is no older state of the same goes, unless a step before has moved it to its own place.
        let in_the_way = is.is_some_and(|is| !moved.contains(&is.entry)) && (difference.moved || is_folder(was) || !same_kind);
        if in_the_way {
            steps.push(delete(&path));
        }
        if difference.moved {
            let from = EntryPath { base: was.entry.clone(), names: Vec::new() };
            steps.push(batch_step::What::MoveEntry(MoveEntry { from: Some(from), to: Some(path.clone()), ..MoveEntry::default() }));
            steps.push(batch_step::What::SetTimes(SetTimes { path: Some(path), mtime: was.mtime }));
            restored.moved += 1;
        } else if is_folder(was) {
            let entry = id_bytes(self.draw_entry().0);
            steps.push(batch_step::What::CreateFolder(CreateFolder {
                path: Some(path),
                entry,
                mtime: was.mtime,
                ..CreateFolder::default()
            }));
            restored.made += 1;
        } else {
            steps.push(batch_step::What::UseVersion(UseVersion {
                path: Some(path),
                entry: id_bytes(self.draw_entry().0),
                version: id_bytes(self.draw_version().0),
                of_entry: was.entry.clone(),
                of_version: was.version.clone(),
                keep_mtime: true,
                mtime: was.mtime,
                ..UseVersion::default()
            }));
            if same_kind { restored.reverted += 1 } else { restored.made += 1 }
        }
    }

    pub(super) fn pruned_at(&self, place: &Place, names: &[String]) -> Failure {
        let mut failure = self.pruned(place);
        failure.detail = format!("{}; the file is {}; nothing was restored", failure.detail, names.join("/"));
        failure
    }
}

/// Whether a step may have been refused because another one, which moves something away, comes after it.
fn is_of_order(code: ErrorCode) -> bool {
    use ErrorCode as E;
    matches!(code, E::IntoItself | E::NotFound | E::AlreadyExists | E::IsAFolder | E::NotAFolder)
}

/// Whether names lead into the recycle bin, which is never restored with its workspace.
pub(super) fn is_bin(place: &Place, names: &[String]) -> bool {
    place.is_workspace_root() && names.first().is_some_and(|name| name == RECYCLE_BIN)
}

/// Whether a record is a folder's.
pub(super) fn is_folder(record: &CurrentRecord) -> bool {
    record.kind == i32::from(EntryKind::Folder)
}
