//! The header of a segment: whose it is, its salt, the number of its first batch, and how every group stood before that batch.
//!
//! The first 20 bytes are alike in every version: magic, version, length, CRC32C of all else. So a version that is not known and a header
//! that is damaged are told apart.

use std::collections::BTreeMap;

use bytes::BufMut;
use skep_placement::ids::{ClusterId, GroupId, NodeId, RaftId};

use super::error::LogError;
use super::limits;
use super::record::{GroupKey, LogPosition, StoredVote, put_key, put_position, put_vote, take_position, take_vote};
use crate::format::fields::{Fields, FormatError};

/// The version written.
pub(crate) const VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"skep-log";
const CHECKSUM_AT: usize = 16;
/// Bytes that are alike in every version.
const FIXED_BYTES: usize = 20;

const HAS_VOTE: u8 = 1;
const HAS_PURGED: u8 = 2;
const HAS_COMMITTED: u8 = 4;

/// What is known of a group beside its entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Points {
    pub(crate) vote: Option<StoredVote>,
    pub(crate) purged: Option<LogPosition>,
    pub(crate) committed: Option<LogPosition>,
}

/// The content of a segment's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) cluster: ClusterId,
    pub(crate) node: NodeId,
    /// The segment's number, as in its name.
    pub(crate) segment: u64,
    /// The number of its first batch.
    pub(crate) first: u64,
    pub(crate) salt: u32,
    /// Batches start on multiples of this.
    pub(crate) sector: u32,
    /// As before the first batch.
    pub(crate) points: BTreeMap<GroupKey, Points>,
}

impl Header {
    /// Encodes it, padded to the sector on which the first batch starts.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut rest = Vec::new();
        rest.put_u32_le(self.salt);
        rest.put_u32_le(self.sector);
        rest.put_slice(&self.cluster.0);
        rest.put_u64_le(self.node.0);
        rest.put_u64_le(self.segment);
        rest.put_u64_le(self.first);
        rest.put_u32_le(u32::try_from(self.points.len()).expect("a node has few groups"));
        for (key, points) in &self.points {
            put_key(&mut rest, *key);
            put_points(&mut rest, points);
        }
        let mut bytes = Vec::new();
        bytes.put_slice(MAGIC);
        bytes.put_u32_le(VERSION);
        bytes.put_u32_le(u32::try_from(FIXED_BYTES + rest.len()).expect("a header is small"));
        bytes.put_u32_le(crc32c::crc32c_append(crc32c::crc32c(&bytes), &rest));
        bytes.append(&mut rest);
        let sector = usize::try_from(self.sector).expect("a sector fits into memory");
        bytes.resize(bytes.len().next_multiple_of(sector), 0);
        bytes
    }

    /// Bytes it takes in the file, up to the sector on which the first batch starts.
    pub(crate) fn stored_bytes(&self) -> u64 {
        u64::try_from(self.encode().len()).expect("a length fits into 64 bits")
    }

    /// Decodes the header of a file; returns it with the offset of the first batch.
    ///
    /// # Errors
    /// It is damaged, or of a version not known.
    pub(crate) fn decode(file: &str, bytes: &[u8]) -> Result<(Self, u64), LogError> {
        let damaged = |error: FormatError| LogError::damaged(file, 0, format!("the header of the segment is bad: {error}"));
        let mut fields = Fields::new(bytes);
        let fixed = fields.take(FIXED_BYTES).map_err(damaged)?;
        let mut fixed_fields = Fields::new(fixed);
        if fixed_fields.array::<8>().map_err(damaged)? != *MAGIC {
            return Err(damaged(FormatError { problem: "it does not begin as a segment does" }));
        }
        let version = fixed_fields.u32().map_err(damaged)?;
        let length = usize::try_from(fixed_fields.u32().map_err(damaged)?).unwrap_or(usize::MAX);
        let rest = fields.take(length.saturating_sub(FIXED_BYTES)).map_err(damaged)?;
        if crc32c::crc32c_append(crc32c::crc32c(&fixed[..CHECKSUM_AT]), rest) != fixed_fields.u32().map_err(damaged)? {
            return Err(damaged(FormatError { problem: "its checksum is wrong" }));
        }
        if version != VERSION {
            return Err(LogError::UnknownVersion { file: file.to_owned(), found: version, known: VERSION });
        }
        let header = Self::decode_rest(rest).map_err(damaged)?;
        let start = u64::try_from(length).expect("a length fits into 64 bits").next_multiple_of(u64::from(header.sector));
        Ok((header, start))
    }

    fn decode_rest(rest: &[u8]) -> Result<Self, FormatError> {
        let mut fields = Fields::new(rest);
        let salt = fields.u32()?;
        let sector = fields.u32()?;
        if !sector.is_power_of_two() || !limits::SECTOR_BYTES.contains(&sector) {
            return Err(FormatError { problem: "it names a sector size that no device has" });
        }
        let cluster = ClusterId(fields.array()?);
        let node = NodeId(fields.u64()?);
        let segment = fields.u64()?;
        let first = fields.u64()?;
        let mut points = BTreeMap::new();
        for _ in 0..fields.count(17)? {
            let key = GroupKey { group: GroupId(fields.u64()?), raft: RaftId(fields.u64()?) };
            points.insert(key, take_points(&mut fields)?);
        }
        fields.finish()?;
        Ok(Self { cluster, node, segment, first, salt, sector, points })
    }
}

