//! The end of history: the horizon moves, what lies before it goes with the feed, and what was deleted for good is taken apart.
//!
//! Invariants: no read goes back before the horizon, and nothing that a read behind it needs is dropped; each step is bounded; an entry is taken apart
//! only after the feed has passed its deletion.

use skep_placement::ids::EntryId;

use super::prune;
use crate::keys::{
    ByIdKey, ChangeKey, CurrentKey, Descending, FeedBeginKey, GoneKey, HistoryHorizonKey, HistoryKey, NameThen, ReapKey, SumsKey,
};
use crate::state::path::Located;
use crate::state::rejection::{Stop, invalid};
use crate::state::transaction::{Transaction, take};
use crate::state::tree;
use crate::state::{limits, read};
use crate::store::{Direction, StateError};
use crate::wire::meta::v1::{
    ByIdRecord, ChangeKind, ChangeRecord, Done, EntryKind, EntryPlace, FeedPosition, PruneHistory, ReapEntries, ReapRecord,
};

/// Moves the horizon and drops changes before it. The outcome counts them; its cursor is empty if none is left.
pub(super) fn prune(transaction: &mut Transaction<'_>, command: &PruneHistory) -> Result<Done, Stop> {
    if command.retention_seconds == 0 {
        return Err(invalid("history is kept for a second at least"));
    }
    let limit = usize::try_from(command.limit.clamp(1, limits::PRUNED_ROWS_MAX)).unwrap_or(1);
    let wanted = transaction.stamp().saturating_sub(command.retention_seconds.saturating_mul(1_000_000));
    let horizon = transaction.get(&HistoryHorizonKey {})?.unwrap_or(0).max(wanted);
    transaction.put(&HistoryHorizonKey {}, &horizon);
    let old = oldest(transaction, limit)?;
    let was_full = old.len() == limit;
    let mut count = 0;
    let mut last = None;
    for (key, change) in old.into_iter().take_while(|(_, change)| change.stamp <= horizon) {
        drop_change(transaction, &key, &change)?;
        last = Some(key);
        count += 1;
    }
    if let Some(ChangeKey { index, sub }) = last {
        transaction.put(&FeedBeginKey {}, &FeedPosition { index, sub });
    }
    let more = was_full && count == u64::try_from(limit).unwrap_or(u64::MAX);
    let cursor = if more { vec![1].into() } else { bytes::Bytes::new() };
    Ok(Done { count, cursor, ..Done::default() })
}

/// The oldest changes that are kept.
fn oldest(transaction: &Transaction<'_>, limit: usize) -> Result<Vec<(ChangeKey, ChangeRecord)>, StateError> {
    let begin = transaction.get(&FeedBeginKey {})?.unwrap_or_default();
    let after = ChangeKey { index: begin.index, sub: begin.sub };
    read::rows_after::<ChangeKey>(transaction.state(), &[], &after).take(limit).collect()
}

fn drop_change(transaction: &mut Transaction<'_>, key: &ChangeKey, change: &ChangeRecord) -> Result<(), StateError> {
    transaction.delete(key);
    let left = change.from.as_ref();
    if change.superseded
        && let Some(place) = left.or(change.to.as_ref())
    {
        let (parent, name) = (parent_of(place)?, NameThen(place.name.clone()));
        transaction.delete(&HistoryKey { parent, name, until: Descending(change.stamp) });
    }
    let leaves = matches!(change.kind(), ChangeKind::Moved | ChangeKind::Deleted);
    if leaves && let Some(place) = left {
        let gone = GoneKey::new(parent_of(place)?, &place.name);
        // A name that was taken and left again since is gone since a later stamp.
        if transaction.get(&gone)?.is_some_and(|record| record.since == change.stamp) {
            transaction.delete(&gone);
        }
    }
    Ok(())
}

fn parent_of(place: &EntryPlace) -> Result<EntryId, StateError> {
    read::stored_id(&place.parent, "a parent id")
}

