//! `skep user`: accounts, also the way back after a lost administrator's password.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use zeroize::Zeroizing;

use super::client::Target;
use super::errors::CliError;
use super::init::secret_of;
use super::{amount, output};
use crate::admin_rpc::wire::{ChangeUserRequest, CreateUserRequest, DeleteUserRequest, ListUsersRequest, SetPasswordRequest, User};

const AFTER_HELP: &str = "\
Whoever can read a node's files may do this: it is the way back after a lost administrator's password.

Examples:
  skep user list --config /etc/skep/skep.toml
  skep user create alice --config /etc/skep/skep.toml
  skep user password admin --config /etc/skep/skep.toml
  skep user password alice --password-file /run/secrets/alice --config /etc/skep/skep.toml
  skep user change alice --disabled true --config /etc/skep/skep.toml
  skep user change alice --quota 20GiB --config /etc/skep/skep.toml";

/// Lists, creates, changes or deletes users, and sets passwords.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct UserArguments {
    #[command(subcommand)]
    command: UserCommand,
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Lists all users.
    List {
        #[command(flatten)]
        target: Target,
    },
    /// Creates a user.
    Create {
        #[command(flatten)]
        target: Target,
        /// Unique; also the name of the user's own folders.
        login: String,
        /// File whose first line is the password. Without it one is drawn and printed once.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        /// May administer the cluster.
        #[arg(long)]
        admin: bool,
        /// Name for people.
        #[arg(long, default_value = "", value_name = "TEXT")]
        display_name: String,
        /// For messages.
        #[arg(long, default_value = "", value_name = "ADDRESS")]
        email: String,
    },
    /// Sets a user's password and ends all its sessions.
    Password {
        #[command(flatten)]
        target: Target,
        /// The user.
        login: String,
        /// File whose first line is the password. Without it one is drawn and printed once.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Changes what is said of a user; what is not named stays.
    Change {
        #[command(flatten)]
        target: Target,
        /// The user.
        login: String,
        /// May administer the cluster.
        #[arg(long, value_name = "BOOL")]
        admin: Option<bool>,
        /// Cannot sign in.
        #[arg(long, value_name = "BOOL")]
        disabled: Option<bool>,
        /// Name for people.
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
        /// For messages.
        #[arg(long, value_name = "ADDRESS")]
        email: Option<String>,
        /// Bytes of current versions in each folder of the user's own; none: no limit.
        #[arg(long, value_name = "SIZE", value_parser = amount::size)]
        quota: Option<u64>,
        /// Files and folders in each folder of the user's own; none: no limit.
        #[arg(long, value_name = "COUNT", value_parser = amount::count)]
        quota_entries: Option<u64>,
    },
    /// Deletes a user with its grants and tokens; its files stay.
    Delete {
        #[command(flatten)]
        target: Target,
        /// The user.
        login: String,
    },
}

pub(super) fn run(arguments: &UserArguments) -> Result<(), CliError> {
    match &arguments.command {
        UserCommand::List { target } => list(target),
        UserCommand::Create { target, login, password_file, admin, display_name, email } => {
            let password = Password::of(password_file)?;
            let request = CreateUserRequest {
                login: login.clone(),
                password: password.text.to_string(),
                admin: *admin,
                display_name: display_name.clone(),
                email: email.clone(),
            };
            target.with_admin(async |admin| admin.ask(async |calls| calls.create_user(request).await).await)?;
            output::line(format!("user {login} is created"));
            password.tell();
            Ok(())
        }
        UserCommand::Password { target, login, password_file } => {
            let password = Password::of(password_file)?;
            let request = SetPasswordRequest { login: login.clone(), password: password.text.to_string() };
            target.with_admin(async |admin| admin.ask(async |calls| calls.set_password(request).await).await)?;
            output::line(format!("the password of {login} is set; its sessions have ended"));
            password.tell();
            Ok(())
        }
        UserCommand::Change { target, login, admin, disabled, display_name, email, quota, quota_entries } => {
            let request = ChangeUserRequest {
                login: login.clone(),
                admin: *admin,
                disabled: *disabled,
                display_name: display_name.clone(),
                email: email.clone(),
                quota_bytes: *quota,
                quota_entries: *quota_entries,
            };
            target.with_admin(async |admin| admin.ask(async |calls| calls.change_user(request).await).await)?;
            output::line(format!("user {login} is changed"));
            Ok(())
        }
        UserCommand::Delete { target, login } => {
            let request = DeleteUserRequest { login: login.clone() };
            target.with_admin(async |admin| admin.ask(async |calls| calls.delete_user(request).await).await)?;
            output::line(format!("user {login} is deleted; its files stay"));
            Ok(())
        }
    }
}

/// Pages through all users.
fn list(target: &Target) -> Result<(), CliError> {
    let users = target.with_admin(async |admin| {
        let mut users: Vec<User> = Vec::new();
        loop {
            let after = users.last().map(|user| user.login.clone()).unwrap_or_default();
            let page = admin.ask(async |calls| calls.list_users(ListUsersRequest { after }).await).await?;
            if page.users.is_empty() {
                return Ok(users);
            }
            users.extend(page.users);
        }
    })?;
    let rows = users.into_iter().map(|user| {
        let kind = if user.admin { "admin" } else { "user" };
        let state = match (user.disabled, user.has_password) {
            (true, _) => "disabled",
            (false, true) => "active",
            (false, false) => "no password",
        };
        let created = output::moment(user.created_at);
        let quota = match (user.quota_bytes, user.quota_entries) {
            (0, 0) => "none".to_owned(),
            (bytes, 0) => output::bytes(bytes),
            (0, entries) => format!("{entries} entries"),
            (bytes, entries) => format!("{}, {entries} entries", output::bytes(bytes)),
        };
        vec![user.login, kind.to_owned(), state.to_owned(), user.display_name, user.email, quota, created, user.id]
    });
    output::table(&["login", "kind", "state", "name", "email", "quota", "created", "id"], rows.collect(), "no user");
    Ok(())
}

/// A password to set, given or drawn.
struct Password {
    text: Zeroizing<String>,
    drawn: bool,
}

impl Password {
    fn of(file: &Option<PathBuf>) -> Result<Self, CliError> {
        Ok(match file {
            Some(path) => Self { text: secret_of(path)?, drawn: false },
            None => Self { text: crate::password::draw(), drawn: true },
        })
    }

    fn tell(&self) {
        if self.drawn {
            output::line(format!("password: {} (shown once)", self.text.as_str()));
        }
    }
}
