//! A group beside the model: the same steps, and what both show compared.

use super::group::{Group, id, path, put_of, tree};
use super::model::Model;
use super::steps::{Place, Step};
use bytes::Bytes;
use proptest::prelude::*;
use skep_raft::keys::{StateKey, VersionKey};
use skep_raft::wire::meta::v1::{
    BatchStep, Command, CopyEntry, CreateFolder, DeleteEntry, DeleteVersion, DescribeVersion, Done, Entry, EntryKind, MoveEntry, Proposal,
    Rejection, RejectionCode, SetTimes, StatQuery, TreeBatch, UseVersion, VersionsQuery, WalkQuery, answer, batch_step, command,
    new_content, outcome, query, tree_command,
};
use std::collections::{BTreeMap, BTreeSet};

/// An entry as both show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) entry: Bytes,
    pub(crate) mtime: u64,
    /// Number and id of a file's version.
    pub(crate) version: Option<(u64, Bytes)>,
    pub(crate) bytes: u64,
}

pub(crate) type Tree = BTreeMap<Place, Shown>;

pub(crate) struct Pair {
    pub(crate) group: Group,
    pub(crate) model: Model,
    /// The tree at the stamp of each step that was taken.
    pub(crate) past: Vec<(u64, Tree)>,
    /// What was proposed at which clock by [`Pair::take`].
    pub(crate) said: Vec<(u64, tree_command::What)>,
    steps: u64,
}

impl Pair {
    pub(crate) fn new() -> Self {
        Self { group: Group::datasource(), model: Model::default(), past: Vec::new(), said: Vec::new(), steps: 0 }
    }

    /// Does the step on both; what one refuses the other must.
    pub(crate) fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let (step, first) = self.begin(step);
        let before = self.model.clone();
        let taken = self.model.take(&step, first);
        let what = command_of(&step, first, &self.model);
        self.said.push((self.group.clock, what.clone()));
        let done = self.group.tree(what);
        self.end(before, taken, done)
    }

    /// The step as it is drawn from what there is, and the first of its ids.
    pub(crate) fn begin(&mut self, step: &Step) -> (Step, u64) {
        self.steps += 1;
        (self.model.stamp, self.model.bins_made) = (self.group.next_stamp(), 0);
        (self.model.drawn(step), first_of(self.steps))
    }

    pub(crate) fn end(&mut self, before: Model, taken: bool, done: Result<Done, Rejection>) -> Result<(), TestCaseError> {
        prop_assert_eq!(taken, done.is_ok(), "{:?} on {:?}", done, before.nodes);
        if let Err(rejection) = done {
            prop_assert!(rejection.code != i32::from(RejectionCode::Invalid), "{:?}", rejection);
            self.model = before;
            return Ok(());
        }
        self.learn();
        self.seen()
    }

    /// Compares, and notes the tree of now as that of its stamp.
    pub(crate) fn seen(&mut self) -> Result<(), TestCaseError> {
        self.compare()?;
        self.past.push((self.model.stamp, self.expected()));
        Ok(())
    }

    /// Ids of copies follow from hashes: they are read.
    fn learn(&mut self) {
        for (at, node) in &self.model.nodes {
            if self.model.entries.contains_key(&node.token) {
                continue;
            }
            let shown = stat(&self.group, at, 0).expect("a copy that was made is there");
            self.model.entries.insert(node.token, shown.entry);
            self.model.version_ids.insert((node.token, 1), shown.version);
        }
    }

    /// The tree as the model has it.
    pub(crate) fn expected(&self) -> Tree {
        let model = &self.model;
        let shown = |node: &super::model::Node| Shown {
            entry: model.entries[&node.token].clone(),
            mtime: node.mtime,
            version: node.number.map(|number| (number, model.version_ids[&(node.token, number)].clone())),
            bytes: node.number.map_or(0, |number| model.version(node.token, number).unwrap().bytes.len() as u64),
        };
        model.nodes.iter().map(|(at, node)| (at.clone(), shown(node))).collect()
    }

    /// Tree, versions and sums of now.
    pub(crate) fn compare(&self) -> Result<(), TestCaseError> {
        let model = &self.model;
        prop_assert_eq!(walk(&self.group, 0), Some(self.expected()));
        for (at, node) in model.nodes.iter().filter(|(_, node)| node.number.is_some()) {
            let kept =
                versions(&self.group, at).into_iter().map(|one| (one.number, one.version, one.mtime, one.created_at, one.description));
            let expected = model.versions[&node.token].iter().rev().map(|one| {
                let id = model.version_ids[&(node.token, one.number)].clone();
                (one.number, id, one.mtime, one.created_at, one.description.clone())
            });
            prop_assert_eq!(kept.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "versions of {:?}", at);
        }
        prop_assert_eq!(kept_versions(&self.group), self.known_versions());
        let answer::What::Totals(totals) = self.group.query(query::What::Totals(Default::default())) else { panic!("no totals") };
        let (bytes, entries) = model.below(&[]);
        prop_assert_eq!((totals.logical_bytes, totals.entries, totals.inline_bytes), (bytes, entries, model.stored()));
        Ok(())
    }

    /// Every version of the model by entry id and number, of deleted files too.
    pub(crate) fn known_versions(&self) -> BTreeSet<(Bytes, u64)> {
        let all =
            self.model.versions.iter().flat_map(|(token, list)| list.iter().map(|one| (self.model.entries[token].clone(), one.number)));
        all.collect()
    }
}

