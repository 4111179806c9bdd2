//! Locks: who passes, what they cover, when they end, and what a late writer meets.

use super::group::{Group, code, id, path, put_of, tree};
use proptest::prelude::*;
use prost::Message;
use skep_raft::keys::{ChangeKey, StateKey};
use skep_raft::wire::meta::v1::tree_command::What;
use skep_raft::wire::meta::v1::{
    Actor, BatchStep, ChangeKind, ChangeRecord, Command, CopyEntry, CreateFolder, DeleteEntry, Done, ExpireLocks, HoldsStill, LockKind,
    LocksQuery, MoveEntry, Precondition, Proposal, RefreshLock, Rejection, RejectionCode, RemoveLock, SetLock, SetMeta, SetTimes,
    StatQuery, StateList, StateTest, TreeBatch, answer, batch_step, new_content, outcome, query,
};

/// A command of a user, 1 or 2, with the tokens it submits.
#[derive(Clone, Default)]
pub(crate) struct By {
    user: u64,
    tokens: Vec<u64>,
    fence: u64,
    lists: Vec<StateList>,
}

const ANA: u64 = 1;
const BEN: u64 = 2;

fn by(user: u64) -> By {
    By { user, ..By::default() }
}

impl By {
    fn with(mut self, token: u64) -> Self {
        self.tokens.push(token);
        self
    }

    fn fenced(self, fence: u64) -> Self {
        Self { fence, ..self }
    }

    fn run(self, group: &mut Group, what: What) -> Result<Done, Rejection> {
        let login = if self.user == ANA { "ana" } else { "ben" }.to_owned();
        let command = Command {
            actor: Some(Actor { user: id(self.user), login }),
            lock_tokens: self.tokens.into_iter().map(id).collect(),
            fence: self.fence,
            state_lists: self.lists,
            what: Some(tree(what)),
            ..Command::default()
        };
        let proposal = Proposal { command: Some(command), ..Proposal::default() };
        let outcome = group.batch(vec![proposal]).remove(0);
        match outcome.what.unwrap() {
            outcome::What::Done(done) => Ok(done),
            outcome::What::Rejection(rejection) => Err(rejection),
            other => panic!("{other:?}"),
        }
    }

    fn put(self, group: &mut Group, at: &str) -> Result<Done, Rejection> {
        let put = put_of(at, group.id(), group.id(), 1, new_content::From::Inlined(b"x".to_vec().into()));
        self.run(group, What::PutFile(put))
    }

    fn mkdir(self, group: &mut Group, at: &str) -> Result<Done, Rejection> {
        let create = CreateFolder { path: path(at), entry: group.id(), ..CreateFolder::default() };
        self.run(group, What::CreateFolder(create))
    }

    fn delete(self, group: &mut Group, at: &str) -> Result<Done, Rejection> {
        self.run(group, What::DeleteEntry(DeleteEntry { path: path(at), permanently: true, ..DeleteEntry::default() }))
    }

    fn rename(self, group: &mut Group, from: &str, to: &str) -> Result<Done, Rejection> {
        self.run(group, What::MoveEntry(MoveEntry { from: path(from), to: path(to), overwrite: true, ..MoveEntry::default() }))
    }

    fn lock(self, group: &mut Group, at: &str, token: u64, how: How) -> Result<Done, Rejection> {
        let set = SetLock {
            path: path(at),
            token: id(token),
            lifetime_seconds: how.seconds,
            shared: how.shared,
            deep: how.deep,
            kind: if how.content { LockKind::Content } else { LockKind::Webdav }.into(),
            entry: group.id(),
            version: group.id(),
            ..SetLock::default()
        };
        self.run(group, What::SetLock(set))
    }

    fn refresh(self, group: &mut Group, at: &str, token: u64, seconds: u64) -> Result<Done, Rejection> {
        self.run(group, What::RefreshLock(RefreshLock { path: path(at), token: id(token), lifetime_seconds: seconds }))
    }

    fn unlock(self, group: &mut Group, at: &str, token: u64) -> Result<Done, Rejection> {
        self.run(group, What::RemoveLock(RemoveLock { path: path(at), token: id(token), ..RemoveLock::default() }))
    }
}

#[derive(Clone, Copy, Debug)]
struct How {
    seconds: u64,
    shared: bool,
    deep: bool,
    content: bool,
}

const EXCLUSIVE: How = How { seconds: 60, shared: false, deep: false, content: false };
const DEEP: How = How { deep: true, ..EXCLUSIVE };
const SHARED: How = How { shared: true, ..EXCLUSIVE };
const CONTENT: How = How { content: true, ..EXCLUSIVE };

fn fence(done: &Done) -> u64 {
    done.lock.as_ref().unwrap().fence
}

fn locks(group: &Group, at: &str, below: bool) -> Vec<(String, u64)> {
    match group.query(query::What::Locks(LocksQuery { path: path(at), below })) {
        answer::What::Locks(page) => page.locks.iter().map(|held| (held.names.join("/"), held.lock.as_ref().unwrap().fence)).collect(),
        other => panic!("{other:?}"),
    }
}

