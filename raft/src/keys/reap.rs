//! `reap/stamp/entry`: what was deleted for good and is to be taken apart.

use skep_placement::ids::{EntryId, Stamp};

use super::state_key;
use crate::wire::meta::v1::ReapRecord;

state_key!(
    /// Something deleted for good.
    ReapKey {
        /// When.
        since: Stamp,
        /// What.
        entry: EntryId,
    } in Tree, Reap holds ReapRecord
);
