//! The steps that every change of a tree is made of: an entry comes to be, is linked, unlinked, counted along the folders above it.
//!
//! Invariants: a name has a current record or a gone record, never both; every current record has the by-id record that names its place;
//! the sums of a folder are those of its members; what a name held is in its history from the moment it no longer does.

use std::rc::Rc;

use bytes::Bytes;
use skep_placement::ids::{EntryId, Stamp};

use crate::keys::{ByIdKey, CurrentKey, Descending, GoneKey, HistoryKey, NameThen, ReapKey, RecycledKey};
use crate::state::feed::{self, Told};
use crate::state::path::{self, Located, Lookup};
use crate::state::rejection::{Stop, id, invalid, refuse, refuse_at};
use crate::state::transaction::{Transaction, take};
use crate::state::{limits, lock, read};
use crate::store::StateError;
use crate::wire::meta::v1::{
    ByIdRecord, Change, ChangeKind, CurrentRecord, EntryKind, EntryPath, FolderSums, GoneRecord, GroupTotals, HistoryRecord, ReapRecord,
    RejectionCode,
};

/// What comes to or goes from a folder's sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    pub(crate) bytes: u64,
    pub(crate) files: u64,
    pub(crate) folders: u64,
}

impl Weight {
    pub(crate) const NOTHING: Weight = Weight { bytes: 0, files: 0, folders: 0 };
    pub(crate) const FOLDER: Weight = Weight { bytes: 0, files: 0, folders: 1 };

    pub(crate) fn file(bytes: u64) -> Self {
        Self { bytes, files: 1, folders: 0 }
    }

    pub(crate) fn entries(self) -> u64 {
        self.files.saturating_add(self.folders)
    }
}

/// The sums of a folder in which nothing lies yet.
pub(crate) fn empty_sums(stamp: u64) -> FolderSums {
    FolderSums { changed_at: stamp, members_counted: true, no_name_gone: true, ..FolderSums::default() }
}

/// What an entry weighs with all that lies below it.
pub(crate) fn weight(transaction: &Transaction<'_>, located: &Located) -> Result<Weight, StateError> {
    if !located.is_folder() {
        return Ok(Weight::file(located.current.size));
    }
    let sums = transaction.sums(located.entry)?.unwrap_or_default();
    Ok(Weight { bytes: sums.bytes, files: sums.files, folders: sums.folders + 1 })
}

/// Marks folders as changed now.
pub(crate) fn touch(transaction: &mut Transaction<'_>, chain: &[EntryId]) -> Result<(), Stop> {
    add(transaction, chain, Weight::NOTHING)
}

/// Adds to the sums of every folder of a chain, the root of a tree first.
pub(crate) fn add(transaction: &mut Transaction<'_>, chain: &[EntryId], weight: Weight) -> Result<(), Stop> {
    change_sums(transaction, chain, |sums, is_parent| {
        let too_much = || refuse(RejectionCode::LimitReached, "a folder would hold more bytes than can be counted");
        sums.bytes = sums.bytes.checked_add(weight.bytes).ok_or_else(too_much)?;
        sums.files += weight.files;
        sums.folders += weight.folders;
        if let Some(members) = members_of(sums, weight).filter(|_| is_parent) {
            *members += 1;
        }
        Ok(())
    })?;
    count_in_root(transaction, chain, |totals| {
        totals.entries += weight.entries();
        totals.logical_bytes += weight.bytes;
        Ok(())
    })
}

/// Takes from the sums of every folder of a chain.
pub(crate) fn subtract(transaction: &mut Transaction<'_>, chain: &[EntryId], weight: Weight) -> Result<(), Stop> {
    change_sums(transaction, chain, |sums, is_parent| Ok(shrink(sums, weight, is_parent)?))?;
    count_in_root(transaction, chain, |totals| {
        take(&mut totals.entries, weight.entries(), "entries")?;
        take(&mut totals.logical_bytes, weight.bytes, "logical bytes")
    })
}

/// Takes from the sums of one folder an entry that lay in it. The folder hangs nowhere any more: nobody sees it change.
pub(crate) fn subtract_from(transaction: &mut Transaction<'_>, folder: EntryId, weight: Weight) -> Result<(), StateError> {
    let mut sums = transaction.sums(folder)?.unwrap_or_default();
    shrink(&mut sums, weight, true)?;
    transaction.set_sums(folder, sums);
    Ok(())
}