/// `/a/b/f` and `/a/g`.
fn group() -> Group {
    let mut group = Group::datasource();
    group.mkdir("/a").unwrap();
    group.mkdir("/a/b").unwrap();
    group.put("/a/b/f", b"f").unwrap();
    group.put("/a/g", b"g").unwrap();
    group
}

const LOCKED: RejectionCode = RejectionCode::Locked;
const LOST: RejectionCode = RejectionCode::LockLost;

#[test]
fn only_the_owner_with_the_token_writes() {
    let mut group = group();
    by(ANA).lock(&mut group, "/a/g", 7, EXCLUSIVE).unwrap();
    let refused = by(BEN).put(&mut group, "/a/g").unwrap_err();
    assert_eq!(refused.code(), LOCKED);
    assert_eq!(refused.detail, "ana holds an exclusive lock on \"g\" until 1970-01-01T00:01:01Z");
    assert_eq!(code(by(BEN).with(7).put(&mut group, "/a/g")), LOCKED, "a token that was overheard opens nothing");
    assert_eq!(code(by(ANA).put(&mut group, "/a/g")), LOCKED, "another program of the owner does not know of the lock");
    by(ANA).with(7).put(&mut group, "/a/g").unwrap();
    by(ANA).unlock(&mut group, "/a/g", 7).unwrap();
    by(BEN).put(&mut group, "/a/g").unwrap();
    group.check();
}

#[test]
fn every_change_of_what_is_locked_is_refused() {
    let mut group = group();
    by(ANA).lock(&mut group, "/a/b/f", 7, EXCLUSIVE).unwrap();
    let version = match group.query(query::What::Stat(StatQuery { path: path("/a/b/f"), ..StatQuery::default() })) {
        answer::What::Entry(entry) => entry,
        other => panic!("{other:?}"),
    };
    let set_meta = SetMeta { path: path("/a/b/f"), namespace: "n".to_owned(), json: "1".to_owned(), ..SetMeta::default() };
    let own_note = SetMeta { user: id(BEN), ..set_meta.clone() };
    let copy = CopyEntry { from: path("/a/g"), to: path("/a/b/f"), overwrite: true, seed: id(99), ..CopyEntry::default() };
    let describe =
        skep_raft::wire::meta::v1::DescribeVersion { path: path("/a/b/f"), version: version.version.clone(), description: "d".to_owned() };
    let reverted = skep_raft::wire::meta::v1::UseVersion {
        path: path("/a/b/f"),
        version: id(500),
        of_entry: version.entry.clone(),
        of_version: version.version.clone(),
        ..Default::default()
    };
    let drop_version = skep_raft::wire::meta::v1::DeleteVersion { path: path("/a/b/f"), version: version.version };
    for what in [
        What::SetMeta(set_meta),
        What::SetTimes(SetTimes { path: path("/a/b/f"), mtime: 5 }),
        What::CopyEntry(copy),
        What::DescribeVersion(describe),
        What::UseVersion(reverted),
        What::DeleteVersion(drop_version),
    ] {
        assert_eq!(code(by(BEN).run(&mut group, what.clone())), LOCKED, "{what:?}");
    }
    assert_eq!(code(by(BEN).put(&mut group, "/a/b/f")), LOCKED);
    assert_eq!(code(by(BEN).delete(&mut group, "/a/b/f")), LOCKED);
    assert_eq!(code(by(BEN).rename(&mut group, "/a/b/f", "/a/h")), LOCKED);
    assert_eq!(code(by(BEN).rename(&mut group, "/a/g", "/a/b/f")), LOCKED);
    assert_eq!(code(by(BEN).delete(&mut group, "/a")), LOCKED, "a folder over it");
    assert_eq!(code(by(BEN).rename(&mut group, "/a/b", "/c")), LOCKED, "a folder over it");
    by(BEN).run(&mut group, What::SetMeta(own_note)).unwrap();
    by(BEN).put(&mut group, "/a/b/other").unwrap();
    by(BEN)
        .run(&mut group, What::CopyEntry(CopyEntry { from: path("/a/b"), to: path("/c"), seed: id(98), ..CopyEntry::default() }))
        .unwrap();
    by(BEN).put(&mut group, "/c/f").unwrap();
    group.check();
}

