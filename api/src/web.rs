//! The web page: plain, made on the server, without scripts; for a browser on a desk or a phone.
//!
//! A session is a cookie that scripts and other sites cannot use; every form carries a proof of the session it was made for.

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequest, Path, Query, Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode};
use maud::Markup;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::app::{App, Caller};
use crate::auth::credentials::{Credentials, SESSION_COOKIE};
use crate::auth::rights::{ReadContent, ReadTree, WriteTree};
use crate::auth::secret::Secret;
use crate::auth::token;
use crate::download::{Disposition, Wanted, answer};
use crate::error_code::{ErrorCode, Failure};
use crate::limits;
use crate::refusals::Refused;
use crate::request_context::RequestContext;
use crate::rest::body::read_whole;
use crate::rest::tree::is_writable;
use crate::service::content::OpenRequest;
use crate::service::listing::ListRequest;
use crate::service::tree::{DeleteRequest, FolderRequest};
use crate::service::user_path::UserPath;

mod pages;
mod same_site;
mod upload;

/// Entries on one page.
const PAGE: u32 = 500;
const FORM_BYTES: usize = 16 * 1024;
const STYLE: &str = include_str!("web/style.css");

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/", get(home))
        .route("/login", get(home))
        .route("/web/login", post(login))
        .route("/web/logout", post(logout))
        .route("/web/browse/{*path}", get(browse))
        .route("/web/file/{*path}", get(download))
        .route("/web/upload/{*path}", post(upload::upload))
        .route("/web/folder/{*path}", post(make_folder))
        .route("/web/delete/{*path}", post(delete))
        .route("/web/nodes", get(nodes))
        .route("/web/style.css", get(style))
}

/// Somebody in a browser.
struct Visitor {
    caller: Caller,
    session: Secret,
}

impl Visitor {
    async fn of(app: &App, headers: &HeaderMap, context: &RequestContext) -> Result<Self, WebFailure> {
        let credentials = Credentials::from_cookie(headers);
        let Credentials::Bearer(session) = &credentials else { return Err(Failure::new(ErrorCode::Unauthorized, "sign in first").into()) };
        let caller = app.caller_by(&credentials, context).await?;
        Ok(Self { caller, session: session.clone() })
    }

    fn proof(&self) -> String {
        token::form_proof(&self.session)
    }

    fn check(&self, proof: &str) -> Result<(), Failure> {
        if token::form_proof_holds(&self.session, proof) {
            return Ok(());
        }
        Err(Failure::new(ErrorCode::Forbidden, "the form is of another session; load the page again"))
    }

    fn frame(&self) -> pages::Frame<'_> {
        pages::Frame { login: self.caller.login(), admin: self.caller.is_admin(), proof: self.proof() }
    }
}

/// A failure as a page.
struct WebFailure(Failure);

impl From<Failure> for WebFailure {
    fn from(failure: Failure) -> Self {
        Self(failure)
    }
}

impl IntoResponse for WebFailure {
    fn into_response(self) -> Response {
        crate::rest::wire::log(&self.0);
        let status = self.0.code.rest_status();
        let markup = if self.0.code == ErrorCode::Unauthorized { pages::sign_in(Some(&self.0.detail)) } else { pages::failure(&self.0) };
        let mut response = page(status, markup);
        if let Some(seconds) = self.0.retry_after_seconds() {
            response.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(Refused(self.0));
        response
    }
}

type WebResult = Result<Response, WebFailure>;

fn page(status: StatusCode, markup: Markup) -> Response {
    let policy = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy)),
        (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    ];
    (status, headers, markup.into_string()).into_response()
}

fn context_of(request: &Request) -> Result<RequestContext, Failure> {
    let context = request.extensions().get::<RequestContext>().cloned();
    context.ok_or_else(|| Failure::new(ErrorCode::Internal, "the request has no context"))
}

/// Reads a small form, after checking that a page of this server sent it.
async fn form<T: DeserializeOwned>(request: Request) -> Result<T, Failure> {
    same_site::check(request.headers())?;
    let (parts, body) = request.into_parts();
    let body = read_whole(body, FORM_BYTES).await?;
    let request = Request::from_parts(parts, Body::from(body));
    let form = axum::Form::<T>::from_request(request, &()).await;
    form.map(|axum::Form(form)| form).map_err(|rejection| Failure::new(ErrorCode::BadRequest, rejection.body_text()))
}

/// What no route serves.
pub(crate) async fn unknown() -> Response {
    page(StatusCode::NOT_FOUND, pages::failure(&Failure::new(ErrorCode::NotFound, "there is no page at this address")))
}

async fn style() -> Response {
    let headers = [(CONTENT_TYPE, "text/css; charset=utf-8"), (CACHE_CONTROL, "public, max-age=3600")];
    (headers, STYLE).into_response()
}

async fn home(State(app): State<App>, request: Request) -> WebResult {
    if matches!(Credentials::from_cookie(request.headers()), Credentials::None) {
        return Ok(page(StatusCode::OK, pages::sign_in(None)));
    }
    let visitor = Visitor::of(&app, request.headers(), &context_of(&request)?).await?;
    let seen = visitor.caller.service().workspaces_of(visitor.caller.own()?, visitor.caller.view())?;
    Ok(page(StatusCode::OK, pages::workspaces(&visitor.frame(), &seen)))
}

#[derive(Deserialize)]
struct LoginForm {
    login: String,
    password: String,
}

