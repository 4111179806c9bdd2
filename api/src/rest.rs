//! The REST face: the paths and bodies of the Cells v4 API under `/a`, and Skep's own under `/a/skep`.

use axum::Router;
use axum::routing::{get, post, put};
use http::Uri;

use crate::app::App;
use crate::error_code::{ErrorCode, Failure};

pub(crate) mod batch;
pub(crate) mod body;
pub(crate) mod bulk;
pub(crate) mod changes;
pub(crate) mod datasources;
pub(crate) mod frontend;
pub(crate) mod jobs;
pub(crate) mod locks;
pub(crate) mod messages;
pub(crate) mod namespaces;
pub(crate) mod node;
pub(crate) mod policies;
pub(crate) mod session;
pub(crate) mod status;
pub(crate) mod tokens;
pub(crate) mod tree;
pub(crate) mod user_meta;
pub(crate) mod users;
pub(crate) mod versions;
pub(crate) mod wire;
pub(crate) mod workspaces;

use wire::RestFailure;

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/frontend/session", post(session::session))
        .route("/frontend/state", get(frontend::state))
        .route("/config/discovery", get(frontend::discovery))
        .route("/config/versioning", get(policies::list))
        .route("/config/versioning/{uuid}", get(policies::get).post(policies::put).delete(policies::delete))
        .route("/config/versioning/{uuid}/preview", post(policies::preview))
        .route("/config/datasource", get(datasources::list))
        .route("/config/datasource/{name}", get(datasources::get).post(datasources::change))
        .route("/workspace", post(workspaces::list))
        .route("/workspace/{slug}", put(workspaces::put).delete(workspaces::delete))
        .route("/tree/stat", get(tree::stat_root))
        .route("/tree/stat/", get(tree::stat_root))
        .route("/tree/stat/{*path}", get(tree::stat))
        .route("/tree/stats", post(bulk::bulk))
        .route("/meta/bulk/get", post(bulk::bulk))
        .route("/meta/get/{*path}", post(user_meta::get))
        .route("/meta/set/{*path}", post(user_meta::set))
        .route("/meta/delete/{*path}", post(user_meta::delete))
        .route("/user-meta/namespace", get(namespaces::list).put(namespaces::update))
        .route("/user-meta/update", put(user_meta::update))
        .route("/user-meta/search", post(user_meta::search))
        .route("/user-meta/bookmarks", post(user_meta::bookmarks))
        .route("/user-meta/tags/{namespace}", get(namespaces::tags).post(namespaces::add_tag))
        .route("/user-meta/tags/{namespace}/{tags}", axum::routing::delete(namespaces::remove_tags))
        .route("/tree/create", post(tree::create))
        .route("/tree/delete", post(tree::delete))
        .route("/tree/batch", post(batch::batch))
        .route("/tree/restore", post(tree::restore))
        .route("/changes", get(changes::changes))
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
