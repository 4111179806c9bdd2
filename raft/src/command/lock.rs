//! Locks: taking, refreshing, giving back, and what becomes of those whose time is over.
//!
//! Invariants: no two live locks of which one is exclusive cover the same entry, except a user's own content lock beside the lock of a program that works
//! for the same user; each lock taken has a fence of its own, greater than all before; what has ended never comes to life again.

use skep_placement::chunk::FileHasher;
use skep_placement::ids::EntryId;

use super::put_file;
use crate::keys::{Counter, LockExpiryKey, LockKey};
use crate::state::lock::{self, Held, is_live, is_owner};
use crate::state::path::{self, Located};
use crate::state::rejection::{Stop, id, invalid, refuse, text};
use crate::state::transaction::Transaction;
use crate::state::tree::bytes_of;
use crate::state::{entry, limits, precondition, read};
use crate::store::{Direction, StateError};
use crate::wire::meta::v1::{
    Done, EntryPath, ExpireLocks, LockKind, LockRecord, NewContent, PutFile, RefreshLock, RejectionCode, RemoveLock, SetLock, new_content,
};

/// Takes a lock. On a name that nothing has it makes an empty file, if the command has ids for one.
pub(super) fn set(transaction: &mut Transaction<'_>, command: &SetLock) -> Result<Done, Stop> {
    check_form(transaction, command)?;
    let token: [u8; 16] = id(&command.token, "lock token")?;
    let found = path::find(transaction.state(), command.path.as_ref())?;
    precondition::check(transaction, command.condition.as_ref(), found.as_ref(), None)?;
    let (located, created) = match found {
        Some(located) => (located, false),
        None if command.entry.is_empty() => (path::existing(transaction.state(), command.path.as_ref())?, false),
        None => (make_file(transaction, command)?, true),
    };
    if located.place.is_none() {
        return Err(refuse(RejectionCode::Root, "the root of a tree cannot be locked: lock a folder in it"));
    }
    let key = LockKey { entry: located.entry, token };
    let here = live_on(transaction, &located)?;
    if let Some(same) = same_lock(transaction, &here, &key, command)? {
        // Asked for again it ends later, never earlier.
        let later = transaction.stamp_in(command.lifetime_seconds) > same.1.expires_at;
        let lock = if later { end_after(transaction, same, command.lifetime_seconds) } else { same.1 };
        return done(transaction, &located, lock, created);
    }
    if let Some(held) = conflict(transaction, &located, command)? {
        return Err(refuse(RejectionCode::Locked, lock::described(transaction.state(), &held)?));
    }
    if here.len() >= limits::LOCKS_PER_ENTRY_MAX {
        let detail = format!("{} locks on one entry are as many as there can be", here.len());
        return Err(refuse(RejectionCode::LimitReached, detail));
    }
    if transaction.totals().locks >= limit() {
        sweep(transaction, limits::PAGE_MAX)?;
        let locks = transaction.totals().locks;
        if locks >= limit() {
            let detail = format!("the datasource has {locks} locks, its limit: give locks back that are not needed");
            return Err(refuse(RejectionCode::LimitReached, detail));
        }
    }
    let lock = LockRecord {
        token: command.token.clone(),
        owner: Some(transaction.actor().clone()),
        fence: transaction.next(Counter::Fence)?,
        taken_at: transaction.stamp(),
        expires_at: transaction.stamp_in(command.lifetime_seconds),
        shared: command.shared,
        deep: command.deep,
        owner_xml: command.owner_xml.clone(),
        kind: command.kind,
        lifetime_seconds: command.lifetime_seconds,
        chain: located.chain.iter().map(|folder| bytes_of(*folder)).collect(),
    };
    lock::put(transaction, &key, &lock)?;
    lock::tell(transaction, &located, &lock);
    done(transaction, &located, lock, created)
}

fn check_form(transaction: &Transaction<'_>, command: &SetLock) -> Result<(), Stop> {
    text(&command.owner_xml, "owner of the lock", limits::TEXT_BYTES_MAX)?;
    check_lifetime(command.lifetime_seconds)?;
    let actor = transaction.actor();
    if actor.user.is_empty() && actor.login.is_empty() {
        return Err(invalid("a lock has an owner"));
    }
    match command.kind() {
        LockKind::Webdav => Ok(()),
        LockKind::Content if command.shared || command.deep => Err(invalid("a content lock is exclusive and of one entry")),
        LockKind::Content => Ok(()),
        LockKind::Unspecified => Err(invalid("the lock is of no kind")),
    }
}

