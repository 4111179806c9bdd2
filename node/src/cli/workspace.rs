//! `skep workspace`: named views on folders, and who may use them.

use clap::{Args, Subcommand, ValueEnum};

use super::client::Target;
use super::errors::CliError;
use super::{amount, output};
use crate::admin_rpc::wire::{
    ChangeWorkspaceRequest, CreateWorkspaceRequest, DeleteWorkspaceRequest, GrantRequest, ListWorkspacesRequest, Workspace,
};

const AFTER_HELP: &str = "\
Examples:
  skep workspace list --config /etc/skep/skep.toml
  skep workspace create plans --config /etc/skep/skep.toml --datasource pydiods1 --folder plans
  skep workspace set plans --quota 50GiB --skip-recycle true --config /etc/skep/skep.toml
  skep workspace grant plans --user alice --permission rw --config /etc/skep/skep.toml
  skep workspace grant plans --user alice --permission none --config /etc/skep/skep.toml";

/// Lists, creates, changes or deletes workspaces, and grants rights on them.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct WorkspaceArguments {
    #[command(subcommand)]
    command: WorkspaceCommand,
}

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Permission {
    /// Nothing.
    None,
    /// Read.
    R,
    /// Read and write.
    Rw,
}

impl Permission {
    fn text(self) -> String {
        match self {
            Permission::None => "none",
            Permission::R => "r",
            Permission::Rw => "rw",
        }
        .to_owned()
    }
}

#[derive(Debug, Subcommand)]
enum WorkspaceCommand {
    /// Lists all workspaces with the rights on them.
    List {
        #[command(flatten)]
        target: Target,
    },
    /// Creates a workspace over a folder of a datasource.
    Create {
        #[command(flatten)]
        target: Target,
        /// Its name in paths.
        slug: String,
        /// Its name for people; the slug if it is left out.
        #[arg(long, default_value = "")]
        label: String,
        /// What it is for.
        #[arg(long, default_value = "")]
        description: String,
        /// The datasource that holds it.
        #[arg(long, default_value = "pydiods1", value_name = "NAME")]
        datasource: String,
        /// The folder of the datasource that it shows, made if it is missing; left out: the whole datasource.
        #[arg(long, default_value = "", value_name = "PATH")]
        folder: String,
        /// Every user gets a folder of its own in it.
        #[arg(long)]
        folder_per_user: bool,
        /// What every user may do without a grant.
        #[arg(long, value_enum, default_value_t = Permission::None, value_name = "PERMISSION")]
        everybody: Permission,
    },
    /// Changes a workspace; what is not named stays.
    Set(SetArguments),
    /// Takes a workspace away with the rights on it; its files stay in the datasource.
    Delete {
        #[command(flatten)]
        target: Target,
        /// The workspace.
        slug: String,
    },
    /// Gives a user rights on a workspace, or takes them.
    Grant {
        #[command(flatten)]
        target: Target,
        /// The workspace.
        slug: String,
        /// The user's login.
        #[arg(long, value_name = "LOGIN")]
        user: String,
        /// What the user may do from now on.
        #[arg(long, value_enum, value_name = "PERMISSION")]
        permission: Permission,
    },
}

/// What is set of a workspace.
#[derive(Debug, Args)]
struct SetArguments {
    #[command(flatten)]
    target: Target,
    /// The workspace.
    slug: String,
    /// Its name for people.
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// What it is for.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Bytes of current versions at most, where each user has a folder in each; none: no limit.
    #[arg(long, value_name = "SIZE", value_parser = amount::size)]
    quota: Option<u64>,
    /// Files and folders at most; none: no limit.
    #[arg(long, value_name = "COUNT", value_parser = amount::count)]
    quota_entries: Option<u64>,
    /// What is deleted is deleted for good, not into a recycle bin.
    #[arg(long, value_name = "BOOL")]
    skip_recycle: Option<bool>,
    /// What every user may do without a grant.
    #[arg(long, value_enum, value_name = "PERMISSION")]
    everybody: Option<Permission>,
}

fn change(set: &SetArguments) -> Result<(), CliError> {
    let request = ChangeWorkspaceRequest {
        slug: set.slug.clone(),
        label: set.label.clone(),
        description: set.description.clone(),
        default_permission: set.everybody.map(Permission::text),
        quota_bytes: set.quota,
        quota_entries: set.quota_entries,
        skip_recycle: set.skip_recycle,
    };
    set.target.with_admin(async |admin| admin.ask(async |calls| calls.change_workspace(request).await).await)?;
    output::line(format!("workspace {} is changed", set.slug));
    Ok(())
}

pub(super) fn run(arguments: &WorkspaceArguments) -> Result<(), CliError> {
    match &arguments.command {
        WorkspaceCommand::List { target } => {
            let reply =
                target.with_admin(async |admin| admin.ask(async |calls| calls.list_workspaces(ListWorkspacesRequest {}).await).await)?;
            let header = ["slug", "label", "datasources", "everybody", "grants", "quota", "entries", "deleted", "id"];
            output::table(&header, reply.workspaces.into_iter().map(row).collect(), "no workspace");
        }
        WorkspaceCommand::Create { target, slug, label, description, datasource, folder, folder_per_user, everybody } => {
            let request = CreateWorkspaceRequest {
                slug: slug.clone(),
                label: label.clone(),
                description: description.clone(),
                datasource: datasource.clone(),
                folder: folder.clone(),
                folder_per_user: *folder_per_user,
                default_permission: everybody.text(),
            };
            let reply = target.with_admin(async |admin| admin.ask(async |calls| calls.create_workspace(request).await).await)?;
            output::line(format!("workspace {slug} is created with id {}", reply.id));
        }
        WorkspaceCommand::Set(set) => change(set)?,
        WorkspaceCommand::Delete { target, slug } => {
            let request = DeleteWorkspaceRequest { slug: slug.clone() };
            target.with_admin(async |admin| admin.ask(async |calls| calls.delete_workspace(request).await).await)?;
            output::line(format!("workspace {slug} is deleted; its files are still in the datasource"));
        }
        WorkspaceCommand::Grant { target, slug, user, permission } => {
            let request = GrantRequest { login: user.clone(), workspace: slug.clone(), permission: permission.text() };
            target.with_admin(async |admin| admin.ask(async |calls| calls.grant(request).await).await)?;
            output::line(format!("{user} has {} on {slug}", permission.text()));
        }
    }
    Ok(())
}

fn row(workspace: Workspace) -> Vec<String> {
    let grants: Vec<String> = workspace.grants.iter().map(|grant| format!("{}:{}", grant.login, grant.permission)).collect();
    let per_user = if workspace.folder_per_user { " (a folder per user)" } else { "" };
    let datasources = format!("{}{per_user}", workspace.datasources.join(", "));
    let limit = |number: u64, shown: String| if number == 0 { "none".to_owned() } else { shown };
    let quota = limit(workspace.quota_bytes, output::bytes(workspace.quota_bytes));
    let entries = limit(workspace.quota_entries, workspace.quota_entries.to_string());
    let deleted = if workspace.skip_recycle { "for good" } else { "to the bin" }.to_owned();
    let grants = grants.join(" ");
    let everybody = workspace.default_permission;
    vec![workspace.slug, workspace.label, datasources, everybody, grants, quota, entries, deleted, workspace.id]
}