/// Takes apart what was deleted for good, folders from the top. The outcome counts the entries; its cursor is empty if none is left to do now.
pub(super) fn reap(transaction: &mut Transaction<'_>, command: &ReapEntries) -> Result<Done, Stop> {
    let rules = prune::rules(command.policy.as_ref())?;
    let horizon = transaction.get(&HistoryHorizonKey {})?.unwrap_or(0);
    // What the feed still tells of may be looked at, and its history rows are dropped by the feed.
    let told = oldest(transaction, 1)?.first().map_or(u64::MAX, |(_, change)| change.stamp);
    let mut room = usize::try_from(command.limit.clamp(1, limits::PRUNED_ROWS_MAX)).unwrap_or(1);
    let is_due = |key: &ReapKey| key.since.0 <= horizon && key.since.0 < told;
    let rows = read::rows::<ReapKey>(transaction.state(), &[], Direction::Forward).take(room);
    let rows = rows.take_while(|row| row.as_ref().map_or(true, |(key, _)| is_due(key)));
    let due = rows.collect::<Result<Vec<(ReapKey, ReapRecord)>, StateError>>()?;
    let mut count = 0;
    for (key, _) in due {
        if room == 0 {
            break;
        }
        let by_id = ByIdKey { entry: key.entry };
        let Some(record) = transaction.get(&by_id)? else {
            transaction.delete(&key);
            continue;
        };
        let done = if record.kind == i32::from(EntryKind::Folder) {
            folder(transaction, &key, &mut room)?
        } else {
            file(transaction, &key, record, &rules, &mut room)?
        };
        if done {
            transaction.delete(&key);
            count += 1;
        }
    }
    // The members that folders let loose are due too.
    let next = read::rows::<ReapKey>(transaction.state(), &[], Direction::Forward).next().transpose()?;
    let more = next.is_some_and(|(key, _)| is_due(&key));
    let cursor = if more { vec![1].into() } else { bytes::Bytes::new() };
    Ok(Done { count, cursor, ..Done::default() })
}

/// Sets the members of a folder loose; when none is left the folder goes. Whether it went.
fn folder(transaction: &mut Transaction<'_>, key: &ReapKey, room: &mut usize) -> Result<bool, Stop> {
    let members = read::rows::<CurrentKey>(transaction.state(), &[&key.entry], Direction::Forward).take(*room);
    for (place, current) in members.collect::<Result<Vec<_>, StateError>>()? {
        let member = Located::linked(key.entry, &place.name.0, current, vec![key.entry])?;
        let weight = tree::weight(transaction, &member)?;
        transaction.delete(&place);
        tree::subtract_from(transaction, key.entry, weight)?;
        let (by_id, mut record) = tree::by_id(transaction, member.entry)?;
        record.unlinked_at = key.since.0;
        tree::leave_bin(transaction, member.entry, &mut record);
        transaction.put(&by_id, &record);
        transaction.put(&ReapKey { since: key.since, entry: member.entry }, &ReapRecord::default());
        *room = room.saturating_sub(1);
    }
    if *room == 0 {
        return Ok(false);
    }
    transaction.delete(&SumsKey { folder: key.entry });
    prune::forget(transaction, key.entry)?;
    *room = room.saturating_sub(1);
    Ok(true)
}

/// Drops the versions of a file that the policy does not keep of a deleted one; the others grow old as any. Whether that is all.
fn file(
    transaction: &mut Transaction<'_>,
    key: &ReapKey,
    mut record: ByIdRecord,
    rules: &crate::state::policy::Rules,
    room: &mut usize,
) -> Result<bool, Stop> {
    let versions = prune::aged(transaction.state(), key.entry, record.unlinked_at)?;
    if !record.reaped {
        // What it weighed as a linked file counts no more.
        let size = versions.iter().max_by_key(|version| version.number).map_or(0, |version| version.size);
        transaction.count(|totals| take(&mut totals.unlinked_bytes, size, "unlinked bytes"))?;
        record.reaped = true;
    }
    let dropped = rules.of_deleted(&versions);
    let now: Vec<u64> = dropped.iter().copied().take(*room).collect();
    prune::drop_versions(transaction, key.entry, &now)?;
    *room = room.saturating_sub(now.len());
    if now.len() == versions.len() {
        prune::leave(transaction, key.entry, &mut record);
        prune::forget(transaction, key.entry)?;
        return Ok(true);
    }
    let is_all = now.len() == dropped.len();
    let due = transaction.stamp();
    prune::wait(transaction, key.entry, &mut record, due);
    transaction.put(&ByIdKey { entry: key.entry }, &record);
    Ok(is_all)
}
