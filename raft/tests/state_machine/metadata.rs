//! Notes at entries, found by their values; and the kinds of notes that administrators define.

use super::group::{Group, code, id, path, tree};
use super::system::made;
use bytes::Bytes;
use proptest::prelude::*;
use skep_raft::invariants;
use skep_raft::wire::meta::v1::{
    ChangesQuery, CopyEntry, DeleteEntry, DeleteNamespace, Done, FoundMeta, IndexNotes, MetaPage, MetaQuery, MoveEntry, NamespaceRecord,
    PruneHistory, PutNamespace, ReapEntries, Rejection, RejectionCode, SetMeta, WorkspaceCommand, answer, command, query, tree_command,
    workspace_command,
};

const TAGS: &str = "usermeta-tags";

fn note(path_text: &str, json: &str, searchable: bool) -> tree_command::What {
    let (namespace, json) = (TAGS.to_owned(), json.to_owned());
    tree_command::What::SetMeta(SetMeta { path: path(path_text), namespace, json, searchable, ..SetMeta::default() })
}

fn bookmark(path_text: &str, user: u64, json: &str) -> tree_command::What {
    let (namespace, json) = ("bookmark".to_owned(), json.to_owned());
    tree_command::What::SetMeta(SetMeta { path: path(path_text), namespace, json, user: id(user), ..SetMeta::default() })
}

fn copy(from: &str, to: &str, seed: u64) -> tree_command::What {
    tree_command::What::CopyEntry(CopyEntry { from: path(from), to: path(to), overwrite: true, seed: id(seed), ..CopyEntry::default() })
}

fn rename(from: &str, to: &str) -> tree_command::What {
    tree_command::What::MoveEntry(MoveEntry { from: path(from), to: path(to), overwrite: true, ..MoveEntry::default() })
}

fn delete(path_text: &str) -> tree_command::What {
    tree_command::What::DeleteEntry(DeleteEntry { path: path(path_text), permanently: true, ..DeleteEntry::default() })
}

fn recycle(path_text: &str, bin: Bytes) -> tree_command::What {
    let recycle_note_json = "\"old\"".to_owned();
    tree_command::What::DeleteEntry(DeleteEntry {
        path: path(path_text),
        recycle_root: path("/"),
        bin,
        recycle_note_json,
        ..DeleteEntry::default()
    })
}

fn found(group: &Group, question: MetaQuery) -> MetaPage {
    match group.query(query::What::Meta(question)) {
        answer::What::Meta(page) => page,
        other => panic!("an answer of another kind: {other:?}"),
    }
}

fn names(page: &MetaPage) -> Vec<String> {
    let mut names: Vec<String> = page.found.iter().map(|found| found.names.join("/")).collect();
    names.sort();
    names
}

fn with_value(group: &Group, json: &str) -> Vec<String> {
    names(&found(group, MetaQuery { namespace: TAGS.to_owned(), json: json.to_owned(), limit: 100, ..MetaQuery::default() }))
}

fn bookmarks(group: &Group, user: u64) -> Vec<String> {
    names(&found(group, MetaQuery { namespace: "bookmark".to_owned(), user: id(user), limit: 100, ..MetaQuery::default() }))
}

/// Takes apart what was deleted for good.
fn reap(group: &mut Group) {
    group.clock += 10_000_000;
    group.mkdir(&format!("/tick{}", group.clock)).unwrap();
    for _ in 0..20 {
        group.clock += 2_000_000;
        group.tree(tree_command::What::PruneHistory(PruneHistory { retention_seconds: 1, limit: 1_000 })).unwrap();
        let policy = skep_raft::state::policy::built_in().into_iter().next().map(|policy| {
            let node_deleted = skep_raft::wire::meta::v1::DeletedStrategy::KeepNone.into();
            skep_raft::wire::meta::v1::VersioningPolicyRecord { node_deleted, ..policy }
        });
        let done = group.tree(tree_command::What::ReapEntries(ReapEntries { policy, limit: 1_000 })).unwrap();
        if done.count == 0 && done.cursor.is_empty() {
            return;
        }
    }
    panic!("it does not end");
}

