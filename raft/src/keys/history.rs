//! `history/parent/name/¬stamp`: what stood under a name until the stamp, newest first.

use skep_placement::ids::EntryId;

use super::{Descending, NameThen, state_key};
use crate::wire::meta::v1::HistoryRecord;

state_key!(
    /// What stood under a name until a stamp.
    HistoryKey {
        /// The folder.
        parent: EntryId,
        /// The name.
        name: NameThen,
        /// The stamp of the change that ended it.
        until: Descending,
    } in Tree, History holds HistoryRecord
);
