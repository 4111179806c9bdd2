//! What is on disk, frozen byte by byte, one version each.

use super::*;
use crate::device_store::fences::Fences;
use crate::device_store::record::{HEADER_LENGTH, Seed};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn header(kind: RecordKind) -> (RecordHeader, Seed) {
    let header =
        RecordHeader { kind, device: DeviceId(12), shard: shard(0x0301, 70_000).header, table_checksum: 0x0a0b_0c0d, synced: 8192 };
    (header, Seed { salt: 0x1122_3344_5566_7788, location: Location { segment: 4, offset: 12_288 } })
}

#[test]
fn record_header_is_frozen() {
    let (header, seed) = header(RecordKind::Shard);
    let bytes = header.encode(seed);
    assert_eq!(bytes.len(), HEADER_LENGTH);
    assert_eq!(hex(&bytes), RECORD_V1);
    assert_eq!(RecordHeader::decode(&bytes, seed), Some(header));
}

#[test]
fn tombstone_round_trips_and_has_no_payload() {
    let (mut header, seed) = header(RecordKind::Tombstone(Location { segment: 3, offset: 4096 }));
    assert_eq!(RecordHeader::decode(&header.encode(seed), seed), None, "a tombstone with a payload is none");
    header.shard.payload_length = 0;
    assert_eq!(RecordHeader::decode(&header.encode(seed), seed), Some(header));
}

#[test]
fn header_elsewhere_or_changed_is_none() {
    let (header, seed) = header(RecordKind::Shard);
    let bytes = header.encode(seed);
    let elsewhere = [
        Seed { salt: 1, ..seed },
        Seed { location: Location { segment: 5, ..seed.location }, ..seed },
        Seed { location: Location { offset: 16_384, ..seed.location }, ..seed },
    ];
    assert!(elsewhere.iter().all(|seed| RecordHeader::decode(&bytes, *seed).is_none()), "misdirected");
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes;
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(RecordHeader::decode(&changed, seed), None, "bit {bit}");
    }
}

#[test]
fn segment_header_is_frozen() {
    let DeviceIdentity { cluster, node, device } = identity();
    let header = SegmentHeader { class: SegmentClass::Small, number: 9, cluster, node, device, salt: 0x0102_0304_0506_0708 };
    let bytes = header.encode();
    assert_eq!(hex(&bytes), SEGMENT_V1);
    assert_eq!(SegmentHeader::decode(&bytes), Some(header));
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(SegmentHeader::decode(&changed), None, "bit {bit}");
    }
}

#[test]
fn fences_are_frozen() {
    let mut fences = Fences::new(DeviceId(12));
    assert_eq!(fences.raise(pg(2), Epoch(11)), (Epoch(11), true));
    assert_eq!(fences.raise(pg(2), Epoch(10)), (Epoch(11), false));
    let bytes = fences.encode();
    assert_eq!(hex(&bytes), FENCES_V1);
    assert_eq!(Fences::decode(&bytes, DeviceId(12)), Some(fences));
    assert_eq!(Fences::decode(&bytes, DeviceId(13)), None, "another device's");
    assert!((0..bytes.len()).all(|length| Fences::decode(&bytes[..length], DeviceId(12)).is_none()), "cut");
}

const RECORD_V1: &str = concat!(
    "534b7368010001010c0000000000000005000000000000000101010101010101010101010101010101010101010101010101",
    "01010101010101000000000000000200000000000000010300000000000041450f000000000003000000000000000a000000",
    "000000000100000001020100e022020070110100090000000d0c0b0a00200000000000000000000000000000000000000000",
    "00000000000056eabb47"
);
const SEGMENT_V1: &str = concat!(
    "534b45505345470a01000200000000000707070707070707070707070707070701000000000000000c000000000000000900",
    "00000000000008070605040302014d8ed25a"
);
const FENCES_V1: &str = "534b4550464e430a01000c000000000000000300000000000000020000000b000000000000003f038925";
