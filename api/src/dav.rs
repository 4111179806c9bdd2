//! The WebDAV face: `/dav/<workspace>/<path>`, classes 1, 2 and 3. Source: RFC 4918.
//!
//! Contents, COPY, MOVE and DELETE go to the use cases in one call each; PROPFIND, PROPPATCH, MKCOL, LOCK and UNLOCK go through `dav-server`, whose file system
//! and locks are ours. Locks and conditions are decided where a change is applied. Bodies of XML are small and without document types.

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, StatusCode};

use crate::app::{App, Caller};
use crate::auth::rights::ReadTree;
use crate::error_code::{ErrorCode, Failure};
use crate::refusals::Refused;
use crate::request_context::RequestContext;
use crate::rest::wire::log;
use crate::service::locks::Hold;
use crate::service::user_path::UserPath;

pub(crate) mod conditions;
mod entry;
mod filesystem;
pub(crate) mod http_date;
mod if_header;
mod lock_system;
mod locking;
mod made_file;
mod path;
mod properties;
mod put;
pub(crate) mod range;
mod transfer;
mod transfer_job;

const ALLOWED: &str = "OPTIONS, GET, HEAD, PUT, DELETE, COPY, MOVE, MKCOL, PROPFIND, PROPPATCH, LOCK, UNLOCK";

pub(crate) fn routes() -> Router<App> {
    Router::new().route("/dav", any(handle)).route("/dav/", any(handle)).route("/dav/{*path}", any(handle))
}

async fn handle(State(app): State<App>, request: Request) -> Response {
    let method = request.method().clone();
    match dispatch(app, request).await {
        Ok(response) => response,
        Err(failure) => refused(&failure, &method),
    }
}

async fn dispatch(app: App, request: Request) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    // What a server can do is told before anybody signs in; some clients ask so.
    if parts.method == Method::OPTIONS {
        return Ok(options());
    }
    let context = parts.extensions.get::<RequestContext>().cloned();
    let context = context.ok_or_else(|| Failure::new(ErrorCode::Internal, "the request has no context"))?;
    let caller = app.caller(&parts.headers, &context).await?;
    let path = path::of_uri(parts.uri.path())?;
    let caller = if_header::stated_by(caller, &path, &parts)?;
    if matches!(parts.method.as_str(), "GET" | "HEAD" | "PROPFIND") {
        check_states(&caller, &path).await?;
    }
    match parts.method.as_str() {
        "GET" => entry::get(&caller, &path, &parts, entry::Wanted::Body).await,
        "HEAD" => entry::get(&caller, &path, &parts, entry::Wanted::HeadOnly).await,
        "PUT" => put::put(&caller, &path, &parts, body).await,
        "DELETE" => transfer::delete(&caller, &path, &parts.headers).await,
        "COPY" => transfer::copy(&caller, &path, &parts).await,
        "MOVE" => transfer::rename(&caller, &path, &parts).await,
        "PROPFIND" | "PROPPATCH" | "MKCOL" | "LOCK" | "UNLOCK" => properties::handle(caller, &path, parts, body).await,
        other => Err(Failure::new(ErrorCode::MethodNotAllowed, format!("{other} is not served here; {ALLOWED} are"))),
    }
}

fn options() -> Response {
    let headers = [("dav", "1, 2, 3"), ("allow", ALLOWED), ("ms-author-via", "DAV"), ("accept-ranges", "bytes")];
    (StatusCode::OK, headers).into_response()
}

/// Has the lists of states judged of a request that changes nothing by which they would be.
async fn check_states(caller: &Caller, path: &UserPath) -> Result<(), Failure> {
    if caller.context().stated.lists.is_empty() {
        return Ok(());
    }
    if path.slug().is_none() {
        return Err(Failure::new(ErrorCode::PreconditionFailed, "If: the list of workspaces has no states"));
    }
    caller.service().states_hold(caller.at::<ReadTree>(path)?, Hold::default(), &context(caller)).await
}

/// A failure as WebDAV says it: a status and a sentence.
pub(crate) fn refused(failure: &Failure, method: &Method) -> Response {
    log(failure);
    let status = match (failure.code, method.as_str()) {
        // Source: RFC 4918, section 9.3.1.
        (ErrorCode::AlreadyExists, "MKCOL") => StatusCode::METHOD_NOT_ALLOWED,
        (ErrorCode::NotAFolder, "GET" | "HEAD" | "PROPFIND") => StatusCode::NOT_FOUND,
        // Source: RFC 4918, section 9.11.1.
        (ErrorCode::LockLost, "UNLOCK") => StatusCode::CONFLICT,
        _ => failure.code.dav_status(),
    };
    let mut response = (status, format!("{failure}\n")).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = failure.retry_after_seconds() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"Skep\", charset=\"UTF-8\""));
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static(ALLOWED));
    }
    response.extensions_mut().insert(Refused(failure.clone()));
    response
}

/// The path of a place as an absolute URL path.
fn href(path: &UserPath) -> String {
    path::href(path)
}

/// Refuses the root above all workspaces, where nothing can be made or changed.
fn refuse_root(path: &UserPath) -> Result<(), Failure> {
    if path.slug().is_none() {
        return Err(Failure::new(ErrorCode::Forbidden, "the list of workspaces itself is not changed here"));
    }
    Ok(())
}

/// Refuses a workspace itself.
fn refuse_workspace(path: &UserPath) -> Result<(), Failure> {
    refuse_root(path)?;
    if path.below().is_empty() {
        return Err(Failure::new(ErrorCode::Forbidden, format!("{path}: a workspace itself is not changed here")));
    }
    Ok(())
}

/// Shared with the caller's methods.
fn context(caller: &Caller) -> RequestContext {
    caller.context().clone()
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::{options, refused};
    use crate::error_code::{ErrorCode, Failure};

    #[test]
    fn only_what_is_served_is_advertised() {
        let response = options();
        assert_eq!(response.headers()["dav"], "1, 2, 3");
        let allowed = response.headers()["allow"].to_str().expect("ASCII");
        assert!(allowed.contains(" LOCK") && allowed.contains("UNLOCK") && !allowed.contains("POST"), "{allowed}");
    }

    #[test]
    fn refusals_have_the_statuses_of_the_protocol() {
        let status = |code, method: &str| {
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            refused(&Failure::new(code, "why"), &method).status().as_u16()
        };
        assert_eq!(status(ErrorCode::AlreadyExists, "MKCOL"), 405);
        assert_eq!(status(ErrorCode::AlreadyExists, "MOVE"), 412);
        assert_eq!(status(ErrorCode::ParentNotFound, "PUT"), 409);
        assert_eq!(
            (status(ErrorCode::LockLost, "PUT"), status(ErrorCode::LockLost, "UNLOCK"), status(ErrorCode::Locked, "PUT")),
            (412, 409, 423)
        );
        assert_eq!(status(ErrorCode::NoSpace, "PUT"), 507);
        assert_eq!(status(ErrorCode::Unknown, "PUT"), 504);
        let unauthorized = refused(&Failure::new(ErrorCode::Unauthorized, "why"), &Method::GET);
        assert_eq!(unauthorized.headers()["www-authenticate"], "Basic realm=\"Skep\", charset=\"UTF-8\"");
        assert!(refused(&Failure::new(ErrorCode::Unavailable, "why"), &Method::PUT).headers().contains_key("retry-after"));
    }
}
