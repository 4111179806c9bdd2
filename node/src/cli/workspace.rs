//! `skep workspace`: named views on folders, and who may use them.

use clap::{Args, Subcommand, ValueEnum};

use super::client::Target;
use super::errors::CliError;
use super::output;
use crate::admin_rpc::wire::{CreateWorkspaceRequest, DeleteWorkspaceRequest, GrantRequest, ListWorkspacesRequest, Workspace};

const AFTER_HELP: &str = "\
Examples:
  skep workspace list --config /etc/skep/skep.toml
  skep workspace create plans --config /etc/skep/skep.toml --datasource pydiods1 --folder plans
  skep workspace grant plans --user alice --permission rw --config /etc/skep/skep.toml
  skep workspace grant plans --user alice --permission none --config /etc/skep/skep.toml";

/// Lists, creates or deletes workspaces, and grants rights on them.
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

pub(super) fn run(arguments: &WorkspaceArguments) -> Result<(), CliError> {
    match &arguments.command {
        WorkspaceCommand::List { target } => {
            let reply =
                target.with_admin(async |admin| admin.ask(async |calls| calls.list_workspaces(ListWorkspacesRequest {}).await).await)?;
            let header = ["slug", "label", "datasources", "everybody", "grants", "id"];
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
    vec![workspace.slug, workspace.label, datasources, workspace.default_permission, grants.join(" "), workspace.id]
}