fn shrink(sums: &mut FolderSums, weight: Weight, is_parent: bool) -> Result<(), StateError> {
    take(&mut sums.bytes, weight.bytes, "bytes of a folder")?;
    take(&mut sums.files, weight.files, "files of a folder")?;
    take(&mut sums.folders, weight.folders, "folders of a folder")?;
    match members_of(sums, weight).filter(|_| is_parent) {
        Some(members) => take(members, 1, "members of a folder"),
        None => Ok(()),
    }
}

/// Which count of members an entry of this weight belongs to, the folder's that it lies in; none where they are not counted, and for what only changes its
/// size.
fn members_of(sums: &mut FolderSums, weight: Weight) -> Option<&mut u64> {
    match weight {
        _ if !sums.members_counted => None,
        Weight { folders: 1.., .. } => Some(&mut sums.member_folders),
        Weight { files: 1.., .. } => Some(&mut sums.member_files),
        Weight { .. } => None,
    }
}

/// Changes the sums of all folders of a chain; of the last one is said that it is the parent of what comes or goes.
fn change_sums(
    transaction: &mut Transaction<'_>,
    chain: &[EntryId],
    mut change: impl FnMut(&mut FolderSums, bool) -> Result<(), Stop>,
) -> Result<(), Stop> {
    for folder in chain {
        let mut sums = transaction.sums(*folder)?.unwrap_or_else(|| empty_sums(0));
        change(&mut sums, chain.last() == Some(folder))?;
        sums.changed_at = transaction.stamp();
        transaction.set_sums(*folder, sums);
    }
    Ok(())
}

/// The group counts what hangs on the datasource's root; trees that hang nowhere do not count.
fn count_in_root(
    transaction: &mut Transaction<'_>,
    chain: &[EntryId],
    change: impl FnOnce(&mut GroupTotals) -> Result<(), StateError>,
) -> Result<(), Stop> {
    if chain.first() == Some(&EntryId::ROOT) {
        transaction.count(change)?;
    }
    Ok(())
}

/// Writes the by-id record of an entry that is new; `place` is `None` for a folder that hangs nowhere.
pub(crate) fn create(
    transaction: &mut Transaction<'_>,
    entry: EntryId,
    place: Option<(EntryId, &str)>,
    kind: EntryKind,
) -> Result<(), Stop> {
    let record = first_record(transaction, entry, place, kind)?;
    transaction.put(&ByIdKey { entry }, &record);
    Ok(())
}

/// Counts an entry that is new and gives its by-id record, for the caller to write.
pub(crate) fn first_record(
    transaction: &mut Transaction<'_>,
    entry: EntryId,
    place: Option<(EntryId, &str)>,
    kind: EntryKind,
) -> Result<ByIdRecord, Stop> {
    if entry == EntryId::ROOT || transaction.get(&ByIdKey { entry })?.is_some() {
        return Err(invalid(format!("the entry id {entry} was given out already")));
    }
    let entries_ever = transaction.totals().entries_ever;
    if entries_ever >= limits::ENTRIES_MAX {
        let detail = format!("the datasource has given out {entries_ever} entries, its limit");
        return Err(refuse(RejectionCode::LimitReached, detail));
    }
    transaction.count(|totals| {
        totals.entries_ever += 1;
        Ok(())
    })?;
    Ok(ByIdRecord {
        parent: place.map_or_else(Bytes::new, |(parent, _)| bytes_of(parent)),
        name: place.map_or_else(String::new, |(_, name)| name.to_owned()),
        kind: kind.into(),
        created_at: transaction.stamp(),
        created_by: transaction.actor().user.clone(),
        rights_index: transaction.rights_index(),
        unnoted: true,
        ..ByIdRecord::default()
    })
}

/// Sets the current record of a name that nothing has. Few names were there before: to look is cheaper than a deletion of what never was, and where the folder says
/// that no name has ever gone there is nothing to look for.
pub(crate) fn link(transaction: &mut Transaction<'_>, parent: EntryId, name: &str, current: &CurrentRecord) -> Result<(), StateError> {
    transaction.put(&CurrentKey::new(parent, name), current);
    if transaction.sums(parent)?.is_some_and(|sums| sums.no_name_gone) {
        return Ok(());
    }
    let gone = GoneKey::new(parent, name);
    if transaction.get(&gone)?.is_some() {
        transaction.delete(&gone);
    }
    Ok(())
}

