//! The messages of the change feed.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

/// Where the feed stands, and what changed.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = skepChanges)]
pub(crate) struct ChangesResponse {
    /// To go on from, at any node.
    pub position: String,
    /// In commit order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<Vec<ChangeMessage>>,
    /// More are there already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub more: Option<bool>,
}

/// A change as Cells' clients know it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = treeNodeChangeEvent)]
pub(crate) struct ChangeMessage {
    /// CREATE, UPDATE_CONTENT, UPDATE_PATH, UPDATE_META, UPDATE_USER_META or DELETE.
    #[serde(rename = "Type")]
    pub kind: &'static str,
    /// The node where it was; only where it left that place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<ChangedNode>,
    /// The node where and as it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<ChangedNode>,
    /// `EventWorkspaceId`, `skep:login` and `skep:time` (seconds); `skep:namespace` of a note; `skep:list` where a folder came in with what lies in it:
    /// list it.
    pub metadata: BTreeMap<String, String>,
    /// Behind this change; of the feed, not of events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
}

/// A node of a change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = skepChangedNode)]
pub(crate) struct ChangedNode {
    /// Its id; in the feed of a target, or of a source without target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// `slug/dir/file`, by the folders' names now; the slug alone where the workspace's root itself was changed.
    pub path: String,
    /// LEAF or COLLECTION.
    #[serde(rename = "Type")]
    pub kind: &'static str,
    /// Bytes of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// Seconds since the Unix epoch.
    #[serde(rename = "MTime", skip_serializing_if = "Option::is_none")]
    pub mtime: Option<String>,
    /// Of a file: the id of its current version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
}
