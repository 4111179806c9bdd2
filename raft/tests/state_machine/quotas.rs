//! Quotas of workspaces, users and datasources: what grows beyond one is refused and leaves nothing; what shrinks, and what the cluster does by itself, is not.

use super::group::{Group, code, content, id, path, put_of, stored, tree};
use skep_raft::keys::{AppliedIndexKey, RecycledKey, StampKey, StateKey};
use skep_raft::wire::meta::v1::outcome::What as Outcome;
use skep_raft::wire::meta::v1::{
    BatchStep, Code, Command, CopyEntry, CreateFolder, DeleteEntry, Done, EmptyBins, MoveEntry, Proposal, QuotaLimit, Reencoded, Rejection,
    RejectionCode, SetDatasourceQuota, TreeBatch, UseVersion, WriteId, batch_step, command, content_command, new_content, tree_command,
};

const FULL: RejectionCode = RejectionCode::QuotaExceeded;

fn quota(root: &str, bytes_max: u64, entries_max: u64) -> QuotaLimit {
    QuotaLimit { root: path(root), bytes_max, entries_max, name: format!("the workspace {root}") }
}

/// Applies a command that carries quotas; a refused one leaves nothing but its stamp.
fn within(group: &mut Group, quotas: &[QuotaLimit], what: command::What) -> Result<Done, Rejection> {
    let before = tree_rows(group);
    let command = Command { what: Some(what), quotas: quotas.to_vec(), ..Command::default() };
    let outcome = group.batch(vec![Proposal { command: Some(command), ..Proposal::default() }]).remove(0);
    group.check();
    match outcome.what.unwrap() {
        Outcome::Done(done) => Ok(done),
        Outcome::Rejection(rejection) => {
            assert_eq!(tree_rows(group), before, "a refusal changes nothing: {}", rejection.detail);
            Err(rejection)
        }
        other => panic!("{other:?}"),
    }
}

/// All rows but those that count commands.
fn tree_rows(group: &Group) -> Vec<(Vec<u8>, Vec<u8>)> {
    let counts = [StampKey {}.to_bytes().to_vec(), AppliedIndexKey {}.to_bytes().to_vec()];
    group.rows().into_iter().map(|(_, key, value)| (key, value)).filter(|(key, _)| !counts.contains(key)).collect()
}

fn put(group: &mut Group, at: &str, bytes: usize) -> command::What {
    let from = new_content::From::Inlined(vec![b'x'; bytes].into());
    tree(tree_command::What::PutFile(put_of(at, group.id(), group.id(), bytes as u64, from)))
}

fn folder(group: &mut Group, at: &str) -> command::What {
    tree(tree_command::What::CreateFolder(CreateFolder { path: path(at), entry: group.id(), ..CreateFolder::default() }))
}

fn rename(from: &str, to: &str) -> command::What {
    tree(tree_command::What::MoveEntry(MoveEntry { from: path(from), to: path(to), ..MoveEntry::default() }))
}

fn delete(group: &mut Group, at: &str, recycle_root: Option<&str>) -> command::What {
    tree(tree_command::What::DeleteEntry(DeleteEntry {
        path: path(at),
        permanently: recycle_root.is_none(),
        recycle_root: recycle_root.and_then(path),
        bin: group.id(),
        ..DeleteEntry::default()
    }))
}

#[test]
fn bytes_below_a_root_are_bounded_and_may_always_shrink() {
    let mut group = Group::datasource();
    group.mkdir("/ws").unwrap();
    let limit = [quota("/ws", 100, 0)];
    for (at, bytes) in [("/ws/a", 60), ("/ws/b", 40)] {
        let put = put(&mut group, at, bytes);
        within(&mut group, &limit, put).unwrap();
    }
    let one_more = put(&mut group, "/ws/c", 1);
    let refused = within(&mut group, &limit, one_more).expect_err("full");
    assert!(refused.code() == FULL && refused.detail.contains("would hold 101 bytes") && refused.detail.contains("/ws"), "{refused:?}");
    let larger = put(&mut group, "/ws/a", 61);
    assert_eq!(code(within(&mut group, &limit, larger)), FULL, "a new version counts what it adds");
    let empty = put(&mut group, "/ws/empty", 0);
    within(&mut group, &limit, empty).unwrap();
    let smaller = [quota("/ws", 10, 0)];
    let shrunk = put(&mut group, "/ws/a", 50);
    within(&mut group, &smaller, shrunk).unwrap();
    let same = put(&mut group, "/ws/a", 50);
    within(&mut group, &smaller, same).unwrap();
    let outside = put(&mut group, "/elsewhere", 500);
    within(&mut group, &smaller, outside).unwrap();
    let gone = delete(&mut group, "/ws/a", None);
    within(&mut group, &smaller, gone).unwrap();
}

