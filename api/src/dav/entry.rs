//! GET and HEAD of files.

use axum::response::Response;
use http::HeaderMap;

use super::range;
use crate::app::Caller;
use crate::auth::rights::ReadContent;
use crate::download::{Disposition, answer};
use crate::error_code::{ErrorCode, Failure};
use crate::service::content::OpenRequest;
use crate::service::user_path::UserPath;

pub(super) use crate::download::Wanted;

/// Serves a file or a range of it.
pub(super) async fn get(caller: &Caller, path: &UserPath, headers: &HeaderMap, wanted: Wanted) -> Result<Response, Failure> {
    if path.below().is_empty() {
        let why = format!(
            "{}: this is a folder; open / in a browser, or mount it by WebDAV",
            if path.slug().is_some() { "the workspace" } else { "/dav" }
        );
        return Err(Failure::new(ErrorCode::IsAFolder, why));
    }
    let (offset, length) = range::guess(range::asked(headers));
    let proof = caller.at::<ReadContent>(path)?;
    let file = caller.service().open_file(proof, OpenRequest { version: None, offset, length }, caller.context()).await?;
    answer(file, headers, (wanted, Disposition::AsSafe), caller.context()).await
}