#[test]
fn an_entry_is_found_by_the_value_that_its_note_has() {
    let mut group = Group::datasource();
    group.mkdir("/d").unwrap();
    group.put("/d/f", b"one").unwrap();
    group.tree(note("/d/f", "\"blue\"", true)).unwrap();
    assert_eq!(with_value(&group, "\"blue\""), ["d/f"]);
    assert_eq!(with_value(&group, "\"red\""), [""; 0]);
    group.tree(note("/d/f", "\"red\"", true)).unwrap();
    assert_eq!((with_value(&group, "\"blue\"").len(), with_value(&group, "\"red\"")), (0, vec!["d/f".to_owned()]));
    group.check();
    group.tree(note("/d/f", "\"red\"", false)).unwrap();
    assert!(with_value(&group, "\"red\"").is_empty(), "written again without being searchable");
    group.check();
    group.tree(note("/d/f", "\"red\"", true)).unwrap();
    group.tree(note("/d/f", "", true)).unwrap();
    assert!(with_value(&group, "\"red\"").is_empty(), "deleted");
    group.check();
}

fn index_notes(group: &mut Group, namespaces: &[&str], before: &Done, limit: u32) -> Result<Done, Rejection> {
    let namespaces = namespaces.iter().map(|name| (*name).to_owned()).collect();
    group.tree(tree_command::What::IndexNotes(IndexNotes { namespaces, after: before.cursor.clone(), begun: before.number, limit }))
}

/// Walks all notes in steps. How many were not found before.
fn index_all(group: &mut Group, namespaces: &[&str], limit: u32) -> u64 {
    let (mut at, mut count) = (Done::default(), 0);
    loop {
        at = index_notes(group, namespaces, &at, limit).unwrap();
        count += at.count;
        group.check();
        if at.cursor.is_empty() {
            return count;
        }
    }
}