fn check_lifetime(seconds: u64) -> Result<(), Stop> {
    if (1..=limits::LOCK_SECONDS_MAX).contains(&seconds) {
        return Ok(());
    }
    Err(invalid(format!("a lock of {seconds} seconds; it has 1 to {}", limits::LOCK_SECONDS_MAX)))
}

fn limit() -> u64 {
    u64::try_from(limits::LOCKS_MAX).unwrap_or(u64::MAX)
}

/// Source: RFC 4918, section 7.3.
fn make_file(transaction: &mut Transaction<'_>, command: &SetLock) -> Result<Located, Stop> {
    let put = PutFile {
        path: command.path.clone(),
        entry: command.entry.clone(),
        version: command.version.clone(),
        blake3: FileHasher::new().hash().to_vec().into(),
        content: Some(NewContent { from: Some(new_content::From::Inlined(bytes::Bytes::new())), key_version: 0 }),
        ..PutFile::default()
    };
    put_file::put(transaction, &put)?;
    path::existing(transaction.state(), command.path.as_ref())
}

/// The live locks on an entry; the others are removed.
fn live_on(transaction: &mut Transaction<'_>, located: &Located) -> Result<Vec<Held>, StateError> {
    let stamp = transaction.stamp();
    let (live, over): (Vec<Held>, Vec<Held>) =
        lock::on(transaction.state(), located.entry)?.into_iter().partition(|(_, lock)| is_live(lock, stamp));
    for (key, lock) in &over {
        lock::delete(transaction, key, lock)?;
        lock::tell(transaction, located, lock);
    }
    Ok(live)
}

/// The live lock that the command asks for a second time: of the same token, or the caller's content lock.
fn same_lock(transaction: &Transaction<'_>, here: &[Held], key: &LockKey, command: &SetLock) -> Result<Option<Held>, Stop> {
    if let Some(held) = here.iter().find(|held| held.0.token == key.token) {
        let same = |lock: &LockRecord| (lock.shared, lock.deep, lock.kind) == (command.shared, command.deep, command.kind);
        if !is_owner(&held.1, transaction.actor()) {
            return Err(refuse(RejectionCode::Locked, lock::described(transaction.state(), held)?));
        }
        return if same(&held.1) { Ok(Some(held.clone())) } else { Err(invalid("this token is of a lock of another kind")) };
    }
    let own = |(_, lock): &&Held| lock.kind() == LockKind::Content && is_owner(lock, transaction.actor());
    Ok(here.iter().find(own).filter(|_| command.kind() == LockKind::Content).cloned())
}

/// A live lock that the new one cannot stand beside.
fn conflict(transaction: &Transaction<'_>, located: &Located, command: &SetLock) -> Result<Option<Held>, StateError> {
    if transaction.totals().locks == 0 {
        return Ok(None);
    }
    let stamp = transaction.stamp();
    let mut others = lock::in_scope(transaction.state(), located, stamp)?;
    if command.deep {
        others.extend(lock::below(transaction.state(), located)?.into_iter().filter(|(_, lock)| is_live(lock, stamp)));
    }
    let stands = |lock: &LockRecord| {
        let both_shared = lock.shared && command.shared;
        let other_kind = (lock.kind() == LockKind::Content) != (command.kind() == LockKind::Content);
        both_shared || (other_kind && is_owner(lock, transaction.actor()))
    };
    Ok(others.into_iter().find(|(_, lock)| !stands(lock)))
}

/// Sets anew when a live lock ends.
fn end_after(transaction: &mut Transaction<'_>, (key, mut lock): Held, seconds: u64) -> LockRecord {
    transaction.delete(&lock::expiry(&key, &lock));
    lock.expires_at = transaction.stamp_in(seconds);
    lock.lifetime_seconds = seconds;
    transaction.put(&key, &lock);
    transaction.put(&lock::expiry(&key, &lock), &());
    lock
}

/// Lets the time of a live lock of the caller begin anew. The path is any in the lock's scope.
pub(super) fn refresh(transaction: &mut Transaction<'_>, command: &RefreshLock) -> Result<Done, Stop> {
    check_lifetime(command.lifetime_seconds)?;
    let (located, held) = by_token(transaction, command.path.as_ref(), &command.token)?;
    if !is_owner(&held.1, transaction.actor()) {
        return Err(refuse(RejectionCode::LockLost, "a lock is refreshed by who holds it only"));
    }
    let lock = end_after(transaction, held, command.lifetime_seconds);
    done(transaction, &located, lock, false)
}

