//! Copies of what was: a file or folder as it stood at an instant, made again at a place of now. The contents are shared, nothing is copied.
//!
//! Invariant: what comes to be is all of the instant or nothing. What was noted on the entries is not known any more and is not copied.

use bytes::Bytes;
use skep_raft::wire::meta::v1::{
    BatchStep, CreateFolder, DeleteEntry, Entry, EntryPath, HoldsStill, Precondition, TreeBatch, UseVersion, WalkEntry, WalkPage,
    WalkQuery, answer, batch_step, query, tree_command,
};

use super::content::may_hold;
use super::recycle::{bin_root, note_of_place};
use super::transfer::{TransferRequest, Transferred};
use super::tree::{StatRequest, absent_or_fault, is_folder};
use super::{Service, id_bytes};
use crate::auth::rights::{Authorized, ReadContent, WriteTree};
use crate::error_code::{ErrorCode, Failure};
use crate::limits;
use crate::request_context::RequestContext;
use crate::service::place::Place;

/// How often a copy is planned anew because its target changed meanwhile.
const TRIES: usize = 8;

impl Service {
    /// Copies within a datasource what stood at a place in the past.
    pub(super) async fn copy_from_past(
        &self,
        mut from: Authorized<ReadContent, Place>,
        mut to: Authorized<WriteTree, Place>,
        request: TransferRequest,
        context: &RequestContext,
    ) -> Result<Transferred, Failure> {
        let was = self.stood_there(&mut from, context).await?;
        if request.condition.as_ref().is_some_and(|condition| !may_hold(condition, &was)) {
            let why = format!("{}: what stood there then is not what the request names", from.subject().path());
            return Err(Failure::new(ErrorCode::PreconditionFailed, why));
        }
        let below = if is_folder(&was) && !request.shallow { self.all_below(&mut from, context).await? } else { Vec::new() };
        for _ in 0..TRIES {
            let context = context.continued();
            let there = self.stat_if_there(&mut to, StatRequest::default(), &context).await?;
            if there.is_some() && !request.overwrite {
                return Err(Failure::new(
                    ErrorCode::AlreadyExists,
                    format!("{}: something of this name exists already", to.subject().path()),
                ));
            }
            let (steps, at) = self.steps(to.subject(), (&was, &below), there.as_ref(), request.target_condition.as_ref());
            let steps = steps.into_iter().map(|what| BatchStep { what: Some(what) }).collect();
            from.index_for_proposal(self.metadata(), self.now_micros(), context.deadline()).await?;
            match self.propose_tree(&to, tree_command::What::Batch(TreeBatch { steps }), &context).await {
                Ok(proposed) => {
                    let entry = proposed.done.steps.into_iter().nth(at).and_then(|done| done.entry).unwrap_or_default();
                    return Ok(Transferred { entry, created: there.is_none() });
                }
                Err(failure) if failure.code == ErrorCode::VersionNotFound => return Err(self.pruned(from.subject())),
                // Something came to the target or went from it since it was looked at.
                Err(failure) if is_race(&failure) && request.target_condition.is_none() => {}
                Err(failure) => return Err(failure),
            }
        }
        let why = format!("{}: it is changed all the time; nothing was copied, try again", to.subject().path());
        Err(Failure::new(ErrorCode::Conflict, why))
    }

    async fn stood_there(&self, from: &mut Authorized<ReadContent, Place>, context: &RequestContext) -> Result<Entry, Failure> {
        match self.look(from, StatRequest::default(), context).await? {
            Ok(entry) => Ok(entry),
            Err(absence) if absence.horizon != 0 => Err(absent_or_fault(from.subject(), Some(answer::What::Absence(absence)))),
            Err(_absence) => Err(Failure::not_found(&from.subject().path().to_string())),
        }
    }

