//! `GET /a/skep/status`: the state of the cluster.

use axum::extract::State;
use http::HeaderMap;

use super::messages::RestError;
use super::wire::{Context, RestResult, answer};
use crate::app::App;
use crate::ports::ClusterStatus;

/// Nodes, devices, groups, placement, queues and jobs; for administrators.
#[utoipa::path(
    get, path = "/a/skep/status", tag = "cluster",
    responses((status = 200, body = ClusterStatus), (status = 403, body = RestError))
)]
pub(crate) async fn status(State(app): State<App>, context: Context, headers: HeaderMap) -> RestResult {
    let caller = app.caller(&headers, &context).await?;
    let _proof = caller.administer()?;
    Ok(answer(app.service().node().status().await))
}
