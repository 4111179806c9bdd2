//! `skep node`: runs a node until it is told to stop.

use clap::Args;

use super::ConfigSource;
use super::errors::CliError;
use crate::node::Node;

const AFTER_HELP: &str = "\
The node stays in the foreground and logs to standard error. SIGTERM or Ctrl-C: it says that it is not ready any more, hands its
leaderships over, finishes the requests under way, and ends. A second signal ends it at once; nothing that was acknowledged is lost.

Examples:
  skep node --config /etc/skep/skep.toml
  skep node --config /etc/skep/skep.toml --log-level debug --log-format json
  SKEP_MEMORY_BUDGET_MIB=512 skep node --config /etc/skep/skep.toml";

/// Runs a node that was made by `skep init` or `skep join`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct NodeArguments {
    #[command(flatten)]
    source: ConfigSource,
    /// The same as --set log.level=LEVEL.
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// The same as --set log.format=FORMAT: text or json.
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Ends with the process that started it (set by `skep dev`).
    #[arg(long, hide = true, value_name = "PID")]
    end_with: Option<u32>,
}

pub(super) fn run(arguments: &NodeArguments) -> Result<(), CliError> {
    if let Some(parent) = arguments.end_with {
        end_with(parent)?;
    }
    crate::failpoints::arm().map_err(CliError::usage)?;
    let mut source = arguments.source.clone();
    for (key, value) in [("log.level", &arguments.log_level), ("log.format", &arguments.log_format)] {
        source.set.extend(value.iter().map(|value| (key.to_owned(), value.clone())));
    }
    let config = source.load()?;
    crate::telemetry::begin_logging(&config.log).map_err(|error| CliError::usage(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("skep").build();
    let runtime = runtime.map_err(|error| CliError::failed(format!("no runtime can be started: {error}")))?;
    runtime.block_on(async {
        let node = Node::start(config).await.map_err(|error| CliError::failed(error.to_string()))?;
        node.run_until_signal().await.map_err(|error| CliError::failed(error.to_string()))
    })
}

/// Has the kernel end this process when the one that started it ends, however that ends.
fn end_with(parent: u32) -> Result<(), CliError> {
    let set = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM));
    set.map_err(|error| CliError::failed(format!("cannot follow the process that started this one: {error}")))?;
    let is_there = rustix::process::getppid().is_some_and(|found| u32::try_from(found.as_raw_nonzero().get()) == Ok(parent));
    // It may have ended before the line above.
    if is_there { Ok(()) } else { Err(CliError::failed("the process that started this node has ended")) }
}
