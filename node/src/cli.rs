//! The command line: `skep node`, `skep init`, `skep status` and the rest; each command in a file of its own.

mod amount;
mod client;
mod config_file;
mod datasource;
mod debug;
mod dev;
mod errors;
mod init;
mod join;
mod key;
mod node;
mod output;
mod recover;
mod restore;
mod status;
mod token;
mod user;
mod workspace;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

use crate::config::{Config, Overrides};
use errors::CliError;

const AFTER_HELP: &str = "\
A cluster in three steps:
  skep config example > n1.toml          write a configuration and change what must be changed
  skep init --config n1.toml             begin a cluster with this node; keep the recovery sheet
  skep node --config n1.toml             run the node

A further node:
  skep join-token --config n1.toml       on a node that runs: prints a token that lives an hour
  skep join --config n2.toml --token …   on the new machine
  skep node --config n2.toml

To try it on one machine, with everything in one folder:
  skep dev --nodes 3 --dir /tmp/skep --port 7000

Exit codes: 0 done; 1 it failed; 2 wrong usage or configuration; 3 no node could be reached.";

/// A clustered store for people's files: any node serves every request, any node may die.
#[derive(Debug, Parser)]
#[command(name = "skep", version, about, after_help = AFTER_HELP, disable_help_subcommand = true, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Node(node::NodeArguments),
    Init(init::InitArguments),
    Join(join::JoinArguments),
    JoinToken(join::JoinTokenArguments),
    Status(status::StatusArguments),
    Datasource(datasource::DatasourceArguments),
    Workspace(workspace::WorkspaceArguments),
    User(user::UserArguments),
    Token(token::TokenArguments),
    Restore(restore::RestoreArguments),
    Recover(recover::RecoverArguments),
    Debug(debug::DebugArguments),
    Key(key::KeyArguments),
    Config(config_file::ConfigArguments),
    Dev(dev::DevArguments),
}

/// Which node, by its configuration.
#[derive(Clone, Debug, Args)]
struct ConfigSource {
    /// Configuration file of the node; `skep config example` prints one.
    #[arg(long, value_name = "FILE", env = "SKEP_CONFIG", hide_env_values = true)]
    config: PathBuf,
    /// Sets a key of the configuration over file and environment; may be repeated.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("it must be section.key=value, like node.zone=west")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

impl ConfigSource {
    fn load(&self) -> Result<Config, CliError> {
        Ok(Config::load(&self.config, &Overrides::from_process(self.set.clone()))?)
    }
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { errors::USAGE } else { 0 };
            output::clap(&error);
            return ExitCode::from(code);
        }
    };
    match carry_out(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error.to_string());
            ExitCode::from(error.exit_code())
        }
    }
}

fn carry_out(command: Command) -> Result<(), CliError> {
    match command {
        Command::Node(arguments) => node::run(&arguments),
        Command::Init(arguments) => init::run(&arguments),
        Command::Join(arguments) => join::run(&arguments),
        Command::JoinToken(arguments) => join::run_token(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Datasource(arguments) => datasource::run(&arguments),
        Command::Workspace(arguments) => workspace::run(&arguments),
        Command::User(arguments) => user::run(&arguments),
        Command::Token(arguments) => token::run(&arguments),
        Command::Restore(arguments) => restore::run(&arguments),
        Command::Recover(arguments) => recover::run(&arguments),
        Command::Debug(arguments) => debug::run(&arguments),
        Command::Key(arguments) => key::run(&arguments),
        Command::Config(arguments) => config_file::run(&arguments),
        Command::Dev(arguments) => dev::run(&arguments),
    }
}

/// Runs a short command's future on this thread.
fn block_on<T>(work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| CliError::failed(format!("no runtime can be started: {error}")))?.block_on(work)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound_and_every_command_is_explained() {
        let mut command = Cli::command();
        command.build();
        let mut waiting = vec![command.clone()];
        while let Some(command) = waiting.pop() {
            assert!(command.get_about().is_some(), "`{}` has no line that says what it does", command.get_name());
            for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
                assert!(argument.get_help().is_some(), "`{}` of `{}` is not explained", argument.get_id(), command.get_name());
            }
            waiting.extend(command.get_subcommands().cloned());
        }
        command.debug_assert();
    }

    #[test]
    fn every_leaf_command_shows_an_example() {
        let mut command = Cli::command();
        command.build();
        for first in command.get_subcommands() {
            let shown = first.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(shown.contains("skep "), "`{}` shows no example", first.get_name());
        }
    }

    #[test]
    fn settings_are_read() {
        assert_eq!(key_value("node.zone=a=b"), Ok(("node.zone".to_owned(), "a=b".to_owned())));
        assert!(key_value("node.zone").is_err());
    }
}
