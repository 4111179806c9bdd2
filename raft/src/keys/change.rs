//! `change/index/sub`: the changes of a tree in commit order.

use super::state_key;
use crate::wire::meta::v1::ChangeRecord;

state_key!(
    /// A change by its position.
    ChangeKey {
        /// Of the entry that made it.
        index: u64,
        /// Its number in the entry, growing, perhaps with gaps.
        sub: u32,
    } in Tree, Change holds ChangeRecord
);
