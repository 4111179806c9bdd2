//! All entries below a folder, depth first, parents before members, in pages that go on after the last name seen.
//!
//! A page begins after the names of the last one, whether that entry is still there or not: what was made or removed meanwhile is seen if it
//! lies behind, and nothing is seen twice in an unchanged tree.

use skep_placement::ids::EntryId;

use super::{Found, look_up_folder, page};
use crate::keys::CurrentKey;
use crate::state::{entry, read};
use crate::store::{ReadState, StateError};
use crate::wire::meta::v1::{CurrentRecord, EntryKind, WalkEntry, WalkPage, WalkQuery};

/// A folder whose members are being walked, and the name of the last one.
struct Open {
    folder: EntryId,
    after: String,
}

pub(super) fn walk(state: &dyn ReadState, query: &WalkQuery) -> Result<Found, StateError> {
    let folder = match look_up_folder(state, query.path.as_ref())? {
        Ok(folder) => folder,
        Err(absence) => return Ok(Found::Absence(absence)),
    };
    let limit = page(query.limit);
    let mut open = resume(state, folder.entry, &query.after)?;
    let mut answer = WalkPage::default();
    while let Some(mut here) = open.pop() {
        let mut rows = read::rows_after(state, &[&here.folder], &CurrentKey::new(here.folder, &here.after));
        let Some((key, current)) = rows.next().transpose()? else { continue };
        drop(rows);
        if answer.entries.len() == limit {
            answer.more = true;
            break;
        }
        let shown = entry::show_record(state, Some((here.folder, &key.name.0)), &current, false)?;
        here.after = key.name.0;
        open.push(here);
        answer.entries.push(WalkEntry { names: open.iter().map(|open| open.after.clone()).collect(), entry: Some(shown) });
        if let Some(folder) = folder_of(&current)? {
            open.push(Open { folder, after: String::new() });
        }
    }
    Ok(Found::Walk(answer))
}

/// The folders on the way to the last name seen, as far as they are still there.
fn resume(state: &dyn ReadState, folder: EntryId, after: &[String]) -> Result<Vec<Open>, StateError> {
    let mut open = Vec::new();
    let mut here = Some(folder);
    for name in after {
        let Some(folder) = here else { return Ok(open) };
        open.push(Open { folder, after: name.clone() });
        here = match read::get(state, &CurrentKey::new(folder, name))? {
            Some(current) => folder_of(&current)?,
            None => None,
        };
    }
    open.extend(here.map(|folder| Open { folder, after: String::new() }));
    Ok(open)
}

fn folder_of(current: &CurrentRecord) -> Result<Option<EntryId>, StateError> {
    if current.kind == i32::from(EntryKind::Folder) { read::stored_id(&current.entry, "an entry id").map(Some) } else { Ok(None) }
}
