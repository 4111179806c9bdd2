//! WebDAV's `If` header: read here, decided where the change is applied. Source: RFC 4918, section 10.4.
//!
//! A list without a resource is about the request's own. Every token that is named is submitted, also in a list that does not hold.

use http::HeaderMap;
use http::request::Parts;
use skep_placement::ids::DatasourceId;
use skep_raft::wire::meta::v1::{StateList, StateTest};

use super::path;
use crate::app::Caller;
use crate::auth::rights::ReadTree;
use crate::error_code::{ErrorCode, Failure};
use crate::limits;
use crate::service::place::Place;
use crate::service::user_path::UserPath;
use crate::stated::{Stated, token_of};

const NAME: &str = "if";

/// The header as it was sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct IfHeader {
    lists: Vec<List>,
}

#[derive(Clone, Debug, PartialEq)]
struct List {
    /// The URL of what it is about; none: the request's own resource.
    resource: Option<String>,
    tests: Vec<StateTest>,
}

/// A list and where what it is about lies; nowhere, if the caller sees nothing there.
#[derive(Clone, Debug)]
pub(super) struct PlacedList {
    place: Option<Place>,
    tests: Vec<StateTest>,
}

/// The caller with what the request says by this header too.
pub(super) fn stated_by(caller: Caller, path: &UserPath, parts: &Parts) -> Result<Caller, Failure> {
    let Some(header) = IfHeader::of(&parts.headers)? else { return Ok(caller) };
    let mut stated = Stated::clone(&caller.context().stated);
    for token in header.tokens() {
        stated.submit(token)?;
    }
    let placed = header.placed(&caller, path, parts);
    let own = caller.place(path.clone()).ok().map(|place| place.datasource());
    stated.lists = placed.into_iter().map(|list| list.judged_by(own)).collect();
    Ok(caller.stating(stated))
}

impl IfHeader {
    /// Reads the header; nothing if the request has none.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, Failure> {
        let bad = |why: &str| Failure::new(ErrorCode::BadRequest, format!("If: {why}"));
        let mut values = headers.get_all(NAME).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(bad("send one header with all lists"));
        }
        let text = value.to_str().map_err(|_not_ascii| bad("it is in ASCII"))?;
        parse(text).map(Some).map_err(|why| bad(&why))
    }

    /// All tokens of ours that it names.
    pub(super) fn tokens(&self) -> Vec<[u8; 16]> {
        let tests = self.lists.iter().flat_map(|list| &list.tests);
        tests.filter_map(|test| <[u8; 16]>::try_from(test.lock_token.as_ref()).ok()).collect()
    }

    /// The lists with the places that they are about.
    pub(super) fn placed(&self, caller: &Caller, path: &UserPath, parts: &Parts) -> Vec<PlacedList> {
        let own_host = path::own_host(&parts.headers, &parts.uri);
        let place = |resource: &Option<String>| {
            let about = match resource {
                None => path.clone(),
                Some(url) => path::of_url(url, own_host).ok()?,
            };
            // What the caller may not see has no state to be asked about; nor has the past, in which nothing is changed.
            caller.at::<ReadTree>(&about).ok().map(|proof| proof.subject().clone()).filter(|place| place.instant() == 0)
        };
        self.lists.iter().map(|list| PlacedList { place: place(&list.resource), tests: list.tests.clone() }).collect()
    }
}

impl PlacedList {
    pub(super) fn datasource(&self) -> Option<DatasourceId> {
        self.place.as_ref().map(Place::datasource)
    }

    /// As the group of a datasource judges it: of what lies elsewhere it knows no state.
    pub(super) fn judged_by(self, datasource: Option<DatasourceId>) -> StateList {
        let place = self.place.filter(|place| Some(place.datasource()) == datasource);
        StateList { path: place.map(|place| place.entry()), tests: self.tests }
    }
}

fn parse(text: &str) -> Result<IfHeader, String> {
    let mut rest = text.trim();
    let mut header = IfHeader::default();
    let mut resource = None;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('<') {
            let (url, after) = after.split_once('>').ok_or("a resource has no closing >")?;
            rest = after.trim_start();
            if !rest.starts_with('(') {
                return Err(format!("after the resource {url:?} no list in parentheses follows"));
            }
            resource = Some(url.to_owned());
        } else if let Some(after) = rest.strip_prefix('(') {
            let (tests, after) = parse_list(after)?;
            header.lists.push(List { resource: resource.clone(), tests });
            rest = after.trim_start();
        } else {
            return Err("a list of states stands in parentheses".to_owned());
        }
        if header.lists.len() > limits::STATE_TESTS {
            return Err(format!("it has at most {} lists", limits::STATE_TESTS));
        }
    }
    if header.lists.is_empty() { Err("it has no list of states".to_owned()) } else { Ok(header) }
}

