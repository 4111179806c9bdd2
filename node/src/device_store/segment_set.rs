//! All segments of a device: which exist, and a bounded number of open files.
//!
//! Numbers grow and are never used again, so a location names one record for ever.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::files::DeviceFiles;
use super::identity::DeviceIdentity;
use super::limits::LARGE_ALIGNMENT;
use super::record::Location;
use super::segment::{RecordFault, Segment, SegmentClass, SegmentHeader, parse_segment_name, segment_name};

/// The folder of the segments inside a device's.
pub(super) const SEGMENT_FOLDER: &str = "segments";

#[derive(Debug)]
pub(super) struct SegmentSet {
    folder: PathBuf,
    identity: DeviceIdentity,
    files: Arc<dyn DeviceFiles>,
    open_max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    known: BTreeMap<u64, SegmentClass>,
    open: BTreeMap<u64, OpenSegment>,
    uses: u64,
    /// Numbers up to this one were used by segments that may be gone.
    used_before: u64,
}

#[derive(Debug)]
struct OpenSegment {
    segment: Arc<Segment>,
    last_use: u64,
}

impl State {
    fn next_number(&self) -> u64 {
        let newest = self.known.last_key_value().map_or(0, |(number, _class)| *number);
        newest.max(self.used_before) + 1
    }
}

impl SegmentSet {
    /// Lists the segments of a device folder and removes what a creation left unfinished.
    pub(super) fn list(device_folder: &Path, identity: DeviceIdentity, files: Arc<dyn DeviceFiles>, open_max: usize) -> io::Result<Self> {
        let folder = device_folder.join(SEGMENT_FOLDER);
        std::fs::create_dir_all(&folder)?;
        let mut known = BTreeMap::new();
        for file in std::fs::read_dir(&folder)? {
            let file = file?;
            let name = file.file_name();
            let Some(name) = name.to_str() else { continue };
            if name.ends_with(".seg.tmp") {
                std::fs::remove_file(file.path())?;
            } else if let Some((class, number)) = parse_segment_name(name) {
                known.insert(number, class);
            }
        }
        let state = Mutex::new(State { known, ..State::default() });
        Ok(Self { folder, identity, files, open_max, state })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change of the state is complete when a panic could happen.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Numbers of the class's segments, oldest first.
    pub(super) fn numbers(&self, class: SegmentClass) -> Vec<u64> {
        self.state().known.iter().filter(|(_number, of)| **of == class).map(|(number, _of)| *number).collect()
    }

    /// How many segments there are.
    pub(super) fn count(&self) -> u64 {
        self.state().known.len() as u64
    }

    /// The segment of that number, opened if it isn't.
    pub(super) fn get(&self, number: u64) -> Result<Arc<Segment>, RecordFault> {
        let mut state = self.state();
        state.uses += 1;
        let last_use = state.uses;
        if let Some(open) = state.open.get_mut(&number) {
            open.last_use = last_use;
            return Ok(Arc::clone(&open.segment));
        }
        let class = *state.known.get(&number).ok_or(RecordFault::Segment)?;
        drop(state);
        let segment = Segment::open(&*self.files, &self.folder.join(segment_name(class, number)))?;
        let SegmentHeader { class: stated_class, number: stated, cluster, device, .. } = segment.header;
        let DeviceIdentity { cluster: our_cluster, device: our_device, .. } = self.identity;
        if (stated_class, stated, cluster, device) != (class, number, our_cluster, our_device) {
            return Err(RecordFault::Segment);
        }
        Ok(self.keep(Arc::new(segment)))
    }

    /// Makes sure that no segment created later gets this number or a lower one.
    pub(super) fn retire_number(&self, number: u64) {
        let mut state = self.state();
        state.used_before = state.used_before.max(number);
    }

    /// Creates the next segment of a class, durably.
    pub(super) fn create(&self, class: SegmentClass) -> io::Result<Arc<Segment>> {
        let number = self.state().next_number();
        let salt = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
        let DeviceIdentity { cluster, node, device } = self.identity;
        let header = SegmentHeader { class, number, cluster, node, device, salt };
        let segment = Segment::create(&*self.files, &self.folder, header)?;
        self.state().known.insert(number, class);
        Ok(self.keep(Arc::new(segment)))
    }

    /// Whether there is a segment of that number.
    pub(super) fn exists(&self, number: u64) -> bool {
        self.state().known.contains_key(&number)
    }

    /// Gives the payload of a deleted record back to the file system, if it is a large one. Whether that succeeds is no
    /// matter of correctness; false if the file system refused.
    pub(super) fn punch(&self, location: Location) -> bool {
        let Ok(segment) = self.get(location.segment) else { return true };
        if segment.header.class != SegmentClass::Large {
            return true;
        }
        let Ok(header) = segment.read_header(location.offset) else { return true };
        let payload_at = location.offset + header.payload_at(SegmentClass::Large);
        segment.file.punch(payload_at, u64::from(header.shard.payload_length).next_multiple_of(LARGE_ALIGNMENT)).is_ok()
    }

    fn keep(&self, segment: Arc<Segment>) -> Arc<Segment> {
        let mut state = self.state();
        if state.open.len() >= self.open_max {
            let oldest = state.open.iter().min_by_key(|(_number, open)| open.last_use).map(|(number, _open)| *number);
            if let Some(oldest) = oldest {
                state.open.remove(&oldest);
            }
        }
        state.uses += 1;
        let last_use = state.uses;
        state.open.insert(segment.header.number, OpenSegment { segment: Arc::clone(&segment), last_use });
        segment
    }
}
