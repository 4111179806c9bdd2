//! `skep key`: the recovery sheet, printed again or put back.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::errors::CliError;
use super::{ConfigSource, output};
use crate::durable_file;
use crate::master_key::MasterKey;

const AFTER_HELP: &str = "\
The master key opens what the cluster keeps sealed: its authority and the keys of its datasources. Without it on any node, and
without the sheet, the files of the cluster cannot be read.

Examples:
  skep key export --config /etc/skep/skep.toml
  skep key import --config /etc/skep/skep.toml --sheet sheet.txt";

/// Prints the recovery sheet again, or makes the master key's file from it.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct KeyArguments {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Prints the recovery sheet: keep it apart from the machines.
    Export(ConfigSource),
    /// Writes the master key's file from the lines of the recovery sheet; a key that is there is never overwritten.
    Import {
        #[command(flatten)]
        source: ConfigSource,
        /// File with the lines of the sheet.
        #[arg(long, value_name = "FILE")]
        sheet: PathBuf,
    },
}

pub(super) fn run(arguments: &KeyArguments) -> Result<(), CliError> {
    match &arguments.command {
        KeyCommand::Export(source) => {
            let key = MasterKey::load(&source.load()?.node.master_key_file)?;
            output::note("who has these lines can read everything that is sealed");
            output::line(key.sheet().trim_end());
        }
        KeyCommand::Import { source, sheet } => {
            let config = source.load()?;
            let lines =
                durable_file::read(sheet, 64 * 1024)?.ok_or_else(|| CliError::usage(format!("{} is not there", sheet.display())))?;
            let key = MasterKey::parse(&lines, &sheet.display().to_string())?;
            key.store(&config.node.master_key_file)?;
            let path = config.node.master_key_file.display();
            output::line(format!("{path} holds the master key of cluster {}", key.cluster()));
        }
    }
    Ok(())
}
