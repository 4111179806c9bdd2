//! A node's configuration: one TOML file, each key also by environment variable and by flag.
//!
//! Invariants: flag over environment over file over default; a key nobody knows is a fault; all faults are told at once, each with where the
//! value came from, its key and the reason. Secrets are never values here, only the names of files that hold them.

mod example;
mod keys;
mod read;
mod source;
mod values;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use skep_placement::ids::NodeId;

pub use example::example;
pub use source::{Fault, Faults, Overrides};

use crate::telemetry::LogOptions;

/// Everything that a node is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file it came from, absolute.
    pub file: PathBuf,
    /// Who the node is and where its own files are.
    pub node: NodeConfig,
    /// The port for clients.
    pub api: ApiConfig,
    /// The port between nodes.
    pub rpc: RpcConfig,
    /// The data directories, at least one.
    pub devices: Vec<DeviceConfig>,
    /// Timing of consensus and the size of its log.
    pub raft: RaftConfig,
    /// What memory may be used for.
    pub memory: MemoryConfig,
    /// What is logged.
    pub log: LogOptions,
    /// Upper bounds.
    pub limits: LimitsConfig,
}

/// Who the node is and where its own files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// For people.
    pub name: String,
    /// What fails together with it, beyond the node.
    pub zone: String,
    /// Log, metadata, identity and certificate.
    pub data_dir: PathBuf,
    /// The cluster's master key; outside of all data folders.
    pub master_key_file: PathBuf,
}

/// The port for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// host:port by which others reach it; `None`: as it listens.
    pub advertise: Option<String>,
    /// Certificate chain and key; `None`: plain HTTP.
    pub tls: Option<ApiTls>,
    /// URL under which clients reach the cluster, without a slash at its end; `None`: what each request was addressed to.
    pub public_url: Option<String>,
    /// `/metrics` answers without signing in.
    pub metrics_public: bool,
}

/// The operator's certificate of the API port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiTls {
    /// Chain, PEM.
    pub certificate_file: PathBuf,
    /// Key, PEM.
    pub key_file: PathBuf,
}

/// The port between nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpcConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// host:port by which the other nodes reach it; `None`: as it listens.
    pub advertise: Option<String>,
    /// RPC addresses of other nodes, for a start without any cluster map.
    pub peers: Vec<(NodeId, String)>,
}

/// One data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceConfig {
    /// The folder.
    pub path: PathBuf,
    /// Share of the data it takes, in GiB; `None`: the size of its file system.
    pub weight: Option<u64>,
}

/// Timing of consensus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RaftConfig {
    /// Between a leader's heartbeats.
    pub heartbeat: Duration,
    /// Silence after which an election begins, at least.
    pub election_min: Duration,
    /// Silence after which an election begins, at most.
    pub election_max: Duration,
    /// Silence after which a voter is replaced.
    pub silent_voter: Duration,
    /// Between two looks for what is to be pruned.
    pub prune_interval: Duration,
    /// Size of a file of the log, bytes.
    pub segment_bytes: u64,
    /// Log kept at most, all groups together, bytes.
    pub log_bytes_max: u64,
    /// A snapshot is built after so much log, bytes.
    pub snapshot_bytes: u64,
    /// A snapshot is built after so many commands.
    pub snapshot_commands: u64,
}

/// What memory may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryConfig {
    /// For bytes of files on their way in and out.
    pub budget_bytes: u64,
    /// For blocks of the metadata databases.
    pub block_cache_bytes: u64,
    /// For metadata not yet flushed.
    pub write_buffer_bytes: u64,
}

/// Upper bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Client connections at a time.
    pub connections_max: usize,
    /// How long requests may take to finish once the node is to stop.
    pub drain: Duration,
    /// Free space on a device below which it takes no more, bytes.
    pub device_reserve_bytes: u64,
}

impl Config {
    /// Reads the file, then environment and flags over it.
    ///
    /// # Errors
    /// [`Faults`]: everything that is wrong, not only the first.
    pub fn load(file: &Path, overrides: &Overrides) -> Result<Self, Faults> {
        read::load(file, overrides)
    }

    /// Whether the API speaks TLS.
    pub fn api_scheme(&self) -> &'static str {
        if self.api.tls.is_some() { "https" } else { "http" }
    }

    /// What one node with these devices does not protect from; `None` if it is more than a start.
    pub fn lone_node_warning(&self) -> String {
        match self.devices.len() {
            1 => "One node with one device stores every chunk once (1+0): when the device dies, its files are gone. A second node makes it 1+1, \
                  three nodes 2+1; a backup elsewhere protects in the meantime."
                .to_owned(),
            2 => "One node with two devices stores every chunk once (1+0): when a device dies, its files are gone. A third device makes it 2+1 over \
                  the devices of this node, further nodes protect from the loss of this one."
                .to_owned(),
            _ => "One node stores chunks over its devices (2+1): one device may die, but not this node. Further nodes protect from its loss.".to_owned(),
        }
    }
}

/// Whether an address can be reached from this machine only.
fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}
