//! PROPFIND, PROPPATCH, MKCOL, LOCK and UNLOCK through `dav-server`, guarded before and after it.
//!
//! Before: small bodies, no document types, no infinite depth; the first page of a listing and the locks over it are read, so that what cannot be listed is
//! refused with its own status; conditions are taken out of the head, because they are decided where the change is applied. After: if reading failed
//! midway the connection is cut, because `dav-server` passes over what it cannot read and would end a listing short.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use dav_server::DavHandler;
use futures_util::{StreamExt, stream};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::Full;
use skep_raft::wire::meta::v1::Precondition;

use super::filesystem::FileSystem;
use super::lock_system::{LockSystem, SeenLocks};
use super::locking::{self, Named};
use super::{conditions, context, refuse_root, refuse_workspace};
use crate::app::Caller;
use crate::auth::rights::{ReadTree, WriteTree};
use crate::error_code::{ErrorCode, Failure};
use crate::limits;
use crate::ports::BodyError;
use crate::rest::body::read_whole;
use crate::service::listing::{FolderReader, ListRequest};
use crate::service::locks::{Hold, Locked, Passes, SeenLock};
use crate::service::quota::Usage;
use crate::service::user_path::UserPath;

/// What travels through `dav-server` as its credentials: the caller, what was read already, and a slot for the true failure.
#[derive(Clone)]
pub(super) struct Travelling {
    pub(super) caller: Caller,
    /// What the request is about.
    path: UserPath,
    shared: Arc<Mutex<Shared>>,
    used: Used,
}

/// What counts against the quota of a request's place, once it was asked for. Folders show it as what they use: by RFC 4331 that is the space of all that
/// shares a quota with the folder. `dav-server` takes it from the length of a folder, which it shows nowhere else.
#[derive(Clone, Debug, Default)]
pub(super) struct Used(Arc<AtomicU64>);

impl Used {
    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Default)]
struct Shared {
    failure: Option<Failure>,
    folder: Option<FolderReader>,
    locks: SeenLocks,
    taken: Option<Locked>,
}

impl std::fmt::Debug for Travelling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Travelling").finish_non_exhaustive()
    }
}

impl Travelling {
    fn new(caller: Caller, path: UserPath, folder: Option<FolderReader>, locks: SeenLocks) -> Self {
        let shared = Shared { folder, locks, ..Shared::default() };
        Self { caller, path, shared: Arc::new(Mutex::new(shared)), used: Used::default() }
    }

    fn shared(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().expect("no holder of this lock panics")
    }

    /// Asks how much is used and left where the request is; none where no quota is set.
    pub(super) async fn usage(&self) -> Result<Option<Usage>, Failure> {
        if self.path.slug().is_none() {
            return Ok(None);
        }
        let usage = self.caller.service().usage(self.caller.at::<ReadTree>(&self.path)?, &context(&self.caller)).await?;
        self.used.0.store(usage.map_or(0, |usage| usage.used), Ordering::Relaxed);
        Ok(usage)
    }

    /// What folders of the answer show as used.
    pub(super) fn used(&self) -> Used {
        self.used.clone()
    }

    /// Keeps the first failure.
    pub(super) fn fail(&self, failure: Failure) {
        self.shared().failure.get_or_insert(failure);
    }

    pub(super) fn failure(&self) -> Option<Failure> {
        self.shared().failure.clone()
    }

    /// The folder whose first page was read before, once.
    pub(super) fn take_folder(&self) -> Option<FolderReader> {
        self.shared().folder.take()
    }

    /// The locks over what is listed.
    pub(super) fn locks_covering(&self, path: &UserPath) -> Vec<SeenLock> {
        self.shared().locks.covering(path)
    }

    /// Keeps the lock that was taken or refreshed.
    pub(super) fn took(&self, locked: Locked) {
        self.shared().taken = Some(locked);
    }

    pub(super) fn taken(&self) -> Option<Locked> {
        self.shared().taken.clone()
    }
}

/// What was found out before `dav-server` gets a request.
#[derive(Default)]
struct Before {
    folder: Option<FolderReader>,
    locks: SeenLocks,
    condition: Option<Precondition>,
    named: Option<Named>,
}

