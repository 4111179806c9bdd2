//! `/n/node/{Uuid}/versions`: the versions of a file by its id, and what can be done with them.

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::post;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use skep_placement::ids::VersionId;
use skep_raft::wire::meta::v1::VersionRecord;
use utoipa::ToSchema;

use super::batch::version_id;
use super::messages::{RestError, TreeNode};
use super::node::{entry_node, hex};
use super::wire::{Context, RestRequest, RestResult, answer, seconds};
use crate::app::App;
use crate::auth::rights::{ReadTree, WriteContent};
use crate::limits;
use crate::service::by_id::place_of_text;

/// Which versions are wanted.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
#[schema(as = restNodeVersionsRequest)]
pub(crate) struct VersionsRequest {
    /// At most so many; 0: all.
    pub limit: u32,
    /// Newest ones passed over.
    pub offset: u32,
}

/// The versions of a file, newest first.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = restNodeVersions)]
pub(crate) struct VersionsResponse {
    /// Newest first.
    pub versions: Vec<VersionMessage>,
}

/// One version.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = restNodeVersion)]
pub(crate) struct VersionMessage {
    /// Its id.
    pub version_id: String,
    /// From 1.
    pub number: String,
    /// Bytes.
    pub size: String,
    /// Of the content, hexadecimal.
    pub blake3: String,
    /// Of the content, hexadecimal; empty where no client sent it.
    pub md5: String,
    /// Who made it.
    pub owner_name: String,
    /// Seconds since the Unix epoch at which it was made.
    pub created_at: String,
    /// Seconds since the Unix epoch, as the client sent it.
    #[serde(rename = "MTime")]
    pub mtime: String,
    /// What people say of it.
    pub description: String,
    /// It is the current one.
    pub is_head: bool,
}

/// A new description.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
#[schema(as = restDescribeVersionRequest)]
pub(crate) struct DescribeRequest {
    /// Empty: none.
    pub description: String,
}

/// A file after one of its versions was used, described or deleted.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = restVersionChange)]
pub(crate) struct VersionChangeResponse {
    /// It was done.
    pub success: bool,
    /// The version.
    pub version: VersionMessage,
    /// The file as it is now.
    pub node: TreeNode,
}

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/node/{uuid}/versions", post(list))
        .route("/node/{uuid}/versions/{version}", axum::routing::delete(delete).patch(describe))
        .route("/node/{uuid}/versions/{version}/promote", post(promote))
}

/// Lists the versions of a file.
#[utoipa::path(
    post, path = "/n/node/{Uuid}/versions", tag = "versions", request_body = VersionsRequest,
    params(("Uuid" = String, Path, description = "the file's id")),
    responses((status = 200, body = VersionsResponse), (status = 404, body = RestError))
)]
pub(crate) async fn list(State(_app): State<App>, Path(uuid): Path<String>, request: RestRequest) -> RestResult {
    let message: VersionsRequest = request.json()?;
    let caller = request.caller().await?;
    let place = place_of_text(&caller, &uuid).await?;
    let wanted = if message.limit == 0 { usize::MAX } else { usize::try_from(message.limit).unwrap_or(usize::MAX) };
    let skip = usize::try_from(message.offset).unwrap_or(usize::MAX);
    let (mut all, mut before) = (Vec::new(), 0);
    loop {
        let proof = caller.authorize::<ReadTree, _>(place.clone())?;
        let page = caller.service().versions(proof, before, &caller.context().continued()).await?;
        let head = page.entry.map(|entry| entry.version).unwrap_or_default();
        before = page.versions.last().map_or(0, |version| version.number);
        all.extend(page.versions.iter().map(|version| VersionMessage { is_head: version.version == head, ..message_of(version) }));
        if !page.more || before == 0 || all.len() >= skip.saturating_add(wanted).min(limits::SORTED_ENTRIES) {
            break;
        }
    }
    Ok(answer(VersionsResponse { versions: all.into_iter().skip(skip).take(wanted).collect() }))
}

