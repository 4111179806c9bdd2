//! `repair/chunk`: the repair queue.

use skep_placement::ids::ChunkId;

use super::state_key;
use crate::wire::meta::v1::RepairRecord;

state_key!(
    /// A chunk that needs work.
    RepairKey {
        /// The chunk.
        chunk: ChunkId,
    } in Data, Repair holds RepairRecord
);