/// The first of ten ids for each of the hundred parts of a step.
pub(crate) fn first_of(step: u64) -> u64 {
    1_000_000 + step * 1_000
}

/// Every version that is stored.
pub(crate) fn kept_versions(group: &Group) -> BTreeSet<(Bytes, u64)> {
    let keys = group.rows().into_iter().filter_map(|(_, key, _)| VersionKey::from_bytes(&key).ok());
    keys.map(|key| (Bytes::copy_from_slice(&key.entry.0), key.number.0)).collect()
}

pub(crate) fn text(at: &[String]) -> String {
    at.join("/")
}

/// The step as a command. What it makes has ids from `first` on; the ids of versions are those that the model knows.
pub(crate) fn command_of(step: &Step, first: u64, model: &Model) -> tree_command::What {
    match batch_step_of(step, first, model) {
        Some(batch_step::What::CreateFolder(command)) => tree_command::What::CreateFolder(command),
        Some(batch_step::What::PutFile(command)) => tree_command::What::PutFile(command),
        Some(batch_step::What::MoveEntry(command)) => tree_command::What::MoveEntry(command),
        Some(batch_step::What::DeleteEntry(command)) => tree_command::What::DeleteEntry(command),
        Some(batch_step::What::SetTimes(command)) => tree_command::What::SetTimes(command),
        Some(batch_step::What::UseVersion(command)) => tree_command::What::UseVersion(command),
        Some(batch_step::What::SetMeta(_) | batch_step::What::HoldsStill(_)) => unreachable!("no step of the model"),
        None => alone(step, first, model),
    }
}

/// Steps that are no part of a batch.
fn alone(step: &Step, first: u64, model: &Model) -> tree_command::What {
    let version = |at: &Place, number: u64| {
        let token = model.nodes.get(at).map_or(0, |node| node.token);
        model.version_ids.get(&(token, number)).cloned().unwrap_or_else(|| id(2))
    };
    match step {
        Step::Copy { from, to, overwrite } => tree_command::What::CopyEntry(CopyEntry {
            from: path(&text(from)),
            to: path(&text(to)),
            overwrite: *overwrite,
            seed: id(first),
            ..CopyEntry::default()
        }),
        Step::Describe { at, number, .. } => tree_command::What::DescribeVersion(DescribeVersion {
            path: path(&text(at)),
            version: version(at, *number),
            description: format!("described at {first}"),
        }),
        Step::DeleteVersion { at, number, .. } => {
            tree_command::What::DeleteVersion(DeleteVersion { path: path(&text(at)), version: version(at, *number) })
        }
        Step::Batch { steps } => {
            let parts = (first + 10..).step_by(10).zip(steps).map(|(first, step)| batch_step_of(step, first, model));
            tree_command::What::Batch(TreeBatch { steps: parts.map(|what| BatchStep { what }).collect() })
        }
        other => unreachable!("{other:?} is a step of a batch"),
    }
}

