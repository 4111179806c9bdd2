//! The only place that writes to the terminal.

/// A line of the result.
#[expect(clippy::print_stdout, reason = "what this module is for")]
pub(crate) fn line(text: &str) {
    println!("{text}");
}

/// How far the run is, where no bar is shown.
#[expect(clippy::print_stderr, reason = "what this module is for")]
pub(crate) fn progress(text: &str) {
    eprintln!("{text}");
}

/// Why the run ended, or what went wrong in it.
#[expect(clippy::print_stderr, reason = "what this module is for")]
pub(crate) fn error(text: &str) {
    eprintln!("error: {text}");
}
