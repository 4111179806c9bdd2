//! The versions of a file: using one again, describing and deleting one.
//!
//! Invariants: the current version of a file is always there; a version that uses another's content counts as one more reference on it.

use skep_placement::ids::{ContentId, EntryId, VersionId};

use super::put_file;
use crate::keys::{Descending, VersionByIdKey, VersionKey};
use crate::state::feed::{self, Told};
use crate::state::path::{self, Located};
use crate::state::rejection::{Stop, id, refuse, text};
use crate::state::transaction::{Transaction, take};
use crate::state::tree::{self, Parents};
use crate::state::{content, entry, history, limits, lock, precondition, read};
use crate::store::StateError;
use crate::wire::meta::v1::{ChangeKind, DeleteVersion, DescribeVersion, Done, RejectionCode, UseVersion, VersionRecord};

/// What the feed calls a change of a file's versions that leaves the current one as it is.
const VERSIONS: &str = "skep:versions";

/// Makes a version's content the current one of a path again, as a new version.
pub(super) fn use_again(transaction: &mut Transaction<'_>, command: &UseVersion) -> Result<Done, Stop> {
    let version_id: VersionId = id(&command.version, "version id")?;
    text(&command.description, "description", limits::TEXT_BYTES_MAX)?;
    let used = used(transaction, command)?;
    let parents = Parents { recursive: command.recursive, ids: &command.parents };
    let target = tree::target(transaction, command.path.as_ref(), parents)?;
    if target.existing.as_ref().is_some_and(Located::is_folder) {
        return Err(refuse(RejectionCode::IsAFolder, format!("{:?} is a folder", target.name)));
    }
    precondition::check(transaction, command.condition.as_ref(), target.existing.as_ref(), Some(&target.folder))?;
    target.check_locks(transaction)?;
    content::share(transaction, ContentId(used.content))?;
    let stamp = transaction.stamp();
    let mut version = VersionRecord {
        version: version_id.0.to_vec().into(),
        number: 0,
        author: Some(transaction.actor().clone()),
        created_at: stamp,
        mtime: match command.mtime {
            0 if command.keep_mtime => used.mtime,
            0 => stamp,
            mtime => mtime,
        },
        description: command.description.clone(),
        rights_index: transaction.rights_index(),
        ..used
    };
    let created = target.existing.is_none();
    let located = match &target.existing {
        Some(existing) => put_file::add_version(transaction, &target, existing, &mut version)?,
        None => put_file::new_file(transaction, &target, id(&command.entry, "entry id")?, &mut version)?,
    };
    let shown = entry::show(transaction.state(), &located, false)?;
    Ok(Done { entry: Some(shown), created, version: Some(version), ..Done::default() })
}

/// The version that is used: of the file that is named, or of the one at the path.
fn used(transaction: &Transaction<'_>, command: &UseVersion) -> Result<VersionRecord, Stop> {
    if !command.of_entry.is_empty() {
        return find(transaction, id(&command.of_entry, "entry id")?, &command.of_version).map(|(_, version)| version);
    }
    let located = file(transaction, command.path.as_ref())?;
    find_of(transaction, &located, &command.of_version).map(|(_, version)| version)
}

/// Sets what people say of a version.
pub(super) fn describe(transaction: &mut Transaction<'_>, command: &DescribeVersion) -> Result<Done, Stop> {
    text(&command.description, "description", limits::TEXT_BYTES_MAX)?;
    let located = file(transaction, command.path.as_ref())?;
    lock::check_change(transaction, &located)?;
    let (key, mut version) = find_of(transaction, &located, &command.version)?;
    version.description.clone_from(&command.description);
    transaction.put(&key, &version);
    feed::tell_of(transaction, Told::staying(ChangeKind::Meta, &located, false), VERSIONS);
    let shown = entry::show(transaction.state(), &located, false)?;
    Ok(Done { entry: Some(shown), version: Some(version), ..Done::default() })
}

/// Deletes a version that is not the current one.
pub(super) fn delete(transaction: &mut Transaction<'_>, command: &DeleteVersion) -> Result<Done, Stop> {
    let located = file(transaction, command.path.as_ref())?;
    lock::check_change(transaction, &located)?;
    let (key, version) = find_of(transaction, &located, &command.version)?;
    if located.current.version == version.version {
        return Err(refuse(RejectionCode::AlreadyExists, "this is the current version: revert to another one first, or delete the file"));
    }
    drop_version(transaction, &key, &version)?;
    feed::tell_of(transaction, Told::staying(ChangeKind::Meta, &located, false), VERSIONS);
    let shown = entry::show(transaction.state(), &located, false)?;
    Ok(Done { entry: Some(shown), version: Some(version), ..Done::default() })
}

/// Deletes a version's records and gives its content back.
pub(super) fn drop_version(transaction: &mut Transaction<'_>, key: &VersionKey, version: &VersionRecord) -> Result<(), StateError> {
    transaction.delete(key);
    let version_id: VersionId = read::stored_id(&version.version, "a version id")?;
    transaction.delete(&VersionByIdKey { entry: key.entry, version: version_id });
    transaction.count(|totals| take(&mut totals.versions, 1, "versions"))?;
    content::release(transaction, ContentId(version.content))
}

fn file(transaction: &Transaction<'_>, path: Option<&crate::wire::meta::v1::EntryPath>) -> Result<Located, Stop> {
    let located = path::existing(transaction.state(), path)?;
    if located.is_folder() {
        return Err(refuse(RejectionCode::IsAFolder, "a folder has no versions"));
    }
    Ok(located)
}

/// A version of a linked file by its id; one that its history still knows of is told from one that never was.
fn find_of(transaction: &Transaction<'_>, located: &Located, version: &[u8]) -> Result<(VersionKey, VersionRecord), Stop> {
    let found = find(transaction, located.entry, version);
    let unknown = matches!(&found, Err(Stop::Refused(rejection)) if rejection.code() == RejectionCode::VersionNotFound);
    if unknown && history::had_version(transaction.state(), located, version)? {
        return Err(refuse(RejectionCode::Pruned, "it was deleted, or pruned by the versioning policy"));
    }
    found
}

/// A version of a file by its id, whether the file is still linked or not.
fn find(transaction: &Transaction<'_>, entry: EntryId, version: &[u8]) -> Result<(VersionKey, VersionRecord), Stop> {
    let version: VersionId = id(version, "version id")?;
    let Some(number) = transaction.get(&VersionByIdKey { entry, version })? else {
        return Err(refuse(RejectionCode::VersionNotFound, format!("there is no version {version}; it may have been deleted or pruned")));
    };
    let key = VersionKey { entry, number: Descending(number) };
    let record = read::expect(transaction.state(), &key)?;
    Ok((key, record))
}
