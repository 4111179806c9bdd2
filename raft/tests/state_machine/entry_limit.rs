//! A datasource that has given out as many entries as it may.

use prost::Message;
use skep_raft::keys::{StateKey, TotalsKey};
use skep_raft::state::policy;
use skep_raft::store::Changes;
use skep_raft::wire::meta::v1::{
    BatchStep, CreateFolder, DeleteEntry, DeletedStrategy, PruneHistory, ReapEntries, RejectionCode, TreeBatch, VersioningPolicyRecord,
    batch_step, tree_command,
};

use super::group::{Group, code, path};

/// What a datasource may give out.
const ENTRIES_MAX: u64 = 100_000_000;

/// Changes how many entries the group has given out, as if it had had others.
fn shift(group: &mut Group, by: i64) {
    let bytes = group.store.snapshot().get(TotalsKey::FAMILY, &TotalsKey {}.to_bytes()).unwrap().unwrap_or_default();
    let mut totals = <TotalsKey as StateKey>::Record::decode(bytes).unwrap();
    totals.entries_ever = totals.entries_ever.checked_add_signed(by).unwrap();
    let mut changes = Changes::new();
    changes.put(TotalsKey::FAMILY, TotalsKey {}.to_bytes(), totals.encode_to_vec().into());
    group.store.commit(changes).unwrap();
}

/// Takes apart what was deleted for good.
fn reap(group: &mut Group) {
    group.clock += 10_000_000;
    group.put("/b", b"another version").unwrap();
    for _ in 0..20 {
        group.clock += 2_000_000;
        group.tree(tree_command::What::PruneHistory(PruneHistory { retention_seconds: 1, limit: 1_000 })).unwrap();
        let nothing_kept = |policy| VersioningPolicyRecord { node_deleted: DeletedStrategy::KeepNone.into(), ..policy };
        let policy = policy::built_in().into_iter().next().map(nothing_kept);
        let done = group.tree(tree_command::What::ReapEntries(ReapEntries { policy, limit: 1_000 })).unwrap();
        if done.count == 0 && done.cursor.is_empty() {
            return;
        }
    }
    panic!("it does not end");
}

#[test]
fn the_last_entry_is_given_out_and_no_other() {
    let mut group = Group::datasource();
    let others = i64::try_from(ENTRIES_MAX).unwrap() - 2;
    shift(&mut group, others);
    group.mkdir("/a").unwrap();
    group.put("/b", b"the last").unwrap();
    let refused = group.mkdir("/c").unwrap_err();
    assert_eq!(refused.code(), RejectionCode::LimitReached);
    assert!(refused.detail.contains("100000000"), "the number is said: {}", refused.detail);
    assert_eq!(code(group.put("/c", b"a file")), RejectionCode::LimitReached);
    let entry = group.id();
    let create = CreateFolder { path: path("/c"), entry, ..CreateFolder::default() };
    let steps = [
        batch_step::What::DeleteEntry(DeleteEntry { path: path("/a"), permanently: true, ..DeleteEntry::default() }),
        batch_step::What::CreateFolder(create),
    ];
    let steps = steps.map(|what| BatchStep { what: Some(what) }).to_vec();
    assert_eq!(code(group.tree(tree_command::What::Batch(TreeBatch { steps }))), RejectionCode::LimitReached);
    assert_eq!(code(group.mkdir("/a")), RejectionCode::AlreadyExists, "nothing of the batch was done");
    group.put("/b", b"a new version of what is there").unwrap();
    group.tree(tree_command::What::DeleteEntry(DeleteEntry { path: path("/a"), permanently: true, ..DeleteEntry::default() })).unwrap();
    assert_eq!(code(group.mkdir("/c")), RejectionCode::LimitReached, "what was deleted is there until it is taken apart");
    reap(&mut group);
    group.mkdir("/c").unwrap();
    assert_eq!(code(group.mkdir("/d")), RejectionCode::LimitReached, "one went, one came");
    shift(&mut group, -others);
    group.check();
}
