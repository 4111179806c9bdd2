//! `version/entry/¬number`: the versions of a file, newest first; and their numbers by id.

use skep_placement::ids::{EntryId, VersionId};

use super::{Descending, state_key};
use crate::wire::meta::v1::VersionRecord;

state_key!(
    /// A version by its number.
    VersionKey {
        /// The file.
        entry: EntryId,
        /// The number, from 1.
        number: Descending,
    } in Data, Version holds VersionRecord
);

state_key!(
    /// The number of a version.
    VersionByIdKey {
        /// The file.
        entry: EntryId,
        /// The version.
        version: VersionId,
    } in Data, VersionById holds u64
);
