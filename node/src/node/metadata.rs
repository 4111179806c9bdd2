//! How the metadata of this node are started: the same for `skep init` and for `skep node`.

use std::sync::Arc;

use skep_raft::consensus::rocks::RocksStores;
use skep_raft::options::MetadataOptions;
use skep_raft::store::{RocksOptions, RocksShared};

use super::StartError;
use crate::clock::System;
use crate::config::Config;
use crate::identity::NodeIdentity;

/// The folder of the log and the groups' states in the data folder.
pub const METADATA_FOLDER: &str = "metadata";

const BACKGROUND_THREADS: u8 = 2;

/// The options of this node's metadata.
///
/// # Errors
/// The folder cannot be made, or the storage cannot start.
pub fn metadata_options(config: &Config, identity: NodeIdentity, first_start: bool) -> Result<MetadataOptions, StartError> {
    let data_dir = config.node.data_dir.join(METADATA_FOLDER);
    crate::durable_file::create_folder(&data_dir)?;
    let bytes = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    let shared = RocksShared::new(RocksOptions {
        block_cache_bytes: bytes(config.memory.block_cache_bytes),
        write_buffer_bytes: bytes(config.memory.write_buffer_bytes),
        background_threads: BACKGROUND_THREADS,
    });
    let shared = shared.map_err(|error| StartError::Refused(format!("the storage of the metadata cannot start: {error}")))?;
    let whose = skep_raft::options::NodeIdentity { cluster: identity.cluster, node: identity.node, boot: identity.boot, data_dir };
    let stores = Arc::new(RocksStores::new(shared));
    let mut options = MetadataOptions::new(whose, stores, Arc::new(|| System.now_micros()), Arc::new(end_process));
    let mut salt = [0; 4];
    System.fill(&mut salt);
    options.salt = u32::from_le_bytes(salt);
    // Later the log itself says which replica this node has.
    options.system_raft_id = first_start.then_some(identity.system_raft_id);
    options.system_generation = identity.system_generation;
    options.first_start = first_start;
    options.heartbeat = config.raft.heartbeat;
    options.election_timeout_min = config.raft.election_min;
    options.election_timeout_max = config.raft.election_max;
    options.log_segment_bytes = config.raft.segment_bytes;
    options.log_kept_bytes = config.raft.log_bytes_max;
    options.snapshot_log_bytes = config.raft.snapshot_bytes;
    options.snapshot_commands = config.raft.snapshot_commands;
    // Who is later than half of what lies between two snapshots gets the snapshot.
    options.kept_entries = options.kept_entries.min(config.raft.snapshot_commands / 2);
    options.silent_voter = config.raft.silent_voter;
    options.prune_sweep_interval = config.raft.prune_interval;
    Ok(options)
}

/// Ends the process before anything else can be acknowledged; no destructor runs.
fn end_process(sentence: &str) {
    tracing::error!("the node cannot go on: {sentence}");
    std::process::abort();
}
