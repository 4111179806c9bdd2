//! What differs from an instant, and that undoing it by one command gives the tree of then.

use super::group::{Group, code, id, path};
use super::pair::{Pair, Tree, text, walk};
use super::past_model::Written;
use super::steps::{Place, Step, step};
use bytes::Bytes;
use proptest::prelude::*;
use skep_raft::wire::meta::v1::{
    BatchStep, ContentQuery, CreateFolder, CurrentRecord, DeleteEntry, DiffPage, DiffQuery, Difference, EntryKind, EntryPath, HoldsStill,
    MoveEntry, OpenHidden, Precondition, RejectionCode, SetTimes, TreeBatch, UseVersion, answer, batch_step::What, query, tree_command,
};
use std::collections::{BTreeMap, BTreeSet};

fn diff(group: &Group, base: &str, at: u64, moves: bool) -> Option<DiffPage> {
    ask(group, DiffQuery { path: path(base), at, moves, ..DiffQuery::default() })
}

fn ask(group: &Group, asked: DiffQuery) -> Option<DiffPage> {
    match group.query(query::What::Diff(asked)) {
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

/// Builds a folder as it was under a hidden one, which nobody sees.
fn build(group: &mut Group, then: &Tree, name: &str, number: u64) {
    let (hidden, mut numbers) = (id(number), number + 1..);
    group.tree(tree_command::What::OpenHidden(OpenHidden { entry: hidden.clone() })).unwrap();
    for (at, one) in then.iter().filter(|(at, _)| at.first().is_some_and(|first| first == name)) {
        let (path, entry) = (Some(EntryPath { base: hidden.clone(), names: at.clone() }), id(numbers.next().unwrap()));
        group
            .tree(match &one.version {
                None => tree_command::What::CreateFolder(CreateFolder { path, entry, mtime: one.mtime, ..CreateFolder::default() }),
                Some((_, of_version)) => tree_command::What::UseVersion(UseVersion {
                    path,
                    entry,
                    version: id(numbers.next().unwrap()),
                    of_entry: one.entry.clone(),
                    of_version: of_version.clone(),
                    mtime: one.mtime,
                    ..UseVersion::default()
                }),
            })
            .unwrap();
    }
}

/// The steps that bring the root back name by name: folders for which `builds` says so are built anew and replaced, the others are undone in place.
fn plan_in_parts(group: &mut Group, then: &Tree, at: u64, builds: impl Fn(usize) -> bool) -> Vec<BatchStep> {
    let page = ask(group, DiffQuery { path: path("/"), at, shallow: true, ..DiffQuery::default() }).unwrap();
    let etags_any = vec![page.folder.as_ref().unwrap().etag.clone()];
    let condition = Some(Precondition { etags_any, ..Precondition::default() });
    let mut steps = vec![What::HoldsStill(HoldsStill { path: path("/"), condition, ..HoldsStill::default() })];
    for (place, difference) in page.differences.iter().enumerate() {
        let [name] = difference.names.as_slice() else { panic!("{difference:?} is not a name in the root") };
        let number = 7_000_000 + 10_000 * u64::try_from(place).unwrap();
        let (was, is) = (difference.was.as_ref(), difference.is.as_ref());
        let stays = was.zip(is).is_some_and(|(was, is)| is_folder(was) && was.entry == is.entry);
        if stays && !builds(place) {
            let below = diff(group, &format!("/{name}"), at, false).unwrap();
            let undone = plan(&format!("/{name}"), &below).into_iter().skip(1).filter_map(|step| step.what);
            steps.extend(undone.map(|what| renumbered(what, number)));
        } else if was.is_some_and(is_folder) {
            build(group, then, name, number);
            let by_id = |base: &Bytes| Some(EntryPath { base: base.clone(), names: Vec::new() });
            steps.extend(
                is.map(|is| What::DeleteEntry(DeleteEntry { path: by_id(&is.entry), permanently: true, ..DeleteEntry::default() })),
            );
            let from = by_id(&id(number + 1));
            steps.push(What::MoveEntry(MoveEntry { from, to: path(&format!("/{name}")), ..MoveEntry::default() }));
        } else {
            undo("", difference, &BTreeSet::new(), number, &mut steps);
        }
    }
    steps.into_iter().map(|what| BatchStep { what: Some(what) }).collect()
}

/// The same step with ids of its own: those that plans draw begin at one number.
fn renumbered(mut what: What, base: u64) -> What {
    let moved = |bytes: &Bytes| {
        let low = u64::from_be_bytes(*bytes.last_chunk::<8>().unwrap());
        id(low - 9_000_000 + base)
    };
    match &mut what {
        What::CreateFolder(command) => command.entry = moved(&command.entry),
        What::UseVersion(command) => (command.entry, command.version) = (moved(&command.entry), moved(&command.version)),
        _ => {}
    }
    what
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

/// A group and its model after these steps, each so many seconds after the one before, and what was written.
fn taken(steps: &[(Step, u64)]) -> Result<(Pair, Written), TestCaseError> {
    let (mut pair, mut written) = (Pair::new(), Written::default());
    for (step, seconds) in steps {
        pair.group.clock += seconds * 1_000_000;
        pair.take(step)?;
        written.note(&pair);
    }
    Ok((pair, written))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn undoing_what_differs_gives_the_tree_of_then(
        steps in proptest::collection::vec((step(), 0..2_u64), 1..40),
        pick in any::<usize>(),
        base in prop_oneof![Just(""), Just("/a"), Just("/a/b")],
    ) {
        let (mut pair, written) = taken(&steps)?;
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
            use RejectionCode as R;
            prop_assert!(matches!(code, R::IntoItself | R::NotFound | R::AlreadyExists | R::IsAFolder | R::NotAFolder), "{:?}", code);
        }
        let (inside, outside) = split(plain_now(&pair.group), base);
        // Folders above keep their time: a change below is none of their own.
        prop_assert_eq!(&outside, &split(now, base).1, "outside of {:?} nothing changes", base);
        if is_same {
            prop_assert_eq!(inside, split(then, base).0);
        }
        pair.group.check();
    }

    #[test]
    fn a_root_that_stays_itself_is_brought_back_in_parts(
        steps in proptest::collection::vec((step(), 0..2_u64), 1..40),
        pick in any::<usize>(),
        builds in any::<u64>(),
    ) {
        let (mut pair, written) = taken(&steps)?;
        let Some((at, then)) = pair.past.get(pick % pair.past.len().max(1)).cloned() else { return Ok(()) };
        if marks_pruned(&pair, &diff(&pair.group, "/", at, false).unwrap())? {
            return Ok(());
        }
        let before = plain_now(&pair.group);
        let steps = plan_in_parts(&mut pair.group, &then, at, |place| builds >> (place % 64) & 1 == 1);
        prop_assert_eq!(&plain_now(&pair.group), &before, "what is built is not seen");
        let done = pair.group.tree(tree_command::What::Batch(TreeBatch { steps: steps.clone() }));
        prop_assert!(done.is_ok(), "{:?} of {:?}", done, steps);
        prop_assert_eq!(plain_now(&pair.group), plain_then(&then, &written));
        pair.group.check();
    }
}
