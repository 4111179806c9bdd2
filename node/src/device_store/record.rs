//! The header of a record in a segment: 160 bytes, little-endian, version 1.
//!
//! A record is its header, a table with one CRC32C for each 64 KiB block of the payload, and the payload. The header's own
//! CRC32C is seeded with the segment's salt and number and the record's offset: a header that was misdirected, is left
//! from another file, or was put into a payload by a user passes for nothing.
//!
//! `synced` says: when this record was written, every byte of the segment before that offset was durable. Recovery
//! verifies payloads only from the highest such mark on.

use skep_placement::ids::{BootNumber, ChunkId, DatasourceId, DeviceId, Epoch, InstanceId, NodeId, PgId, PoolId, Stamp, WriteId};
use skep_placement::profile::Code;

use super::fields::{Fields, put};
use super::limits::{LARGE_ALIGNMENT, SMALL_ALIGNMENT};
use super::segment::SegmentClass;
use super::shard::ShardHeader;

/// Length of the header in bytes.
pub(super) const HEADER_LENGTH: usize = 160;
/// The first bytes of every record.
pub(super) const MAGIC: [u8; 4] = *b"SKsh";

const VERSION: u16 = 1;
const CRC_AT: usize = HEADER_LENGTH - 4;
const KIND_SHARD: u8 = 1;
const KIND_TOMBSTONE: u8 = 2;
const FLAG_ENCRYPTED: u8 = 1;

/// Where a record begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// Number of the segment.
    pub segment: u64,
    /// Offset in the file, in bytes.
    pub offset: u64,
}

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// Here is a shard.
    Shard,
    /// The record at that place is deleted.
    Tombstone(Location),
}

/// The header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// What the record says.
    pub kind: RecordKind,
    /// The device it was written on.
    pub device: DeviceId,
    /// The shard it is about; a tombstone has lengths of 0.
    pub shard: ShardHeader,
    /// CRC32C of the checksum table.
    pub table_checksum: u32,
    /// Every byte of the segment before this offset was durable when the record was written.
    pub synced: u64,
}

/// Where a header's checksum is seeded from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seed {
    pub(super) salt: u64,
    pub(super) location: Location,
}

impl Seed {
    fn checksum(self, bytes: &[u8]) -> u32 {
        let mut seed = [0; 24];
        seed[0..8].copy_from_slice(&self.salt.to_le_bytes());
        seed[8..16].copy_from_slice(&self.location.segment.to_le_bytes());
        seed[16..24].copy_from_slice(&self.location.offset.to_le_bytes());
        crc32c::crc32c_append(crc32c::crc32c(&seed), bytes)
    }
}

impl RecordHeader {
    pub(super) fn encode(&self, seed: Seed) -> [u8; HEADER_LENGTH] {
        let (kind, target) = match self.kind {
            RecordKind::Shard => (KIND_SHARD, Location { segment: 0, offset: 0 }),
            RecordKind::Tombstone(target) => (KIND_TOMBSTONE, target),
        };
        let ShardHeader { instance, code, pg, .. } = self.shard;
        let mut bytes = Vec::with_capacity(HEADER_LENGTH);
        put(&mut bytes, MAGIC);
        put(&mut bytes, VERSION.to_le_bytes());
        put(&mut bytes, [kind, if self.shard.key_version.is_some() { FLAG_ENCRYPTED } else { 0 }]);
        put(&mut bytes, self.device.0.to_le_bytes());
        put(&mut bytes, self.shard.datasource.0.to_le_bytes());
        put(&mut bytes, instance.chunk.0);
        put(&mut bytes, instance.write.node.0.to_le_bytes());
        put(&mut bytes, instance.write.boot.0.to_le_bytes());
        put(&mut bytes, instance.write.counter.to_le_bytes());
        put(&mut bytes, self.shard.began.0.to_le_bytes());
        put(&mut bytes, pg.pool.0.to_le_bytes());
        put(&mut bytes, self.shard.epoch.0.to_le_bytes());
        put(&mut bytes, pg.index.to_le_bytes());
        put(&mut bytes, [self.shard.shard, code.data(), code.parity(), 0]);
        put(&mut bytes, self.shard.plaintext_length.to_le_bytes());
        put(&mut bytes, self.shard.payload_length.to_le_bytes());
        put(&mut bytes, self.shard.key_version.unwrap_or(0).to_le_bytes());
        put(&mut bytes, self.table_checksum.to_le_bytes());
        put(&mut bytes, self.synced.to_le_bytes());
        put(&mut bytes, target.segment.to_le_bytes());
        put(&mut bytes, target.offset.to_le_bytes());
        put(&mut bytes, [0; 4]);
        let checksum = seed.checksum(&bytes);
        put(&mut bytes, checksum.to_le_bytes());
        bytes.try_into().expect("the fields above are 160 bytes")
    }