#[test]
fn a_deep_lock_covers_what_lies_below_and_a_shallow_one_the_names_in_the_folder() {
    let mut group = group();
    by(ANA).lock(&mut group, "/a", 7, DEEP).unwrap();
    assert_eq!(code(by(BEN).put(&mut group, "/a/b/f")), LOCKED);
    assert_eq!(code(by(BEN).put(&mut group, "/a/b/new")), LOCKED);
    assert_eq!(code(by(BEN).mkdir(&mut group, "/a/b/new")), LOCKED);
    by(ANA).with(7).put(&mut group, "/a/b/new").unwrap();
    by(ANA).unlock(&mut group, "/a/b/f", 7).unwrap();
    assert_eq!(locks(&group, "/a", true), []);
    by(ANA).lock(&mut group, "/a", 8, EXCLUSIVE).unwrap();
    by(BEN).put(&mut group, "/a/g").unwrap();
    by(BEN).put(&mut group, "/a/b/f").unwrap();
    by(BEN).delete(&mut group, "/a/b/new").unwrap();
    assert_eq!(code(by(BEN).put(&mut group, "/a/new")), LOCKED);
    assert_eq!(code(by(BEN).mkdir(&mut group, "/a/new")), LOCKED);
    assert_eq!(code(by(BEN).delete(&mut group, "/a/g")), LOCKED);
    assert_eq!(code(by(BEN).rename(&mut group, "/a/g", "/g")), LOCKED);
    let deep = CreateFolder { path: path("/a/x/y"), entry: id(700), recursive: true, parents: vec![id(701)], ..CreateFolder::default() };
    assert_eq!(code(by(BEN).run(&mut group, What::CreateFolder(deep))), LOCKED, "a parent that would be made is a new name too");
    assert_eq!(code(by(BEN).lock(&mut group, "/a/fresh", 9, EXCLUSIVE)), LOCKED, "an empty file for a lock is a new name too");
    by(ANA).with(8).rename(&mut group, "/a/g", "/a/h").unwrap();
    group.check();
}

#[test]
fn an_end_is_exact_and_what_has_ended_counts_for_nothing() {
    let mut group = group();
    group.clock = 10_000_000;
    let taken = by(ANA).lock(&mut group, "/a/g", 7, How { seconds: 5, ..EXCLUSIVE }).unwrap().lock.unwrap();
    assert_eq!(taken.expires_at, taken.taken_at + 5_000_000);
    group.clock = taken.expires_at - 1;
    assert_eq!(code(by(BEN).put(&mut group, "/a/g")), LOCKED, "a microsecond before");
    group.clock = taken.expires_at;
    by(BEN).put(&mut group, "/a/g").unwrap();
    assert_eq!(locks(&group, "/a/g", true), []);
    assert_eq!(code(by(ANA).refresh(&mut group, "/a/g", 7, 60)), LOST, "what has ended does not come to life again");
    assert_eq!(code(by(ANA).unlock(&mut group, "/a/g", 7)), LOST);
    group.check();
    let swept = by(ANA).run(&mut group, What::ExpireLocks(ExpireLocks { limit: 10 })).unwrap();
    assert_eq!((swept.count, swept.cursor.is_empty()), (1, true));
    group.check();
}

#[test]
fn a_lock_that_ended_gives_way_to_another_and_to_itself_under_a_new_fence() {
    let mut group = group();
    let first = fence(&by(ANA).lock(&mut group, "/a/g", 7, EXCLUSIVE).unwrap());
    group.clock += 61_000_000;
    let second = fence(&by(ANA).lock(&mut group, "/a/g", 7, EXCLUSIVE).unwrap());
    assert!(second > first, "{second} after {first}");
    group.clock += 61_000_000;
    let third = fence(&by(BEN).lock(&mut group, "/a/g", 8, EXCLUSIVE).unwrap());
    assert!(third > second, "{third} after {second}");
    group.check();
}

#[test]
fn asked_for_again_it_is_the_same_lock() {
    let mut group = group();
    let first = by(ANA).lock(&mut group, "/a/g", 7, EXCLUSIVE).unwrap().lock.unwrap();
    group.clock += 10_000_000;
    let again = by(ANA).lock(&mut group, "/a/g", 7, EXCLUSIVE).unwrap().lock.unwrap();
    assert_eq!(again.fence, first.fence);
    assert!(again.expires_at > first.expires_at);
    assert_eq!(by(ANA).lock(&mut group, "/a/g", 7, How { seconds: 1, ..EXCLUSIVE }).unwrap().lock.unwrap().expires_at, again.expires_at);
    assert_eq!(code(by(BEN).lock(&mut group, "/a/g", 7, EXCLUSIVE)), LOCKED);
    assert_eq!(code(by(ANA).lock(&mut group, "/a/g", 7, SHARED)), RejectionCode::Invalid);
    assert_eq!(code(by(ANA).lock(&mut group, "/a/g", 8, EXCLUSIVE)), LOCKED, "another program of the same user");
    assert_eq!(locks(&group, "/a/g", false).len(), 1);
    group.check();
}

#[test]
fn shared_locks_stand_beside_shared_ones_only() {
    let mut group = group();
    by(ANA).lock(&mut group, "/a/g", 7, SHARED).unwrap();
    by(BEN).lock(&mut group, "/a/g", 8, SHARED).unwrap();
    assert_eq!(code(by(BEN).lock(&mut group, "/a/g", 9, EXCLUSIVE)), LOCKED);
    assert_eq!(code(by(BEN).lock(&mut group, "/a", 9, DEEP)), LOCKED, "a deep lock over them");
    by(BEN).lock(&mut group, "/a", 10, How { shared: true, ..DEEP }).unwrap();
    by(BEN).unlock(&mut group, "/a", 10).unwrap();
    by(ANA).with(7).put(&mut group, "/a/g").unwrap();
    by(BEN).with(8).put(&mut group, "/a/g").unwrap();
    assert_eq!(code(by(BEN).put(&mut group, "/a/g")), LOCKED, "one of them must be held");
    by(ANA).unlock(&mut group, "/a/g", 7).unwrap();
    assert_eq!(code(by(ANA).put(&mut group, "/a/g")), LOCKED);
    for number in 0..63 {
        by(ANA).lock(&mut group, "/a/g", 100 + number, SHARED).unwrap();
    }
    assert_eq!(code(by(ANA).lock(&mut group, "/a/g", 200, SHARED)), RejectionCode::LimitReached);
    group.check();
}

