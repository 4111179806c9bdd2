//! The transport: a local device is called directly, a remote one through a pool of connections, one request at a time on each.
//!
//! Invariant: a connection goes back to the pool only after a whole answer was read; a request that timed out or failed closes its
//! connection, so that no late answer is taken for the next one's.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use skep_placement::checksum::verify_blocks;
use skep_placement::ids::{ChunkId, DeviceId, Epoch, NodeId, PgId};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::frame::{read_frame, write_frame};
use super::messages::{header_from_wire, header_to_wire, name_to_wire};
use super::server::LocalDevices;
use super::wire::request::What;
use super::wire::{self, Reply, Request, Status};
use super::{NodeReport, ShardTransport, TransportError};
use crate::device_store::{ShardBlocks, ShardHeader, ShardKey, ShardRecord};

/// Idle connections kept for each node.
const IDLE_CONNECTIONS_MAX: usize = 32;
/// After which a node is taken for unreachable.
const DIAL_TIMEOUT: Duration = Duration::from_secs(2);
/// After which a request is given up.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// After which a ping is given up.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection with another node, opened for [`super::SHARD_PROTOCOL`].
pub trait ShardStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> ShardStream for S {}

/// Opens connections whose peer proved to be the node asked for.
pub trait ShardDialer: Send + Sync + fmt::Debug {
    /// Connects to a node.
    fn dial(&self, node: NodeId) -> BoxFuture<'_, io::Result<Box<dyn ShardStream>>>;
}

/// Knows on which node a device is.
pub trait DeviceDirectory: Send + Sync + fmt::Debug {
    /// The node of a device.
    fn node_of(&self, device: DeviceId) -> Option<NodeId>;
}

type Idle = BTreeMap<NodeId, Vec<Box<dyn ShardStream>>>;

/// Reaches local and remote devices.
pub struct ShardClient {
    local: LocalDevices,
    directory: Arc<dyn DeviceDirectory>,
    dialer: Arc<dyn ShardDialer>,
    idle: Mutex<Idle>,
}

impl fmt::Debug for ShardClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardClient").field("node", &self.local.node()).finish_non_exhaustive()
    }
}

impl ShardClient {
    /// A transport for this node.
    pub fn new(local: LocalDevices, directory: Arc<dyn DeviceDirectory>, dialer: Arc<dyn ShardDialer>) -> Self {
        Self { local, directory, dialer, idle: Mutex::new(Idle::new()) }
    }

    fn take_idle(&self, node: NodeId) -> Option<Box<dyn ShardStream>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&node)?.pop()
    }

    fn keep(&self, node: NodeId, stream: Box<dyn ShardStream>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let streams = idle.entry(node).or_default();
        if streams.len() < IDLE_CONNECTIONS_MAX {
            streams.push(stream);
        }
    }

    async fn call(&self, node: NodeId, what: What, payload: &Bytes, limit: Duration) -> Result<(Reply, Bytes), TransportError> {
        let request = Request { to_node: node.0, what: Some(what) };
        let unreachable = |why: String| TransportError::Unreachable { node, why };
        // An idle connection may have been closed by the peer: every shard request can be repeated, so a fresh one is tried once.
        if let Some(stream) = self.take_idle(node) {
            match timeout(limit, exchange(stream, &request, payload)).await {
                Ok(Ok((stream, reply, bytes))) => {
                    self.keep(node, stream);
                    return Ok((reply, bytes));
                }
                Ok(Err(_stale)) => {
                    self.idle.lock().unwrap_or_else(PoisonError::into_inner).remove(&node);
                }
                Err(_elapsed) => return Err(unreachable(format!("no answer in {limit:?}"))),
            }
        }
        let dialled = timeout(DIAL_TIMEOUT.min(limit), self.dialer.dial(node)).await;
        let stream = match dialled {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(unreachable(error.to_string())),
            Err(_elapsed) => return Err(unreachable(format!("no connection in {:?}", DIAL_TIMEOUT.min(limit)))),
        };
        match timeout(limit, exchange(stream, &request, payload)).await {
            Ok(Ok((stream, reply, bytes))) => {
                self.keep(node, stream);
                Ok((reply, bytes))
            }
            Ok(Err(error)) => Err(unreachable(error.to_string())),
            Err(_elapsed) => Err(unreachable(format!("no answer in {limit:?}"))),
        }
    }

    /// Calls the node of a device; the answer's status is [`Status::Ok`].
    async fn ask(&self, device: DeviceId, what: What, payload: Bytes) -> Result<(Reply, Bytes), TransportError> {
        let node = self.directory.node_of(device).ok_or(TransportError::UnknownDevice(device))?;
        let (reply, bytes) = self.call(node, what, &payload, REQUEST_TIMEOUT).await?;
        match failure(device, node, &reply) {
            None => Ok((reply, bytes)),
            Some(error) => Err(error),
        }
    }
}

