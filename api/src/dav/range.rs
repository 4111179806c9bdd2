//! The `Range` header. One range of bytes is served; several, or a unit not known, are answered with the whole. Source: RFC 9110, section 14.

use http::HeaderMap;
use http::header::RANGE;

/// One range as asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// From a byte on, up to and with another or the end.
    From { first: u64, last: Option<u64> },
    /// The last so many bytes.
    Last(u64),
}

/// What is served of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Served {
    /// All of it.
    Whole,
    /// A part of it.
    Part { offset: u64, length: u64 },
    /// The range lies outside.
    Outside,
}

/// The one range of a head; none if there is none to be followed.
pub(crate) fn asked(headers: &HeaderMap) -> Option<Asked> {
    let mut values = headers.get_all(RANGE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (unit, set) = value.to_str().ok()?.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
        return None;
    }
    let (first, last) = set.trim().split_once('-')?;
    let (first, last) = (first.trim(), last.trim());
    if first.is_empty() {
        return number(last).map(Asked::Last);
    }
    let first = number(first)?;
    let last = if last.is_empty() { None } else { Some(number(last)?) };
    last.is_none_or(|last| last >= first).then_some(Asked::From { first, last })
}

/// Digits only: no sign, no space.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// What a range is of a file of so many bytes.
pub(crate) fn served(asked: Option<Asked>, size: u64) -> Served {
    match asked {
        None => Served::Whole,
        Some(Asked::From { first, .. }) if first >= size => Served::Outside,
        Some(Asked::From { first, last }) => {
            let last = last.unwrap_or(u64::MAX).min(size - 1);
            Served::Part { offset: first, length: last - first + 1 }
        }
        Some(Asked::Last(0)) => Served::Outside,
        Some(Asked::Last(_)) if size == 0 => Served::Outside,
        Some(Asked::Last(bytes)) => {
            let length = bytes.min(size);
            Served::Part { offset: size - length, length }
        }
    }
}

/// What to ask the metadata for before the size is known: (offset, length), 0 for all that follows.
pub(crate) fn guess(asked: Option<Asked>) -> (u64, u64) {
    match asked {
        Some(Asked::From { first, last }) => (first, last.map_or(0, |last| (last - first).saturating_add(1))),
        Some(Asked::Last(_)) | None => (0, 0),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header};
    use proptest::prelude::{prop_assert, proptest};

    use super::{Asked, Served, asked, guess, served};

    fn of(value: &str) -> Option<Asked> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_str(value).expect("a value"));
        asked(&headers)
    }

    #[test]
    fn single_ranges_are_read_and_all_others_passed_over() {
        assert_eq!(of("bytes=0-99"), Some(Asked::From { first: 0, last: Some(99) }));
        assert_eq!(of("Bytes=5-"), Some(Asked::From { first: 5, last: None }));
        assert_eq!(of("bytes=-7"), Some(Asked::Last(7)));
        for other in ["bytes=0-1,3-4", "pages=1-2", "bytes=9-5", "bytes=a-b", "bytes=-", "bytes=+1-2", "0-1", "bytes=99999999999999999999-"]
        {
            assert_eq!(of(other), None, "{other}");
        }
        assert_eq!(asked(&HeaderMap::new()), None);
    }

    #[test]
    fn ranges_are_cut_at_the_end_and_refused_beyond_it() {
        let of = |text| served(of(text), 10);
        assert_eq!(of("bytes=0-0"), Served::Part { offset: 0, length: 1 });
        assert_eq!(of("bytes=8-99"), Served::Part { offset: 8, length: 2 });
        assert_eq!(of("bytes=-3"), Served::Part { offset: 7, length: 3 });
        assert_eq!(of("bytes=-99"), Served::Part { offset: 0, length: 10 });
        assert_eq!(of("bytes=10-"), Served::Outside);
        assert_eq!(of("bytes=-0"), Served::Outside);
        assert_eq!(served(None, 0), Served::Whole);
        assert_eq!(served(Some(Asked::Last(1)), 0), Served::Outside);
    }

    proptest! {
        #[test]
        fn a_part_lies_in_the_file(first in 0_u64..2_000, last in proptest::option::of(0_u64..2_000), size in 0_u64..1_000) {
            let range = Asked::From { first, last: last.map(|last| last.max(first)) };
            if let Served::Part { offset, length } = served(Some(range), size) {
                prop_assert!(length > 0 && offset + length <= size);
                let (at, most) = guess(Some(range));
                prop_assert!(at == offset && (most == 0 || most >= length));
            }
        }
    }
}
