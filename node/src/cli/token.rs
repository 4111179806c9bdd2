//! `skep token`: personal access tokens of users.

use clap::{Args, Subcommand};

use super::client::Target;
use super::errors::CliError;
use super::output;
use crate::admin_rpc::wire::{AccessToken, CreateTokenRequest, DeleteTokenRequest, ListTokensRequest};

const AFTER_HELP: &str = "\
A token stands for its user in scripts: `curl -H \"Authorization: Bearer TOKEN\" …`.

Examples:
  skep token create --user alice --label backup --days 90 --config /etc/skep/skep.toml
  skep token list --user alice --config /etc/skep/skep.toml
  skep token delete 5f0c… --config /etc/skep/skep.toml";

/// Lists, creates or takes back personal access tokens.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct TokenArguments {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Lists the tokens of a user, without their secrets, which nobody has.
    List {
        #[command(flatten)]
        target: Target,
        /// The user's login.
        #[arg(long, value_name = "LOGIN")]
        user: String,
    },
    /// Creates a token; its secret is printed once.
    Create {
        #[command(flatten)]
        target: Target,
        /// The user's login.
        #[arg(long, value_name = "LOGIN")]
        user: String,
        /// What it is for.
        #[arg(long, default_value = "", value_name = "TEXT")]
        label: String,
        /// How long it lives, days; 0: until it is taken back.
        #[arg(long, default_value_t = 0, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(0..=36_500))]
        days: u64,
        /// Narrows it to entries: node:UUID:r or node:UUID:rw; may be repeated. Without it: all rights of the user.
        #[arg(long, value_name = "SCOPE")]
        scope: Vec<String>,
    },
    /// Takes a token back.
    Delete {
        #[command(flatten)]
        target: Target,
        /// Its id, as `skep token list` shows it.
        id: String,
    },
}

pub(super) fn run(arguments: &TokenArguments) -> Result<(), CliError> {
    match &arguments.command {
        TokenCommand::List { target, user } => {
            let request = ListTokensRequest { login: user.clone() };
            let reply = target.with_admin(async |admin| admin.ask(async |calls| calls.list_tokens(request).await).await)?;
            output::table(&["id", "label", "created", "ends", "scopes"], reply.tokens.into_iter().map(row).collect(), "no token");
        }
        TokenCommand::Create { target, user, label, days, scope } => {
            let request =
                CreateTokenRequest { login: user.clone(), label: label.clone(), lifetime_seconds: days * 24 * 3600, scopes: scope.clone() };
            let made = target.with_admin(async |admin| admin.ask(async |calls| calls.create_token(request).await).await)?;
            output::note(&format!("token {} of {user} ends {}; its secret is shown once:", made.id, end(made.expires_at)));
            output::line(made.secret);
        }
        TokenCommand::Delete { target, id } => {
            let request = DeleteTokenRequest { id: id.clone() };
            target.with_admin(async |admin| admin.ask(async |calls| calls.delete_token(request).await).await)?;
            output::line(format!("token {id} is taken back"));
        }
    }
    Ok(())
}

fn row(token: AccessToken) -> Vec<String> {
    vec![token.id, token.label, output::moment(token.created_at), end(token.expires_at), token.scopes.join(" ")]
}

fn end(expires_at: u64) -> String {
    if expires_at == 0 { "never".to_owned() } else { output::moment(expires_at) }
}
