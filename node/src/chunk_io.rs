//! Contents in chunks over the devices of the cluster: the node's side of [`skep_api::ports::ChunkIo`].
//!
//! Writing: cut, hash, encode, send, wait for durability; then the caller commits. Reading: the blocks a range touches, from the shards that
//! answer. Invariants: nothing is returned as written before the write rule holds; no byte is returned that failed a checksum; shards of
//! different instances are never put together; no more memory is used than the byte budget has given out.

mod chunk_reader;
mod chunk_store;
mod content_reader;
mod content_writer;
mod encoded;
mod file_hashes;
mod groups;
pub mod limits;
pub mod metrics;
mod repairer;
mod sound_shards;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use skep_api::ports::{ByteStream, ChunkIo, ReadRequest, WriteError, WriteRequest, Written};
use skep_placement::ids::{BootNumber, ChunkId, DatasourceId, DeviceId, InstanceId, NodeId, Stamp, WriteId};
use skep_raft::wire::meta::v1 as meta;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::TaskTracker;

use crate::chunk_rpc::ShardTransport;
use crate::cluster_map::ClusterMaps;
use crate::device_health::DeviceHealth;
use crate::device_store::ShardKey;

pub use chunk_reader::{ChunkReadError, ChunkSource};
pub use chunk_store::StoreError;
pub use groups::Groups;
pub use repairer::{RepairError, Repaired};

/// A shard that a reader found damaged or absent, for the repair queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Whose chunk it is.
    pub datasource: DatasourceId,
    /// The instance.
    pub instance: InstanceId,
    /// Bit i: shard i.
    pub missing: u32,
}

/// What everything here works with.
#[derive(Debug)]
struct Shared {
    node: NodeId,
    boot: BootNumber,
    writings: AtomicU64,
    maps: ClusterMaps,
    health: DeviceHealth,
    transport: Arc<dyn ShardTransport>,
    metadata: Arc<dyn Groups>,
    /// Permits of 1 KiB each: the node's byte budget.
    budget: Arc<Semaphore>,
    /// Late shards and deletions, joined at the stop.
    background: TaskTracker,
    damages: mpsc::Sender<Damage>,
    times: Times,
    /// Held while a chunk is looked for among wrong shards.
    searches: tokio::sync::Mutex<()>,
}

/// Times that decide what a slow client or device costs; a test sets shorter ones.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// A client that takes longer to fill a chunk gets it cut.
    pub chunk_fill_max: Duration,
    /// After it a write becomes a registered upload.
    pub unregistered_max: Duration,
    /// A shard that takes longer is hedged by parity.
    pub hedge_after: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            chunk_fill_max: limits::CHUNK_FILL_TIME_MAX,
            unregistered_max: limits::UNREGISTERED_TIME_MAX,
            hedge_after: limits::HEDGE_AFTER,
        }
    }
}

/// Every failpoint of a gateway's writing and of repair. At each the process may end without any acknowledged thing being lost.
pub const FAILPOINTS: &[&str] =
    &["chunk-before-send", "chunk-acknowledged", "content-before-commit", "upload-opened", "upload-appended", "repair-before-commit"];

/// Writes and reads contents.
#[derive(Clone, Debug)]
pub struct Chunks {
    shared: Arc<Shared>,
}

/// What [`Chunks`] are made from.
#[derive(Debug)]
pub struct ChunksOptions {
    /// This node.
    pub node: NodeId,
    /// Its process; together with a count it makes write ids.
    pub boot: BootNumber,
    /// The cluster map.
    pub maps: ClusterMaps,
    /// Beliefs on devices.
    pub health: DeviceHealth,
    /// Reaches the devices.
    pub transport: Arc<dyn ShardTransport>,
    /// The groups.
    pub metadata: Arc<dyn Groups>,
    /// Bytes that all requests together may hold.
    pub budget_bytes: usize,
    /// Where damage goes that readers find; what does not fit is found again by the next reader.
    pub damages: mpsc::Sender<Damage>,
    /// What is slow.
    pub times: Times,
}

