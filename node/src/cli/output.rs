//! The only place that writes to the terminal: lines, tables, errors; in colour only where a terminal shows it.

use std::io::{IsTerminal, Write};

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, ContentArrangement, Table};
use indicatif::{ProgressBar, ProgressStyle};
use owo_colors::OwoColorize;

/// A line for people or scripts.
pub(super) fn line(text: impl AsRef<str>) {
    // A reader that closed the pipe wants no more lines.
    let _closed = writeln!(std::io::stdout().lock(), "{}", text.as_ref());
}

/// The heading of a table.
pub(super) fn heading(text: &str) {
    line("");
    line(if std::io::stdout().is_terminal() { text.bold().to_string() } else { text.to_owned() });
}

/// Rows under a header; an empty table is said to be empty.
pub(super) fn table(header: &[&str], rows: Vec<Vec<String>>, if_empty: &str) {
    if rows.is_empty() {
        line(format!("  {if_empty}"));
        return;
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().map(|name| Cell::new(name.to_uppercase())));
    for row in rows {
        table.add_row(row);
    }
    table.lines().for_each(|text| line(text.trim_end()));
}

/// A bar on the error stream for what is told in thousandths, with a message; nothing where that is no terminal.
pub(super) fn progress_of_thousand() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30.cyan/blue} {percent:>3} % {elapsed} {wide_msg}").expect("the template is right");
    ProgressBar::new(1_000).with_style(style)
}

/// Something a person should know that does not stop the command.
pub(super) fn note(text: &str) {
    let mark = if std::io::stderr().is_terminal() { "note:".yellow().to_string() } else { "note:".to_owned() };
    let _closed = writeln!(std::io::stderr().lock(), "{mark} {text}");
}

/// Why the command ends.
pub(super) fn error(text: &str) {
    let mark = if std::io::stderr().is_terminal() { "error:".red().bold().to_string() } else { "error:".to_owned() };
    let _closed = writeln!(std::io::stderr().lock(), "{mark} {text}");
}

/// Help, version or a usage error.
pub(super) fn clap(error: &clap::Error) {
    // A reader that closed the pipe wants no more lines.
    let _closed = error.print();
}

/// Empties the screen before it is written anew.
pub(super) fn clear_screen() {
    if std::io::stdout().is_terminal() {
        let _closed = write!(std::io::stdout().lock(), "\x1b[2J\x1b[H");
    }
}

/// Bytes as people read them.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let (mut tenths, mut unit) = (count.saturating_mul(10) / 1024, 0);
    if count > u64::MAX / 10 {
        tenths = count / 1024 * 10;
    }
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// A moment in microseconds since the Unix epoch, UTC.
pub(super) fn moment(micros: u64) -> String {
    let moment = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000);
    let text = moment.ok().and_then(|moment| moment.replace_nanosecond(0).ok());
    let text = text.and_then(|moment| moment.format(&time::format_description::well_known::Rfc3339).ok());
    text.unwrap_or_else(|| micros.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_moments_are_for_people() {
        let shown = [0, 1023, 1024, 1536, 10_239, 1_048_576, 5_000_000_000, u64::MAX].map(bytes);
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "9.9 KiB", "1.0 MiB", "4.6 GiB", "15.9 EiB"]);
        assert_eq!(moment(1_700_000_000_123_456), "2023-11-14T22:13:20Z");
    }
}
