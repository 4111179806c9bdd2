//! Queries: pages, ranges, walks, and what is not there.

use super::group::{Group, code, id, path, stored};
use skep_raft::keys::{CurrentKey, StateKey};
use skep_raft::store::Changes;
use skep_raft::wire::meta::v1::{
    Absence, ContentAnswer, ContentQuery, DeleteEntry, EntryKind, EntryPage, EntryPath, ListQuery, LocateQuery, RejectionCode, StatQuery,
    StoredChunk, VersionsQuery, WalkPage, WalkQuery, answer, content_command, new_content, query, tree_command,
};

fn list(group: &Group, asked: ListQuery) -> EntryPage {
    match group.query(query::What::List(asked)) {
        answer::What::List(page) => page,
        other => panic!("{other:?}"),
    }
}

fn content(group: &Group, asked: ContentQuery) -> ContentAnswer {
    match group.query(query::What::Content(asked)) {
        answer::What::Content(content) => content,
        other => panic!("{other:?}"),
    }
}

fn names(page: &EntryPage) -> Vec<&str> {
    page.entries.iter().map(|entry| entry.name.as_str()).collect()
}

/// A folder of 2,500 members, every tenth a folder, and their names.
fn with_a_large_folder() -> (Group, Vec<String>) {
    let mut group = Group::datasource();
    group.mkdir("/big").unwrap();
    group.mkdir("/big-neighbour").unwrap();
    let all: Vec<String> = (0..2_500).map(|number| format!("{number:05}")).collect();
    for (number, name) in all.iter().enumerate() {
        let at = format!("/big/{name}");
        if number % 10 == 0 {
            group.mkdir(&at).unwrap()
        } else {
            group.put(&at, b"x").unwrap()
        };
    }
    (group, all)
}

#[test]
fn a_large_folder_pages_without_gap_or_repetition() {
    let (group, all) = with_a_large_folder();
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = list(&group, ListQuery { path: path("/big"), after, limit: 333, ..ListQuery::default() });
        after = page.entries.last().unwrap().name.clone();
        seen.extend(page.entries.iter().map(|entry| entry.name.clone()));
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, all);
    let page = list(&group, ListQuery { path: path("/big"), skip: 2_498, limit: 10, count_total: true, ..ListQuery::default() });
    assert_eq!((names(&page), page.more, page.total), (vec!["02498", "02499"], false, 2_500));
    let kind = EntryKind::Folder.into();
    let page = list(&group, ListQuery { path: path("/big"), kind, skip: 100, limit: 2, count_total: true, ..ListQuery::default() });
    assert_eq!((names(&page), page.more, page.total), (vec!["01000", "01010"], true, 250));
    assert_eq!(page.folder.unwrap().sums.unwrap().files, 2_250);
    assert_eq!(list(&group, ListQuery { path: path("/big"), limit: 5_000, ..ListQuery::default() }).entries.len(), 1_000);
    group.check();
}

#[test]
fn pages_begin_behind_any_number_of_members() {
    const MEMBERS: u32 = 1_001_500;
    let mut group = Group::datasource();
    group.mkdir("/big").unwrap();
    group.mkdir("/big/member").unwrap();
    let member = |(family, key, value): (_, Vec<u8>, Vec<u8>)| {
        let key = (family == CurrentKey::FAMILY && key[0] == CurrentKey::KIND.number()).then(|| CurrentKey::from_bytes(&key).unwrap())?;
        (key.name.0 == "member").then_some((key, bytes::Bytes::from(value)))
    };
    let (key, record) = group.rows().into_iter().find_map(member).unwrap();
    let mut changes = Changes::new();
    changes.delete(CurrentKey::FAMILY, key.to_bytes());
    for number in 0..MEMBERS {
        changes.put(CurrentKey::FAMILY, CurrentKey::new(key.parent, &format!("{number:07}")).to_bytes(), record.clone());
    }
    group.store.commit(changes).unwrap();
    let at = group.next_stamp() - 1;
    for kind in [EntryKind::Unspecified, EntryKind::Folder] {
        for at in [0, at] {
            let kind = kind.into();
            let page = |skip| list(&group, ListQuery { path: path("/big"), skip, at, kind, limit: 2, ..ListQuery::default() });
            let far = page(1_001_200);
            assert_eq!((names(&far), far.more), (vec!["1001200", "1001201"], true));
            assert!(far.marks.len() <= 1_000, "an answer is bounded: {}", far.marks.len());
            let end = page(MEMBERS - 1);
            assert_eq!((names(&end), end.more), (vec!["1001499"], false));
            assert_eq!((names(&page(MEMBERS)).len(), names(&page(u32::MAX)).len()), (0, 0));
        }
    }
}

