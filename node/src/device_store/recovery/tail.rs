//! Reads sealed segments, and the newest of a class, which may end in the middle of a write.

use std::io;
use std::path::Path;

use super::intake::Intake;
use crate::device_store::errors::{IndexError, OpenError};
use crate::device_store::record::{Location, RecordHeader};
use crate::device_store::scan::{ScanItem, SegmentScan};
use crate::device_store::segment::{RecordFault, Segment};

/// Why a segment can't be taken in.
#[derive(Debug)]
pub(super) enum ReadSegmentError {
    Io(io::Error),
    Index(IndexError),
}

impl ReadSegmentError {
    pub(super) fn into_open_error(self, folder: &Path) -> OpenError {
        match self {
            ReadSegmentError::Io(source) => OpenError::io(folder, source),
            ReadSegmentError::Index(source) => OpenError::Index { folder: folder.to_owned(), source },
        }
    }
}

impl From<io::Error> for ReadSegmentError {
    fn from(error: io::Error) -> Self {
        ReadSegmentError::Io(error)
    }
}

impl From<IndexError> for ReadSegmentError {
    fn from(error: IndexError) -> Self {
        ReadSegmentError::Index(error)
    }
}

/// Takes in a segment that was durable as a whole before the next one began.
pub(super) fn read_sealed(segment: &Segment, from: u64, intake: &mut Intake<'_>) -> Result<(), ReadSegmentError> {
    let place = |offset| Location { segment: segment.header.number, offset };
    let mut scan = SegmentScan::new(segment, from, segment.file.length()?);
    let mut last_end = from;
    for item in scan.by_ref() {
        match item {
            ScanItem::Record { offset, header, end } => {
                intake.take(place(offset), &header)?;
                last_end = end;
            }
            ScanItem::Bad { offset } => intake.report(None, place(offset)),
        }
    }
    let tail = scan.tail();
    if tail.garbage || tail.unreadable {
        intake.report(None, place(last_end));
    }
    Ok(())
}

/// A place of the newest segment that is bad, and not yet known to be in its middle.
struct Doubtful {
    offset: u64,
    header: Option<RecordHeader>,
}

/// Where the newest segment of a class ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct SegmentEnd {
    /// The end of its last good record.
    pub(super) end: u64,
    /// Whether nothing stood behind that. Otherwise the next record must begin a new segment, so that a location names
    /// one record for ever.
    pub(super) is_whole: bool,
}

/// Takes in the newest segment of a class and cuts a torn tail off.
pub(super) fn read_newest(segment: &Segment, from: u64, intake: &mut Intake<'_>) -> Result<SegmentEnd, ReadSegmentError> {
    // What the last process wrote and didn't sync becomes durable, or it is gone: the cache is not believed.
    segment.file.sync_data()?;
    segment.file.forget_cached()?;
    let length = segment.file.length()?;
    let place = |offset| Location { segment: segment.header.number, offset };
    let synced = synced_mark(segment, from, length);
    let mut scan = SegmentScan::new(segment, from, length);
    let mut doubtful: Vec<Doubtful> = Vec::new();
    let mut good_end = from;
    let mut is_unreadable = false;
    for item in scan.by_ref() {
        match item {
            ScanItem::Bad { offset } => doubtful.push(Doubtful { offset, header: None }),
            ScanItem::Record { offset, header, end } => {
                let fault = if end <= synced { None } else { segment.read_record(offset, 0, u32::MAX).err() };
                if let Some(fault) = fault.filter(|_fault| !intake.is_deleted(place(offset))) {
                    is_unreadable |= matches!(fault, RecordFault::Io(_));
                    doubtful.push(Doubtful { offset, header: Some(header) });
                    continue;
                }
                for Doubtful { offset, header } in doubtful.drain(..) {
                    intake.quarantine(place(offset), header.as_ref());
                }
                intake.take(place(offset), &header)?;
                good_end = end;
            }
        }
    }
    let tail = scan.tail();
    if is_unreadable || tail.unreadable {
        intake.report(None, place(good_end));
        return Ok(SegmentEnd { end: good_end, is_whole: false });
    }
    let is_torn = tail.garbage || !doubtful.is_empty();
    if is_torn {
        tracing::info!(segment = segment.header.number, offset = good_end, "the torn tail of a segment is cut off");
        segment.file.set_length(good_end)?;
        segment.file.sync_data()?;
    }
    Ok(SegmentEnd { end: good_end, is_whole: !is_torn })
}

/// Everything before this was durable while the last process ran.
fn synced_mark(segment: &Segment, from: u64, length: u64) -> u64 {
    let marks = SegmentScan::new(segment, from, length).filter_map(|item| match item {
        // A mark beyond its own record is none of ours.
        ScanItem::Record { offset, header, .. } => (header.synced <= offset).then_some(header.synced),
        ScanItem::Bad { .. } => None,
    });
    marks.max().unwrap_or(from).max(from)
}
