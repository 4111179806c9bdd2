//! Shards between nodes: [`ShardTransport`] reaches any device of the cluster, a local one directly, a remote one by frames over mutual TLS.
//!
//! Invariant: a request names the node, the device and the instance it is for; who is asked for another's answers with an error, never with
//! another's bytes. Every call has a deadline.

pub mod client;
pub mod server;

use std::fmt;
use std::ops::Range;

use futures_util::future::BoxFuture;
use skep_placement::ids::{ChunkId, DeviceId, Epoch, NodeId, PgId};

pub use skep_frames::{frame, messages, wire};

use crate::device_store::{ShardBlocks, ShardHeader, ShardKey, ShardRecord};

/// The protocol name that a connection for shards is opened with (ALPN).
pub const SHARD_PROTOCOL: &[u8] = b"skep-shard/1";

/// Reaches the devices of the cluster.
pub trait ShardTransport: Send + Sync + fmt::Debug {
    /// Stores a shard; durable when it returns.
    fn put(&self, device: DeviceId, record: ShardRecord) -> BoxFuture<'_, Result<(), TransportError>>;
    /// Reads 64 KiB blocks of a shard; checksums were verified by the device and are verified again on arrival.
    fn read(&self, device: DeviceId, key: ShardKey, blocks: Range<u32>) -> BoxFuture<'_, Result<ShardBlocks, TransportError>>;
    /// What is stored of a shard beside its bytes.
    fn stat(&self, device: DeviceId, key: ShardKey) -> BoxFuture<'_, Result<ShardHeader, TransportError>>;
    /// Deletes a shard durably; one that is not there is no error.
    fn delete(&self, device: DeviceId, key: ShardKey) -> BoxFuture<'_, Result<(), TransportError>>;
    /// All shards of a chunk on a device, of any instance.
    fn find(&self, device: DeviceId, chunk: ChunkId) -> BoxFuture<'_, Result<Vec<ShardHeader>, TransportError>>;
    /// Shards of a placement group on a device, in order.
    fn list(
        &self,
        device: DeviceId,
        group: PgId,
        after: Option<ShardKey>,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<ShardHeader>, TransportError>>;
    /// Asks a node for its devices.
    fn ping(&self, node: NodeId) -> BoxFuture<'_, Result<NodeReport, TransportError>>;
}

/// What a node says of itself and its devices.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeReport {
    /// Its boot number.
    pub boot: u64,
    /// Its devices.
    pub devices: Vec<wire::DeviceUsage>,
}

/// Why a device did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The node can't be reached, broke the connection, or did not answer in time; whether the request was carried out is unknown.
    #[error("node {node} does not answer: {why}")]
    Unreachable {
        /// The node.
        node: NodeId,
        /// What happened.
        why: String,
    },
    /// No node has the device.
    #[error("device {0} is on no node that is known here")]
    UnknownDevice(DeviceId),
    /// The shard is not there.
    #[error("device {0} does not have the shard")]
    NotFound(DeviceId),
    /// The stored bytes fail their checksum.
    #[error("the shard on device {device} is damaged: {why}")]
    Corrupt {
        /// Where.
        device: DeviceId,
        /// What is wrong.
        why: String,
    },
    /// The writer's epoch is old.
    #[error("the placement group is at epoch {current}")]
    StaleEpoch {
        /// The lowest epoch taken.
        current: Epoch,
    },
    /// No space.
    #[error("device {0} is full")]
    Full(DeviceId),
    /// The device is out.
    #[error("device {device} takes no requests: {why}")]
    Failed {
        /// Which.
        device: DeviceId,
        /// Why.
        why: String,
    },
    /// The request was refused as it stands.
    #[error("device {device} refuses the request: {why}")]
    Refused {
        /// Which.
        device: DeviceId,
        /// Why.
        why: String,
    },
}
