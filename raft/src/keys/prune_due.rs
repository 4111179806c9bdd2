//! `prune-due/stamp/entry`: files in the order in which their versions are to be looked at.

use skep_placement::ids::{EntryId, Stamp};

use super::state_key;

state_key!(
    /// When a file's versions are looked at.
    PruneDueKey {
        /// The stamp.
        due: Stamp,
        /// The file.
        entry: EntryId,
    } in Data, PruneDue holds ()
);
