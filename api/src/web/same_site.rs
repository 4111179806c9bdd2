//! Refuses forms that another site sent, by what browsers say of a request; the cookie's SameSite and the form's proof stand behind it.

use http::HeaderMap;
use http::header::{HOST, ORIGIN};

use crate::error_code::{ErrorCode, Failure};

/// Checks where a form comes from. A client that says nothing is no browser and has no cookie to misuse.
pub(super) fn check(headers: &HeaderMap) -> Result<(), Failure> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let foreign = || Err(Failure::new(ErrorCode::Forbidden, "the form was sent by a page of another site"));
    match text("sec-fetch-site") {
        Some("same-origin" | "none") => return Ok(()),
        Some(_) => return foreign(),
        None => {}
    }
    let Some(origin) = text(ORIGIN.as_str()) else { return Ok(()) };
    let host = origin.split_once("://").map(|(_, host)| host);
    if host.is_some() && host == text(HOST.as_str()) { Ok(()) } else { foreign() }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::check;

    fn allowed(pairs: &[(&'static str, &'static str)]) -> bool {
        let headers: HeaderMap =
            pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect();
        check(&headers).is_ok()
    }

    #[test]
    fn only_pages_of_this_server_send_forms() {
        assert!(allowed(&[]));
        assert!(allowed(&[("sec-fetch-site", "same-origin")]));
        assert!(!allowed(&[("sec-fetch-site", "cross-site")]));
        assert!(!allowed(&[("sec-fetch-site", "same-site")]));
        assert!(allowed(&[("origin", "http://here:7000"), ("host", "here:7000")]));
        assert!(!allowed(&[("origin", "http://evil"), ("host", "here:7000")]));
        assert!(!allowed(&[("origin", "null"), ("host", "here:7000")]));
    }
}
