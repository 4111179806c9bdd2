//! DELETE, COPY and MOVE: each one call of a use case. What lies across datasources or is too large for one command becomes a job.

use axum::response::{IntoResponse, Response};
use http::header::LOCATION;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::transfer_job::{Kind, by_job};
use super::{conditions, context, href, path, refuse_workspace};
use crate::app::Caller;
use crate::auth::rights::{ReadContent, WriteTree};
use crate::error_code::{ErrorCode, Failure};
use crate::service::transfer::{TransferRequest, Transferred};
use crate::service::tree::DeleteRequest;
use crate::service::user_path::UserPath;

/// The `Depth` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    Zero,
    One,
    Infinity,
}

/// Deletes to the recycle bin of the workspace; for good if it lies there already.
pub(super) async fn delete(caller: &Caller, path: &UserPath, headers: &HeaderMap) -> Result<Response, Failure> {
    refuse_workspace(path)?;
    if depth(headers)? != Depth::Infinity {
        return Err(Failure::new(ErrorCode::BadRequest, "Depth: a folder is deleted with all below it; the depth is infinity"));
    }
    let request = DeleteRequest { permanently: false, condition: conditions::for_change(headers)? };
    caller.service().delete(caller.at::<WriteTree>(path)?, request, &context(caller)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// What a COPY or a MOVE asks for.
pub(super) struct Asked {
    pub(super) to: UserPath,
    pub(super) request: TransferRequest,
}

/// Copies a file, a folder, or with `Depth: 0` a folder without its members.
pub(super) async fn copy(caller: &Caller, from: &UserPath, parts: &Parts) -> Result<Response, Failure> {
    let mut asked = asked(from, parts)?;
    asked.request.shallow = match depth(&parts.headers)? {
        Depth::Zero => true,
        Depth::Infinity => false,
        Depth::One => return Err(Failure::new(ErrorCode::BadRequest, "Depth: a copy has the depth 0 or infinity")),
    };
    let (source, target) = (caller.at::<ReadContent>(from)?, caller.at::<WriteTree>(&asked.to)?);
    let done = caller.service().copy_entry(source, target, asked.request.clone(), &context(caller)).await;
    match done {
        Err(failure) if needs_job(&failure) && !asked.request.shallow => by_job(caller, Kind::Copy, (from, &asked), parts).await,
        other => transferred(other, &asked.to),
    }
}

/// Moves or renames.
pub(super) async fn rename(caller: &Caller, from: &UserPath, parts: &Parts) -> Result<Response, Failure> {
    let asked = asked(from, parts)?;
    if depth(&parts.headers)? != Depth::Infinity {
        return Err(Failure::new(ErrorCode::BadRequest, "Depth: a folder is moved with all below it; the depth is infinity"));
    }
    let (source, target) = (caller.at::<WriteTree>(from)?, caller.at::<WriteTree>(&asked.to)?);
    let done = caller.service().move_entry(source, target, asked.request.clone(), &context(caller)).await;
    match done {
        Err(failure) if needs_job(&failure) => by_job(caller, Kind::Move, (from, &asked), parts).await,
        other => transferred(other, &asked.to),
    }
}

fn asked(from: &UserPath, parts: &Parts) -> Result<Asked, Failure> {
    refuse_workspace(from)?;
    let to = path::destination(&parts.headers, path::own_host(&parts.headers, &parts.uri))?;
    refuse_workspace(&to)?;
    if from == &to || to.is_within(from) {
        return Err(Failure::new(ErrorCode::IntoItself, format!("{from} cannot go to {to}: that is itself or lies in it")));
    }
    let overwrite = match parts.headers.get("overwrite").map(HeaderValue::as_bytes) {
        None | Some(b"T" | b"t") => true,
        Some(b"F" | b"f") => false,
        Some(_) => return Err(Failure::new(ErrorCode::BadRequest, "Overwrite: it is T or F")),
    };
    let request = TransferRequest { overwrite, condition: conditions::for_change(&parts.headers)?, ..TransferRequest::default() };
    Ok(Asked { to, request })
}

fn depth(headers: &HeaderMap) -> Result<Depth, Failure> {
    match headers.get("depth").map(HeaderValue::as_bytes) {
        None => Ok(Depth::Infinity),
        Some(b"0") => Ok(Depth::Zero),
        Some(b"1") => Ok(Depth::One),
        Some(value) if value.eq_ignore_ascii_case(b"infinity") => Ok(Depth::Infinity),
        Some(_) => Err(Failure::new(ErrorCode::BadRequest, "Depth: it is 0, 1 or infinity")),
    }
}

fn transferred(done: Result<Transferred, Failure>, to: &UserPath) -> Result<Response, Failure> {
    Ok(answered(done?.created, to))
}

pub(super) fn answered(created: bool, to: &UserPath) -> Response {
    let mut response = if created { StatusCode::CREATED } else { StatusCode::NO_CONTENT }.into_response();
    if let (true, Ok(location)) = (created, HeaderValue::from_str(&href(to))) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

fn needs_job(failure: &Failure) -> bool {
    matches!(failure.code, ErrorCode::AcrossDatasources | ErrorCode::TooLarge)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Request};

    use super::{Depth, asked, depth};
    use crate::error_code::ErrorCode;

    fn parts(destination: &'static str, overwrite: Option<&'static str>) -> http::request::Parts {
        let mut request = Request::builder().uri("/dav/ws/a").header("destination", destination).header("host", "here");
        if let Some(overwrite) = overwrite {
            request = request.header("overwrite", overwrite);
        }
        request.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn overwriting_is_the_default() {
        let from = "ws/a".parse().expect("a path");
        let overwrite =
            |value| asked(&from, &parts("/dav/ws/b", value)).map(|asked| asked.request.overwrite).map_err(|failure| failure.code);
        assert_eq!(overwrite(None), Ok(true));
        assert_eq!(overwrite(Some("T")), Ok(true));
        assert_eq!(overwrite(Some("F")), Ok(false));
        assert_eq!(overwrite(Some("maybe")), Err(ErrorCode::BadRequest));
    }

    #[test]
    fn nothing_goes_into_itself_or_replaces_a_workspace() {
        let from = "ws/a".parse().expect("a path");
        let code = |to| asked(&from, &parts(to, None)).map(|_| ()).map_err(|failure| failure.code);
        assert_eq!(code("/dav/ws/a"), Err(ErrorCode::IntoItself));
        assert_eq!(code("/dav/ws/a/b"), Err(ErrorCode::IntoItself));
        assert_eq!(code("/dav/other"), Err(ErrorCode::Forbidden));
        assert_eq!(code("/dav/ws/ab"), Ok(()));
    }

    #[test]
    fn depths_are_read() {
        let of =
            |value: &'static str| depth(&HeaderMap::from_iter([(http::HeaderName::from_static("depth"), HeaderValue::from_static(value))]));
        assert_eq!(depth(&HeaderMap::new()), Ok(Depth::Infinity));
        assert_eq!((of("0"), of("1"), of("Infinity")), (Ok(Depth::Zero), Ok(Depth::One), Ok(Depth::Infinity)));
        assert!(of("2").is_err());
    }
}
