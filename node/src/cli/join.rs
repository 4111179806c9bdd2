//! `skep join` and `skep join-token`: how a further node enters the cluster.

use std::path::PathBuf;

use clap::Args;

use super::client::Target;
use super::errors::CliError;
use super::init::secret_of;
use super::{ConfigSource, block_on, output};
use crate::admin_rpc::wire::CreateJoinTokenRequest;
use crate::join::JoinToken;
use crate::join::client::{JoinError, join};

const AFTER_HELP: &str = "\
The token says where the cluster is and pins its authority, so nobody can pass for the cluster. A join that was interrupted is
repeated with the same token.

Examples:
  skep join --config /etc/skep/skep.toml --token skep1.eyJhZGR…
  skep join --config /etc/skep/skep.toml --token-file /run/secrets/join";

const TOKEN_AFTER_HELP: &str = "\
Examples:
  skep join-token --config /etc/skep/skep.toml
  skep join-token --config /etc/skep/skep.toml --minutes 10 > token";

/// Enters a cluster as a further node, by a token of it; then run it with `skep node`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct JoinArguments {
    #[command(flatten)]
    source: ConfigSource,
    /// The token that `skep join-token` printed.
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file", required_unless_present = "token_file")]
    token: Option<String>,
    /// File whose first line is the token; other users of the machine cannot see it in the list of processes then.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Makes a token that lets one node join, once, within an hour.
#[derive(Debug, Args)]
#[command(after_help = TOKEN_AFTER_HELP)]
pub(super) struct JoinTokenArguments {
    #[command(flatten)]
    target: Target,
    /// How long it lives, minutes.
    #[arg(long, default_value_t = 60, value_name = "MINUTES", value_parser = clap::value_parser!(u64).range(1..=10_080))]
    minutes: u64,
}

pub(super) fn run(arguments: &JoinArguments) -> Result<(), CliError> {
    let config = arguments.source.load()?;
    let text = match (&arguments.token, &arguments.token_file) {
        (Some(token), _) => token.clone().into(),
        (None, Some(path)) => secret_of(path)?,
        (None, None) => return Err(CliError::usage("name a token by --token or --token-file")),
    };
    let token: JoinToken = text.parse().map_err(|error: crate::join::token::InvalidToken| CliError::usage(error.to_string()))?;
    let identity = block_on(async {
        join(&config, &token).await.map_err(|error| match error {
            JoinError::NoneAnswered(_) => CliError::unreachable(error.to_string()),
            error => CliError::failed(error.to_string()),
        })
    })?;
    output::line(format!("this is {identity}"));
    output::line(format!("start it: skep node --config {}", config.file.display()));
    Ok(())
}

pub(super) fn run_token(arguments: &JoinTokenArguments) -> Result<(), CliError> {
    let request = CreateJoinTokenRequest { lifetime_seconds: 60 * arguments.minutes };
    let made = arguments.target.with_admin(async |admin| admin.ask(async |calls| calls.create_join_token(request).await).await)?;
    // The token alone goes to standard output, so that it can be piped.
    output::note(&format!(
        "good for one node until {}; on the new machine: skep join --config FILE --token TOKEN",
        output::moment(made.expires_at)
    ));
    output::line(made.token);
    Ok(())
}
