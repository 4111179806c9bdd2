//! Conditional requests: for reads decided here, for changes handed on to where the change is applied. Source: RFC 9110, section 13.

use http::HeaderMap;
use http::header::{HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE};
use skep_raft::wire::meta::v1::Precondition;

use super::http_date;
use crate::error_code::{ErrorCode, Failure};

/// Entity tags of one header.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Tags {
    Any,
    Some(Vec<Tag>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Tag {
    weak: bool,
    text: String,
}

/// What a condition says of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Go on.
    Proceed,
    /// The client has it already.
    NotModified,
    /// A condition does not hold.
    Failed,
}

/// What is compared with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Current<'a> {
    /// Without quotes.
    pub etag: &'a str,
    /// Seconds since the Unix epoch.
    pub modified: u64,
}

/// The conditions of a change, for the command that makes it.
pub(crate) fn for_change(headers: &HeaderMap) -> Result<Option<Precondition>, Failure> {
    let mut condition = Precondition::default();
    match tags(headers, &IF_MATCH)? {
        Some(Tags::Any) => condition.must_exist = true,
        Some(Tags::Some(tags)) => {
            // A weak tag never matches here; if no other is there nothing can.
            condition.etags_any = tags.into_iter().filter(|tag| !tag.weak).map(|tag| tag.text).collect();
            if condition.etags_any.is_empty() {
                return Err(Failure::new(ErrorCode::PreconditionFailed, "If-Match: only strong entity tags can match"));
            }
        }
        None => condition.unmodified_since = date(headers, &IF_UNMODIFIED_SINCE).unwrap_or(0),
    }
    match tags(headers, &IF_NONE_MATCH)? {
        Some(Tags::Any) => condition.must_not_exist = true,
        Some(Tags::Some(tags)) => condition.etags_none = tags.into_iter().map(|tag| tag.text).collect(),
        None => {}
    }
    Ok((condition != Precondition::default()).then_some(condition))
}

/// Whether a read goes on.
pub(crate) fn for_read(headers: &HeaderMap, current: Current<'_>) -> Result<Verdict, Failure> {
    let matches = |tags: &Tags, weak_too: bool| match tags {
        Tags::Any => true,
        Tags::Some(tags) => tags.iter().any(|tag| tag.text == current.etag && (weak_too || !tag.weak)),
    };
    match tags(headers, &IF_MATCH)? {
        Some(tags) if !matches(&tags, false) => return Ok(Verdict::Failed),
        Some(_) => {}
        None if date(headers, &IF_UNMODIFIED_SINCE).is_some_and(|since| current.modified > since) => return Ok(Verdict::Failed),
        None => {}
    }
    Ok(match tags(headers, &IF_NONE_MATCH)? {
        Some(tags) if matches(&tags, true) => Verdict::NotModified,
        Some(_) => Verdict::Proceed,
        None if date(headers, &IF_MODIFIED_SINCE).is_some_and(|since| current.modified <= since) => Verdict::NotModified,
        None => Verdict::Proceed,
    })
}

/// True if a range may be served: `If-Range` is not there, or names this very content.
pub(crate) fn range_holds(headers: &HeaderMap, current: Current<'_>) -> bool {
    let Some(value) = headers.get(IF_RANGE).and_then(|value| value.to_str().ok()) else { return !headers.contains_key(IF_RANGE) };
    match parse_tags(value) {
        Some(Tags::Some(tags)) => matches!(tags.as_slice(), [tag] if !tag.weak && tag.text == current.etag),
        // A date is weak unless it is old enough; only an exact one is followed.
        _ => http_date::parse(value) == Some(current.modified),
    }
}

fn tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>, Failure> {
    let mut all = Vec::new();
    for value in headers.get_all(name) {
        let parsed = value.to_str().ok().and_then(parse_tags);
        match parsed.ok_or_else(|| Failure::new(ErrorCode::BadRequest, format!("{name}: this is no list of entity tags")))? {
            Tags::Any => return Ok(Some(Tags::Any)),
            Tags::Some(tags) => all.extend(tags),
        }
    }
    Ok((!all.is_empty()).then_some(Tags::Some(all)))
}

