//! `sums/folder`: recursive sums of a folder.

use skep_placement::ids::EntryId;

use super::state_key;
use crate::wire::meta::v1::FolderSums;

state_key!(
    /// The sums of a folder.
    SumsKey {
        /// The folder.
        folder: EntryId,
    } in Tree, Sums holds FolderSums
);
