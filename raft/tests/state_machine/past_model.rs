//! Every instant that history reaches shows the tree as it was then, and no other does; also while history ends, deleted entries are taken apart and
//! policies prune versions.

use super::group::path;
use super::model::BIN;
use super::pair::{Pair, Tree, shown, stat, text, walk};
use super::steps::{Place, Step, step};
use super::upkeep::{self, Keep};
use bytes::Bytes;
use proptest::prelude::*;
use skep_raft::wire::meta::v1::{ContentQuery, EntryKind, EntryPath, ListQuery, StatQuery, answer, query};
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of all versions that there ever were.
#[derive(Default)]
pub(crate) struct Written {
    bytes: BTreeMap<(Bytes, u64), Vec<u8>>,
}

impl Written {
    pub(crate) fn note(&mut self, pair: &Pair) {
        for (token, versions) in &pair.model.versions {
            let entry = &pair.model.entries[token];
            self.bytes.extend(versions.iter().map(|one| ((entry.clone(), one.number), one.bytes.clone())));
        }
    }

    pub(crate) fn of(&self, entry: &Bytes, number: u64) -> &[u8] {
        &self.bytes[&(entry.clone(), number)]
    }
}

/// Compares each instant between the first step and now.
pub(crate) fn compare_past(pair: &Pair, written: &Written, horizon: u64) -> Result<(), TestCaseError> {
    let empty = Tree::new();
    let kept = pair.known_versions();
    let first = pair.past.first().map_or(0, |(stamp, _)| *stamp);
    let mut instants = vec![(first.saturating_sub(1), &empty)];
    for (place, (stamp, tree)) in pair.past.iter().enumerate() {
        let last = pair.past.get(place + 1).map_or(stamp + 1_000_000, |(next, _)| next - 1);
        instants.push((*stamp, tree));
        instants.push((last, tree));
    }
    for (at, tree) in instants.into_iter().filter(|(at, _)| *at != 0) {
        if at < horizon {
            gone_by(pair, at, horizon)?;
            continue;
        }
        let walked = walk(&pair.group, at);
        prop_assert_eq!(walked.as_ref(), Some(tree), "at {}", at);
        for place in &places() {
            compare_place(pair, (at, tree), place)?;
            compare_content(pair, (at, tree), place, (written, &kept))?;
        }
        compare_bases(pair, at, tree)?;
    }
    Ok(())
}

/// All paths of three names at most, that steps use.
fn places() -> Vec<Place> {
    let names = ["a", "b", BIN];
    let mut all: Vec<Place> = vec![Vec::new()];
    for length in 0..3 {
        let longer =
            all.iter().filter(|place| place.len() == length).flat_map(|place| names.map(|name| [place, &[name.to_owned()][..]].concat()));
        all.extend(longer.collect::<Vec<_>>());
    }
    all
}

/// Stat and listing of a path at an instant.
fn compare_place(pair: &Pair, (at, tree): (u64, &Tree), place: &Place) -> Result<(), TestCaseError> {
    let is_folder = place.is_empty() || tree.get(place).is_some_and(|one| one.version.is_none());
    let listed = list(pair, place, at);
    if is_folder {
        let members = tree.iter().filter(|(path, _)| path.len() == place.len() + 1 && path.starts_with(place));
        let names: Vec<String> = members.map(|(path, _)| path.last().unwrap().clone()).collect();
        prop_assert_eq!(listed, Some(names), "members of {:?} at {}", place, at);
    } else {
        prop_assert_eq!(listed, None, "{:?} is no folder at {}", place, at);
    }
    let found = stat(&pair.group, place, at).map(|entry| shown(&entry)).filter(|_| !place.is_empty());
    prop_assert_eq!(found.as_ref(), tree.get(place), "{:?} at {}", place, at);
    Ok(())
}

/// The bytes of a file at an instant, or that they are pruned.
fn compare_content(
    pair: &Pair,
    (at, tree): (u64, &Tree),
    place: &Place,
    (written, kept): (&Written, &BTreeSet<(Bytes, u64)>),
) -> Result<(), TestCaseError> {
    let asked = ContentQuery { path: path(&text(place)), at, ..ContentQuery::default() };
    let content = pair.group.query(query::What::Content(asked));
    let Some((entry, (number, _))) = tree.get(place).and_then(|one| Some((one.entry.clone(), one.version.clone()?))) else {
        prop_assert!(matches!(&content, answer::What::Absence(absence) if !absence.pruned), "{:?} at {}: {:?}", place, at, content);
        return Ok(());
    };
    let is_kept = kept.contains(&(entry.clone(), number));
    match content {
        answer::What::Content(content) => {
            prop_assert!(is_kept);
            prop_assert_eq!(Some(&content.inlined[..]), written.bytes.get(&(entry, number)).map(Vec::as_slice), "{:?} at {}", place, at);
        }
        answer::What::Absence(absence) => prop_assert!(absence.pruned && absence.unavailable_version && !is_kept, "{:?} at {}", place, at),
        other => prop_assert!(false, "{:?}", other),
    }
    Ok(())
}

