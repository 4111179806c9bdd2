//! A state that is broken is noticed: one row changed, added or taken away, and the invariant that it breaks is named.

use super::group::{Group, content, id, path, put_of, stored, tree};
use super::pair::ask;
use prost::Message;
use skep_placement::ids::{EntryId, Stamp, VersionId};
use skep_raft::invariants;
use skep_raft::keys::{
    AuditKey, ByIdKey, ChangeKey, ChunkKey, CondemnedKey, ContentKey, CurrentKey, EntryMetaKey, FeedBeginKey, GoneKey, HistoryHorizonKey,
    HistoryKey, IdempotentExpiryKey, IdempotentKey, LockBelowKey, LockExpiryKey, LockKey, ManifestKey, MetaValueKey, NoteUserKey,
    PruneDueKey, ReapKey, RecycledKey, RepairKey, StateKey, SumsKey, TotalsKey, UploadExpiryKey, UserNoteKey, VersionByIdKey, VersionKey,
};
use skep_raft::store::Changes;
use skep_raft::wire::meta::v1::{
    Actor, Command, DeleteEntry, FeedPosition, FolderSums, GoneRecord, Idempotency, IndexNotes, LockKind, OpenUpload, PruneHistory,
    ReapRecord, SetLock, SetMeta, content_command, new_content, tree_command,
};

/// A group that holds a row of every kind.
fn full() -> Group {
    let mut group = Group::datasource();
    group.mkdir("/old").unwrap();
    group.put("/old/away", b"x").unwrap();
    delete(&mut group, "/old/away", true);
    group.clock += 10_000_000;
    group.tree(tree_command::What::PruneHistory(PruneHistory { retention_seconds: 5, limit: 100 })).unwrap();
    group.mkdir("/a").unwrap();
    group.put("/a/f", b"one").unwrap();
    group.put("/a/f", b"three").unwrap();
    let code = Some(skep_raft::wire::meta::v1::Code { data: 2, parity: 2 });
    let lacking = skep_raft::wire::meta::v1::StoredChunk { missing: 1, code, ..stored(1, 5_000, 1, 900) };
    group.put_chunks("/a/big", &[lacking]).unwrap();
    group.put_chunks("/a/brief", &[stored(2, 5_000, 2, 900)]).unwrap();
    group.put("/a/gone", b"gone").unwrap();
    for (at, permanently) in [("/a/gone", true), ("/a/brief", true), ("/old", false)] {
        delete(&mut group, at, permanently);
    }
    condemn(&mut group);
    let note =
        SetMeta { path: path("/a"), namespace: "usermeta-tags".to_owned(), json: "1".to_owned(), searchable: true, ..Default::default() };
    group.tree(tree_command::What::SetMeta(note.clone())).unwrap();
    group.tree(tree_command::What::SetMeta(SetMeta { user: id(7), ..note })).unwrap();
    let index = IndexNotes { namespaces: vec!["usermeta-tags".to_owned()], limit: 100, ..IndexNotes::default() };
    group.tree(tree_command::What::IndexNotes(index)).unwrap();
    let lock = SetLock { path: path("/a/f"), token: id(5), lifetime_seconds: 60, kind: LockKind::Webdav.into(), ..SetLock::default() };
    let owner = Some(Actor { user: id(7), login: "ana".to_owned() });
    ask(&mut group, Command { actor: owner.clone(), what: Some(tree(tree_command::What::SetLock(lock))), ..Command::default() }).unwrap();
    let open = OpenUpload { begun: 1, lease_seconds: 60, job: bytes::Bytes::new() };
    group.run(content(content_command::What::OpenUpload(open))).unwrap();
    let put = put_of("/repeated", group.id(), group.id(), 1, new_content::From::Inlined(b"x".to_vec().into()));
    let idempotency = Some(Idempotency { key: vec![1; 32].into(), request: vec![2; 32].into(), step: vec![3; 32].into() });
    let what = Some(tree(tree_command::What::PutFile(put)));
    ask(&mut group, Command { actor: owner, idempotency, what, ..Command::default() }).unwrap();
    group
}

fn delete(group: &mut Group, at: &str, permanently: bool) {
    let delete = DeleteEntry { path: path(at), permanently, recycle_root: path("/"), bin: group.id(), ..DeleteEntry::default() };
    group.tree(tree_command::What::DeleteEntry(delete)).unwrap();
}

