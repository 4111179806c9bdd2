//! `answer/session/number`: outcomes kept until the session's owner has them.

use super::state_key;
use crate::wire::meta::v1::Outcome;

state_key!(
    /// A kept outcome.
    AnswerKey {
        /// The session.
        session: u64,
        /// The command's number in it.
        number: u64,
    } in Meta, Answer holds Outcome
);
