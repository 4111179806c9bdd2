//! The benchmark: starts clusters of its own, loads them by HTTP as clients do, checks every byte it reads, and measures beside them what the
//! machine can do of the same work.
//!
//! Invariants: every process it started ends with it; a figure stands only for requests that all succeeded; the limit is measured in the same run,
//! round by round in turn.

pub mod child;
pub mod cli;
pub mod cluster;
pub mod content;
pub mod fault;
pub mod http_client;
pub mod limit;
pub mod machine;
pub mod measure;
mod output;
pub mod peer;
pub mod processes;
pub mod protocol;
pub mod report;
pub mod results;
pub mod row;
pub mod run;
pub mod side;
pub mod svg;
pub mod table;
pub mod work_folder;
pub mod workload;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, OwnCommand};

/// The program.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let ended = match cli.own {
        Some(OwnCommand::Guard { words }) => Err(child::become_guarded(&words)),
        Some(OwnCommand::LimitNode(options)) => limit::run(&options).map(|()| ExitCode::SUCCESS),
        None => run::run(&cli.run),
    };
    ended.unwrap_or_else(|fault| {
        output::error(&fault.to_string());
        ExitCode::FAILURE
    })
}
