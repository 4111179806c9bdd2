//! Why a command of xtask cannot go on: a sentence for the person at the terminal, with the cause.

use std::fmt;
use std::path::Path;

/// A failure that ends the command; its text says what to do where there is something to do.
#[derive(Debug)]
pub(crate) struct Fault(String);

impl Fault {
    /// Takes a whole sentence.
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Fault(sentence.into())
    }

    /// Says what was to be done with a path and why it failed.
    pub(crate) fn at(action: &str, path: &Path, cause: impl fmt::Display) -> Self {
        Fault(format!("cannot {action} {}: {cause}", path.display()))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}