/// Answers one of the five methods.
pub(super) async fn handle(caller: Caller, path: &UserPath, mut parts: Parts, body: Body) -> Result<Response, Failure> {
    let xml = read_whole(body, limits::XML_BODY_BYTES).await?;
    refuse_document_type(&xml)?;
    if parts.method.as_str() == "PROPFIND" && !has_finite_depth(&parts.headers)? {
        return Ok(refuse_infinity());
    }
    let before = before(&caller, path, &parts, &xml).await?;
    locking::take_conditions_out(&mut parts.headers, before.named);
    parts.uri = path_with_slash(&parts)?;
    let xml = if parts.method.as_str() == "UNLOCK" { Bytes::new() } else { xml };
    let travelling = Travelling::new(caller.clone(), path.clone(), before.folder, before.locks);
    let locks = LockSystem::new(travelling.clone(), before.condition);
    let handler: DavHandler<Travelling> =
        DavHandler::builder().strip_prefix("/dav").filesystem(Box::new(FileSystem)).locksystem(Box::new(locks)).build_handler();
    let request = Request::from_parts(parts, Full::new(xml));
    let answered = handler.handle_guarded(request, caller.login().to_owned(), travelling.clone()).await;
    if answered.status().is_success() {
        let taken = travelling.taken();
        let mut response = guarded(answered, travelling);
        locking::tell(&mut response, taken.as_ref());
        return Ok(response);
    }
    Err(travelling.failure().unwrap_or_else(|| match answered.status() {
        StatusCode::NOT_FOUND => Failure::not_found(&path.to_string()),
        StatusCode::BAD_REQUEST => Failure::new(ErrorCode::BadRequest, "the XML of the request is malformed or not that of its method"),
        StatusCode::PRECONDITION_FAILED => {
            Failure::new(ErrorCode::PreconditionFailed, format!("{path}: a condition of the request does not hold"))
        }
        StatusCode::METHOD_NOT_ALLOWED => Failure::new(ErrorCode::AlreadyExists, format!("{path}: something of this name exists already")),
        other => Failure::new(ErrorCode::Internal, format!("{path}: the request was answered with {other}")),
    }))
}

/// Looks at what is asked for, and refuses what cannot be.
async fn before(caller: &Caller, path: &UserPath, parts: &Parts, xml: &Bytes) -> Result<Before, Failure> {
    let headers = &parts.headers;
    match parts.method.as_str() {
        "PROPFIND" => {
            let folder = first_page(caller, path, headers).await?;
            let locks = locks_shown(caller, path, folder.is_some(), xml).await?;
            Ok(Before { folder, locks, ..Before::default() })
        }
        "MKCOL" => {
            refuse_root(path)?;
            if !xml.is_empty() {
                return Err(Failure::new(ErrorCode::BadRequest, "MKCOL: a body is not understood"));
            }
            refuse_wanting_one(path, headers)?;
            Ok(Before::default())
        }
        "LOCK" => {
            refuse_workspace(path)?;
            let named = locking::refreshed(headers, xml)?;
            let condition = if named.is_none() { conditions::for_change(headers)? } else { None };
            Ok(Before { named, condition, ..Before::default() })
        }
        "UNLOCK" => {
            refuse_workspace(path)?;
            Ok(Before { named: Some(locking::given_back(headers)?), ..Before::default() })
        }
        _ => {
            refuse_workspace(path)?;
            let hold = Hold { condition: conditions::for_change(headers)?, passes: Passes::Change };
            let held = caller.service().states_hold(caller.at::<WriteTree>(path)?, hold, &context(caller)).await;
            held.map_err(
                |failure| if failure.code == ErrorCode::ParentNotFound { Failure::not_found(&path.to_string()) } else { failure },
            )?;
            Ok(Before::default())
        }
    }
}

/// A folder is made where nothing is: no condition on what is there can hold.
fn refuse_wanting_one(path: &UserPath, headers: &HeaderMap) -> Result<(), Failure> {
    let wants = |condition: Precondition| condition.must_exist || !condition.etags_any.is_empty() || condition.unmodified_since != 0;
    if conditions::for_change(headers)?.is_some_and(wants) {
        return Err(Failure::new(ErrorCode::PreconditionFailed, format!("{path}: a folder that is to be made matches no condition yet")));
    }
    Ok(())
}

/// The locks over what is listed, if they are asked for.
async fn locks_shown(caller: &Caller, path: &UserPath, with_members: bool, xml: &[u8]) -> Result<SeenLocks, Failure> {
    if path.slug().is_none() || !locking::asks_for_locks(xml) {
        return Ok(SeenLocks::default());
    }
    let proof = caller.at::<ReadTree>(path)?;
    if proof.subject().instant() != 0 {
        // Locks are of now.
        return Ok(SeenLocks::default());
    }
    Ok(SeenLocks::of(path, caller.service().locks_of(proof, with_members, &context(caller)).await?))
}

/// The answer, whose end is an error if reading failed midway.
fn guarded(answered: http::Response<dav_server::body::Body>, travelling: Travelling) -> Response {
    let (parts, body) = answered.into_parts();
    let pieces = body.map(|piece| piece.map_err(|error| BodyError::Broken(error.to_string())));
    let end = stream::once(async move {
        match travelling.failure() {
            Some(failure) => {
                crate::rest::wire::log(&failure);
                Err(BodyError::Broken(failure.to_string()))
            }
            None => Ok(Bytes::new()),
        }
    });
    // The last piece closes the document; it is held back until it is known that nothing failed.
    Response::from_parts(parts, Body::from_stream(held_back(pieces.chain(end))))
}

