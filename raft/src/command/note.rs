//! What people and programs note at an entry, and its modification time.
//!
//! Invariants: an entry is found by a note's value only while it has that note, and exactly then where the group indexes the namespace (`note_index`); no note
//! outlives its entry; an entry whose by-id record says that it is unnoted has no note.

use skep_placement::chunk::FileHasher;
use skep_placement::ids::EntryId;

use super::{note_index, recycle};
use crate::keys::{ByIdKey, CurrentKey, EntryMetaKey, MetaValueKey, NameRest, NameThen, NoteUserKey, UserNoteKey};
use crate::state::feed::{self, Told};
use crate::state::path::Located;
use crate::state::rejection::{Stop, id, invalid, refuse, text};
use crate::state::transaction::Transaction;
use crate::state::{entry, limits, lock, path, read, tree};
use crate::store::{Direction, StateError};
use crate::wire::meta::v1::{ByIdRecord, Change, ChangeKind, CurrentRecord, Done, EntryMetaRecord, RejectionCode, SetMeta, SetTimes};

/// Writes or deletes a note.
pub(super) fn set(transaction: &mut Transaction<'_>, command: &SetMeta) -> Result<Done, Stop> {
    let located = path::existing(transaction.state(), command.path.as_ref())?;
    text(&command.namespace, "namespace", limits::NAME_BYTES_MAX)?;
    text(&command.json, "note", limits::NOTE_BYTES_MAX)?;
    if command.namespace.is_empty() {
        return Err(invalid("a note needs a namespace"));
    }
    if !command.user.is_empty() {
        return set_own(transaction, &located, command);
    }
    lock::check_change(transaction, &located)?;
    let json = (!command.json.is_empty()).then(|| command.json.clone());
    write(transaction, located.entry, &command.namespace, json)?;
    let is_found = command.searchable || note_index::is_kept_up(transaction, &command.namespace)?;
    if is_found && !command.json.is_empty() {
        transaction.put(&by_value(located.entry, &command.namespace, &command.json), &());
    }
    let changed = if located.is_folder() { located.chain_with_self() } else { located.chain.clone() };
    tree::touch(transaction, &changed)?;
    feed::tell_of(transaction, Told::staying(ChangeKind::Meta, &located, false), &command.namespace);
    let shown = entry::show(transaction.state(), &located, true)?;
    Ok(Done { entry: Some(shown), ..Done::default() })
}

/// Puts a note in the place of the one there was, or takes that away; what was found by its value is no more.
pub(super) fn write(transaction: &mut Transaction<'_>, entry: EntryId, namespace: &str, json: Option<String>) -> Result<(), StateError> {
    let key = EntryMetaKey { entry, namespace: NameRest(namespace.to_owned()) };
    if let Some(was) = transaction.get(&key)? {
        transaction.delete(&by_value(entry, namespace, &was.json));
    }
    match json {
        Some(json) => {
            let author = Some(transaction.actor().clone());
            let changed_at = transaction.stamp();
            transaction.put(&key, &EntryMetaRecord { json, author, changed_at });
            look_from_now_on(transaction, entry)?;
        }
        None => transaction.delete(&key),
    }
    Ok(())
}

/// From its first note on, notes of an entry are looked for.
fn look_from_now_on(transaction: &mut Transaction<'_>, entry: EntryId) -> Result<(), StateError> {
    let key = ByIdKey { entry };
    if let Some(record) = transaction.get(&key)?.filter(|record| record.unnoted) {
        transaction.put(&key, &ByIdRecord { unnoted: false, ..record });
    }
    Ok(())
}

/// The notes of an entry that are everybody's.
fn of_entry(transaction: &Transaction<'_>, entry: EntryId) -> Result<Vec<(EntryMetaKey, EntryMetaRecord)>, StateError> {
    if transaction.get(&ByIdKey { entry })?.is_some_and(|record| record.unnoted) {
        return Ok(Vec::new());
    }
    read::rows::<EntryMetaKey>(transaction.state(), &[&entry], Direction::Forward).collect()
}