    /// Everything that lay below a folder, parents before members; refused where it is more than one command makes.
    async fn all_below(&self, from: &mut Authorized<ReadContent, Place>, context: &RequestContext) -> Result<Vec<WalkEntry>, Failure> {
        let mut all: Vec<WalkEntry> = Vec::new();
        loop {
            let after = all.last().map(|last| last.names.clone()).unwrap_or_default();
            let page = self.walk_page(from, after, &context.continued()).await?;
            all.extend(page.entries);
            if all.len() >= limits::BATCH_STEPS {
                let why = format!(
                    "{}: more lay below it than the {} entries that one change makes; use a copy job",
                    from.subject().path(),
                    limits::BATCH_STEPS
                );
                return Err(Failure::new(ErrorCode::TooLarge, why));
            }
            if !page.more {
                return Ok(all);
            }
        }
    }

    /// A page of what lies below the place of a proof, at its instant.
    pub(super) async fn walk_page(
        &self,
        from: &mut Authorized<ReadContent, Place>,
        after: Vec<String>,
        context: &RequestContext,
    ) -> Result<WalkPage, Failure> {
        let (path, at) = (Some(from.subject().entry()), from.subject().instant());
        let question = WalkQuery { path, after, limit: limits::PAGE_ENTRIES, at };
        match self.ask(from, query::What::Walk(question), context).await?.what {
            Some(answer::What::Walk(page)) => Ok(page),
            other => Err(absent_or_fault(from.subject(), other)),
        }
    }

    /// The steps that make it again, and which of them makes the item itself.
    fn steps(
        &self,
        target: &Place,
        (was, below): (&Entry, &[WalkEntry]),
        there: Option<&Entry>,
        condition: Option<&Precondition>,
    ) -> (Vec<batch_step::What>, usize) {
        let path = target.entry();
        let mut steps = Vec::with_capacity(below.len() + 3);
        if let Some(condition) = condition {
            let still = HoldsStill { path: Some(path.clone()), condition: Some(condition.clone()), ..HoldsStill::default() };
            steps.push(batch_step::What::HoldsStill(still));
        }
        if let Some(there) = there {
            let recycle_root = bin_root(target).filter(|_| !target.is_in_recycle_bin());
            steps.push(batch_step::What::DeleteEntry(DeleteEntry {
                path: Some(path.clone()),
                permanently: recycle_root.is_none(),
                recycle_note_json: if recycle_root.is_none() { String::new() } else { note_of_place(target) },
                recycle_root,
                bin: id_bytes(self.draw_entry().0),
                condition: Some(Precondition { etags_any: vec![there.etag.clone()], ..Precondition::default() }),
                recursive_forbidden: false,
            }));
        }
        let at = steps.len();
        let item = id_bytes(self.draw_entry().0);
        steps.push(self.made_again(path, item.clone(), was));
        for walked in below {
            let Some(entry) = &walked.entry else { continue };
            let path = EntryPath { base: item.clone(), names: walked.names.clone() };
            steps.push(self.made_again(path, id_bytes(self.draw_entry().0), entry));
        }
        (steps, at)
    }

    fn made_again(&self, path: EntryPath, entry: Bytes, was: &Entry) -> batch_step::What {
        if is_folder(was) {
            return batch_step::What::CreateFolder(CreateFolder { path: Some(path), entry, mtime: was.mtime, ..CreateFolder::default() });
        }
        batch_step::What::UseVersion(UseVersion {
            path: Some(path),
            entry,
            version: id_bytes(self.draw_version().0),
            of_entry: was.entry.clone(),
            of_version: was.version.clone(),
            condition: Some(Precondition { must_not_exist: true, ..Precondition::default() }),
            keep_mtime: true,
            mtime: was.mtime,
            ..UseVersion::default()
        })
    }
}

fn is_race(failure: &Failure) -> bool {
    matches!(failure.code, ErrorCode::PreconditionFailed | ErrorCode::AlreadyExists | ErrorCode::NotFound)
}
