//! What a versioning policy would prune now, were it in force.
//!
//! Invariant: a page counts exactly what `PruneVersions` and `ReapEntries` would drop of its files, were each looked at now. A content counts as freed by the
//! page whose versions are all that name it; what is named by versions of several pages is told apart, for the asker to add up.

use std::collections::BTreeMap;

use skep_placement::ids::{ContentId, EntryId};

use super::{Found, absent};
use crate::command::aged;
use crate::keys::{ByIdKey, ChangeKey, ContentKey, Descending, FeedBeginKey, HistoryHorizonKey, StampKey, VersionKey};
use crate::state::policy::Rules;
use crate::state::read;
use crate::store::{Direction, ReadState, StateError};
use crate::wire::meta::v1::{ByIdRecord, EntryKind, PartlyDropped, PruneAnswer, PruneQuery};

/// Files of one page.
const FILES_MAX: u32 = 10_000;
/// Contents of one page of which further versions are known.
const CONTENTS_MAX: usize = 20_000;

pub(super) fn preview(state: &dyn ReadState, query: &PruneQuery) -> Result<Found, StateError> {
    let Some(Ok(rules)) = query.policy.as_ref().map(Rules::of) else { return Ok(absent(0)) };
    let limit = usize::try_from(query.limit.clamp(1, FILES_MAX)).unwrap_or(1);
    let preview =
        Preview { state, rules, now: read::get(state, &StampKey {})?.unwrap_or(0).max(query.at), reaped_until: reaped_until(state)? };
    let rows: Vec<(ByIdKey, ByIdRecord)> = match EntryId::try_from(query.after.as_ref()) {
        Ok(entry) => read::rows_after::<ByIdKey>(state, &[], &ByIdKey { entry }).take(limit).collect::<Result<_, _>>()?,
        Err(_first_page) => read::rows::<ByIdKey>(state, &[], Direction::Forward).take(limit).collect::<Result<_, _>>()?,
    };
    let mut answer = PruneAnswer::default();
    let mut dropped: BTreeMap<u64, u64> = BTreeMap::new();
    let mut last = None;
    let mut was_full = rows.len() == limit;
    for (key, record) in rows {
        if dropped.len() >= CONTENTS_MAX {
            was_full = true;
            break;
        }
        last = Some(key.entry);
        if record.kind == i32::from(EntryKind::File) {
            preview.file(key.entry, &record, &mut answer, &mut dropped)?;
        }
    }
    if was_full {
        answer.cursor = last.map(|entry| entry.0.to_vec().into()).unwrap_or_default();
    }
    for (content, dropped) in dropped {
        let record = read::expect(state, &ContentKey { content: ContentId(content) })?;
        if dropped == record.references {
            answer.bytes_freed += record.size;
        } else {
            answer.partly.push(PartlyDropped { content, dropped, references: record.references, bytes: record.size });
        }
    }
    Ok(Found::Prune(answer))
}

/// The stamp up to which what was deleted for good is taken apart now.
fn reaped_until(state: &dyn ReadState) -> Result<u64, StateError> {
    let horizon = read::get(state, &HistoryHorizonKey {})?.unwrap_or(0);
    let begin = read::get(state, &FeedBeginKey {})?.unwrap_or_default();
    let oldest = read::rows_after::<ChangeKey>(state, &[], &ChangeKey { index: begin.index, sub: begin.sub }).next().transpose()?;
    Ok(oldest.map_or(horizon, |(_, change)| horizon.min(change.stamp.saturating_sub(1))))
}

/// What a page looks with.
struct Preview<'a> {
    state: &'a dyn ReadState,
    rules: Rules,
    now: u64,
    reaped_until: u64,
}

impl Preview<'_> {
    /// Counts what would go of a file.
    fn file(
        &self,
        entry: EntryId,
        record: &ByIdRecord,
        answer: &mut PruneAnswer,
        dropped: &mut BTreeMap<u64, u64>,
    ) -> Result<(), StateError> {
        answer.files += 1;
        for number in self.plan(entry, record)? {
            let version = read::expect(self.state, &VersionKey { entry, number: Descending(number) })?;
            answer.versions += 1;
            answer.bytes += version.size;
            *dropped.entry(version.content).or_default() += 1;
        }
        Ok(())
    }

    /// Numbers of the versions that would go.
    fn plan(&self, entry: EntryId, record: &ByIdRecord) -> Result<Vec<u64>, StateError> {
        let is_taken_apart = record.reaped || (record.unlinked_at != 0 && record.unlinked_at <= self.reaped_until);
        // What was deleted for good keeps its last version until it is taken apart.
        let ended_at = if is_taken_apart { record.unlinked_at } else { 0 };
        let mut versions = aged(self.state, entry, ended_at)?;
        let mut numbers = if is_taken_apart { self.rules.of_deleted(&versions) } else { Vec::new() };
        versions.retain(|version| !numbers.contains(&version.number));
        numbers.extend(self.rules.plan(&versions, self.now).dropped);
        Ok(numbers)
    }
}
