//! Reads a segment file without its device, for people who look for what went wrong. Nothing is changed.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::files::{DeviceFiles, SegmentFile, Space};
use super::record::RecordHeader;
use super::scan::{ScanItem, ScanTail, SegmentScan};
use super::segment::{DATA_START, RecordFault, Segment, SegmentHeader};

/// What stands at a place of a segment.
#[derive(Debug)]
pub struct InspectedRecord {
    /// Where it begins in the file.
    pub offset: u64,
    /// The record; `None` where bytes are no record although one follows.
    pub header: Option<RecordHeader>,
    /// What is wrong with it. A deleted record's payload may be freed: its blocks are wrong then, as they should be.
    pub fault: Option<RecordFault>,
}

/// A segment file and what is in it.
#[derive(Debug)]
pub struct SegmentInspection {
    /// What stands at its beginning.
    pub header: SegmentHeader,
    /// Its records in order.
    pub records: Vec<InspectedRecord>,
    /// Whether bytes other than zero stand behind the last record.
    pub has_torn_tail: bool,
    /// Whether a part couldn't be read.
    pub has_unreadable_part: bool,
}

/// Reads a segment file and checks every byte of it.
///
/// # Errors
/// [`RecordFault::Io`] if the file can't be opened, [`RecordFault::Segment`] if both of its headers are damaged.
pub fn inspect_segment(path: &Path) -> Result<SegmentInspection, RecordFault> {
    let segment = Segment::open(&ReadOnlyFiles, path)?;
    let mut scan = SegmentScan::new(&segment, DATA_START, segment.file.length()?);
    let mut records = Vec::new();
    for item in scan.by_ref() {
        records.push(match item {
            ScanItem::Bad { offset } => InspectedRecord { offset, header: None, fault: Some(RecordFault::Header) },
            ScanItem::Record { offset, header, .. } => {
                InspectedRecord { offset, header: Some(header), fault: segment.read_record(offset, 0, u32::MAX).err() }
            }
        });
    }
    let ScanTail { garbage, unreadable } = scan.tail();
    Ok(SegmentInspection { header: segment.header, records, has_torn_tail: garbage, has_unreadable_part: unreadable })
}

#[derive(Debug)]
struct ReadOnlyFiles;

#[derive(Debug)]
struct ReadOnlyFile(File);

fn read_only<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl DeviceFiles for ReadOnlyFiles {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn SegmentFile>> {
        Ok(Arc::new(ReadOnlyFile(File::open(path)?)))
    }

    fn create(&self, _path: &Path) -> io::Result<Arc<dyn SegmentFile>> {
        read_only()
    }

    fn space(&self, _folder: &Path) -> io::Result<Space> {
        read_only()
    }
}

impl SegmentFile for ReadOnlyFile {
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(bytes, offset)
    }

    fn write_all_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        read_only()
    }

    fn sync_data(&self) -> io::Result<()> {
        read_only()
    }

    fn punch(&self, _offset: u64, _length: u64) -> io::Result<()> {
        read_only()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_length(&self, _length: u64) -> io::Result<()> {
        read_only()
    }

    fn forget_cached(&self) -> io::Result<()> {
        Ok(())
    }
}
