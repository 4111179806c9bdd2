//! The feed behind a position, and the audit.

use skep_placement::ids::EntryId;

use super::{Found, look_up_folder, page};
use crate::keys::{AppliedIndexKey, AuditKey, ByIdKey, ChangeKey, FeedBeginKey};
use crate::state::read;
use crate::store::{ReadState, StateError};
use crate::wire::meta::v1::{AuditLine, AuditPage, AuditQuery, ChangeRecord, ChangesPage, ChangesQuery, EntryPlace, FeedChange};

pub(super) fn changes(state: &dyn ReadState, query: &ChangesQuery) -> Result<Found, StateError> {
    let within = match &query.within {
        None => None,
        Some(path) => match look_up_folder(state, Some(path))? {
            Ok(folder) => Some(folder.entry),
            Err(absence) => return Ok(Found::Absence(absence)),
        },
    };
    let mut answer = ChangesPage {
        last_index: query.after_index,
        last_sub: query.after_sub,
        end_index: read::get(state, &AppliedIndexKey {})?.unwrap_or(0),
        ..ChangesPage::default()
    };
    let begin = read::get(state, &FeedBeginKey {})?.unwrap_or_default();
    if (query.after_index, query.after_sub) < (begin.index, begin.sub) {
        answer.too_old = true;
        (answer.last_index, answer.last_sub) = (begin.index, begin.sub);
        return Ok(Found::Changes(answer));
    }
    let limit = page(query.limit);
    let after = ChangeKey { index: query.after_index, sub: query.after_sub };
    for (looked_at, row) in read::rows_after::<ChangeKey>(state, &[], &after).enumerate() {
        if looked_at == limit {
            answer.more = true;
            break;
        }
        let (key, change): (ChangeKey, ChangeRecord) = row?;
        (answer.last_index, answer.last_sub) = (key.index, key.sub);
        if let Some(shown) = show(state, within, key, change)? {
            answer.changes.push(shown);
        }
    }
    Ok(Found::Changes(answer))
}

/// A change as one sees it who sees a folder, or everything; none if it is nowhere near the folder.
fn show(state: &dyn ReadState, within: Option<EntryId>, key: ChangeKey, change: ChangeRecord) -> Result<Option<FeedChange>, StateError> {
    let to = seen(state, within, change.to.as_ref())?;
    let from = seen(state, within, change.from.as_ref())?;
    let is_self = within.is_none_or(|within| change.entry.as_ref() == within.0.as_slice());
    if to.is_none() && from.is_none() && !is_self {
        return Ok(None);
    }
    Ok(Some(FeedChange {
        index: key.index,
        sub: key.sub,
        to_inside: to.is_some(),
        from_inside: from.is_some(),
        is_within: within.is_some() && is_self,
        path: to.unwrap_or_default(),
        path_was: from.unwrap_or_default(),
        change: Some(change),
    }))
}

/// The names of a place below a folder, if it is below; for who sees everything below the root of its tree. Folders above are named as they are called now.
fn seen(state: &dyn ReadState, within: Option<EntryId>, place: Option<&EntryPlace>) -> Result<Option<Vec<String>>, StateError> {
    let Some(place) = place else { return Ok(None) };
    let at = match within {
        None => Some(0),
        Some(within) => place.chain.iter().position(|folder| folder.as_ref() == within.0.as_slice()),
    };
    let Some(at) = at else { return Ok(None) };
    let mut names = Vec::with_capacity(place.chain.len() - at);
    for folder in place.chain.iter().skip(at + 1) {
        let entry = read::stored_id(folder, "an entry id")?;
        names.push(read::get(state, &ByIdKey { entry })?.map(|record| record.name).unwrap_or_default());
    }
    names.push(place.name.clone());
    Ok(Some(names))
}

pub(super) fn audit(state: &dyn ReadState, query: &AuditQuery) -> Result<Found, StateError> {
    let limit = page(query.limit);
    let after = AuditKey { index: query.after_index, sub: query.after_sub };
    let rows = read::rows_after::<AuditKey>(state, &[], &after).take(limit + 1);
    let mut lines = rows
        .map(|row| row.map(|(key, record)| AuditLine { index: key.index, sub: key.sub, record: Some(record) }))
        .collect::<Result<Vec<_>, StateError>>()?;
    let more = lines.len() > limit;
    lines.truncate(limit);
    Ok(Found::Audit(AuditPage { lines, more }))
}