fn batch_step_of(step: &Step, first: u64, model: &Model) -> Option<batch_step::What> {
    Some(match step {
        Step::MakeFolder { at, recursive } => {
            let parents = (first + 1..first + 5).map(id).collect();
            let folder = CreateFolder { path: path(&text(at)), entry: id(first), recursive: *recursive, parents, ..Default::default() };
            batch_step::What::CreateFolder(folder)
        }
        Step::Put { at, bytes } => {
            let from = new_content::From::Inlined(bytes.clone().into());
            batch_step::What::PutFile(put_of(&text(at), id(first), id(first + 1), bytes.len() as u64, from))
        }
        Step::Move { from, to, overwrite } => {
            let (from, to) = (path(&text(from)), path(&text(to)));
            batch_step::What::MoveEntry(MoveEntry { from, to, overwrite: *overwrite, ..MoveEntry::default() })
        }
        Step::Delete { at } => {
            batch_step::What::DeleteEntry(DeleteEntry { path: path(&text(at)), permanently: true, ..DeleteEntry::default() })
        }
        Step::Recycle { at } => batch_step::What::DeleteEntry(DeleteEntry {
            path: path(&text(at)),
            recycle_root: path("/"),
            bin: id(first),
            recycle_note_json: "\"note\"".to_owned(),
            ..DeleteEntry::default()
        }),
        Step::SetTimes { at, mtime } => batch_step::What::SetTimes(SetTimes { path: path(&text(at)), mtime: *mtime }),
        Step::UseVersion { to, of, keep_mtime, .. } => {
            let known = of.and_then(|of| Some((model.entries.get(&of.0)?.clone(), model.version_ids.get(&of)?.clone())));
            let (of_entry, of_version) = known.unwrap_or_else(|| (id(1), id(2)));
            let made =
                UseVersion { path: path(&text(to)), entry: id(first), version: id(first + 1), of_entry, of_version, ..Default::default() };
            batch_step::What::UseVersion(UseVersion { keep_mtime: *keep_mtime, ..made })
        }
        Step::Copy { .. } | Step::Describe { .. } | Step::DeleteVersion { .. } | Step::Batch { .. } => return None,
    })
}

pub(crate) fn stat(group: &Group, at: &[String], instant: u64) -> Option<Entry> {
    match group.query(query::What::Stat(StatQuery { path: path(&text(at)), at: instant, ..StatQuery::default() })) {
        answer::What::Entry(entry) => Some(entry),
        _ => None,
    }
}

pub(crate) fn versions(group: &Group, at: &[String]) -> Vec<skep_raft::wire::meta::v1::VersionRecord> {
    let (mut all, mut before) = (Vec::new(), 0);
    loop {
        let asked = VersionsQuery { path: path(&text(at)), before, limit: 2 };
        let answer::What::Versions(page) = group.query(query::What::Versions(asked)) else { panic!("no versions of {at:?}") };
        all.extend(page.versions);
        before = all.last().map_or(0, |version| version.number);
        if !page.more {
            return all;
        }
    }
}

pub(crate) fn shown(entry: &Entry) -> Shown {
    let is_folder = entry.kind == i32::from(EntryKind::Folder);
    Shown {
        entry: entry.entry.clone(),
        mtime: entry.mtime,
        version: (!is_folder).then(|| (entry.version_number, entry.version.clone())),
        bytes: if is_folder { 0 } else { entry.size },
    }
}

/// Everything that hangs, or hung at an instant, on the root; none if that is not answered.
pub(crate) fn walk(group: &Group, at: u64) -> Option<Tree> {
    let mut tree = Tree::new();
    let mut after = Vec::new();
    loop {
        let page = match group.query(query::What::Walk(WalkQuery { path: path("/"), after, limit: 3, at })) {
            answer::What::Walk(page) => page,
            _ => return None,
        };
        for walked in &page.entries {
            let seen = tree.insert(walked.names.clone(), shown(walked.entry.as_ref().unwrap()));
            assert!(seen.is_none(), "{:?} is walked twice", walked.names);
        }
        after = page.entries.last().map(|walked| walked.names.clone()).unwrap_or_default();
        if !page.more {
            return Some(tree);
        }
    }
}

/// The step as a command by itself.
pub(crate) fn whole_command(step: &Step, number: u64) -> command::What {
    tree(command_of(step, first_of(number), &Model::default()))
}

/// Proposes a command by itself, with all that goes with it.
pub(crate) fn ask(group: &mut Group, command: Command) -> Result<Done, Rejection> {
    let outcome = group.batch(vec![Proposal { command: Some(command), ..Proposal::default() }]).remove(0);
    match outcome.what.unwrap() {
        outcome::What::Done(done) => Ok(done),
        outcome::What::Rejection(rejection) => Err(rejection),
        other => panic!("an outcome of another kind: {other:?}"),
    }
}
