//! What people and programs note at an entry, and its modification time.

use crate::keys::{CurrentKey, EntryMetaKey, NameRest};
use crate::state::rejection::{Stop, invalid, refuse, text};
use crate::state::transaction::Transaction;
use crate::state::{entry, limits, path, tree};
use crate::wire::meta::v1::{Change, CurrentRecord, Done, EntryMetaRecord, RejectionCode, SetMeta, SetTimes};

/// Writes or deletes a note.
pub(super) fn set(transaction: &mut Transaction<'_>, command: &SetMeta) -> Result<Done, Stop> {
    let located = path::existing(transaction.state(), command.path.as_ref())?;
    text(&command.namespace, "namespace", limits::NAME_BYTES_MAX)?;
    text(&command.json, "note", limits::NOTE_BYTES_MAX)?;
    if command.namespace.is_empty() {
        return Err(invalid("a note needs a namespace"));
    }
    let key = EntryMetaKey { entry: located.entry, namespace: NameRest(command.namespace.clone()) };
    if command.json.is_empty() {
        transaction.delete(&key);
    } else {
        let author = Some(transaction.actor().clone());
        transaction.put(&key, &EntryMetaRecord { json: command.json.clone(), author, changed_at: transaction.stamp() });
    }
    let changed = if located.is_folder() { located.chain_with_self() } else { located.chain.clone() };
    tree::touch(transaction, &changed)?;
    let shown = entry::show(transaction.state(), &located, true)?;
    Ok(Done { entry: Some(shown), ..Done::default() })
}

/// Sets the modification time.
pub(super) fn set_times(transaction: &mut Transaction<'_>, command: &SetTimes) -> Result<Done, Stop> {
    let mut located = path::existing(transaction.state(), command.path.as_ref())?;
    let Some((parent, name)) = located.place.clone() else {
        return Err(refuse(RejectionCode::Root, "the root of a tree has no time of its own"));
    };
    tree::remember(transaction, parent, &name, &located.current, Change::Times);
    let current = CurrentRecord { mtime: command.mtime, changed_at: transaction.stamp(), ..located.current };
    transaction.put(&CurrentKey::new(parent, &name), &current);
    located.current = current;
    let changed = if located.is_folder() { located.chain_with_self() } else { located.chain.clone() };
    tree::touch(transaction, &changed)?;
    let shown = entry::show(transaction.state(), &located, false)?;
    Ok(Done { entry: Some(shown), ..Done::default() })
}
