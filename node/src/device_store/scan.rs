//! Walks the records of a segment from an offset on.
//!
//! A record counts if its header and table are right and its payload lies within the file; payloads are not read here.
//! Behind something bad the next record is searched at every place one may begin. What can't be read is taken for zeros
//! and remembered.

use super::limits::PAYLOAD_BYTES_MAX;
use super::record::{HEADER_LENGTH, MAGIC, RecordHeader};
use super::segment::{Segment, SegmentClass};

const FRONT_MAX: usize = HEADER_LENGTH + 4 * (PAYLOAD_BYTES_MAX as usize).div_ceil(64 * 1024);
const SEARCH_BYTES: usize = 1 << 20;
const PIECE_BYTES: usize = 4096;

/// What stands at a place of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScanItem {
    /// A record; the next one may begin at `end`.
    Record { offset: u64, header: RecordHeader, end: u64 },
    /// Bytes that are no record, although a record follows.
    Bad { offset: u64 },
}

/// What stands behind the last record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ScanTail {
    /// Bytes other than zero.
    pub(super) garbage: bool,
    /// Bytes that couldn't be read, anywhere in what was scanned.
    pub(super) unreadable: bool,
}

/// Iterates over a segment's records.
#[derive(Debug)]
pub(super) struct SegmentScan<'a> {
    segment: &'a Segment,
    at: u64,
    length: u64,
    found: Option<ScanItem>,
    window: Vec<u8>,
    window_at: u64,
    tail: ScanTail,
}

impl<'a> SegmentScan<'a> {
    /// Begins at an offset where a record may begin; `length` is the file's.
    pub(super) fn new(segment: &'a Segment, from: u64, length: u64) -> Self {
        Self { segment, at: from, length, found: None, window: Vec::new(), window_at: 0, tail: ScanTail::default() }
    }

    /// What stands behind the last record; true once the iteration has ended.
    pub(super) fn tail(&self) -> ScanTail {
        self.tail
    }

    fn record_at(&mut self, offset: u64) -> Option<ScanItem> {
        let class = self.segment.header.class;
        let seed = self.segment.seed(offset);
        let front = self.front(offset);
        let header = RecordHeader::decode(front, seed)?;
        let table = front.get(HEADER_LENGTH..HEADER_LENGTH + header.table_length())?;
        let payload_end = offset + header.payload_at(class) + u64::from(header.shard.payload_length);
        let is_whole = crc32c::crc32c(table) == header.table_checksum && payload_end <= self.length;
        is_whole.then(|| ScanItem::Record { offset, header, end: offset + header.length(class) })
    }

    /// The bytes from an offset on that hold the longest header and table; fewer at the end of the file.
    fn front(&mut self, offset: u64) -> &[u8] {
        let window_end = self.window_at + self.window.len() as u64;
        let wanted_end = (offset + FRONT_MAX as u64).min(self.length);
        if offset < self.window_at || wanted_end > window_end {
            let ahead = match self.segment.header.class {
                SegmentClass::Large => PIECE_BYTES,
                SegmentClass::Small => 64 * PIECE_BYTES,
            };
            self.window = self.read(offset, ahead);
            self.window_at = offset;
        }
        let skip = usize::try_from(offset - self.window_at).expect("the window holds the offset");
        let front = &self.window[skip.min(self.window.len())..];
        &front[..front.len().min(FRONT_MAX)]
    }

    /// Reads up to `wanted` bytes, fewer at the end of the file.
    fn read(&mut self, offset: u64, wanted: usize) -> Vec<u8> {
        let rest = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; wanted.min(rest)];
        if self.segment.file.read_exact_at(&mut bytes, offset).is_err() {
            bytes.fill(0);
            for (number, piece) in bytes.chunks_mut(PIECE_BYTES).enumerate() {
                let at = offset + (number * PIECE_BYTES) as u64;
                if self.segment.file.read_exact_at(piece, at).is_err() {
                    piece.fill(0);
                    self.tail.unreadable = true;
                }
            }
        }
        bytes
    }

    /// The next record from an offset on, where one may begin.
    fn search(&mut self, from: u64) -> Option<ScanItem> {
        let step = usize::try_from(self.segment.header.class.alignment()).expect("an alignment is small");
        let mut at = from;
        let mut garbage = false;
        while at < self.length {
            let bytes = self.read(at, SEARCH_BYTES);
            garbage |= bytes.iter().any(|byte| *byte != 0);
            let places = (0..bytes.len()).step_by(step).filter(|place| bytes[*place..].starts_with(&MAGIC));
            for place in places {
                let record = self.record_at(at + place as u64);
                if record.is_some() {
                    return record;
                }
            }
            at += SEARCH_BYTES as u64;
        }
        self.tail.garbage = garbage;
        None
    }
}

impl Iterator for SegmentScan<'_> {
    type Item = ScanItem;

    fn next(&mut self) -> Option<ScanItem> {
        let (offset, item) = (self.at, self.found.take());
        if item.is_none() && offset >= self.length {
            return None;
        }
        let item = item.or_else(|| self.record_at(offset));
        if let Some(ScanItem::Record { end, .. }) = item {
            self.at = end;
            return item;
        }
        // From the bad place itself on, so that a tail counts all its bytes.
        self.found = self.search(offset);
        if self.found.is_none() {
            self.at = self.length;
            return None;
        }
        Some(ScanItem::Bad { offset })
    }
}
