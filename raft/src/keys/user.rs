//! `user/id` and the login.

use bytes::Bytes;
use skep_placement::ids::RecordId;

use super::{NameRest, state_key};
use crate::wire::meta::v1::UserRecord;

state_key!(
    /// A user.
    UserKey {
        /// The user.
        user: RecordId,
    } in Meta, User holds UserRecord
);

state_key!(
    /// The user of a login, by id.
    UserByLoginKey {
        /// The login.
        login: NameRest,
    } in Meta, UserByLogin holds Bytes
);
