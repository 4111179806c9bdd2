//! Amounts as people write them: sizes, counts and times, and `none`.

use skep_raft::state::policy::seconds_of;

/// What takes a limit away.
const NONE: &str = "none";

/// Bytes: a number, also with KiB, MiB, GiB or TiB; none: no limit, which is 0.
pub(super) fn size(text: &str) -> Result<u64, String> {
    if text == NONE {
        return Ok(0);
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim() {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return Err(format!("`{text}` is no size: say bytes, a number with KiB, MiB, GiB or TiB, or none")),
    };
    let number: u64 = number.parse().map_err(|_no_number| format!("`{text}` does not begin with a whole number; say none for no limit"))?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("`{text}` is more than can be counted"))
}

/// A count; none: no limit, which is 0.
pub(super) fn count(text: &str) -> Result<u64, String> {
    if text == NONE { Ok(0) } else { text.parse().map_err(|_no_number| format!("`{text}` is neither a whole number nor none")) }
}

/// Seconds: a number with s, m, h, d, w, M or y; none: 0.
pub(super) fn age(text: &str) -> Result<u64, String> {
    if text == NONE {
        return Ok(0);
    }
    seconds_of(text).ok_or_else(|| format!("`{text}` is no time: say 90s, 10m, 12h, 30d, 2w, 6M, 1y or none"))
}

/// A time for people.
pub(super) fn age_text(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "m")];
    let whole = units.into_iter().find(|(unit, _)| seconds >= *unit && seconds.is_multiple_of(*unit));
    whole.map_or_else(|| format!("{seconds}s"), |(unit, name)| format!("{}{name}", seconds / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_people_write_them() {
        assert_eq!(["0", "1500", "10GiB", "2 MiB", "none"].map(size), [0, 1_500, 10 << 30, 2 << 20, 0].map(Ok));
        assert!(["", "GiB", "1GB", "-1", "99999999999TiB"].into_iter().all(|text| size(text).is_err()));
        assert_eq!((count("7"), count("none"), count("x").is_err()), (Ok(7), Ok(0), true));
        assert_eq!((age("30d"), age("90s"), age("none"), age("7").is_err()), (Ok(2_592_000), Ok(90), Ok(0), true));
        assert_eq!([604_800, 5_400, 7_200, 1].map(age_text), ["7d", "90m", "2h", "1s"]);
    }
}
