//! An entry as people see it.

use skep_placement::ids::{EntryId, RecordId, VersionId};

use crate::keys::{ByIdKey, EntryMetaKey, NameThen, StampKey, SumsKey, TotalsKey, UserNoteKey};
use crate::state::path::Located;
use crate::state::{lock, namespace, read};
use crate::store::{Direction, ReadState, StateError};
use crate::wire::meta::v1::{ByIdRecord, CurrentRecord, Entry, EntryKind, EntryMeta, LockKind};

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
        meta: if with_meta { notes(state, entry, read::get(state, &ByIdKey { entry })?.as_ref())? } else { Vec::new() },
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

/// What is noted at an entry for everybody, and who holds its content lock; looked for only where its by-id record does not say that there is nothing.
pub(crate) fn notes(state: &dyn ReadState, entry: EntryId, by_id: Option<&ByIdRecord>) -> Result<Vec<EntryMeta>, StateError> {
    let mut notes = Vec::new();
    if by_id.is_none_or(|record| !record.unnoted) {
        let rows = read::rows::<EntryMetaKey>(state, &[&entry], Direction::Forward)
            .map(|row| row.map(|(key, record)| EntryMeta { namespace: key.namespace.0, json: record.json }))
            // The lock alone says who holds it.
            .filter(|note| note.as_ref().map_or(true, |note| note.namespace != namespace::CONTENT_LOCK));
        notes = rows.collect::<Result<Vec<EntryMeta>, StateError>>()?;
    }
    notes.extend(content_lock(state, entry)?);
    Ok(notes)
}

/// What a user alone has marked an entry with; nothing for no user.
pub(crate) fn own_note(state: &dyn ReadState, entry: EntryId, user: &[u8]) -> Result<Option<EntryMeta>, StateError> {
    let Ok(user) = RecordId::try_from(user) else { return Ok(None) };
    let key = UserNoteKey { user, namespace: NameThen(namespace::BOOKMARK.to_owned()), entry };
    Ok(read::get(state, &key)?.map(|record| EntryMeta { namespace: namespace::BOOKMARK.to_owned(), json: record.json }))
}

/// Who holds the content lock, as clients of Cells know it: a note with the login.
fn content_lock(state: &dyn ReadState, entry: EntryId) -> Result<Option<EntryMeta>, StateError> {
    if read::get(state, &TotalsKey {})?.is_none_or(|totals| totals.locks == 0) {
        return Ok(None);
    }
    let stamp = read::get(state, &StampKey {})?.unwrap_or(0);
    let held = lock::on(state, entry)?.into_iter().find(|(_, lock)| lock.kind() == LockKind::Content && lock::is_live(lock, stamp));
    let login = held.and_then(|(_, lock)| lock.owner).map(|owner| owner.login);
    Ok(login.map(|login| EntryMeta { namespace: namespace::CONTENT_LOCK.to_owned(), json: json_text(&login) }))
}

/// A text as JSON.
fn json_text(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            control if control.is_control() => json.push_str(&format!("\\u{:04x}", u32::from(control))),
            plain => json.push(plain),
        }
    }
    json.push('"');
    json
}

#[cfg(test)]
mod tests {
    use super::json_text;

    #[test]
    fn a_login_is_a_json_text() {
        assert_eq!(json_text("ana"), "\"ana\"");
        assert_eq!(json_text("a\"b\\c\n"), "\"a\\\"b\\\\c\\u000a\"");
    }
}
