//! The REST face: the paths and bodies of the Cells v4 API under `/a`, and Skep's own under `/a/skep`.

use axum::Router;
use axum::routing::{get, post, put};
use http::Uri;

use crate::app::App;
use crate::error_code::{ErrorCode, Failure};

pub(crate) mod batch;
pub(crate) mod body;
pub(crate) mod bulk;
pub(crate) mod frontend;
pub(crate) mod jobs;
pub(crate) mod locks;
pub(crate) mod messages;
pub(crate) mod node;
pub(crate) mod session;
pub(crate) mod status;
pub(crate) mod tokens;
pub(crate) mod tree;
pub(crate) mod users;
pub(crate) mod versions;
pub(crate) mod wire;

use wire::RestFailure;

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/frontend/session", post(session::session))
        .route("/frontend/state", get(frontend::state))
        .route("/config/discovery", get(frontend::discovery))
        .route("/tree/stat", get(tree::stat_root))
        .route("/tree/stat/", get(tree::stat_root))
        .route("/tree/stat/{*path}", get(tree::stat))
        .route("/tree/stats", post(bulk::bulk))
        .route("/meta/bulk/get", post(bulk::bulk))
        .route("/tree/create", post(tree::create))
        .route("/tree/delete", post(tree::delete))
        .route("/tree/batch", post(batch::batch))
        .route("/tree/restore", post(tree::restore))
        .route("/jobs/user", post(jobs::list).put(jobs::control))
        .route("/jobs/user/{name}", put(jobs::start).post(jobs::start))
        .route("/auth/token/personal", post(tokens::create))
        .route("/auth/tokens", post(tokens::list))
        .route("/auth/tokens/{id}", axum::routing::delete(tokens::delete))
        .route("/user", post(users::list))
        .route("/user/{login}", get(users::get).put(users::put).delete(users::delete))
        .route("/skep/status", get(status::status))
        .route("/skep/grant", put(users::grant))
        .route("/skep/locks/{*path}", get(locks::list).delete(locks::delete))
}

/// What no route serves.
pub(crate) async fn unknown(uri: Uri) -> RestFailure {
    Failure::new(ErrorCode::NotFound, format!("{}: this server has no such call; /openapi.json lists those it has", uri.path())).into()
}

/// A path with another method.
pub(crate) async fn wrong_method(method: http::Method, uri: Uri) -> RestFailure {
    Failure::new(ErrorCode::MethodNotAllowed, format!("{}: not by {method}; /openapi.json says how", uri.path())).into()
}
