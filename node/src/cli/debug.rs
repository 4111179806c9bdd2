//! `skep debug`: what lies where, for people who look for what went wrong.

use clap::{Args, Subcommand};

use super::client::Target;
use super::errors::CliError;
use super::output;
use crate::admin_rpc::wire::{Chunk, DebugChunkRequest, DebugLogReply, DebugLogRequest, DebugSegmentReply, DebugSegmentRequest};

const AFTER_HELP: &str = "\
Nothing is changed by these. Each asks the devices now; they show a node or device that does not answer.

Examples:
  skep debug chunk --path holidays/beach.jpg --config /etc/skep/skep.toml
  skep debug chunk --path alice/cv.pdf --datasource personal --config /etc/skep/skep.toml
  skep debug chunk --chunk 9f86d081… --config /etc/skep/skep.toml
  skep debug segment --config /etc/skep/skep.toml
  skep debug segment --name large-0000000000000001.seg --config /etc/skep/skep.toml
  skep debug log --config /etc/skep/skep.toml";

/// Shows where chunks, segments and the log lie.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct DebugArguments {
    #[command(subcommand)]
    command: DebugCommand,
}

#[derive(Debug, Subcommand)]
enum DebugCommand {
    /// Shows on which devices and nodes the shards of a chunk, or of a file's chunks, lie.
    Chunk {
        #[command(flatten)]
        target: Target,
        /// The datasource.
        #[arg(long, default_value = "pydiods1", value_name = "NAME")]
        datasource: String,
        /// A file, by its path below the root of the datasource.
        #[arg(long, value_name = "PATH", conflicts_with = "chunk", required_unless_present = "chunk")]
        path: Option<String>,
        /// A chunk, by its id in hexadecimal.
        #[arg(long, value_name = "ID")]
        chunk: Option<String>,
        /// Chunks of a file that are shown at most.
        #[arg(long, default_value_t = 16, value_name = "COUNT")]
        limit: u32,
    },
    /// Lists the segments of the node's devices, or the records of one.
    Segment {
        #[command(flatten)]
        target: Target,
        /// Only of this device.
        #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "ID")]
        device: u64,
        /// A segment whose records are shown and checked, by the name of its file.
        #[arg(long, value_name = "FILE")]
        name: Option<String>,
        /// Records that are shown at most.
        #[arg(long, default_value_t = 1000, value_name = "COUNT")]
        limit: u32,
    },
    /// Shows the node's replicas and the files of its log.
    Log {
        #[command(flatten)]
        target: Target,
    },
    /// Lists the failpoints of a build for tests, one a line; none in a release.
    #[command(hide = true)]
    Failpoints,
}

pub(super) fn run(arguments: &DebugArguments) -> Result<(), CliError> {
    match &arguments.command {
        DebugCommand::Chunk { target, datasource, path, chunk, limit } => {
            let request = DebugChunkRequest {
                datasource: datasource.clone(),
                chunk: chunk.clone().unwrap_or_default(),
                path: path.clone().unwrap_or_default(),
                limit: *limit,
            };
            let reply = target.with_admin(async |admin| admin.ask(async |calls| calls.debug_chunk(request).await).await)?;
            output::line(&reply.subject);
            reply.chunks.iter().for_each(show_chunk);
            if reply.more {
                output::note("the file has further chunks; --limit shows more");
            }
        }
        DebugCommand::Segment { target, device, name, limit } => {
            let request = DebugSegmentRequest { device: *device, segment: name.clone().unwrap_or_default(), limit: *limit };
            show_segments(target.with_admin(async |admin| admin.ask(async |calls| calls.debug_segment(request).await).await)?);
        }
        DebugCommand::Failpoints => {
            if crate::failpoints::are_compiled_in() {
                crate::failpoints::all().into_iter().for_each(output::line);
            }
        }
        DebugCommand::Log { target } => {
            show_log(target.with_admin(async |admin| admin.ask(async |calls| calls.debug_log(DebugLogRequest {}).await).await)?);
        }
    }
    Ok(())
}

fn show_chunk(chunk: &Chunk) {
    let Chunk { chunk: id, length, write, code, group, epoch, .. } = chunk;
    output::heading(&format!("chunk {id}"));
    let home = if chunk.at_home { "at home" } else { "on devices of its own, the repair queue brings it home" };
    output::line(format!("  {length} bytes in code {code}, instance {write}, begun {}", output::moment(chunk.begun)));
    output::line(format!("  placement group {group} at epoch {epoch}, {home}; named by {} contents", chunk.contents));
    if chunk.condemned_at != 0 {
        output::line(format!("  condemned at {}: no content names it", output::moment(chunk.condemned_at)));
    }
    let rows = chunk.shards.iter().map(|shard| {
        let recorded = if shard.recorded_missing { "missing" } else { "durable" };
        let node = format!("{} ({})", shard.node, shard.node_name);
        let index = shard.index.to_string();
        vec![
            index,
            shard.device.to_string(),
            node,
            shard.zone.clone(),
            recorded.to_owned(),
            shard.found.clone(),
            output::bytes(shard.length),
        ]
    });
    output::table(&["  shard", "device", "node", "zone", "record", "device says", "bytes"], rows.collect(), "no shard");
}

fn show_segments(reply: DebugSegmentReply) {
    let rows = reply
        .segments
        .into_iter()
        .map(|segment| vec![segment.device.to_string(), segment.name, output::bytes(segment.length), output::bytes(segment.allocated)]);
    output::table(&["device", "segment", "length", "on disk"], rows.collect(), "no segment yet");
    if !reply.records.is_empty() {
        output::heading("records");
        let rows =
            reply.records.into_iter().map(|record| vec![record.offset.to_string(), record.kind, record.length.to_string(), record.detail]);
        output::table(&["offset", "kind", "payload", "what"], rows.collect(), "no record");
    }
    if reply.more {
        output::note("the segment has further records; --limit shows more");
    }
}

fn show_log(reply: DebugLogReply) {
    let rows = reply.replicas.into_iter().map(|replica| {
        let leader = if replica.leader_node == 0 { "none known".to_owned() } else { format!("node {}", replica.leader_node) };
        let numbers =
            [replica.term, replica.last_log_index, replica.applied_index, replica.snapshot_index].map(|number| number.to_string());
        let mut row = vec![replica.group.to_string(), replica.raft_id.to_string(), replica.generation.to_string(), replica.state, leader];
        row.extend(numbers);
        row
    });
    let header = ["group", "raft id", "generation", "state", "leader", "term", "last entry", "applied", "snapshot"];
    output::table(&header, rows.collect(), "no replica");
    output::heading("log files");
    let rows = reply.files.into_iter().map(|file| vec![file.name, output::bytes(file.length), output::bytes(file.allocated)]);
    output::table(&["file", "length", "on disk"], rows.collect(), "no file");
}
