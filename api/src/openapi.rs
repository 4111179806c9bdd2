//! `/openapi.json`: what the REST face serves, generated from its handlers and messages.

use axum::routing::get;
use axum::{Json, Router};
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::app::App;
use crate::rest;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Skep",
        description = "The calls of the Pydio Cells v4 API that Skep serves, and its own under /a/skep. 64-bit numbers are strings. Every error is a restError.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        rest::session::session,
        rest::frontend::state,
        rest::frontend::discovery,
        rest::tree::stat_root,
        rest::tree::stat,
        rest::bulk::bulk,
        rest::tree::create,
        rest::tree::delete,
        rest::tree::restore,
        rest::batch::batch,
        rest::namespaces::list,
        rest::namespaces::update,
        rest::namespaces::tags,
        rest::namespaces::add_tag,
        rest::namespaces::remove_tags,
        rest::user_meta::update,
        rest::user_meta::search,
        rest::user_meta::bookmarks,
        rest::user_meta::get,
        rest::user_meta::set,
        rest::user_meta::delete,
        rest::versions::list,
        rest::versions::promote,
        rest::versions::describe,
        rest::versions::delete,
        rest::locks::list,
        rest::locks::delete,
        rest::changes::changes,
        rest::jobs::start,
        rest::jobs::list,
        rest::jobs::control,
        rest::tokens::create,
        rest::tokens::list,
        rest::tokens::delete,
        rest::users::get,
        rest::users::list,
        rest::users::put,
        rest::users::delete,
        rest::users::grant,
        rest::workspaces::list,
        rest::workspaces::put,
        rest::workspaces::delete,
        rest::policies::list,
        rest::policies::get,
        rest::policies::put,
        rest::policies::delete,
        rest::policies::preview,
        rest::datasources::list,
        rest::datasources::get,
        rest::datasources::change,
        rest::status::status,
    ),
    security(("bearer" = [])),
    modifiers(&Security)
)]
struct Api;

/// Bearer tokens and Basic.
struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_with(Default::default);
        components.add_security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
        components.add_security_scheme("basic", SecurityScheme::Http(Http::new(HttpAuthScheme::Basic)));
    }
}

pub(crate) fn routes() -> Router<App> {
    Router::new().route("/openapi.json", get(openapi))
}

async fn openapi() -> Json<Document> {
    Json(document())
}

/// The document; `/a/meta/bulk/get` is the older name of `/a/tree/stats`.
fn document() -> Document {
    let mut document = Api::openapi();
    if let Some(stats) = document.paths.paths.get("/a/tree/stats").cloned() {
        document.paths.paths.insert("/a/meta/bulk/get".to_owned(), stats);
    }
    document
}

#[cfg(test)]
mod tests {
    use super::document;

    #[test]
    fn every_call_and_the_error_are_described() {
        let document = serde_json::to_value(document()).expect("a document has a JSON form");
        for path in [
            "/a/tree/stat/{path}",
            "/a/tree/stats",
            "/a/meta/bulk/get",
            "/a/jobs/user/{JobName}",
            "/a/skep/status",
            "/a/frontend/session",
            "/a/changes",
        ] {
            assert!(document["paths"].get(path).is_some(), "{path} is not described");
        }
        let schemas = &document["components"]["schemas"];
        assert!(schemas["restError"]["properties"].get("Detail").is_some(), "{schemas}");
        assert!(schemas["treeNode"]["properties"].get("MTime").is_some(), "fields have their wire names");
    }
}
