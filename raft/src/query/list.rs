//! The members of a folder in byte order of names.

use super::{Found, look_up_folder, not_a_folder, page, past};
use crate::keys::{CurrentKey, StampKey};
use crate::state::{entry, limits, read};
use crate::store::{Direction, ReadState, StateError};
use crate::wire::meta::v1::{CurrentRecord, EntryKind, EntryPage, ListQuery};

pub(super) fn list(state: &dyn ReadState, query: &ListQuery) -> Result<Found, StateError> {
    if query.at != 0 {
        return list_past(state, query);
    }
    let folder = match look_up_folder(state, query.path.as_ref())? {
        Ok(folder) => folder,
        Err(absence) => return Ok(Found::Absence(absence)),
    };
    let is_any = query.kind == i32::from(EntryKind::Unspecified);
    let wanted = |current: &CurrentRecord| is_any || current.kind == query.kind;
    let mut skip = query.skip.min(limits::SKIP_MAX);
    let limit = page(query.limit);
    let mut page = EntryPage { folder: Some(entry::show(state, &folder, query.with_meta)?), ..EntryPage::default() };
    // What is passed over whatever it is need not be read.
    let unread = if is_any { usize::try_from(std::mem::take(&mut skip)).unwrap_or(usize::MAX) } else { 0 };
    let after = CurrentKey::new(folder.entry, &query.after);
    for row in read::rows_after_skipping(state, &[&folder.entry], &after, unread) {
        let (key, current): (CurrentKey, CurrentRecord) = row?;
        if !wanted(&current) {
            continue;
        }
        if skip > 0 {
            skip -= 1;
            continue;
        }
        if page.entries.len() == limit {
            page.more = true;
            break;
        }
        let mut shown = entry::show_record(state, Some((folder.entry, &key.name.0)), &current, query.with_meta)?;
        if query.with_meta && !query.user.is_empty() {
            shown.meta.extend(entry::own_note(state, read::stored_id(&current.entry, "an entry id")?, &query.user)?);
        }
        page.entries.push(shown);
    }
    let sums = page.folder.as_ref().and_then(|folder| folder.sums).filter(|sums| sums.members_counted);
    if let (true, Some(sums)) = (query.count_total, sums) {
        page.total = match EntryKind::try_from(query.kind) {
            Ok(EntryKind::File) => sums.member_files,
            Ok(EntryKind::Folder) => sums.member_folders,
            _ => sums.member_files + sums.member_folders,
        };
    } else if query.count_total && is_any {
        page.total = read::count::<CurrentKey>(state, &[&folder.entry])?;
    } else if query.count_total {
        for row in read::rows::<CurrentKey>(state, &[&folder.entry], Direction::Forward) {
            page.total += u64::from(wanted(&row?.1));
        }
    }
    Ok(Found::List(page))
}

/// The members that a folder had.
fn list_past(state: &dyn ReadState, query: &ListQuery) -> Result<Found, StateError> {
    let folder = match past::look_up(state, query.path.as_ref(), query.at)? {
        Ok(folder) if folder.is_folder() => folder,
        Ok(_) => return Ok(Found::Absence(not_a_folder(query.path.as_ref().map_or(0, |path| path.names.len())))),
        Err(absence) => return Ok(Found::Absence(absence)),
    };
    let wanted = |current: &CurrentRecord| query.kind == i32::from(EntryKind::Unspecified) || current.kind == query.kind;
    let mut skip = query.skip.min(limits::SKIP_MAX);
    let limit = page(query.limit);
    let place = folder.place.as_ref().map(|(parent, name)| (*parent, name.as_str()));
    let settled = read::get(state, &StampKey {})?.unwrap_or(0) >= query.at;
    let mut page = EntryPage { folder: Some(past::show(place, &folder.current)?), settled, ..EntryPage::default() };
    for row in past::members(state, folder.entry, &query.after, query.at) {
        let (name, was) = row?;
        if !wanted(&was) {
            continue;
        }
        if skip > 0 {
            skip -= 1;
            continue;
        }
        if page.entries.len() == limit {
            page.more = true;
            break;
        }
        page.entries.push(past::show(Some((folder.entry, &name)), &was)?);
    }
    if query.count_total {
        for row in past::members(state, folder.entry, "", query.at) {
            page.total += u64::from(wanted(&row?.1));
        }
    }
    Ok(Found::List(page))
}
