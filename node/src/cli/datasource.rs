//! `skep datasource`: where bytes go.

use clap::{Args, Subcommand, ValueEnum};

use super::client::Target;
use super::errors::CliError;
use super::output;
use crate::admin_rpc::wire::{CreateDatasourceRequest, ListDatasourcesRequest};

const AFTER_HELP: &str = "\
Examples:
  skep datasource list --config /etc/skep/skep.toml
  skep datasource create archive --config /etc/skep/skep.toml --profile 4+2/zone
  skep datasource create inbox --config /etc/skep/skep.toml --degraded-writes device";

/// Lists or creates datasources: named roots of storage, each with a profile of its own.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct DatasourceArguments {
    #[command(subcommand)]
    command: DatasourceCommand,
}

#[derive(Debug, Subcommand)]
enum DatasourceCommand {
    /// Lists all datasources.
    List {
        #[command(flatten)]
        target: Target,
    },
    /// Creates a datasource with a Raft group of its own.
    Create {
        #[command(flatten)]
        target: Target,
        /// Its name: a-z, 0-9, - and _.
        name: String,
        /// auto, K+M or K+M/DOMAIN (device, node or zone); datasources of one profile share a pool.
        #[arg(long, default_value = "auto", value_name = "PROFILE", value_parser = profile_text)]
        profile: String,
        /// Bytes of stored data at most; 0: no limit.
        #[arg(long, default_value_t = 0, value_name = "BYTES")]
        quota: u64,
        /// What a write does while fewer failure domains are alive than it needs to outlive the loss of one.
        #[arg(long, value_enum, default_value_t = DegradedWrites::Refuse, value_name = "HOW")]
        degraded_writes: DegradedWrites,
    },
}

/// What a write does where too few failure domains are alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum DegradedWrites {
    /// It is refused (503), and says which domains are missing.
    Refuse,
    /// It goes to several devices of one domain: it outlives the loss of a device, not of the domain; repaired when domains return.
    Device,
}

/// Checks the profile here, so that a typing error needs no node.
fn profile_text(text: &str) -> Result<String, String> {
    super::init::profile(text).map(|_choice| text.to_owned())
}

pub(super) fn run(arguments: &DatasourceArguments) -> Result<(), CliError> {
    match &arguments.command {
        DatasourceCommand::List { target } => {
            let reply =
                target.with_admin(async |admin| admin.ask(async |calls| calls.list_datasources(ListDatasourcesRequest {}).await).await)?;
            let rows = reply.datasources.into_iter().map(|datasource| {
                let quota = if datasource.quota_bytes == 0 { "none".to_owned() } else { output::bytes(datasource.quota_bytes) };
                let profile = if datasource.automatic { format!("{} (auto)", datasource.profile) } else { datasource.profile };
                let degraded = if datasource.degraded_writes_device { "device" } else { "refuse" };
                vec![datasource.id.to_string(), datasource.name, datasource.pool.to_string(), profile, quota, degraded.to_owned()]
            });
            output::table(&["id", "name", "pool", "profile", "quota", "degraded writes"], rows.collect(), "no datasource");
        }
        DatasourceCommand::Create { target, name, profile, quota, degraded_writes } => {
            let request = CreateDatasourceRequest {
                name: name.clone(),
                profile: profile.clone(),
                quota_bytes: *quota,
                degraded_writes_device: *degraded_writes == DegradedWrites::Device,
            };
            let reply = target.with_admin(async |admin| admin.ask(async |calls| calls.create_datasource(request).await).await)?;
            output::line(format!("datasource {name} is created with id {}; give it a workspace: skep workspace create", reply.id));
        }
    }
    Ok(())
}
