//! Has the notes of a namespace found by their values that were noted before it became indexable.
//!
//! Invariants: from the first step of a walk on each new note of the namespace is indexed with its writing, wherever the walk is; a namespace is complete only
//! if a walk that began after that has come to the end of all notes.

use std::collections::BTreeSet;

use super::note::by_value;
use crate::keys::{EntryMetaKey, NameRest, NoteIndexKey, StateKey};
use crate::state::rejection::{Stop, invalid};
use crate::state::transaction::Transaction;
use crate::state::{limits, read};
use crate::store::{Direction, StateError};
use crate::wire::meta::v1::{Done, EntryMetaRecord, IndexNotes, NoteIndexRecord};

/// Namespaces that one command may name: those that can be defined, and those of the program.
const NAMESPACES_MAX: usize = limits::NAMESPACES_MAX + 64;

/// Takes a step of the walk. The outcome counts the notes that were not found before, and has the stamp at which the walk began; its cursor is empty at the end.
pub(super) fn step(transaction: &mut Transaction<'_>, command: &IndexNotes) -> Result<Done, Stop> {
    if command.namespaces.len() > NAMESPACES_MAX {
        return Err(invalid(format!("{} namespaces, more than the {NAMESPACES_MAX} that there can be", command.namespaces.len())));
    }
    let limit = usize::try_from(command.limit.clamp(1, limits::PRUNED_ROWS_MAX)).unwrap_or(1);
    let begun = if command.after.is_empty() { begin(transaction, &command.namespaces)? } else { command.begun };
    let incomplete = incomplete(transaction, &command.namespaces)?;
    let rows = if incomplete.is_empty() { Vec::new() } else { notes(transaction, &command.after, limit)? };
    let mut count = 0;
    for (key, note) in rows.iter().filter(|(key, _)| incomplete.contains(&key.namespace.0)) {
        let found = by_value(key.entry, &key.namespace.0, &note.json);
        if transaction.get(&found)?.is_none() {
            transaction.put(&found, &());
            count += 1;
        }
    }
    let done = Done { count, number: begun, ..Done::default() };
    if let Some((last, _)) = rows.last().filter(|_| rows.len() == limit) {
        return Ok(Done { cursor: last.to_bytes(), ..done });
    }
    for namespace in incomplete {
        let key = NoteIndexKey { namespace: NameRest(namespace) };
        let record = read::expect(transaction.state(), &key)?;
        // Another walk, with other namespaces, may have begun in between.
        if record.since <= begun {
            transaction.put(&key, &NoteIndexRecord { complete: true, ..record });
        }
    }
    Ok(done)
}

/// Has each note of these namespaces indexed from now on, and of no others. Gives the stamp.
fn begin(transaction: &mut Transaction<'_>, namespaces: &[String]) -> Result<u64, StateError> {
    let stamp = transaction.stamp();
    let there = read::rows::<NoteIndexKey>(transaction.state(), &[], Direction::Forward).collect::<Result<Vec<_>, StateError>>()?;
    for (key, _) in there.iter().filter(|(key, _)| !namespaces.contains(&key.namespace.0)) {
        transaction.delete(key);
    }
    let known: BTreeSet<&String> = there.iter().map(|(key, _)| &key.namespace.0).collect();
    for namespace in namespaces.iter().filter(|namespace| !known.contains(namespace)) {
        let key = NoteIndexKey { namespace: NameRest(namespace.clone()) };
        transaction.put(&key, &NoteIndexRecord { since: stamp, complete: false });
    }
    Ok(stamp)
}

fn incomplete(transaction: &Transaction<'_>, namespaces: &[String]) -> Result<BTreeSet<String>, StateError> {
    let rows = read::rows::<NoteIndexKey>(transaction.state(), &[], Direction::Forward).collect::<Result<Vec<_>, StateError>>()?;
    let rows = rows.into_iter().filter(|(_, record)| !record.complete);
    Ok(rows.map(|(key, _)| key.namespace.0).filter(|namespace| namespaces.contains(namespace)).collect())
}

fn notes(transaction: &Transaction<'_>, after: &[u8], limit: usize) -> Result<Vec<(EntryMetaKey, EntryMetaRecord)>, Stop> {
    let state = transaction.state();
    if after.is_empty() {
        return Ok(read::rows::<EntryMetaKey>(state, &[], Direction::Forward).take(limit).collect::<Result<_, _>>()?);
    }
    let after = EntryMetaKey::from_bytes(after).map_err(|_not_one| invalid("the cursor is no place among the notes"))?;
    Ok(read::rows_after::<EntryMetaKey>(state, &[], &after).take(limit).collect::<Result<_, _>>()?)
}

/// Whether each note of a namespace is indexed with its writing.
pub(super) fn is_kept_up(transaction: &Transaction<'_>, namespace: &str) -> Result<bool, StateError> {
    Ok(transaction.get(&NoteIndexKey { namespace: NameRest(namespace.to_owned()) })?.is_some())
}