#[test]
fn locks_above_and_below_exclude_each_other() {
    let mut group = group();
    by(ANA).lock(&mut group, "/a/b", 7, DEEP).unwrap();
    assert_eq!(code(by(BEN).lock(&mut group, "/a/b/f", 8, EXCLUSIVE)), LOCKED);
    assert_eq!(code(by(BEN).lock(&mut group, "/a", 8, DEEP)), LOCKED);
    by(BEN).lock(&mut group, "/a", 8, EXCLUSIVE).unwrap();
    assert_eq!(locks(&group, "/a/b/f", false), [("a/b".to_owned(), 1)]);
    assert_eq!(locks(&group, "/a", false), [("a".to_owned(), 2)]);
    assert_eq!(locks(&group, "/a", true), [("a".to_owned(), 2), ("a/b".to_owned(), 1)]);
    group.check();
}

#[test]
fn a_content_lock_is_passed_by_its_owner_without_a_token_and_shown_to_all() {
    let mut group = group();
    let first = by(ANA).lock(&mut group, "/a/g", 7, CONTENT).unwrap();
    assert_eq!(fence(&by(ANA).lock(&mut group, "/a/g", 8, CONTENT).unwrap()), fence(&first), "one user has one content lock");
    by(ANA).put(&mut group, "/a/g").unwrap();
    assert_eq!(code(by(BEN).put(&mut group, "/a/g")), LOCKED);
    assert_eq!(code(by(BEN).lock(&mut group, "/a/g", 9, EXCLUSIVE)), LOCKED);
    let noted =
        |group: &Group| match group.query(query::What::Stat(StatQuery { path: path("/a/g"), with_meta: true, ..Default::default() })) {
            answer::What::Entry(entry) => entry.meta.into_iter().map(|meta| (meta.namespace, meta.json)).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
    assert_eq!(noted(&group), [("content_lock".to_owned(), "\"ana\"".to_owned())]);
    by(ANA).lock(&mut group, "/a/g", 10, EXCLUSIVE).unwrap();
    assert_eq!(code(by(ANA).put(&mut group, "/a/g")), LOCKED, "the other lock of the same user wants its token");
    by(ANA).with(10).put(&mut group, "/a/g").unwrap();
    let by_kind =
        |anybodys| What::RemoveLock(RemoveLock { path: path("/a/g"), kind: LockKind::Content.into(), anybodys, ..RemoveLock::default() });
    assert_eq!(code(by(BEN).run(&mut group, by_kind(false))), LOCKED);
    assert_eq!(by(ANA).run(&mut group, by_kind(false)).unwrap().count, 1);
    assert_eq!(by(ANA).run(&mut group, by_kind(false)).unwrap().count, 0, "giving back what is not held is nothing");
    assert_eq!(noted(&group), []);
    assert_eq!(code(by(ANA).lock(&mut group, "/a", 11, How { deep: true, ..CONTENT })), RejectionCode::Invalid);
    by(ANA).lock(&mut group, "/a/g", 12, CONTENT).unwrap();
    assert_eq!(by(BEN).run(&mut group, by_kind(true)).unwrap().count, 1, "an administrator breaks it");
    by(ANA).lock(&mut group, "/a/g", 13, How { seconds: 1, ..CONTENT }).unwrap();
    group.clock += 2_000_000;
    by(ANA).run(&mut group, What::ExpireLocks(ExpireLocks { limit: 10 })).unwrap();
    let told = group
        .rows()
        .into_iter()
        .filter(|(_, key, _)| ChangeKey::from_bytes(key).is_ok())
        .filter(|(_, _, value)| ChangeRecord::decode(value.as_slice()).unwrap().kind() == ChangeKind::Lock);
    assert_eq!(told.count(), 6, "three taken, one given back, one broken, one ended; the WebDAV lock is not told");
    group.check();
}

#[test]
fn a_lock_on_a_free_name_makes_an_empty_file() {
    let mut group = group();
    let made = by(ANA).lock(&mut group, "/a/new", 7, EXCLUSIVE).unwrap();
    assert!(made.created && made.entry.unwrap().size == 0);
    assert_eq!(code(by(BEN).put(&mut group, "/a/new")), LOCKED);
    by(ANA).with(7).put(&mut group, "/a/new").unwrap();
    assert_eq!(code(by(ANA).lock(&mut group, "/none/new", 8, EXCLUSIVE)), RejectionCode::ParentNotFound);
    let no_ids = SetLock { path: path("/a/none"), token: id(9), lifetime_seconds: 9, kind: LockKind::Webdav.into(), ..SetLock::default() };
    assert_eq!(code(by(ANA).run(&mut group, What::SetLock(no_ids))), RejectionCode::NotFound);
    assert_eq!(code(by(ANA).lock(&mut group, "/", 8, DEEP)), RejectionCode::Root);
    for seconds in [0, 8 * 24 * 3_600] {
        assert_eq!(code(by(ANA).lock(&mut group, "/a/g", 8, How { seconds, ..EXCLUSIVE })), RejectionCode::Invalid);
    }
    group.check();
}

#[test]
fn locks_go_with_what_they_were_on() {
    let mut group = group();
    by(ANA).lock(&mut group, "/a/b/f", 7, EXCLUSIVE).unwrap();
    by(ANA).with(7).rename(&mut group, "/a/b", "/c").unwrap();
    assert_eq!(locks(&group, "/c/f", true), [], "a lock does not move");
    by(BEN).put(&mut group, "/c/f").unwrap();
    by(ANA).lock(&mut group, "/c/f", 8, EXCLUSIVE).unwrap();
    by(ANA).lock(&mut group, "/c", 9, EXCLUSIVE).unwrap();
    assert_eq!(code(by(ANA).with(9).delete(&mut group, "/c")), LOCKED, "all of them are needed");
    by(ANA).with(9).with(8).delete(&mut group, "/c").unwrap();
    by(ANA).lock(&mut group, "/a/g", 10, EXCLUSIVE).unwrap();
    let recycle = DeleteEntry { path: path("/a/g"), recycle_root: path("/"), bin: id(900), ..DeleteEntry::default() };
    by(ANA).with(10).run(&mut group, What::DeleteEntry(recycle)).unwrap();
    assert_eq!(locks(&group, "/recycle_bin", true), []);
    by(BEN).put(&mut group, "/a/h").unwrap();
    by(BEN).lock(&mut group, "/recycle_bin", 11, DEEP).unwrap();
    let recycle = DeleteEntry { path: path("/a/h"), recycle_root: path("/"), bin: id(901), ..DeleteEntry::default() };
    by(ANA).run(&mut group, What::DeleteEntry(recycle)).unwrap();
    group.check();
}

#[test]
fn a_late_write_with_an_old_fence_is_refused_also_if_nobody_took_the_lock() {
    let mut group = group();
    let old = fence(&by(ANA).lock(&mut group, "/a/g", 7, EXCLUSIVE).unwrap());
    by(ANA).with(7).fenced(old).put(&mut group, "/a/g").unwrap();
    assert_eq!(code(by(ANA).with(7).fenced(old + 1).put(&mut group, "/a/g")), LOST);
    assert_eq!(code(by(ANA).with(7).fenced(old).put(&mut group, "/a/b/f")), LOST, "it covers something else");
    group.clock += 61_000_000;
    assert_eq!(code(by(ANA).with(7).fenced(old).put(&mut group, "/a/g")), LOST, "nobody else has it");
    by(ANA).run(&mut group, What::ExpireLocks(ExpireLocks { limit: 10 })).unwrap();
    assert_eq!(code(by(ANA).with(7).fenced(old).put(&mut group, "/a/g")), LOST, "the group has no lock at all");
    let new = fence(&by(BEN).lock(&mut group, "/a/g", 8, EXCLUSIVE).unwrap());
    assert!(new > old);
    assert_eq!(code(by(ANA).with(7).fenced(old).put(&mut group, "/a/g")), LOCKED);
    assert_eq!(code(by(ANA).fenced(new).with(8).put(&mut group, "/a/g")), LOCKED, "the fence of another");
    by(BEN).unlock(&mut group, "/a/g", 8).unwrap();
    assert_eq!(code(by(BEN).with(8).fenced(new).put(&mut group, "/a/g")), LOST, "it was given back");
    group.check();
}

#[test]
fn a_fence_in_a_condition_is_checked_where_the_step_is() {
    let mut group = group();
    let held = fence(&by(ANA).lock(&mut group, "/a", 7, DEEP).unwrap());
    let step = |at: &str, fence, number: u64| {
        let condition = Some(Precondition { fence, ..Precondition::default() });
        let from = new_content::From::Inlined(b"x".to_vec().into());
        let put = skep_raft::wire::meta::v1::PutFile { condition, ..put_of(at, id(800 + number), id(900 + number), 1, from) };
        BatchStep { what: Some(batch_step::What::PutFile(put)) }
    };
    let batch = |steps: Vec<BatchStep>| What::Batch(TreeBatch { steps });
    by(ANA).with(7).run(&mut group, batch(vec![step("/a/g", held, 1), step("/a/new", held, 2)])).unwrap();
    let mixed = by(ANA).with(7).run(&mut group, batch(vec![step("/a/g", held, 3), step("/outside", held, 4)])).unwrap_err();
    assert_eq!((mixed.code(), mixed.value), (LOST, 2));
    let still = HoldsStill {
        path: path("/a/b/f"),
        condition: Some(Precondition { fence: held, ..Precondition::default() }),
        ..HoldsStill::default()
    };
    let holds = || batch(vec![BatchStep { what: Some(batch_step::What::HoldsStill(still.clone())) }]);
    by(ANA).run(&mut group, holds()).unwrap();
    assert_eq!(code(by(BEN).run(&mut group, holds())), LOST);
    group.clock += 61_000_000;
    assert_eq!(code(by(ANA).run(&mut group, holds())), LOST);
    let unlocked = by(BEN).run(&mut group, batch(vec![step("/a/g", 0, 5)]));
    assert!(unlocked.is_ok(), "{unlocked:?}");
    group.check();
}

#[test]
fn a_batch_meets_locks_at_each_step_and_does_nothing_if_one_is_refused() {
    let mut group = group();
    by(ANA).lock(&mut group, "/a/b/f", 7, EXCLUSIVE).unwrap();
    let steps = vec![
        BatchStep {
            what: Some(batch_step::What::CreateFolder(CreateFolder { path: path("/n"), entry: id(800), ..CreateFolder::default() })),
        },
        BatchStep { what: Some(batch_step::What::SetTimes(SetTimes { path: path("/a/b/f"), mtime: 5 })) },
    ];
    let refused = by(BEN).run(&mut group, What::Batch(TreeBatch { steps: steps.clone() })).unwrap_err();
    assert_eq!((refused.code(), refused.value), (LOCKED, 2));
    assert!(matches!(group.query(query::What::Stat(StatQuery { path: path("/n"), ..StatQuery::default() })), answer::What::Absence(_)));
    by(ANA).with(7).run(&mut group, What::Batch(TreeBatch { steps })).unwrap();
    group.check();
}

#[test]
fn others_locks_are_neither_refreshed_nor_given_back() {
    let mut group = group();
    by(ANA).lock(&mut group, "/a", 7, DEEP).unwrap();
    assert_eq!(code(by(BEN).refresh(&mut group, "/a", 7, 60)), LOST);
    assert_eq!(code(by(BEN).unlock(&mut group, "/a", 7)), RejectionCode::Forbidden);
    let fresh = by(ANA).refresh(&mut group, "/a/b/f", 7, 600).unwrap().lock.unwrap();
    assert_eq!((fresh.lifetime_seconds, fresh.fence), (600, 1));
    let short = by(ANA).refresh(&mut group, "/a", 7, 1).unwrap().lock.unwrap();
    assert!(short.expires_at < fresh.expires_at, "a holder may set an earlier end");
    let broken = RemoveLock { path: path("/a"), token: id(7), anybodys: true, ..RemoveLock::default() };
    by(BEN).run(&mut group, What::RemoveLock(broken)).unwrap();
    let nothing = RemoveLock { path: path("/a"), ..RemoveLock::default() };
    assert_eq!(code(by(BEN).run(&mut group, What::RemoveLock(nothing))), RejectionCode::Invalid);
    let nobody = SetLock { path: path("/a/g"), token: id(9), lifetime_seconds: 9, kind: LockKind::Webdav.into(), ..SetLock::default() };
    assert_eq!(code(group.tree(What::SetLock(nobody))), RejectionCode::Invalid, "a lock has an owner");
    group.check();
}

fn token(number: u64) -> StateTest {
    StateTest { lock_token: id(number), ..StateTest::default() }
}

fn etag(text: &str) -> StateTest {
    StateTest { etag: text.to_owned(), ..StateTest::default() }
}

fn not(test: StateTest) -> StateTest {
    StateTest { negated: true, ..test }
}

#[test]
fn one_list_of_states_must_hold() {
    let mut group = group();
    by(ANA).lock(&mut group, "/a", 7, DEEP).unwrap();
    let current = match group.query(query::What::Stat(StatQuery { path: path("/a/g"), ..StatQuery::default() })) {
        answer::What::Entry(entry) => entry.etag,
        other => panic!("{other:?}"),
    };
    let list = |at: &str, tests: &[StateTest]| StateList { path: path(at), tests: tests.to_vec() };
    let nowhere = |tests: &[StateTest]| StateList { path: None, tests: tests.to_vec() };
    // HoldsStill changes nothing, so that the lists alone decide.
    let holds = |group: &mut Group, lists: Vec<StateList>| {
        let still = HoldsStill { path: path("/a/g"), ..HoldsStill::default() };
        let steps = vec![BatchStep { what: Some(batch_step::What::HoldsStill(still)) }];
        match (By { lists, ..by(ANA) }).run(group, What::Batch(TreeBatch { steps })) {
            Ok(_) => true,
            Err(rejection) => {
                assert_eq!(rejection.code(), RejectionCode::PreconditionFailed);
                false
            }
        }
    };
    let nothing = StateTest::default();
    let table = [
        (vec![list("/a/g", &[token(7)])], true),
        (vec![list("/a", &[token(7)])], true),
        (vec![list("/a/new", &[token(7)])], true),
        (vec![list("/a/none/new", &[token(7)])], false),
        (vec![list("/", &[token(7)])], false),
        (vec![list("/a/g", &[token(8)])], false),
        (vec![list("/a/g", &[not(token(8))])], true),
        (vec![list("/a/g", &[not(token(7))])], false),
        (vec![list("/a/g", &[token(7), etag(&current)])], true),
        (vec![list("/a/g", &[token(7), etag("other")])], false),
        (vec![list("/a/g", &[not(etag("other"))])], true),
        (vec![list("/a/new", &[etag(&current)])], false),
        (vec![list("/a/g", &[token(8)]), list("/a/g", &[etag(&current)])], true),
        (vec![list("/a/g", &[token(8)]), list("/a/b", &[token(7)])], true),
        (vec![list("/a/g", std::slice::from_ref(&nothing))], false),
        (vec![list("/a/g", &[not(nothing.clone())])], true),
        (vec![nowhere(&[token(7)])], false),
        (vec![nowhere(&[not(token(7))])], true),
        (vec![list("/a/g", &[])], false),
    ];
    for (lists, expected) in table {
        assert_eq!(holds(&mut group, lists.clone()), expected, "{lists:?}");
    }
    group.clock += 61_000_000;
    assert!(!holds(&mut group, vec![list("/a/g", &[token(7)])]), "a lock that has ended is no state");
    let many = vec![list("/a/g", &[not(nothing)]); 65];
    let still = What::SetTimes(SetTimes { path: path("/a/g"), mtime: 1 });
    assert_eq!(code((By { lists: many, ..by(ANA) }).run(&mut group, still)), RejectionCode::Invalid);
}

#[test]
fn a_look_ahead_meets_the_locks_that_the_change_would() {
    let mut group = group();
    let held = fence(&by(ANA).lock(&mut group, "/a/b/f", 7, EXCLUSIVE).unwrap());
    by(ANA).lock(&mut group, "/a", 8, EXCLUSIVE).unwrap();
    let look = |at: &str, changeable, removable| {
        let still = HoldsStill { path: path(at), changeable, removable, ..HoldsStill::default() };
        What::Batch(TreeBatch { steps: vec![BatchStep { what: Some(batch_step::What::HoldsStill(still)) }] })
    };
    by(BEN).run(&mut group, look("/a/b/f", false, false)).unwrap();
    assert_eq!(code(by(BEN).run(&mut group, look("/a/b/f", true, false))), LOCKED);
    by(BEN).run(&mut group, look("/a/b", true, false)).unwrap();
    assert_eq!(code(by(BEN).run(&mut group, look("/a/b", false, true))), LOCKED, "with what lies below it");
    assert_eq!(code(by(BEN).run(&mut group, look("/a/new", true, false))), LOCKED, "a new name");
    assert_eq!(code(by(BEN).run(&mut group, look("/none/new", false, true))), RejectionCode::ParentNotFound);
    by(ANA).with(7).with(8).run(&mut group, look("/a/b", false, true)).unwrap();
    by(ANA).with(7).fenced(held).run(&mut group, look("/a/b/f", true, false)).unwrap();
    assert_eq!(code(by(ANA).with(7).fenced(held).run(&mut group, look("/a/b/f", false, false))), LOST, "nothing met the fence");
    group.check();
}

#[test]
fn a_lock_is_taken_only_if_its_condition_holds() {
    let mut group = group();
    let taking = |at: &str, condition: Precondition, number: u64| {
        let condition = Some(condition);
        let (entry, version) = (id(800 + number), id(900 + number));
        let kind = LockKind::Webdav.into();
        What::SetLock(SetLock {
            path: path(at),
            token: id(number),
            lifetime_seconds: 9,
            kind,
            entry,
            version,
            condition,
            ..SetLock::default()
        })
    };
    let etags = |text: &str| Precondition { etags_any: vec![text.to_owned()], ..Precondition::default() };
    let new_only = Precondition { must_not_exist: true, ..Precondition::default() };
    let failed = RejectionCode::PreconditionFailed;
    assert_eq!(code(by(ANA).run(&mut group, taking("/a/g", etags("other"), 1))), failed);
    assert_eq!(code(by(ANA).run(&mut group, taking("/a/g", new_only.clone(), 2))), failed);
    assert_eq!(code(by(ANA).run(&mut group, taking("/a/new", etags("any"), 3))), failed);
    assert_eq!(locks(&group, "/", true), []);
    assert!(by(ANA).run(&mut group, taking("/a/new", new_only, 4)).unwrap().created);
    group.check();
}

#[derive(Clone, Debug)]
enum Step {
    Put(usize),
    Make(usize),
    Delete(usize),
    Move(usize, usize),
    Lock(usize, u64, How),
    Refresh(usize, u64),
    Unlock(usize, u64),
    Expire,
}

const PLACES: [&str; 7] = ["/a", "/a/b", "/a/b/c", "/a/d", "/e", "/e/b", "/e/b/c"];

fn how() -> impl Strategy<Value = How> {
    (1..20_u64, any::<bool>(), any::<bool>(), 0..4_u8).prop_map(|(seconds, shared, deep, content)| match content {
        0 => How { seconds, ..CONTENT },
        _ => How { seconds, shared, deep, content: false },
    })
}

fn step() -> impl Strategy<Value = Step> {
    let place = || 0..PLACES.len();
    prop_oneof![
        3 => place().prop_map(Step::Put),
        3 => place().prop_map(Step::Make),
        1 => place().prop_map(Step::Delete),
        2 => (place(), place()).prop_map(|(from, to)| Step::Move(from, to)),
        5 => (place(), 20..26_u64, how()).prop_map(|(at, token, how)| Step::Lock(at, token, how)),
        1 => (place(), 20..26_u64).prop_map(|(at, token)| Step::Refresh(at, token)),
        1 => (place(), 20..26_u64).prop_map(|(at, token)| Step::Unlock(at, token)),
        1 => Just(Step::Expire),
    ]
}

/// A live lock that whoever asks does not pass, on the place or deep above it. By paths alone.
fn is_closed(group: &Group, at: &str, (user, token): (u64, u64)) -> bool {
    let names: Vec<&str> = at.split('/').filter(|name| !name.is_empty()).collect();
    let answer::What::Locks(page) = group.query(query::What::Locks(LocksQuery { path: path("/"), below: true })) else {
        panic!("the root is there");
    };
    let now = group.next_stamp();
    let live = page.locks.iter().filter(|held| held.lock.as_ref().unwrap().expires_at > now);
    let covering: Vec<_> = live
        .filter(|held| {
            held.names == names
                || (held.lock.as_ref().unwrap().deep
                    && names.len() > held.names.len()
                    && names.iter().zip(&held.names).all(|(a, b)| a == b))
        })
        .collect();
    let passes = |held: &&skep_raft::wire::meta::v1::HeldLock| {
        let lock = held.lock.as_ref().unwrap();
        lock.owner.as_ref().unwrap().user == id(user) && (lock.kind() == LockKind::Content || lock.token == id(token))
    };
    covering.iter().any(|held| {
        let shares = |other: &&&skep_raft::wire::meta::v1::HeldLock| {
            other.names == held.names && other.lock.as_ref().unwrap().shared && passes(other)
        };
        let shared = held.lock.as_ref().unwrap().shared && covering.iter().any(|other| shares(&other));
        !passes(held) && !shared
    })
}

fn take(group: &mut Group, (user, token, seconds): (u64, u64, u64), step: &Step) -> Result<Done, Rejection> {
    group.clock += seconds * 1_000_000;
    let caller = by(user).with(token);
    let at = |place: &usize| PLACES[*place];
    match step {
        Step::Put(place) => caller.put(group, at(place)),
        Step::Make(place) => caller.mkdir(group, at(place)),
        Step::Delete(place) => caller.delete(group, at(place)),
        Step::Move(from, to) => caller.rename(group, at(from), at(to)),
        Step::Lock(place, token, how) => caller.lock(group, at(place), *token, *how),
        Step::Refresh(place, token) => caller.refresh(group, at(place), *token, 9),
        Step::Unlock(place, token) => caller.unlock(group, at(place), *token),
        Step::Expire => caller.run(group, What::ExpireLocks(ExpireLocks { limit: 2 })),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn nothing_closed_is_changed_and_all_is_counted(steps in proptest::collection::vec(((ANA..=BEN, 20..26_u64, 0..6_u64), step()), 1..60)) {
        let mut group = Group::datasource();
        let mut given = std::collections::BTreeMap::new();
        for (caller, step) in &steps {
            let touched = match step {
                Step::Put(place) | Step::Delete(place) => vec![PLACES[*place]],
                Step::Move(from, to) if from != to => vec![PLACES[*from], PLACES[*to]],
                _ => Vec::new(),
            };
            group.clock += caller.2 * 1_000_000;
            let closed = touched.iter().any(|at| is_closed(&group, at, (caller.0, caller.1)));
            let done = take(&mut group, (caller.0, caller.1, 0), step);
            prop_assert!(!(closed && done.is_ok()), "{:?} {:?}: {:?}", caller, step, done);
            if let (Step::Lock(..), Ok(done)) = (step, &done) {
                let lock = done.lock.as_ref().unwrap();
                let taken_at = *given.entry(lock.fence).or_insert(lock.taken_at);
                prop_assert_eq!(taken_at, lock.taken_at, "a fence of two locks");
            }
            let found = skep_raft::invariants::violations(&*group.store.snapshot()).unwrap();
            prop_assert!(found.is_empty(), "{:?}: {:?}", step, found);
        }
        prop_assert!(given.values().is_sorted(), "a later lock has a greater fence: {:?}", given);
    }
}

#[cfg(feature = "rocksdb")]
proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn locks_are_the_same_on_disk(steps in proptest::collection::vec(((ANA..=BEN, 20..26_u64, 0..6_u64), step()), 1..60)) {
        use skep_raft::store::{RocksOptions, RocksShared, RocksStore};
        let dir = tempfile::tempdir().unwrap();
        let shared = RocksShared::new(RocksOptions::default()).unwrap();
        let mut on_disk = Group::on(Box::new(RocksStore::open(dir.path(), &shared).unwrap()), Group::datasource().kind);
        let mut in_memory = Group::datasource();
        for (caller, step) in &steps {
            prop_assert_eq!(take(&mut on_disk, *caller, step).is_ok(), take(&mut in_memory, *caller, step).is_ok());
        }
        prop_assert_eq!(on_disk.rows(), in_memory.rows());
    }
}
