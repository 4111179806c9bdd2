//! `recycled/stamp/entry`: what came into recycle bins, oldest first.

use skep_placement::ids::{EntryId, Stamp};

use super::state_key;

state_key!(
    /// Something that came into a recycle bin, and may have left it since.
    RecycledKey {
        /// When.
        since: Stamp,
        /// What.
        entry: EntryId,
    } in Tree, Recycled holds ()
);