impl Chunks {
    /// Begins with nothing under way.
    pub fn new(options: ChunksOptions) -> Self {
        let shared = Shared {
            node: options.node,
            boot: options.boot,
            writings: AtomicU64::new(1),
            maps: options.maps,
            health: options.health,
            transport: options.transport,
            metadata: options.metadata,
            budget: Arc::new(Semaphore::new(options.budget_bytes.div_ceil(limits::PERMIT_BYTES))),
            background: TaskTracker::new(),
            damages: options.damages,
            times: options.times,
            searches: tokio::sync::Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Waits for late shards and deletions; nothing may be begun after it.
    pub async fn close(&self) {
        self.shared.background.close();
        self.shared.background.wait().await;
    }
}

impl Shared {
    /// A write id that was never drawn before: the boot number is durable before the node serves.
    fn fresh_write(&self) -> WriteId {
        WriteId { node: self.node, boot: self.boot, counter: self.writings.fetch_add(1, Ordering::Relaxed) }
    }

    fn delete_in_background(self: &Arc<Self>, chunk: ChunkId, write: WriteId, shards: Vec<(u8, DeviceId)>) {
        let shared = Arc::clone(self);
        self.background.spawn(async move {
            for (shard, device) in shards {
                let key = ShardKey { instance: InstanceId { chunk, write }, shard };
                if let Err(error) = shared.transport.delete(device, key).await {
                    // Whatever stays is found by the sweep: no record names it.
                    tracing::debug!(%device, %key, %error, "a shard that nobody names was not deleted");
                }
            }
        });
    }

    /// Deletes instances that no record names, wherever their shards were sent.
    fn discard(self: &Arc<Self>, instances: &[meta::StoredChunk]) {
        let map = self.maps.current();
        for instance in instances {
            let Some((chunk, write)) = instance_of(instance) else { continue };
            let devices = map.devices_of(&chunk, &record_of(instance));
            self.delete_in_background(chunk, write, (0..).zip(devices).collect());
        }
    }
}

/// Microseconds since the Unix epoch by this node's clock.
pub fn clock_stamp() -> Stamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Stamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// The instance that a command names; `None` if it is malformed.
pub fn instance_of(stored: &meta::StoredChunk) -> Option<(ChunkId, WriteId)> {
    let chunk = ChunkId::try_from(stored.chunk.as_ref()).ok()?;
    Some((chunk, write_id(stored.write.as_ref()?)))
}

/// A write id from a record.
pub fn write_id(record: &meta::WriteId) -> WriteId {
    WriteId { node: NodeId(record.node), boot: BootNumber(record.boot), counter: record.counter }
}

/// A write id as it is stored.
pub fn write_record(write: WriteId) -> meta::WriteId {
    meta::WriteId { node: write.node.0, boot: write.boot.0, counter: write.counter }
}

/// The record that a commit of this chunk would make.
pub fn record_of(stored: &meta::StoredChunk) -> meta::ChunkRecord {
    meta::ChunkRecord {
        write: stored.write,
        begun: stored.begun,
        length: stored.length,
        code: stored.code,
        pool: stored.pool,
        epoch: stored.epoch,
        devices: stored.devices.clone(),
        missing: stored.missing,
        key_version: stored.key_version,
        ..meta::ChunkRecord::default()
    }
}

impl ChunkIo for Chunks {
    fn write<'a>(&'a self, request: WriteRequest, body: ByteStream) -> BoxFuture<'a, Result<Written, WriteError>> {
        Box::pin(content_writer::write(Arc::clone(&self.shared), request, body))
    }

    fn discard(&self, _datasource: DatasourceId, instances: Vec<meta::StoredChunk>) {
        self.shared.discard(&instances);
    }

    fn abandon<'a>(&'a self, datasource: DatasourceId, written: Written) -> BoxFuture<'a, ()> {
        Box::pin(content_writer::abandon(&self.shared, datasource, written))
    }

    fn read(&self, request: ReadRequest) -> ByteStream {
        content_reader::read(Arc::clone(&self.shared), request)
    }
}