/// Has a chunk that nothing names any more: of an upload that is given up.
fn condemn(group: &mut Group) {
    let open = content_command::What::OpenUpload(OpenUpload { begun: 1, lease_seconds: 60, job: bytes::Bytes::new() });
    let upload = group.content(open).unwrap().number;
    let chunks = vec![stored(3, 5_000, 3, 900)];
    let append = skep_raft::wire::meta::v1::AppendUpload { upload, part: 0, chunks, lease_seconds: 60 };
    group.content(content_command::What::AppendUpload(append)).unwrap();
    group.content(content_command::What::AbortUpload(skep_raft::wire::meta::v1::AbortUpload { upload })).unwrap();
}

/// All rows of a kind.
fn rows<K: StateKey>(group: &Group) -> Vec<(K, K::Record)> {
    let rows = group.rows().into_iter().filter(|(family, key, _)| *family == K::FAMILY && key[0] == K::KIND.number());
    let rows: Vec<_> = rows.map(|(_, key, value)| (K::from_bytes(&key).unwrap(), K::Record::decode(value.as_slice()).unwrap())).collect();
    assert!(!rows.is_empty(), "the full group has no row of {:?}", K::KIND);
    rows
}

fn last<K: StateKey>(group: &Group) -> (K, K::Record) {
    rows(group).pop().unwrap()
}

/// Takes the last row of a kind away.
fn without<K: StateKey>(group: &Group) -> Changes {
    let mut changes = Changes::new();
    changes.delete(K::FAMILY, last::<K>(group).0.to_bytes());
    changes
}

/// Writes a row.
fn with<K: StateKey>(key: &K, record: &K::Record) -> Changes {
    let mut changes = Changes::new();
    changes.put(K::FAMILY, key.to_bytes(), record.encode_to_vec().into());
    changes
}

/// Changes the last row of a kind.
fn changed<K: StateKey>(group: &Group, change: impl FnOnce(&mut K::Record)) -> Changes {
    let (key, mut record) = last::<K>(group);
    change(&mut record);
    with(&key, &record)
}

/// Breaks a full group, and wants the words among what is found.
fn noticed(words: &str, broken: impl FnOnce(&Group) -> Changes) {
    let group = full();
    group.check();
    group.store.commit(broken(&group)).unwrap();
    let found = invariants::violations(&*group.store.snapshot()).unwrap();
    assert!(found.iter().any(|found| found.contains(words)), "{words:?} is not among {found:#?}");
}

#[test]
fn what_is_deleted_is_taken_apart_once_and_nothing_else_is() {
    noticed("is never taken apart", without::<ReapKey>);
    noticed("its record says 0", |group| {
        let linked = rows::<ByIdKey>(group).into_iter().find(|(_, record)| record.unlinked_at == 0).unwrap().0.entry;
        with(&ReapKey { since: Stamp(5), entry: linked }, &ReapRecord::default())
    });
    noticed("waits twice to be taken apart", |group| {
        let entry = last::<ReapKey>(group).0.entry;
        with(&ReapKey { since: Stamp(5), entry }, &ReapRecord::default())
    });
}

#[test]
fn what_lies_in_a_bin_is_found() {
    noticed("0 entries wait in recycle bins, 1 lie there", without::<RecycledKey>);
    noticed("does not lie there", |group| with(&RecycledKey { since: Stamp(5), entry: last::<RecycledKey>(group).0.entry }, &()));
}

#[test]
fn requests_and_their_ends_belong_together() {
    noticed("0 repeatable requests are to be forgotten, 1 are kept", without::<IdempotentExpiryKey>);
    noticed("is to be forgotten from another stamp on", |group| {
        let key = last::<IdempotentExpiryKey>(group).0.key;
        with(&IdempotentExpiryKey { since: Stamp(5), key }, &())
    });
    noticed("belongs to no request", |group| {
        let (key, _) = rows::<IdempotentKey>(group).remove(0);
        assert_eq!(key.step, [0; 32]);
        let mut changes = Changes::new();
        changes.delete(IdempotentKey::FAMILY, key.to_bytes());
        changes
    });
    noticed("belongs to no request", |group| changed::<IdempotentKey>(group, |record| record.request = vec![9; 32].into()));
}

#[test]
fn the_feed_and_the_horizon_keep_their_order() {
    noticed("lies outside of the feed", |group| {
        with(&FeedBeginKey {}, &FeedPosition { index: last::<ChangeKey>(group).0.index, sub: u32::MAX })
    });
    noticed("the feed begins at", |group| with(&FeedBeginKey {}, &FeedPosition { index: group.index + 1, sub: 0 }));
    noticed("history reaches back to", |_| with(&HistoryHorizonKey {}, &u64::MAX));
    noticed("has the stamp 1 behind", |group| changed::<ChangeKey>(group, |change| change.stamp = 1));
    noticed("of the audit has the stamp", |group| changed::<AuditKey>(group, |line| line.stamp = 1));
    noticed("which no change tells", without::<ChangeKey>);
    noticed("is told by no change", |group| {
        let (key, _) = rows::<ChangeKey>(group).into_iter().find(|(_, change)| change.superseded).unwrap();
        let mut changes = Changes::new();
        changes.delete(ChangeKey::FAMILY, key.to_bytes());
        changes
    });
}

