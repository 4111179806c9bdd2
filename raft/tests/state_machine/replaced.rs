//! What a move or a copy replaces, and versions that are used again by the file's place.

use super::group::{Group, code, id, path};
use skep_raft::wire::meta::v1::{CopyEntry, DeleteVersion, MoveEntry, RejectionCode, StatQuery, UseVersion, answer, query, tree_command};

fn noted(group: &Group, at: &str) -> Vec<(String, String)> {
    match group.query(query::What::Stat(StatQuery { path: path(at), with_meta: true, ..StatQuery::default() })) {
        answer::What::Entry(entry) => entry.meta.into_iter().map(|note| (note.namespace, note.json)).collect(),
        other => panic!("{at}: {other:?}"),
    }
}

#[test]
fn what_is_replaced_lies_in_the_bin_with_its_old_place() {
    let mut group = Group::datasource();
    let old_place = vec![("pydio:recycle_restore".to_owned(), "\"ws/target\"".to_owned())];
    let note = || "\"ws/target\"".to_owned();
    for (number, by_copy) in [(1, false), (2, true)] {
        group.put("/target", b"old").unwrap();
        group.put("/source", b"new").unwrap();
        let (from, to, recycle_root, bin) = (path("/source"), path("/target"), path("/"), id(900 + number));
        let done = group.tree(if by_copy {
            let seed = id(950);
            tree_command::What::CopyEntry(CopyEntry {
                from,
                to,
                overwrite: true,
                seed,
                recycle_root,
                bin,
                recycle_note_json: note(),
                ..CopyEntry::default()
            })
        } else {
            tree_command::What::MoveEntry(MoveEntry {
                from,
                to,
                overwrite: true,
                recycle_root,
                bin,
                recycle_note_json: note(),
                ..MoveEntry::default()
            })
        });
        let done = done.unwrap();
        assert!(!done.created && done.final_path.starts_with("recycle_bin/target"), "{done:?}");
        assert_eq!(noted(&group, &format!("/{}", done.final_path)), old_place);
        assert!(noted(&group, "/target").is_empty(), "what takes the place was not recycled");
        let restored = MoveEntry {
            from: path(&format!("/{}", done.final_path)),
            to: path(&format!("/back{number}")),
            restore: true,
            ..MoveEntry::default()
        };
        group.tree(tree_command::What::MoveEntry(restored)).unwrap();
        assert!(noted(&group, &format!("/back{number}")).is_empty());
        group.check();
    }
    let long = MoveEntry {
        from: path("/back1"),
        to: path("/back2"),
        overwrite: true,
        recycle_note_json: "x".repeat(70_000),
        ..MoveEntry::default()
    };
    assert_eq!(code(group.tree(tree_command::What::MoveEntry(long))), RejectionCode::Invalid);
}

#[test]
fn a_version_is_used_again_by_the_place_of_its_file() {
    let mut group = Group::datasource();
    group.mkdir("/d").unwrap();
    let first = group.put("/d/f", b"one").unwrap().entry.unwrap().version;
    let second = group.put("/d/f", b"two").unwrap().entry.unwrap().version;
    let again = |at: &str, of: &bytes::Bytes, new: u64| {
        tree_command::What::UseVersion(UseVersion { path: path(at), version: id(new), of_version: of.clone(), ..UseVersion::default() })
    };
    let used = group.tree(again("/d/f", &first, 800)).unwrap();
    assert_eq!((used.created, used.version.unwrap().number, used.entry.unwrap().size), (false, 3, 3));
    assert_eq!(code(group.tree(again("/d/none", &first, 801))), RejectionCode::NotFound);
    assert_eq!(code(group.tree(again("/d", &first, 802))), RejectionCode::IsAFolder);
    assert_eq!(code(group.tree(again("/d/f", &id(12_345), 803))), RejectionCode::VersionNotFound);
    group.tree(tree_command::What::DeleteVersion(DeleteVersion { path: path("/d/f"), version: second.clone() })).unwrap();
    assert_eq!(code(group.tree(again("/d/f", &second, 804))), RejectionCode::Pruned, "history knows that it was there");
    group.check();
}
