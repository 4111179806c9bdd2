//! Where the shards of a chunk lie: what the record says, and what each device says when it is asked now.

use std::time::Duration;

use skep_placement::ids::{ChunkId, DatasourceId, DeviceId, GroupId, InstanceId, PoolId};
use skep_raft::wire::meta::v1 as meta;
use tokio::time::timeout;
use tonic::Status;

use super::storage::code;
use super::wire::{Chunk, DebugChunkReply, DebugChunkRequest, Shard};
use super::{AdminParts, Call, status};
use crate::chunk_io::write_id;
use crate::cluster_map::ClusterMap;
use crate::device_store::ShardKey;

/// How long a device is waited for.
const PATIENCE: Duration = Duration::from_secs(3);
const CHUNKS_DEFAULT: u32 = 16;
const CHUNKS_MAX: u32 = 1_024;

impl AdminParts {
    pub(super) async fn debug_chunk(&self, call: Call, request: DebugChunkRequest) -> Result<DebugChunkReply, Status> {
        let datasource = call.view.datasource_by_name(&request.datasource).map_err(|error| status(error.into()))?;
        let datasource = datasource.ok_or_else(|| Status::not_found(format!("there is no datasource {}", request.datasource)))?;
        let group = GroupId::from(DatasourceId(datasource.id));
        let found = if request.chunk.is_empty() {
            self.chunks_of_file(&call, group, &request).await?
        } else {
            self.one_chunk(&call, group, &request.chunk).await?
        };
        let map = self.maps.current();
        let mut chunks = Vec::with_capacity(found.chunks.len());
        for (chunk, record) in &found.chunks {
            chunks.push(self.look_at(&map, *chunk, record).await);
        }
        Ok(DebugChunkReply { subject: found.subject, chunks, more: found.more })
    }

    async fn one_chunk(&self, call: &Call, group: GroupId, text: &str) -> Result<Found, Status> {
        let chunk: ChunkId =
            text.parse().map_err(|_no_id| Status::invalid_argument(format!("`{text}` is no chunk id: 64 hexadecimal digits")))?;
        let query = meta::ChunkQuery { chunk: bytes::Bytes::copy_from_slice(&chunk.0) };
        match self.ask(call, group, meta::query::What::Chunk(query)).await? {
            Some(meta::answer::What::Chunk(record)) => {
                Ok(Found { subject: format!("chunk {chunk}"), chunks: vec![(chunk, record)], more: false })
            }
            _absent => Err(Status::not_found(format!("no content of the datasource has a chunk {chunk}"))),
        }
    }

    async fn chunks_of_file(&self, call: &Call, group: GroupId, request: &DebugChunkRequest) -> Result<Found, Status> {
        let names: Vec<String> = request.path.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let path = meta::EntryPath { base: bytes::Bytes::from_static(&[0; 16]), names };
        let chunks_max = if request.limit == 0 { CHUNKS_DEFAULT } else { request.limit.min(CHUNKS_MAX) };
        let query = meta::ContentQuery { path: Some(path), chunks_max, ..meta::ContentQuery::default() };
        match self.ask(call, group, meta::query::What::Content(query)).await? {
            Some(meta::answer::What::Content(answer)) => {
                let size = answer.version.as_ref().map_or(0, |version| version.size);
                let subject = match answer.is_inlined {
                    true => format!("{}: {size} bytes, inline in the metadata of its datasource's group", request.path),
                    false => format!("{}: {size} bytes", request.path),
                };
                let chunks =
                    answer.chunks.into_iter().filter_map(|placed| Some((ChunkId::try_from(placed.chunk.as_ref()).ok()?, placed.record?)));
                Ok(Found { subject, chunks: chunks.collect(), more: answer.more })
            }
            _absent => Err(Status::not_found(format!("there is no file {} in datasource {}", request.path, request.datasource))),
        }
    }

    async fn ask(&self, call: &Call, group: GroupId, what: meta::query::What) -> Result<Option<meta::answer::What>, Status> {
        let answer = self.metadata.query(group, meta::Query { what: Some(what) }, call.context.deadline()).await;
        Ok(answer.map_err(|error| status(error.into()))?.what)
    }

    async fn look_at(&self, map: &ClusterMap, chunk: ChunkId, record: &meta::ChunkRecord) -> Chunk {
        let write = record.write.as_ref().map(write_id).unwrap_or_default();
        let devices = map.devices_of(&chunk, record);
        let looks = devices.iter().zip(0_u8..).map(|(device, index)| {
            let key = ShardKey { instance: InstanceId { chunk, write }, shard: index };
            self.look_at_shard(map, *device, key, record.missing)
        });
        let shards = futures_util::future::join_all(looks).await;
        Chunk {
            chunk: chunk.to_string(),
            length: record.length,
            write: write.to_string(),
            code: record.code.as_ref().and_then(code).map(|code| code.to_string()).unwrap_or_default(),
            group: map.place(PoolId(record.pool), &chunk).map(|(group, _sets, _pool)| group.to_string()).unwrap_or_default(),
            epoch: record.epoch,
            at_home: record.devices.is_empty(),
            contents: record.contents,
            begun: record.begun,
            condemned_at: record.condemned_at,
            shards,
        }
    }

    async fn look_at_shard(&self, map: &ClusterMap, device: DeviceId, key: ShardKey, missing: u32) -> Shard {
        let asked = timeout(PATIENCE, self.transport.stat(device, key)).await;
        let (found, length) = match asked {
            Ok(Ok(header)) => ("stored".to_owned(), u64::from(header.payload_length)),
            Ok(Err(crate::chunk_rpc::TransportError::NotFound(_))) => ("missing".to_owned(), 0),
            Ok(Err(crate::chunk_rpc::TransportError::Corrupt { why, .. })) => (format!("damaged: {why}"), 0),
            Ok(Err(error)) => (error.to_string(), 0),
            Err(_elapsed) => (format!("no answer within {PATIENCE:?}"), 0),
        };
        let node = map.view.device(device).map(|device| device.node);
        let record = node.and_then(|node| map.nodes.get(&node));
        Shard {
            index: u32::from(key.shard),
            device: device.0,
            node: node.map_or(0, |node| node.0),
            node_name: record.map(|record| record.name.clone()).unwrap_or_default(),
            zone: record.map(|record| record.zone.clone()).unwrap_or_default(),
            found,
            length,
            recorded_missing: missing >> u32::from(key.shard.min(31)) & 1 == 1,
        }
    }
}

/// What the group says.
struct Found {
    subject: String,
    chunks: Vec<(ChunkId, meta::ChunkRecord)>,
    more: bool,
}
