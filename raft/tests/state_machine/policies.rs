//! Versioning policies: as records of the cluster, as something that datasources have, and what a preview says they would prune.

use super::group::{Group, code, id, path, stored};
use super::system::{cluster, made};
use skep_placement::ids::{DatasourceId, RecordId};
use skep_raft::state::policy::{built_in, current_only};
use skep_raft::wire::meta::v1::cluster_command::What;
use skep_raft::wire::meta::v1::{
    ChangeDatasource, CopyEntry, DatasourceRecord, DeleteEntry, DeletePolicy, DeletedStrategy, Done, KeepPeriod, PruneAnswer, PruneHistory,
    PruneQuery, PruneVersions, PutPolicy, QueuePruning, ReapEntries, Rejection, RejectionCode, VersioningPolicyRecord, answer, query,
    tree_command,
};

fn own(number: u64, uuid: &str) -> VersioningPolicyRecord {
    VersioningPolicyRecord {
        id: id(number),
        uuid: uuid.to_owned(),
        name: uuid.to_owned(),
        keep_all_seconds: 1,
        keep_periods: vec![KeepPeriod { interval_start: "0".to_owned(), max_number: 1 }],
        ..current_only()
    }
}

fn put(group: &mut Group, policy: VersioningPolicyRecord) -> Result<Done, Rejection> {
    cluster(group, What::PutPolicy(PutPolicy { policy: Some(policy) }))
}

fn change(group: &mut Group, change: ChangeDatasource) -> Result<Done, Rejection> {
    cluster(group, What::ChangeDatasource(ChangeDatasource { datasource: 1, ..change }))
}

fn datasource(group: &Group) -> DatasourceRecord {
    group.view().datasource(DatasourceId(1)).unwrap().unwrap()
}

#[test]
fn a_policy_is_made_changed_and_deleted_when_nobody_has_it() {
    let mut group = made();
    assert!(put(&mut group, own(7, "mine")).unwrap().created);
    assert!(!put(&mut group, own(7, "mine")).unwrap().created, "changed");
    assert_eq!(code(put(&mut group, own(8, "mine"))), RejectionCode::AlreadyExists, "one Uuid, two policies");
    assert_eq!(code(put(&mut group, own(8, "keep-all"))), RejectionCode::AlreadyExists, "that of one that every cluster has");
    assert_eq!(code(put(&mut group, built_in().remove(1))), RejectionCode::Forbidden);
    let unordered = [("1d", 1), ("3h", 1)].map(|(start, most)| KeepPeriod { interval_start: start.to_owned(), max_number: most });
    let unordered = VersioningPolicyRecord { keep_periods: unordered.to_vec(), ..own(9, "unordered") };
    assert_eq!(code(put(&mut group, unordered)), RejectionCode::Invalid, "what cannot be carried out is not promised");
    let delete = |policy| What::DeletePolicy(DeletePolicy { policy });
    assert_eq!(code(cluster(&mut group, delete(built_in()[0].id.clone()))), RejectionCode::Forbidden);
    assert_eq!(code(cluster(&mut group, delete(id(8)))), RejectionCode::NotFound);
    change(&mut group, ChangeDatasource { policy: id(7), ..ChangeDatasource::default() }).unwrap();
    let refused = cluster(&mut group, delete(id(7))).expect_err("in use");
    assert!(refused.code() == RejectionCode::NotEmpty && refused.detail.contains("pydiods1"), "{refused:?}");
    change(&mut group, ChangeDatasource { clear_policy: true, ..ChangeDatasource::default() }).unwrap();
    cluster(&mut group, delete(id(7))).unwrap();
    assert_eq!(group.view().policies().unwrap().len(), 3);
    assert_eq!(group.view().policy(RecordId(*id(7).first_chunk().unwrap())).unwrap(), None);
}

#[test]
fn a_changed_policy_marks_the_datasources_that_have_it() {
    let mut group = made();
    put(&mut group, own(7, "mine")).unwrap();
    change(&mut group, ChangeDatasource { policy: id(7), ..ChangeDatasource::default() }).unwrap();
    let given = datasource(&group).policy_changed_at;
    assert_ne!(given, 0);
    change(&mut group, ChangeDatasource { policy: id(7), ..ChangeDatasource::default() }).unwrap();
    assert_eq!(datasource(&group).policy_changed_at, given, "the same policy again changes nothing");
    put(&mut group, own(7, "mine")).unwrap();
    assert!(datasource(&group).policy_changed_at > given);
    let other = group.view().datasource(DatasourceId(2)).unwrap().unwrap();
    assert_eq!(other.policy_changed_at, 0, "the other datasource has another");
}

