//! What people and programs note at an entry, and its modification time.

use skep_placement::chunk::FileHasher;
use skep_placement::ids::EntryId;

use crate::keys::{CurrentKey, EntryMetaKey, MetaValueKey, NameRest, NameThen, UserNoteKey};
use crate::state::feed::{self, Told};
use crate::state::path::Located;
use crate::state::rejection::{Stop, id, invalid, refuse, text};
use crate::state::transaction::Transaction;
use crate::state::{entry, limits, lock, path, read, tree};
use crate::store::{Direction, StateError};
use crate::wire::meta::v1::{Change, ChangeKind, CurrentRecord, Done, EntryMetaRecord, RejectionCode, SetMeta, SetTimes};

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
    let key = EntryMetaKey { entry: located.entry, namespace: NameRest(command.namespace.clone()) };
    if let Some(was) = transaction.get(&key)? {
        transaction.delete(&by_value(located.entry, &command.namespace, &was.json));
    }
    if command.json.is_empty() {
        transaction.delete(&key);
    } else {
        let author = Some(transaction.actor().clone());
        transaction.put(&key, &EntryMetaRecord { json: command.json.clone(), author, changed_at: transaction.stamp() });
        if command.searchable {
            transaction.put(&by_value(located.entry, &command.namespace, &command.json), &());
        }
    }
    let changed = if located.is_folder() { located.chain_with_self() } else { located.chain.clone() };
    tree::touch(transaction, &changed)?;
    feed::tell_of(transaction, Told::staying(ChangeKind::Meta, &located, false), &command.namespace);
    let shown = entry::show(transaction.state(), &located, true)?;
    Ok(Done { entry: Some(shown), ..Done::default() })
}

/// Writes or deletes what one user alone noted; for others nothing has changed.
fn set_own(transaction: &mut Transaction<'_>, located: &Located, command: &SetMeta) -> Result<Done, Stop> {
    let user = id(&command.user, "user id")?;
    let key = UserNoteKey { user, namespace: NameThen(command.namespace.clone()), entry: located.entry };
    if command.json.is_empty() {
        transaction.delete(&key);
    } else {
        let author = Some(transaction.actor().clone());
        transaction.put(&key, &EntryMetaRecord { json: command.json.clone(), author, changed_at: transaction.stamp() });
    }
    let shown = entry::show(transaction.state(), located, false)?;
    Ok(Done { entry: Some(shown), ..Done::default() })
}

/// Deletes everything that is noted at an entry for everybody.
pub(super) fn forget_all(transaction: &mut Transaction<'_>, entry: EntryId) -> Result<(), StateError> {
    let notes = read::rows::<EntryMetaKey>(transaction.state(), &[&entry], Direction::Forward);
    for (key, note) in notes.collect::<Result<Vec<_>, StateError>>()? {
        transaction.delete(&by_value(entry, &key.namespace.0, &note.json));
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
