//! `current/parent/name`: all that a listing shows.

use skep_placement::ids::EntryId;

use super::{NameRest, state_key};
use crate::wire::meta::v1::CurrentRecord;

state_key!(
    /// A linked entry by its folder and name.
    CurrentKey {
        /// The folder.
        parent: EntryId,
        /// The name.
        name: NameRest,
    } in Tree, Current holds CurrentRecord
);

impl CurrentKey {
    /// The key of a name in a folder.
    #[must_use]
    pub fn new(parent: EntryId, name: &str) -> Self {
        Self { parent, name: NameRest(name.to_owned()) }
    }
}
