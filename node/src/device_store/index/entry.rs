//! Keys and values of the index.
//!
//! `p` chunk, node, boot, counter, shard → everything known of the shard; `g` pool, group, then the same → nothing.
//! Numbers in keys are big-endian, so that keys sort as their fields do.

use skep_placement::ids::{BootNumber, ChunkId, DatasourceId, Epoch, InstanceId, NodeId, PgId, PoolId, Stamp, WriteId};
use skep_placement::profile::Code;

use crate::device_store::fields::{Fields, put};
use crate::device_store::record::Location;
use crate::device_store::shard::{ShardHeader, ShardKey};

const SHARD: u8 = b'p';
const GROUP: u8 = b'g';
const VERSION: u8 = 1;
const NAME_LENGTH: usize = 57;

/// A shard and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::device_store) struct IndexEntry {
    pub(in crate::device_store) header: ShardHeader,
    pub(in crate::device_store) location: Location,
    /// CRC32C of its checksum table.
    pub(in crate::device_store) table_checksum: u32,
}

fn put_name(bytes: &mut Vec<u8>, key: ShardKey) {
    put(bytes, key.instance.chunk.0);
    put(bytes, key.instance.write.node.0.to_be_bytes());
    put(bytes, key.instance.write.boot.0.to_be_bytes());
    put(bytes, key.instance.write.counter.to_be_bytes());
    put(bytes, [key.shard]);
}

fn decode_name(name: &[u8]) -> Option<ShardKey> {
    let name: &[u8; NAME_LENGTH] = name.try_into().ok()?;
    let mut fields = Fields::new(name);
    let chunk = ChunkId(fields.take()?);
    let mut number = || fields.take().map(u64::from_be_bytes);
    let write = WriteId { node: NodeId(number()?), boot: BootNumber(number()?), counter: number()? };
    Some(ShardKey { instance: InstanceId { chunk, write }, shard: fields.u8()? })
}

pub(super) fn shard_key(key: ShardKey) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + NAME_LENGTH);
    put(&mut bytes, [SHARD]);
    put_name(&mut bytes, key);
    bytes
}

/// From the first to beyond the last possible key of a chunk.
pub(super) fn chunk_range(chunk: ChunkId) -> (Vec<u8>, Vec<u8>) {
    let mut from = vec![SHARD];
    put(&mut from, chunk.0);
    let mut to = from.clone();
    put(&mut to, [0xff; NAME_LENGTH - 32 + 1]);
    (from, to)
}

pub(super) fn group_start(pg: PgId) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(13 + NAME_LENGTH);
    put(&mut bytes, [GROUP]);
    put(&mut bytes, pg.pool.0.to_be_bytes());
    put(&mut bytes, pg.index.to_be_bytes());
    bytes
}

pub(super) fn group_end(pg: PgId) -> Vec<u8> {
    let mut bytes = group_start(pg);
    put(&mut bytes, [0xff; NAME_LENGTH + 1]);
    bytes
}

pub(super) fn group_key(pg: PgId, key: ShardKey) -> Vec<u8> {
    let mut bytes = group_start(pg);
    put_name(&mut bytes, key);
    bytes
}

pub(super) fn decode_group_key(key: &[u8]) -> Option<ShardKey> {
    decode_name(key.get(13..)?)
}

pub(super) fn decode_pair(key: &[u8], value: &[u8]) -> Option<ShardHeader> {
    let name = decode_name(key.get(1..)?)?;
    Some(IndexEntry::decode(name, value)?.header)
}

impl IndexEntry {
    pub(super) fn encode(&self) -> Vec<u8> {
        let ShardHeader { datasource, code, began, pg, epoch, plaintext_length, payload_length, key_version, .. } = self.header;
        let mut bytes = Vec::with_capacity(72);
        put(&mut bytes, [VERSION, code.data(), code.parity(), u8::from(key_version.is_some())]);
        put(&mut bytes, key_version.unwrap_or(0).to_le_bytes());
        put(&mut bytes, self.location.segment.to_le_bytes());
        put(&mut bytes, self.location.offset.to_le_bytes());
        put(&mut bytes, self.table_checksum.to_le_bytes());
        put(&mut bytes, datasource.0.to_le_bytes());
        put(&mut bytes, began.0.to_le_bytes());
        put(&mut bytes, pg.pool.0.to_le_bytes());
        put(&mut bytes, pg.index.to_le_bytes());
        put(&mut bytes, epoch.0.to_le_bytes());
        put(&mut bytes, plaintext_length.to_le_bytes());
        put(&mut bytes, payload_length.to_le_bytes());
        bytes
    }

    pub(super) fn decode(key: ShardKey, value: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(value);
        let [version, data, parity, encrypted] = fields.take()?;
        if version != VERSION {
            return None;
        }
        let key_version = fields.u32()?;
        let location = Location { segment: fields.u64()?, offset: fields.u64()? };
        let table_checksum = fields.u32()?;
        let header = ShardHeader {
            datasource: DatasourceId(fields.u64()?),
            instance: key.instance,
            shard: key.shard,
            code: Code::new(data, parity).ok()?,
            began: Stamp(fields.u64()?),
            pg: PgId { pool: PoolId(fields.u64()?), index: fields.u32()? },
            epoch: Epoch(fields.u64()?),
            plaintext_length: fields.u32()?,
            payload_length: fields.u32()?,
            key_version: (encrypted != 0).then_some(key_version),
        };
        fields.is_empty().then_some(Self { header, location, table_checksum })
    }
}
