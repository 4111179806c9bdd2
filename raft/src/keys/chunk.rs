//! `chunk/id`: the one live instance of a chunk.

use skep_placement::ids::ChunkId;

use super::state_key;
use crate::wire::meta::v1::ChunkRecord;

state_key!(
    /// A chunk.
    ChunkKey {
        /// The chunk.
        chunk: ChunkId,
    } in Data, Chunk holds ChunkRecord
);
