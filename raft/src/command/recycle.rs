//! The recycle bin: a folder `recycle_bin` below a recycle root that takes what is deleted, under a name that is free there.
//!
//! Invariant: what is recycled keeps its id, its versions and all below it, and notes where it came from; what lies in a bin is not recycled
//! again.

use skep_placement::ids::{EntryId, Stamp};

use crate::keys::{ByIdKey, CurrentKey, RecycledKey, StateKey};
use crate::state::path::{self, Located};
use crate::state::rejection::{Stop, id, invalid, refuse};
use crate::state::transaction::Transaction;
use crate::state::{limits, read, tree};
use crate::store::{Direction, StateError};
use crate::wire::meta::v1::{Change, Done, EmptyBins, EntryPath, RejectionCode};

/// The name of a bin.
const BIN: &str = "recycle_bin";

/// The namespace of the note about the old place.
pub(super) const NOTE: &str = "pydio:recycle_restore";

/// What became of an entry that was to be recycled.
pub(super) enum Recycled {
    /// It lies in the bin now.
    Moved(Box<Located>),
    /// It lay in the bin, or was it, and is deleted for good.
    Discarded,
}

/// Where a bin is, or will be when something comes into it.
pub(super) struct Bin<'a> {
    pub(super) root: Option<&'a EntryPath>,
    pub(super) id: &'a [u8],
}

/// Moves an entry into the bin.
pub(super) fn recycle(
    transaction: &mut Transaction<'_>,
    located: &Located,
    bin: &Bin<'_>,
    note: &str,
    why: Change,
) -> Result<Recycled, Stop> {
    let root = path::existing_folder(transaction.state(), bin.root)?;
    let existing = transaction.get(&CurrentKey::new(root.entry, BIN))?;
    let existing = existing.map(|current| Located::linked(root.entry, BIN, current, root.chain_with_self())).transpose()?;
    if existing.as_ref().is_some_and(|existing| existing.is_folder() && located.is_within(existing.entry)) {
        tree::discard(transaction, located, why)?;
        return Ok(Recycled::Discarded);
    }
    if root.is_within(located.entry) {
        return Err(refuse(RejectionCode::IntoItself, "the recycle bin lies below what is to be recycled"));
    }
    let bin = match existing {
        Some(existing) if existing.is_folder() => existing,
        Some(_) => return Err(refuse(RejectionCode::NotAFolder, format!("{BIN:?} is a file"))),
        None => {
            let entry: EntryId = id(bin.id, "id of the recycle bin")?;
            transaction.count_bin();
            tree::create_folder(transaction, &root, BIN, entry, 0)?
        }
    };
    let wanted = located.place.as_ref().map_or("", |(_, name)| name);
    let name = free_name(transaction, bin.entry, wanted, located.is_folder())?;
    let moved = tree::relink(transaction, located, &bin, &name, why)?;
    let (by_id, mut record) = tree::by_id(transaction, moved.entry)?;
    // After it hangs in the bin: to hang elsewhere takes an entry from the queue.
    record.recycled_at = transaction.stamp();
    transaction.put(&by_id, &record);
    transaction.put(&RecycledKey { since: Stamp(record.recycled_at), entry: moved.entry }, &());
    super::note::write(transaction, moved.entry, NOTE, (!note.is_empty()).then(|| note.to_owned()))?;
    Ok(Recycled::Moved(Box::new(moved)))
}

