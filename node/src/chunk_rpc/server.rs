//! Answers shard requests of other nodes from this node's devices.
//!
//! Invariant: one request is in work on a connection at a time; a request for another node or device is refused, never served from
//! what happens to be here.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use skep_placement::ids::{BootNumber, DeviceId, NodeId, PgId, PoolId};
use tokio::io::{AsyncRead, AsyncWrite};

use super::frame::{read_frame, write_frame};
use super::messages::{Malformed, chunk_from_wire, header_from_wire, header_to_wire, name_from_wire};
use super::wire::request::What;
use super::wire::{DeviceCondition, DeviceUsage, Reply, Request, Status};
use crate::device_store::{ChangeError, DeviceState, DeviceStore, PutError, ReadError, ShardRecord};

/// Most shards in one answer.
const LIST_LENGTH_MAX: u32 = 1_000;

/// The devices of this node, by id.
#[derive(Clone, Debug)]
pub struct LocalDevices {
    node: NodeId,
    boot: BootNumber,
    stores: Arc<BTreeMap<DeviceId, Arc<DeviceStore>>>,
}

impl LocalDevices {
    /// The devices that this node opened.
    pub fn new(node: NodeId, boot: BootNumber, stores: BTreeMap<DeviceId, Arc<DeviceStore>>) -> Self {
        Self { node, boot, stores: Arc::new(stores) }
    }

    /// The node whose they are.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// One device.
    pub fn get(&self, device: DeviceId) -> Option<&DeviceStore> {
        self.stores.get(&device).map(Arc::as_ref)
    }

    /// All devices in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (DeviceId, &DeviceStore)> {
        self.stores.iter().map(|(id, store)| (*id, store.as_ref()))
    }

    /// What this node says of its devices.
    pub fn report(&self) -> super::NodeReport {
        let devices = self.iter().map(|(id, store)| usage(id, store)).collect();
        super::NodeReport { boot: self.boot.0, devices }
    }

    /// Serves one connection until the peer closes it.
    ///
    /// # Errors
    /// What the connection says; a malformed frame ends the connection.
    pub async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send>(&self, mut stream: S) -> io::Result<()> {
        while let Some((request, payload)) = read_frame::<_, Request>(&mut stream).await? {
            let (reply, bytes) = self.answer(request, payload).await;
            write_frame(&mut stream, &reply, &bytes).await?;
        }
        Ok(())
    }

    async fn answer(&self, request: Request, payload: Bytes) -> (Reply, Bytes) {
        if request.to_node != self.node.0 {
            let detail = format!("this is node {}, the request is for node {}", self.node, request.to_node);
            return (Reply { status: Status::WrongNode.into(), detail, ..Reply::default() }, Bytes::new());
        }
        match self.carry_out(request, payload).await {
            Ok(answer) => answer,
            Err(refusal) => (refusal, Bytes::new()),
        }
    }

    async fn carry_out(&self, request: Request, payload: Bytes) -> Result<(Reply, Bytes), Reply> {
        match request.what.ok_or(Malformed("it asks for nothing"))? {
            What::Put(put) => {
                let header = header_from_wire(put.shard)?;
                self.device(put.device)?.put(ShardRecord { header, checksums: put.checksums, payload }).await?;
                Ok(done(Reply::default()))
            }
            What::Read(read) => {
                let key = name_from_wire(read.name)?;
                let blocks = self.device(read.device)?.read(key, read.first_block..read.end_block).await?;
                let reply = Reply {
                    shard: Some(header_to_wire(&blocks.header)),
                    first_block: blocks.first_block,
                    checksums: blocks.checksums,
                    ..Reply::default()
                };
                Ok((done(reply).0, blocks.payload))
            }
            What::Stat(stat) => {
                let header = self.device(stat.device)?.stat(name_from_wire(stat.name)?).await?.ok_or(ReadError::NotFound)?;
                Ok(done(Reply { shard: Some(header_to_wire(&header)), ..Reply::default() }))
            }
            What::Delete(delete) => {
                self.device(delete.device)?.delete(name_from_wire(delete.name)?).await?;
                Ok(done(Reply::default()))
            }
            What::Find(find) => {
                let shards = self.device(find.device)?.find(chunk_from_wire(&find.chunk)?).await?;
                Ok(done(Reply { shards: shards.iter().map(header_to_wire).collect(), ..Reply::default() }))
            }
            What::Ping(_ping) => {
                let report = self.report();
                Ok(done(Reply { devices: report.devices, boot: report.boot, ..Reply::default() }))
            }
            What::List(list) => {
                let after = list.after.map(|shard| header_from_wire(Some(shard))).transpose()?.map(|header| header.key());
                let group = PgId { pool: PoolId(list.pool), index: list.pg };
                let limit = usize::try_from(list.limit.min(LIST_LENGTH_MAX)).expect("a thousand at most");
                let shards = self.device(list.device)?.list_pg(group, after, limit).await?;
                Ok(done(Reply { shards: shards.iter().map(header_to_wire).collect(), ..Reply::default() }))
            }
        }
    }

    #[expect(clippy::result_large_err, reason = "the reply is what is sent")]
    fn device(&self, device: u64) -> Result<&DeviceStore, Reply> {
        self.get(DeviceId(device)).ok_or_else(|| {
            let detail = format!("node {} has no device {device}", self.node);
            Reply { status: Status::NoDevice.into(), detail, ..Reply::default() }
        })
    }
}

