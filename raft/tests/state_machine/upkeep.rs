//! The end of history in a model: what the horizon, the taking apart of deleted entries and a policy may drop, and what they must.

use super::group::Group;
use super::model::{Model, Version};
use super::pair::{Pair, kept_versions};
use bytes::Bytes;
use proptest::prelude::*;
use skep_raft::wire::meta::v1::{
    DeletedStrategy, EmptyBins, KeepPeriod, PruneHistory, PruneQuery, PruneVersions, QueuePruning, ReapEntries, VersioningPolicyRecord,
    answer, query, tree_command,
};
use std::collections::BTreeSet;

const SECOND: u64 = 1_000_000;

/// What is kept, and how much a step of upkeep does at most.
#[derive(Clone, Debug)]
pub(crate) struct Keep {
    retention_seconds: u64,
    keep_all_seconds: u64,
    /// Of the old versions of a file; -1: all.
    most: i32,
    /// Bytes of the old versions of a file, and of an old version; -1: no limit.
    bytes: (i64, i64),
    /// Bytes of all versions of a file; -1: no limit.
    total: i64,
    deleted: DeletedStrategy,
    limit: u32,
}

pub(crate) fn keep() -> impl Strategy<Value = Keep> {
    let deleted = prop_oneof![Just(DeletedStrategy::KeepAll), Just(DeletedStrategy::KeepLast), Just(DeletedStrategy::KeepNone)];
    let bytes = prop_oneof![3 => Just((-1, -1)), 1 => (1..9_i64).prop_map(|sum| (sum, -1)), 1 => (1..5_i64).prop_map(|each| (-1, each))];
    let bytes = (bytes, prop_oneof![3 => Just(-1_i64), 1 => 1..12_i64]);
    let seconds = (1..6_u64, 1..6_u64);
    let keep = (seconds, -1..3_i32, bytes, deleted, 1..4_u32);
    keep.prop_map(|((retention_seconds, keep_all_seconds), most, (bytes, total), deleted, limit)| Keep {
        retention_seconds,
        keep_all_seconds,
        most,
        bytes,
        total,
        deleted,
        limit,
    })
}

impl Keep {
    fn policy(&self) -> Option<VersioningPolicyRecord> {
        Some(VersioningPolicyRecord {
            keep_all_seconds: self.keep_all_seconds,
            max_total_size: self.total,
            max_size_per_file: self.bytes.0,
            ignore_files_greater_than: self.bytes.1,
            keep_periods: vec![KeepPeriod { interval_start: "0".to_owned(), max_number: self.most }],
            node_deleted: self.deleted.into(),
            ..VersioningPolicyRecord::default()
        })
    }

    fn limits_bytes(&self) -> bool {
        self.bytes != (-1, -1) || self.total != -1
    }

    fn frees(&self, since: u64, now: u64) -> bool {
        (self.most >= 0 || self.limits_bytes()) && since + self.keep_all_seconds * SECOND <= now
    }
}

/// Works upkeep off. Gives the horizon, which was `was`. Its stamps lie half a second beside all others, so that no age is on an edge.
pub(crate) fn run(pair: &mut Pair, keep: &Keep, was: u64) -> Result<u64, TestCaseError> {
    pair.group.clock = pair.group.next_stamp() / SECOND * SECOND + SECOND / 2;
    let policy = keep.policy();
    let mut horizon = was;
    repeat(&mut pair.group, |group| {
        horizon = was.max(group.next_stamp().saturating_sub(keep.retention_seconds * SECOND));
        tree_command::What::PruneHistory(PruneHistory { retention_seconds: keep.retention_seconds, limit: keep.limit })
    })?;
    repeat(&mut pair.group, |_| tree_command::What::ReapEntries(ReapEntries { policy: policy.clone(), limit: keep.limit }))?;
    reaped(pair, keep, horizon)?;
    queue_all(&mut pair.group, keep.limit)?;
    let preview = preview(&pair.group, &policy);
    let expected = planned(&pair.model, keep, horizon, pair.group.next_stamp());
    let stored = totals(&pair.group);
    let dropped =
        repeat(&mut pair.group, |_| tree_command::What::PruneVersions(PruneVersions { policy: policy.clone(), limit: keep.limit }))?;
    let freed = stored.saturating_sub(totals(&pair.group));
    if keep.limits_bytes() && keep.most >= 0 {
        // A number and bytes at once may choose others, worked off in steps, than they do of all.
        prop_assert_eq!(preview.0 > 0, dropped > 0, "preview of {:?}", keep);
    } else {
        prop_assert_eq!(preview, (dropped, freed), "preview of {:?}", keep);
    }
    pruned(pair, keep, horizon, expected)?;
    pair.compare()?;
    pair.group.clock = pair.group.next_stamp() / SECOND * SECOND + SECOND;
    Ok(horizon)
}

/// Empties bins by one command, half a second beside all that came into them.
pub(crate) fn empty_bins(pair: &mut Pair, seconds: u64, bytes: u64) -> Result<(), TestCaseError> {
    pair.group.clock = pair.group.next_stamp() / SECOND * SECOND + SECOND / 2;
    pair.model.stamp = pair.group.next_stamp();
    let expected = pair.model.empty_bins(seconds, bytes);
    let empty = EmptyBins { seconds, bytes, limit: 1_000, after: Bytes::new() };
    let done = pair.group.tree(tree_command::What::EmptyBins(empty)).map_err(|rejection| TestCaseError::fail(format!("{rejection:?}")))?;
    prop_assert_eq!((done.count, done.cursor.is_empty()), (expected, true));
    pair.seen()?;
    pair.group.clock = pair.group.next_stamp() / SECOND * SECOND + SECOND;
    Ok(())
}