async fn exchange(
    mut stream: Box<dyn ShardStream>,
    request: &Request,
    payload: &Bytes,
) -> io::Result<(Box<dyn ShardStream>, Reply, Bytes)> {
    write_frame(&mut stream, request, payload).await?;
    let (reply, bytes) = read_frame::<_, Reply>(&mut stream).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok((stream, reply, bytes))
}

fn failure(device: DeviceId, node: NodeId, reply: &Reply) -> Option<TransportError> {
    let why = reply.detail.clone();
    match reply.status() {
        Status::Ok => None,
        Status::NotFound => Some(TransportError::NotFound(device)),
        Status::Corrupt => Some(TransportError::Corrupt { device, why }),
        Status::StaleEpoch => Some(TransportError::StaleEpoch { current: Epoch(reply.current_epoch) }),
        Status::Full => Some(TransportError::Full(device)),
        Status::Failed => Some(TransportError::Failed { device, why }),
        Status::NoDevice => Some(TransportError::UnknownDevice(device)),
        Status::WrongNode => Some(TransportError::Unreachable { node, why }),
        Status::Checksum | Status::Conflict | Status::Invalid | Status::Unspecified => Some(TransportError::Refused { device, why }),
    }
}

/// The same for a device of this node.
fn local_failure(device: DeviceId, node: NodeId, refusal: &Reply) -> TransportError {
    failure(device, node, refusal).unwrap_or_else(|| TransportError::Refused { device, why: "it gave no reason".into() })
}

fn malformed(device: DeviceId, error: impl fmt::Display) -> TransportError {
    TransportError::Refused { device, why: format!("its answer is malformed: {error}") }
}

