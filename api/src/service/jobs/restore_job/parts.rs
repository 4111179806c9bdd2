//! Brings back a folder that stays itself, where more differs than one change may touch: a workspace's root, or a folder that has one at or below it.
//!
//! What differs is looked at name by name: a folder below which little differs is undone in place, one below which much does is built anew as it was, hidden;
//! folders that must stay themselves are entered. Then one command does all of it, if the folder is still what was looked at. If somebody has changed it
//! meanwhile all is looked at again, and what is built is used again: the past does not change.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use skep_placement::ids::EntryId;
use skep_raft::system_view::SystemView;
use skep_raft::wire::meta::v1::{
    BatchStep, DeleteEntry, DiffPage, DiffQuery, Difference, EntryPath, HoldsStill, MoveEntry, Precondition, SetTimes, TreeBatch, answer,
    batch_step, tree_command,
};

use super::super::across::Builder;
use super::super::ends::Ends;
use super::super::running::Running;
use super::super::transfer_job::step_as;
use crate::auth::rights::{Authorized, WriteTree};
use crate::error_code::{ErrorCode, Failure};
use crate::limits;
use crate::service::id_bytes;
use crate::service::place::Place;
use crate::service::restore::{Restored, is_bin, is_folder};
use crate::service::tree::{StatRequest, absent_or_fault, entry_id};

/// How often it is looked at again because something changed meanwhile.
const TRIES: usize = 8;

/// A restoration in parts.
pub(super) struct Parts<'a> {
    running: &'a Running,
    proof: Authorized<WriteTree, Place>,
    at: u64,
    /// Folders that are roots of workspaces or lie above one.
    kept: BTreeSet<EntryId>,
    /// Names of the parts that are built.
    built: BTreeSet<Vec<String>>,
}

/// What one look has found to do.
#[derive(Default)]
struct Plan {
    /// The folder's ETag when it was looked at.
    etag: String,
    steps: Vec<batch_step::What>,
    /// Names of the folders that are built anew.
    parts: Vec<Vec<String>>,
    restored: Restored,
    /// Differences that are dealt with.
    differences: u64,
}

impl Plan {
    /// Differences that one command has room for still.
    fn room(&self) -> u64 {
        u64::try_from(limits::BATCH_STEPS).unwrap_or(u64::MAX).saturating_sub(self.differences)
    }
}

impl<'a> Parts<'a> {
    /// The restoration of a place that must stay itself; none for one that may be replaced.
    pub(super) async fn of(running: &'a Running, ends: &mut Ends) -> Result<Option<Self>, Failure> {
        let context = running.context();
        let place = ends.target.subject().clone();
        let Some(there) = running.service().stat_if_there(&mut ends.target, StatRequest::default(), &context).await? else {
            return Ok(None);
        };
        let view = running.service().metadata().system(context.deadline()).await?;
        let kept = kept(running, &view, &place).await?;
        if !place.is_workspace_root() && !kept.contains(&entry_id(&there)) {
            return Ok(None);
        }
        let proof = Authorized::decide(&view, Arc::clone(ends.target.who()), place)?;
        Ok(Some(Self { running, proof, at: ends.source.subject().instant(), kept, built: BTreeSet::new() }))
    }

    /// Restores. What is built in vain is taken away, unless nobody knows whether it was.
    pub(super) async fn restore(mut self) -> Result<(), Failure> {
        let restored = self.look_build_and_put().await;
        if restored.as_ref().is_err_and(|failure| failure.code == ErrorCode::Unknown) {
            return restored;
        }
        Builder::discard_parts(self.running, &self.proof).await;
        restored
    }

    async fn look_build_and_put(&mut self) -> Result<(), Failure> {
        for _ in 0..TRIES {
            if self.is_in_place().await? {
                self.running.show(1_000, "brought back in parts".to_owned());
                return Ok(());
            }
            self.running.show(100, "comparing".to_owned());
            let plan = self.plan().await?;
            self.build(&plan).await?;
            let said = said(&plan);
            match self.put(plan).await {
                Ok(()) => {
                    self.running.show(1_000, said);
                    return Ok(());
                }
                Err(failure) if failure.code == ErrorCode::PreconditionFailed => {}
                // The answer was lost, or another owner of this job was faster.
                Err(failure) => return if self.is_in_place().await? { Ok(()) } else { Err(self.explained(failure)) },
            }
        }
        let why = format!("{}: it is changed all the time; nothing was restored, try again", self.place().path());
        Err(Failure::new(ErrorCode::Conflict, why))
    }

