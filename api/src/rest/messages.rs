//! The messages of the REST face with the field names clients expect. 64-bit numbers are strings, enums are names.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::wire::number;
use crate::error_code::Failure;

mod accounts;
mod changes;
mod jobs;
mod tree_node;
mod user_meta;

pub(crate) use accounts::{
    AuthToken, DoneResponse, GrantRequest, PersonalTokenRequest, PersonalTokenResponse, PutUserRequest, SearchUserRequest, SessionRequest,
    SessionResponse, TokenMessage, TokensRequest, TokensResponse, UserMessage, UsersCollection,
};
pub(crate) use changes::{ChangeMessage, ChangedNode, ChangesResponse};
pub(crate) use jobs::{
    ControlJobRequest, ControlJobResponse, JobMessage, JobsCollection, ListJobsRequest, StartJobRequest, StartJobResponse, TaskMessage,
};
pub(crate) use tree_node::{AppearsIn, MetaStore, Text, TreeNode};
pub(crate) use user_meta::{
    BookmarksRequest, MetaNamesRequest, MetaValuesRequest, NamespaceCollection, NamespaceMessage, PolicyMessage, PutTagRequest,
    SearchUserMetaRequest, TagsChangedResponse, TagsResponse, UpdateNamespacesRequest, UpdateUserMetaRequest, UpdateUserMetaResponse,
    UserMetaCollection, UserMetaMessage,
};

/// An error.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = restError)]
pub(crate) struct RestError {
    /// The HTTP status.
    pub code: String,
    /// What went wrong, short.
    pub title: String,
    /// Where, why, and what to do.
    pub detail: String,
    /// Who says it.
    pub source: String,
    /// `code`: the name of the failure, for programs.
    pub meta: BTreeMap<String, String>,
}

impl RestError {
    pub(crate) fn of(failure: &Failure) -> Self {
        Self {
            code: failure.code.rest_status().as_u16().to_string(),
            title: failure.code.title().to_owned(),
            detail: failure.detail.clone(),
            source: "skep".to_owned(),
            meta: BTreeMap::from([("code".to_owned(), failure.code.name().to_owned())]),
        }
    }
}

/// A node as a client names it.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct SentNode {
    /// `slug/dir/file`.
    pub path: String,
    /// LEAF or COLLECTION.
    #[serde(rename = "Type")]
    pub kind: Option<String>,
    /// Its id; a path is needed.
    pub uuid: String,
    /// JSON texts by key; `Contents` of a new file.
    pub meta_store: BTreeMap<String, String>,
    /// Seconds since the Unix epoch; 0: now.
    #[serde(rename = "MTime", deserialize_with = "number")]
    pub mtime: i64,
}

/// `restGetBulkMetaRequest`
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
#[schema(as = restGetBulkMetaRequest)]
pub(crate) struct BulkRequest {
    /// Paths; `p/*` is what lies in the folder `p`.
    pub node_paths: Vec<String>,
    /// Also what is noted on nodes.
    pub all_meta_providers: bool,
    /// Instead of the file its versions, newest first.
    pub versions: bool,
    /// Members to pass over.
    #[serde(deserialize_with = "number")]
    pub offset: i64,
    /// Members wanted; 0: all.
    #[serde(deserialize_with = "number")]
    pub limit: i64,
    /// `type`: LEAF or COLLECTION.
    pub filters: BTreeMap<String, String>,
    /// name, mtime, size or type.
    pub sort_field: String,
    /// Largest first.
    pub sort_dir_desc: bool,
    /// As it was at this instant: RFC 3339 or Unix time; empty: now.
    pub at: String,
}

/// `restPagination`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = restPagination)]
pub(crate) struct Pagination {
    /// As asked for.
    pub limit: i32,
    /// As asked for.
    pub current_offset: i32,
    /// Members in all.
    pub total: i32,
    /// From 1.
    pub current_page: i32,
    /// At least 1.
    pub total_pages: i32,
    /// Of the page before; 0 on the first.
    pub prev_offset: i32,
    /// Of the page after; 0 on the last.
    pub next_offset: i32,
}

impl Pagination {
    /// Of a page, also an empty one and one past the end.
    pub(crate) fn of(limit: u64, offset: u64, total: u64) -> Self {
        let page = if limit == 0 { total.max(1) } else { limit };
        let next = offset.saturating_add(page);
        let number = |value: u64| i32::try_from(value).unwrap_or(i32::MAX);
        Self {
            limit: number(limit),
            current_offset: number(offset),
            total: number(total),
            current_page: number((offset / page).saturating_add(1)),
            total_pages: number(total.div_ceil(page).max(1)),
            prev_offset: number(offset.saturating_sub(page)),
            next_offset: if next < total { number(next) } else { 0 },
        }
    }
}

/// `restBulkMetaResponse`
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = restBulkMetaResponse)]
pub(crate) struct BulkResponse {
    /// What was asked for, in its order.
    pub nodes: Vec<TreeNode>,
    /// Always there.
    pub pagination: Pagination,
}

