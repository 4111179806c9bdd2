//! `note-index/namespace`: namespaces whose notes are found by their values in this group.

use super::{NameRest, state_key};
use crate::wire::meta::v1::NoteIndexRecord;

state_key!(
    /// A namespace whose notes are found by their values.
    NoteIndexKey {
        /// Its name.
        namespace: NameRest,
    } in Meta, NoteIndex holds NoteIndexRecord
);