/// Proposes until there is nothing left to do. How much was done.
fn repeat(group: &mut Group, mut command: impl FnMut(&Group) -> tree_command::What) -> Result<u64, TestCaseError> {
    let mut count = 0;
    for _ in 0..10_000 {
        let what = command(group);
        let done = group.tree(what).map_err(|rejection| TestCaseError::fail(format!("{rejection:?}")))?;
        count += done.count;
        if done.cursor.is_empty() {
            return Ok(count);
        }
    }
    Err(TestCaseError::fail("upkeep comes to no end"))
}

fn queue_all(group: &mut Group, limit: u32) -> Result<(), TestCaseError> {
    let mut after = Bytes::new();
    loop {
        let queued = group.tree(tree_command::What::QueuePruning(QueuePruning { after, limit, ..QueuePruning::default() }));
        after = queued.map_err(|rejection| TestCaseError::fail(format!("{rejection:?}")))?.cursor;
        if after.is_empty() {
            return Ok(());
        }
    }
}

fn totals(group: &Group) -> u64 {
    let answer::What::Totals(totals) = group.query(query::What::Totals(Default::default())) else { panic!("no totals") };
    totals.inline_bytes
}

/// Versions that would go and bytes that would be freed.
fn preview(group: &Group, policy: &Option<VersioningPolicyRecord>) -> (u64, u64) {
    let asked = PruneQuery { policy: policy.clone(), after: Bytes::new(), limit: 10_000, at: group.clock };
    let answer::What::Prune(preview) = group.query(query::What::Prune(asked)) else { panic!("no preview") };
    assert!(preview.cursor.is_empty(), "more files than one page has");
    (preview.versions, preview.bytes_freed)
}

/// Drops from the model what taking deleted entries apart must have dropped, and nothing else.
fn reaped(pair: &mut Pair, keep: &Keep, horizon: u64) -> Result<(), TestCaseError> {
    let model = &mut pair.model;
    let over: Vec<u64> = model.unlinked.iter().filter(|(_, since)| **since <= horizon).map(|(token, _)| *token).collect();
    for token in over {
        let Some(versions) = model.versions.get_mut(&token) else { continue };
        match keep.deleted {
            DeletedStrategy::KeepNone => versions.clear(),
            DeletedStrategy::KeepLast => versions.drain(..versions.len().saturating_sub(1)).for_each(drop),
            DeletedStrategy::KeepAll | DeletedStrategy::Unspecified => {}
        }
    }
    prop_assert_eq!(kept_versions(&pair.group), pair.known_versions(), "after taking apart by {:?}", keep);
    Ok(())
}

/// A file's versions with when each ceased to be the current one, as far as its neighbours that are left tell.
fn aged(model: &Model, token: u64, versions: &[Version], horizon: u64) -> Vec<(u64, Option<u64>)> {
    let ended = model.unlinked.get(&token).copied().filter(|since| *since <= horizon);
    let next = versions.iter().skip(1).map(|version| Some(version.created_at)).chain([ended]);
    versions.iter().zip(next).map(|(version, since)| (version.number, since)).collect()
}

/// Entries with how many of their versions the policy leaves, at most.
fn planned(model: &Model, keep: &Keep, horizon: u64, now: u64) -> Vec<(u64, usize)> {
    let left = model.versions.iter().map(|(token, versions)| {
        let aged = aged(model, *token, versions, horizon);
        let current = aged.iter().filter(|(_, since)| since.is_none()).count();
        let held = aged.iter().filter(|(_, since)| since.is_some_and(|since| !keep.frees(since, now))).count();
        (*token, current + held.max(usize::try_from(keep.most).unwrap_or(usize::MAX - 1)))
    });
    left.collect()
}

/// Takes over what the policy dropped: nothing that it must keep, and as much as it must drop.
fn pruned(pair: &mut Pair, keep: &Keep, horizon: u64, most: Vec<(u64, usize)>) -> Result<(), TestCaseError> {
    let now = pair.group.next_stamp();
    let kept: BTreeSet<(Bytes, u64)> = kept_versions(&pair.group);
    for (token, versions) in pair.model.versions.clone() {
        let entry = pair.model.entries[&token].clone();
        let ended = pair.model.unlinked.get(&token).copied().filter(|since| *since <= horizon);
        let (stays, gone): (Vec<Version>, Vec<Version>) =
            versions.into_iter().partition(|version| kept.contains(&(entry.clone(), version.number)));
        for version in gone {
            let since = version.superseded_at.or(ended);
            prop_assert!(since.is_some_and(|since| keep.frees(since, now)), "{:?} is pruned by {:?} at {}", version, keep, now);
        }
        let bytes: usize = stays.iter().map(|version| version.bytes.len()).sum();
        let may_go = aged(&pair.model, token, &stays, horizon).iter().any(|(_, since)| since.is_some_and(|since| keep.frees(since, now)));
        let fits = usize::try_from(keep.total).map_or(true, |most| bytes <= most);
        prop_assert!(fits || !may_go, "{} bytes are left of {:?} where {:?} keeps fewer", bytes, stays, keep);
        pair.model.versions.insert(token, stays);
    }
    for (token, most) in most {
        let left = pair.model.versions[&token].len();
        prop_assert!(left <= most, "{} versions are left where {:?} leaves {}", left, keep, most);
    }
    Ok(())
}
