//! Takes scanned records into the index.
//!
//! Taking a record in twice changes nothing. A later record of the same shard replaces an earlier one: an instance has
//! one content, so both are in the same class, whose segments are read in order. A tombstone deletes the record at the
//! place it names and no other.

use std::collections::BTreeSet;

use crate::device_store::errors::IndexError;
use crate::device_store::events::{DeviceEvent, Events};
use crate::device_store::index::{IndexChange, IndexEntry, ShardIndex};
use crate::device_store::limits::RECOVERY_BATCH_MAX;
use crate::device_store::record::{Location, RecordHeader, RecordKind};
use crate::device_store::segment::SegmentClass;
use crate::device_store::segment_set::SegmentSet;
use crate::device_store::shard::ShardKey;

#[derive(Debug)]
pub(super) struct Intake<'a> {
    index: &'a ShardIndex,
    segments: &'a SegmentSet,
    events: &'a Events,
    changes: Vec<IndexChange>,
    touched: BTreeSet<ShardKey>,
    /// Remembers deletions in this segment, because it is read after the tombstones.
    newest_large: Option<u64>,
    deleted: BTreeSet<Location>,
    /// Records that are known to be bad and whose header is right.
    pub(super) quarantined: Vec<IndexEntry>,
    /// How many bad places were reported.
    pub(super) corrupt: u64,
}

impl<'a> Intake<'a> {
    pub(super) fn new(index: &'a ShardIndex, segments: &'a SegmentSet, events: &'a Events) -> Self {
        let newest_large = segments.numbers(SegmentClass::Large).last().copied();
        let (changes, touched, deleted, quarantined) = Default::default();
        Self { index, segments, events, changes, touched, newest_large, deleted, quarantined, corrupt: 0 }
    }

    /// Whether a tombstone was seen for the record at that place; its payload may be punched.
    pub(super) fn is_deleted(&self, location: Location) -> bool {
        self.deleted.contains(&location)
    }

    pub(super) fn take(&mut self, location: Location, header: &RecordHeader) -> Result<(), IndexError> {
        let key = header.shard.key();
        if self.changes.len() >= RECOVERY_BATCH_MAX || self.touched.contains(&key) {
            self.commit()?;
        }
        self.touched.insert(key);
        let known = self.index.get(key)?;
        match header.kind {
            RecordKind::Shard => {
                if self.is_deleted(location) || known.is_some_and(|known| known.location == location) {
                    return Ok(());
                }
                self.changes.extend(known.map(IndexChange::Remove));
                self.changes.push(IndexChange::Insert(entry(location, header)));
            }
            RecordKind::Tombstone(target) => {
                let deleted = known.filter(|known| known.location == target);
                self.changes.extend(deleted.map(IndexChange::Remove));
                if self.newest_large == Some(target.segment) {
                    self.deleted.insert(target);
                }
                self.segments.retire_number(target.segment);
                // The process may have ended between the deletion and the punch.
                self.segments.punch(target);
            }
        }
        Ok(())
    }

    /// Puts a bad record aside and reports it.
    pub(super) fn quarantine(&mut self, location: Location, header: Option<&RecordHeader>) {
        let shard = header.filter(|header| header.kind == RecordKind::Shard);
        self.quarantined.extend(shard.map(|header| entry(location, header)));
        self.report(shard.map(|header| header.shard.key()), location);
    }

    pub(super) fn report(&mut self, shard: Option<ShardKey>, location: Location) {
        self.corrupt += 1;
        self.events.send(DeviceEvent::Corrupt { device: self.events.device, shard, location });
    }

    pub(super) fn commit(&mut self) -> Result<(), IndexError> {
        self.index.commit(&self.changes, None)?;
        self.changes.clear();
        self.touched.clear();
        Ok(())
    }
}

fn entry(location: Location, header: &RecordHeader) -> IndexEntry {
    IndexEntry { header: header.shard, location, table_checksum: header.table_checksum }
}
