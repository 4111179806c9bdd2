//! `lock/entry/token`: locks on entries; when they end; and which lie below a folder.

use skep_placement::ids::{EntryId, Stamp};

use super::state_key;
use crate::wire::meta::v1::LockRecord;

state_key!(
    /// A lock.
    LockKey {
        /// What it was taken on.
        entry: EntryId,
        /// Its token.
        token: [u8; 16],
    } in Tree, Lock holds LockRecord
);

state_key!(
    /// When a lock ends.
    LockExpiryKey {
        /// The stamp.
        expires_at: Stamp,
        /// What it was taken on.
        entry: EntryId,
        /// Its token.
        token: [u8; 16],
    } in Tree, LockExpiry holds ()
);

state_key!(
    /// A lock on something below a folder.
    LockBelowKey {
        /// The folder.
        folder: EntryId,
        /// What the lock was taken on.
        entry: EntryId,
        /// Its token.
        token: [u8; 16],
    } in Tree, LockBelow holds ()
);
