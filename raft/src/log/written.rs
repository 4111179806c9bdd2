//! What the segments hold, as far as it is durable: how each group stands, and which groups need which segment.
//!
//! Recovery and the writer keep it by the same steps, so that a header written tells what a recovery would find.

use std::collections::BTreeMap;

use super::header::Points;
use super::record::{GroupKey, Record};

/// One segment file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SegmentUse {
    pub(crate) bytes: u64,
    /// For each group with entries in it that are not purged: an index that no such entry exceeds.
    pub(crate) last_index: BTreeMap<GroupKey, u64>,
}

/// The durable state of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) points: BTreeMap<GroupKey, Points>,
    pub(crate) segments: BTreeMap<u64, SegmentUse>,
}

impl Written {
    /// Takes in one record that lies in a segment.
    pub(crate) fn apply(&mut self, segment: u64, key: GroupKey, record: &Record) {
        match record {
            Record::Vote(vote) => self.points.entry(key).or_default().vote = Some(*vote),
            Record::Committed(position) => self.points.entry(key).or_default().committed = Some(*position),
            Record::Entry(entry) => {
                let last = self.segments.entry(segment).or_default().last_index.entry(key).or_default();
                *last = entry.position.index.max(*last);
            }
            Record::Truncate { from } => self.lower_last_index(key, *from),
            Record::Purge(upto) => {
                self.points.entry(key).or_default().purged = Some(*upto);
                for segment in self.segments.values_mut() {
                    if segment.last_index.get(&key).is_some_and(|last| *last <= upto.index) {
                        segment.last_index.remove(&key);
                    }
                }
            }
            Record::Removed => {
                self.points.remove(&key);
                for segment in self.segments.values_mut() {
                    segment.last_index.remove(&key);
                }
            }
        }
    }

    fn lower_last_index(&mut self, key: GroupKey, from: u64) {
        for segment in self.segments.values_mut() {
            match (segment.last_index.get_mut(&key), from.checked_sub(1)) {
                (Some(last), Some(kept)) => *last = kept.min(*last),
                (Some(_), None) => {
                    segment.last_index.remove(&key);
                }
                (None, _) => {}
            }
        }
        // What was truncated may leave only entries that are purged already.
        if let Some(purged) = self.points.get(&key).and_then(|points| points.purged) {
            for segment in self.segments.values_mut() {
                if segment.last_index.get(&key).is_some_and(|last| *last <= purged.index) {
                    segment.last_index.remove(&key);
                }
            }
        }
    }

    /// The oldest segment, if it is not the newest too and no group needs it.
    pub(crate) fn removable(&self) -> Option<u64> {
        let (oldest, segment) = self.segments.first_key_value()?;
        (self.segments.len() > 1 && segment.last_index.is_empty()).then_some(*oldest)
    }

    /// The groups that need the oldest segment, while there is a newer one.
    pub(crate) fn pinning(&self) -> Vec<GroupKey> {
        match self.segments.first_key_value() {
            Some((_, oldest)) if self.segments.len() > 1 => oldest.last_index.keys().copied().collect(),
            _ => Vec::new(),
        }
    }

    /// Bytes of all segments.
    pub(crate) fn kept_bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.bytes).sum()
    }
}
