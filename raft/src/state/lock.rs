//! Locks as changes meet them: which cover an entry, whether the caller passes them, and that they go with what they were taken on.
//!
//! Invariants:
//! - A lock whose end is not after the stamp counts for nothing, whether it was swept or not.
//! - Nothing that a live lock covers is changed unless its owner asks: with its token, or without one if it is a content lock. A lock covers its entry, a
//!   deep one all below it; a name in a folder is covered by the locks of the folder too. Recycle bins take what is deleted, whoever locked them.
//! - A fence is given once. Who relies on one is refused from the stamp on at which its lock ends, also if nobody took another.
//! - A locked entry and the folders above it stay where they are: who moves or deletes one of them removes the lock. So its chain never changes.
//!
//! Source: RFC 4918, sections 6 and 7.

use std::collections::BTreeSet;

use skep_placement::ids::{EntryId, Stamp};

use crate::keys::{ByIdKey, LockBelowKey, LockExpiryKey, LockKey};
use crate::state::feed::{self, Told};
use crate::state::path::Located;
use crate::state::read;
use crate::state::rejection::{Stop, refuse};
use crate::state::transaction::{Transaction, take};
use crate::store::{Direction, ReadState, StateError};
use crate::wire::meta::v1::command::What;
use crate::wire::meta::v1::{Actor, ChangeKind, Command, LockKind, LockRecord, RejectionCode};

/// A lock and what it was taken on.
pub(crate) type Held = (LockKey, LockRecord);

/// Refuses a change of what an entry holds: its content, notes, time, versions.
pub(crate) fn check_change(transaction: &mut Transaction<'_>, located: &Located) -> Result<(), Stop> {
    let Some(mut covering) = deep_above(transaction, &located.chain)? else { return Ok(()) };
    covering.extend(on(transaction.state(), located.entry)?);
    pass(transaction, &covering)
}

/// Refuses a new name in a folder.
pub(crate) fn check_new_member(transaction: &mut Transaction<'_>, folder: &Located) -> Result<(), Stop> {
    let Some(mut covering) = deep_above(transaction, &folder.chain)? else { return Ok(()) };
    covering.extend(on(transaction.state(), folder.entry)?);
    pass(transaction, &covering)
}

/// Refuses taking an entry, with all below it, from its name.
pub(crate) fn check_removal(transaction: &mut Transaction<'_>, located: &Located) -> Result<(), Stop> {
    let Some(mut covering) = deep_above(transaction, &located.chain)? else { return Ok(()) };
    if let Some((parent, _)) = &located.place {
        covering.extend(on(transaction.state(), *parent)?.into_iter().filter(|(_, lock)| !lock.deep));
    }
    covering.extend(on(transaction.state(), located.entry)?);
    covering.extend(below(transaction.state(), located)?);
    pass(transaction, &covering)
}

/// Refuses a command that relied on a lock and changed nothing which that lock covers.
pub(crate) fn check_fence_met(transaction: &Transaction<'_>, command: &Command) -> Result<(), Stop> {
    let relies = transaction.fence() != 0 && matches!(command.what, Some(What::Tree(_)));
    if relies && !transaction.fence_is_met() { Err(lost(transaction.fence())) } else { Ok(()) }
}

/// Refuses unless the lock with this fence is the caller's still, on the entry or deep above it; of a name that nothing has, on the folder.
pub(crate) fn check_fence(
    transaction: &Transaction<'_>,
    fence: u64,
    existing: Option<&Located>,
    folder: Option<&Located>,
) -> Result<(), Stop> {
    let Some(covered) = existing.or(folder) else { return Err(lost(fence)) };
    let mut covering = deep_above(transaction, &covered.chain)?.unwrap_or_default();
    covering.extend(on(transaction.state(), covered.entry)?);
    let is_it = |(_, lock): &Held| lock.fence == fence && is_live(lock, transaction.stamp()) && is_owner(lock, transaction.actor());
    if covering.iter().any(is_it) { Ok(()) } else { Err(lost(fence)) }
}

/// The live locks whose scope an entry is in: its own, and deep ones above.
pub(crate) fn in_scope(state: &dyn ReadState, located: &Located, stamp: u64) -> Result<Vec<Held>, StateError> {
    let mut locks = Vec::new();
    for folder in &located.chain {
        locks.extend(on(state, *folder)?.into_iter().filter(|(_, lock)| lock.deep));
    }
    locks.extend(on(state, located.entry)?);
    locks.retain(|(_, lock)| is_live(lock, stamp));
    Ok(locks)
}

/// All locks taken on an entry.
pub(crate) fn on(state: &dyn ReadState, entry: EntryId) -> Result<Vec<Held>, StateError> {
    read::rows::<LockKey>(state, &[&entry], Direction::Forward).collect()
}

/// All locks taken on what lies below a folder.
pub(crate) fn below(state: &dyn ReadState, located: &Located) -> Result<Vec<Held>, StateError> {
    if !located.is_folder() {
        return Ok(Vec::new());
    }
    let keys = read::rows::<LockBelowKey>(state, &[&located.entry], Direction::Forward);
    let held = keys.map(|row| {
        let (below, ()) = row?;
        let key = LockKey { entry: below.entry, token: below.token };
        let record = read::expect(state, &key)?;
        Ok((key, record))
    });
    held.collect()
}

pub(crate) fn is_live(lock: &LockRecord, stamp: u64) -> bool {
    lock.expires_at > stamp
}

/// Whoever is no user, as a shell on a node, is known by the name it gave.
pub(crate) fn is_owner(lock: &LockRecord, actor: &Actor) -> bool {
    let Some(owner) = &lock.owner else { return false };
    owner.user == actor.user && (!owner.user.is_empty() || owner.login == actor.login)
}

