//! What differs from an instant, and that undoing it by one command gives the tree of then.

use super::group::{Group, code, id, path};
use super::pair::{Pair, Tree, text, walk};
use super::past_model::Written;
use super::steps::{Place, step};
use bytes::Bytes;
use proptest::prelude::*;
use skep_raft::wire::meta::v1::{
    BatchStep, ContentQuery, CreateFolder, CurrentRecord, DeleteEntry, DiffPage, DiffQuery, Difference, EntryKind, EntryPath, HoldsStill,
    MoveEntry, Precondition, RejectionCode, SetTimes, TreeBatch, UseVersion, answer, batch_step::What, query, tree_command,
};
use std::collections::{BTreeMap, BTreeSet};

fn diff(group: &Group, base: &str, at: u64, moves: bool) -> Option<DiffPage> {
    match group.query(query::What::Diff(DiffQuery { path: path(base), at, limit: 0, moves })) {
        answer::What::Diff(page) => Some(page),
        answer::What::Absence(absence) => {
            assert_eq!(absence.horizon, 0);
            None
        }
        other => panic!("{other:?}"),
    }
}

/// The steps that undo what differs.
fn plan(base: &str, page: &DiffPage) -> Vec<BatchStep> {
    let mut condition = Precondition::default();
    match &page.folder {
        Some(folder) => condition.etags_any.push(folder.etag.clone()),
        None => condition.must_not_exist = true,
    }
    let moved = page.differences.iter().filter(|one| one.moved).map(|one| one.was.as_ref().unwrap().entry.clone()).collect();
    let mut steps = vec![What::HoldsStill(HoldsStill { path: path(base), condition: Some(condition), ..HoldsStill::default() })];
    for (number, difference) in (9_000_000..).step_by(2).zip(&page.differences) {
        undo(base, difference, &moved, number, &mut steps);
    }
    steps.into_iter().map(|what| BatchStep { what: Some(what) }).collect()
}

fn undo(base: &str, difference: &Difference, moved: &BTreeSet<Bytes>, number: u64, steps: &mut Vec<What>) {
    let at = || path(&format!("{base}/{}", difference.names.join("/")));
    let is_moved = |record: &CurrentRecord| moved.contains(&record.entry);
    let is = difference.is.as_ref();
    let delete = || What::DeleteEntry(DeleteEntry { path: at(), permanently: true, ..DeleteEntry::default() });
    let Some(was) = &difference.was else {
        steps.extend(is.filter(|is| !is_moved(is)).map(|_| delete()));
        return;
    };
    let times = || What::SetTimes(SetTimes { path: at(), mtime: was.mtime });
    if is_folder(was) && is.is_some_and(|is| is.entry == was.entry) {
        steps.push(times());
        return;
    }
    let other_kind = is.is_some_and(|is| is.kind != was.kind);
    let in_the_way = is.is_some_and(|is| !is_moved(is)) && (difference.moved || is_folder(was) || other_kind);
    steps.extend(in_the_way.then(delete));
    if difference.moved {
        let from = Some(EntryPath { base: was.entry.clone(), names: Vec::new() });
        steps.push(What::MoveEntry(MoveEntry { from, to: at(), ..MoveEntry::default() }));
        steps.push(times());
    } else if is_folder(was) {
        steps.push(What::CreateFolder(CreateFolder { path: at(), entry: id(number), mtime: was.mtime, ..CreateFolder::default() }));
    } else {
        let (of_entry, of_version) = (was.entry.clone(), was.version.clone());
        let used = UseVersion { path: at(), entry: id(number), version: id(number + 1), of_entry, of_version, ..UseVersion::default() };
        steps.push(What::UseVersion(UseVersion { mtime: was.mtime, ..used }));
    }
}

fn is_folder(record: &CurrentRecord) -> bool {
    record.kind == i32::from(EntryKind::Folder)
}

