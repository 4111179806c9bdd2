//! `skep dev`: a whole cluster on one machine.

use std::path::PathBuf;

use clap::Args;
use zeroize::Zeroizing;

use super::errors::CliError;
use super::{block_on, output};
use crate::dev::{DevOptions, run as run_cluster};

const AFTER_HELP: &str = "\
Node i listens on port P+i for clients. DIR/cluster.json names all nodes, their processes and the administrator once every node is ready.
The same DIR starts the same cluster again. A node that was killed stays dead until it is started by hand: skep node --config DIR/n2/skep.toml

Examples:
  skep dev --nodes 3 --dir /tmp/skep --port 7000
  skep dev --nodes 5 --dir /tmp/skep5 --port 7100 --zones 3 --devices-per-node 2 --profile 3+2
  skep dev --nodes 1 --dir /tmp/skep1 --port 7200 --admin-password 'correct horse'";

/// Runs a cluster of node processes on loopback in one folder, in the foreground; for trying and testing.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct DevArguments {
    /// How many nodes.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    nodes: u16,
    /// Where everything is kept; a folder that holds a cluster starts it again.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// API port of the first node; the others follow.
    #[arg(long, default_value_t = 7000, value_name = "P", value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Password of the user admin; without it one is drawn. Other users of the machine may see it in the list of processes.
    #[arg(long, value_name = "PW")]
    admin_password: Option<String>,
    /// Deals the nodes out over so many zones.
    #[arg(long, default_value_t = 1, value_name = "Z", value_parser = clap::value_parser!(u16).range(1..=64))]
    zones: u16,
    /// Data directories of each node.
    #[arg(long, default_value_t = 1, value_name = "D", value_parser = clap::value_parser!(u16).range(1..=16))]
    devices_per_node: u16,
    /// auto or K+M; of a new cluster.
    #[arg(long, default_value = "auto", value_name = "PROFILE", value_parser = profile_text)]
    profile: String,
}

fn profile_text(text: &str) -> Result<String, String> {
    super::init::profile(text).map(|_choice| text.to_owned())
}

pub(super) fn run(arguments: &DevArguments) -> Result<(), CliError> {
    let options = DevOptions {
        nodes: arguments.nodes,
        dir: arguments.dir.clone(),
        port: arguments.port,
        admin_password: arguments.admin_password.clone().map(Zeroizing::new),
        zones: arguments.zones,
        devices_per_node: arguments.devices_per_node,
        profile: arguments.profile.clone(),
    };
    // On this thread, the process's first: the kernel ends the nodes when the thread that started them ends.
    block_on(async { run_cluster(&options, &|text| output::line(text)).await.map_err(|error| CliError::failed(error.to_string())) })
}