#[test]
fn names_are_there_or_gone() {
    noticed("which no change tells", |group| changed::<GoneKey>(group, |gone| gone.since += 1));
    noticed("the folder says that no name is", |group| {
        let key = SumsKey { folder: last::<GoneKey>(group).0.parent };
        let sums = rows::<SumsKey>(group).into_iter().find(|(of, _)| *of == key).unwrap().1;
        with(&key, &FolderSums { no_name_gone: true, ..sums })
    });
    noticed("is neither there nor gone", without::<GoneKey>);
    noticed("is there and gone", |group| {
        let (key, _) = last::<CurrentKey>(group);
        with(&GoneKey::new(key.parent, &key.name.0), &GoneRecord { since: 5 })
    });
    noticed("tell of history that is not there", without::<HistoryKey>);
    noticed("linked entries", without::<CurrentKey>);
    noticed("does not know its place", |group| changed::<CurrentKey>(group, |current| current.entry = id(12_345)));
    noticed("does not know its place", |group| {
        let (key, record) = rows::<ByIdKey>(group).into_iter().find(|(_, record)| record.unlinked_at == 0).unwrap();
        with(&key, &skep_raft::wire::meta::v1::ByIdRecord { name: "other".to_owned(), ..record })
    });
}

#[test]
fn sums_and_counters_are_those_of_a_recount() {
    noticed("sums of", |group| changed::<SumsKey>(group, |sums| sums.bytes += 1));
    noticed("sums of", |group| changed::<SumsKey>(group, |sums| sums.member_files += 1));
    noticed("sums of", |group| changed::<SumsKey>(group, |sums| sums.member_folders += 1));
    noticed("totals are", |group| changed::<TotalsKey>(group, |totals| totals.logical_bytes += 1));
    noticed("totals are", |group| changed::<TotalsKey>(group, |totals| totals.unlinked_bytes += 1));
    noticed("totals are", |group| changed::<TotalsKey>(group, |totals| totals.entries_ever += 1));
}

#[test]
fn versions_contents_and_chunks_count_each_other() {
    noticed("version ids for", |group| {
        let (key, number) = last::<VersionByIdKey>(group);
        with(&VersionByIdKey { entry: key.entry, version: VersionId([9; 16]) }, &number)
    });
    noticed("does not know its number", without::<VersionByIdKey>);
    noticed("version ids for", without::<VersionKey>);
    noticed("counts 2, found 1", |group| changed::<ContentKey>(group, |content| content.references += 1));
    noticed("refer to contents that are not there", |group| {
        let inlined = rows::<ContentKey>(group).into_iter().find(|(_, content)| content.inlined).unwrap().0;
        let mut changes = Changes::new();
        changes.delete(ContentKey::FAMILY, inlined.to_bytes());
        changes
    });
    noticed("is inline or it is not", |group| changed::<ContentKey>(group, |content| content.inlined = !content.inlined));
    noticed("its record", without::<ManifestKey>);
    noticed("counts", |group| changed::<ChunkKey>(group, |chunk| chunk.contents += 1));
    noticed("is condemned and not listed", without::<CondemnedKey>);
    noticed("wants repair: true, is queued: false", without::<RepairKey>);
    noticed("never expires", without::<UploadExpiryKey>);
    noticed("waits for pruning at", without::<PruneDueKey>);
    noticed("that is forgotten waits for pruning", |_| with(&PruneDueKey { due: Stamp(5), entry: EntryId([9; 16]) }, &()));
}

#[test]
fn notes_and_locks_know_their_entries() {
    noticed("is found by a value", without::<EntryMetaKey>);
    noticed("is found by a value", |group| {
        let (key, ()) = last::<MetaValueKey>(group);
        with(&MetaValueKey { hash: [9; 16], ..key }, &())
    });
    noticed("which is indexed", without::<MetaValueKey>);
    noticed("would outlive entry", without::<NoteUserKey>);
    noticed("notes of users by their entries", without::<UserNoteKey>);
    noticed("never ends", without::<LockExpiryKey>);
    noticed("does not know of the lock", without::<LockBelowKey>);
    noticed("rows for 0 locks", without::<LockKey>);
}
