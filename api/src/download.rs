//! A file as an HTTP answer: its head, conditions, one range, and what keeps a browser from running what users stored.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    LAST_MODIFIED,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::dav::conditions::{Current, Verdict, for_read, range_holds};
use crate::dav::http_date;
use crate::dav::range::{Served, asked, served};
use crate::error_code::{ErrorCode, Failure};
use crate::request_context::RequestContext;
use crate::rest::node::media_type;
use crate::rest::wire::seconds;
use crate::service::content::OpenFile;

/// What is wanted of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Body,
    HeadOnly,
}

/// How a browser is to take a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// Shown, unless it could run.
    AsSafe,
    /// Saved.
    Attachment,
}

/// Answers with a file or a part of it.
pub(crate) async fn answer(
    file: OpenFile,
    request: &HeaderMap,
    (wanted, disposition): (Wanted, Disposition),
    context: &RequestContext,
) -> Result<Response, Failure> {
    let (etag, modified, size) = (file.etag(), seconds(file.version.mtime), file.size());
    let current = Current { etag: &etag, modified };
    let mut headers = head(&file, disposition);
    match for_read(request, current)? {
        Verdict::Proceed => {}
        Verdict::NotModified => return Ok((StatusCode::NOT_MODIFIED, headers).into_response()),
        Verdict::Failed => {
            return Err(Failure::new(
                ErrorCode::PreconditionFailed,
                format!("{}: it has changed; its ETag is \"{etag}\" now", file.place().path()),
            ));
        }
    }
    let range = if range_holds(request, current) { asked(request) } else { None };
    let (status, offset, length) = match served(range, size) {
        Served::Whole => (StatusCode::OK, 0, size),
        Served::Part { offset, length } => {
            insert(&mut headers, CONTENT_RANGE, &format!("bytes {offset}-{}/{size}", offset + length - 1));
            (StatusCode::PARTIAL_CONTENT, offset, length)
        }
        Served::Outside => {
            insert(&mut headers, CONTENT_RANGE, &format!("bytes */{size}"));
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
            let why = format!("the file has {size} bytes; the range lies outside\n");
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, headers, why).into_response());
        }
    };
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    let body = match wanted {
        Wanted::HeadOnly => Body::empty(),
        Wanted::Body => Body::from_stream(file.read(offset, length, context).await?),
    };
    Ok((status, headers, body).into_response())
}

fn head(file: &OpenFile, disposition: Disposition) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let name = file.place().name().unwrap_or_default();
    let kind = media_type(&file.version.media_type, name);
    insert(&mut headers, CONTENT_TYPE, &kind);
    insert(&mut headers, ETAG, &format!("\"{}\"", file.etag()));
    if let Some(date) = http_date::format(seconds(file.version.mtime)) {
        insert(&mut headers, LAST_MODIFIED, &date);
    }
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
    if disposition == Disposition::Attachment || could_run(&kind) {
        insert(&mut headers, CONTENT_DISPOSITION, &attachment(name));
    }
    headers
}

/// True for what a browser might run in the name of this server.
fn could_run(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let runs =
        ["text/html", "image/svg+xml", "text/xml", "application/xml", "application/pdf", "text/javascript", "application/javascript"];
    runs.contains(&essence.as_str()) || essence.ends_with("+xml")
}

/// Source: RFC 6266 with the extended notation of RFC 8187.
fn attachment(name: &str) -> String {
    format!("attachment; filename*=UTF-8''{}", utf8_percent_encode(name, NON_ALPHANUMERIC))
}

/// Sets a header; a value that cannot be one (a media type as some client sent it) is left out.
fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    match HeaderValue::from_str(value) {
        Ok(value) => {
            headers.insert(name, value);
        }
        Err(error) => tracing::debug!(%name, %error, "a header was left out"),
    }
}

#[cfg(test)]
mod tests {
    use super::{attachment, could_run};

    #[test]
    fn what_could_run_is_saved_and_not_shown() {
        for kind in ["text/html", "text/HTML; charset=utf-8", "image/svg+xml", "application/xhtml+xml"] {
            assert!(could_run(kind), "{kind}");
        }
        for kind in ["image/png", "text/plain", "video/mp4"] {
            assert!(!could_run(kind), "{kind}");
        }
    }

    #[test]
    fn names_cannot_leave_their_header() {
        assert_eq!(attachment("a\"\r\nb.txt"), "attachment; filename*=UTF-8''a%22%0D%0Ab%2Etxt");
    }
}
