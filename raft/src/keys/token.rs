//! `token/hash`, and the ways to it: by id, by user, by the end of its life.

use bytes::Bytes;
use skep_placement::ids::{RecordId, Stamp};

use super::state_key;
use crate::wire::meta::v1::TokenRecord;

state_key!(
    /// A token by the SHA-256 of its secret.
    TokenKey {
        /// The hash.
        hash: [u8; 32],
    } in Meta, Token holds TokenRecord
);

state_key!(
    /// The hash of a token.
    TokenByIdKey {
        /// The token.
        token: RecordId,
    } in Meta, TokenById holds Bytes
);

state_key!(
    /// The tokens of a user; the hash is stored there.
    TokenByUserKey {
        /// The user.
        user: RecordId,
        /// The token.
        token: RecordId,
    } in Meta, TokenByUser holds Bytes
);

state_key!(
    /// When a token ends; nothing is stored there.
    TokenExpiryKey {
        /// The end.
        expires_at: Stamp,
        /// The token.
        hash: [u8; 32],
    } in Meta, TokenExpiry holds ()
);
