//! PUT: a file as a stream.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::{conditions, context, refuse_root};
use crate::app::Caller;
use crate::auth::rights::WriteContent;
use crate::error_code::{ErrorCode, Failure};
use crate::limits;
use crate::rest::body::{Leftover, streamed};
use crate::service::content::PutRequest;
use crate::service::user_path::UserPath;

/// The time of change that some clients send, in seconds.
const MTIME: &str = "x-oc-mtime";

/// Makes a file or a new version of one.
pub(super) async fn put(caller: &Caller, path: &UserPath, parts: &Parts, body: Body) -> Result<Response, Failure> {
    refuse_root(path)?;
    if parts.uri.path().ends_with('/') {
        return Err(Failure::new(ErrorCode::IsAFolder, format!("{path}/: a path that ends in a slash names a folder")));
    }
    let request = request_of(&parts.headers)?;
    let has_mtime = request.mtime != 0;
    let proof = caller.at::<WriteContent>(path)?;
    let (body, leftover) = Leftover::split(streamed(body));
    let put = match caller.service().put_file(proof, request, body, &context(caller)).await {
        Ok(put) => put,
        Err(failure) => {
            leftover.discard().await;
            return Err(failure);
        }
    };
    let status = if put.created { StatusCode::CREATED } else { StatusCode::NO_CONTENT };
    let mut response = status.into_response();
    let headers = response.headers_mut();
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{}\"", put.entry.etag)) {
        headers.insert(ETAG, etag);
    }
    if has_mtime {
        headers.insert(MTIME, HeaderValue::from_static("accepted"));
    }
    Ok(response)
}

fn request_of(headers: &HeaderMap) -> Result<PutRequest, Failure> {
    if headers.contains_key(CONTENT_RANGE) {
        return Err(Failure::new(ErrorCode::BadRequest, "Content-Range: a file is sent whole"));
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    // Some clients send a body of unknown length and announce it apart.
    let announced = text(CONTENT_LENGTH.as_str()).or_else(|| text("x-expected-entity-length"));
    let expected_length = announced.map(str::parse).transpose().map_err(|_not_one| bad("Content-Length: this is not a number of bytes"))?;
    let expected_md5 = text("content-md5").map(md5).transpose()?;
    let seconds: u64 = text(MTIME).map(str::parse).transpose().map_err(|_not_one| bad("X-OC-Mtime: these are not seconds"))?.unwrap_or(0);
    let media_type = text(CONTENT_TYPE.as_str()).filter(|kind| is_telling(kind)).unwrap_or_default().to_owned();
    Ok(PutRequest {
        expected_length,
        expected_md5,
        media_type,
        mtime: seconds.saturating_mul(1_000_000),
        condition: conditions::for_change(headers)?,
        recursive: false,
    })
}

/// What many clients send for anything says nothing; the name says more.
fn is_telling(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    !matches!(essence, "" | "application/octet-stream" | "application/x-www-form-urlencoded" | "binary/octet-stream")
        && media_type.len() <= limits::NAME_BYTES
}

fn md5(sent: &str) -> Result<[u8; 16], Failure> {
    let bytes = STANDARD.decode(sent).ok().and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
    bytes.ok_or_else(|| bad("Content-MD5: this is not the base64 of 16 bytes"))
}

fn bad(why: &str) -> Failure {
    Failure::new(ErrorCode::BadRequest, why)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::request_of;
    use crate::service::content::PutRequest;

    fn request(pairs: &[(&'static str, &'static str)]) -> Result<PutRequest, String> {
        let headers: HeaderMap =
            pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect();
        request_of(&headers).map_err(|failure| failure.detail)
    }

    #[test]
    fn the_head_says_what_comes() {
        let read = request(&[
            ("content-length", "12"),
            ("content-type", "text/plain; charset=utf-8"),
            ("x-oc-mtime", "1751000000"),
            ("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg=="),
            ("if-none-match", "*"),
        ])
        .expect("a good head");
        assert_eq!((read.expected_length, read.mtime), (Some(12), 1_751_000_000_000_000));
        assert_eq!(read.expected_md5.map(|md5| md5[0]), Some(0xd4));
        assert_eq!(read.media_type, "text/plain; charset=utf-8");
        assert!(read.condition.is_some_and(|condition| condition.must_not_exist));
    }

    #[test]
    fn what_says_nothing_is_left_out_and_what_is_wrong_refused() {
        let read = request(&[("content-type", "application/octet-stream"), ("x-expected-entity-length", "5")]).expect("a good head");
        assert_eq!((read.media_type.as_str(), read.expected_length), ("", Some(5)));
        for (bad, named) in
            [(("content-range", "bytes 0-1/2"), "Content-Range"), (("content-md5", "abc"), "Content-MD5"), (("x-oc-mtime", "now"), "X-OC")]
        {
            assert!(request(&[bad]).expect_err("refused").starts_with(named));
        }
    }
}