    /// Looks at what differs, from the folder down.
    async fn plan(&mut self) -> Result<Plan, Failure> {
        let mut plan = Plan::default();
        let mut folders: Vec<Vec<String>> = vec![Vec::new()];
        while let Some(names) = folders.pop() {
            let page = self.ask(&names, true).await?;
            if names.is_empty() {
                plan.etag = page.folder.as_ref().map(|folder| folder.etag.clone()).unwrap_or_default();
            }
            if page.total > plan.room() {
                return Err(self.too_many(&names, page.total));
            }
            plan.differences += page.total;
            plan.restored.looked_at += page.looked_at;
            for difference in page.differences {
                let names: Vec<String> = names.iter().chain(&difference.names).cloned().collect();
                if !is_bin(self.place(), &names) && self.name(&mut plan, &names, difference).await? {
                    folders.push(names);
                }
            }
        }
        Ok(plan)
    }

    /// Deals with a name that differs. Whether it is a folder to be entered.
    async fn name(&mut self, plan: &mut Plan, names: &[String], difference: Difference) -> Result<bool, Failure> {
        self.check_kept(names, &difference)?;
        let (was, is) = (difference.was.as_ref(), difference.is.as_ref());
        let Some(was) = was.filter(|was| is_folder(was)) else {
            let beside = names.get(..names.len().saturating_sub(1)).unwrap_or_default();
            self.undo(plan, beside, &difference)?;
            return Ok(false);
        };
        if let Some(is) = is.filter(|is| is.entry == was.entry) {
            let below = self.ask(names, false).await?;
            plan.restored.looked_at += below.looked_at;
            // The name itself is counted already.
            if below.total <= plan.room() {
                plan.differences += below.total;
                return below.differences.iter().try_for_each(|difference| self.undo(plan, names, difference)).map(|()| false);
            }
            if self.kept.contains(&EntryId::try_from(is.entry.as_ref()).unwrap_or_default()) {
                let path = Some(self.entry(names));
                plan.steps.push(batch_step::What::SetTimes(SetTimes { path, mtime: was.mtime }));
                return Ok(true);
            }
        }
        if let Some(is) = is {
            let path = Some(EntryPath { base: is.entry.clone(), names: Vec::new() });
            plan.steps.push(batch_step::What::DeleteEntry(DeleteEntry { path, permanently: true, ..DeleteEntry::default() }));
        }
        // By its id: the names of ten thousand must fit into one command.
        let part = id_bytes(Builder::part_entry(self.running, names).0);
        let from = Some(EntryPath { base: part.clone(), names: Vec::new() });
        let to = Some(self.entry(names));
        plan.steps.push(batch_step::What::MoveEntry(MoveEntry { from, to, expected: part, ..MoveEntry::default() }));
        plan.parts.push(names.to_vec());
        Ok(false)
    }

    fn undo(&self, plan: &mut Plan, folder: &[String], difference: &Difference) -> Result<(), Failure> {
        let service = self.running.service();
        let names: Vec<String> = folder.iter().chain(&difference.names).cloned().collect();
        if difference.pruned {
            return Err(service.pruned_at(self.place(), &names));
        }
        self.check_kept(&names, difference)?;
        // Nothing is looked for that was moved from one folder to another: it is made again where it was.
        let moved: BTreeSet<Bytes> = BTreeSet::new();
        service.undo(&self.below(folder)?, difference, &moved, &mut plan.steps, &mut plan.restored);
        Ok(())
    }

    /// Refuses to delete a folder that must stay itself: one that came there since.
    fn check_kept(&self, names: &[String], difference: &Difference) -> Result<(), Failure> {
        let Some(is) = difference.is.as_ref().filter(|is| difference.was.as_ref().is_none_or(|was| was.entry != is.entry)) else {
            return Ok(());
        };
        if !self.kept.contains(&EntryId::try_from(is.entry.as_ref()).unwrap_or_default()) {
            return Ok(());
        }
        let why = format!(
            "{}: a workspace's root is or lies in this folder, which came here since; nothing was restored. Restore the folders beside it one by one",
            self.below(names)?.path()
        );
        Err(Failure::new(ErrorCode::Conflict, why))
    }

    /// Builds the parts that are not built yet. An owner before has built the first of them if the same was looked at.
    async fn build(&mut self, plan: &Plan) -> Result<(), Failure> {
        let mut position = self.running.position();
        if !position.is_begun() || position.source_etag.as_ref() != Some(&plan.etag) {
            (position.item, position.after) = (0, Vec::new());
        }
        position.stepwise = true;
        position.source = Some(self.place().path().to_string());
        position.source_etag = Some(plan.etag.clone());
        position.target = plan.parts.first().map(|names| self.below(names).map(|place| place.path().to_string())).transpose()?;
        self.built.extend(plan.parts.iter().take(position.item).cloned());
        self.running.reach(position.clone());
        self.running.save().await?;
        for names in plan.parts.iter().skip(position.item) {
            if !self.built.contains(names) {
                self.running.show(100, format!("building {}", names.join("/")));
                let place = self.below(names)?;
                let view = self.running.service().metadata().system(self.running.context().deadline()).await?;
                let who = Arc::clone(self.proof.who());
                let mut ends = Ends {
                    source: Authorized::decide(&view, Arc::clone(&who), place.clone().at(self.at))?,
                    leaving: None,
                    target: Authorized::decide(&view, who, place)?,
                    overwrite: false,
                    condition: None,
                    target_condition: None,
                };
                let was = match self.running.service().look(&mut ends.source, StatRequest::default(), &self.running.context()).await? {
                    Ok(was) => was,
                    Err(absence) => return Err(absent_or_fault(ends.source.subject(), Some(answer::What::Absence(absence)))),
                };
                Builder::new(self.running, &mut ends, &was).part(names.clone()).build_part(&mut position).await?;
                self.built.insert(names.clone());
            }
            position.item += 1;
            position.after.clear();
            self.running.reach(position.clone());
        }
        Ok(())
    }

