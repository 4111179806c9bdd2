//! Tests that a machine cannot run say so, visibly.

use std::io::Write;

/// Names the file that skipped tests are listed in; the test command counts its lines.
const LOG_VARIABLE: &str = "SKEP_SKIPPED_LOG";

/// Whether a test that takes minutes is left out of this run; says so.
pub fn is_short_run(test: &str) -> bool {
    let is_short = std::env::var_os("SKEP_LONG").is_none();
    if is_short {
        skip(test, "it takes minutes: `cargo xtask test --long`");
    }
    is_short
}

/// Says that a test cannot run here.
pub fn skip(test: &str, reason: &str) {
    let line = format!("SKIPPED: {test}: {reason}\n");
    let log = std::env::var_os(LOG_VARIABLE).and_then(|file| std::fs::OpenOptions::new().append(true).create(true).open(file).ok());
    if let Some(mut log) = log
        && log.write_all(line.as_bytes()).is_ok()
    {
        return;
    }
    // Without a list the test runner shows it.
    let _unwritable = std::io::stderr().write_all(line.as_bytes());
}