/// Whether a version that was deleted since is among what differs; each such one must be marked, and no other.
fn marks_pruned(pair: &Pair, page: &DiffPage) -> Result<bool, TestCaseError> {
    let kept = pair.known_versions();
    for one in &page.differences {
        let is_gone = one.was.as_ref().is_some_and(|was| !is_folder(was) && !kept.contains(&(was.entry.clone(), was.version_number)));
        prop_assert_eq!(one.pruned, is_gone, "{:?}", one);
    }
    Ok(page.differences.iter().any(|one| one.pruned))
}

/// A tree without ids: times of folders, times and bytes of files.
type Plain = BTreeMap<Place, (u64, Option<Vec<u8>>)>;

fn plain_then(tree: &Tree, written: &Written) -> Plain {
    let bytes = |one: &super::pair::Shown| one.version.as_ref().map(|(number, _)| written.of(&one.entry, *number).to_vec());
    tree.iter().map(|(at, one)| (at.clone(), (one.mtime, bytes(one)))).collect()
}

fn plain_now(group: &Group) -> Plain {
    let bytes = |at: &Place| match group.query(query::What::Content(ContentQuery { path: path(&text(at)), ..ContentQuery::default() })) {
        answer::What::Content(content) => content.inlined.to_vec(),
        other => panic!("{other:?}"),
    };
    let tree = walk(group, 0).unwrap();
    tree.iter().map(|(at, one)| (at.clone(), (one.mtime, one.version.is_some().then(|| bytes(at))))).collect()
}

/// What lies at or below a path, and what lies elsewhere.
fn split(tree: Plain, base: &str) -> (Plain, Plain) {
    let base: Place = base.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    tree.into_iter().partition(|(at, _)| at.starts_with(&base))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn undoing_what_differs_gives_the_tree_of_then(
        steps in proptest::collection::vec((step(), 0..2_u64), 1..40),
        pick in any::<usize>(),
        base in prop_oneof![Just(""), Just("/a"), Just("/a/b")],
    ) {
        let (mut pair, mut written) = (Pair::new(), Written::default());
        for (step, seconds) in &steps {
            pair.group.clock += seconds * 1_000_000;
            pair.take(step)?;
            written.note(&pair);
        }
        let Some((at, then)) = pair.past.get(pick % pair.past.len().max(1)).cloned() else { return Ok(()) };
        let now = pair.past.last().unwrap();
        if let Some(page) = diff(&pair.group, base, at, false) && then == now.1 {
            prop_assert_eq!(page.total, 0, "nothing differs: {:?}", page);
        }
        // A path is about the folder that is there now: another one that was there then is another story.
        let parent = vec!["a".to_owned()];
        let is_same = base != "/a/b" || (then.contains_key(&parent) && then.get(&parent).map(|a| &a.entry) == now.1.get(&parent).map(|a| &a.entry));
        let (then, now) = (plain_then(&then, &written), plain_then(&now.1, &written));
        for moves in [true, false] {
            let Some(page) = diff(&pair.group, base, at, moves) else { break };
            prop_assert_eq!(page.total, page.differences.len() as u64);
            let is_pruned = marks_pruned(&pair, &page)?;
            let done = pair.group.tree(tree_command::What::Batch(TreeBatch { steps: plan(base, &page) }));
            let Err(rejection) = done else {
                prop_assert!(!is_pruned, "what is not kept any more cannot be restored");
                break;
            };
            prop_assert_eq!(&plain_now(&pair.group), &now, "a refused batch changed something");
            if is_pruned {
                return Ok(());
            }
            // Entries that changed places with each other, or lie in what goes, are made again instead.
            prop_assert!(moves, "{:?} refused: {:?}", page, rejection);
            let code = code::<()>(Err(rejection));
            prop_assert!(matches!(code, RejectionCode::IntoItself | RejectionCode::NotFound | RejectionCode::AlreadyExists), "{:?}", code);
        }
        let (inside, outside) = split(plain_now(&pair.group), base);
        // Folders above keep their time: a change below is none of their own.
        prop_assert_eq!(&outside, &split(now, base).1, "outside of {:?} nothing changes", base);
        if is_same {
            prop_assert_eq!(inside, split(then, base).0);
        }
        pair.group.check();
    }
}
