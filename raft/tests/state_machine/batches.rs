//! Steps of a batch go where the steps before them have left the folders.

use super::group::{Group, code, id, path, put_of};
use skep_raft::wire::meta::v1::batch_step::What;
use skep_raft::wire::meta::v1::{
    BatchStep, CreateFolder, DeleteEntry, Done, MoveEntry, Rejection, RejectionCode, StatQuery, TreeBatch, answer, new_content, query,
    tree_command,
};

fn put(at: &str, number: u64) -> What {
    What::PutFile(put_of(at, id(number), id(number + 1_000), 1, new_content::From::Inlined(bytes::Bytes::from_static(b"x"))))
}

fn mkdir(at: &str, number: u64) -> What {
    What::CreateFolder(CreateFolder { path: path(at), entry: id(number), ..CreateFolder::default() })
}

fn rename(from: &str, to: &str) -> What {
    What::MoveEntry(MoveEntry { from: path(from), to: path(to), ..MoveEntry::default() })
}

fn run(group: &mut Group, steps: Vec<What>) -> Result<Done, Rejection> {
    let steps = steps.into_iter().map(|what| BatchStep { what: Some(what) }).collect();
    group.tree(tree_command::What::Batch(TreeBatch { steps }))
}

/// The id of the folder that an entry is in.
fn folder_of(group: &Group, at: &str) -> bytes::Bytes {
    match group.query(query::What::Stat(StatQuery { path: path(at), ..StatQuery::default() })) {
        answer::What::Entry(entry) => entry.parent,
        other => panic!("{at}: {other:?}"),
    }
}

#[test]
fn many_files_go_into_several_folders() {
    let mut group = Group::datasource();
    let files = [("/d/a", 10), ("/d/b", 11), ("/d/e/a", 12), ("/d/c", 13), ("/d/e/b", 14), ("/top", 15)];
    let folders = vec![mkdir("/d", 1), mkdir("/d/e", 2)];
    let done = run(&mut group, folders.into_iter().chain(files.map(|(at, number)| put(at, number))).collect()).unwrap();
    assert_eq!(done.count, 8);
    for (at, folder) in [("/d/a", id(1)), ("/d/b", id(1)), ("/d/c", id(1)), ("/d/e/a", id(2)), ("/d/e/b", id(2)), ("/top", id(0))] {
        assert_eq!(folder_of(&group, at), folder, "{at}");
    }
    group.check();
}

#[test]
fn a_folder_that_a_step_takes_away_is_not_written_to() {
    let mut group = Group::datasource();
    group.mkdir("/d").unwrap();
    let away = |step: What| vec![put("/d/a", 10), step, put("/d/b", 11)];
    let delete = What::DeleteEntry(DeleteEntry { path: path("/d"), permanently: true, ..DeleteEntry::default() });
    for step in [rename("/d", "/e"), delete] {
        assert_eq!(code(run(&mut group, away(step))), RejectionCode::ParentNotFound);
    }
    run(&mut group, vec![put("/d/a", 20), rename("/d", "/e"), mkdir("/d", 3), put("/d/b", 21), put("/e/c", 22)]).unwrap();
    assert_eq!(folder_of(&group, "/d/b"), id(3));
    assert_eq!(folder_of(&group, "/e/a"), folder_of(&group, "/e/c"));
    group.check();
}

#[test]
fn nothing_is_known_of_a_batch_that_was_refused() {
    let mut group = Group::datasource();
    let refused = run(&mut group, vec![mkdir("/d", 1), put("/d/a", 10), put("/none/a", 11)]);
    assert_eq!(code(refused), RejectionCode::ParentNotFound);
    assert_eq!(code(run(&mut group, vec![put("/d/a", 10)])), RejectionCode::ParentNotFound);
    group.check();
}
