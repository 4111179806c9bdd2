//! What to read for a range of a file: inline bytes, or the chunks that cover it with their records.

use skep_placement::ids::{ChunkId, ContentId, VersionId};

use super::{Found, absent, look_up, past};
use crate::keys::{self, ChunkKey, ContentKey, Descending, ManifestKey, VersionByIdKey, VersionKey};
use crate::state::path::Located;
use crate::state::{entry, history, limits, manifest, read};
use crate::store::{Family, ReadState, StateError};
use crate::wire::meta::v1::{Absence, ContentAnswer, ContentQuery, ContentRecord, PlacedChunk, VersionRecord};

pub(super) fn content(state: &dyn ReadState, query: &ContentQuery) -> Result<Found, StateError> {
    let mut answer = ContentAnswer::default();
    let content = if query.content == 0 {
        let found = if query.at == 0 { look_up(state, query.path.as_ref())? } else { past::look_up(state, query.path.as_ref(), query.at)? };
        let located = match found {
            Ok(located) => located,
            Err(absence) => return Ok(Found::Absence(absence)),
        };
        let depth = query.path.as_ref().map_or(0, |path| path.names.len());
        if located.is_folder() {
            return Ok(absent(depth));
        }
        let wanted = if query.at == 0 { &query.version } else { &located.current.version };
        let Some(version) = version(state, &located, wanted, query.at != 0)? else {
            let depth = u64::try_from(depth).unwrap_or(u64::MAX);
            let pruned = query.at != 0 || history::had_version(state, &located, wanted)?;
            return Ok(Found::Absence(Absence { depth, unavailable_version: true, pruned, ..Absence::default() }));
        };
        answer.entry = Some(if query.at == 0 {
            entry::show(state, &located, false)?
        } else {
            past::show(located.place.as_ref().map(|(parent, name)| (*parent, name.as_str())), &located.current)?
        });
        let content = ContentId(version.content);
        answer.version = Some(version);
        content
    } else {
        ContentId(query.content)
    };
    // An upload is no content before its commit.
    let record = match read::get(state, &ContentKey { content })? {
        Some(record) if record.upload.is_none() => record,
        Some(_) | None if query.content != 0 => return Ok(absent(0)),
        Some(_) | None => return Err(StateError::corrupt(format!("a version refers to content {content}, which is not there"))),
    };
    if record.inlined {
        let bytes = state.get(Family::Inline, &keys::inline(content))?;
        answer.inlined = bytes.ok_or_else(|| StateError::corrupt(format!("the bytes of inline content {content} are not there")))?;
        answer.is_inlined = true;
        answer.key_version = record.key_version;
        return Ok(Found::Content(answer));
    }
    cover(state, content, &record, query, &mut answer)?;
    Ok(Found::Content(answer))
}

fn version(state: &dyn ReadState, located: &Located, wanted: &[u8], is_past: bool) -> Result<Option<VersionRecord>, StateError> {
    if !is_past && (wanted.is_empty() || wanted == located.current.version.as_ref()) {
        let number = Descending(located.current.version_number);
        return read::expect(state, &VersionKey { entry: located.entry, number }).map(Some);
    }
    let Ok(version) = VersionId::try_from(wanted) else { return Ok(None) };
    let Some(number) = read::get(state, &VersionByIdKey { entry: located.entry, version })? else { return Ok(None) };
    read::expect(state, &VersionKey { entry: located.entry, number: Descending(number) }).map(Some)
}

/// Fills in the chunks that cover the range.
fn cover(
    state: &dyn ReadState,
    content: ContentId,
    record: &ContentRecord,
    query: &ContentQuery,
    answer: &mut ContentAnswer,
) -> Result<(), StateError> {
    let end = match query.length {
        0 => record.size,
        length => query.offset.saturating_add(length).min(record.size),
    };
    if query.offset >= end {
        answer.first_offset = record.size;
        return Ok(());
    }
    let limit = match usize::try_from(query.chunks_max) {
        Ok(limit @ 1..=limits::CHUNKS_ANSWERED_MAX) => limit,
        Ok(_) | Err(_) => limits::CHUNKS_ANSWERED_MAX,
    };
    let first = manifest::part_of(state, content, record, query.offset)?;
    for number in first..manifest::parts(record) {
        let part = read::expect(state, &ManifestKey { content, part: number })?;
        let mut offset = part.offset;
        for place in part.chunks {
            let next = offset + u64::from(place.length);
            if offset >= end {
                return Ok(());
            }
            if next > query.offset {
                if answer.chunks.len() == limit {
                    answer.more = true;
                    return Ok(());
                }
                if answer.chunks.is_empty() {
                    answer.first_offset = offset;
                }
                let chunk = read::stored_id::<ChunkId>(&place.chunk, "a chunk id")?;
                let record = read::expect(state, &ChunkKey { chunk })?;
                answer.chunks.push(PlacedChunk { chunk: place.chunk, record: Some(record) });
            }
            offset = next;
        }
    }
    Ok(())
}