    /// Puts everything in place by one command.
    async fn put(&mut self, plan: Plan) -> Result<(), Failure> {
        if plan.steps.is_empty() {
            return Ok(());
        }
        let condition = Some(Precondition { etags_any: vec![plan.etag], ..Precondition::default() });
        let still = HoldsStill { path: Some(self.entry(&[])), condition, ..HoldsStill::default() };
        let steps = std::iter::once(batch_step::What::HoldsStill(still)).chain(plan.steps);
        let batch = TreeBatch { steps: steps.map(|what| BatchStep { what: Some(what) }).collect() };
        let what = tree_command::What::Batch(batch);
        step_as(self.running, &self.proof, what, &self.running.deciding()).await.map(|_done| ())
    }

    /// Whether an owner before, or a command whose answer was lost, has put everything in place: then the first part is there.
    async fn is_in_place(&mut self) -> Result<bool, Failure> {
        let Some(target) = self.running.position().target else { return Ok(false) };
        let place = self.place().with_path(target.parse()?);
        let names = place.path().below().get(self.place().path().below().len()..).unwrap_or_default().to_vec();
        let view = self.running.service().metadata().system(self.running.context().deadline()).await?;
        let mut proof: Authorized<WriteTree, Place> = Authorized::decide(&view, Arc::clone(self.proof.who()), place)?;
        let there = self.running.service().stat_if_there(&mut proof, StatRequest::default(), &self.running.context()).await?;
        Ok(there.is_some_and(|there| entry_id(&there) == Builder::part_entry(self.running, &names)))
    }

    async fn ask(&mut self, names: &[String], shallow: bool) -> Result<DiffPage, Failure> {
        let question = DiffQuery { path: Some(self.entry(names)), at: self.at, shallow, ..DiffQuery::default() };
        self.running.service().differences(&mut self.proof, question, &self.running.context()).await
    }

    fn too_many(&self, names: &[String], total: u64) -> Failure {
        let place = std::iter::once(self.place().path().to_string()).chain(names.iter().cloned()).collect::<Vec<_>>().join("/");
        let why = format!(
            "{place}: {total} names directly in it differ from then, with those beside it more than the {} that one change may touch; nothing was \
             restored. Restore the folders in it one by one",
            limits::BATCH_STEPS
        );
        Failure::new(ErrorCode::TooLarge, why)
    }

    fn explained(&self, mut failure: Failure) -> Failure {
        if failure.code == ErrorCode::TooLarge {
            failure.detail = format!("{}; nothing was restored. Restore the folders in it one by one", failure.detail);
        }
        failure.at(&self.place().path().to_string())
    }

    fn place(&self) -> &Place {
        self.proof.subject()
    }

    /// The place of names below what is restored.
    fn below(&self, names: &[String]) -> Result<Place, Failure> {
        let path = names.iter().try_fold(self.place().path().clone(), |path, name| path.child(name))?;
        Ok(self.place().with_path(path))
    }

    fn entry(&self, names: &[String]) -> EntryPath {
        let mut path = self.place().entry();
        path.names.extend_from_slice(names);
        path
    }
}

fn said(plan: &Plan) -> String {
    let Restored { made, reverted, removed, looked_at, .. } = plan.restored;
    format!(
        "{} folders built anew as they were; {made} made again, {reverted} got an older version, {removed} removed in place; {looked_at} names compared",
        plan.parts.len()
    )
}

/// The roots of workspaces in the datasource of a place, and the folders above them.
async fn kept(running: &Running, view: &SystemView, place: &Place) -> Result<BTreeSet<EntryId>, Failure> {
    let roots = view.workspaces()?.into_iter().flat_map(|workspace| workspace.roots);
    let roots = roots.filter(|root| root.datasource == place.datasource().0);
    let roots: BTreeSet<EntryId> = roots.filter_map(|root| EntryId::try_from(root.entry.as_ref()).ok()).collect();
    let mut kept = roots.clone();
    for root in roots.into_iter().filter(|root| *root != EntryId::ROOT) {
        let located = running.service().locate(place.datasource(), root, &running.context()).await?;
        kept.extend(located.into_iter().flat_map(|(_, ancestors)| ancestors));
    }
    Ok(kept)
}