#[test]
fn what_is_passed_over_or_counted_is_marked() {
    let (mut group, all) = with_a_large_folder();
    let counted = list(&group, ListQuery { path: path("/big"), count_total: true, ..ListQuery::default() });
    assert_eq!(counted.marks, Vec::<String>::new(), "the folder knows its count");
    let passed = |skip, kind: EntryKind, after: &str| {
        let kind = i32::from(kind);
        list(&group, ListQuery { path: path("/big"), skip, kind, after: after.to_owned(), limit: 1, ..ListQuery::default() })
    };
    for (skip, kind, after, first, marks) in [
        (2_498, EntryKind::Unspecified, "", "02498", &["00999", "01999"][..]),
        (1_200, EntryKind::Unspecified, "00499", "01700", &["01499"]),
        (2_000, EntryKind::Unspecified, "", "02000", &["00999", "01999"]),
        (1_100, EntryKind::File, "", "01223", &["01111"]),
    ] {
        let page = passed(skip, kind, after);
        let found: Vec<&str> = page.marks.iter().map(String::as_str).collect();
        assert_eq!((names(&page), found), (vec![first], marks.to_vec()), "{skip} behind {after:?}");
    }
    let page = passed(5_000, EntryKind::Unspecified, "");
    assert_eq!((names(&page).len(), page.marks.len(), page.more), (0, 2, false), "behind the end");

    let (then, entry) = (group.next_stamp() - 1, |number| format!("/big/{number:05}"));
    group.clock += 1_000_000;
    group.put("/big/00000-between", b"new").unwrap();
    group.put(&entry(7), b"changed").unwrap();
    let delete = DeleteEntry { path: path(&entry(1_001)), permanently: true, ..DeleteEntry::default() };
    group.tree(tree_command::What::DeleteEntry(delete)).unwrap();
    let past = |from, kind, after: &str| {
        let kind = i32::from(kind);
        list(
            &group,
            ListQuery {
                at: then,
                path: path("/big"),
                skip: from,
                limit: 3,
                after: after.to_owned(),
                kind,
                count_total: true,
                ..ListQuery::default()
            },
        )
    };
    for (from, after) in [(0, ""), (1_000, ""), (2_499, ""), (2_500, ""), (1, "00998")] {
        let page = past(from, EntryKind::Unspecified, after);
        let first = usize::try_from(from).unwrap() + if after.is_empty() { 0 } else { 999 };
        let expected: Vec<&str> = all.iter().skip(first).take(3).map(String::as_str).collect();
        assert_eq!((names(&page), page.more, page.total), (expected, first + 3 < 2_500, 2_500), "{from} behind {after:?}");
        assert_eq!(page.marks, ["00999", "01999"], "the thousandth and the two thousandth");
    }
    let files = past(900, EntryKind::File, "");
    assert_eq!(
        (names(&files), files.total, files.marks.clone()),
        (vec!["01001", "01002", "01003"], 2_250, vec!["01111".to_owned(), "02222".to_owned()])
    );
    group.check();
}

