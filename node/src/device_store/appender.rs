//! Appends records to the active segment of each class, and makes them durable.
//!
//! A segment is synced before the next of its class is created: only the newest of each class can have a torn tail.

use std::io;
use std::sync::Arc;

use skep_placement::ids::DeviceId;

use super::index::{IndexEntry, Position};
use super::limits::LARGE_BYTES_MIN;
use super::record::{HEADER_LENGTH, Location, RecordHeader, RecordKind, encode_table};
use super::segment::{DATA_START, Segment, SegmentClass};
use super::segment_set::SegmentSet;
use super::shard::{ShardHeader, ShardRecord};

/// Why a record wasn't appended.
#[derive(Debug)]
pub(super) enum AppendError {
    /// No space; the segment is as it was before.
    Full,
    /// The device can't be relied on any more.
    Io(io::Error),
}

/// The segment of a class that is appended to.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) segment: Arc<Segment>,
    /// Where the next record begins.
    pub(super) end: u64,
    /// Everything before this is durable.
    pub(super) synced: u64,
}

#[derive(Debug)]
pub(super) struct Appender {
    pub(super) segments: Arc<SegmentSet>,
    pub(super) device: DeviceId,
    pub(super) segment_bytes: u64,
    pub(super) large: Option<Active>,
    pub(super) small: Option<Active>,
    /// Calls of fdatasync.
    pub(super) syncs: u64,
    /// Record bytes written.
    pub(super) bytes_written: u64,
}

/// Whether an error means that there is no space.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl From<io::Error> for AppendError {
    fn from(error: io::Error) -> Self {
        if is_full(&error) { AppendError::Full } else { AppendError::Io(error) }
    }
}

/// Makes a segment's bytes durable. Tests of power cuts leave it out to see that they would notice.
fn sync(segment: &Segment) -> io::Result<()> {
    fail::fail_point!(super::failpoints::SKIP_SYNC, |_left_out| Ok(()));
    segment.file.sync_data()
}

impl Appender {
    /// Appends a shard; returns where it is.
    pub(super) fn append_shard(&mut self, record: &ShardRecord) -> Result<IndexEntry, AppendError> {
        let class = if record.header.payload_length >= LARGE_BYTES_MIN { SegmentClass::Large } else { SegmentClass::Small };
        let table = encode_table(&record.checksums);
        let table_checksum = crc32c::crc32c(&table);
        let header = RecordHeader { kind: RecordKind::Shard, device: self.device, shard: record.header, table_checksum, synced: 0 };
        let location = self.append(class, header, &table, &record.payload)?;
        Ok(IndexEntry { header: record.header, location, table_checksum })
    }

    /// Appends the word that a record is deleted.
    pub(super) fn append_tombstone(&mut self, deleted: &IndexEntry) -> Result<(), AppendError> {
        let shard = ShardHeader { plaintext_length: 0, payload_length: 0, ..deleted.header };
        let kind = RecordKind::Tombstone(deleted.location);
        let header = RecordHeader { kind, device: self.device, shard, table_checksum: 0, synced: 0 };
        self.append(SegmentClass::Small, header, &[], &[]).map(|_location| ())
    }

    /// Makes all that was appended durable.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        for active in [&mut self.large, &mut self.small].into_iter().flatten() {
            if active.synced < active.end {
                sync(&active.segment)?;
                active.synced = active.end;
                self.syncs += 1;
            }
        }
        Ok(())
    }

    /// The end of what was appended, a class.
    pub(super) fn positions(&self) -> [Position; 2] {
        [&self.large, &self.small]
            .map(|active| active.as_ref().map(|active| Location { segment: active.segment.header.number, offset: active.end }))
    }

    fn append(&mut self, class: SegmentClass, mut header: RecordHeader, table: &[u8], payload: &[u8]) -> Result<Location, AppendError> {
        fail::fail_point!(super::failpoints::BEFORE_WRITE);
        let length = header.length(class);
        let active = self.active_for(class, length)?;
        let offset = active.end;
        header.synced = active.synced;
        let front_length = usize::try_from(header.payload_at(class)).expect("a header and its table are short");
        let mut front = vec![0; front_length];
        front[..HEADER_LENGTH].copy_from_slice(&header.encode(active.segment.seed(offset)));
        front[HEADER_LENGTH..HEADER_LENGTH + table.len()].copy_from_slice(table);
        let file = &active.segment.file;
        let written = file
            .write_all_at(&front, offset)
            .and_then(|()| if payload.is_empty() { Ok(()) } else { file.write_all_at(payload, offset + front.len() as u64) });
        if let Err(error) = written {
            // What was written of the record goes, so that nothing stands behind the end.
            file.set_length(offset).map_err(AppendError::Io)?;
            return Err(error.into());
        }
        active.end += length;
        let location = Location { segment: active.segment.header.number, offset };
        self.bytes_written += length;
        Ok(location)
    }

    /// The active segment of a class with room for a record, a new one if need be.
    fn active_for(&mut self, class: SegmentClass, length: u64) -> Result<&mut Active, AppendError> {
        let segment_bytes = self.segment_bytes;
        let has_room = |active: &Active| active.end == DATA_START || active.end + length <= segment_bytes;
        if !self.slot(class).as_ref().is_some_and(has_room) {
            self.begin_segment(class)?;
        }
        Ok(self.slot(class).as_mut().expect("just begun"))
    }

    /// Seals the active segment of a class and begins the next.
    pub(super) fn begin_segment(&mut self, class: SegmentClass) -> Result<(), AppendError> {
        if let Some(full) = self.slot(class).as_mut().filter(|active| active.synced < active.end) {
            full.segment.file.sync_data().map_err(AppendError::Io)?;
            full.synced = full.end;
            self.syncs += 1;
        }
        let segment = self.segments.create(class)?;
        *self.slot(class) = Some(Active { segment, end: DATA_START, synced: DATA_START });
        Ok(())
    }

    fn slot(&mut self, class: SegmentClass) -> &mut Option<Active> {
        match class {
            SegmentClass::Large => &mut self.large,
            SegmentClass::Small => &mut self.small,
        }
    }
}
