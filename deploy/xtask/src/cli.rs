//! What can be asked for on the command line.

use crate::bench::BenchOptions;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// The project's own commands.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// One command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build Skep, start three nodes on this machine, load real files and say what to try
    Demo(DemoOptions),
    /// Check formatting, lints, tidiness and run every test; what .ci/run calls
    Test(TestOptions),
    /// Check crate edges, licences, where crates may be named, file names and proofs of rights
    Tidy,
    /// Measure clusters beside what this machine can do at most, and write bench/RESULTS.md
    Bench(Box<BenchOptions>),
    /// Count the instructions of the microbenchmarks with valgrind and compare them with bench/instructions.toml
    Instructions(InstructionsOptions),
}

/// Options of `cargo xtask demo`.
#[derive(Args, Clone, Debug)]
pub(crate) struct DemoOptions {
    /// Load this folder instead of sources found on the machine
    #[arg(long, value_name = "DIR")]
    pub(crate) load: Option<PathBuf>,
    /// Leave the cluster running and return
    #[arg(long)]
    pub(crate) detach: bool,
    /// Throw the demo's folder away first
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Where the cluster keeps its data [default: ~/.cache/skep/demo]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// API port of the first node; the others take the next ones
    #[arg(long, value_name = "P", default_value_t = 7000)]
    pub(crate) port: u16,
    /// Load little: a few hundred files, no large one
    #[arg(long)]
    pub(crate) small: bool,
    /// Read everything that was loaded through this node, compare checksums, and return
    #[arg(long, value_name = "NODE_URL", conflicts_with_all = ["load", "fresh", "detach", "stop", "small"])]
    pub(crate) verify: Option<String>,
    /// Stop a cluster that was left running, and return
    #[arg(long, conflicts_with_all = ["load", "fresh", "detach", "small"])]
    pub(crate) stop: bool,
}

/// Options of `cargo xtask test`.
#[derive(Args, Clone, Debug)]
pub(crate) struct TestOptions {
    /// Also run what takes many minutes: all models, the long cluster tests, the documentation build
    #[arg(long)]
    pub(crate) long: bool,
    /// Run only tests whose name contains this, and no other step
    #[arg(value_name = "FILTER")]
    pub(crate) filter: Option<String>,
}

/// Options of `cargo xtask instructions`.
#[derive(Args, Clone, Debug)]
pub(crate) struct InstructionsOptions {
    /// Store the counts of what is here, with the name of this compiler, instead of comparing
    #[arg(long)]
    pub(crate) update: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn verify_and_load_exclude_each_other() {
        assert!(Cli::try_parse_from(["xtask", "demo", "--verify", "http://127.0.0.1:7000", "--load", "/tmp"]).is_err());
        assert!(Cli::try_parse_from(["xtask", "demo", "--verify", "http://127.0.0.1:7000", "--dir", "/tmp/x"]).is_ok());
    }
}