async fn login(State(app): State<App>, request: Request) -> WebResult {
    let context = context_of(&request)?;
    let secure = request.extensions().get::<crate::server::Transport>().is_some_and(|transport| transport.secure);
    let sent: LoginForm = form(request).await?;
    let password = Secret::new(sent.password);
    if sent.login.is_empty() || sent.login.len() > limits::NAME_BYTES || password.expose().len() > limits::PASSWORD_BYTES {
        return Err(Failure::new(ErrorCode::Unauthorized, "a login and a password are needed").into());
    }
    let caller = app.caller_by_password(&sent.login, &password, &context).await?;
    let token = caller.service().open_session(caller.own()?, limits::BROWSER_SESSION_LIFETIME, caller.context()).await?;
    let seconds = limits::BROWSER_SESSION_LIFETIME.as_secs();
    Ok(with_cookie(Redirect::to("/").into_response(), &cookie(token.secret.expose(), seconds, secure)))
}

#[derive(Deserialize)]
struct ProofForm {
    proof: String,
}

async fn logout(State(app): State<App>, request: Request) -> WebResult {
    let context = context_of(&request)?;
    let visitor = Visitor::of(&app, request.headers(), &context).await?;
    let sent: ProofForm = form(request).await?;
    visitor.check(&sent.proof)?;
    let caller = &visitor.caller;
    caller.service().close_session(caller.own()?, caller.view(), caller.context()).await?;
    Ok(with_cookie(Redirect::to("/").into_response(), &cookie("", 0, false)))
}

fn cookie(value: &str, seconds: u64, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!("{SESSION_COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

fn with_cookie(mut response: Response, cookie: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().insert(SET_COOKIE, value);
    }
    response
}

#[derive(Deserialize)]
struct PageQuery {
    #[serde(default)]
    from: u32,
}

async fn browse(State(app): State<App>, Path(path): Path<String>, Query(query): Query<PageQuery>, request: Request) -> WebResult {
    let context = context_of(&request)?;
    let visitor = Visitor::of(&app, request.headers(), &context).await?;
    let path: UserPath = path.parse()?;
    let proof = visitor.caller.at::<ReadTree>(&path)?;
    let writable = is_writable(&visitor.caller, proof.subject());
    let wanted = ListRequest { skip: query.from, limit: Some(PAGE), count_total: true, ..ListRequest::default() };
    let mut folder = visitor.caller.service().open_folder(proof, wanted, visitor.caller.context()).await?;
    let entries = folder.next_page().await?.unwrap_or_default();
    let shown = pages::Folder {
        path: &path,
        label: &folder.place().workspace().label,
        entries: &entries,
        from: query.from,
        total: folder.total,
        writable,
    };
    Ok(page(StatusCode::OK, pages::folder(&visitor.frame(), &shown)))
}

async fn download(State(app): State<App>, Path(path): Path<String>, request: Request) -> WebResult {
    let context = context_of(&request)?;
    let visitor = Visitor::of(&app, request.headers(), &context).await?;
    let proof = visitor.caller.at::<ReadContent>(&path.parse()?)?;
    let (offset, length) = crate::dav::range::guess(crate::dav::range::asked(request.headers()));
    let file = visitor.caller.service().open_file(proof, OpenRequest { version: None, offset, length }, visitor.caller.context()).await?;
    let wanted = if request.method() == http::Method::HEAD { Wanted::HeadOnly } else { Wanted::Body };
    Ok(answer(file, request.headers(), (wanted, Disposition::Attachment), visitor.caller.context()).await?)
}

#[derive(Deserialize)]
struct FolderForm {
    name: String,
    proof: String,
}

async fn make_folder(State(app): State<App>, Path(path): Path<String>, request: Request) -> WebResult {
    let context = context_of(&request)?;
    let visitor = Visitor::of(&app, request.headers(), &context).await?;
    let sent: FolderForm = form(request).await?;
    visitor.check(&sent.proof)?;
    let folder: UserPath = path.parse()?;
    let proof = visitor.caller.at::<WriteTree>(&folder.child(sent.name.trim())?)?;
    visitor.caller.service().create_folder(proof, FolderRequest::default(), visitor.caller.context()).await?;
    Ok(to_folder(&folder))
}

async fn delete(State(app): State<App>, Path(path): Path<String>, request: Request) -> WebResult {
    let context = context_of(&request)?;
    let visitor = Visitor::of(&app, request.headers(), &context).await?;
    let sent: ProofForm = form(request).await?;
    visitor.check(&sent.proof)?;
    let path: UserPath = path.parse()?;
    let proof = visitor.caller.at::<WriteTree>(&path)?;
    visitor.caller.service().delete(proof, DeleteRequest::default(), visitor.caller.context()).await?;
    Ok(to_folder(&path.parent().unwrap_or_default()))
}

/// Back to the page of a folder, so that loading it again sends no form again.
fn to_folder(path: &UserPath) -> Response {
    Redirect::to(&pages::browse_href(path)).into_response()
}

async fn nodes(State(app): State<App>, request: Request) -> WebResult {
    let visitor = Visitor::of(&app, request.headers(), &context_of(&request)?).await?;
    let _proof = visitor.caller.administer()?;
    let status = app.service().node().status().await;
    Ok(page(StatusCode::OK, pages::nodes(&visitor.frame(), &status)))
}

#[cfg(test)]
mod tests {
    use super::cookie;

    #[test]
    fn scripts_and_other_sites_cannot_use_the_cookie() {
        let set = cookie("a.b", 60, true);
        assert_eq!(set, "skep_session=a.b; Path=/; Max-Age=60; HttpOnly; SameSite=Strict; Secure");
        assert!(cookie("", 0, false).contains("Max-Age=0"));
    }
}