    /// Reads a header; `None` if the bytes are none, or one of a version this build doesn't know.
    pub(super) fn decode(bytes: &[u8], seed: Seed) -> Option<RecordHeader> {
        let bytes = bytes.get(..HEADER_LENGTH)?;
        if bytes[..4] != MAGIC || seed.checksum(&bytes[..CRC_AT]).to_le_bytes() != bytes[CRC_AT..] {
            return None;
        }
        let mut fields = Fields::new(&bytes[4..CRC_AT]);
        if fields.u16()? != VERSION {
            return None;
        }
        let [kind, flags] = fields.take()?;
        let device = DeviceId(fields.u64()?);
        let datasource = DatasourceId(fields.u64()?);
        let chunk = ChunkId(fields.take()?);
        let write = WriteId { node: NodeId(fields.u64()?), boot: BootNumber(fields.u64()?), counter: fields.u64()? };
        let began = Stamp(fields.u64()?);
        let pool = PoolId(fields.u64()?);
        let epoch = Epoch(fields.u64()?);
        let pg = PgId { pool, index: fields.u32()? };
        let [shard, data, parity, _reserved] = fields.take()?;
        let plaintext_length = fields.u32()?;
        let payload_length = fields.u32()?;
        let key_version = fields.u32()?;
        let table_checksum = fields.u32()?;
        let synced = fields.u64()?;
        let target = Location { segment: fields.u64()?, offset: fields.u64()? };
        let shard = ShardHeader {
            datasource,
            instance: InstanceId { chunk, write },
            shard,
            code: Code::new(data, parity).ok()?,
            began,
            pg,
            epoch,
            plaintext_length,
            payload_length,
            key_version: (flags & FLAG_ENCRYPTED != 0).then_some(key_version),
        };
        let kind = match kind {
            KIND_SHARD if shard.fault().is_none() => RecordKind::Shard,
            KIND_TOMBSTONE if payload_length == 0 => RecordKind::Tombstone(target),
            _ => return None,
        };
        Some(RecordHeader { kind, device, shard, table_checksum, synced })
    }

    /// Length of the checksum table in bytes.
    pub(super) fn table_length(&self) -> usize {
        4 * self.shard.blocks() as usize
    }

    /// Where the payload begins, counted from the record's first byte.
    pub(super) fn payload_at(&self, class: SegmentClass) -> u64 {
        let front = (HEADER_LENGTH + self.table_length()) as u64;
        match class {
            SegmentClass::Large => front.next_multiple_of(LARGE_ALIGNMENT),
            SegmentClass::Small => front,
        }
    }

    /// Length of the whole record; the next one begins there.
    pub(super) fn length(&self, class: SegmentClass) -> u64 {
        (self.payload_at(class) + u64::from(self.shard.payload_length)).next_multiple_of(class.alignment())
    }
}

impl SegmentClass {
    /// What the offsets of records are multiples of.
    pub(super) fn alignment(self) -> u64 {
        match self {
            SegmentClass::Large => LARGE_ALIGNMENT,
            SegmentClass::Small => SMALL_ALIGNMENT,
        }
    }
}

/// The checksum table as it is stored.
pub(super) fn encode_table(checksums: &[u32]) -> Vec<u8> {
    checksums.iter().flat_map(|checksum| checksum.to_le_bytes()).collect()
}

/// The checksums of a stored table.
pub(super) fn decode_table(table: &[u8]) -> Vec<u32> {
    let words = table.chunks_exact(4);
    words.map(|word| u32::from_le_bytes(word.try_into().expect("chunks of four bytes"))).collect()
}
