//! Deleting: into the recycle bin, or for good.

use skep_placement::ids::EntryId;

use super::recycle::{self, Bin, Recycled};
use crate::keys::CurrentKey;
use crate::state::rejection::{Stop, refuse, text};
use crate::state::transaction::Transaction;
use crate::state::{entry, limits, lock, path, precondition, read, tree};
use crate::store::Direction;
use crate::wire::meta::v1::{Change, DeleteEntry, Done, RejectionCode};

/// Deletes an entry with all that lies below it, in one step.
pub(super) fn apply(transaction: &mut Transaction<'_>, command: &DeleteEntry) -> Result<Done, Stop> {
    let located = path::existing(transaction.state(), command.path.as_ref())?;
    if located.entry == EntryId::ROOT {
        return Err(refuse(RejectionCode::Root, "the root of a tree cannot be deleted"));
    }
    precondition::check(transaction, command.condition.as_ref(), Some(&located), None)?;
    lock::check_removal(transaction, &located)?;
    text(&command.recycle_note_json, "note about the old place", limits::NOTE_BYTES_MAX)?;
    if command.recursive_forbidden && located.is_folder() {
        let first = read::rows::<CurrentKey>(transaction.state(), &[&located.entry], Direction::Forward).next().transpose()?;
        if first.is_some() {
            return Err(refuse(RejectionCode::NotEmpty, "the folder is not empty"));
        }
    }
    let as_it_was = Done { entry: Some(entry::show(transaction.state(), &located, false)?), ..Done::default() };
    if command.permanently {
        tree::discard(transaction, &located, Change::Deleted)?;
        return Ok(as_it_was);
    }
    let bin = Bin { root: command.recycle_root.as_ref(), id: &command.bin };
    match recycle::recycle(transaction, &located, &bin, &command.recycle_note_json, Change::Deleted)? {
        Recycled::Discarded => Ok(as_it_was),
        Recycled::Moved(moved) => {
            let shown = entry::show(transaction.state(), &moved, false)?;
            Ok(Done { entry: Some(shown), final_path: recycle::path_in_bin(&moved), ..Done::default() })
        }
    }
}
