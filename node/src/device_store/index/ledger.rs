//! What the index says of itself: whose it is, up to where it is complete, and what lives in each segment.
//!
//! `m` → format, device, positions; `s` segment → live records and bytes.

use std::collections::BTreeMap;

use skep_placement::ids::{ClusterId, DeviceId, NodeId};

use super::IndexEntry;
use crate::device_store::fields::{Fields, put};
use crate::device_store::identity::DeviceIdentity;
use crate::device_store::record::Location;

/// The key of whose index it is and its positions.
pub(super) const META_KEY: &[u8] = b"m";
/// Below every segment's key.
pub(super) const SEGMENT_START: &[u8] = b"s";
/// Above every segment's key.
pub(super) const SEGMENT_END: &[u8] = b"t";

const VERSION: u16 = 1;

/// Up to where a class's segments are in the index: the end of the last record taken in; `None` before the first.
pub(in crate::device_store) type Position = Option<Location>;

/// What lives in a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::device_store) struct SegmentLive {
    pub(in crate::device_store) records: u64,
    pub(in crate::device_store) bytes: u64,
}

/// What the index says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::device_store) struct Ledger {
    /// Of the large class, of the small class.
    pub(in crate::device_store) positions: [Position; 2],
    pub(in crate::device_store) segments: BTreeMap<u64, SegmentLive>,
    pub(in crate::device_store) total: SegmentLive,
}

impl Ledger {
    pub(super) fn insert(&mut self, entry: &IndexEntry) {
        for live in [self.segments.entry(entry.location.segment).or_default(), &mut self.total] {
            live.records += 1;
            live.bytes += u64::from(entry.header.payload_length);
        }
    }

    pub(super) fn remove(&mut self, entry: &IndexEntry) {
        for live in [self.segments.entry(entry.location.segment).or_default(), &mut self.total] {
            live.records = live.records.saturating_sub(1);
            live.bytes = live.bytes.saturating_sub(u64::from(entry.header.payload_length));
        }
    }

    /// Takes the positions; returns the segments they are in.
    pub(super) fn advance(&mut self, positions: [Position; 2]) -> Vec<u64> {
        self.positions = positions;
        let reached: Vec<u64> = positions.into_iter().flatten().map(|location| location.segment).collect();
        for segment in &reached {
            self.segments.entry(*segment).or_default();
        }
        reached
    }

    pub(super) fn encode_meta(&self, identity: DeviceIdentity) -> Vec<u8> {
        let mut bytes = Vec::new();
        put(&mut bytes, VERSION.to_le_bytes());
        put(&mut bytes, identity.cluster.0);
        put(&mut bytes, identity.node.0.to_le_bytes());
        put(&mut bytes, identity.device.0.to_le_bytes());
        for position in self.positions {
            let location = position.unwrap_or(Location { segment: 0, offset: 0 });
            put(&mut bytes, location.segment.to_le_bytes());
            put(&mut bytes, location.offset.to_le_bytes());
        }
        bytes
    }

    pub(super) fn decode_meta(value: &[u8], identity: DeviceIdentity) -> Option<Self> {
        let mut fields = Fields::new(value);
        let version = fields.u16()?;
        let cluster = ClusterId(fields.take()?);
        let found = DeviceIdentity { cluster, node: NodeId(fields.u64()?), device: DeviceId(fields.u64()?) };
        let mut position = || -> Option<Position> {
            let location = Location { segment: fields.u64()?, offset: fields.u64()? };
            Some((location.segment != 0).then_some(location))
        };
        let positions = [position()?, position()?];
        (version == VERSION && found == identity && fields.is_empty()).then(|| Self { positions, ..Self::default() })
    }

    pub(super) fn encode_segment(&self, segment: u64) -> (Vec<u8>, Vec<u8>) {
        let live = self.segments.get(&segment).copied().unwrap_or_default();
        let mut key = SEGMENT_START.to_vec();
        put(&mut key, segment.to_be_bytes());
        let mut value = Vec::new();
        put(&mut value, live.records.to_le_bytes());
        put(&mut value, live.bytes.to_le_bytes());
        (key, value)
    }

    pub(super) fn load_segment(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let segment = u64::from_be_bytes(key.get(1..)?.try_into().ok()?);
        let mut fields = Fields::new(value);
        let live = SegmentLive { records: fields.u64()?, bytes: fields.u64()? };
        self.segments.insert(segment, live);
        self.total.records += live.records;
        self.total.bytes += live.bytes;
        Some(())
    }
}
