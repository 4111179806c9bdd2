//! What can be asked for on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::limit::LimitNodeOptions;

/// Measures Skep beside what the machine can do at most.
#[derive(Debug, Parser)]
#[command(name = "skep-bench", disable_help_subcommand = true, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What the bench calls itself for.
    #[command(subcommand)]
    pub own: Option<OwnCommand>,
    /// A run.
    #[command(flatten)]
    pub run: RunOptions,
}

/// Roles of processes that a run starts.
#[derive(Debug, Subcommand)]
pub enum OwnCommand {
    /// Become a program that ends with its parent
    #[command(hide = true)]
    Guard {
        /// PARENT PROGRAM ARGUMENTS
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Be a node of the limit program
    #[command(hide = true)]
    LimitNode(LimitNodeOptions),
}

/// Options of a run.
#[derive(Args, Clone, Debug)]
pub struct RunOptions {
    /// The `skep` binary to measure
    #[arg(long, value_name = "FILE", required_unless_present = "list")]
    pub skep: Option<PathBuf>,
    /// Only rows whose names contain one of these words, with commas between
    #[arg(long, value_name = "FILTER")]
    pub rows: Option<String>,
    /// Length of a round in seconds
    #[arg(long, value_name = "S", default_value_t = 1.5, value_parser = positive)]
    pub seconds: f64,
    /// Rounds of each row and side
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// All rows
    #[arg(long)]
    pub long: bool,
    /// Name the rows of this run, and return
    #[arg(long)]
    pub list: bool,
    /// Print the results as JSON instead of tables
    #[arg(long)]
    pub json: bool,
    /// Write RESULTS.md, RESULTS.json and the plots into this folder
    #[arg(long, value_name = "DIR")]
    pub results: Option<PathBuf>,
    /// Where clusters keep their data while they are measured; the file system that is measured
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,
    /// What was built, for the heading
    #[arg(long, value_name = "TEXT", default_value = "unknown")]
    pub commit: String,
    /// Another `skep` binary, measured in turn
    #[arg(long, value_name = "FILE", requires = "before_name")]
    pub before: Option<PathBuf>,
    /// What to call it
    #[arg(long, value_name = "NAME")]
    pub before_name: Option<String>,
    /// End when this process ends, which started it
    #[arg(long, value_name = "PID", hide = true)]
    pub parent: Option<u32>,
    /// A server that runs already, measured in turn by the same requests
    #[command(flatten)]
    pub target: TargetOptions,
}

/// A peer.
#[derive(Args, Clone, Debug)]
pub struct TargetOptions {
    /// URL of a WebDAV folder or an S3 endpoint that runs already, measured in turn by the same requests; several with commas between: its nodes
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    pub target: Vec<String>,
    /// How it is spoken to
    #[arg(long, value_name = "KIND", value_enum, default_value_t = TargetKind::Webdav)]
    pub target_kind: TargetKind,
    /// Its login or access key
    #[arg(long, value_name = "LOGIN", default_value = "")]
    pub target_login: String,
    /// File that holds its password or secret key
    #[arg(long, value_name = "FILE")]
    pub target_password_file: Option<PathBuf>,
    /// What to call it
    #[arg(long, value_name = "NAME", default_value = "peer")]
    pub target_name: String,
    /// S3: the bucket
    #[arg(long, value_name = "BUCKET", default_value = "bench")]
    pub target_bucket: String,
    /// S3: the region
    #[arg(long, value_name = "REGION", default_value = "us-east-1")]
    pub target_region: String,
    /// Its processes on this machine, so that their CPU time and memory are shown
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub target_pids: Vec<u32>,
    /// PEM file of the authority that signed its certificate, for https
    #[arg(long, value_name = "FILE")]
    pub target_ca: Option<PathBuf>,
}

/// Protocols of peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum TargetKind {
    /// WebDAV with Basic authentication.
    Webdav,
    /// S3, path style.
    S3,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 3_600.0 => Ok(seconds),
        _other => Err("say seconds above 0 and up to 3600".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::{Cli, OwnCommand};

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        assert!(Cli::try_parse_from(["skep-bench"]).is_err(), "a binary is needed");
        assert!(Cli::try_parse_from(["skep-bench", "--skep", "x", "--seconds", "0"]).is_err());
        let guard = Cli::try_parse_from(["skep-bench", "guard", "1", "skep", "dev", "--nodes", "3"]).unwrap().own;
        assert!(matches!(guard, Some(OwnCommand::Guard { words }) if words.len() == 5));
    }
}