/// Writes what stood under a name into its history, unless it came to stand there by this very command: nobody has seen that. Whether it did.
pub(crate) fn remember(transaction: &mut Transaction<'_>, parent: EntryId, name: &str, was: &CurrentRecord, why: Change) -> bool {
    if was.changed_at == transaction.stamp() {
        return false;
    }
    let key = HistoryKey { parent, name: NameThen(name.to_owned()), until: Descending(transaction.stamp()) };
    transaction.put(&key, &HistoryRecord { was: Some(was.clone()), why: why.into() });
    true
}

/// Takes an entry from its name; what it weighs in the sums is the caller's to take. Whether a history record was written.
fn unlink(transaction: &mut Transaction<'_>, located: &Located, why: Change) -> Result<bool, StateError> {
    let Some((parent, name)) = &located.place else { return Ok(false) };
    transaction.delete(&CurrentKey::new(*parent, name));
    let remembered = remember(transaction, *parent, name, &located.current, why);
    transaction.put(&GoneKey::new(*parent, name), &GoneRecord { since: transaction.stamp() });
    if let Some(sums) = transaction.sums(*parent)?.filter(|sums| sums.no_name_gone) {
        transaction.set_sums(*parent, FolderSums { no_name_gone: false, ..sums });
    }
    Ok(remembered)
}

/// Deletes an entry for good, with all that lies below it: unlinks it in one step. Versions stay for the retention.
pub(crate) fn discard(transaction: &mut Transaction<'_>, located: &Located, why: Change) -> Result<(), Stop> {
    lock::delete_within(transaction, located)?;
    let weight = weight(transaction, located)?;
    let superseded = unlink(transaction, located, why)?;
    subtract(transaction, &located.chain, weight)?;
    let (key, mut record) = by_id(transaction, located.entry)?;
    record.unlinked_at = transaction.stamp();
    record.rights_index = transaction.rights_index();
    leave_bin(transaction, located.entry, &mut record);
    transaction.put(&key, &record);
    transaction.count(|totals| {
        totals.unlinked_bytes = totals.unlinked_bytes.saturating_add(weight.bytes);
        Ok(())
    })?;
    transaction.put(&ReapKey { since: Stamp(transaction.stamp()), entry: located.entry }, &ReapRecord::default());
    let told = Told { to: None, from: feed::place_of(located), ..Told::staying(ChangeKind::Deleted, located, superseded) };
    feed::tell(transaction, told);
    Ok(())
}

/// Moves an entry to a free name of a folder, in one step. Gives its new place.
pub(crate) fn relink(
    transaction: &mut Transaction<'_>,
    located: &Located,
    folder: &Located,
    name: &str,
    why: Change,
) -> Result<Located, Stop> {
    lock::delete_within(transaction, located)?;
    let weight = weight(transaction, located)?;
    let superseded = unlink(transaction, located, why)?;
    subtract(transaction, &located.chain, weight)?;
    let current = CurrentRecord { changed_at: transaction.stamp(), ..located.current.clone() };
    link(transaction, folder.entry, name, &current)?;
    let chain = folder.chain_with_self();
    add(transaction, &chain, weight)?;
    let (key, mut record) = by_id(transaction, located.entry)?;
    record.parent = bytes_of(folder.entry);
    name.clone_into(&mut record.name);
    leave_bin(transaction, located.entry, &mut record);
    record.rights_index = transaction.rights_index();
    transaction.put(&key, &record);
    let moved = Located::linked(folder.entry, name, current, chain)?;
    let told = Told { from: feed::place_of(located), ..Told::staying(ChangeKind::Moved, &moved, superseded) };
    feed::tell(transaction, told);
    Ok(moved)
}

/// Takes an entry from the queue of what lies in bins; the record is the caller's to write.
pub(crate) fn leave_bin(transaction: &mut Transaction<'_>, entry: EntryId, record: &mut ByIdRecord) {
    if record.recycled_at != 0 {
        transaction.delete(&RecycledKey { since: Stamp(record.recycled_at), entry });
        record.recycled_at = 0;
    }
}

/// The by-id record of an entry that is there.
pub(crate) fn by_id(transaction: &Transaction<'_>, entry: EntryId) -> Result<(ByIdKey, ByIdRecord), StateError> {
    let key = ByIdKey { entry };
    let record = read::expect(transaction.state(), &key)?;
    Ok((key, record))
}

