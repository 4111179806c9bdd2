//! Pruning old versions by the datasource's policy, in steps, from a queue ordered by when each file is to be looked at.
//!
//! Invariants: a file with old versions that a policy may drop waits in the queue, once; a step looks at files in the queue's order and deletes a bounded
//! number of versions; what a policy does not keep is freed when the queue has been worked off.

use skep_placement::ids::{EntryId, Stamp};

use super::version;
use crate::keys::{ByIdKey, LimitsKey, PruneDueKey, ReapKey, VersionKey};
use crate::state::policy::{Aged, Rules};
use crate::state::rejection::{Stop, invalid, required};
use crate::state::transaction::Transaction;
use crate::state::{limits, read, tree};
use crate::store::{Direction, ReadState, StateError};
use crate::wire::meta::v1::{ByIdRecord, Done, EntryKind, PruneVersions, QueuePruning, ReapRecord, VersionRecord, VersioningPolicyRecord};

/// Files that one command looks at.
const FILES_MAX: usize = 1_000;

/// Has a file wait for pruning from a stamp on, unless it waits already and not longer; the record is the caller's to write.
pub(super) fn wait(transaction: &mut Transaction<'_>, entry: EntryId, record: &mut ByIdRecord, due: u64) {
    if record.prune_due != 0 && record.prune_due <= due {
        return;
    }
    leave(transaction, entry, record);
    transaction.put(&PruneDueKey { due: Stamp(due), entry }, &());
    record.prune_due = due;
}

/// Takes a file from the queue; the record is the caller's to write.
pub(super) fn leave(transaction: &mut Transaction<'_>, entry: EntryId, record: &mut ByIdRecord) {
    if record.prune_due != 0 {
        transaction.delete(&PruneDueKey { due: Stamp(record.prune_due), entry });
        record.prune_due = 0;
    }
}

/// Looks at the files whose turn has come. The outcome counts the versions that went; its cursor is empty if no file is due any more.
pub(super) fn versions(transaction: &mut Transaction<'_>, command: &PruneVersions) -> Result<Done, Stop> {
    let rules = rules(command.policy.as_ref())?;
    let mut room = usize::try_from(command.limit.clamp(1, limits::PRUNED_ROWS_MAX)).unwrap_or(1);
    let stamp = transaction.stamp();
    let rows = read::rows::<PruneDueKey>(transaction.state(), &[], Direction::Forward).take(FILES_MAX);
    let rows = rows.take_while(|row| row.as_ref().map_or(true, |(key, ())| key.due.0 <= stamp));
    let due = rows.map(|row| row.map(|(key, ())| key)).collect::<Result<Vec<PruneDueKey>, StateError>>()?;
    let was_full = due.len() == FILES_MAX;
    let mut count = 0;
    let mut more = was_full;
    for key in due {
        if room == 0 {
            more = true;
            break;
        }
        let by_id = ByIdKey { entry: key.entry };
        let mut record = read::expect(transaction.state(), &by_id)?;
        // What was deleted for good keeps its last version until it is taken apart.
        let ended_at = if record.reaped { record.unlinked_at } else { 0 };
        let versions = aged(transaction.state(), key.entry, ended_at)?;
        let plan = rules.plan(&versions, stamp);
        let now: Vec<u64> = plan.dropped.iter().copied().take(room).collect();
        drop_versions(transaction, key.entry, &now)?;
        room -= now.len();
        count += u64::try_from(now.len()).unwrap_or(u64::MAX);
        if now.len() < plan.dropped.len() {
            more = true;
            break;
        }
        leave(transaction, key.entry, &mut record);
        if now.len() == versions.len() && record.unlinked_at != 0 {
            forget(transaction, key.entry)?;
            continue;
        }
        if let Some(due) = plan.look_again {
            wait(transaction, key.entry, &mut record, due);
        }
        transaction.put(&by_id, &record);
    }
    let cursor = if more { vec![1].into() } else { bytes::Bytes::new() };
    Ok(Done { count, cursor, ..Done::default() })
}

/// Deletes the last that is known of a file that was deleted for good: nothing of it is kept.
pub(super) fn forget(transaction: &mut Transaction<'_>, entry: EntryId) -> Result<(), Stop> {
    super::note::forget_all(transaction, entry)?;
    transaction.delete(&ByIdKey { entry });
    transaction.count(|totals| crate::state::transaction::take(&mut totals.entries_ever, 1, "entries given out"))?;
    Ok(())
}

/// Deletes versions of a file by their numbers.
pub(super) fn drop_versions(transaction: &mut Transaction<'_>, entry: EntryId, numbers: &[u64]) -> Result<(), StateError> {
    for number in numbers {
        let key = VersionKey { entry, number: crate::keys::Descending(*number) };
        let record = read::expect(transaction.state(), &key)?;
        version::drop_version(transaction, &key, &record)?;
    }
    Ok(())
}

/// The versions of a file as policies see them. Of a file that was deleted the last one has ceased to be current then.
pub(crate) fn aged(state: &dyn ReadState, entry: EntryId, unlinked_at: u64) -> Result<Vec<Aged>, StateError> {
    let mut newer = (unlinked_at != 0).then_some(unlinked_at);
    let mut versions = Vec::new();
    for row in read::rows::<VersionKey>(state, &[&entry], Direction::Forward) {
        let (key, record): (VersionKey, VersionRecord) = row?;
        versions.push(Aged { number: key.number.0, created_at: record.created_at, superseded_at: newer, size: record.size });
        newer = Some(record.created_at);
    }
    Ok(versions)
}

/// Has every file looked at anew, and what is kept of deleted ones.
pub(super) fn queue(transaction: &mut Transaction<'_>, command: &QueuePruning) -> Result<Done, Stop> {
    let limit = usize::try_from(command.limit.clamp(1, limits::PRUNED_ROWS_MAX)).unwrap_or(1);
    let rows: Vec<(ByIdKey, ByIdRecord)> = if command.after.is_empty() {
        read::rows::<ByIdKey>(transaction.state(), &[], Direction::Forward).take(limit).collect::<Result<_, _>>()?
    } else {
        let after = ByIdKey { entry: crate::state::rejection::id(&command.after, "cursor")? };
        read::rows_after::<ByIdKey>(transaction.state(), &[], &after).take(limit).collect::<Result<_, _>>()?
    };
    let last = rows.last().map(|(key, _)| key.entry);
    let was_full = rows.len() == limit;
    let stamp = transaction.stamp();
    let mut count = 0;
    for (key, mut record) in rows.into_iter().filter(|(_, record)| record.kind == i32::from(EntryKind::File)) {
        if record.unlinked_at != 0 {
            transaction.put(&ReapKey { since: Stamp(record.unlinked_at), entry: key.entry }, &ReapRecord::default());
        }
        if record.last_version > 1 || record.unlinked_at != 0 {
            wait(transaction, key.entry, &mut record, stamp);
            transaction.put(&key, &record);
            count += 1;
        }
    }
    let cursor = match last.filter(|_| was_full) {
        Some(entry) => tree::bytes_of(entry),
        None => {
            let mut limits = transaction.get(&LimitsKey {})?.unwrap_or_default();
            limits.policy_changed_at = limits.policy_changed_at.max(command.changed_at);
            transaction.put(&LimitsKey {}, &limits);
            bytes::Bytes::new()
        }
    };
    Ok(Done { count, cursor, ..Done::default() })
}

/// The rules of the policy that a command carries.
pub(super) fn rules(policy: Option<&VersioningPolicyRecord>) -> Result<Rules, Stop> {
    Rules::of(required(policy, "policy")?).map_err(|fault| invalid(fault.to_string()))
}
