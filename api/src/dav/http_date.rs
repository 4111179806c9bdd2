//! Times as HTTP writes them. Source: RFC 9110, section 5.6.7; only the preferred form is read.

use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

const FORM: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

/// Seconds since the Unix epoch as HTTP writes them; nothing for years beyond 9999.
pub(crate) fn format(seconds: u64) -> Option<String> {
    let time = OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).ok()?).ok()?;
    time.format(FORM).ok()
}

/// Seconds since the Unix epoch of a date in a header; nothing for what is none.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let time = PrimitiveDateTime::parse(text.trim(), FORM).ok()?;
    u64::try_from(time.assume_utc().unix_timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use super::{format, parse};

    #[test]
    fn dates_have_the_form_of_http() {
        assert_eq!(format(784_111_777).as_deref(), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(parse("yesterday"), None);
        assert_eq!(format(u64::MAX), None);
    }
}
