//! The versions of a file, newest first.

use super::{Found, absent, look_up, page};
use crate::keys::{Descending, VersionKey};
use crate::state::{entry, read};
use crate::store::{ReadState, StateError};
use crate::wire::meta::v1::{VersionPage, VersionRecord, VersionsQuery};

pub(super) fn versions(state: &dyn ReadState, query: &VersionsQuery) -> Result<Found, StateError> {
    let located = match look_up(state, query.path.as_ref())? {
        Ok(located) => located,
        Err(absence) => return Ok(Found::Absence(absence)),
    };
    if located.is_folder() {
        return Ok(absent(query.path.as_ref().map_or(0, |path| path.names.len())));
    }
    let limit = page(query.limit);
    let newest = query.before.checked_sub(1).unwrap_or(u64::MAX);
    let from = VersionKey { entry: located.entry, number: Descending(newest) };
    let rows = read::rows_from(state, &[&located.entry], &from)
        .map(|row: Result<(VersionKey, VersionRecord), StateError>| row.map(|(_, version)| version));
    let mut versions = rows.take(limit + 1).collect::<Result<Vec<VersionRecord>, StateError>>()?;
    let more = versions.len() > limit;
    versions.truncate(limit);
    Ok(Found::Versions(VersionPage { entry: Some(entry::show(state, &located, false)?), versions, more }))
}
