//! `entry-meta/entry/namespace`: what people and programs noted at an entry.

use skep_placement::ids::EntryId;

use super::{NameRest, state_key};
use crate::wire::meta::v1::EntryMetaRecord;

state_key!(
    /// A note at an entry.
    EntryMetaKey {
        /// The entry.
        entry: EntryId,
        /// Whose note it is.
        namespace: NameRest,
    } in Tree, EntryMeta holds EntryMetaRecord
);
