//! Messages of sessions, tokens, users and rights.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::rest::wire::number;

/// `restFrontSessionRequest`
#[derive(Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
#[schema(as = restFrontSessionRequest)]
pub(crate) struct SessionRequest {
    /// `type`: credentials; `login`; `password`.
    pub auth_info: BTreeMap<String, String>,
    /// Not of use.
    #[serde(deserialize_with = "number")]
    pub client_time: i64,
    /// Ends the session whose token comes with the request.
    pub logout: bool,
}

/// `restFrontSessionResponse`
#[derive(Clone, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = restFrontSessionResponse)]
pub(crate) struct SessionResponse {
    /// The access token; opaque.
    #[serde(rename = "JWT", skip_serializing_if = "String::is_empty")]
    pub jwt: String,
    /// Seconds since the Unix epoch.
    #[serde(skip_serializing_if = "is_zero")]
    pub expire_time: i32,
    /// The same token once more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<AuthToken>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(number: &i32) -> bool {
    *number == 0
}

/// `authToken`
#[derive(Clone, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = authToken)]
pub(crate) struct AuthToken {
    /// Opaque.
    pub access_token: String,
    /// Seconds since the Unix epoch.
    pub expires_at: String,
}

/// The body of `POST /auth/token/personal`.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct PersonalTokenRequest {
    /// For people.
    pub label: String,
    /// Whose; empty: the caller's. Others' by administrators only.
    pub user_login: String,
    /// Each use lets it live so many seconds again; 0: it ends at `ExpiresAt`.
    #[serde(deserialize_with = "number")]
    pub auto_refresh: i64,
    /// Seconds since the Unix epoch; 0: never.
    #[serde(deserialize_with = "number")]
    pub expires_at: i64,
    /// `node:<uuid>:r` or `:rw`.
    pub scopes: Vec<String>,
}

/// The reply to `POST /auth/token/personal`.
#[derive(Clone, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PersonalTokenResponse {
    /// Shown this once.
    pub access_token: String,
    /// For taking it back.
    pub token_uuid: String,
}

/// The body of `POST /auth/tokens`.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct TokensRequest {
    /// A login; empty: the caller's.
    pub by_user: String,
}

/// The reply to `POST /auth/tokens`.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TokensResponse {
    /// Without their secrets.
    pub tokens: Vec<TokenMessage>,
}

/// A personal access token without its secret.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TokenMessage {
    /// Its id.
    pub uuid: String,
    /// Always PERSONAL.
    #[serde(rename = "Type")]
    pub kind: &'static str,
    /// For people.
    pub label: String,
    /// Whose.
    pub user_uuid: String,
    /// Whose.
    pub user_login: String,
    /// What it is narrowed to.
    pub scopes: Vec<String>,
    /// Seconds.
    pub auto_refresh_window: i32,
    /// Seconds since the Unix epoch; 0: never.
    pub expires_at: String,
    /// Seconds since the Unix epoch.
    pub created_at: String,
}

/// `restRevokeResponse`, `restDeleteResponse`
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DoneResponse {
    /// Always true: a failure is an error.
    pub success: bool,
    /// For people.
    pub message: String,
}

/// `idmUser`
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = idmUser)]
pub(crate) struct UserMessage {
    /// Its id.
    pub uuid: String,
    /// Its login.
    pub login: String,
    /// Always `/`.
    pub group_path: String,
    /// `displayName`, `email`, `profile`, `locks`; `skep:quota_bytes` and `skep:quota_entries` of each folder of the user's own.
    pub attributes: BTreeMap<String, String>,
    /// The caller may change it.
    pub policies_context_editable: bool,
}

/// The body of `PUT /user/{Login}`.
#[derive(Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct PutUserRequest {
    /// `displayName`, `email`, `profile` (admin or standard), `locks`, `skep:quota_bytes`, `skep:quota_entries`.
    pub attributes: BTreeMap<String, String>,
    /// A new password.
    pub password: String,
    /// The old one, when the account is the caller's.
    pub old_password: String,
}

/// The body of `POST /user`.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
#[schema(as = restSearchUserRequest)]
pub(crate) struct SearchUserRequest {
    /// Any of these.
    pub queries: Vec<UserQuery>,
}

/// `idmUserSingleQuery`
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct UserQuery {
    /// A login; `*` at its end stands for anything.
    pub login: String,
}

/// `restUsersCollection`
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = restUsersCollection)]
pub(crate) struct UsersCollection {
    /// In the order of logins.
    pub users: Vec<UserMessage>,
    /// None in this version.
    pub groups: Vec<UserMessage>,
    /// Users found.
    pub total: i32,
}

/// The body of `PUT /skep/grant`.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct GrantRequest {
    /// Of the user.
    pub login: String,
    /// The slug of the workspace.
    pub workspace: String,
    /// `r`, `rw`, or empty to take it.
    pub permission: String,
}
