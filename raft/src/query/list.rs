//! The members of a folder in byte order of names.

use super::{Found, look_up_folder, not_a_folder, page, past};
use crate::keys::{CurrentKey, StampKey};
use crate::state::{entry, read};
use crate::store::{Direction, ReadState, StateError};
use crate::wire::meta::v1::{CurrentRecord, EntryKind, EntryPage, FolderSums, ListQuery};
use skep_placement::ids::EntryId;

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
    let mut skip = query.skip;
    let limit = page(query.limit);
    let mut page = EntryPage { folder: Some(entry::show(state, &folder, query.with_meta)?), ..EntryPage::default() };
    // What is passed over whatever it is need not be read.
    let unread = if is_any { usize::try_from(std::mem::take(&mut skip)).unwrap_or(usize::MAX) } else { 0 };
    let (marks, members) = past::members_now(state, folder.entry, &query.after, (unread, MARK_EVERY))?;
    page.marks = marks.into_iter().take(MARKS_MAX).collect();
    let mut passed = 0;
    for row in members {
        let (name, current) = row?;
        if !wanted(&current) {
            continue;
        }
        if skip > 0 {
            skip -= 1;
            passed += 1;
            mark(&mut page, passed, &name);
            continue;
        }
        if page.entries.len() == limit {
            page.more = true;
            break;
        }
        let mut shown = entry::show_record(state, Some((folder.entry, &name)), &current, query.with_meta)?;
        if query.with_meta && !query.user.is_empty() {
            shown.meta.extend(entry::own_note(state, read::stored_id(&current.entry, "an entry id")?, &query.user)?);
        }
        page.entries.push(shown);
    }
    if query.count_total {
        let sums = page.folder.as_ref().and_then(|folder| folder.sums).unwrap_or_default();
        page.total = count(state, folder.entry, &sums, query)?;
    }
    Ok(Found::List(page))
}

/// How many members of the kind that was asked for a folder has now.
fn count(state: &dyn ReadState, folder: EntryId, sums: &FolderSums, query: &ListQuery) -> Result<u64, StateError> {
    let kind = EntryKind::try_from(query.kind).unwrap_or_default();
    if sums.members_counted {
        return Ok(match kind {
            EntryKind::File => sums.member_files,
            EntryKind::Folder => sums.member_folders,
            EntryKind::Unspecified => sums.member_files + sums.member_folders,
        });
    }
    if kind == EntryKind::Unspecified {
        return read::count::<CurrentKey>(state, &[&folder]);
    }
    let mut total = 0;
    for row in read::rows::<CurrentKey>(state, &[&folder], Direction::Forward) {
        total += u64::from(row?.1.kind() == kind);
    }
    Ok(total)
}

/// Of so many members that are passed over or counted one by one, one is marked.
const MARK_EVERY: usize = 1_000;
/// In one answer.
const MARKS_MAX: usize = 1_000;

/// Marks the member that is the `number`th.
fn mark(page: &mut EntryPage, number: u64, name: &str) {
    let is_marked = usize::try_from(number).is_ok_and(|number| number.is_multiple_of(MARK_EVERY));
    if is_marked && page.marks.len() < MARKS_MAX {
        page.marks.push(name.to_owned());
    }
}

/// Counts members one by one.
fn count_one(page: &mut EntryPage, name: &str) {
    page.total += 1;
    mark(page, page.total, name);
}

/// The members that a folder had. Where nothing has changed since, they are those of now: found, passed over and counted as these are.
fn list_past(state: &dyn ReadState, query: &ListQuery) -> Result<Found, StateError> {
    let folder = match past::look_up(state, query.path.as_ref(), query.at)? {
        Ok(folder) if folder.is_folder() => folder,
        Ok(_) => return Ok(Found::Absence(not_a_folder(query.path.as_ref().map_or(0, |path| path.names.len())))),
        Err(absence) => return Ok(Found::Absence(absence)),
    };
    let is_any = query.kind == i32::from(EntryKind::Unspecified);
    let wanted = |current: &CurrentRecord| is_any || current.kind == query.kind;
    let mut skip = query.skip;
    let limit = page(query.limit);
    let place = folder.place.as_ref().map(|(parent, name)| (*parent, name.as_str()));
    let settled = read::get(state, &StampKey {})?.unwrap_or(0) >= query.at;
    let as_now = past::as_now(state, folder.entry, query.at)?;
    let folder_shown = past::show(place, &folder.current)?;
    let changed_at = as_now.as_ref().map_or(0, |sums| sums.changed_at);
    let mut page = EntryPage { folder: Some(folder_shown), settled, as_now: changed_at, ..EntryPage::default() };
    let rows = if is_any && as_now.is_some() {
        let unread = usize::try_from(std::mem::take(&mut skip)).unwrap_or(usize::MAX);
        let (marks, members) = past::members_now(state, folder.entry, &query.after, (unread, MARK_EVERY))?;
        page.marks = marks.into_iter().take(MARKS_MAX).collect();
        members
    } else {
        past::members(state, folder.entry, &query.after, query.at)
    };
    // A folder that has changed is counted one by one, on the way to the page and on from it if all of it is passed.
    let counted = query.count_total && as_now.is_none();
    let counts_here = counted && query.after.is_empty();
    for row in rows {
        let (name, was) = row?;
        if !wanted(&was) {
            continue;
        }
        if counts_here {
            count_one(&mut page, &name);
        }
        if skip > 0 {
            skip -= 1;
            continue;
        }
        if page.entries.len() == limit {
            page.more = true;
            if counts_here {
                continue;
            }
            break;
        }
        page.entries.push(past::show(Some((folder.entry, &name)), &was)?);
    }
    if let Some(sums) = as_now.filter(|_| query.count_total) {
        page.total = count(state, folder.entry, &sums, query)?;
    }
    if counted && !counts_here {
        for row in past::members(state, folder.entry, "", query.at) {
            let (name, was) = row?;
            if wanted(&was) {
                count_one(&mut page, &name);
            }
        }
    }
    Ok(Found::List(page))
}
