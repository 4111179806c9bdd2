//! What the metadata of a node are started with.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use skep_placement::ids::{BootNumber, ClusterId, Generation, NodeId, RaftId};
use tonic::transport::Channel;

use crate::consensus::stores::StoreFactory;
use crate::errors::PeerError;

/// Tells the time; handed in, so that a simulation can set it.
pub trait Clock: Send + Sync {
    /// Microseconds since the Unix epoch.
    fn now_micros(&self) -> u64;
}

impl<F: Fn() -> u64 + Send + Sync> Clock for F {
    fn now_micros(&self) -> u64 {
        self()
    }
}

/// Reaches other nodes.
pub trait Peers: Send + Sync {
    /// Returns a channel that reaches exactly this node (its certificate is checked).
    ///
    /// # Errors
    /// The node's address is not known, or it has none.
    fn channel(&self, node: NodeId) -> Result<Channel, PeerError>;
}

/// Who calls, as its certificate says. The node adds it to the extensions of each request; a call without it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The calling node.
    pub node: NodeId,
}

/// Measures the file system of the data folder.
pub trait FreeSpace: Send + Sync {
    /// Returns free and total bytes, or nothing if they cannot be had (then nothing is refused).
    fn free_and_total(&self) -> Option<(u64, u64)>;
}

/// Called once with a sentence when the node cannot go on; in production it ends the process.
pub type OnFatal = Arc<dyn Fn(&str) + Send + Sync>;

/// What the metadata of a node are started with.
#[derive(Clone)]
pub struct MetadataOptions {
    /// The cluster.
    pub cluster: ClusterId,
    /// This node.
    pub node: NodeId,
    /// This process.
    pub boot: BootNumber,
    /// The folder for the log and the groups' states.
    pub data_dir: PathBuf,
    /// The placement of the system group on this node: 1 on the first node, else what the join answered. A node that has one may leave it out.
    pub system_raft_id: Option<RaftId>,
    /// The system group's generation as the join answered it; used until this node's own replica knows it.
    pub system_generation: Generation,
    /// Whether an empty log is right: only at the first start of a node.
    pub first_start: bool,
    /// Opens states.
    pub stores: Arc<dyn StoreFactory>,
    /// The node's clock.
    pub clock: Arc<dyn Clock>,
    /// The seed of what must merely differ from one start to the next.
    pub salt: u32,
    /// Ends the process.
    pub on_fatal: OnFatal,
    /// Measures the data folder; the file system itself if left out.
    pub free_space: Arc<dyn FreeSpace>,
    /// Below so much free space only commands that free some are taken, in hundredths of the whole; at most 50.
    pub free_space_floor_percent: u64,
    /// How often a leader is heard at least.
    pub heartbeat: Duration,
    /// The shortest time without a leader after which a voter stands for election.
    pub election_timeout_min: Duration,
    /// The longest time without a leader after which a voter stands for election.
    pub election_timeout_max: Duration,
    /// Bytes of a segment of the log.
    pub log_segment_bytes: u64,
    /// Bytes of log kept on this node, all groups together.
    pub log_kept_bytes: u64,
    /// A snapshot is built after so many bytes of log.
    pub snapshot_log_bytes: u64,
    /// A snapshot is built after so many commands.
    pub snapshot_commands: u64,
    /// Entries kept behind a snapshot for followers that are a little late.
    pub kept_entries: u64,
    /// How often the reconciler looks.
    pub reconcile_interval: Duration,
    /// Replaces a voter that was silent so long, unless the cluster sets its own time.
    pub silent_voter: Duration,
    /// How often the other nodes' clocks are read.
    pub clock_interval: Duration,
    /// How often the leader of a group has idle sessions closed.
    pub session_sweep_interval: Duration,
    /// How often the leader of a datasource's group has expired uploads ended.
    pub upload_sweep_interval: Duration,
    /// How often the leader of a datasource's group prunes versions and history, and takes apart what was deleted.
    pub prune_sweep_interval: Duration,
}

