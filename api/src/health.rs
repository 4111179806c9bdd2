//! `/healthz`, `/readyz` and `/metrics`: for machines that watch a node. They need no sign-in and tell no secret.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};

use crate::app::App;
use crate::ports::Readiness;
use crate::request_context::RequestContext;
use crate::rest::wire::RestFailure;

pub(crate) fn routes() -> Router<App> {
    Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz)).route("/metrics", get(metrics))
}

/// The process runs and answers.
async fn healthz() -> impl IntoResponse {
    ([(CACHE_CONTROL, "no-store")], "ok\n")
}

/// Whether a balancer should send requests here; 503 with the reasons if not.
async fn readyz(State(app): State<App>) -> Response {
    let mut readiness: Readiness = app.service().node().ready();
    if app.draining().is_cancelled() {
        readiness.ready = false;
        readiness.reasons.push("this node is stopping".to_owned());
    }
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(CACHE_CONTROL, "no-store")], Json(readiness)).into_response()
}

async fn metrics(State(app): State<App>, context: axum::Extension<RequestContext>, headers: HeaderMap) -> Result<Response, RestFailure> {
    if !app.options().metrics_public {
        let caller = app.caller(&headers, &context).await?;
        let _proof = caller.administer()?;
    }
    let text = app.service().node().metrics_text();
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"), (CACHE_CONTROL, "no-store")], text).into_response())
}
