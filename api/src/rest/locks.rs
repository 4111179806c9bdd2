//! `/a/skep/locks/{path}`: the locks over an entry, and breaking those taken on it.

use axum::extract::{Path, Query, State};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use skep_raft::wire::meta::v1::LockKind;
use utoipa::ToSchema;

use super::messages::RestError;
use super::wire::{Context, RestResult, answer, seconds};
use crate::app::App;
use crate::auth::rights::{ReadTree, WriteTree};
use crate::service::locks::SeenLock;
use crate::service::user_path::UserPath;
use crate::stated::shown;

/// Which locks are wanted.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    /// Also those on what lies below.
    pub below: bool,
}

/// Locks.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = skepLocks)]
pub(crate) struct LocksResponse {
    /// In the order of the folders they are in the scope of.
    pub locks: Vec<LockMessage>,
}

/// A lock.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = skepLock)]
pub(crate) struct LockMessage {
    /// What it was taken on; the workspace, if that lies above.
    pub path: String,
    /// Who holds it.
    pub owner: String,
    /// `webdav` or `content`.
    pub kind: String,
    /// Beside other shared ones.
    pub shared: bool,
    /// Also of all that lies below.
    pub deep: bool,
    /// Seconds since the Unix epoch at which it was taken.
    pub taken_at: String,
    /// Seconds since the Unix epoch at which it ends.
    pub expires_at: String,
    /// Its token; of the caller's own locks only.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub token: String,
    /// Its fencing number; of the caller's own locks only.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub fence: String,
}

/// What was broken.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = skepLocksBroken)]
pub(crate) struct BrokenResponse {
    /// How many locks.
    pub broken: String,
}

/// Lists the locks that cover an entry.
#[utoipa::path(
    get, path = "/a/skep/locks/{path}", tag = "locks",
    params(
        ("path" = String, Path, description = "slug/dir/file; slashes as they are or as %2F"),
        ("below" = Option<bool>, Query, description = "also locks on what lies below")
    ),
    responses((status = 200, body = LocksResponse), (status = 404, body = RestError))
)]
pub(crate) async fn list(
    State(app): State<App>,
    context: Context,
    headers: HeaderMap,
    Path(path): Path<String>,
    Query(asked): Query<Asked>,
) -> RestResult {
    let caller = app.caller(&headers, &context).await?;
    let path: UserPath = path.parse()?;
    let seen = caller.service().locks_of(caller.at::<ReadTree>(&path)?, asked.below, caller.context()).await?;
    Ok(answer(LocksResponse { locks: seen.iter().map(message_of).collect() }))
}

/// Breaks all locks taken on an entry, whoever holds them; for administrators.
#[utoipa::path(
    delete, path = "/a/skep/locks/{path}", tag = "locks",
    params(("path" = String, Path, description = "slug/dir/file that the locks were taken on; slashes as they are or as %2F")),
    responses((status = 200, body = BrokenResponse), (status = 403, body = RestError), (status = 404, body = RestError))
)]
pub(crate) async fn delete(State(app): State<App>, context: Context, headers: HeaderMap, Path(path): Path<String>) -> RestResult {
    let caller = app.caller(&headers, &context).await?;
    let breaking = caller.administer()?;
    let path: UserPath = path.parse()?;
    let broken = caller.service().break_locks(caller.at::<WriteTree>(&path)?, breaking, caller.context()).await?;
    Ok(answer(BrokenResponse { broken: broken.to_string() }))
}

fn message_of(seen: &SeenLock) -> LockMessage {
    let lock = &seen.lock;
    LockMessage {
        path: seen.path.to_string(),
        owner: lock.owner.as_ref().map(|owner| owner.login.clone()).unwrap_or_default(),
        kind: if lock.kind() == LockKind::Content { "content" } else { "webdav" }.to_owned(),
        shared: lock.shared,
        deep: lock.deep,
        taken_at: seconds(lock.taken_at).to_string(),
        expires_at: seconds(lock.expires_at).to_string(),
        token: if seen.own { shown(&lock.token) } else { String::new() },
        fence: if seen.own { lock.fence.to_string() } else { String::new() },
    }
}