#[test]
fn entries_are_bounded_but_the_way_into_the_bin_is_free() {
    let mut group = Group::datasource();
    group.mkdir("/ws").unwrap();
    let limit = [quota("/ws", 0, 3)];
    for at in ["/ws/a", "/ws/a/b"] {
        let made = folder(&mut group, at);
        within(&mut group, &limit, made).unwrap();
    }
    let file = put(&mut group, "/ws/f", 1);
    within(&mut group, &limit, file).unwrap();
    let fourth = put(&mut group, "/ws/g", 1);
    assert_eq!(code(within(&mut group, &limit, fourth)), FULL);
    let version = put(&mut group, "/ws/f", 2);
    within(&mut group, &limit, version).unwrap();
    let recycled = delete(&mut group, "/ws/f", Some("/ws"));
    within(&mut group, &limit, recycled).unwrap();
    let second = delete(&mut group, "/ws/a/b", Some("/ws"));
    within(&mut group, &limit, second).unwrap();
    let another = put(&mut group, "/ws/h", 1);
    assert_eq!(code(within(&mut group, &limit, another)), FULL, "what lies in the bin counts");
    // One step that makes the bin, and another that makes a file: only the bin is free.
    let mut group = Group::datasource();
    group.mkdir("/ws").unwrap();
    group.put("/ws/f", b"x").unwrap();
    let step = |what| BatchStep { what: Some(what) };
    let recycle = DeleteEntry { path: path("/ws/f"), recycle_root: path("/ws"), bin: group.id(), ..DeleteEntry::default() };
    let add = CreateFolder { path: path("/ws/new"), entry: group.id(), ..CreateFolder::default() };
    let both = TreeBatch { steps: vec![step(batch_step::What::DeleteEntry(recycle.clone())), step(batch_step::What::CreateFolder(add))] };
    assert_eq!(code(within(&mut group, &[quota("/ws", 0, 1)], tree(tree_command::What::Batch(both)))), FULL);
    let alone = TreeBatch { steps: vec![step(batch_step::What::DeleteEntry(recycle))] };
    within(&mut group, &[quota("/ws", 0, 1)], tree(tree_command::What::Batch(alone))).unwrap();
}

