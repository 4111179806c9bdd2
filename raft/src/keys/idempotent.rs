//! `idempotent/key/step`: what commands gave that a client may repeat; and when that is forgotten.

use skep_placement::ids::Stamp;

use super::state_key;
use crate::wire::meta::v1::IdempotentRecord;

state_key!(
    /// What a step of a repeatable request gave.
    IdempotentKey {
        /// A hash of who asked and the key that was sent.
        key: [u8; 32],
        /// A hash of what the command changed; all zero: the request itself.
        step: [u8; 32],
    } in Meta, Idempotent holds IdempotentRecord
);

state_key!(
    /// When a key was used first; all its steps are forgotten together.
    IdempotentExpiryKey {
        /// The stamp of its first use.
        since: Stamp,
        /// The key.
        key: [u8; 32],
    } in Meta, IdempotentExpiry holds ()
);
