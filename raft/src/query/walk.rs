//! All entries below a folder, depth first, parents before members, in pages that go on after the last name seen.
//!
//! A page begins after the names of the last one, whether that entry is still there or not: what was made or removed meanwhile is seen if it
//! lies behind, and nothing is seen twice in an unchanged tree.

use skep_placement::ids::EntryId;

use super::past::Members;
use super::{Found, look_up_folder, not_a_folder, page, past};
use crate::keys::CurrentKey;
use crate::state::{entry, read};
use crate::store::{ReadState, StateError};
use crate::wire::meta::v1::{CurrentRecord, EntryKind, WalkEntry, WalkPage, WalkQuery};

/// A folder whose members are being walked.
struct Open<'a> {
    folder: EntryId,
    /// The name of the last one seen.
    after: String,
    left: Members<'a>,
}

impl<'a> Open<'a> {
    fn new(state: &'a dyn ReadState, folder: EntryId, after: &str, at: u64) -> Self {
        Self { folder, after: after.to_owned(), left: past::members(state, folder, after, at) }
    }
}

pub(super) fn walk(state: &dyn ReadState, query: &WalkQuery) -> Result<Found, StateError> {
    let found =
        if query.at == 0 { look_up_folder(state, query.path.as_ref())? } else { past::look_up(state, query.path.as_ref(), query.at)? };
    let folder = match found {
        Ok(folder) if folder.is_folder() => folder,
        Ok(_) => return Ok(Found::Absence(not_a_folder(query.path.as_ref().map_or(0, |path| path.names.len())))),
        Err(absence) => return Ok(Found::Absence(absence)),
    };
    let limit = page(query.limit);
    let mut open = resume(state, folder.entry, query)?;
    let mut answer = WalkPage::default();
    while let Some(mut here) = open.pop() {
        let Some((name, current)) = here.left.next().transpose()? else { continue };
        if answer.entries.len() == limit {
            answer.more = true;
            break;
        }
        let place = Some((here.folder, name.as_str()));
        let shown = if query.at == 0 { entry::show_record(state, place, &current, false)? } else { past::show(place, &current)? };
        here.after = name;
        open.push(here);
        answer.entries.push(WalkEntry { names: open.iter().map(|open| open.after.clone()).collect(), entry: Some(shown) });
        if let Some(folder) = folder_of(&current)? {
            open.push(Open::new(state, folder, "", query.at));
        }
    }
    Ok(Found::Walk(answer))
}

/// The folders on the way to the last name seen, as far as they are still there.
fn resume<'a>(state: &'a dyn ReadState, folder: EntryId, query: &WalkQuery) -> Result<Vec<Open<'a>>, StateError> {
    let mut open = Vec::new();
    let mut here = Some(folder);
    for name in &query.after {
        let Some(folder) = here else { return Ok(open) };
        open.push(Open::new(state, folder, name, query.at));
        let current =
            if query.at == 0 { read::get(state, &CurrentKey::new(folder, name))? } else { past::member(state, folder, name, query.at)? };
        here = match current {
            Some(current) => folder_of(&current)?,
            None => None,
        };
    }
    open.extend(here.map(|folder| Open::new(state, folder, "", query.at)));
    Ok(open)
}

fn folder_of(current: &CurrentRecord) -> Result<Option<EntryId>, StateError> {
    if current.kind == i32::from(EntryKind::Folder) { read::stored_id(&current.entry, "an entry id").map(Some) } else { Ok(None) }
}
