//! `workspace/id` and the slug.

use bytes::Bytes;
use skep_placement::ids::RecordId;

use super::{NameRest, state_key};
use crate::wire::meta::v1::WorkspaceRecord;

state_key!(
    /// A workspace.
    WorkspaceKey {
        /// The workspace.
        workspace: RecordId,
    } in Meta, Workspace holds WorkspaceRecord
);

state_key!(
    /// The workspace of a slug, by id.
    WorkspaceBySlugKey {
        /// The slug.
        slug: NameRest,
    } in Meta, WorkspaceBySlug holds Bytes
);