fn done(reply: Reply) -> (Reply, Bytes) {
    (Reply { status: Status::Ok.into(), ..reply }, Bytes::new())
}

/// How a device is, as a message.
pub fn usage(id: DeviceId, store: &DeviceStore) -> DeviceUsage {
    let usage = match store.usage() {
        Ok(usage) => usage,
        Err(error) => {
            let reason = format!("its file system does not say how full it is: {error}");
            return DeviceUsage { device: id.0, condition: DeviceCondition::Failed.into(), reason, ..DeviceUsage::default() };
        }
    };
    let (condition, reason) = match usage.state {
        DeviceState::Running => (DeviceCondition::Working, String::new()),
        DeviceState::Full => (DeviceCondition::Full, String::new()),
        DeviceState::Failed(reason) => (DeviceCondition::Failed, reason),
    };
    DeviceUsage {
        device: id.0,
        total_bytes: usage.total_bytes,
        free_bytes: usage.free_bytes,
        live_bytes: usage.live_bytes,
        records: usage.records,
        condition: condition.into(),
        reason,
        written_bytes: usage.bytes_written,
        syncs: usage.fsyncs,
    }
}

impl From<PutError> for Reply {
    fn from(error: PutError) -> Self {
        let detail = error.to_string();
        let (status, current_epoch) = match error {
            PutError::Header(_) | PutError::Length => (Status::Invalid, 0),
            PutError::Checksum { .. } => (Status::Checksum, 0),
            PutError::StaleEpoch { current } => (Status::StaleEpoch, current.0),
            PutError::Conflict => (Status::Conflict, 0),
            PutError::Full => (Status::Full, 0),
            PutError::Failed { .. } | PutError::Closed => (Status::Failed, 0),
        };
        Reply { status: status.into(), detail, current_epoch, ..Reply::default() }
    }
}

impl From<ChangeError> for Reply {
    fn from(error: ChangeError) -> Self {
        let detail = error.to_string();
        let status = match error {
            ChangeError::Full => Status::Full,
            ChangeError::Failed { .. } | ChangeError::Closed => Status::Failed,
        };
        Reply { status: status.into(), detail, ..Reply::default() }
    }
}

impl From<ReadError> for Reply {
    fn from(error: ReadError) -> Self {
        let detail = error.to_string();
        let status = match error {
            ReadError::NotFound => Status::NotFound,
            ReadError::OutOfRange { .. } => Status::Invalid,
            ReadError::Corrupt(_) => Status::Corrupt,
            ReadError::Index(_) | ReadError::Unreadable(_) | ReadError::Closed => Status::Failed,
        };
        Reply { status: status.into(), detail, ..Reply::default() }
    }
}