/// Writes a lock; what it replaces is the caller's to delete before.
pub(crate) fn put(transaction: &mut Transaction<'_>, key: &LockKey, lock: &LockRecord) -> Result<(), StateError> {
    transaction.put(key, lock);
    transaction.put(&expiry(key, lock), &());
    for folder in chain(lock)? {
        transaction.put(&LockBelowKey { folder, entry: key.entry, token: key.token }, &());
    }
    transaction.count(|totals| {
        totals.locks += 1;
        Ok(())
    })
}

/// Deletes a lock.
pub(crate) fn delete(transaction: &mut Transaction<'_>, key: &LockKey, lock: &LockRecord) -> Result<(), StateError> {
    transaction.delete(key);
    transaction.delete(&expiry(key, lock));
    for folder in chain(lock)? {
        transaction.delete(&LockBelowKey { folder, entry: key.entry, token: key.token });
    }
    transaction.count(|totals| take(&mut totals.locks, 1, "locks"))
}

/// Deletes the locks of an entry and of all below it, which is about to leave its place.
pub(crate) fn delete_within(transaction: &mut Transaction<'_>, located: &Located) -> Result<(), StateError> {
    if transaction.totals().locks == 0 {
        return Ok(());
    }
    let mut gone = on(transaction.state(), located.entry)?;
    gone.extend(below(transaction.state(), located)?);
    for (key, lock) in &gone {
        delete(transaction, key, lock)?;
    }
    Ok(())
}

/// Tells of a lock that people see at its entry.
pub(crate) fn tell(transaction: &mut Transaction<'_>, located: &Located, lock: &LockRecord) {
    if lock.kind() == LockKind::Content {
        feed::tell(transaction, Told::staying(ChangeKind::Lock, located, false));
    }
}

pub(crate) fn expiry(key: &LockKey, lock: &LockRecord) -> LockExpiryKey {
    LockExpiryKey { expires_at: Stamp(lock.expires_at), entry: key.entry, token: key.token }
}

/// The folders above a lock's entry.
pub(crate) fn chain(lock: &LockRecord) -> Result<Vec<EntryId>, StateError> {
    lock.chain.iter().map(|folder| read::stored_id(folder, "a folder above a lock")).collect()
}

/// Who holds a lock, of what kind, on what and until when. Never its token.
pub(crate) fn described(state: &dyn ReadState, (key, lock): &Held) -> Result<String, StateError> {
    let name = read::get(state, &ByIdKey { entry: key.entry })?.map(|record| record.name).unwrap_or_default();
    let who = lock.owner.as_ref().map_or("", |owner| owner.login.as_str());
    let scope = match (lock.kind(), lock.shared) {
        (LockKind::Content, _) => "a content lock",
        (LockKind::Webdav | LockKind::Unspecified, true) => "a shared lock",
        (LockKind::Webdav | LockKind::Unspecified, false) => "an exclusive lock",
    };
    let deep = if lock.deep { " and all below it" } else { "" };
    Ok(format!("{who} holds {scope} on {name:?}{deep} until {}", utc(lock.expires_at / 1_000_000)))
}

/// A time in seconds since the Unix epoch as RFC 3339. Source: the civil calendar by days of 400-year eras, which begin in March.
fn utc(seconds: u64) -> String {
    let (day, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{date:02}T{:02}:{:02}:{:02}Z", second / 3_600, second / 60 % 60, second % 60)
}

/// The refusal of a caller that relied on a lock.
pub(crate) fn lost(fence: u64) -> Stop {
    refuse(RejectionCode::LockLost, format!("the lock with the fence {fence} is over, another's, or not on what was to be changed"))
}

/// Deep locks above; nothing if the group has no lock and nobody relies on one, which is what nearly every change finds.
fn deep_above(transaction: &Transaction<'_>, folders: &[EntryId]) -> Result<Option<Vec<Held>>, StateError> {
    if transaction.totals().locks == 0 {
        return Ok(None);
    }
    let mut covering = Vec::new();
    for folder in folders {
        covering.extend(on(transaction.state(), *folder)?.into_iter().filter(|(_, lock)| lock.deep));
    }
    Ok(Some(covering))
}

/// Refuses unless the caller passes every live lock; of shared ones on the same entry one is enough.
fn pass(transaction: &mut Transaction<'_>, covering: &[Held]) -> Result<(), Stop> {
    let stamp = transaction.stamp();
    let live: Vec<&Held> = covering.iter().filter(|(_, lock)| is_live(lock, stamp)).collect();
    let passes = |(key, lock): &Held| {
        let submitted = lock.kind() == LockKind::Content || transaction.lock_tokens().iter().any(|token| token.as_ref() == key.token);
        submitted && is_owner(lock, transaction.actor())
    };
    let shared_with: BTreeSet<EntryId> = live.iter().filter(|held| held.1.shared && passes(held)).map(|(key, _)| key.entry).collect();
    let blocks = |held: &&&Held| if held.1.shared { !shared_with.contains(&held.0.entry) } else { !passes(held) };
    let blocked = live.iter().find(blocks);
    if let Some(held) = blocked {
        return Err(refuse(RejectionCode::Locked, described(transaction.state(), held)?));
    }
    let fence = transaction.fence();
    if fence != 0 && live.iter().any(|(_, lock)| lock.fence == fence && is_owner(lock, transaction.actor())) {
        transaction.meet_fence();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::utc;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, shown) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_078_012_800, "2004-02-29T00:00:00Z"),
            (1_751_000_000, "2025-06-27T04:53:20Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(seconds), shown);
        }
    }
}
