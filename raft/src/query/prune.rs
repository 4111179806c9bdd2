//! What a versioning policy would prune now, were it in force.
//!
//! A content is freed when no version names it any more: versions of one page that share it are counted together, those of different pages are not, so what
//! is told is a lower bound where files are copies of each other.

use std::collections::BTreeMap;

use skep_placement::ids::{ContentId, EntryId};

use super::{Found, absent};
use crate::command::aged;
use crate::keys::{ByIdKey, ContentKey, Descending, VersionKey};
use crate::state::policy::Rules;
use crate::state::read;
use crate::store::{Direction, ReadState, StateError};
use crate::wire::meta::v1::{ByIdRecord, EntryKind, PruneAnswer, PruneQuery};

pub(super) fn preview(state: &dyn ReadState, query: &PruneQuery) -> Result<Found, StateError> {
    let Some(Ok(rules)) = query.policy.as_ref().map(Rules::of) else { return Ok(absent(0)) };
    let limit = usize::try_from(query.limit.clamp(1, 10_000)).unwrap_or(1);
    let now = read::get(state, &crate::keys::StampKey {})?.unwrap_or(0);
    let rows: Vec<(ByIdKey, ByIdRecord)> = match EntryId::try_from(query.after.as_ref()) {
        Ok(entry) => read::rows_after::<ByIdKey>(state, &[], &ByIdKey { entry }).take(limit).collect::<Result<_, _>>()?,
        Err(_first_page) => read::rows::<ByIdKey>(state, &[], Direction::Forward).take(limit).collect::<Result<_, _>>()?,
    };
    let mut answer = PruneAnswer::default();
    let mut given_back: BTreeMap<ContentId, u64> = BTreeMap::new();
    if rows.len() == limit {
        answer.cursor = rows.last().map(|(key, _)| key.entry.0.to_vec().into()).unwrap_or_default();
    }
    for (key, record) in rows.into_iter().filter(|(_, record)| record.kind == i32::from(EntryKind::File)) {
        answer.files += 1;
        let ended_at = if record.reaped { record.unlinked_at } else { 0 };
        let versions = aged(state, key.entry, ended_at)?;
        for number in rules.plan(&versions, now).dropped {
            let version = read::expect(state, &VersionKey { entry: key.entry, number: Descending(number) })?;
            answer.versions += 1;
            answer.bytes += version.size;
            *given_back.entry(ContentId(version.content)).or_default() += 1;
        }
    }
    for (content, times) in given_back {
        let record = read::expect(state, &ContentKey { content })?;
        answer.bytes_freed += if record.references == times { record.size } else { 0 };
    }
    Ok(Found::Prune(answer))
}
