//! Renaming and moving, in one step for a folder of any size.
//!
//! Invariant: nothing is ever moved below itself, so the tree stays a tree.

use skep_placement::ids::EntryId;

use super::note;
use super::recycle::{self, Bin};
use crate::state::feed::{self, Told};
use crate::state::path::{self, Located};
use crate::state::rejection::{Stop, id, refuse, text};
use crate::state::transaction::Transaction;
use crate::state::tree::{self, Parents, Target};
use crate::state::{entry, limits, lock, precondition};
use crate::wire::meta::v1::{Change, ChangeKind, Done, MoveEntry, RejectionCode};

/// Moves an entry to a path.
pub(super) fn apply(transaction: &mut Transaction<'_>, command: &MoveEntry) -> Result<Done, Stop> {
    let source = path::existing(transaction.state(), command.from.as_ref())?;
    if source.entry == EntryId::ROOT {
        return Err(refuse(RejectionCode::Root, "the root of a tree cannot be moved"));
    }
    if !command.expected.is_empty() && id::<EntryId>(&command.expected, "expected entry id")? != source.entry {
        return Err(refuse(RejectionCode::Stale, "another entry has that name now"));
    }
    precondition::check(transaction, command.condition.as_ref(), Some(&source), None)?;
    let target = tree::target(transaction, command.to.as_ref(), Parents::MUST_EXIST)?;
    precondition::check(transaction, command.target_condition.as_ref(), target.existing.as_ref(), Some(&target.folder))?;
    if source.place.as_ref() == Some(&(target.folder.entry, target.name.clone())) {
        let shown = entry::show(transaction.state(), &source, false)?;
        return Ok(Done { entry: Some(shown), ..Done::default() });
    }
    check_apart(&source, &target)?;
    lock::check_removal(transaction, &source)?;
    let mut final_path = String::new();
    if let Some(existing) = &target.existing {
        if !command.overwrite {
            return Err(refuse(RejectionCode::AlreadyExists, format!("there is an entry {:?} already", target.name)));
        }
        lock::check_removal(transaction, existing)?;
        let bin = command.recycle_root.as_ref().map(|root| Bin { root: Some(root), id: &command.bin });
        final_path = replace(transaction, existing, bin, &command.recycle_note_json)?;
    } else {
        lock::check_new_member(transaction, &target.folder)?;
    }
    // What was recycled may have made a bin, but it changed nothing about where source and target hang.
    let moved = tree::relink(transaction, &source, &target.folder, &target.name, Change::MovedAway)?;
    if command.restore {
        note::write(transaction, moved.entry, recycle::NOTE, None)?;
        feed::tell_of(transaction, Told::staying(ChangeKind::Meta, &moved, false), recycle::NOTE);
    }
    let shown = entry::show(transaction.state(), &moved, false)?;
    Ok(Done { entry: Some(shown), created: target.existing.is_none(), final_path, ..Done::default() })
}

/// Refuses a target below the source, or above it.
pub(super) fn check_apart(source: &Located, target: &Target) -> Result<(), Stop> {
    if target.folder.is_within(source.entry) {
        return Err(refuse(RejectionCode::IntoItself, "a folder cannot be put below itself"));
    }
    if target.existing.as_ref().is_some_and(|existing| existing.entry == source.entry) {
        return Err(refuse(RejectionCode::IntoItself, "an entry cannot be put over itself"));
    }
    if target.existing.as_ref().is_some_and(|existing| source.is_within(existing.entry)) {
        return Err(refuse(RejectionCode::IntoItself, "a folder cannot be replaced by what lies in it"));
    }
    Ok(())
}

/// Clears the target; gives its path in the bin if it went there.
pub(super) fn replace(transaction: &mut Transaction<'_>, existing: &Located, bin: Option<Bin<'_>>, note: &str) -> Result<String, Stop> {
    text(note, "note about the old place", limits::NOTE_BYTES_MAX)?;
    let Some(bin) = bin else {
        tree::discard(transaction, existing, Change::Replaced)?;
        return Ok(String::new());
    };
    match recycle::recycle(transaction, existing, &bin, note, Change::Replaced)? {
        recycle::Recycled::Moved(moved) => Ok(recycle::path_in_bin(&moved)),
        recycle::Recycled::Discarded => Ok(String::new()),
    }
}