/// Makes a folder under a free name. Gives it as located.
pub(crate) fn create_folder(
    transaction: &mut Transaction<'_>,
    parent: &Located,
    name: &str,
    entry: EntryId,
    mtime: u64,
) -> Result<Located, Stop> {
    create(transaction, entry, Some((parent.entry, name)), EntryKind::Folder)?;
    let stamp = transaction.stamp();
    let current = CurrentRecord {
        entry: bytes_of(entry),
        kind: EntryKind::Folder.into(),
        mtime: if mtime == 0 { stamp } else { mtime },
        changed_at: stamp,
        ..CurrentRecord::default()
    };
    link(transaction, parent.entry, name, &current)?;
    transaction.set_sums(entry, empty_sums(stamp));
    let chain = parent.chain_with_self();
    add(transaction, &chain, Weight::FOLDER)?;
    let made = Located::linked(parent.entry, name, current, chain)?;
    feed::tell(transaction, Told::staying(ChangeKind::Created, &made, false));
    Ok(made)
}

/// Where something is to be put: the folder, the name, and what has that name now.
pub(crate) struct Target {
    pub(crate) folder: Rc<Located>,
    pub(crate) name: String,
    pub(crate) existing: Option<Located>,
}

impl Target {
    /// Refuses a write there that locks forbid: of what has the name, or of a new name.
    pub(crate) fn check_locks(&self, transaction: &mut Transaction<'_>) -> Result<(), Stop> {
        match &self.existing {
            Some(existing) => lock::check_change(transaction, existing),
            None => lock::check_new_member(transaction, &self.folder),
        }
    }
}

/// How missing folders on the way to a target are made.
#[derive(Clone, Copy)]
pub(crate) struct Parents<'a> {
    /// Whether they are made at all.
    pub(crate) recursive: bool,
    /// Their ids, used from the top.
    pub(crate) ids: &'a [Bytes],
}

impl Parents<'_> {
    pub(crate) const MUST_EXIST: Parents<'static> = Parents { recursive: false, ids: &[] };
}

/// Finds where a path leads, making missing folders before its last name if asked to.
pub(crate) fn target(transaction: &mut Transaction<'_>, path: Option<&EntryPath>, parents: Parents<'_>) -> Result<Target, Stop> {
    let (base, names) = path::checked(path)?;
    let Some((name, way)) = names.split_last() else {
        return Err(refuse(RejectionCode::Root, "the path names the folder that it begins at, which cannot be made or replaced"));
    };
    let folder = match transaction.known_folder(base, way) {
        Some(folder) => folder,
        None => folder_of_target(transaction, base, way, parents)?,
    };
    let current = transaction.get(&CurrentKey::new(folder.entry, name))?;
    let existing = current.map(|current| Located::linked(folder.entry, name, current, folder.chain_with_self())).transpose()?;
    Ok(Target { folder, name: name.clone(), existing })
}

/// The folder that a way leads to, where it is missing made if asked to.
fn folder_of_target(transaction: &mut Transaction<'_>, base: EntryId, way: &[String], parents: Parents<'_>) -> Result<Rc<Located>, Stop> {
    let folder = match path::look_up(transaction.state(), base, way)? {
        Lookup::Found(folder) if folder.is_folder() => folder,
        Lookup::Found(_file) if way.is_empty() => return Err(refuse_at(RejectionCode::NotAFolder, "the path begins at a file", 0)),
        Lookup::Found(_file) => return Err(path::not_a_folder(way, way.len().saturating_sub(1))),
        Lookup::Missing { at, .. } if !parents.recursive => return Err(path::missing(RejectionCode::ParentNotFound, way, at)),
        Lookup::Missing { at, folder } => {
            let mut ids = parents.ids.iter();
            let mut folder = folder;
            lock::check_new_member(transaction, &folder)?;
            for missing in way.iter().skip(at) {
                let entry = ids.next().ok_or_else(|| invalid("more folders are missing than the command has ids for"))?;
                folder = create_folder(transaction, &folder, missing, id(entry, "entry id")?, 0)?;
            }
            folder
        }
        Lookup::NoBase => return Err(path::no_base(RejectionCode::ParentNotFound, base)),
        Lookup::NotAFolder { at } => return Err(path::not_a_folder(way, at)),
    };
    let folder = Rc::new(folder);
    transaction.know_folder(base, way, &folder);
    Ok(folder)
}

/// An id as records hold it.
pub(crate) fn bytes_of(entry: EntryId) -> Bytes {
    Bytes::copy_from_slice(&entry.0)
}
