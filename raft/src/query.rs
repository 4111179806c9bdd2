//! Questions to a group's state. Every answer is from one moment, says which, and never guesses: what is not there is an [`Absence`].
//!
//! Invariant: an answer's memory is bounded by the limits of its page, however large the tree.
#![deny(clippy::wildcard_enum_match_arm, clippy::float_arithmetic)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod content;
mod diff;
mod feed;
mod list;
mod locks;
mod meta;
mod past;
mod prune;
mod queues;
mod versions;
mod walk;

use skep_placement::ids::EntryId;

use crate::keys::{AppliedIndexKey, ByIdKey, ChunkKey, RightsIndexKey, StampKey, TotalsKey};
use crate::state::path::{self, Located, Lookup};
use crate::state::{GroupKind, entry, limits, read};
use crate::store::{ReadState, StateError};
use crate::wire::meta::v1::answer::What as Found;
use crate::wire::meta::v1::query::What;
use crate::wire::meta::v1::{Absence, Answer, ChunkQuery, EntryPath, LocateAnswer, LocateQuery, Query, StatQuery};

/// Answers a query.
///
/// The answer's `rights_index` is the highest one of any command of the group, so never lower than that of what was read.
///
/// # Errors
/// [`StateError`]: the node must stop. A malformed query is answered with an absence.
pub fn answer(state: &dyn ReadState, kind: GroupKind, query: &Query) -> Result<Answer, StateError> {
    let found = match kind {
        GroupKind::Datasource(_) => find(state, query)?,
        GroupKind::System => match &query.what {
            Some(What::Audit(query)) => feed::audit(state, query)?,
            Some(_) | None => absent(0),
        },
    };
    Ok(Answer {
        index: read::get(state, &AppliedIndexKey {})?.unwrap_or(0),
        rights_index: read::get(state, &RightsIndexKey {})?.unwrap_or(0),
        stamp: read::get(state, &StampKey {})?.unwrap_or(0),
        what: Some(found),
    })
}

fn find(state: &dyn ReadState, query: &Query) -> Result<Found, StateError> {
    match &query.what {
        None => Ok(absent(0)),
        Some(What::Stat(query)) => stat(state, query),
        Some(What::List(query)) => list::list(state, query),
        Some(What::Versions(query)) => versions::versions(state, query),
        Some(What::Content(query)) => content::content(state, query),
        Some(What::Totals(_)) => Ok(Found::Totals(read::get(state, &TotalsKey {})?.unwrap_or_default())),
        Some(What::Chunk(query)) => chunk(state, query),
        Some(What::Repair(query)) => queues::repair(state, query),
        Some(What::Locate(query)) => locate(state, query),
        Some(What::Walk(query)) => walk::walk(state, query),
        Some(What::Condemned(query)) => queues::condemned(state, query),
        Some(What::Changes(query)) => feed::changes(state, query),
        Some(What::Audit(query)) => feed::audit(state, query),
        Some(What::Diff(query)) => diff::diff(state, query),
        Some(What::Prune(query)) => prune::preview(state, query),
        Some(What::Meta(query)) => meta::meta(state, query),
        Some(What::Locks(query)) => locks::locks(state, query),
    }
}

fn stat(state: &dyn ReadState, query: &StatQuery) -> Result<Found, StateError> {
    if query.at != 0 {
        return Ok(match past::look_up(state, query.path.as_ref(), query.at)? {
            Ok(located) => {
                Found::Entry(past::show(located.place.as_ref().map(|(parent, name)| (*parent, name.as_str())), &located.current)?)
            }
            Err(absence) => Found::Absence(absence),
        });
    }
    let located = match look_up(state, query.path.as_ref())? {
        Ok(located) => located,
        Err(absence) => return Ok(Found::Absence(absence)),
    };
    let mut shown = entry::show(state, &located, false)?;
    let by_id = read::get(state, &ByIdKey { entry: located.entry })?;
    if query.with_meta {
        shown.meta = entry::notes(state, located.entry, by_id.as_ref())?;
        shown.meta.extend(entry::own_note(state, located.entry, &query.user)?);
    }
    shown.created_at = by_id.map_or(0, |record| record.created_at);
    Ok(Found::Entry(shown))
}

fn locate(state: &dyn ReadState, query: &LocateQuery) -> Result<Found, StateError> {
    let Ok(entry) = EntryId::try_from(query.entry.as_ref()) else { return Ok(absent(0)) };
    let Some(located) = path::locate(state, entry)? else { return Ok(absent(0)) };
    if *located.chain.first().unwrap_or(&located.entry) != EntryId::ROOT {
        return Ok(absent(0));
    }
    let mut names = Vec::with_capacity(located.chain.len());
    for folder in located.chain.iter().skip(1) {
        names.push(read::expect(state, &ByIdKey { entry: *folder })?.name);
    }
    names.extend(located.place.as_ref().map(|(_, name)| name.clone()));
    let ancestors = located.chain.iter().map(|folder| folder.0.to_vec().into()).collect();
    Ok(Found::Locate(LocateAnswer { names, ancestors, entry: Some(entry::show(state, &located, false)?) }))
}

fn chunk(state: &dyn ReadState, query: &ChunkQuery) -> Result<Found, StateError> {
    let Ok(chunk) = query.chunk.as_ref().try_into() else { return Ok(absent(0)) };
    Ok(read::get(state, &ChunkKey { chunk })?.map_or_else(|| absent(0), Found::Chunk))
}

/// The entry that a query's path names, or the answer that it is not there.
fn look_up(state: &dyn ReadState, path: Option<&EntryPath>) -> Result<Result<Located, Absence>, StateError> {
    let Some(path) = path else { return Ok(Err(absence(0))) };
    let Ok(base) = EntryId::try_from(path.base.as_ref()) else { return Ok(Err(absence(0))) };
    Ok(match path::look_up(state, base, &path.names)? {
        Lookup::Found(located) => Ok(located),
        Lookup::Missing { at, .. } => Err(absence(at)),
        Lookup::NoBase => Err(absence(0)),
        Lookup::NotAFolder { at } => Err(not_a_folder(at + 1)),
    })
}

/// The folder that a query's path names, or the answer that it is none.
fn look_up_folder(state: &dyn ReadState, path: Option<&EntryPath>) -> Result<Result<Located, Absence>, StateError> {
    let names = path.map_or(0, |path| path.names.len());
    Ok(look_up(state, path)?.and_then(|located| if located.is_folder() { Ok(located) } else { Err(not_a_folder(names)) }))
}

fn absent(depth: usize) -> Found {
    Found::Absence(absence(depth))
}

fn absence(depth: usize) -> Absence {
    Absence { depth: u64::try_from(depth).unwrap_or(u64::MAX), ..Absence::default() }
}

fn not_a_folder(depth: usize) -> Absence {
    Absence { not_a_folder: true, ..absence(depth) }
}

/// A page's length: what was asked for, or the most there is for 0 and for more than it.
fn page(limit: u32) -> usize {
    match usize::try_from(limit) {
        Ok(limit @ 1..=limits::PAGE_MAX) => limit,
        Ok(_) | Err(_) => limits::PAGE_MAX,
    }
}
