//! The repair queue and the delete list, for the workers that empty them.

use super::{Found, absent, page};
use crate::keys::{ChunkKey, DeleteKey, RepairKey, StateKey};
use crate::state::read;
use crate::store::{Direction, ReadState, StateError};
use crate::wire::meta::v1::{CondemnedQuery, DeletePage, DeleteRecord, PlacedChunk, RepairPage, RepairQuery, RepairRecord};

pub(super) fn repair(state: &dyn ReadState, query: &RepairQuery) -> Result<Found, StateError> {
    let rows: Box<dyn Iterator<Item = Result<(RepairKey, RepairRecord), StateError>>> = if query.after.is_empty() {
        Box::new(read::rows(state, &[], Direction::Forward))
    } else {
        let Ok(chunk) = query.after.as_ref().try_into() else { return Ok(absent(0)) };
        Box::new(read::rows_after(state, &[], &RepairKey { chunk }))
    };
    let limit = page(query.limit);
    let mut answer = RepairPage::default();
    for row in rows {
        let (key, _) = row?;
        if answer.chunks.len() == limit {
            answer.more = true;
            break;
        }
        let record = read::expect(state, &ChunkKey { chunk: key.chunk })?;
        answer.chunks.push(PlacedChunk { chunk: key.chunk.0.to_vec().into(), record: Some(record) });
    }
    Ok(Found::Repair(answer))
}

/// Instances that devices are to delete, the oldest first; the cursor is opaque.
pub(super) fn condemned(state: &dyn ReadState, query: &CondemnedQuery) -> Result<Found, StateError> {
    let rows: Box<dyn Iterator<Item = Result<(DeleteKey, DeleteRecord), StateError>>> = if query.after.is_empty() {
        Box::new(read::rows(state, &[], Direction::Forward))
    } else {
        let Ok(after) = DeleteKey::from_bytes(&query.after) else { return Ok(absent(0)) };
        Box::new(read::rows_after(state, &[], &after))
    };
    let limit = page(query.limit);
    let mut answer = DeletePage::default();
    for row in rows {
        let (key, record) = row?;
        if answer.instances.len() == limit {
            answer.more = true;
            break;
        }
        answer.instances.push(record);
        answer.cursor = key.to_bytes();
    }
    Ok(Found::Condemned(answer))
}
