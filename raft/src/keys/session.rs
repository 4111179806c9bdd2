//! `session/id`: a process that sends commands.

use super::state_key;
use crate::wire::meta::v1::SessionRecord;

state_key!(
    /// A session.
    SessionKey {
        /// Its id, a counter of the group.
        session: u64,
    } in Meta, Session holds SessionRecord
);