/// Deletes what has lain in bins too long, or is the oldest of a bin that holds too much. The cursor says where to go on; empty: at the end.
pub(super) fn empty(transaction: &mut Transaction<'_>, command: &EmptyBins) -> Result<Done, Stop> {
    let limit = usize::try_from(command.limit.clamp(1, limits::PRUNED_ROWS_MAX)).unwrap_or(1);
    let rows = if command.after.is_empty() {
        read::rows::<RecycledKey>(transaction.state(), &[], Direction::Forward).take(limit).collect::<Result<Vec<_>, _>>()?
    } else {
        let after = RecycledKey::from_bytes(&command.after).map_err(|_no_key| invalid("the cursor is none of this command"))?;
        read::rows_after::<RecycledKey>(transaction.state(), &[], &after).take(limit).collect::<Result<Vec<_>, _>>()?
    };
    let cursor = rows.last().filter(|_| rows.len() == limit).map(|(key, ())| key.to_bytes()).unwrap_or_default();
    let mut count = 0;
    for (key, ()) in rows {
        let located = path::locate(transaction.state(), key.entry)?;
        let record = transaction.get(&ByIdKey { entry: key.entry })?;
        let lies_there = record.is_some_and(|record| record.recycled_at == key.since.0 && record.unlinked_at == 0);
        let Some(located) = located.filter(|_| lies_there) else {
            // What lies in a bin that was deleted as a folder goes with it, when that is taken apart.
            if !lies_there {
                transaction.delete(&key);
            }
            continue;
        };
        // A bin that somebody gave another name is none: what lies there is kept.
        if !lies_in_bin(transaction, &located)? {
            continue;
        }
        let is_old = command.seconds != 0 && key.since.0.saturating_add(command.seconds.saturating_mul(1_000_000)) <= transaction.stamp();
        let bin = located.chain.last().copied().unwrap_or(EntryId::ROOT);
        let held = transaction.sums(bin)?.unwrap_or_default().bytes;
        if is_old || (command.bytes != 0 && held > command.bytes) {
            tree::discard(transaction, &located, Change::Deleted)?;
            transaction.delete(&key);
            count += 1;
        }
    }
    Ok(Done { count, cursor, ..Done::default() })
}

fn lies_in_bin(transaction: &Transaction<'_>, located: &Located) -> Result<bool, StateError> {
    let Some((folder, _)) = &located.place else { return Ok(false) };
    Ok(transaction.get(&ByIdKey { entry: *folder })?.is_some_and(|record| record.name == BIN))
}

/// The path of something in the bin, below the recycle root.
pub(super) fn path_in_bin(moved: &Located) -> String {
    moved.place.as_ref().map_or_else(String::new, |(_, name)| format!("{BIN}/{name}"))
}

/// The name itself, or with ` (2)` or a higher number if it is taken. Asks for few names even if many are taken.
fn free_name(transaction: &Transaction<'_>, folder: EntryId, name: &str, is_folder: bool) -> Result<String, StateError> {
    let is_free = |name: &str| Ok::<bool, StateError>(transaction.get(&CurrentKey::new(folder, name))?.is_none());
    if is_free(name)? {
        return Ok(name.to_owned());
    }
    let numbered = |number: u64| numbered(name, number, is_folder);
    let (mut taken, mut free) = (1, 2);
    while !is_free(&numbered(free))? {
        taken = free;
        free *= 2;
    }
    while taken + 1 < free {
        let middle = taken + (free - taken) / 2;
        if is_free(&numbered(middle))? {
            free = middle;
        } else {
            taken = middle;
        }
    }
    Ok(numbered(free))
}

/// A name with a number before its ending, shortened so that it stays a name.
fn numbered(name: &str, number: u64, is_folder: bool) -> String {
    let (stem, ending) = match name.rfind('.') {
        Some(at) if !is_folder && at > 0 && name.len() - at <= 32 => name.split_at(at),
        Some(_) | None => (name, ""),
    };
    let suffix = format!(" ({number}){ending}");
    let room = limits::NAME_BYTES_MAX.saturating_sub(suffix.len());
    let cut = (0..=room.min(stem.len())).rev().find(|at| stem.is_char_boundary(*at)).unwrap_or(0);
    format!("{}{suffix}", stem.get(..cut).unwrap_or(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_before_the_ending_and_names_stay_names() {
        assert_eq!(numbered("report.txt", 2, false), "report (2).txt");
        assert_eq!(numbered("report.txt", 2, true), "report.txt (2)");
        assert_eq!(numbered(".profile", 3, false), ".profile (3)");
        assert_eq!(numbered("a.b.c", 10, false), "a.b (10).c");
        let long = "é".repeat(127);
        let shortened = numbered(&long, 12, true);
        assert!(shortened.len() <= 255 && shortened.ends_with("é (12)"), "{shortened}");
        assert_eq!(path::name_fault(&shortened), None);
    }
}
