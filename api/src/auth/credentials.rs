//! The credentials that a request's head carries. Parsing only; nothing is believed here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE};

use crate::auth::secret::Secret;
use crate::error_code::{ErrorCode, Failure};
use crate::limits;

/// The cookie that holds a browser's session token.
pub const SESSION_COOKIE: &str = "skep_session";

/// What a request says of who it is.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// Nothing.
    None,
    /// An access token.
    Bearer(Secret),
    /// A login with its password, or with an access token in its place.
    Basic {
        /// As sent.
        login: String,
        /// As sent.
        password: Secret,
    },
}

impl Credentials {
    /// The login that comes with them; a token has none.
    pub(crate) fn login(&self) -> &str {
        match self {
            Self::Basic { login, .. } => login,
            Self::None | Self::Bearer(_) => "",
        }
    }

    /// Reads the `Authorization` header. Source: RFC 6750, RFC 7617 (with UTF-8).
    ///
    /// # Errors
    /// [`ErrorCode::Unauthorized`] for a header that is malformed or of another scheme.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, Failure> {
        let Some(value) = headers.get(AUTHORIZATION) else { return Ok(Self::None) };
        let text = value.to_str().map_err(|_not_ascii| malformed())?;
        let (scheme, rest) = text.split_once(' ').ok_or_else(malformed)?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return token(rest).map(Self::Bearer).ok_or_else(malformed);
        }
        if scheme.eq_ignore_ascii_case("basic") {
            return basic(rest).ok_or_else(malformed);
        }
        Err(Failure::new(ErrorCode::Unauthorized, format!("the scheme {scheme} is not known here; use Bearer or Basic")))
    }

    /// An access token as it came in a message; none if it cannot be one.
    pub(crate) fn bearer(text: &str) -> Option<Self> {
        token(text).map(Self::Bearer)
    }

    /// Reads the session cookie of the web page; other headers are not looked at.
    #[must_use]
    pub fn from_cookie(headers: &HeaderMap) -> Self {
        headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|text| text.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(name, _)| *name == SESSION_COOKIE)
            .and_then(|(_, value)| token(value))
            .map_or(Self::None, Self::Bearer)
    }
}

fn malformed() -> Failure {
    Failure::new(ErrorCode::Unauthorized, "the Authorization header is malformed")
}

fn token(text: &str) -> Option<Secret> {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~+/=".contains(&byte));
    (!text.is_empty() && text.len() <= limits::TOKEN_BYTES && plain).then(|| Secret::new(text.to_owned()))
}

fn basic(encoded: &str) -> Option<Credentials> {
    if encoded.len() > 2 * (limits::PASSWORD_BYTES + limits::NAME_BYTES) {
        return None;
    }
    let decoded = zeroize::Zeroizing::new(STANDARD.decode(encoded).ok()?);
    let text = std::str::from_utf8(&decoded).ok()?;
    let (login, password) = text.split_once(':')?;
    let fits = password.len() <= limits::PASSWORD_BYTES && !login.is_empty() && login.len() <= limits::NAME_BYTES;
    fits.then(|| Credentials::Basic { login: login.to_owned(), password: Secret::new(password.to_owned()) })
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header};

    use super::Credentials;

    fn parsed(value: &str) -> Option<Credentials> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).expect("an ASCII value"));
        Credentials::from_headers(&headers).ok()
    }

    #[test]
    fn basic_keeps_colons_of_the_password() {
        // "alice:a:b"
        let Some(Credentials::Basic { login, password }) = parsed("Basic YWxpY2U6YTpi") else { panic!("not parsed") };
        assert_eq!((login.as_str(), password.expose()), ("alice", "a:b"));
    }

    #[test]
    fn schemes_are_compared_without_case_and_unknown_ones_refused() {
        assert!(matches!(parsed("bearer abc.def"), Some(Credentials::Bearer(_))));
        assert!(parsed("Digest abc").is_none());
        assert!(parsed("Basic !!!").is_none());
        assert!(parsed("Bearer").is_none());
        assert!(parsed("Bearer a b").is_none());
    }

    #[test]
    fn the_session_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::from_static("a=b; skep_session=x.y; c=d"));
        let Credentials::Bearer(found) = Credentials::from_cookie(&headers) else { panic!("not found") };
        assert_eq!(found.expose(), "x.y");
        assert!(matches!(Credentials::from_cookie(&HeaderMap::new()), Credentials::None));
    }
}
