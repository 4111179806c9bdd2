//! `note-user/entry/user/namespace`: which users have noted something for themselves at an entry, so that it goes with the entry.

use skep_placement::ids::{EntryId, RecordId};

use super::{NameRest, state_key};

state_key!(
    /// A note of one user at an entry, by the entry.
    NoteUserKey {
        /// The entry.
        entry: EntryId,
        /// The user.
        user: RecordId,
        /// What kind of note.
        namespace: NameRest,
    } in Tree, NoteUser holds ()
);