impl fmt::Debug for MetadataOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetadataOptions")
            .field("cluster", &self.cluster)
            .field("node", &self.node)
            .field("boot", &self.boot)
            .field("data_dir", &self.data_dir)
            .finish_non_exhaustive()
    }
}

/// Who a node is and where its data lie: what every set of options needs.
#[derive(Clone, Debug)]
pub struct NodeIdentity {
    /// The cluster.
    pub cluster: ClusterId,
    /// This node.
    pub node: NodeId,
    /// This process.
    pub boot: BootNumber,
    /// The folder for the log and the groups' states.
    pub data_dir: PathBuf,
}

impl MetadataOptions {
    /// Makes options with the defaults of a production node.
    #[must_use]
    pub fn new(identity: NodeIdentity, stores: Arc<dyn StoreFactory>, clock: Arc<dyn Clock>, on_fatal: OnFatal) -> Self {
        let free_space = Arc::new(FileSystemSpace { folder: identity.data_dir.clone() });
        Self {
            cluster: identity.cluster,
            node: identity.node,
            boot: identity.boot,
            data_dir: identity.data_dir,
            system_raft_id: None,
            system_generation: Generation(1),
            first_start: false,
            stores,
            clock,
            salt: 0,
            on_fatal,
            free_space,
            free_space_floor_percent: 5,
            heartbeat: Duration::from_millis(250),
            election_timeout_min: Duration::from_secs(1),
            election_timeout_max: Duration::from_secs(2),
            log_segment_bytes: crate::log::limits::SEGMENT_BYTES_MAX,
            log_kept_bytes: crate::log::limits::KEPT_BYTES_MAX,
            snapshot_log_bytes: 64 * 1024 * 1024,
            snapshot_commands: 100_000,
            kept_entries: 1_000,
            reconcile_interval: Duration::from_secs(1),
            silent_voter: Duration::from_secs(15 * 60),
            clock_interval: Duration::from_secs(2),
            session_sweep_interval: Duration::from_secs(10 * 60),
            upload_sweep_interval: Duration::from_secs(60),
            prune_sweep_interval: Duration::from_secs(10),
        }
    }

    /// Checks everything that can be checked without the disk.
    ///
    /// # Errors
    /// All faults, each a sentence.
    pub fn validate(&self) -> Result<(), Vec<String>> {
        let mut faults = Vec::new();
        if self.heartbeat < Duration::from_millis(10) {
            faults.push("the heartbeat is shorter than 10 ms".to_owned());
        }
        if self.election_timeout_min < self.heartbeat.saturating_mul(2) {
            faults.push("the shortest election time-out is less than two heartbeats".to_owned());
        }
        if self.election_timeout_max <= self.election_timeout_min {
            faults.push("the longest election time-out is not longer than the shortest".to_owned());
        }
        if self.free_space_floor_percent > 50 {
            faults.push("the free-space floor is above 50 %".to_owned());
        }
        if self.snapshot_log_bytes == 0 || self.snapshot_commands == 0 {
            faults.push("snapshots after nothing".to_owned());
        }
        if self.log_kept_bytes < self.log_segment_bytes.saturating_mul(4) {
            faults.push("fewer than four segments of log are kept".to_owned());
        }
        if self.reconcile_interval.is_zero()
            || self.clock_interval.is_zero()
            || self.session_sweep_interval.is_zero()
            || self.upload_sweep_interval.is_zero()
            || self.prune_sweep_interval.is_zero()
        {
            faults.push("an interval of nothing".to_owned());
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }
}

/// Asks the file system of a folder.
struct FileSystemSpace {
    folder: PathBuf,
}

impl FreeSpace for FileSystemSpace {
    fn free_and_total(&self) -> Option<(u64, u64)> {
        let found = rustix::fs::statvfs(&self.folder).ok()?;
        Some((found.f_bavail.checked_mul(found.f_frsize)?, found.f_blocks.checked_mul(found.f_frsize)?))
    }
}
