//! A batch: the records of one fdatasync, with length, number and a checksum seeded with its file's salt.
//!
//! It starts on a sector and is padded with zeros to the next. One that holds a vote is written twice; each copy says which it is. The checksum
//! covers the head and the records, not the padding.

use bytes::BufMut;

use super::record::{GroupKey, Record, take_record};
use crate::format::fields::{Fields, FormatError};

/// The first bytes of every batch.
const MAGIC: &[u8; 4] = b"SKBA";

/// Bytes of a batch before its records: magic, length, number, copy, three zeros, checksum.
pub(crate) const HEAD_BYTES: usize = 24;

/// Which writing of its batch this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BatchCopy {
    Only = 0,
    First = 1,
    Second = 2,
}

/// The records of a batch, encoded, before it has a number and a place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BatchBody {
    pub(crate) records: Vec<u8>,
    /// Written twice, because it holds a vote.
    pub(crate) twice: bool,
}

impl BatchBody {
    /// Appends a record; returns where it starts, counted from the start of the batch.
    pub(crate) fn push(&mut self, key: GroupKey, record: &Record) -> usize {
        let start = HEAD_BYTES + self.records.len();
        record.encode(key, &mut self.records);
        self.twice |= matches!(record, Record::Vote(_));
        start
    }

    /// How many bytes it takes in a file.
    pub(crate) fn stored_bytes(&self, sector: u32) -> u64 {
        padded_bytes(self.records.len(), sector) * if self.twice { 2 } else { 1 }
    }

    /// Encodes it as it is written: one copy or two, each padded.
    pub(crate) fn frame(&self, number: u64, salt: u32, sector: u32) -> Vec<u8> {
        let copies: &[BatchCopy] = if self.twice { &[BatchCopy::First, BatchCopy::Second] } else { &[BatchCopy::Only] };
        let padded = usize::try_from(padded_bytes(self.records.len(), sector)).expect("a batch fits into memory");
        let mut bytes = Vec::with_capacity(padded * copies.len());
        for (place, copy) in copies.iter().enumerate() {
            let start = bytes.len();
            bytes.put_slice(MAGIC);
            bytes.put_u32_le(u32::try_from(self.records.len()).expect("a batch is at most a few MiB"));
            bytes.put_u64_le(number);
            bytes.put_slice(&[*copy as u8, 0, 0, 0]);
            let checksum = checksum(salt, &bytes[start..], &self.records);
            bytes.put_u32_le(checksum);
            bytes.put_slice(&self.records);
            bytes.resize(padded * (place + 1), 0);
        }
        bytes
    }

    /// Decodes its records, each with its start (counted from the start of the batch) and its length.
    pub(crate) fn decode(&self) -> Result<Vec<PlacedRecord>, FormatError> {
        let mut fields = Fields::new(&self.records);
        let mut placed = Vec::new();
        while fields.left() > 0 {
            let start = self.records.len() - fields.left();
            let (key, record) = take_record(&mut fields)?;
            let length = self.records.len() - fields.left() - start;
            placed.push(PlacedRecord { key, record, start: HEAD_BYTES + start, length });
        }
        Ok(placed)
    }
}

/// A record and where it lies in its batch, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlacedRecord {
    pub(crate) key: GroupKey,
    pub(crate) record: Record,
    pub(crate) start: usize,
    pub(crate) length: usize,
}

/// A batch whose checksum is right.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FoundBatch<'a> {
    pub(crate) number: u64,
    pub(crate) copy: BatchCopy,
    pub(crate) records: &'a [u8],
}

impl FoundBatch<'_> {
    /// Bytes of this copy with its padding.
    pub(crate) fn padded_bytes(&self, sector: u32) -> u64 {
        padded_bytes(self.records.len(), sector)
    }

    /// Copies it out.
    pub(crate) fn to_body(self) -> BatchBody {
        BatchBody { records: self.records.to_vec(), twice: self.copy != BatchCopy::Only }
    }
}

/// Looks whether a valid batch starts where `bytes` does.
pub(crate) fn find_batch(bytes: &[u8], salt: u32) -> Option<FoundBatch<'_>> {
    let mut fields = Fields::new(bytes);
    let head = fields.take(HEAD_BYTES).ok()?;
    let mut head_fields = Fields::new(head);
    if head_fields.take(4).ok()? != MAGIC {
        return None;
    }
    let length = usize::try_from(head_fields.u32().ok()?).ok()?;
    let number = head_fields.u64().ok()?;
    let copy = match head_fields.array::<4>().ok()? {
        [0, 0, 0, 0] => BatchCopy::Only,
        [1, 0, 0, 0] => BatchCopy::First,
        [2, 0, 0, 0] => BatchCopy::Second,
        _ => return None,
    };
    let stored = head_fields.u32().ok()?;
    let records = fields.take(length).ok()?;
    (checksum(salt, &head[..HEAD_BYTES - 4], records) == stored).then_some(FoundBatch { number, copy, records })
}

fn checksum(salt: u32, head: &[u8], records: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(salt, head), records)
}

/// Bytes that a batch with so many bytes of records takes, up to the next sector.
fn padded_bytes(records: usize, sector: u32) -> u64 {
    let length = u64::try_from(HEAD_BYTES + records).expect("a length fits into 64 bits");
    length.next_multiple_of(u64::from(sector))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use skep_placement::ids::{GroupId, RaftId};

    use super::super::record::{LogEntry, LogPosition, StoredVote};
    use super::*;

    const SALT: u32 = 0x0102_0304;

    fn body() -> BatchBody {
        let key = GroupKey { group: GroupId(1), raft: RaftId(2) };
        let position = LogPosition { term: 3, leader: 4, index: 5 };
        let mut body = BatchBody::default();
        for record in [
            Record::Vote(StoredVote { term: 6, leader: 7, committed: true }),
            Record::Entry(LogEntry { position, payload: Bytes::from_static(b"abc") }),
            Record::Truncate { from: 8 },
            Record::Purge(position),
            Record::Committed(position),
            Record::Removed,
        ] {
            body.push(key, &record);
        }
        body
    }

    #[test]
    fn version_1_is_frozen() {
        let frame = body().frame(9, SALT, 512);
        let hex: String = frame[..HEAD_BYTES + body().records.len()].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, include_str!("testdata/batch_v1.hex").trim(), "the bytes of a batch with every kind of record");
        assert_eq!(frame.len(), 1024, "two copies, each on a sector, because it holds a vote");
    }

    #[test]
    fn what_is_framed_is_found_and_decoded() {
        let frame = body().frame(9, SALT, 512);
        for (at, copy) in [(0, BatchCopy::First), (512, BatchCopy::Second)] {
            let found = find_batch(&frame[at..], SALT).expect("it is whole");
            assert_eq!((found.number, found.copy, found.to_body()), (9, copy, body()), "the copy at {at}");
        }
        let placed = body().decode().expect("it is whole");
        assert_eq!(placed.len(), 6, "every record");
        for placed in &placed {
            let bytes = &frame[placed.start..placed.start + placed.length];
            let again = take_record(&mut Fields::new(bytes)).expect("a record can be read alone");
            assert_eq!(again, (placed.key, placed.record.clone()), "where it lies");
        }
        assert!(find_batch(&frame, SALT + 1).is_none(), "another file's salt");
    }

    #[test]
    fn every_damaged_byte_is_noticed() {
        let frame = body().frame(9, SALT, 512);
        for at in 0..HEAD_BYTES + body().records.len() {
            let mut damaged = frame.clone();
            damaged[at] ^= 0x10;
            assert!(find_batch(&damaged, SALT).is_none(), "byte {at}");
        }
    }
}