/// Gives a copy the notes of an entry that are everybody's, found by their values as those are. What users noted for themselves stays with the entry.
pub(super) fn copy(transaction: &mut Transaction<'_>, source: EntryId, copy: EntryId) -> Result<(), StateError> {
    for (key, mut note) in of_entry(transaction, source)? {
        // Where an entry lay before it was recycled is no matter of its copy.
        if key.namespace.0 == recycle::NOTE {
            continue;
        }
        let is_found = transaction.get(&by_value(source, &key.namespace.0, &note.json))?.is_some();
        if is_found || note_index::is_kept_up(transaction, &key.namespace.0)? {
            transaction.put(&by_value(copy, &key.namespace.0, &note.json), &());
        }
        note.changed_at = transaction.stamp();
        transaction.put(&EntryMetaKey { entry: copy, namespace: key.namespace }, &note);
        look_from_now_on(transaction, copy)?;
    }
    Ok(())
}

/// Writes or deletes what one user alone noted; for others nothing has changed, and they are told nothing.
fn set_own(transaction: &mut Transaction<'_>, located: &Located, command: &SetMeta) -> Result<Done, Stop> {
    let user = id(&command.user, "user id")?;
    let key = UserNoteKey { user, namespace: NameThen(command.namespace.clone()), entry: located.entry };
    let of_entry = NoteUserKey { entry: located.entry, user, namespace: NameRest(command.namespace.clone()) };
    if command.json.is_empty() {
        transaction.delete(&key);
        transaction.delete(&of_entry);
    } else {
        let author = Some(transaction.actor().clone());
        transaction.put(&key, &EntryMetaRecord { json: command.json.clone(), author, changed_at: transaction.stamp() });
        transaction.put(&of_entry, &());
    }
    feed::tell_owner(transaction, Told::staying(ChangeKind::Meta, located, false), &command.namespace, user);
    let shown = entry::show(transaction.state(), located, false)?;
    Ok(Done { entry: Some(shown), ..Done::default() })
}

/// Deletes everything that is noted at an entry.
pub(super) fn forget_all(transaction: &mut Transaction<'_>, entry: EntryId) -> Result<(), StateError> {
    for (key, _) in of_entry(transaction, entry)? {
        write(transaction, entry, &key.namespace.0, None)?;
    }
    let of_users = read::rows::<NoteUserKey>(transaction.state(), &[&entry], Direction::Forward);
    for (key, ()) in of_users.collect::<Result<Vec<_>, StateError>>()? {
        transaction.delete(&UserNoteKey { user: key.user, namespace: NameThen(key.namespace.0.clone()), entry });
        transaction.delete(&key);
    }
    Ok(())
}

/// Where an entry is found by a note's value.
pub(crate) fn by_value(entry: EntryId, namespace: &str, json: &str) -> MetaValueKey {
    let mut hasher = FileHasher::new();
    hasher.update(json.as_bytes());
    let hash = hasher.hash();
    let (first, _) = hash.split_first_chunk::<16>().expect("a hash has 32 bytes");
    MetaValueKey { namespace: NameThen(namespace.to_owned()), hash: *first, entry }
}

/// Sets the modification time.
pub(super) fn set_times(transaction: &mut Transaction<'_>, command: &SetTimes) -> Result<Done, Stop> {
    let mut located = path::existing(transaction.state(), command.path.as_ref())?;
    let Some((parent, name)) = located.place.clone() else {
        return Err(refuse(RejectionCode::Root, "the root of a tree has no time of its own"));
    };
    lock::check_change(transaction, &located)?;
    let superseded = tree::remember(transaction, parent, &name, &located.current, Change::Times);
    let current = CurrentRecord { mtime: command.mtime, changed_at: transaction.stamp(), ..located.current };
    transaction.put(&CurrentKey::new(parent, &name), &current);
    located.current = current;
    let changed = if located.is_folder() { located.chain_with_self() } else { located.chain.clone() };
    tree::touch(transaction, &changed)?;
    feed::tell(transaction, Told::staying(ChangeKind::Times, &located, superseded));
    let shown = entry::show(transaction.state(), &located, false)?;
    Ok(Done { entry: Some(shown), ..Done::default() })
}