#[test]
fn a_policy_can_be_taken_away_and_then_only_current_versions_are_kept() {
    let mut group = made();
    let in_force = |group: &Group| group.view().policy_of(&datasource(group)).unwrap();
    assert_eq!(in_force(&group).uuid, "keep-all", "where none was ever named");
    let both = ChangeDatasource { policy: built_in()[1].id.clone(), clear_policy: true, ..ChangeDatasource::default() };
    assert_eq!(code(change(&mut group, both)), RejectionCode::Invalid);
    change(&mut group, ChangeDatasource { clear_policy: true, ..ChangeDatasource::default() }).unwrap();
    assert_eq!(in_force(&group), current_only());
    let cleared = datasource(&group).policy_changed_at;
    change(&mut group, ChangeDatasource { clear_policy: true, ..ChangeDatasource::default() }).unwrap();
    assert_eq!(datasource(&group).policy_changed_at, cleared, "it had none already");
    change(&mut group, ChangeDatasource { policy: built_in()[1].id.clone(), ..ChangeDatasource::default() }).unwrap();
    assert_eq!(in_force(&group).uuid, "default-policy");
    assert!(!datasource(&group).current_only && datasource(&group).policy_changed_at > cleared);
    assert_eq!(code(change(&mut group, ChangeDatasource { policy: id(99), ..ChangeDatasource::default() })), RejectionCode::NotFound);
}

#[test]
fn what_a_change_of_a_datasource_does_not_name_stays() {
    let mut group = made();
    let quota = ChangeDatasource { set_quota: true, quota_bytes: 10, quota_entries: 20, ..ChangeDatasource::default() };
    change(&mut group, quota).unwrap();
    let recycle = ChangeDatasource { set_recycle: true, recycle_seconds: 30, recycle_bytes: 40, ..ChangeDatasource::default() };
    change(&mut group, recycle).unwrap();
    change(&mut group, ChangeDatasource { history_seconds: 50, ..ChangeDatasource::default() }).unwrap();
    let is = datasource(&group);
    assert_eq!((is.quota_bytes, is.quota_entries, is.recycle_seconds, is.recycle_bytes, is.history_seconds), (10, 20, 30, 40, 50));
    change(&mut group, ChangeDatasource { set_quota: true, ..ChangeDatasource::default() }).unwrap();
    assert_eq!((datasource(&group).quota_bytes, datasource(&group).recycle_bytes), (0, 40), "a quota is taken away");
    let unknown = What::ChangeDatasource(ChangeDatasource { datasource: 99, ..ChangeDatasource::default() });
    assert_eq!(code(cluster(&mut group, unknown)), RejectionCode::NotFound);
}

fn preview(group: &Group, policy: &VersioningPolicyRecord, limit: u32) -> (u64, u64, u64) {
    let mut all = PruneAnswer::default();
    let mut partly = std::collections::BTreeMap::new();
    loop {
        let question = PruneQuery { policy: Some(policy.clone()), after: all.cursor.clone(), limit, at: group.clock };
        let answer::What::Prune(page) = group.query(query::What::Prune(question)) else { panic!("another answer") };
        all.versions += page.versions;
        all.bytes += page.bytes;
        all.bytes_freed += page.bytes_freed;
        for part in &page.partly {
            let dropped: &mut u64 = partly.entry(part.content).or_default();
            *dropped += part.dropped;
            all.bytes_freed += if *dropped == part.references { part.bytes } else { 0 };
        }
        all.cursor = page.cursor;
        if all.cursor.is_empty() {
            return (all.versions, all.bytes, all.bytes_freed);
        }
    }
}

/// Works off all that a changed policy asks for. How many versions went.
fn prune(group: &mut Group, policy: &VersioningPolicyRecord) -> u64 {
    let mut after = bytes::Bytes::new();
    loop {
        let queued = group.tree(tree_command::What::QueuePruning(QueuePruning { after, limit: 3, changed_at: 1 })).unwrap();
        after = queued.cursor;
        if after.is_empty() {
            break;
        }
    }
    let before = left(group);
    loop {
        let reaped = group.tree(tree_command::What::ReapEntries(ReapEntries { policy: Some(policy.clone()), limit: 3 })).unwrap();
        let pruned = group.tree(tree_command::What::PruneVersions(PruneVersions { policy: Some(policy.clone()), limit: 3 })).unwrap();
        group.check();
        if reaped.cursor.is_empty() && pruned.cursor.is_empty() {
            return before - left(group);
        }
    }
}

