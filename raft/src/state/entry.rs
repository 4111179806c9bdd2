//! An entry as people see it.

use skep_placement::ids::{EntryId, VersionId};

use crate::keys::{EntryMetaKey, SumsKey};
use crate::state::path::Located;
use crate::state::read;
use crate::store::{Direction, ReadState, StateError};
use crate::wire::meta::v1::{CurrentRecord, Entry, EntryKind, EntryMeta};

/// Shows an entry that was located.
pub(crate) fn show(state: &dyn ReadState, located: &Located, with_meta: bool) -> Result<Entry, StateError> {
    let place = located.place.as_ref().map(|(parent, name)| (*parent, name.as_str()));
    show_record(state, place, &located.current, with_meta)
}

/// Shows an entry by its record.
pub(crate) fn show_record(
    state: &dyn ReadState,
    place: Option<(EntryId, &str)>,
    current: &CurrentRecord,
    with_meta: bool,
) -> Result<Entry, StateError> {
    let entry: EntryId = read::stored_id(&current.entry, "an entry id")?;
    let is_folder = current.kind == i32::from(EntryKind::Folder);
    let sums = if is_folder { Some(read::get(state, &SumsKey { folder: entry })?.unwrap_or_default()) } else { None };
    let size = sums.as_ref().map_or(current.size, |sums| sums.bytes);
    let etag = match &sums {
        Some(sums) => sums.changed_at.to_string(),
        None => version_etag(&current.version)?,
    };
    let (parent, name) = place.map_or((bytes::Bytes::new(), String::new()), |(parent, name)| (parent.0.to_vec().into(), name.to_owned()));
    Ok(Entry {
        entry: current.entry.clone(),
        parent,
        name,
        kind: current.kind,
        size,
        version: current.version.clone(),
        version_number: current.version_number,
        mtime: current.mtime,
        changed_at: current.changed_at,
        md5: current.md5.clone(),
        blake3: current.blake3.clone(),
        sums,
        meta: if with_meta { notes(state, entry)? } else { Vec::new() },
        etag,
        created_at: 0,
    })
}

/// The ETag of an entry that was located.
pub(crate) fn etag(state: &dyn ReadState, located: &Located) -> Result<String, StateError> {
    if located.is_folder() {
        Ok(read::get(state, &SumsKey { folder: located.entry })?.unwrap_or_default().changed_at.to_string())
    } else {
        version_etag(&located.current.version)
    }
}

fn version_etag(version: &[u8]) -> Result<String, StateError> {
    read::stored_id::<VersionId>(version, "a version id").map(|version| version.to_string())
}

fn notes(state: &dyn ReadState, entry: EntryId) -> Result<Vec<EntryMeta>, StateError> {
    read::rows::<EntryMetaKey>(state, &[&entry], Direction::Forward)
        .map(|row| row.map(|(key, record)| EntryMeta { namespace: key.namespace.0, json: record.json }))
        .collect()
}
