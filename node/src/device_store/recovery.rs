//! What happens when a device opens: the index is opened or made anew, and what it lacks is read from the segments.
//!
//! Everything found valid is durable afterwards: the newest segments are synced, dropped from the cache and read again
//! before anyone is answered. Only they can have a torn tail, which is cut off. Anything else that is bad is reported.

mod intake;
mod tail;

use std::path::Path;
use std::sync::Arc;

use super::appender::{Active, AppendError, Appender};
use super::errors::{IndexError, OpenError};
use super::events::{DeviceEvent, Events};
use super::index::{Position, ShardIndex};
use super::options::DeviceOptions;
use super::record::Location;
use super::segment::{DATA_START, RecordFault, Segment, SegmentClass, is_damage};
use super::segment_set::SegmentSet;
use intake::Intake;

const INDEX_FOLDER: &str = "index";
const REBUILD_MARK: &str = "skep-index-rebuild";

/// What a device needs to run.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) index: ShardIndex,
    pub(super) appender: Appender,
    /// Bad records that were found.
    pub(super) corrupt: u64,
}

/// Makes the next start build the index anew, because it failed.
pub(super) fn mark_for_rebuild(folder: &Path) -> std::io::Result<()> {
    std::fs::write(folder.join(REBUILD_MARK), b"")
}

/// Brings the index up to the end of the segments.
pub(super) fn recover(options: &DeviceOptions, segments: &Arc<SegmentSet>, events: &Events) -> Result<Recovered, OpenError> {
    let folder = options.folder.as_path();
    let index_failed = |source| OpenError::Index { folder: folder.to_owned(), source };
    let (index, is_rebuild) = open_index(options, segments, events)?;
    let positions = index.ledger().positions;
    let mut appender = Appender {
        segments: Arc::clone(segments),
        device: options.identity.device,
        segment_bytes: options.segment_bytes,
        large: None,
        small: None,
        syncs: 0,
        bytes_written: 0,
    };
    let mut intake = Intake::new(&index, segments, events);
    // Large segments before small ones: a tombstone, which is small, then finds what it deletes. Only the newest large one
    // comes last, because a payload that is punched there must not be taken for one that was never written.
    let [large, small] = positions;
    let newest_large = read_class(SegmentClass::Large, large, segments, &mut intake, folder)?;
    let newest_small = read_class(SegmentClass::Small, small, segments, &mut intake, folder)?;
    let small_read = read_newest(newest_small, &mut intake, folder)?;
    let large_read = read_newest(newest_large, &mut intake, folder)?;
    let read_to = [large_read.to, small_read.to];
    (appender.large, appender.small) = (large_read.active, small_read.active);
    for (class, is_torn) in [(SegmentClass::Large, large_read.is_torn), (SegmentClass::Small, small_read.is_torn)] {
        if is_torn {
            // What was cut off is never written again under the same location.
            or_full(appender.begin_segment(class), folder)?;
        }
    }
    intake.commit().map_err(index_failed)?;
    let Intake { quarantined, corrupt, .. } = intake;
    for entry in &quarantined {
        // Without this word a later scan, which reads no payloads of older segments, would take the record for a good one.
        or_full(appender.append_tombstone(entry), folder)?;
    }
    appender.sync().map_err(|source| OpenError::io(folder, source))?;
    // Also where there is no segment to go on with: what was read once must not be read again without the tombstones
    // that came after it.
    let [large, small] = appender.positions();
    let positions = [large.or(read_to[0]), small.or(read_to[1])];
    index.commit(&[], Some(positions)).map_err(index_failed)?;
    if is_rebuild {
        index.flush().map_err(index_failed)?;
        let shards = index.ledger().total.records;
        if shards > 0 {
            events.send(DeviceEvent::IndexRebuilt { device: events.device, shards });
        }
    }
    Ok(Recovered { index, appender, corrupt })
}

/// A full device opens all the same, to be read and to be emptied.
fn or_full(appended: Result<(), AppendError>, folder: &Path) -> Result<(), OpenError> {
    match appended {
        Ok(()) | Err(AppendError::Full) => Ok(()),
        Err(AppendError::Io(source)) => Err(OpenError::io(folder, source)),
    }
}