/// Files with five versions each, copies of them, and some that were deleted for good before the horizon.
fn filled() -> Group {
    let mut group = Group::datasource();
    group.mkdir("/d").unwrap();
    for file in 0..4_u8 {
        for version in 0..5_u8 {
            group.clock += 1_000_000;
            let chunk = stored(1 + file * 10 + version, 5_000, u64::from(file) * 10 + u64::from(version) + 1, 900);
            group.put_chunks(&format!("/d/f{file}"), &[chunk]).unwrap();
        }
    }
    // The copies share the contents of the current versions, which then become old in both places.
    let copy = CopyEntry { from: path("/d"), to: path("/e"), seed: id(900), ..CopyEntry::default() };
    group.tree(tree_command::What::CopyEntry(copy)).unwrap();
    for place in ["/d/f0", "/e/f0", "/d/f1"] {
        group.clock += 1_000_000;
        group.put(place, b"new").unwrap();
    }
    let delete = |at: &str| tree_command::What::DeleteEntry(DeleteEntry { path: path(at), permanently: true, ..DeleteEntry::default() });
    group.tree(delete("/d/f2")).unwrap();
    group.clock += 100_000_000;
    group.tree(tree_command::What::PruneHistory(PruneHistory { retention_seconds: 10, limit: 1_000 })).unwrap();
    group.check();
    group
}

#[test]
fn a_preview_says_what_pruning_then_drops_and_frees() {
    let none = own(7, "none-of-the-deleted");
    let last = VersioningPolicyRecord { node_deleted: DeletedStrategy::KeepLast.into(), ..none.clone() };
    let all = VersioningPolicyRecord { node_deleted: DeletedStrategy::KeepAll.into(), ..none.clone() };
    let everything = built_in().remove(0);
    let mut seen = std::collections::BTreeSet::new();
    let total = VersioningPolicyRecord { keep_periods: built_in().remove(0).keep_periods, max_total_size: 11_000, ..last.clone() };
    for policy in [none, last, all, current_only_now(), everything, total] {
        for limit in [1, 2, 1_000] {
            let mut group = filled();
            let stored_before = group_totals(&group);
            let (versions, _, freed) = preview(&group, &policy, limit);
            assert_eq!(preview(&group, &policy, limit).0, versions, "looking changes nothing");
            assert_eq!(prune(&mut group, &policy), versions, "{} in pages of {limit}", policy.name);
            let gone = stored_before - group_totals(&group);
            assert_eq!(gone, freed, "{} in pages of {limit}: bytes that no version names", policy.name);
            assert_eq!(preview(&group, &policy, limit).0, 0, "nothing is left to drop");
            seen.insert(versions);
        }
    }
    assert!(seen.len() > 3, "the policies differ: {seen:?}");
}

#[test]
fn a_new_version_may_at_once_be_more_than_the_total_allows() {
    let total = VersioningPolicyRecord { max_total_size: 10, keep_all_seconds: 10, ..built_in().remove(0) };
    let mut group = Group::datasource();
    let look = |group: &mut Group| {
        let looked = PruneVersions { policy: Some(total.clone()), limit: 1_000 };
        let done = group.tree(tree_command::What::PruneVersions(looked)).unwrap();
        group.check();
        (done.count, left(group))
    };
    for bytes in [4, 4, 2] {
        group.clock += 20_000_000;
        group.put("/f", &vec![b'x'; bytes]).unwrap();
    }
    assert_eq!(look(&mut group), (0, 3), "as much as is allowed");
    group.clock += 20_000_000;
    group.put("/f", b"four").unwrap();
    assert_eq!(look(&mut group), (1, 3), "it waits from the stamp of its new version on, not from when one grows old");
    group.put("/f", b"much more than ten bytes").unwrap();
    assert_eq!(look(&mut group), (1, 3), "what was current until now stays");
    assert_eq!(look(&mut group), (0, 3));
    group.clock += 20_000_000;
    assert_eq!(look(&mut group), (2, 1), "until its time has come");
}

fn left(group: &Group) -> u64 {
    match group.query(query::What::Totals(Default::default())) {
        answer::What::Totals(totals) => totals.versions,
        other => panic!("{other:?}"),
    }
}

fn current_only_now() -> VersioningPolicyRecord {
    VersioningPolicyRecord { keep_all_seconds: 1, ..current_only() }
}

/// Plaintext bytes that versions name: of live chunks, and inline.
fn group_totals(group: &Group) -> u64 {
    match group.query(query::What::Totals(Default::default())) {
        answer::What::Totals(totals) => totals.chunk_bytes + totals.inline_bytes,
        other => panic!("{other:?}"),
    }
}
