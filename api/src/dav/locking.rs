//! What LOCK and UNLOCK need before `dav-server` gets them, and what it does not tell after. Source: RFC 4918, sections 9.10 and 9.11.

use axum::response::Response;
use http::header::{HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::if_header::IfHeader;
use crate::error_code::{ErrorCode, Failure};
use crate::service::locks::Locked;
use crate::stated::{FENCE_HEADER, shown, token_of};

const IF: &str = "if";
const LOCK_TOKEN: &str = "lock-token";

/// The lock that a request names, and what it wants of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// That it lasts longer.
    Refreshed([u8; 16]),
    /// That it ends.
    GivenBack([u8; 16]),
}

/// The lock that a LOCK without a body refreshes; none if it has a body, and so asks for a new one.
pub(super) fn refreshed(headers: &HeaderMap, xml: &[u8]) -> Result<Option<Named>, Failure> {
    let bad = |why: &str| Err(Failure::new(ErrorCode::BadRequest, why));
    if !matches!(headers.get("depth").map(HeaderValue::as_bytes), None | Some(b"0" | b"infinity" | b"Infinity")) {
        return bad("Depth: a lock has the depth 0 or infinity");
    }
    if !xml.is_empty() {
        return Ok(None);
    }
    let Some(header) = IfHeader::of(headers)? else {
        return bad("LOCK: without a body it refreshes a lock, whose token stands in an If header; a new lock is asked for by a lockinfo");
    };
    let mut tokens = header.tokens();
    tokens.dedup();
    match tokens.as_slice() {
        [token] => Ok(Some(Named::Refreshed(*token))),
        [] => Err(Failure::new(ErrorCode::PreconditionFailed, "If: it names no lock of this server")),
        _several => bad("If: one lock is refreshed at a time"),
    }
}

/// The lock that an UNLOCK ends.
pub(super) fn given_back(headers: &HeaderMap) -> Result<Named, Failure> {
    let sent = headers.get(LOCK_TOKEN).and_then(|value| value.to_str().ok());
    let sent = sent.ok_or_else(|| Failure::new(ErrorCode::BadRequest, "Lock-Token: UNLOCK names the lock by this header"))?;
    let token = token_of(sent).ok_or_else(|| Failure::new(ErrorCode::LockLost, format!("Lock-Token: {sent} is no lock of this server")))?;
    Ok(Named::GivenBack(token))
}

/// Conditions are decided where the change is applied, and `dav-server` shall not read what clients wrote: malformed lists end it. What it needs of them is
/// put back.
pub(super) fn take_conditions_out(headers: &mut HeaderMap, named: Option<Named>) {
    for name in [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE] {
        headers.remove(name);
    }
    headers.remove(IF);
    headers.remove(LOCK_TOKEN);
    let (name, value) = match named {
        Some(Named::Refreshed(token)) => (IF, format!("(<{}>)", shown(&token))),
        Some(Named::GivenBack(token)) => (LOCK_TOKEN, format!("<{}>", shown(&token))),
        None => return,
    };
    headers.insert(HeaderName::from_static(name), HeaderValue::from_str(&value).expect("a UUID in brackets is ASCII"));
}

/// The fencing number, and whether the lock has made a file.
pub(super) fn tell(response: &mut Response, taken: Option<&Locked>) {
    let Some(locked) = taken else { return };
    response.headers_mut().insert(HeaderName::from_static(FENCE_HEADER), HeaderValue::from(locked.lock.fence));
    *response.status_mut() = if locked.created { StatusCode::CREATED } else { StatusCode::OK };
}

/// Whether the body of a PROPFIND may want locks: no body wants everything.
pub(super) fn asks_for_locks(xml: &[u8]) -> bool {
    let names = |word: &[u8]| xml.windows(word.len()).any(|window| window == word);
    xml.is_empty() || names(b"lockdiscovery") || names(b"allprop")
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{Named, asks_for_locks, given_back, refreshed, take_conditions_out};
    use crate::error_code::ErrorCode;

    const TOKEN: &str = "opaquelocktoken:07070707-0707-0707-0707-070707070707";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))).collect()
    }

    #[test]
    fn a_lock_without_a_body_refreshes_the_one_that_is_named() {
        let of = |value: &str, xml: &[u8]| refreshed(&headers(&[("if", value)]), xml).map_err(|failure| failure.code);
        assert_eq!(of(&format!("(<{TOKEN}>) (<{TOKEN}> [\"v\"])"), b""), Ok(Some(Named::Refreshed([7; 16]))));
        assert_eq!(of(&format!("(<{TOKEN}>)"), b"<lockinfo/>"), Ok(None));
        assert_eq!(of("(<urn:other:1>)", b""), Err(ErrorCode::PreconditionFailed));
        assert_eq!(of(&format!("(<{TOKEN}>) (<{}>)", TOKEN.replace('7', "8")), b""), Err(ErrorCode::BadRequest));
        assert!(refreshed(&HeaderMap::new(), b"").is_err());
        assert!(refreshed(&headers(&[("depth", "1")]), b"<lockinfo/>").is_err());
    }

    #[test]
    fn an_unlock_names_its_lock() {
        let of = |value: &str| given_back(&headers(&[("lock-token", value)])).map_err(|failure| failure.code);
        assert_eq!(of(&format!("<{TOKEN}>")), Ok(Named::GivenBack([7; 16])));
        assert_eq!(of("<urn:other:1>"), Err(ErrorCode::LockLost));
        assert_eq!(given_back(&HeaderMap::new()).map_err(|failure| failure.code), Err(ErrorCode::BadRequest));
    }

    #[test]
    fn only_what_is_well_formed_goes_on() {
        let mut sent = headers(&[("if", "(<a"), ("if-match", "\""), ("if-none-match", "\""), ("lock-token", "x"), ("depth", "0")]);
        take_conditions_out(&mut sent, Some(Named::Refreshed([7; 16])));
        assert_eq!(sent, headers(&[("if", &format!("(<{TOKEN}>)")), ("depth", "0")]));
        take_conditions_out(&mut sent, Some(Named::GivenBack([7; 16])));
        assert_eq!(sent, headers(&[("lock-token", &format!("<{TOKEN}>")), ("depth", "0")]));
    }

    #[test]
    fn locks_are_looked_for_only_where_they_are_asked_for() {
        assert!(asks_for_locks(b"") && asks_for_locks(b"<allprop/>") && asks_for_locks(b"<prop><D:lockdiscovery/></prop>"));
        assert!(!asks_for_locks(b"<prop><getetag/></prop>"));
    }
}
