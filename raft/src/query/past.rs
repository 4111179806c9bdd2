//! The tree as it was at an instant: what stood under a name, and the members of a folder.
//!
//! A record of now counts for every instant from its last change on; for an earlier one a single seek finds what stood there. Invariant: at the stamp of
//! a command its change is seen whole. How far back this goes is the history horizon; callers check it by [`reaches`].

use std::cmp::Ordering;

use skep_placement::ids::EntryId;

use super::{absence, not_a_folder};
use crate::keys::{self, ByIdKey, CurrentKey, Descending, GoneKey, HistoryHorizonKey, HistoryKey, NameThen, StateKey, SumsKey};
use crate::state::path::Located;
use crate::state::read;
use crate::store::{LastRow, ReadState, StateError};
use crate::wire::meta::v1::{Absence, ByIdRecord, CurrentRecord, Entry, EntryKind, EntryPath, FolderSums, GoneRecord, HistoryRecord};
use prost::Message;

/// Whether history reaches back to an instant; the horizon if it does not.
pub(super) fn reaches(state: &dyn ReadState, at: u64) -> Result<Option<Absence>, StateError> {
    let horizon = read::get(state, &HistoryHorizonKey {})?.unwrap_or(0);
    Ok((at < horizon).then(|| Absence { horizon, ..absence(0) }))
}

/// What stood under a name.
pub(super) fn member(state: &dyn ReadState, parent: EntryId, name: &str, at: u64) -> Result<Option<CurrentRecord>, StateError> {
    match read::get(state, &CurrentKey::new(parent, name))? {
        Some(current) if current.changed_at <= at => Ok(Some(current)),
        Some(_) | None => superseded(&mut state.last_rows(HistoryKey::FAMILY), parent, name, at),
    }
}

/// What stood under a name whose record of now, if any, is younger: the row that ended first after the instant, if it had begun.
fn superseded(history: &mut LastRow<'_>, parent: EntryId, name: &str, at: u64) -> Result<Option<CurrentRecord>, StateError> {
    let name = NameThen(name.to_owned());
    let prefix = keys::prefix::<HistoryKey>(&[&parent, &name]);
    let end = HistoryKey { parent, name, until: Descending(at) }.to_bytes();
    let Some((_, value)) = history(&prefix, &end)? else { return Ok(None) };
    let record = HistoryRecord::decode(value).map_err(|error| StateError::corrupt(format!("a record of history: {error}")))?;
    Ok(record.was.filter(|was| was.changed_at <= at))
}

/// Members of a folder in byte order of names.
pub(super) type Members<'a> = Box<dyn Iterator<Item = Result<(String, CurrentRecord), StateError>> + 'a>;

/// The members of a folder as they were, from behind `after` on; at 0: as they are.
pub(super) fn members<'a>(state: &'a dyn ReadState, folder: EntryId, after: &str, at: u64) -> Members<'a> {
    match as_now(state, folder, at) {
        Err(error) => Box::new(std::iter::once(Err(error))),
        Ok(Some(_)) => match members_now(state, folder, after, (0, 1)) {
            Ok((_, members)) => members,
            Err(error) => Box::new(std::iter::once(Err(error))),
        },
        Ok(None) => changed_members(state, folder, after, at),
    }
}

/// The sums of a folder if nothing at or below it has changed since an instant, so that its members then are those of now.
pub(super) fn as_now(state: &dyn ReadState, folder: EntryId, at: u64) -> Result<Option<FolderSums>, StateError> {
    let sums = read::get(state, &SumsKey { folder })?.unwrap_or_default();
    Ok((at == 0 || sums.changed_at <= at).then_some(sums))
}

/// The members of a folder from behind `after` on, but for so many, of which every so many is named.
pub(super) fn members_now<'a>(
    state: &'a dyn ReadState,
    folder: EntryId,
    after: &str,
    (passed, marked_every): (usize, usize),
) -> Result<(Vec<String>, Members<'a>), StateError> {
    let (marks, rows) = read::rows_after_skipping(state, &[&folder], &CurrentKey::new(folder, after), (passed, marked_every))?;
    let rows = rows.map(|row| row.map(|(key, current): (CurrentKey, CurrentRecord)| (key.name.0, current)));
    Ok((marks.into_iter().map(|key: CurrentKey| key.name.0).collect(), Box::new(rows)))
}

/// The members that a folder had which has changed since.
fn changed_members<'a>(state: &'a dyn ReadState, folder: EntryId, after: &str, at: u64) -> Members<'a> {
    let mut history = state.last_rows(HistoryKey::FAMILY);
    Box::new(names(state, folder, after).filter_map(move |row| match row {
        Err(error) => Some(Err(error)),
        Ok((name, Row::Current(current))) if current.changed_at <= at => Some(Ok((name, current))),
        Ok((_, Row::Gone(gone))) if gone.since <= at => None,
        Ok((name, Row::Current(_) | Row::Gone(_))) => match superseded(&mut history, folder, &name, at) {
            Ok(was) => was.map(|was| Ok((name, was))),
            Err(error) => Some(Err(error)),
        },
    }))
}

/// What a name is now.
pub(super) enum Row {
    /// It names this.
    Current(CurrentRecord),
    /// It names nothing any more.
    Gone(GoneRecord),
}