/// Reads `*` or a list of entity tags; nothing if it is neither.
fn parse_tags(text: &str) -> Option<Tags> {
    let mut rest = text.trim();
    if rest == "*" {
        return Some(Tags::Any);
    }
    let mut tags = Vec::new();
    while !rest.is_empty() {
        let (weak, opened) = match rest.strip_prefix("W/") {
            Some(after) => (true, after),
            None => (false, rest),
        };
        let (tag, after) = opened.strip_prefix('"')?.split_once('"')?;
        tags.push(Tag { weak, text: tag.to_owned() });
        let after = after.trim_start();
        rest = if after.is_empty() { after } else { after.strip_prefix(',')?.trim_start() };
    }
    (!tags.is_empty()).then_some(Tags::Some(tags))
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    headers.get(name).and_then(|value| value.to_str().ok()).and_then(http_date::parse)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{Current, Verdict, for_change, for_read, range_holds};

    const NOW: Current<'_> = Current { etag: "v1", modified: 784_111_777 };
    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))).collect()
    }

    #[test]
    fn reads_follow_their_conditions() {
        let verdict = |name, value: &str| for_read(&headers(&[(name, value)]), NOW).expect("good headers");
        assert_eq!(verdict("if-none-match", "\"v1\""), Verdict::NotModified);
        assert_eq!(verdict("if-none-match", "W/\"v1\""), Verdict::NotModified);
        assert_eq!(verdict("if-none-match", "\"v0\", \"v2\""), Verdict::Proceed);
        assert_eq!(verdict("if-none-match", "*"), Verdict::NotModified);
        assert_eq!(verdict("if-match", "\"v0\""), Verdict::Failed);
        assert_eq!(verdict("if-match", "W/\"v1\""), Verdict::Failed);
        assert_eq!(verdict("if-match", "\"v0\",\"v1\""), Verdict::Proceed);
        assert_eq!(verdict("if-modified-since", THEN), Verdict::NotModified);
        assert_eq!(verdict("if-modified-since", BEFORE), Verdict::Proceed);
        assert_eq!(verdict("if-unmodified-since", BEFORE), Verdict::Failed);
        assert_eq!(verdict("if-unmodified-since", "nonsense"), Verdict::Proceed);
        assert!(for_read(&headers(&[("if-match", "v1")]), NOW).is_err());
    }

    #[test]
    fn a_tag_goes_before_a_date() {
        let both = headers(&[("if-none-match", "\"v0\""), ("if-modified-since", THEN)]);
        assert_eq!(for_read(&both, NOW).expect("good headers"), Verdict::Proceed);
    }

    #[test]
    fn changes_hand_their_conditions_on() {
        let condition = |name, value: &str| for_change(&headers(&[(name, value)])).expect("good headers").expect("a condition");
        assert!(condition("if-none-match", "*").must_not_exist);
        assert!(condition("if-match", "*").must_exist);
        assert_eq!(condition("if-match", "\"a\", W/\"b\"").etags_any, ["a"]);
        assert_eq!(condition("if-unmodified-since", THEN).unmodified_since, 784_111_777);
        assert_eq!(for_change(&HeaderMap::new()), Ok(None));
        assert!(for_change(&headers(&[("if-match", "W/\"b\"")])).is_err());
    }

    #[test]
    fn a_range_is_served_only_of_the_content_the_client_has() {
        let holds = |value: &str| range_holds(&headers(&[("if-range", value)]), NOW);
        assert!(holds("\"v1\"") && holds(THEN));
        assert!(!holds("\"v0\"") && !holds("W/\"v1\"") && !holds(BEFORE) && !holds("nonsense"));
        assert!(range_holds(&HeaderMap::new(), NOW));
    }
}
