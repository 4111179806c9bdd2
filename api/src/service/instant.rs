//! Instants as clients name them, as the stamps that groups know.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error_code::{ErrorCode, Failure};

/// How far ahead of this node's clock an instant may lie: a client's clock is not ours.
const AHEAD_MICROS: u64 = 60 * 1_000_000;

/// Reads RFC 3339 (`2026-11-20T08:00:00Z`) or Unix time in seconds, with a fraction or without.
///
/// Public: a pure function of a text.
///
/// # Errors
/// [`ErrorCode::BadRequest`] for what is neither, or before 1970.
pub fn parse(text: &str) -> Result<u64, Failure> {
    let bad = || {
        Failure::new(
            ErrorCode::BadRequest,
            format!("{text:?} is no instant: send RFC 3339, as 2026-11-20T08:00:00Z, or Unix time in seconds"),
        )
    };
    if let Some(stamp) = unix(text) {
        return Ok(stamp.max(1));
    }
    let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_no_time| bad())?;
    let micros = u64::try_from(time.unix_timestamp_nanos() / 1_000).map_err(|_before_1970| bad())?;
    Ok(micros.max(1))
}

/// Refuses an instant that is still to come.
///
/// Public: a pure function of two numbers.
///
/// # Errors
/// [`ErrorCode::BadRequest`].
pub fn check_past(at: u64, now_micros: u64) -> Result<u64, Failure> {
    if at > now_micros.saturating_add(AHEAD_MICROS) {
        return Err(Failure::new(ErrorCode::BadRequest, "the instant lies in the future: nobody knows yet"));
    }
    Ok(at)
}

/// An instant for people.
///
/// Public: a pure function of a number.
#[must_use]
pub fn show(stamp: u64) -> String {
    let time = i128::from(stamp).checked_mul(1_000).and_then(|nanos| OffsetDateTime::from_unix_timestamp_nanos(nanos).ok());
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| format!("{stamp} µs"))
}

/// Seconds with up to six decimals; what has more than eleven digits is no time in seconds.
fn unix(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 11 || !is_number(whole) || !is_number(fraction) || fraction.len() > 9 {
        return None;
    }
    let micros: u64 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(micros)
}

#[cfg(test)]
mod tests {
    use super::{check_past, parse, show};

    #[test]
    fn instants_are_read_in_both_forms() {
        assert_eq!(parse("1751000000").expect("a time"), 1_751_000_000_000_000);
        assert_eq!(parse("1751000000.25").expect("a time"), 1_751_000_000_250_000);
        assert_eq!(parse("2025-06-27T04:53:20Z").expect("a time"), 1_751_000_000_000_000);
        assert_eq!(parse("2025-06-27T06:53:20.5+02:00").expect("a time"), 1_751_000_000_500_000);
        assert_eq!(show(1_751_000_000_000_000), "2025-06-27T04:53:20Z");
        for bad in ["", "yesterday", "-5", "1.2.3", "1751000000000000", "2025-06-27", "1e9"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn nobody_looks_ahead() {
        assert!(check_past(1_000, 1_000).is_ok());
        assert!(check_past(200_000_000, 1_000).is_err());
    }
}