/// `restHeadNodeResponse`
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = restHeadNodeResponse)]
pub(crate) struct HeadNodeResponse {
    /// The node.
    pub node: TreeNode,
}

/// `restCreateNodesRequest`
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
#[schema(as = restCreateNodesRequest)]
pub(crate) struct CreateNodesRequest {
    /// What to make.
    pub nodes: Vec<SentNode>,
    /// Missing parents are made; an existing folder is no failure.
    pub recursive: bool,
    /// Not supported.
    #[serde(rename = "TemplateUUID")]
    pub template_uuid: String,
}

/// `restNodesCollection`
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = restNodesCollection)]
pub(crate) struct NodesCollection {
    /// What was made.
    pub children: Vec<TreeNode>,
}

/// `restDeleteNodesRequest`
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
#[schema(as = restDeleteNodesRequest)]
pub(crate) struct DeleteNodesRequest {
    /// What to delete.
    pub nodes: Vec<SentNode>,
    /// Not to the recycle bin.
    pub remove_permanently: bool,
    /// Folders always go with all below them.
    pub recursive: bool,
}

/// `restDeleteNodesResponse`
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = restDeleteNodesResponse)]
pub(crate) struct DeleteNodesResponse {
    /// The deletion has taken effect; these only note it.
    pub delete_jobs: Vec<BackgroundJob>,
}

/// `restRestoreNodesRequest`
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
#[schema(as = restRestoreNodesRequest)]
pub(crate) struct RestoreNodesRequest {
    /// What to take out of the recycle bin.
    pub nodes: Vec<SentNode>,
}

/// `restRestoreNodesResponse`
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = restRestoreNodesResponse)]
pub(crate) struct RestoreNodesResponse {
    /// The nodes are back; these only note it.
    pub restore_jobs: Vec<BackgroundJob>,
}

/// `restBackgroundJobResult`
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = restBackgroundJobResult)]
pub(crate) struct BackgroundJob {
    /// The job's id.
    pub uuid: String,
    /// For people.
    pub label: String,
    /// The first node it is about.
    pub node_uuid: String,
}

#[cfg(test)]
mod tests {
    use super::{BulkRequest, CreateNodesRequest, Pagination, RestError, SessionRequest, TreeNode};
    use crate::error_code::{ErrorCode, Failure};

    #[test]
    fn pages_are_counted_also_at_and_past_the_end() {
        let page = |limit, offset, total| Pagination::of(limit, offset, total);
        let middle = page(100, 100, 250);
        assert_eq!((middle.current_page, middle.total_pages, middle.prev_offset, middle.next_offset), (2, 3, 0, 200));
        let end = page(100, 200, 200);
        assert_eq!((end.total, end.current_offset, end.total_pages, end.next_offset), (200, 200, 2, 0));
        let empty = page(100, 0, 0);
        assert_eq!((empty.total, empty.total_pages, empty.current_page), (0, 1, 1));
        let all = page(0, 0, 7);
        assert_eq!((all.limit, all.total_pages, all.next_offset), (0, 1, 0));
        assert_eq!(page(1, u64::MAX, u64::MAX).total, i32::MAX);
    }

    #[test]
    fn a_node_has_its_type_and_strings_for_large_numbers() {
        let node = TreeNode { kind: "LEAF", size: "9007199254740993".to_owned(), mtime: "1".to_owned(), ..TreeNode::default() };
        let json = serde_json::to_value(&node).expect("plain fields");
        assert_eq!(json["Type"], "LEAF");
        assert_eq!(json["Size"], "9007199254740993");
        assert_eq!(json["MTime"], "1");
        assert!(json.get("MetaStore").is_some() && json.get("Uuid").is_some() && json.get("Etag").is_some());
    }

    #[test]
    fn an_error_has_the_fields_of_rest_error() {
        let error = RestError::of(&Failure::new(ErrorCode::NotFound, "common-files/none: nothing"));
        let json = serde_json::to_value(&error).expect("plain fields");
        assert_eq!(json["Code"], "404");
        assert_eq!(json["Title"], "Node not found");
        assert_eq!(json["Meta"]["code"], "not-found");
        assert_eq!(json.as_object().map(|object| object.len()), Some(5));
    }

    #[test]
    fn requests_are_read_as_clients_send_them() {
        let bulk: BulkRequest = serde_json::from_str(r#"{"NodePaths":["a","a/*"],"Limit":100,"Offset":"200","Unknown":1}"#).expect("read");
        assert_eq!((bulk.node_paths.len(), bulk.limit, bulk.offset), (2, 100, 200));
        let create: CreateNodesRequest = serde_json::from_str(r#"{"Nodes":[{"Path":"a/b","Type":"COLLECTION"}]}"#).expect("read");
        assert_eq!(create.nodes.first().and_then(|node| node.kind.as_deref()), Some("COLLECTION"));
        let session: SessionRequest =
            serde_json::from_str(r#"{"AuthInfo":{"type":"credentials","login":"a","password":"b"},"ClientTime":1}"#).expect("read");
        assert_eq!(session.auth_info.get("login").map(String::as_str), Some("a"));
    }
}
