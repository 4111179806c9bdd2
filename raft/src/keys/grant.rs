//! `grant/user/workspace`, and the same the other way round.

use skep_placement::ids::RecordId;

use super::state_key;
use crate::wire::meta::v1::GrantRecord;

state_key!(
    /// What a user may do in a workspace.
    GrantKey {
        /// The user.
        user: RecordId,
        /// The workspace.
        workspace: RecordId,
    } in Meta, Grant holds GrantRecord
);

state_key!(
    /// The users of a workspace; nothing is stored there.
    GrantByWorkspaceKey {
        /// The workspace.
        workspace: RecordId,
        /// The user.
        user: RecordId,
    } in Meta, GrantByWorkspace holds ()
);