/// Names in pages of two, and how many the answer counts; none if the path is no folder. Each page is found by the name before it and by the number of
/// members before it, and members of each kind are counted.
fn list(pair: &Pair, place: &Place, at: u64) -> Option<Vec<String>> {
    let (mut names, mut after, mut folders) = (Vec::new(), String::new(), 0);
    let ask = |asked: ListQuery| match pair.group.query(query::What::List(ListQuery {
        path: path(&text(place)),
        at,
        count_total: true,
        ..asked
    })) {
        answer::What::List(page) => Some(page),
        _ => None,
    };
    loop {
        let page = ask(ListQuery { after, limit: 2, ..ListQuery::default() })?;
        let passed = u32::try_from(names.len()).expect("few names");
        assert_eq!(ask(ListQuery { skip: passed, limit: 2, ..ListQuery::default() }).as_ref(), Some(&page), "{passed} members passed over");
        names.extend(page.entries.iter().map(|entry| entry.name.clone()));
        folders += page.entries.iter().filter(|entry| entry.kind() == EntryKind::Folder).count();
        after = names.last().cloned().unwrap_or_default();
        if !page.more {
            assert_eq!(page.total, names.len() as u64);
            for (kind, members) in [(EntryKind::Folder, folders), (EntryKind::File, names.len() - folders)] {
                let of_kind = ask(ListQuery { kind: kind.into(), limit: 1_000, ..ListQuery::default() })?;
                assert_eq!((of_kind.total, of_kind.entries.len()), (members as u64, members), "{kind:?}");
            }
            return Some(names);
        }
    }
}

/// Entries asked for by their ids: a folder is there if it was, a file is never taken for another state of it.
fn compare_bases(pair: &Pair, at: u64, tree: &Tree) -> Result<(), TestCaseError> {
    let then: BTreeMap<&Bytes, _> = tree.values().map(|one| (&one.entry, one)).collect();
    for entry in pair.model.entries.values() {
        let asked = StatQuery { path: Some(EntryPath { base: entry.clone(), names: Vec::new() }), at, ..StatQuery::default() };
        let found = match pair.group.query(query::What::Stat(asked)) {
            answer::What::Entry(found) => Some(shown(&found)),
            _ => None,
        };
        match then.get(entry) {
            Some(was) if was.version.is_none() => {
                prop_assert!(found.is_some_and(|found| found.version.is_none()), "folder {:?} at {}", entry, at);
            }
            Some(was) => prop_assert!(found.is_none_or(|found| found == **was), "file {:?} at {}", entry, at),
            None => prop_assert_eq!(found, None, "{:?} was not there at {}", entry, at),
        }
    }
    Ok(())
}

/// An instant that history does not reach is refused with the horizon, whatever is asked.
fn gone_by(pair: &Pair, at: u64, horizon: u64) -> Result<(), TestCaseError> {
    let root = || path("/");
    let asked = [
        query::What::Stat(StatQuery { path: root(), at, ..StatQuery::default() }),
        query::What::List(ListQuery { path: root(), at, ..ListQuery::default() }),
        query::What::Content(ContentQuery { path: root(), at, ..ContentQuery::default() }),
        query::What::Walk(skep_raft::wire::meta::v1::WalkQuery { path: root(), at, ..Default::default() }),
        query::What::Diff(skep_raft::wire::meta::v1::DiffQuery { path: root(), at, ..Default::default() }),
    ];
    for asked in asked {
        let answer = pair.group.query(asked);
        prop_assert!(matches!(&answer, answer::What::Absence(absence) if absence.horizon == horizon), "at {}: {:?}", at, answer);
    }
    Ok(())
}

#[derive(Clone, Debug)]
enum Event {
    Step(Step),
    Wait(u64),
    Upkeep(Keep),
    EmptyBins { seconds: u64, bytes: u64 },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        10 => step().prop_map(Event::Step),
        2 => (1..4_u64).prop_map(Event::Wait),
        1 => upkeep::keep().prop_map(Event::Upkeep),
        1 => (0..4_u64, 0..9_u64).prop_map(|(seconds, bytes)| Event::EmptyBins { seconds, bytes }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn each_instant_shows_the_tree_as_it_was(events in proptest::collection::vec(event(), 1..60)) {
        let mut pair = Pair::new();
        let mut written = Written::default();
        let mut horizon = 0;
        for event in &events {
            match event {
                Event::Step(step) => pair.take(step)?,
                Event::Wait(seconds) => pair.group.clock += seconds * 1_000_000,
                Event::EmptyBins { seconds, bytes } => upkeep::empty_bins(&mut pair, *seconds, *bytes)?,
                Event::Upkeep(keep) => {
                    compare_past(&pair, &written, horizon)?;
                    horizon = upkeep::run(&mut pair, keep, horizon)?;
                    pair.group.check();
                }
            }
            written.note(&pair);
        }
        compare_past(&pair, &written, horizon)?;
        pair.group.check();
    }
}
