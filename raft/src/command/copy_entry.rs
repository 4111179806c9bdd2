//! Copying within a datasource: new entries, the contents shared.
//!
//! Invariant: the ids of a copy follow from the command's seed and the entries copied, so every replica gives out the same.

use std::rc::Rc;

use skep_placement::chunk::FileHasher;
use skep_placement::ids::{ContentId, EntryId};

use super::move_entry::{check_apart, replace};
use super::recycle::Bin;
use super::{note, put_file};
use crate::keys::{CurrentKey, Descending, VersionKey};
use crate::state::path::Located;
use crate::state::rejection::{Stop, invalid, refuse};
use crate::state::transaction::Transaction;
use crate::state::tree::{self, Parents, Target};
use crate::state::{content, entry, limits, lock, path, precondition, read};
use crate::store::{Direction, StateError};
use crate::wire::meta::v1::{CopyEntry, CurrentRecord, Done, RejectionCode, VersionRecord};

/// Copies an entry, and all that lies below it unless told otherwise.
pub(super) fn apply(transaction: &mut Transaction<'_>, command: &CopyEntry) -> Result<Done, Stop> {
    if command.seed.len() != 16 {
        return Err(invalid(format!("the seed has {} bytes, not 16", command.seed.len())));
    }
    let source = path::existing(transaction.state(), command.from.as_ref())?;
    precondition::check(transaction, command.condition.as_ref(), Some(&source), None)?;
    let target = tree::target(transaction, command.to.as_ref(), Parents::MUST_EXIST)?;
    precondition::check(transaction, command.target_condition.as_ref(), target.existing.as_ref(), Some(&target.folder))?;
    check_apart(&source, &target)?;
    if !command.shallow {
        let entries = tree::weight(transaction, &source)?.entries();
        if entries > limits::ENTRIES_TOUCHED_MAX {
            let detail = format!("{entries} entries are more than one command copies, {}", limits::ENTRIES_TOUCHED_MAX);
            return Err(refuse(RejectionCode::TooManyEntries, detail));
        }
    }
    let created = target.existing.is_none();
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
    let copy = copy_one(transaction, &command.seed, &source.current, &target)?;
    let mut count = 1;
    if !command.shallow && source.is_folder() {
        count += copy_below(transaction, &command.seed, source.entry, copy.clone())?;
    }
    let shown = entry::show(transaction.state(), &copy, false)?;
    Ok(Done { entry: Some(shown), created, count, final_path, ..Done::default() })
}

/// Copies all that lies below a folder into its copy. How many entries.
fn copy_below(transaction: &mut Transaction<'_>, seed: &[u8], folder: EntryId, copy: Located) -> Result<u64, Stop> {
    let mut count = 0;
    let mut open = vec![(folder, Rc::new(copy))];
    while let Some((folder, copy)) = open.pop() {
        let members = read::rows::<CurrentKey>(transaction.state(), &[&folder], Direction::Forward);
        for (key, current) in members.collect::<Result<Vec<_>, StateError>>()? {
            let target = Target { folder: Rc::clone(&copy), name: key.name.0, existing: None };
            let made = copy_one(transaction, seed, &current, &target)?;
            count += 1;
            if made.is_folder() {
                open.push((read::stored_id(&current.entry, "an entry id")?, Rc::new(made)));
            }
        }
    }
    Ok(count)
}

/// Copies an entry by itself to a free name.
fn copy_one(transaction: &mut Transaction<'_>, seed: &[u8], current: &CurrentRecord, target: &Target) -> Result<Located, Stop> {
    let source: EntryId = read::stored_id(&current.entry, "an entry id")?;
    let entry = EntryId(derive(seed, b"entry", source));
    let copy = if current.version.is_empty() {
        tree::create_folder(transaction, &target.folder, &target.name, entry, current.mtime)?
    } else {
        let key = VersionKey { entry: source, number: Descending(current.version_number) };
        let copied = read::expect(transaction.state(), &key)?;
        content::share(transaction, ContentId(copied.content))?;
        let mut version = VersionRecord {
            version: derive(seed, b"version", source).to_vec().into(),
            author: Some(transaction.actor().clone()),
            created_at: transaction.stamp(),
            mtime: current.mtime,
            rights_index: transaction.rights_index(),
            ..copied
        };
        put_file::new_file(transaction, target, entry, &mut version)?
    };
    note::copy(transaction, source, entry)?;
    Ok(copy)
}

/// An id that nobody else derives.
fn derive(seed: &[u8], what: &[u8], source: EntryId) -> [u8; 16] {
    let mut hasher = FileHasher::new();
    hasher.update(seed);
    hasher.update(&source.0);
    hasher.update(what);
    let hash = hasher.hash();
    let (first, _) = hash.split_first_chunk::<16>().expect("a hash has 32 bytes");
    *first
}
