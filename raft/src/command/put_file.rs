//! Making a file, or a new version of one.

use skep_placement::ids::{EntryId, VersionId};

use super::prune;
use crate::keys::{ByIdKey, CurrentKey, Descending, VersionByIdKey, VersionKey};
use crate::state::feed::{self, Told};
use crate::state::path::Located;
use crate::state::rejection::{Stop, id, invalid, refuse, text};
use crate::state::transaction::Transaction;
use crate::state::tree::{self, Parents, Target, Weight};
use crate::state::{content, entry, limits, precondition};
use crate::wire::meta::v1::{ByIdRecord, Change, ChangeKind, CurrentRecord, Done, EntryKind, PutFile, RejectionCode, VersionRecord};

/// Commits a content as the current version of a path.
pub(super) fn put(transaction: &mut Transaction<'_>, command: &PutFile) -> Result<Done, Stop> {
    check_form(command)?;
    let parents = Parents { recursive: command.recursive, ids: &command.parents };
    let target = tree::target(transaction, command.path.as_ref(), parents)?;
    if target.existing.as_ref().is_some_and(Located::is_folder) {
        return Err(refuse(RejectionCode::IsAFolder, format!("{:?} is a folder", target.name)));
    }
    precondition::check(transaction, command.condition.as_ref(), target.existing.as_ref(), Some(&target.folder))?;
    target.check_locks(transaction)?;
    let taken = content::take_content(transaction, command)?;
    let stamp = transaction.stamp();
    let mut version = VersionRecord {
        version: command.version.clone(),
        number: 0,
        content: taken.content.0,
        size: command.size,
        blake3: command.blake3.clone(),
        md5: command.md5.clone(),
        author: Some(transaction.actor().clone()),
        created_at: stamp,
        mtime: if command.mtime == 0 { stamp } else { command.mtime },
        policy: command.policy.clone(),
        description: command.description.clone(),
        rights_index: transaction.rights_index(),
        media_type: command.media_type.clone(),
    };
    let created = target.existing.is_none();
    let located = match &target.existing {
        Some(existing) => add_version(transaction, &target, existing, &mut version)?,
        None => new_file(transaction, &target, id(&command.entry, "entry id")?, &mut version)?,
    };
    let shown = entry::show(transaction.state(), &located, false)?;
    Ok(Done { entry: Some(shown), created, surplus: taken.surplus, ..Done::default() })
}

fn check_form(command: &PutFile) -> Result<(), Stop> {
    id::<VersionId>(&command.version, "version id")?;
    if command.blake3.len() != 32 {
        return Err(invalid(format!("the file's BLAKE3 has {} bytes, not 32", command.blake3.len())));
    }
    if !matches!(command.md5.len(), 0 | 16) {
        return Err(invalid(format!("the file's MD5 has {} bytes, not 16", command.md5.len())));
    }
    if !matches!(command.policy.len(), 0 | 16) {
        return Err(invalid("the id of the versioning policy is no id"));
    }
    text(&command.media_type, "media type", limits::NAME_BYTES_MAX)?;
    text(&command.description, "description", limits::TEXT_BYTES_MAX)
}

/// Makes the file with its first version.
pub(super) fn new_file(
    transaction: &mut Transaction<'_>,
    target: &Target,
    entry: EntryId,
    version: &mut VersionRecord,
) -> Result<Located, Stop> {
    let record = tree::first_record(transaction, entry, Some((target.folder.entry, &target.name)), EntryKind::File)?;
    // A file that is new has no version whose id this one could have.
    let by_id = VersionByIdKey { entry, version: id(&version.version, "version id")? };
    write_version(transaction, &by_id, record, version)?;
    let current = current_of(transaction, entry, version);
    tree::link(transaction, target.folder.entry, &target.name, &current)?;
    let chain = target.folder.chain_with_self();
    tree::add(transaction, &chain, Weight::file(version.size))?;
    let made = Located::linked(target.folder.entry, &target.name, current, chain)?;
    feed::tell(transaction, Told::staying(ChangeKind::Created, &made, false));
    Ok(made)
}

pub(super) fn add_version(
    transaction: &mut Transaction<'_>,
    target: &Target,
    existing: &Located,
    version: &mut VersionRecord,
) -> Result<Located, Stop> {
    let by_id = VersionByIdKey { entry: existing.entry, version: id(&version.version, "version id")? };
    if transaction.get(&by_id)?.is_some() {
        return Err(invalid(format!("the version id {} was given out already", by_id.version)));
    }
    let (_key, record) = tree::by_id(transaction, existing.entry)?;
    write_version(transaction, &by_id, record, version)?;
    let parent = target.folder.entry;
    let superseded = tree::remember(transaction, parent, &target.name, &existing.current, Change::NewVersion);
    let current = current_of(transaction, existing.entry, version);
    transaction.put(&CurrentKey::new(parent, &target.name), &current);
    tree::subtract(transaction, &existing.chain, Weight { bytes: existing.current.size, ..Weight::NOTHING })?;
    tree::add(transaction, &existing.chain, Weight { bytes: version.size, ..Weight::NOTHING })?;
    let changed = Located::linked(parent, &target.name, current, existing.chain.clone())?;
    feed::tell(transaction, Told::staying(ChangeKind::NewVersion, &changed, superseded));
    Ok(changed)
}

/// Writes a version under the next number of its file.
fn write_version(
    transaction: &mut Transaction<'_>,
    by_id: &VersionByIdKey,
    mut record: ByIdRecord,
    version: &mut VersionRecord,
) -> Result<(), Stop> {
    let (entry, stamp) = (by_id.entry, transaction.stamp());
    record.last_version += 1;
    record.rights_index = transaction.rights_index();
    version.number = record.last_version;
    if record.last_version > 1 {
        prune::wait(transaction, entry, &mut record, stamp);
    }
    transaction.put(&ByIdKey { entry }, &record);
    transaction.put(by_id, &version.number);
    transaction.put(&VersionKey { entry, number: Descending(version.number) }, version);
    transaction.count(|totals| {
        totals.versions += 1;
        Ok(())
    })?;
    Ok(())
}

fn current_of(transaction: &Transaction<'_>, entry: EntryId, version: &VersionRecord) -> CurrentRecord {
    CurrentRecord {
        entry: tree::bytes_of(entry),
        kind: EntryKind::File.into(),
        size: version.size,
        version: version.version.clone(),
        version_number: version.number,
        mtime: version.mtime,
        changed_at: transaction.stamp(),
        md5: version.md5.clone(),
        blake3: version.blake3.clone(),
    }
}
