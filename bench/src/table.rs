//! Results as a table for a terminal and for Markdown: a line for each row, and below it one for each side it was measured with.

use comfy_table::{CellAlignment, ContentArrangement, Table};

use crate::measure::Summary;
use crate::results::{BASE, LIMIT, RowResult, SKEP};
use crate::row::Unit;

/// Heads of the columns.
pub const HEADER: [&str; 14] =
    ["row", "rate", "±", "of limit", "of base", "p50 ms", "p99", "p99.9", "CPU s", "gen s", "MiB", "syncs", "disk ×", "aim"];

const NONE: &str = "-";

/// All lines of a row.
pub fn lines(row: &RowResult) -> Vec<Vec<String>> {
    let aim = row.aim.as_ref().map_or(String::new(), |aim| format!("{} {}", aim.text, if aim.met { "met" } else { "MISSED" }));
    let empty = |first: String, second: String| {
        let mut line = vec![first, second];
        line.resize(HEADER.len() - 1, String::new());
        line.push(aim.clone());
        line
    };
    if row.fault.is_some() {
        return vec![empty(row.id.clone(), "FAILED".to_owned())];
    }
    if row.skipped.is_some() {
        return vec![empty(row.id.clone(), "skipped".to_owned())];
    }
    if let Some(value) = row.value {
        return vec![empty(row.id.clone(), amount(value, row.unit))];
    }
    let mut lines = Vec::new();
    for side in &row.sides {
        let is_first = side.name == SKEP;
        let name = if is_first { row.id.clone() } else { format!("  {}", side.name) };
        let percent = row.percent_of_limit(&side.name).filter(|_percent| ![LIMIT, BASE].contains(&side.name.as_str()));
        let shares = [percent, row.percent_of_base().filter(|_percent| is_first)];
        let shares = shares.map(|share| share.map_or(String::new(), |percent| format!("{percent:.0} %")));
        lines.push(line(name, &side.summary, row.unit, shares, if is_first { aim.clone() } else { String::new() }));
    }
    lines
}

fn line(name: String, summary: &Summary, unit: Unit, [of_limit, of_base]: [String; 2], aim: String) -> Vec<String> {
    let Summary { p50_ms, p99_ms, p999_ms, server_cpu_seconds, generator_cpu_seconds, .. } = summary;
    let known_cpu = summary.peak_resident_bytes > 0;
    vec![
        name,
        amount(summary.rate, unit),
        format!("{:.0} %", spread_percent(summary)),
        of_limit,
        of_base,
        milliseconds(*p50_ms),
        milliseconds(*p99_ms),
        milliseconds(*p999_ms),
        if known_cpu { format!("{server_cpu_seconds:.1}") } else { NONE.to_owned() },
        format!("{generator_cpu_seconds:.1}"),
        if known_cpu { (summary.peak_resident_bytes >> 20).to_string() } else { NONE.to_owned() },
        summary.syncs.map_or_else(|| NONE.to_owned(), |syncs| format!("{syncs:.0}")),
        summary.write_amplification.filter(|_known| known_cpu).map_or_else(|| NONE.to_owned(), |times| format!("{times:.1}")),
        aim,
    ]
}

/// Half the distance between the slowest and the fastest round, in hundredths of the median.
pub fn spread_percent(summary: &Summary) -> f64 {
    if summary.rate > 0.0 { 50.0 * (summary.rate_max - summary.rate_min) / summary.rate } else { 0.0 }
}

fn milliseconds(value: f64) -> String {
    if value < 100.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

/// A figure with its unit.
pub fn amount(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Bytes => format!("{:.0} MiB/s", value / 1_048_576.0),
        Unit::Requests => format!("{}/s", thousands(value)),
        Unit::Entries => format!("{} e/s", thousands(value)),
        Unit::Memory => format!("{:.0} MiB", value / 1_048_576.0),
        Unit::Seconds => format!("{value:.2} s"),
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// For a terminal of 120 columns.
pub fn terminal(rows: &[&RowResult]) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(HEADER);
    for row in rows {
        for line in lines(row) {
            table.add_row(line);
        }
    }
    for (place, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 1));
        if (1..HEADER.len() - 1).contains(&place) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// For Markdown.
pub fn markdown(rows: &[&RowResult]) -> String {
    let mut out = format!("| {} |\n|---|{}---|\n", HEADER.join(" | "), "--:|".repeat(HEADER.len() - 2));
    for row in rows {
        for line in lines(row) {
            out.push_str(&format!("| {} |\n", line.iter().map(|cell| cell.trim_end().replace("  ", "└ ")).collect::<Vec<_>>().join(" | ")));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{HEADER, amount, lines, markdown, terminal};
    use crate::results::RowResult;
    use crate::results::tests::result;
    use crate::row::{Aim, Unit};

    #[test]
    fn every_line_has_every_column() {
        let mut row = result(3_210.0, 6_420.0);
        row.judge(Some(Aim::RateAtLeast(3_000.0)));
        let failed = RowResult { fault: Some("x".into()), ..result(1.0, 1.0) };
        let memory = RowResult { sides: Vec::new(), value: Some(64e6), unit: Unit::Memory, ..result(1.0, 1.0) };
        for row in [&row, &failed, &memory] {
            assert!(lines(row).iter().all(|line| line.len() == HEADER.len()), "{row:?}");
        }
        let text = terminal(&[&row, &failed, &memory]);
        assert!(text.contains("3,210/s") && text.contains("50 %") && text.contains("≥ 3000/s met") && text.contains("FAILED"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
        assert_eq!(markdown(&[&row]).lines().count(), 4);
    }

    #[test]
    fn figures_have_units() {
        assert_eq!(amount(1_234_567.0, Unit::Entries), "1,234,567 e/s");
        assert_eq!(amount(3.0 * 1_048_576.0, Unit::Bytes), "3 MiB/s");
        assert_eq!(amount(1.5, Unit::Seconds), "1.50 s");
    }
}
