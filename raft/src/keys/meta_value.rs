//! `meta-value/namespace/hash/entry`: entries by the exact value of a note.

use skep_placement::ids::EntryId;

use super::{NameThen, state_key};

state_key!(
    /// An entry by a note's value.
    MetaValueKey {
        /// Whose note it is.
        namespace: NameThen,
        /// BLAKE3 of the value, its first half.
        hash: [u8; 16],
        /// The entry.
        entry: EntryId,
    } in Tree, MetaValue holds ()
);
