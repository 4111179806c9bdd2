//! `skep config`: the example file, and whether a file is good.

use clap::{Args, Subcommand};

use super::errors::CliError;
use super::{ConfigSource, output};

const AFTER_HELP: &str = "\
Examples:
  skep config example > /etc/skep/skep.toml
  skep config check --config /etc/skep/skep.toml
  SKEP_NODE_ZONE=west skep config check --config /etc/skep/skep.toml --set memory.budget_mib=512";

/// Prints an example configuration, or checks one.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct ConfigArguments {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Prints the example file: every key with a comment, its default and its environment variable.
    Example,
    /// Reads a configuration with environment and flags, and tells all its faults at once.
    Check(ConfigSource),
}

pub(super) fn run(arguments: &ConfigArguments) -> Result<(), CliError> {
    match &arguments.command {
        ConfigCommand::Example => output::line(crate::config::example().trim_end()),
        ConfigCommand::Check(source) => {
            let config = source.load()?;
            output::line(format!("{} is good: node {}, zone {}", config.file.display(), config.node.name, config.node.zone));
        }
    }
    Ok(())
}
