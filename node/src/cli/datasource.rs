//! `skep datasource`: where bytes go.

use clap::{Args, Subcommand, ValueEnum};

use super::client::Target;
use super::errors::CliError;
use super::{amount, output};
use crate::admin_rpc::wire::{
    ChangeDatasourceRequest, CreateDatasourceRequest, Datasource, ListDatasourcesRequest, ListPoliciesRequest, Policy,
};

const AFTER_HELP: &str = "\
Examples:
  skep datasource list --config /etc/skep/skep.toml
  skep datasource create archive --config /etc/skep/skep.toml --profile 4+2/zone
  skep datasource create inbox --config /etc/skep/skep.toml --degraded-writes device
  skep datasource policies --config /etc/skep/skep.toml
  skep datasource set archive --policy regular-pruning --quota 2TiB --config /etc/skep/skep.toml
  skep datasource set archive --history 30d --recycle-after 60d --recycle-bytes 100GiB --config /etc/skep/skep.toml
  skep datasource set archive --policy none --config /etc/skep/skep.toml    keeps current versions alone";

/// Lists, creates or changes datasources: named roots of storage, each with a profile and a versioning policy of its own.
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
        /// Bytes of stored data at most; none: no limit.
        #[arg(long, default_value = "none", value_name = "SIZE", value_parser = amount::size)]
        quota: u64,
        /// What a write does while fewer failure domains are alive than it needs to outlive the loss of one.
        #[arg(long, value_enum, default_value_t = DegradedWrites::Refuse, value_name = "HOW")]
        degraded_writes: DegradedWrites,
    },
    /// Changes a datasource; what is not named stays.
    Set(SetArguments),
    /// Lists the versioning policies: what each keeps by age, and how many bytes of a file at most. Administrators make their own over the API.
    Policies {
        #[command(flatten)]
        target: Target,
    },
}

/// What is set of a datasource.
#[derive(Debug, Args)]
struct SetArguments {
    #[command(flatten)]
    target: Target,
    /// The datasource.
    name: String,
    /// Uuid of the versioning policy that says which versions are kept; none: of each file the current one alone.
    #[arg(long, value_name = "UUID")]
    policy: Option<String>,
    /// Bytes of stored data at most; none: no limit.
    #[arg(long, value_name = "SIZE", value_parser = amount::size)]
    quota: Option<u64>,
    /// Files and folders at most; none: no limit.
    #[arg(long, value_name = "COUNT", value_parser = amount::count)]
    quota_entries: Option<u64>,
    /// How far back every folder can be looked at and restored, as 30d; a week if it was never set.
    #[arg(long, value_name = "TIME", value_parser = amount::age)]
    history: Option<u64>,
    /// What lies longer in a recycle bin is deleted for good; none: never.
    #[arg(long, value_name = "TIME", value_parser = amount::age)]
    recycle_after: Option<u64>,
    /// Bytes that each recycle bin may hold, the oldest goes first; none: no limit.
    #[arg(long, value_name = "SIZE", value_parser = amount::size)]
    recycle_bytes: Option<u64>,
    /// What a write does while fewer failure domains are alive than it needs to outlive the loss of one.
    #[arg(long, value_enum, value_name = "HOW")]
    degraded_writes: Option<DegradedWrites>,
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
            let header = ["id", "name", "pool", "profile", "quota", "entries", "versions", "history", "recycle bins", "degraded writes"];
            output::table(&header, reply.datasources.into_iter().map(row).collect(), "no datasource");
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
        DatasourceCommand::Set(set) => change(set)?,
        DatasourceCommand::Policies { target } => {
            let reply =
                target.with_admin(async |admin| admin.ask(async |calls| calls.list_policies(ListPoliciesRequest {}).await).await)?;
            let rows = reply.policies.into_iter().map(|policy| {
                let kind = if policy.built_in { "built in" } else { "own" };
                let limits = limits_text(&policy);
                vec![policy.uuid, policy.name, kind.to_owned(), policy.periods, limits, policy.deleted, policy.datasources.join(", ")]
            });
            let heads = ["uuid", "name", "", "keeps, by age", "bytes of a file at most", "of deleted files", "datasources"];
            output::table(&heads, rows.collect(), "no policy");
        }
    }
    Ok(())
}

/// The limits of bytes of a policy, as people read them.
fn limits_text(policy: &Policy) -> String {
    let limits = [
        ("all versions", policy.max_total_size),
        ("old versions", policy.max_size_per_file),
        ("an old version", policy.ignore_files_greater_than),
    ];
    let said = limits.into_iter().filter_map(|(what, most)| most.map(|most| format!("{what} {}", output::bytes(most))));
    said.collect::<Vec<_>>().join(", ")
}

fn change(set: &SetArguments) -> Result<(), CliError> {
    let request = ChangeDatasourceRequest {
        name: set.name.clone(),
        policy: set.policy.clone().map(|uuid| if uuid == "none" { String::new() } else { uuid }),
        quota_bytes: set.quota,
        quota_entries: set.quota_entries,
        history_seconds: set.history,
        recycle_seconds: set.recycle_after,
        recycle_bytes: set.recycle_bytes,
        degraded_writes_device: set.degraded_writes.map(|how| how == DegradedWrites::Device),
    };
    set.target.with_admin(async |admin| admin.ask(async |calls| calls.change_datasource(request).await).await)?;
    output::line(format!("datasource {} is changed", set.name));
    if set.policy.is_some() {
        output::line("its files are looked at anew; `skep status` shows what is freed");
    }
    Ok(())
}

fn row(datasource: Datasource) -> Vec<String> {
    let limit = |number: u64, shown: String| if number == 0 { "none".to_owned() } else { shown };
    let profile = if datasource.automatic { format!("{} (auto)", datasource.profile) } else { datasource.profile };
    let history = if datasource.history_seconds == 0 { "7d".to_owned() } else { amount::age_text(datasource.history_seconds) };
    let bins = match (datasource.recycle_seconds, datasource.recycle_bytes) {
        (0, 0) => "for ever".to_owned(),
        (0, bytes) => output::bytes(bytes),
        (seconds, 0) => amount::age_text(seconds),
        (seconds, bytes) => format!("{}, {}", amount::age_text(seconds), output::bytes(bytes)),
    };
    vec![
        datasource.id.to_string(),
        datasource.name,
        datasource.pool.to_string(),
        profile,
        limit(datasource.quota_bytes, output::bytes(datasource.quota_bytes)),
        limit(datasource.quota_entries, datasource.quota_entries.to_string()),
        datasource.policy,
        history,
        bins,
        (if datasource.degraded_writes_device { "device" } else { "refuse" }).to_owned(),
    ]
}