#[test]
fn a_walk_goes_on_where_it_stopped() {
    let mut group = Group::datasource();
    for folder in ["/a", "/a/b", "/a/b/c", "/a/d", "/e", "/a!"] {
        group.mkdir(folder).unwrap();
    }
    for file in ["/a/b/c/1", "/a/b/2", "/a/d/3", "/e/4", "/5"] {
        group.put(file, b"x").unwrap();
    }
    let walk = |after: Vec<String>, limit| -> WalkPage {
        match group.query(query::What::Walk(WalkQuery { path: path("/"), after, limit, at: 0 })) {
            answer::What::Walk(page) => page,
            other => panic!("{other:?}"),
        }
    };
    let whole: Vec<Vec<String>> = walk(Vec::new(), 100).entries.into_iter().map(|entry| entry.names).collect();
    let texts: Vec<String> = whole.iter().map(|names| names.join("/")).collect();
    assert_eq!(texts, ["5", "a", "a/b", "a/b/2", "a/b/c", "a/b/c/1", "a/d", "a/d/3", "a!", "e", "e/4"]);
    for limit in 1..5 {
        let (mut seen, mut after) = (Vec::new(), Vec::new());
        loop {
            let page = walk(after, limit);
            seen.extend(page.entries.iter().map(|entry| entry.names.clone()));
            after = seen.last().cloned().unwrap();
            if !page.more {
                break;
            }
        }
        assert_eq!(seen, whole, "in pages of {limit}");
    }
    // The last one seen is gone: the walk goes on behind it.
    let gone = ["a", "b", "x", "y"].map(str::to_owned).to_vec();
    assert_eq!(walk(gone, 1).entries[0].names, ["a", "d"]);
}

#[test]
fn a_range_gets_the_chunks_that_cover_it() {
    let mut group = Group::datasource();
    let open = skep_raft::wire::meta::v1::OpenUpload { begun: 1, lease_seconds: 60, job: bytes::Bytes::new() };
    let upload = group.content(content_command::What::OpenUpload(open)).unwrap().number;
    // 3,000 chunks of 1 to 7 bytes in parts of 500, so that manifest parts are filled by several appends.
    let length = |number: u64| number % 7 + 1;
    let chunk = |number: u64| {
        let mut id = vec![0; 32];
        id[..8].copy_from_slice(&number.to_be_bytes());
        StoredChunk { chunk: id.into(), ..stored(0, u32::try_from(length(number)).unwrap(), number, 900) }
    };
    for part in 0..6 {
        let chunks = (part * 500..(part + 1) * 500).map(chunk).collect();
        let append = skep_raft::wire::meta::v1::AppendUpload { upload, part, chunks, lease_seconds: 60 };
        group.content(content_command::What::AppendUpload(append)).unwrap();
    }
    let size: u64 = (0..3_000).map(length).sum();
    group.put_from("/f", size, new_content::From::Upload(upload)).unwrap();
    group.check();
    let starts: Vec<u64> = (0..3_000).scan(0, |offset, number| Some(std::mem::replace(offset, *offset + length(number)))).collect();
    for (offset, wanted) in [(0, 1), (0, 10), (size - 1, 1), (5_000, 50), (4_090, 20), (8_191, 3), (2, 0)] {
        let answer =
            content(&group, ContentQuery { path: path("/f"), offset, length: wanted, chunks_max: 1_000, ..ContentQuery::default() });
        let end = if wanted == 0 { size } else { offset + wanted };
        let first = starts.iter().rposition(|start| *start <= offset).unwrap();
        let covering = starts.iter().filter(|start| **start < end).count() - first;
        assert_eq!(answer.first_offset, starts[first], "{offset}+{wanted}");
        assert_eq!(answer.chunks.len(), covering.min(1_000), "{offset}+{wanted}");
        assert_eq!(answer.more, covering > 1_000, "{offset}+{wanted}");
        assert_eq!(answer.chunks[0].chunk, chunk(first as u64).chunk);
    }
    let behind = content(&group, ContentQuery { path: path("/f"), offset: size, length: 5, ..ContentQuery::default() });
    assert_eq!((behind.chunks.len(), behind.more), (0, false));
    let on = content(&group, ContentQuery { content: behind.version.unwrap().content, offset: 100, length: 1, ..ContentQuery::default() });
    assert_eq!((on.chunks.len(), on.entry), (1, None));
}