/// Passes pieces on one behind, so that an error at the end goes out instead of the last piece.
fn held_back<S>(pieces: S) -> impl futures_util::Stream<Item = Result<Bytes, BodyError>> + Send + 'static
where
    S: futures_util::Stream<Item = Result<Bytes, BodyError>> + Send + 'static,
{
    let state = (Box::pin(pieces), None::<Bytes>);
    stream::try_unfold(state, |(mut pieces, mut held)| async move {
        loop {
            match pieces.next().await {
                Some(Ok(piece)) if piece.is_empty() => {}
                Some(Ok(piece)) => {
                    if let Some(before) = held.replace(piece) {
                        return Ok(Some((before, (pieces, held))));
                    }
                }
                Some(Err(error)) => return Err(error),
                None => return Ok(held.take().map(|last| (last, (pieces, None)))),
            }
        }
    })
}

/// Entities could name files or grow without end; no client needs them.
fn refuse_document_type(xml: &[u8]) -> Result<(), Failure> {
    let bad = |why: &str| Err(Failure::new(ErrorCode::BadRequest, why));
    if xml.contains(&0) || xml.starts_with(&[0xfe, 0xff]) || xml.starts_with(&[0xff, 0xfe]) {
        return bad("the XML of a request is in UTF-8");
    }
    if xml.windows(9).any(|window| window.eq_ignore_ascii_case(b"<!DOCTYPE"))
        || xml.windows(8).any(|window| window.eq_ignore_ascii_case(b"<!ENTITY"))
    {
        return bad("the XML of a request has no document type");
    }
    // It is read into a tree by recursion, whose depth this bounds.
    if xml.iter().filter(|byte| **byte == b'<').count() > limits::XML_TAGS {
        return bad("the XML of a request has too many tags");
    }
    Ok(())
}

/// A missing depth means infinity. Source: RFC 4918, section 9.1.
fn has_finite_depth(headers: &HeaderMap) -> Result<bool, Failure> {
    match headers.get("depth").map(HeaderValue::as_bytes) {
        Some(b"0" | b"1") => Ok(true),
        None => Ok(false),
        Some(value) if value.eq_ignore_ascii_case(b"infinity") => Ok(false),
        Some(_) => Err(Failure::new(ErrorCode::BadRequest, "Depth: it is 0, 1 or infinity")),
    }
}

fn refuse_infinity() -> Response {
    let xml = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<D:error xmlns:D=\"DAV:\"><D:propfind-finite-depth/></D:error>\n";
    (StatusCode::FORBIDDEN, [(CONTENT_TYPE, "application/xml; charset=utf-8")], xml).into_response()
}

/// Reads the first page of a folder whose members are asked for.
async fn first_page(caller: &Caller, path: &UserPath, headers: &HeaderMap) -> Result<Option<FolderReader>, Failure> {
    if path.slug().is_none() || headers.get("depth").is_none_or(|depth| depth.as_bytes() != b"1") {
        return Ok(None);
    }
    let proof = caller.at::<ReadTree>(path)?;
    match caller.service().open_folder(proof, ListRequest::default(), &context(caller)).await {
        Ok(folder) => Ok(Some(folder)),
        // A file has no members; its own properties are asked for.
        Err(failure) if failure.code == ErrorCode::NotAFolder => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// `/dav` itself is known to `dav-server` only with its slash.
fn path_with_slash(parts: &Parts) -> Result<http::Uri, Failure> {
    let path = parts.uri.path();
    let path = if path == "/dav" { "/dav/" } else { path };
    path.parse().map_err(|_no_uri| Failure::new(ErrorCode::BadRequest, "the path is malformed"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::{StreamExt, stream};
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{has_finite_depth, held_back, refuse_document_type};
    use crate::ports::BodyError;

    #[test]
    fn document_types_are_refused() {
        assert!(refuse_document_type(b"<?xml version=\"1.0\"?><propfind xmlns=\"DAV:\"><allprop/></propfind>").is_ok());
        for bad in [&b"<!DOCTYPE x>"[..], b" <!doctype x [<!entity a \"b\">]>", b"\xff\xfe<\0!\0", b"a\0b"] {
            assert!(refuse_document_type(bad).is_err(), "{bad:?}");
        }
        assert!(refuse_document_type(&b"<a>".repeat(513)).is_err());
    }

    #[test]
    fn a_missing_depth_is_infinity() {
        let of = |value: &'static str| {
            has_finite_depth(&HeaderMap::from_iter([(HeaderName::from_static("depth"), HeaderValue::from_static(value))]))
        };
        assert_eq!((of("0"), of("1"), of("infinity"), has_finite_depth(&HeaderMap::new())), (Ok(true), Ok(true), Ok(false), Ok(false)));
        assert!(of("7").is_err());
    }

    #[tokio::test]
    async fn a_listing_that_failed_does_not_get_its_end() {
        let piece = |text: &'static str| Ok(Bytes::from_static(text.as_bytes()));
        let broken = || Err(BodyError::Broken("no quorum".to_owned()));
        let good: Vec<_> = held_back(stream::iter([piece("a"), piece(""), piece("end"), piece("")])).collect().await;
        assert_eq!(good, [piece("a"), piece("end")]);
        let cut: Vec<_> = held_back(stream::iter([piece("a"), piece("end"), broken()])).collect().await;
        assert_eq!(cut, [piece("a"), broken()]);
    }
}