/// Goes back to a version: its content becomes the current one again, as a new version.
#[utoipa::path(
    post, path = "/n/node/{Uuid}/versions/{VersionId}/promote", tag = "versions",
    params(("Uuid" = String, Path, description = "the file's id"), ("VersionId" = String, Path, description = "the version's id")),
    responses((status = 200, body = VersionChangeResponse), (status = 404, body = RestError))
)]
pub(crate) async fn promote(State(_app): State<App>, Path((uuid, version)): Path<(String, String)>, request: RestRequest) -> RestResult {
    let caller = request.caller().await?;
    let place = place_of_text(&caller, &uuid).await?;
    let proof = caller.authorize::<WriteContent, _>(place.clone())?;
    let condition = crate::dav::conditions::for_change(&request.headers)?;
    let done = caller.service().revert(proof, version_id(&version)?, condition, &caller.context().continued()).await?;
    let version = VersionMessage { is_head: true, ..message_of(&done.version) };
    Ok(answer(VersionChangeResponse { success: true, version, node: entry_node(&done.entry, &place, true) }))
}

/// Sets what people say of a version.
#[utoipa::path(
    patch, path = "/n/node/{Uuid}/versions/{VersionId}", tag = "versions", request_body = DescribeRequest,
    params(("Uuid" = String, Path, description = "the file's id"), ("VersionId" = String, Path, description = "the version's id")),
    responses((status = 200, body = VersionChangeResponse), (status = 404, body = RestError))
)]
pub(crate) async fn describe(State(_app): State<App>, Path((uuid, version)): Path<(String, String)>, request: RestRequest) -> RestResult {
    let message: DescribeRequest = request.json()?;
    let caller = request.caller().await?;
    let place = place_of_text(&caller, &uuid).await?;
    let proof = caller.authorize::<WriteContent, _>(place.clone())?;
    let wanted = (version_id(&version)?, message.description);
    let done = caller.service().describe_version(proof, wanted, &caller.context().continued()).await?;
    let is_head = done.version.version == done.entry.version;
    let version = VersionMessage { is_head, ..message_of(&done.version) };
    Ok(answer(VersionChangeResponse { success: true, version, node: entry_node(&done.entry, &place, true) }))
}

/// Deletes a version that is not the current one.
#[utoipa::path(
    delete, path = "/n/node/{Uuid}/versions/{VersionId}", tag = "versions",
    params(("Uuid" = String, Path, description = "the file's id"), ("VersionId" = String, Path, description = "the version's id")),
    responses((status = 200, body = VersionChangeResponse), (status = 404, body = RestError), (status = 409, body = RestError))
)]
pub(crate) async fn delete(
    State(app): State<App>,
    context: Context,
    headers: HeaderMap,
    Path((uuid, version)): Path<(String, String)>,
) -> RestResult {
    let caller = app.caller(&headers, &context).await?;
    let place = place_of_text(&caller, &uuid).await?;
    let proof = caller.authorize::<WriteContent, _>(place.clone())?;
    let done = caller.service().delete_version(proof, version_id(&version)?, &caller.context().continued()).await?;
    Ok(answer(VersionChangeResponse { success: true, version: message_of(&done.version), node: entry_node(&done.entry, &place, true) }))
}

fn message_of(version: &VersionRecord) -> VersionMessage {
    VersionMessage {
        version_id: VersionId::try_from(version.version.as_ref()).unwrap_or_default().to_string(),
        number: version.number.to_string(),
        size: version.size.to_string(),
        blake3: hex(&version.blake3),
        md5: hex(&version.md5),
        owner_name: version.author.as_ref().map(|author| author.login.clone()).unwrap_or_default(),
        created_at: seconds(version.created_at).to_string(),
        mtime: seconds(version.mtime).to_string(),
        description: version.description.clone(),
        is_head: false,
    }
}