impl ShardTransport for ShardClient {
    fn put(&self, device: DeviceId, record: ShardRecord) -> BoxFuture<'_, Result<(), TransportError>> {
        Box::pin(async move {
            if let Some(store) = self.local.get(device) {
                return store.put(record).await.map_err(|error| local_failure(device, self.local.node(), &error.into()));
            }
            let shard = Some(header_to_wire(&record.header));
            let put = wire::PutShard { device: device.0, shard, checksums: record.checksums };
            self.ask(device, What::Put(put), record.payload).await.map(|_done| ())
        })
    }

    fn read(&self, device: DeviceId, key: ShardKey, blocks: Range<u32>) -> BoxFuture<'_, Result<ShardBlocks, TransportError>> {
        Box::pin(async move {
            if let Some(store) = self.local.get(device) {
                return store.read(key, blocks).await.map_err(|error| local_failure(device, self.local.node(), &error.into()));
            }
            let name = Some(name_to_wire(key));
            let read = wire::ReadShard { device: device.0, name, first_block: blocks.start, end_block: blocks.end };
            let (reply, payload) = self.ask(device, What::Read(read), Bytes::new()).await?;
            let header = header_from_wire(reply.shard).map_err(|error| malformed(device, error))?;
            if header.key() != key || reply.first_block != blocks.start {
                return Err(malformed(device, "it is about another shard"));
            }
            verify_blocks(key.address(), reply.first_block, &payload, &reply.checksums)
                .map_err(|error| TransportError::Corrupt { device, why: error.to_string() })?;
            Ok(ShardBlocks { header, first_block: reply.first_block, payload, checksums: reply.checksums })
        })
    }

    fn stat(&self, device: DeviceId, key: ShardKey) -> BoxFuture<'_, Result<ShardHeader, TransportError>> {
        Box::pin(async move {
            if let Some(store) = self.local.get(device) {
                let found = store.stat(key).await.map_err(|error| local_failure(device, self.local.node(), &error.into()))?;
                return found.ok_or(TransportError::NotFound(device));
            }
            let stat = wire::StatShard { device: device.0, name: Some(name_to_wire(key)) };
            let (reply, _empty) = self.ask(device, What::Stat(stat), Bytes::new()).await?;
            header_from_wire(reply.shard).map_err(|error| malformed(device, error))
        })
    }

    fn delete(&self, device: DeviceId, key: ShardKey) -> BoxFuture<'_, Result<(), TransportError>> {
        Box::pin(async move {
            if let Some(store) = self.local.get(device) {
                return store
                    .delete(key)
                    .await
                    .map(|_was_there| ())
                    .map_err(|error| local_failure(device, self.local.node(), &error.into()));
            }
            let delete = wire::DeleteShard { device: device.0, name: Some(name_to_wire(key)) };
            self.ask(device, What::Delete(delete), Bytes::new()).await.map(|_done| ())
        })
    }

    fn find(&self, device: DeviceId, chunk: ChunkId) -> BoxFuture<'_, Result<Vec<ShardHeader>, TransportError>> {
        Box::pin(async move {
            if let Some(store) = self.local.get(device) {
                return store.find(chunk).await.map_err(|error| local_failure(device, self.local.node(), &error.into()));
            }
            let find = wire::FindChunk { device: device.0, chunk: chunk.0.to_vec().into() };
            let (reply, _empty) = self.ask(device, What::Find(find), Bytes::new()).await?;
            headers(device, reply.shards)
        })
    }

    fn list(
        &self,
        device: DeviceId,
        group: PgId,
        after: Option<ShardKey>,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<ShardHeader>, TransportError>> {
        Box::pin(async move {
            if let Some(store) = self.local.get(device) {
                let limit = usize::try_from(limit).expect("usize has 32 bits at least");
                return store.list_pg(group, after, limit).await.map_err(|error| local_failure(device, self.local.node(), &error.into()));
            }
            let after = match after {
                Some(key) => Some(header_to_wire(&self.stat(device, key).await?)),
                None => None,
            };
            let list = wire::ListGroup { device: device.0, pool: group.pool.0, pg: group.index, after, limit };
            let (reply, _empty) = self.ask(device, What::List(list), Bytes::new()).await?;
            headers(device, reply.shards)
        })
    }

    fn ping(&self, node: NodeId) -> BoxFuture<'_, Result<NodeReport, TransportError>> {
        Box::pin(async move {
            if node == self.local.node() {
                return Ok(self.local.report());
            }
            let (reply, _empty) = self.call(node, What::Ping(wire::Ping {}), &Bytes::new(), PING_TIMEOUT).await?;
            match failure(DeviceId(0), node, &reply) {
                None => Ok(NodeReport { boot: reply.boot, devices: reply.devices }),
                Some(_refused) => Err(TransportError::Unreachable { node, why: reply.detail }),
            }
        })
    }
}

fn headers(device: DeviceId, shards: Vec<wire::Shard>) -> Result<Vec<ShardHeader>, TransportError> {
    shards.into_iter().map(|shard| header_from_wire(Some(shard)).map_err(|error| malformed(device, error))).collect()
}
