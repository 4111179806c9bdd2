//! Why a command ended without having done its work: a sentence for the person at the terminal, and an exit code for scripts.

use std::fmt;

use crate::config::Faults;
use crate::durable_file::FileError;
use crate::identity::IdentityError;
use crate::master_key::MasterKeyError;
use crate::tls::TlsError;

/// Exit code: it failed.
const FAILED: u8 = 1;
/// Exit code: wrong usage or configuration.
pub(super) const USAGE: u8 = 2;
/// Exit code: no node could be reached.
const UNREACHABLE: u8 = 3;

/// Why a command failed.
#[derive(Debug)]
pub(super) struct CliError {
    sentence: String,
    exit_code: u8,
    /// A node says that there is no such thing.
    is_absence: bool,
}

impl CliError {
    /// It was tried and failed.
    pub(super) fn failed(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), exit_code: FAILED, is_absence: false }
    }

    /// It was asked for wrongly.
    pub(super) fn usage(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), exit_code: USAGE, is_absence: false }
    }

    /// Nobody was there to do it.
    pub(super) fn unreachable(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), exit_code: UNREACHABLE, is_absence: false }
    }

    /// A node knows of no such thing.
    pub(super) fn absent(sentence: impl Into<String>) -> Self {
        Self { is_absence: true, ..Self::failed(sentence) }
    }

    /// The same with something more that the person should know.
    pub(super) fn adding(self, more: &str) -> Self {
        Self { sentence: format!("{}; {more}", self.sentence), ..self }
    }

    pub(super) fn is_absence(&self) -> bool {
        self.is_absence
    }

    pub(super) fn exit_code(&self) -> u8 {
        self.exit_code
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl From<Faults> for CliError {
    fn from(faults: Faults) -> Self {
        Self::usage(faults.to_string())
    }
}

macro_rules! failed_by {
    ($($error:ty),*) => {
        $(impl From<$error> for CliError {
            fn from(error: $error) -> Self {
                Self::failed(error.to_string())
            }
        })*
    };
}

failed_by!(IdentityError, MasterKeyError, TlsError, FileError);
