//! One segment file: its name, its two headers, and reading records out of it.
//!
//! The header stands twice in the first 8 KiB, a sector each: the salt in it is needed to believe any record. A segment
//! appears under its final name only with both headers durable.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;
use skep_placement::checksum::verify_blocks;
use skep_placement::ids::{ClusterId, DeviceId, NodeId};

use super::fields::{Fields, put};
use super::files::{DeviceFiles, SegmentFile, sync_folder};
use super::limits::BLOCK_BYTES;
use super::record::{HEADER_LENGTH, Location, RecordHeader, Seed, decode_table};

/// Where the first record begins.
pub(super) const DATA_START: u64 = 8192;

const MAGIC: [u8; 8] = *b"SKEPSEG\n";
const VERSION: u16 = 1;
const LENGTH: usize = 68;
const COPIES_AT: [u64; 2] = [0, 4096];

/// What kind of records a segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SegmentClass {
    /// Payloads of 64 KiB and more, aligned to 4 KiB, freed by punching.
    Large,
    /// Packed records and tombstones.
    Small,
}

impl SegmentClass {
    fn code(self) -> u8 {
        match self {
            SegmentClass::Large => 1,
            SegmentClass::Small => 2,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [SegmentClass::Large, SegmentClass::Small].into_iter().find(|class| class.code() == code)
    }

    fn prefix(self) -> &'static str {
        match self {
            SegmentClass::Large => "large",
            SegmentClass::Small => "small",
        }
    }
}

/// The file name of a segment.
pub(super) fn segment_name(class: SegmentClass, number: u64) -> String {
    format!("{}-{number:016x}.seg", class.prefix())
}

/// The class and number in a file name; `None` if it is no segment's.
pub(super) fn parse_segment_name(name: &str) -> Option<(SegmentClass, u64)> {
    let (prefix, rest) = name.split_once('-')?;
    let class = [SegmentClass::Large, SegmentClass::Small].into_iter().find(|class| class.prefix() == prefix)?;
    let number = u64::from_str_radix(rest.strip_suffix(".seg")?, 16).ok()?;
    (segment_name(class, number) == name).then_some((class, number))
}

/// What stands at the beginning of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// What kind of records it holds.
    pub class: SegmentClass,
    /// Its number on the device, never used again.
    pub number: u64,
    /// The cluster of the device.
    pub cluster: ClusterId,
    /// The node that created it.
    pub node: NodeId,
    /// The device it belongs to.
    pub device: DeviceId,
    /// Seeds the checksums of its records.
    pub salt: u64,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LENGTH);
        put(&mut bytes, MAGIC);
        put(&mut bytes, VERSION.to_le_bytes());
        put(&mut bytes, [self.class.code(), 0, 0, 0, 0, 0]);
        put(&mut bytes, self.cluster.0);
        put(&mut bytes, self.node.0.to_le_bytes());
        put(&mut bytes, self.device.0.to_le_bytes());
        put(&mut bytes, self.number.to_le_bytes());
        put(&mut bytes, self.salt.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes);
        put(&mut bytes, checksum.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<SegmentHeader> {
        let (body, checksum) = bytes.get(..LENGTH)?.split_at(LENGTH - 4);
        if body[..8] != MAGIC || crc32c::crc32c(body).to_le_bytes() != checksum {
            return None;
        }
        let mut fields = Fields::new(&body[8..]);
        if fields.u16()? != VERSION {
            return None;
        }
        let [class, ..] = fields.take::<6>()?;
        Some(SegmentHeader {
            class: SegmentClass::from_code(class)?,
            cluster: ClusterId(fields.take()?),
            node: NodeId(fields.u64()?),
            device: DeviceId(fields.u64()?),
            number: fields.u64()?,
            salt: fields.u64()?,
        })
    }
}

/// An open segment.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) header: SegmentHeader,
    pub(super) file: Arc<dyn SegmentFile>,
}

