//! GET and HEAD of files.

use axum::extract::Query;
use axum::response::Response;
use http::request::Parts;
use serde::Deserialize;

use super::range;
use crate::app::Caller;
use crate::auth::rights::ReadContent;
use crate::download::{Disposition, answer};
use crate::error_code::{ErrorCode, Failure};
use crate::rest::batch::version_id;
use crate::service::content::OpenRequest;
use crate::service::user_path::UserPath;

pub(super) use crate::download::Wanted;

/// Which state of a file is wanted; none: the current one.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    /// A version's id, as Cells' clients send it.
    #[serde(rename = "versionId")]
    version_id: String,
    /// An instant: RFC 3339 or Unix time.
    at: String,
}

/// Serves a file or a range of it, of now or of the past.
pub(super) async fn get(caller: &Caller, path: &UserPath, parts: &Parts, wanted: Wanted) -> Result<Response, Failure> {
    let headers = &parts.headers;
    if path.below().is_empty() {
        let why = format!(
            "{}: this is a folder; open / in a browser, or mount it by WebDAV",
            if path.slug().is_some() { "the workspace" } else { "/dav" }
        );
        return Err(Failure::new(ErrorCode::IsAFolder, why));
    }
    let (offset, length) = range::guess(range::asked(headers));
    let Query(asked) = Query::<Asked>::try_from_uri(&parts.uri)
        .map_err(|error| Failure::new(ErrorCode::BadRequest, format!("the query: {error}; it may hold versionId or at")))?;
    let version = if asked.version_id.is_empty() { None } else { Some(version_id(&asked.version_id)?) };
    if version.is_some() && !asked.at.is_empty() {
        return Err(Failure::new(ErrorCode::BadRequest, "the query: send versionId or at, not both"));
    }
    let proof = caller.at_instant::<ReadContent>(path, &asked.at)?;
    let file = caller.service().open_file(proof, OpenRequest { version, offset, length }, caller.context()).await?;
    answer(file, headers, (wanted, Disposition::AsSafe), caller.context()).await
}
