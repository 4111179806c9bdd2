//! `user-note/user/namespace/entry`: what one user alone noted at entries, as bookmarks.

use skep_placement::ids::{EntryId, RecordId};

use super::{NameThen, state_key};
use crate::wire::meta::v1::EntryMetaRecord;

state_key!(
    /// A note of one user at an entry.
    UserNoteKey {
        /// The user.
        user: RecordId,
        /// What kind of note.
        namespace: NameThen,
        /// The entry.
        entry: EntryId,
    } in Tree, UserNote holds EntryMetaRecord
);
