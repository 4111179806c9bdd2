//! Making folders.

use skep_placement::ids::EntryId;

use crate::state::feed::{self, Told};
use crate::state::rejection::{Stop, id, refuse};
use crate::state::transaction::Transaction;
use crate::state::tree::{self, Parents};
use crate::state::{entry, lock, path};
use crate::wire::meta::v1::{ChangeKind, CreateFolder, Done, EntryKind, OpenHidden, RejectionCode};

/// Makes a folder, and the folders above it that are missing if asked to.
pub(super) fn create(transaction: &mut Transaction<'_>, command: &CreateFolder) -> Result<Done, Stop> {
    let entry_id: EntryId = id(&command.entry, "entry id")?;
    let parents = Parents { recursive: command.recursive, ids: &command.parents };
    let target = tree::target(transaction, command.path.as_ref(), parents)?;
    let (located, created) = match target.existing {
        Some(existing) if existing.is_folder() && command.existing_ok => (existing, false),
        Some(_) => return Err(refuse(RejectionCode::AlreadyExists, format!("there is an entry {:?} already", target.name))),
        None => {
            lock::check_new_member(transaction, &target.folder)?;
            (tree::create_folder(transaction, &target.folder, &target.name, entry_id, command.mtime)?, true)
        }
    };
    let shown = entry::show(transaction.state(), &located, false)?;
    Ok(Done { entry: Some(shown), created, ..Done::default() })
}

/// Makes a folder that hangs nowhere. Asked again under the same id it is the same folder.
pub(super) fn open_hidden(transaction: &mut Transaction<'_>, command: &OpenHidden) -> Result<Done, Stop> {
    let entry_id: EntryId = id(&command.entry, "entry id")?;
    let existing = path::locate(transaction.state(), entry_id)?.filter(|located| located.place.is_none() && entry_id != EntryId::ROOT);
    let created = existing.is_none();
    if created {
        tree::create(transaction, entry_id, None, EntryKind::Folder)?;
        let sums = tree::empty_sums(transaction.stamp());
        transaction.set_sums(entry_id, sums);
        let (kind, entry_kind) = (ChangeKind::Created, EntryKind::Folder);
        feed::tell(transaction, Told { kind, entry: entry_id, entry_kind, current: None, to: None, from: None, superseded: false });
    }
    let located =
        path::existing(transaction.state(), Some(&crate::wire::meta::v1::EntryPath { base: command.entry.clone(), names: Vec::new() }))?;
    let shown = entry::show(transaction.state(), &located, false)?;
    Ok(Done { entry: Some(shown), created, ..Done::default() })
}
