//! Messages of metadata that people keep: namespaces, values, bookmarks, tags.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::TreeNode;

/// `serviceResourcePolicy`
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
#[schema(as = serviceResourcePolicy)]
pub(crate) struct PolicyMessage {
    /// What it is about.
    pub resource: String,
    /// READ, WRITE, OWNER or ANY.
    pub action: String,
    /// `*`, `profile:<name>`, `user:<login or id>` or `role:<id>`.
    pub subject: String,
    /// allow or deny; a denial wins.
    pub effect: String,
}

/// `idmUserMetaNamespace`
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
#[schema(as = idmUserMetaNamespace)]
pub(crate) struct NamespaceMessage {
    /// Its name; of one that is defined it begins with `usermeta-`.
    pub namespace: String,
    /// For people.
    pub label: String,
    /// Its place among others.
    pub order: i32,
    /// Entries are found by its values; those noted before it was set once they are noted again.
    pub indexable: bool,
    /// A JSON text: `{"type": …, "data": …}`.
    pub json_definition: String,
    /// Who may do what; none sent: every user reads, administrators write.
    pub policies: Vec<PolicyMessage>,
    /// The caller may change it.
    pub policies_context_editable: bool,
}

/// `restUserMetaNamespaceCollection`
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = restUserMetaNamespaceCollection)]
pub(crate) struct NamespaceCollection {
    /// Those that the caller may read.
    pub namespaces: Vec<NamespaceMessage>,
}

/// `idmUpdateUserMetaNamespaceRequest`
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
#[schema(as = idmUpdateUserMetaNamespaceRequest)]
pub(crate) struct UpdateNamespacesRequest {
    /// PUT or DELETE.
    pub operation: String,
    /// Which ones; to delete the name is enough.
    pub namespaces: Vec<NamespaceMessage>,
}

/// `idmUserMeta` as sent.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct SentUserMeta {
    /// The entry's id.
    pub node_uuid: String,
    /// Under which name.
    pub namespace: String,
    /// A JSON text; an empty one takes the value away.
    pub json_value: String,
}

/// `idmUserMeta`
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = idmUserMeta)]
pub(crate) struct UserMetaMessage {
    /// The entry's id and the namespace, with a colon between them.
    pub uuid: String,
    /// The entry's id.
    pub node_uuid: String,
    /// Under which name.
    pub namespace: String,
    /// A JSON text.
    pub json_value: String,
    /// The policies of its namespace hold for each value.
    pub policies: Vec<PolicyMessage>,
    /// Never: they are changed with the namespace.
    pub policies_context_editable: bool,
    /// The entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved_node: Option<TreeNode>,
}

/// `idmUpdateUserMetaRequest`
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
#[schema(as = idmUpdateUserMetaRequest)]
pub(crate) struct UpdateUserMetaRequest {
    /// PUT or DELETE.
    pub operation: String,
    /// All of one datasource.
    pub meta_datas: Vec<SentUserMeta>,
}

/// `idmUpdateUserMetaResponse`
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = idmUpdateUserMetaResponse)]
pub(crate) struct UpdateUserMetaResponse {
    /// As they are now.
    pub meta_datas: Vec<UserMetaMessage>,
}

/// `idmSearchUserMetaRequest`
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
#[schema(as = idmSearchUserMetaRequest)]
pub(crate) struct SearchUserMetaRequest {
    /// Ids of values.
    pub meta_uuids: Vec<String>,
    /// Ids of entries: their values, of the namespace if one is named.
    pub node_uuids: Vec<String>,
    /// Without ids: all values of a searchable namespace, or the caller's own of a private one.
    pub namespace: String,
    /// Only this exact value, a JSON text; of this server alone.
    pub json_value: String,
    /// Not supported but for the caller.
    pub resource_subject_owner: String,
}

/// `restUserMetaCollection`
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = restUserMetaCollection)]
pub(crate) struct UserMetaCollection {
    /// What was found.
    pub metadatas: Vec<UserMetaMessage>,
}

/// `restUserBookmarksRequest`
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
#[schema(as = restUserBookmarksRequest)]
pub(crate) struct BookmarksRequest {
    /// Of no effect: all are given.
    pub all: bool,
}

/// `restListUserMetaTagsResponse`
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = restListUserMetaTagsResponse)]
pub(crate) struct TagsResponse {
    /// In byte order.
    pub tags: Vec<String>,
}

/// A tag to add.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
#[schema(as = restPutUserMetaTagRequest)]
pub(crate) struct PutTagRequest {
    /// Without a comma.
    pub tag: String,
}

/// `restPutUserMetaTagResponse`, `restDeleteUserMetaTagsResponse`
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = restPutUserMetaTagResponse)]
pub(crate) struct TagsChangedResponse {
    /// Always true: a failure is an error.
    pub success: bool,
}

/// Names of what is noted.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
#[schema(as = restMetaNamespaceRequest)]
pub(crate) struct MetaNamesRequest {
    /// Of a look: none named are all.
    pub namespace: Vec<String>,
}

/// `restMetaCollection`
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
#[schema(as = restMetaCollection)]
pub(crate) struct MetaValuesRequest {
    /// What to note.
    pub metadatas: Vec<MetaValue>,
}

/// `restMetadata`
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
#[schema(as = restMetadata)]
pub(crate) struct MetaValue {
    /// Under which name.
    pub namespace: String,
    /// A JSON text.
    pub json_meta: String,
}
