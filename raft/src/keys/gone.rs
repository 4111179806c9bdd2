//! `gone/parent/name`: the name has history but no current entry.

use skep_placement::ids::EntryId;

use super::{NameRest, state_key};
use crate::wire::meta::v1::GoneRecord;

state_key!(
    /// A name without a current entry.
    GoneKey {
        /// The folder.
        parent: EntryId,
        /// The name.
        name: NameRest,
    } in Tree, Gone holds GoneRecord
);

impl GoneKey {
    /// The key of a name in a folder.
    #[must_use]
    pub fn new(parent: EntryId, name: &str) -> Self {
        Self { parent, name: NameRest(name.to_owned()) }
    }
}
