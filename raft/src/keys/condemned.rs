//! `condemned/stamp/chunk`: chunks that no content names, oldest first.

use skep_placement::ids::{ChunkId, Stamp};

use super::state_key;

state_key!(
    /// A condemned chunk; nothing is stored there.
    CondemnedKey {
        /// Since when no content names it.
        since: Stamp,
        /// The chunk.
        chunk: ChunkId,
    } in Data, Condemned holds ()
);
