//! `by-id/entry`: where an entry hangs.

use skep_placement::ids::EntryId;

use super::state_key;
use crate::wire::meta::v1::ByIdRecord;

state_key!(
    /// An entry by its id.
    ByIdKey {
        /// The entry.
        entry: EntryId,
    } in Tree, ById holds ByIdRecord
);