#[test]
fn every_version_stays_readable() {
    let mut group = Group::datasource();
    let versions: Vec<bytes::Bytes> = (0..5_u8).map(|number| group.put("/f", &[number; 3]).unwrap().entry.unwrap().version).collect();
    for (number, version) in (0_u8..).zip(&versions) {
        let answer = content(&group, ContentQuery { path: path("/f"), version: version.clone(), ..ContentQuery::default() });
        assert_eq!((answer.inlined.as_ref(), answer.version.unwrap().number), (&[number; 3][..], u64::from(number) + 1));
    }
    let page = |before, limit| match group.query(query::What::Versions(VersionsQuery { path: path("/f"), before, limit })) {
        answer::What::Versions(page) => (page.versions.iter().map(|version| version.number).collect::<Vec<u64>>(), page.more),
        other => panic!("{other:?}"),
    };
    assert_eq!(page(0, 2), (vec![5, 4], true));
    assert_eq!(page(4, 3), (vec![3, 2, 1], false));
    assert_eq!(page(1, 3), (vec![], false));
    let unknown = ContentQuery { path: path("/f"), version: id(99), ..ContentQuery::default() };
    assert!(matches!(group.query(query::What::Content(unknown)), answer::What::Absence(Absence { unavailable_version: true, .. })));
}

#[test]
fn absences_say_how_far_the_path_went() {
    let mut group = Group::datasource();
    group.mkdir("/a").unwrap();
    group.put("/a/f", b"x").unwrap();
    let stat = |path| match group.query(query::What::Stat(StatQuery { path, ..Default::default() })) {
        answer::What::Absence(absence) => (absence.depth, absence.not_a_folder),
        other => panic!("{other:?}"),
    };
    assert_eq!(stat(path("/b/c")), (0, false));
    assert_eq!(stat(path("/a/b/c")), (1, false));
    assert_eq!(stat(path("/a/f/c")), (2, true));
    assert_eq!(stat(None), (0, false));
    assert_eq!(stat(Some(EntryPath { base: id(77), names: Vec::new() })), (0, false));
    assert!(matches!(
        group.query(query::What::List(ListQuery { path: path("/a/f"), ..ListQuery::default() })),
        answer::What::Absence(Absence { not_a_folder: true, .. })
    ));
}

#[test]
fn nothing_below_a_deleted_or_hidden_folder_is_found_from_the_root() {
    let mut group = Group::datasource();
    let folder = group.mkdir("/a").unwrap().entry.unwrap().entry;
    let inner = group.mkdir("/a/b").unwrap().entry.unwrap().entry;
    let locate = |group: &Group, entry: &bytes::Bytes| match group.query(query::What::Locate(LocateQuery { entry: entry.clone() })) {
        answer::What::Locate(found) => Some(found.names.join("/")),
        answer::What::Absence(_) => None,
        other => panic!("{other:?}"),
    };
    assert_eq!(locate(&group, &inner).as_deref(), Some("a/b"));
    let delete = DeleteEntry { path: path("/a"), permanently: true, ..Default::default() };
    group.tree(tree_command::What::DeleteEntry(delete)).unwrap();
    assert_eq!((locate(&group, &folder), locate(&group, &inner)), (None, None));
    let put = skep_raft::wire::meta::v1::PutFile {
        path: Some(EntryPath { base: inner, names: vec!["f".to_owned()] }),
        ..super::group::put_of("", id(501), id(502), 1, new_content::From::Inlined(b"x".to_vec().into()))
    };
    assert_eq!(code(group.tree(tree_command::What::PutFile(put))), RejectionCode::ParentNotFound);
    // A tree that hangs nowhere is built by its id, and counts once it is linked.
    let hidden = id(900);
    group.tree(tree_command::What::OpenHidden(skep_raft::wire::meta::v1::OpenHidden { entry: hidden.clone() })).unwrap();
    group.tree(tree_command::What::OpenHidden(skep_raft::wire::meta::v1::OpenHidden { entry: hidden.clone() })).unwrap();
    let below = |name: &str| Some(EntryPath { base: hidden.clone(), names: vec![name.to_owned()] });
    let put = skep_raft::wire::meta::v1::PutFile {
        path: below("f"),
        ..super::group::put_of("", id(901), id(902), 1, new_content::From::Inlined(b"x".to_vec().into()))
    };
    group.tree(tree_command::What::PutFile(put)).unwrap();
    group.check();
    assert_eq!(locate(&group, &id(901)), None);
    let link = skep_raft::wire::meta::v1::MoveEntry {
        from: Some(EntryPath { base: hidden.clone(), names: Vec::new() }),
        to: path("/built"),
        ..Default::default()
    };
    group.tree(tree_command::What::MoveEntry(link)).unwrap();
    assert_eq!(locate(&group, &id(901)).as_deref(), Some("built/f"));
    group.check();
}
