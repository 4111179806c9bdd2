//! `join-token/hash`: lets one node join, once.

use super::state_key;
use crate::wire::meta::v1::JoinTokenRecord;

state_key!(
    /// A join token by the SHA-256 of its secret.
    JoinTokenKey {
        /// The hash.
        hash: [u8; 32],
    } in Meta, JoinToken holds JoinTokenRecord
);
