//! `group/id`: where a group's replicas are.

use skep_placement::ids::GroupId;

use super::state_key;
use crate::wire::meta::v1::GroupRecord;

state_key!(
    /// A Raft group.
    GroupKey {
        /// The group.
        group: GroupId,
    } in Meta, Group holds GroupRecord
);