/// What is wrong with a stored record.
#[derive(Debug, thiserror::Error)]
pub enum RecordFault {
    /// The file system couldn't read it.
    #[error("the file system can't read it: {0}")]
    Io(#[from] io::Error),
    /// Neither header of the segment is right.
    #[error("both headers of its segment are damaged")]
    Segment,
    /// The record's header is damaged or another record's.
    #[error("its header is damaged")]
    Header,
    /// The table of checksums is damaged.
    #[error("its table of checksums is damaged")]
    Table,
    /// A block of the payload is damaged.
    #[error("block {0} is damaged")]
    Block(u32),
}

impl RecordFault {
    /// Whether the record is lost here, so that repairing it helps; else the failure is the process's, and may pass.
    pub fn is_damage(&self) -> bool {
        match self {
            RecordFault::Io(error) => is_damage(error),
            RecordFault::Segment | RecordFault::Header | RecordFault::Table | RecordFault::Block(_) => true,
        }
    }
}

/// Whether an error of the file system means that what was stored is lost.
pub(super) fn is_damage(error: &io::Error) -> bool {
    let lost = [Errno::IO, Errno::NODATA, Errno::BADMSG, Errno::UCLEAN, Errno::NOENT];
    lost.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// A record's header, and the blocks of it that were asked for, all checked.
#[derive(Debug)]
pub(super) struct RecordBlocks {
    pub(super) header: RecordHeader,
    pub(super) payload: Vec<u8>,
    pub(super) checksums: Vec<u32>,
}

impl Segment {
    /// Opens a segment file and reads its header from either copy.
    pub(super) fn open(files: &dyn DeviceFiles, path: &Path) -> Result<Segment, RecordFault> {
        let file = files.open(path)?;
        let mut copy = [0; LENGTH];
        for at in COPIES_AT {
            if file.read_exact_at(&mut copy, at).is_ok()
                && let Some(header) = SegmentHeader::decode(&copy)
            {
                return Ok(Segment { header, file });
            }
        }
        Err(RecordFault::Segment)
    }

    /// Creates a segment file durably.
    pub(super) fn create(files: &dyn DeviceFiles, folder: &Path, header: SegmentHeader) -> io::Result<Segment> {
        let name = segment_name(header.class, header.number);
        let temporary = folder.join(format!("{name}.tmp"));
        let file = files.create(&temporary)?;
        let encoded = header.encode();
        let written = COPIES_AT.into_iter().try_for_each(|at| file.write_all_at(&encoded, at));
        let synced = written.and_then(|()| file.set_length(DATA_START)).and_then(|()| file.sync_data());
        if let Err(error) = synced {
            // The next attempt creates the same name; what can't be removed is removed at the next start.
            let _left_for_the_next_start = std::fs::remove_file(&temporary);
            return Err(error);
        }
        fail::fail_point!(super::failpoints::SEGMENT_CREATION);
        std::fs::rename(&temporary, folder.join(name))?;
        sync_folder(folder)?;
        Ok(Segment { header, file })
    }

    pub(super) fn seed(&self, offset: u64) -> Seed {
        Seed { salt: self.header.salt, location: Location { segment: self.header.number, offset } }
    }

    /// Reads a record's header and its blocks from `first` up to, not including, `end`; an `end` past the last block
    /// means all. Everything returned is checked against its checksums.
    pub(super) fn read_record(&self, offset: u64, first: u32, end: u32) -> Result<RecordBlocks, RecordFault> {
        let header = self.read_header(offset)?;
        let table = self.read_table(offset, &header)?;
        let end = end.min(header.shard.blocks());
        let first = first.min(end);
        let start_byte = u64::from(first) * u64::from(BLOCK_BYTES);
        let end_byte = (u64::from(end) * u64::from(BLOCK_BYTES)).min(u64::from(header.shard.payload_length));
        let length = usize::try_from(end_byte.saturating_sub(start_byte)).expect("a payload is at most 8 MiB");
        let mut payload = vec![0; length];
        let payload_at = offset + header.payload_at(self.header.class) + start_byte;
        self.file.read_exact_at(&mut payload, payload_at).map_err(missing_is(RecordFault::Block(first)))?;
        let checksums = decode_table(&table[4 * first as usize..4 * end as usize]);
        match verify_blocks(header.shard.key().address(), first, &payload, &checksums) {
            Ok(()) => Ok(RecordBlocks { header, payload, checksums }),
            Err(mismatch) => Err(RecordFault::Block(mismatch.block)),
        }
    }

    pub(super) fn read_header(&self, offset: u64) -> Result<RecordHeader, RecordFault> {
        let mut front = [0; HEADER_LENGTH];
        self.file.read_exact_at(&mut front, offset).map_err(missing_is(RecordFault::Header))?;
        RecordHeader::decode(&front, self.seed(offset)).ok_or(RecordFault::Header)
    }

    fn read_table(&self, offset: u64, header: &RecordHeader) -> Result<Vec<u8>, RecordFault> {
        let mut table = vec![0; header.table_length()];
        self.file.read_exact_at(&mut table, offset + HEADER_LENGTH as u64).map_err(missing_is(RecordFault::Table))?;
        if crc32c::crc32c(&table) == header.table_checksum { Ok(table) } else { Err(RecordFault::Table) }
    }
}

/// A file that ends early lacks the part being read; anything else is the file system's error.
fn missing_is(part: RecordFault) -> impl FnOnce(io::Error) -> RecordFault {
    |error| if error.kind() == io::ErrorKind::UnexpectedEof { part } else { RecordFault::Io(error) }
}
