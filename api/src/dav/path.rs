//! Between URL paths and users' paths. Each segment is decoded by itself, so that an escaped slash cannot make two names of one.

use http::{HeaderMap, Uri};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::error_code::{ErrorCode, Failure};
use crate::service::user_path::UserPath;

const PREFIX: &str = "/dav";
/// Everything but the unreserved characters of RFC 3986.
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'&')
    .add(b'\'')
    .add(b'+')
    .add(b';')
    .add(b'<')
    .add(b'=')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}')
    .add(b'/');

/// The user's path of a URL path below `/dav`.
pub(super) fn of_uri(path: &str) -> Result<UserPath, Failure> {
    let below = path.strip_prefix(PREFIX).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    let below = below.ok_or_else(|| Failure::new(ErrorCode::AcrossDatasources, format!("{path}: this is not below {PREFIX}")))?;
    let mut decoded = UserPath::default();
    for segment in below.trim_matches('/').split('/').filter(|_| !below.trim_matches('/').is_empty()) {
        let name = percent_decode_str(segment)
            .decode_utf8()
            .map_err(|_not_utf8| Failure::new(ErrorCode::NameInvalid, format!("{segment}: names are UTF-8")))?;
        decoded = decoded.child(&name).map_err(|failure| failure.at(segment))?;
    }
    Ok(decoded)
}

/// The URL path of a user's path.
pub(super) fn href(path: &UserPath) -> String {
    let mut href = PREFIX.to_owned();
    for name in path.names() {
        href.push('/');
        href.extend(utf8_percent_encode(name, ESCAPED));
    }
    href
}

/// The user's path that a `Destination` names: a path, or a URL of this very server.
pub(super) fn destination(headers: &HeaderMap, own_host: Option<&str>) -> Result<UserPath, Failure> {
    let bad = |why: &str| Failure::new(ErrorCode::BadRequest, format!("Destination: {why}"));
    let header = headers.get("destination").ok_or_else(|| bad("the header is missing"))?;
    let text = header.to_str().map_err(|_not_ascii| bad("it is not a URL"))?;
    of_url(text, own_host).map_err(|failure| Failure { detail: format!("Destination: {}", failure.detail), ..failure })
}

/// The user's path of a path or of a URL of this very server.
pub(super) fn of_url(text: &str, own_host: Option<&str>) -> Result<UserPath, Failure> {
    let uri: Uri = text.parse().map_err(|_no_uri| Failure::new(ErrorCode::BadRequest, "it is not a URL"))?;
    if let (Some(authority), Some(own)) = (uri.authority(), own_host)
        && !authority.as_str().eq_ignore_ascii_case(own)
    {
        return Err(Failure::new(ErrorCode::AcrossDatasources, format!("{authority} is another server than {own}")));
    }
    of_uri(uri.path())
}

/// The host that a request was sent to.
pub(super) fn own_host<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    uri.authority().map(http::uri::Authority::as_str).or_else(|| headers.get(http::header::HOST).and_then(|host| host.to_str().ok()))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::{destination, href, of_uri};
    use crate::error_code::ErrorCode;

    #[test]
    fn paths_go_to_urls_and_back() {
        for path in ["", "ws", "ws/a b/ü%2f#?.txt", "ws/100%/\"x\"&'y'"] {
            let parsed = path.parse().expect("a path");
            assert_eq!(of_uri(&href(&parsed)).expect("a path"), parsed, "{path}");
        }
        assert_eq!(of_uri("/dav/ws/dir/").expect("a path").to_string(), "ws/dir");
        assert_eq!(of_uri("/dav").expect("a path").to_string(), "");
    }

    #[test]
    fn an_escaped_slash_or_dots_or_bad_utf8_make_no_path() {
        for bad in ["/dav/ws/a%2Fb", "/dav/ws/%2e%2e/x", "/dav/ws/%ff", "/dav/ws//x", "/dav/ws/a%00"] {
            assert_eq!(of_uri(bad).expect_err(bad).code, ErrorCode::NameInvalid);
        }
        assert!(of_uri("/davx/ws").is_err());
    }

    #[test]
    fn destinations_are_of_this_server() {
        let to = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("destination", HeaderValue::from_static(value));
            destination(&headers, Some("here:7000"))
        };
        assert_eq!(to("http://here:7000/dav/ws/b%20c").expect("a path").to_string(), "ws/b c");
        assert_eq!(to("/dav/ws/b").expect("a path").to_string(), "ws/b");
        assert_eq!(to("http://there/dav/ws/b").expect_err("refused").code, ErrorCode::AcrossDatasources);
        assert_eq!(to("http://here:7000/elsewhere").expect_err("refused").code, ErrorCode::AcrossDatasources);
        assert!(destination(&HeaderMap::new(), None).is_err());
    }
}