/// Reads a list after its opening parenthesis; gives what follows its closing one.
fn parse_list(mut rest: &str) -> Result<(Vec<StateTest>, &str), String> {
    let mut tests = Vec::new();
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix(')') {
            return if tests.is_empty() { Err("a list is empty".to_owned()) } else { Ok((tests, after)) };
        }
        let (test, after) = parse_test(rest)?;
        tests.push(test);
        rest = after;
        if tests.len() > limits::STATE_TESTS {
            return Err(format!("a list has at most {} states", limits::STATE_TESTS));
        }
    }
}

fn parse_test(text: &str) -> Result<(StateTest, &str), String> {
    let not = text.get(..3).filter(|word| word.eq_ignore_ascii_case("not"));
    let (negated, rest) = match not {
        Some(word) => (true, text.get(word.len()..).unwrap_or_default().trim_start()),
        None => (false, text),
    };
    let mut test = StateTest { negated, ..StateTest::default() };
    if let Some(after) = rest.strip_prefix('<') {
        let (token, after) = after.split_once('>').ok_or("a state token has no closing >")?;
        // A token of another server, or DAV:no-lock, is one that nothing has.
        test.lock_token = token_of(token).map(|token| token.to_vec().into()).unwrap_or_default();
        return Ok((test, after));
    }
    let after = rest.strip_prefix('[').ok_or("a state is a token in < and > or an entity tag in [ and ]")?.trim_start();
    let (weak, quoted) = after.strip_prefix("W/").map_or((false, after), |quoted| (true, quoted));
    let (tag, after) = quoted.strip_prefix('"').and_then(|tag| tag.split_once('"')).ok_or("an entity tag stands in quotes")?;
    let after = after.trim_start().strip_prefix(']').ok_or("an entity tag has no closing ]")?;
    // A weak tag never matches. Source: RFC 4918, section 10.4.4.
    if !weak {
        tag.clone_into(&mut test.etag);
    }
    Ok((test, after))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};
    use proptest::prelude::{ProptestConfig, any, prop_assert, proptest};

    use super::{IfHeader, parse};

    const TOKEN: &str = "opaquelocktoken:01234567-89ab-cdef-0123-456789abcdef";

    /// Lists as text: resource, then for each state its sign and what is tested.
    fn shown(text: &str) -> Vec<String> {
        let test = |test: &skep_raft::wire::meta::v1::StateTest| {
            let what = if test.lock_token.is_empty() { test.etag.clone() } else { "token".to_owned() };
            format!("{}{what}", if test.negated { "-" } else { "+" })
        };
        let lists = parse(text).expect(text).lists;
        lists
            .iter()
            .map(|list| {
                let tests: Vec<String> = list.tests.iter().map(test).collect();
                format!("{} {}", list.resource.as_deref().unwrap_or("own"), tests.join(" "))
            })
            .collect()
    }

    #[test]
    fn lists_are_read_with_their_resources() {
        assert_eq!(shown(&format!("(<{TOKEN}>)")), ["own +token"]);
        assert_eq!(shown(&format!(" ( <{TOKEN}> [\"v1\"] )(Not<DAV:no-lock>)")), ["own +token +v1", "own -"]);
        assert_eq!(
            shown(&format!("<http://here/dav/a> (<{TOKEN}>) ([\"x\"]) </dav/b>(not [\"]>)\"])")),
            ["http://here/dav/a +token", "http://here/dav/a +x", "/dav/b -]>)"]
        );
        assert_eq!(shown("([W/\"v1\"])"), ["own +"], "a weak tag is one that nothing has");
        assert_eq!(parse(&format!("(<{TOKEN}> Not <{TOKEN}>)")).expect("read").tokens().len(), 2);
    }

    #[test]
    fn what_is_no_header_is_refused_with_a_reason() {
        for bad in ["", "()", "(", "(<a", "<a", "<a>", "(<a>) x", "([v1])", "([\"v1\"", "(Not)", "(Not", "a", "([\"v1\")", "([\"v1"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let mut headers = HeaderMap::from_iter([(HeaderName::from_static("if"), HeaderValue::from_static("(<a>)"))]);
        assert!(IfHeader::of(&headers).expect("read").is_some());
        headers.append("if", HeaderValue::from_static("(<b>)"));
        assert!(IfHeader::of(&headers).is_err(), "two headers");
        assert_eq!(IfHeader::of(&HeaderMap::new()), Ok(None));
        assert!(parse(&"(<a>)".repeat(65)).is_err());
        assert!(parse(&format!("({})", "<a>".repeat(65))).is_err());
        assert!(parse(&format!("({})", "<a>".repeat(64))).is_ok());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn no_text_ends_the_reading_otherwise_than_by_lists_or_a_reason(text in "[()<>\\[\\]\"NotW/:é a-f0-9]{0,60}") {
            if let Ok(header) = parse(&text) {
                prop_assert!(header.lists.iter().all(|list| !list.tests.is_empty()));
            }
        }

        #[test]
        fn nor_does_any_text(text in any::<String>()) {
            let _either = parse(&text);
        }
    }
}