#[test]
fn notes_are_found_that_were_noted_before_their_namespace_was_indexable() {
    let mut group = Group::datasource();
    for number in 0..5 {
        group.put(&format!("/f{number}"), b"one").unwrap();
        group.tree(note(&format!("/f{number}"), "\"blue\"", number == 0)).unwrap();
    }
    let other = SetMeta { path: path("/f1"), namespace: "other".to_owned(), json: "\"blue\"".to_owned(), ..SetMeta::default() };
    group.tree(tree_command::What::SetMeta(other)).unwrap();
    assert_eq!(with_value(&group, "\"blue\""), ["f0"]);
    assert_eq!(index_all(&mut group, &[], 2), 0, "none is indexable");
    assert_eq!(index_all(&mut group, &[TAGS], 2), 4);
    assert_eq!(with_value(&group, "\"blue\""), ["f0", "f1", "f2", "f3", "f4"]);
    assert_eq!(index_all(&mut group, &[TAGS], 2), 0, "a second walk finds nothing to do");
    group.tree(note("/f1", "\"red\"", false)).unwrap();
    assert_eq!(with_value(&group, "\"red\""), ["f1"], "whoever noted it did not know that it is indexed");
    // What is not indexable any more is not kept up, and walked anew when it is again.
    assert_eq!(index_all(&mut group, &["other"], 2), 1);
    group.tree(note("/f2", "\"red\"", false)).unwrap();
    assert_eq!(with_value(&group, "\"red\""), ["f1"]);
    assert_eq!(index_all(&mut group, &["other", TAGS], 2), 1);
    assert_eq!(with_value(&group, "\"red\""), ["f1", "f2"]);
    let begun = index_notes(&mut group, &["third"], &Done::default(), 2).unwrap();
    assert!(!begun.cursor.is_empty(), "{begun:?}");
    let bad = IndexNotes { namespaces: vec!["third".to_owned()], after: Bytes::from_static(b"nowhere"), begun: begun.number, limit: 2 };
    assert_eq!(code(group.tree(tree_command::What::IndexNotes(bad))), RejectionCode::Invalid);
    let many: Vec<String> = (0..400).map(|number| format!("usermeta-{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(code(index_notes(&mut group, &many, &Done::default(), 2)), RejectionCode::Invalid);
}

#[test]
fn what_is_noted_or_copied_behind_a_walk_is_found() {
    let mut group = Group::datasource();
    for number in 0..6 {
        group.put(&format!("/f{number}"), b"one").unwrap();
        group.tree(note(&format!("/f{number}"), "\"blue\"", false)).unwrap();
    }
    let mut at = index_notes(&mut group, &[TAGS], &Done::default(), 3).unwrap();
    assert!(!at.cursor.is_empty() && at.count == 3, "{at:?}");
    group.tree(note("/f0", "\"red\"", false)).unwrap();
    group.tree(copy("/f5", "/first", 1)).unwrap();
    // A walk that began before another one took the namespace away for a while makes nothing complete.
    let stale = at.clone();
    while !at.cursor.is_empty() {
        at = index_notes(&mut group, &[TAGS], &at, 3).unwrap();
        group.check();
    }
    assert_eq!((with_value(&group, "\"red\""), with_value(&group, "\"blue\"").len()), (vec!["f0".to_owned()], 6));
    index_notes(&mut group, &[], &Done::default(), 3).unwrap();
    group.tree(note("/f1", "\"green\"", false)).unwrap();
    index_notes(&mut group, &[TAGS], &Done::default(), 1).unwrap();
    let mut at = stale;
    while !at.cursor.is_empty() {
        at = index_notes(&mut group, &[TAGS], &at, 3).unwrap();
        group.check();
    }
    assert_eq!(index_all(&mut group, &[TAGS], 3), 1, "the walk that is done anew comes to it");
    assert_eq!(with_value(&group, "\"green\""), ["f1"]);
}

#[test]
fn values_follow_moves_and_copies_and_end_with_the_entry() {
    let mut group = Group::datasource();
    group.mkdir("/d").unwrap();
    group.put("/d/f", b"one").unwrap();
    group.put("/d/quiet", b"two").unwrap();
    group.tree(note("/d/f", "\"blue\"", true)).unwrap();
    group.tree(note("/d/quiet", "\"blue\"", false)).unwrap();
    group.tree(bookmark("/d/f", 70, "true")).unwrap();
    group.tree(rename("/d", "/e")).unwrap();
    assert_eq!((with_value(&group, "\"blue\""), bookmarks(&group, 70)), (vec!["e/f".to_owned()], vec!["e/f".to_owned()]));
    group.tree(copy("/e", "/c", 900)).unwrap();
    assert_eq!(with_value(&group, "\"blue\""), ["c/f", "e/f"], "a copy is found as what it was made of");
    assert_eq!(bookmarks(&group, 70), ["e/f"], "what somebody marked is the entry, not its copies");
    group.check();
    let bin = group.id();
    group.tree(recycle("/c/f", bin)).unwrap();
    assert_eq!(with_value(&group, "\"blue\""), ["e/f", "recycle_bin/f"]);
    group.check();
    group.tree(delete("/e")).unwrap();
    assert_eq!((with_value(&group, "\"blue\""), bookmarks(&group, 70).len()), (vec!["recycle_bin/f".to_owned()], 0));
    group.check();
    reap(&mut group);
    group.check();
    let left = group.rows().iter().filter(|(_, key, _)| key.first() == Some(&27) || key.first() == Some(&31)).count();
    assert_eq!(left, 0, "bookmarks go with the entry");
}

#[test]
fn users_have_notes_of_their_own() {
    let mut group = Group::datasource();
    let done = group.put("/f", b"one").unwrap();
    let entry = done.entry.unwrap().entry;
    group.tree(bookmark("/f", 70, "true")).unwrap();
    let asked = ChangesQuery { after_index: group.index - 1, after_sub: u32::MAX, limit: 9, within: None };
    let answer::What::Changes(told) = group.query(query::What::Changes(asked)) else { panic!("another answer") };
    let owners: Vec<Bytes> = told.changes.into_iter().filter_map(|shown| Some(shown.change?.owner)).collect();
    assert_eq!(owners, [id(70)], "nobody else is told");
    assert_eq!((bookmarks(&group, 70), bookmarks(&group, 71).len()), (vec!["f".to_owned()], 0));
    let of_entries = |user| MetaQuery {
        namespace: "bookmark".to_owned(),
        user: id(user),
        entries: vec![entry.clone()],
        limit: 9,
        ..MetaQuery::default()
    };
    assert_eq!(found(&group, of_entries(70)).found.len(), 1);
    assert!(found(&group, of_entries(71)).found.is_empty());
    group.tree(bookmark("/f", 70, "")).unwrap();
    assert!(bookmarks(&group, 70).is_empty());
    group.check();
}

#[test]
fn pages_and_folders_narrow_what_is_found() {
    let mut group = Group::datasource();
    for folder in ["/a", "/b"] {
        group.mkdir(folder).unwrap();
        for number in 0..4 {
            let file = format!("{folder}/f{number}");
            group.put(&file, b"one").unwrap();
            group.tree(note(&file, &format!("\"{}\"", number % 2), true)).unwrap();
        }
    }
    for json in ["\"1\"", ""] {
        let mut question = MetaQuery { namespace: TAGS.to_owned(), json: json.to_owned(), limit: 3, ..MetaQuery::default() };
        let mut all: Vec<FoundMeta> = Vec::new();
        loop {
            let page = found(&group, question.clone());
            assert!(page.found.len() <= 3);
            all.extend(page.found);
            if page.cursor.is_empty() {
                break;
            }
            question.after = page.cursor;
        }
        assert_eq!(all.len(), if json.is_empty() { 8 } else { 4 }, "each once: {json}");
    }
    let within = MetaQuery { namespace: TAGS.to_owned(), json: "\"1\"".to_owned(), within: path("/a"), limit: 9, ..MetaQuery::default() };
    assert_eq!(names(&found(&group, within)), ["f1", "f3"]);
}

fn workspace(group: &mut Group, what: workspace_command::What) -> Result<Done, Rejection> {
    group.run(command::What::Workspace(WorkspaceCommand { what: Some(what) }))
}

fn put(group: &mut Group, namespace: NamespaceRecord) -> Result<Done, Rejection> {
    workspace(group, workspace_command::What::PutNamespace(PutNamespace { namespace: Some(namespace), ..PutNamespace::default() }))
}

fn named(name: &str) -> NamespaceRecord {
    NamespaceRecord { name: name.to_owned(), label: "Colour".to_owned(), ..NamespaceRecord::default() }
}

fn tags(group: &mut Group, name: &str, tags: &[&str], remove: bool) -> Result<u64, Rejection> {
    let namespace = NamespaceRecord { tags: tags.iter().map(|tag| (*tag).to_owned()).collect(), ..named(name) };
    let command = PutNamespace { namespace: Some(namespace), add_tags: !remove, remove_tags: remove };
    workspace(group, workspace_command::What::PutNamespace(command)).map(|done| done.count)
}

#[test]
fn namespaces_are_defined_changed_and_deleted() {
    let mut group = made();
    assert_eq!(group.view().namespaces().unwrap().len(), 3, "those of the program");
    assert!(put(&mut group, named("usermeta-colour")).unwrap().created);
    let changed = NamespaceRecord { label: "Paint".to_owned(), built_in: true, private_to_user: true, ..named("usermeta-colour") };
    assert!(!put(&mut group, changed).unwrap().created);
    let stored = group.view().namespace("usermeta-colour").unwrap().unwrap();
    assert_eq!((stored.label.as_str(), stored.built_in, stored.private_to_user), ("Paint", false, false));
    for name in ["colour", "pydio:colour", "usermeta-Colour", "usermeta-"] {
        assert_eq!(code(put(&mut group, named(name))), RejectionCode::NameInvalid, "{name}");
    }
    for name in ["bookmark", TAGS, "content_lock"] {
        assert_eq!(code(put(&mut group, named(name))), RejectionCode::Forbidden, "{name}");
        let delete = workspace_command::What::DeleteNamespace(DeleteNamespace { name: name.to_owned() });
        assert_eq!(code(workspace(&mut group, delete)), RejectionCode::Forbidden, "{name}");
    }
    let delete = || workspace_command::What::DeleteNamespace(DeleteNamespace { name: "usermeta-colour".to_owned() });
    workspace(&mut group, delete()).unwrap();
    assert_eq!(code(workspace(&mut group, delete())), RejectionCode::NotFound);
    for number in 0..256 {
        put(&mut group, named(&format!("usermeta-{number}"))).unwrap();
    }
    assert_eq!(code(put(&mut group, named("usermeta-more"))), RejectionCode::LimitReached);
    put(&mut group, named("usermeta-7")).unwrap();
}

#[test]
fn known_tags_are_added_and_taken_one_by_one() {
    let mut group = made();
    assert_eq!(tags(&mut group, TAGS, &["blue", "red"], false), Ok(2));
    assert_eq!(tags(&mut group, TAGS, &["red", "green"], false), Ok(1), "one was known");
    let known = |group: &Group| group.view().namespace(TAGS).unwrap().unwrap().tags;
    assert_eq!(known(&group), ["blue", "green", "red"]);
    assert_eq!(group.view().namespaces().unwrap().len(), 3, "the program's own is listed once");
    assert_eq!(tags(&mut group, TAGS, &["red", "none"], true), Ok(1));
    assert_eq!(known(&group), ["blue", "green"]);
    assert_eq!(tags(&mut group, TAGS, &[], true), Ok(2), "none named: all");
    assert!(known(&group).is_empty());
    assert_eq!(code(tags(&mut group, "usermeta-none", &["a"], false)), RejectionCode::NotFound);
    put(&mut group, named("usermeta-colour")).unwrap();
    tags(&mut group, "usermeta-colour", &["a"], false).unwrap();
    put(&mut group, named("usermeta-colour")).unwrap();
    assert_eq!(group.view().namespace("usermeta-colour").unwrap().unwrap().tags, ["a"], "a changed definition keeps its tags");
    let many: Vec<String> = (0..10_000).map(|number| format!("t{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(code(tags(&mut group, "usermeta-colour", &many, false)), RejectionCode::LimitReached);
    assert_eq!(code(tags(&mut group, "usermeta-colour", &[""], false)), RejectionCode::Invalid);
}

/// Notes, moves, copies and deletions among few names.
fn step() -> impl Strategy<Value = (u8, u8, u8, u8)> {
    (0..11_u8, 0..4_u8, 0..4_u8, 0..3_u8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn what_is_found_by_its_value_is_noted(steps in proptest::collection::vec(step(), 1..60)) {
        let (mut group, mut walk) = (Group::datasource(), Done::default());
        for (number, (kind, from, to, value)) in (1_u64..).zip(steps) {
            let (from, to) = (format!("/f{from}"), format!("/f{to}"));
            let json = if value == 0 { String::new() } else { format!("\"{value}\"") };
            let outcome = match kind {
                0 | 1 => group.put(&from, b"one").map(|_done| ()),
                2 => group.propose(tree(note(&from, &json, true))).what.map(|_done| ()).ok_or_else(Rejection::default),
                3 => group.tree(note(&from, &json, false)).map(|_done| ()),
                4 => group.tree(bookmark(&from, 70, &json)).map(|_done| ()),
                5 => group.tree(copy(&from, &to, number + 5_000)).map(|_done| ()),
                6 => group.tree(rename(&from, &to)).map(|_done| ()),
                8 => index_notes(&mut group, &[TAGS], &walk, u32::from(value)).map(|done| walk = done),
                9 if value == 0 => index_notes(&mut group, &[], &Done::default(), 1).map(|_done| ()),
                7 => group.tree(recycle(&from, id(number + 9_000))).map(|_done| ()),
                _ => group.tree(delete(&from)).map(|_done| ()),
            };
            let found = invariants::violations(&*group.store.snapshot()).unwrap();
            prop_assert!(found.is_empty(), "{:?} {:?}", outcome, found);
        }
        reap(&mut group);
        let found = invariants::violations(&*group.store.snapshot()).unwrap();
        prop_assert!(found.is_empty(), "{:?}", found);
    }
}
