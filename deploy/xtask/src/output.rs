//! The only place that writes to the terminal: headings, lines, tables; in colour only where a terminal shows it.
//!
//! `NO_COLOR` and `TERM=dumb` switch colours off.

use owo_colors::OwoColorize;
use std::env;
use std::io::{self, IsTerminal};

#[derive(Clone, Copy, Debug)]
enum Stream {
    Stdout,
    Stderr,
}

fn colours(stream: Stream) -> bool {
    let terminal = match stream {
        Stream::Stdout => io::stdout().is_terminal(),
        Stream::Stderr => io::stderr().is_terminal(),
    };
    terminal && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

fn painted(text: &str, stream: Stream, paint: impl Fn(&str) -> String) -> String {
    if colours(stream) { paint(text) } else { text.to_owned() }
}

/// A plain line.
#[expect(clippy::print_stdout, reason = "what this module is for")]
pub(crate) fn line(text: &str) {
    println!("{text}");
}

/// The heading of a step.
pub(crate) fn heading(text: &str) {
    line("");
    line(&painted(&format!("== {text} =="), Stream::Stdout, |text| text.bold().cyan().to_string()));
}

/// Something that is done or in order.
pub(crate) fn good(text: &str) {
    line(&format!("{} {text}", painted("ok", Stream::Stdout, |text| text.green().to_string())));
}

/// Something that needs attention but does not stop the command.
pub(crate) fn warning(text: &str) {
    line(&format!("{} {text}", painted("note:", Stream::Stdout, |text| text.yellow().to_string())));
}

/// Something that failed, but not the command itself.
pub(crate) fn bad(text: &str) {
    line(&format!("{} {text}", painted("FAILED", Stream::Stdout, |text| text.red().bold().to_string())));
}

/// A command for people to copy, with what it does.
pub(crate) fn suggestion(purpose: &str, command: &str) {
    line(&format!("  {}", painted(&format!("# {purpose}"), Stream::Stdout, |text| text.dimmed().to_string())));
    line(&format!("  {command}"));
}

/// Why the command ends.
#[expect(clippy::print_stderr, reason = "what this module is for")]
pub(crate) fn error(text: &str) {
    eprintln!("{} {text}", painted("error:", Stream::Stderr, |text| text.red().bold().to_string()));
}

/// Prints rows under a header, columns as wide as their widest cell.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) {
    for (place, text) in table_lines(header, rows).iter().enumerate() {
        if place == 0 {
            line(&painted(text, Stream::Stdout, |text| text.bold().to_string()));
        } else {
            line(text);
        }
    }
}

fn table_lines(header: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let header: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&header).chain(rows).collect();
    let width = |column: usize| all.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    all.iter()
        .map(|row| {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            format!("  {}", cells.join("  ")).trim_end().to_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let lines = table_lines(&["node", "address"], &[vec!["n1".into(), "http://a".into()], vec!["node-two".into(), "b".into()]]);
        assert_eq!(lines, ["  node      address", "  n1        http://a", "  node-two  b"]);
    }
}