#[test]
fn a_batch_counts_as_a_whole() {
    let mut group = Group::datasource();
    group.mkdir("/ws").unwrap();
    group.put("/ws/old", &[b'x'; 80]).unwrap();
    let limit = [quota("/ws", 100, 0)];
    let put = |group: &mut Group, at: &str, bytes: usize| match put(group, at, bytes) {
        command::What::Tree(command) => match command.what {
            Some(tree_command::What::PutFile(put)) => BatchStep { what: Some(batch_step::What::PutFile(put)) },
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    let delete = BatchStep {
        what: Some(batch_step::What::DeleteEntry(DeleteEntry { path: path("/ws/old"), permanently: true, ..DeleteEntry::default() })),
    };
    let steps = vec![put(&mut group, "/ws/a", 50), put(&mut group, "/ws/b", 50), delete];
    within(&mut group, &limit, tree(tree_command::What::Batch(TreeBatch { steps }))).unwrap();
    let steps = vec![put(&mut group, "/ws/a", 10), put(&mut group, "/ws/c", 41)];
    let refused = within(&mut group, &limit, tree(tree_command::What::Batch(TreeBatch { steps }))).expect_err("full");
    assert!(refused.code() == FULL && refused.detail.contains("101"), "{refused:?}");
}

#[test]
fn moves_copies_and_old_versions_count_where_they_come_to() {
    let mut group = Group::datasource();
    for at in ["/ws", "/out"] {
        group.mkdir(at).unwrap();
    }
    group.put("/out/f", &[b'x'; 60]).unwrap();
    group.put("/ws/g", &[b'x'; 60]).unwrap();
    let limit = [quota("/ws", 100, 0)];
    assert_eq!(code(within(&mut group, &limit, rename("/out/f", "/ws/f"))), FULL, "moved in");
    let copy = CopyEntry { from: path("/out"), to: path("/ws/out"), seed: id(900), ..CopyEntry::default() };
    assert_eq!(code(within(&mut group, &limit, tree(tree_command::What::CopyEntry(copy)))), FULL, "copied in");
    within(&mut group, &limit, rename("/ws/g", "/ws/h")).unwrap();
    let smaller = put(&mut group, "/ws/h", 10);
    let first = within(&mut group, &limit, smaller).unwrap().entry.unwrap();
    within(&mut group, &limit, rename("/out/f", "/ws/f")).unwrap();
    // The first version of the file, 60 bytes, once more.
    let answer = group.query(skep_raft::wire::meta::v1::query::What::Versions(skep_raft::wire::meta::v1::VersionsQuery {
        path: path("/ws/h"),
        ..Default::default()
    }));
    let skep_raft::wire::meta::v1::answer::What::Versions(page) = answer else { panic!("no versions") };
    let again = UseVersion {
        path: path("/ws/h"),
        version: group.id(),
        of_entry: first.entry,
        of_version: page.versions.last().unwrap().version.clone(),
        ..UseVersion::default()
    };
    assert_eq!(code(within(&mut group, &limit, tree(tree_command::What::UseVersion(again.clone())))), FULL, "a revert grows too");
    within(&mut group, &limit, rename("/ws/f", "/out/f")).unwrap();
    within(&mut group, &limit, tree(tree_command::What::UseVersion(again))).unwrap();
}

#[test]
fn of_two_quotas_both_hold_and_a_root_made_by_the_command_counts() {
    let mut group = Group::datasource();
    group.mkdir("/homes").unwrap();
    let both = [quota("/homes", 1_000, 0), quota("/homes/alice", 10, 2)];
    let from = new_content::From::Inlined(vec![b'x'; 11].into());
    let mut first = put_of("/homes/alice/f", group.id(), group.id(), 11, from);
    first.recursive = true;
    first.parents = vec![group.id()];
    let refused = within(&mut group, &both, tree(tree_command::What::PutFile(first.clone()))).expect_err("over the user's quota");
    assert!(refused.code() == FULL && refused.detail.contains("/homes/alice"), "{refused:?}");
    let small = new_content::From::Inlined(vec![b'x'; 10].into());
    let content = put_of("", group.id(), group.id(), 10, small).content;
    within(&mut group, &both, tree(tree_command::What::PutFile(skep_raft::wire::meta::v1::PutFile { size: 10, content, ..first })))
        .unwrap();
    // A large folder that takes the root's name is no way around.
    group.mkdir("/large").unwrap();
    group.put("/large/f", &[b'x'; 500]).unwrap();
    let bob = [quota("/homes/bob", 10, 0)];
    assert_eq!(code(within(&mut group, &bob, rename("/large", "/homes/bob"))), FULL);
}

fn limit_datasource(group: &mut Group, stored_bytes_max: u64, entries_max: u64) {
    group.tree(tree_command::What::SetDatasourceQuota(SetDatasourceQuota { stored_bytes_max, entries_max })).unwrap();
}

#[test]
fn a_datasource_counts_stored_bytes_and_entries() {
    let mut group = Group::datasource();
    limit_datasource(&mut group, 20_000, 3);
    group.put_chunks("/a", &[stored(1, 5_000, 1, 900)]).unwrap();
    group.put_chunks("/b", &[stored(2, 5_000, 2, 900)]).unwrap();
    assert_eq!(code(group.put_chunks("/c", &[stored(3, 5_000, 3, 900)])), FULL, "two shards of each");
    group.put_chunks("/c", &[stored(1, 5_000, 4, 900)]).unwrap();
    assert_eq!(code(group.mkdir("/d")), FULL, "the fourth entry");
    let gone = delete(&mut group, "/a", Some("/"));
    within(&mut group, &[], gone).unwrap();
    let limit = EmptyBins { seconds: 1, limit: 10, ..EmptyBins::default() };
    group.clock += 10_000_000;
    group.tree(tree_command::What::EmptyBins(limit)).unwrap();
    group.mkdir("/d").expect_err("the bin itself is the third");
    limit_datasource(&mut group, 0, 0);
    group.mkdir("/d").unwrap();
    group.check();
}

#[test]
fn a_full_datasource_still_repairs_what_it_has() {
    let mut group = Group::datasource();
    let first =
        skep_raft::wire::meta::v1::StoredChunk { code: Some(Code { data: 1, parity: 0 }), below_profile: true, ..stored(1, 5_000, 1, 900) };
    group.put_chunks("/a", &[first]).unwrap();
    limit_datasource(&mut group, 5_000, 0);
    let replaces = Some(WriteId { node: 1, boot: 1, counter: 1 });
    let reencoded = Reencoded { chunk: vec![1; 32].into(), replaces, instance: Some(stored(1, 5_000, 2, 900)) };
    within(&mut group, &[], content(content_command::What::Reencoded(reencoded))).unwrap();
    assert_eq!(code(group.put("/b", b"x")), FULL, "now it holds twice its quota");
}

#[test]
fn what_left_the_bin_does_not_wait_there() {
    let mut group = Group::datasource();
    for at in ["/a", "/b", "/c"] {
        group.put(at, b"x").unwrap();
        let recycled = delete(&mut group, at, Some("/"));
        within(&mut group, &[], recycled).unwrap();
    }
    let waiting = |group: &Group| group.rows().iter().filter(|(_, key, _)| RecycledKey::from_bytes(key).is_ok()).count();
    assert_eq!(waiting(&group), 3);
    within(&mut group, &[], rename("/recycle_bin/a", "/a")).unwrap();
    let gone = delete(&mut group, "/recycle_bin/b", None);
    within(&mut group, &[], gone).unwrap();
    assert_eq!(waiting(&group), 1);
    let bin = delete(&mut group, "/recycle_bin", None);
    within(&mut group, &[], bin).unwrap();
    let policy = skep_raft::state::policy::built_in().into_iter().next();
    for _ in 0..3 {
        group.clock += 10_000_000;
        let history = skep_raft::wire::meta::v1::PruneHistory { retention_seconds: 1, limit: 1_000 };
        group.tree(tree_command::What::PruneHistory(history)).unwrap();
        let reap = skep_raft::wire::meta::v1::ReapEntries { policy: policy.clone(), limit: 1_000 };
        group.tree(tree_command::What::ReapEntries(reap)).unwrap();
        group.check();
    }
    assert_eq!(waiting(&group), 0, "what lay in a bin that was deleted goes with it");
}