fn put_points(bytes: &mut Vec<u8>, points: &Points) {
    let bit = |present: bool, bit: u8| if present { bit } else { 0 };
    let present =
        bit(points.vote.is_some(), HAS_VOTE) | bit(points.purged.is_some(), HAS_PURGED) | bit(points.committed.is_some(), HAS_COMMITTED);
    bytes.put_u8(present);
    if let Some(vote) = points.vote {
        put_vote(bytes, vote);
    }
    if let Some(position) = points.purged {
        put_position(bytes, position);
    }
    if let Some(position) = points.committed {
        put_position(bytes, position);
    }
}

fn take_points(fields: &mut Fields<'_>) -> Result<Points, FormatError> {
    let present = fields.u8()?;
    if present & !(HAS_VOTE | HAS_PURGED | HAS_COMMITTED) != 0 {
        return Err(FormatError { problem: "it says of a group what this program does not know" });
    }
    let vote = if present & HAS_VOTE == 0 { None } else { Some(take_vote(fields)?) };
    let purged = if present & HAS_PURGED == 0 { None } else { Some(take_position(fields)?) };
    let committed = if present & HAS_COMMITTED == 0 { None } else { Some(take_position(fields)?) };
    Ok(Points { vote, purged, committed })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        let key = GroupKey { group: GroupId(1), raft: RaftId(2) };
        let vote = Some(StoredVote { term: 3, leader: 4, committed: true });
        let purged = Some(LogPosition { term: 5, leader: 6, index: 7 });
        let committed = Some(LogPosition { term: 8, leader: 9, index: 10 });
        Header {
            cluster: ClusterId([0xAB; 16]),
            node: NodeId(11),
            segment: 12,
            first: 13,
            salt: 0x0102_0304,
            sector: 512,
            points: BTreeMap::from([(key, Points { vote, purged, committed })]),
        }
    }

    #[test]
    fn version_1_is_frozen() {
        let bytes = header().encode();
        let hex: String = bytes[..154].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, include_str!("testdata/header_v1.hex").trim(), "the bytes of a header");
        assert!(bytes.len() == 512 && bytes[154..].iter().all(|byte| *byte == 0), "zeros up to the sector");
        assert_eq!(Header::decode("f", &bytes).expect("it is whole"), (header(), 512), "it is read back");
    }

    #[test]
    fn every_damaged_byte_is_noticed() {
        let bytes = header().encode();
        for at in 0..154 {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert!(matches!(Header::decode("f", &damaged), Err(LogError::Damaged { .. })), "byte {at}, bit {bit}");
            }
        }
        for length in 0..154 {
            assert!(Header::decode("f", &bytes[..length]).is_err(), "cut to {length}");
        }
    }
}
