//! Between wire messages and what they say of shards; what a peer sent is checked here.

use skep_placement::ids::{BootNumber, ChunkId, DatasourceId, Epoch, InstanceId, NodeId, PgId, PoolId, Stamp, WriteId};
use skep_placement::profile::Code;

use crate::shard::{ShardHeader, ShardKey};
use crate::wire;

/// A message that names no shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message is malformed: {0}")]
pub struct Malformed(pub &'static str);

impl From<Malformed> for wire::Reply {
    fn from(malformed: Malformed) -> Self {
        wire::Reply { status: wire::Status::Invalid.into(), detail: malformed.to_string(), ..wire::Reply::default() }
    }
}

/// The name of a shard as a message.
pub fn name_to_wire(key: ShardKey) -> wire::ShardName {
    let ShardKey { instance: InstanceId { chunk, write }, shard } = key;
    wire::ShardName {
        chunk: chunk.0.to_vec().into(),
        write_node: write.node.0,
        write_boot: write.boot.0,
        write_counter: write.counter,
        index: u32::from(shard),
    }
}

/// The name of a shard from a message.
///
/// # Errors
/// [`Malformed`] for a chunk id of a wrong length, an index over 255, or no name.
pub fn name_from_wire(name: Option<wire::ShardName>) -> Result<ShardKey, Malformed> {
    let name = name.ok_or(Malformed("it names no shard"))?;
    let write = WriteId { node: NodeId(name.write_node), boot: BootNumber(name.write_boot), counter: name.write_counter };
    Ok(ShardKey { instance: InstanceId { chunk: chunk_from_wire(&name.chunk)?, write }, shard: index(name.index)? })
}

/// A chunk id from a message.
///
/// # Errors
/// [`Malformed`] for a wrong length.
pub fn chunk_from_wire(bytes: &[u8]) -> Result<ChunkId, Malformed> {
    ChunkId::try_from(bytes).map_err(|_wrong_length| Malformed("its chunk id is not 32 bytes long"))
}

/// What is stored of a shard, as a message.
pub fn header_to_wire(header: &ShardHeader) -> wire::Shard {
    let write = header.instance.write;
    wire::Shard {
        datasource: header.datasource.0,
        chunk: header.instance.chunk.0.to_vec().into(),
        write_node: write.node.0,
        write_boot: write.boot.0,
        write_counter: write.counter,
        index: u32::from(header.shard),
        code_data: u32::from(header.code.data()),
        code_parity: u32::from(header.code.parity()),
        begun: header.began.0,
        pool: header.pg.pool.0,
        pg: header.pg.index,
        epoch: header.epoch.0,
        plaintext_length: header.plaintext_length,
        payload_length: header.payload_length,
        key_version: header.key_version.unwrap_or(0),
    }
}

/// What is stored of a shard, from a message.
///
/// # Errors
/// [`Malformed`] for anything that is no shard's header.
pub fn header_from_wire(shard: Option<wire::Shard>) -> Result<ShardHeader, Malformed> {
    let shard = shard.ok_or(Malformed("it has no shard header"))?;
    let part = |number: u32| u8::try_from(number).map_err(|_large| Malformed("its code is not one"));
    let code = Code::new(part(shard.code_data)?, part(shard.code_parity)?).map_err(|_invalid| Malformed("its code is not one"))?;
    let write = WriteId { node: NodeId(shard.write_node), boot: BootNumber(shard.write_boot), counter: shard.write_counter };
    let header = ShardHeader {
        datasource: DatasourceId(shard.datasource),
        instance: InstanceId { chunk: chunk_from_wire(&shard.chunk)?, write },
        shard: index(shard.index)?,
        code,
        began: Stamp(shard.begun),
        pg: PgId { pool: PoolId(shard.pool), index: shard.pg },
        epoch: Epoch(shard.epoch),
        plaintext_length: shard.plaintext_length,
        payload_length: shard.payload_length,
        key_version: (shard.key_version != 0).then_some(shard.key_version),
    };
    match header.fault() {
        None => Ok(header),
        Some(_fault) => Err(Malformed("its shard header contradicts itself")),
    }
}

fn index(number: u32) -> Result<u8, Malformed> {
    u8::try_from(number).map_err(|_large| Malformed("its shard index is over 255"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_names_round_trip() {
        let write = WriteId { node: NodeId(1), boot: BootNumber(2), counter: 3 };
        let header = ShardHeader {
            datasource: DatasourceId(4),
            instance: InstanceId { chunk: ChunkId([5; 32]), write },
            shard: 2,
            code: Code::new(2, 1).unwrap(),
            began: Stamp(6),
            pg: PgId { pool: PoolId(7), index: 8 },
            epoch: Epoch(9),
            plaintext_length: 200_000,
            payload_length: 100_000,
            key_version: None,
        };
        assert_eq!(header_from_wire(Some(header_to_wire(&header))), Ok(header));
        assert_eq!(name_from_wire(Some(name_to_wire(header.key()))), Ok(header.key()));
        let wrong = wire::Shard { index: 3, ..header_to_wire(&header) };
        assert!(header_from_wire(Some(wrong)).is_err());
        assert!(header_from_wire(None).is_err());
    }
}