/// All names that a folder has or had, in order, from behind `after` on.
pub(super) fn names<'a>(
    state: &'a dyn ReadState,
    folder: EntryId,
    after: &str,
) -> impl Iterator<Item = Result<(String, Row), StateError>> + use<'a> {
    let mut current = read::rows_after::<CurrentKey>(state, &[&folder], &CurrentKey::new(folder, after)).peekable();
    let mut gone = read::rows_after::<GoneKey>(state, &[&folder], &GoneKey::new(folder, after)).peekable();
    std::iter::from_fn(move || {
        let order = match (current.peek(), gone.peek()) {
            (None, None) => return None,
            (Some(_), None) | (Some(Err(_)), Some(_)) => Ordering::Less,
            (None, Some(_)) | (Some(Ok(_)), Some(Err(_))) => Ordering::Greater,
            (Some(Ok((one, _))), Some(Ok((other, _)))) => one.name.cmp(&other.name),
        };
        if order == Ordering::Greater {
            gone.next().map(|row| row.map(|(key, record)| (key.name.0, Row::Gone(record))))
        } else {
            current.next().map(|row| row.map(|(key, record)| (key.name.0, Row::Current(record))))
        }
    })
}

/// The entry that a path named. The base counts as it is: a workspace's root, or an entry by its id.
pub(super) fn look_up(state: &dyn ReadState, path: Option<&EntryPath>, at: u64) -> Result<Result<Located, Absence>, StateError> {
    if let Some(absence) = reaches(state, at)? {
        return Ok(Err(absence));
    }
    let Some(path) = path else { return Ok(Err(absence(0))) };
    let Ok(base) = EntryId::try_from(path.base.as_ref()) else { return Ok(Err(absence(0))) };
    let Some(mut here) = base_at(state, base, at)? else { return Ok(Err(absence(0))) };
    for (depth, name) in path.names.iter().enumerate() {
        if !here.is_folder() {
            return Ok(Err(not_a_folder(depth)));
        }
        let Some(current) = member(state, here.entry, name, at)? else { return Ok(Err(absence(depth))) };
        let chain = here.chain_with_self();
        here = Located::linked(here.entry, name, current, chain)?;
    }
    Ok(Ok(here))
}

fn base_at(state: &dyn ReadState, base: EntryId, at: u64) -> Result<Option<Located>, StateError> {
    let folder = |created_at| CurrentRecord {
        entry: base.0.to_vec().into(),
        kind: EntryKind::Folder.into(),
        mtime: created_at,
        changed_at: created_at,
        ..CurrentRecord::default()
    };
    if base == EntryId::ROOT {
        return Ok(Some(Located { entry: base, kind: EntryKind::Folder, place: None, current: folder(0), chain: Vec::new() }));
    }
    let Some(record) = read::get(state, &ByIdKey { entry: base })? else { return Ok(None) };
    if record.created_at > at || deleted_by(state, &record, at)? {
        return Ok(None);
    }
    if record.kind == i32::from(EntryKind::Folder) {
        let current = folder(record.created_at);
        return Ok(Some(Located { entry: base, kind: EntryKind::Folder, place: None, current, chain: Vec::new() }));
    }
    // A file by its id: where it hangs now, or hung last, is where its record is found.
    let Ok(parent) = EntryId::try_from(record.parent.as_ref()) else { return Ok(None) };
    match member(state, parent, &record.name, at)? {
        Some(current) if current.entry.as_ref() == base.0.as_slice() => {
            Located::linked(parent, &record.name, current, vec![parent]).map(Some)
        }
        Some(_) | None => Ok(None),
    }
}

/// Whether an entry, or a folder above it, was deleted for good by an instant. Nothing moves below what is deleted: the folders above it now are those
/// that were above it when one of them went.
fn deleted_by(state: &dyn ReadState, record: &ByIdRecord, at: u64) -> Result<bool, StateError> {
    let mut here = record.clone();
    loop {
        if here.unlinked_at != 0 && here.unlinked_at <= at {
            return Ok(true);
        }
        // A root hangs nowhere.
        let Ok(entry) = EntryId::try_from(here.parent.as_ref()) else { return Ok(false) };
        if entry == EntryId::ROOT {
            return Ok(false);
        }
        here = read::expect(state, &ByIdKey { entry })?;
    }
}

/// Shows an entry as it was. Sums of folders are those of now and are not shown.
pub(super) fn show(place: Option<(EntryId, &str)>, current: &CurrentRecord) -> Result<Entry, StateError> {
    let is_folder = current.kind == i32::from(EntryKind::Folder);
    let etag = if is_folder {
        current.changed_at.to_string()
    } else {
        read::stored_id::<skep_placement::ids::VersionId>(&current.version, "a version id")?.to_string()
    };
    Ok(Entry {
        entry: current.entry.clone(),
        parent: place.map_or_else(bytes::Bytes::new, |(parent, _)| parent.0.to_vec().into()),
        name: place.map_or_else(String::new, |(_, name)| name.to_owned()),
        kind: current.kind,
        size: current.size,
        version: current.version.clone(),
        version_number: current.version_number,
        mtime: current.mtime,
        changed_at: current.changed_at,
        md5: current.md5.clone(),
        blake3: current.blake3.clone(),
        sums: None,
        meta: Vec::new(),
        etag,
        created_at: 0,
    })
}