/// Opens the index, an empty one if there is none that fits the segments.
fn open_index(options: &DeviceOptions, segments: &SegmentSet, events: &Events) -> Result<(ShardIndex, bool), OpenError> {
    let DeviceOptions { folder, identity, index: provider, .. } = options;
    let index_folder = folder.join(INDEX_FOLDER);
    let mark = folder.join(REBUILD_MARK);
    let is_marked = std::fs::exists(&mark).map_err(|source| OpenError::io(&mark, source))?;
    if !is_marked {
        let opened = provider.open(&index_folder).and_then(|backend| ShardIndex::open(backend, *identity));
        match opened {
            Ok(Some(index)) if fits(&index, segments, events) => {
                let is_empty = index.ledger().segments.is_empty();
                return Ok((index, is_empty && segments.count() > 0));
            }
            Ok(_) => tracing::warn!(folder = %folder.display(), "the device's index does not fit its segments"),
            Err(error) => tracing::warn!(folder = %folder.display(), %error, "the device's index can't be opened"),
        }
    }
    let failed = |source| OpenError::Index { folder: folder.clone(), source };
    provider.destroy(&index_folder).map_err(failed)?;
    let opened = provider.open(&index_folder).and_then(|backend| ShardIndex::open(backend, *identity));
    let index = opened.and_then(|index| index.ok_or(IndexError::Damaged)).map_err(failed)?;
    if is_marked {
        std::fs::remove_file(&mark).map_err(|source| OpenError::io(&mark, source))?;
    }
    Ok((index, true))
}

/// Whether every segment that the index knows is there, as long as the index says.
fn fits(index: &ShardIndex, segments: &SegmentSet, events: &Events) -> bool {
    let ledger = index.ledger();
    let mut fits = true;
    for number in ledger.segments.keys().copied() {
        segments.retire_number(number);
        if !segments.exists(number) {
            let location = Location { segment: number, offset: 0 };
            events.send(DeviceEvent::Corrupt { device: events.device, shard: None, location });
            fits = false;
        }
    }
    let is_short = |position: &Location| match segments.get(position.segment) {
        Ok(segment) => {
            let length = segment.file.length().unwrap_or(u64::MAX);
            length.next_multiple_of(segment.header.class.alignment()) < position.offset
        }
        // A damaged header is reported when the segment is read.
        Err(_damaged) => false,
    };
    fits && !ledger.positions.iter().flatten().any(is_short)
}

/// What is left to read of a class when all but its newest segment is read.
#[derive(Debug)]
enum Newest {
    /// This segment from this offset on; the offset is where the index ends if the class has nothing new.
    Segment(Arc<Segment>, u64),
    /// Nothing: there is no segment, or it can't be opened.
    Nothing(Position),
}

/// Reads what the index lacks of a class, except for the newest segment.
fn read_class(
    class: SegmentClass,
    position: Position,
    segments: &SegmentSet,
    intake: &mut Intake<'_>,
    folder: &Path,
) -> Result<Newest, OpenError> {
    let start = position.unwrap_or(Location { segment: 0, offset: DATA_START });
    let numbers: Vec<u64> = segments.numbers(class).into_iter().filter(|number| *number >= start.segment).collect();
    let newest = numbers.last().copied();
    let mut reached = position;
    for number in numbers {
        let from = if number == start.segment { start.offset } else { DATA_START };
        reached = Some(Location { segment: number, offset: from });
        match segments.get(number) {
            Ok(segment) if newest == Some(number) => return Ok(Newest::Segment(segment, from)),
            Ok(segment) => {
                tail::read_sealed(&segment, from, intake).map_err(|error| error.into_open_error(folder))?;
            }
            Err(RecordFault::Io(source)) if !is_damage(&source) => return Err(OpenError::io(folder, source)),
            Err(_damaged) => intake.report(None, Location { segment: number, offset: 0 }),
        }
    }
    Ok(Newest::Nothing(reached))
}

/// The newest segment of a class when it is read.
#[derive(Debug)]
struct NewestRead {
    /// To be appended to, if its end is whole.
    active: Option<Active>,
    /// Whether its end isn't.
    is_torn: bool,
    /// Up to where it is read.
    to: Position,
}

fn read_newest(newest: Newest, intake: &mut Intake<'_>, folder: &Path) -> Result<NewestRead, OpenError> {
    match newest {
        Newest::Nothing(to) => Ok(NewestRead { active: None, is_torn: false, to }),
        Newest::Segment(segment, from) => {
            let read = tail::read_newest(&segment, from, intake).map_err(|error| error.into_open_error(folder))?;
            let to = Location { segment: segment.header.number, offset: read.end };
            let active = read.is_whole.then(|| Active { segment, end: read.end, synced: read.end });
            Ok(NewestRead { active, is_torn: !read.is_whole, to: Some(to) })
        }
    }
}