/// Gives a lock back, or breaks it.
pub(super) fn remove(transaction: &mut Transaction<'_>, command: &RemoveLock) -> Result<Done, Stop> {
    if !command.token.is_empty() {
        let (located, held) = by_token(transaction, command.path.as_ref(), &command.token)?;
        if !command.anybodys && !is_owner(&held.1, transaction.actor()) {
            return Err(refuse(RejectionCode::Forbidden, lock::described(transaction.state(), &held)?));
        }
        return give_back(transaction, &located, &[held]);
    }
    let located = path::existing(transaction.state(), command.path.as_ref())?;
    let kind = command.kind();
    if kind == LockKind::Unspecified && !command.anybodys {
        return Err(invalid("the lock to give back is named by no token and no kind"));
    }
    let stamp = transaction.stamp();
    let mut held = lock::on(transaction.state(), located.entry)?;
    held.retain(|(_, lock)| is_live(lock, stamp) && (kind == LockKind::Unspecified || lock.kind() == kind));
    if !command.anybodys {
        let others = held.iter().find(|(_, lock)| !is_owner(lock, transaction.actor()));
        if let Some(other) = others.filter(|_| held.iter().all(|(_, lock)| !is_owner(lock, transaction.actor()))) {
            return Err(refuse(RejectionCode::Locked, lock::described(transaction.state(), other)?));
        }
        held.retain(|(_, lock)| is_owner(lock, transaction.actor()));
    }
    give_back(transaction, &located, &held)
}

fn give_back(transaction: &mut Transaction<'_>, located: &Located, held: &[Held]) -> Result<Done, Stop> {
    for (key, lock) in held {
        lock::delete(transaction, key, lock)?;
        lock::tell(transaction, located, lock);
    }
    let shown = entry::show(transaction.state(), located, false)?;
    Ok(Done { entry: Some(shown), count: u64::try_from(held.len()).unwrap_or(u64::MAX), ..Done::default() })
}

/// The live lock of a token in whose scope a path is.
fn by_token(transaction: &Transaction<'_>, path: Option<&EntryPath>, token: &[u8]) -> Result<(Located, Held), Stop> {
    let token: [u8; 16] = id(token, "lock token")?;
    let located = path::existing(transaction.state(), path)?;
    let held = lock::in_scope(transaction.state(), &located, transaction.stamp())?.into_iter().find(|(key, _)| key.token == token);
    let held = held.ok_or_else(|| refuse(RejectionCode::LockLost, "no lock with this token covers it now: it has ended, or was broken"))?;
    let located = if held.0.entry == located.entry { located } else { of_lock(transaction, held.0.entry)? };
    Ok((located, held))
}

fn of_lock(transaction: &Transaction<'_>, entry: EntryId) -> Result<Located, StateError> {
    path::locate(transaction.state(), entry)?.ok_or_else(|| StateError::corrupt(format!("a lock on {entry}, which hangs nowhere")))
}

/// Removes locks whose time is over. The outcome's cursor is empty if none is left.
pub(super) fn expire(transaction: &mut Transaction<'_>, command: &ExpireLocks) -> Result<Done, Stop> {
    let limit = usize::try_from(command.limit).unwrap_or(usize::MAX).clamp(1, limits::PAGE_MAX);
    let count = sweep(transaction, limit)?;
    let cursor = if count == limit { vec![1].into() } else { bytes::Bytes::new() };
    Ok(Done { count: u64::try_from(count).unwrap_or(u64::MAX), cursor, ..Done::default() })
}

fn sweep(transaction: &mut Transaction<'_>, limit: usize) -> Result<usize, StateError> {
    let stamp = transaction.stamp();
    let rows = read::rows::<LockExpiryKey>(transaction.state(), &[], Direction::Forward).take(limit);
    let rows = rows.take_while(|row| row.as_ref().map_or(true, |(key, ())| key.expires_at.0 <= stamp));
    let over = rows.map(|row| row.map(|(key, ())| key)).collect::<Result<Vec<LockExpiryKey>, StateError>>()?;
    for row in &over {
        let key = LockKey { entry: row.entry, token: row.token };
        let lock = read::expect(transaction.state(), &key)?;
        lock::delete(transaction, &key, &lock)?;
        if lock.kind() == LockKind::Content {
            let located = of_lock(transaction, row.entry)?;
            lock::tell(transaction, &located, &lock);
        }
    }
    Ok(over.len())
}

fn done(transaction: &Transaction<'_>, located: &Located, lock: LockRecord, created: bool) -> Result<Done, Stop> {
    let shown = entry::show(transaction.state(), located, false)?;
    Ok(Done { entry: Some(shown), created, lock: Some(LockRecord { chain: Vec::new(), ..lock }), ..Done::default() })
}
