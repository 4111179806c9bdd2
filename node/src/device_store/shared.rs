//! What the threads of a device share: segments, index, state and counts.

use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::events::{DeviceEvent, Events};
use super::files::DeviceFiles;
use super::identity::DeviceIdentity;
use super::index::ShardIndex;
use super::metrics;
use super::record::Location;
use super::recovery;
use super::segment_set::SegmentSet;
use super::shard::ShardKey;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) folder: PathBuf,
    pub(super) identity: DeviceIdentity,
    pub(super) files: Arc<dyn DeviceFiles>,
    pub(super) segments: Arc<SegmentSet>,
    pub(super) index: ShardIndex,
    pub(super) events: Events,
    pub(super) counts: Counts,
    /// Why the device takes no more writes; set once.
    failed: OnceLock<String>,
    /// Whether the last write found no space but the reserve.
    pub(super) is_full: AtomicBool,
    pub(super) lock: Mutex<Option<File>>,
}

/// What happened since the device was opened.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) writes: AtomicU64,
    pub(super) deletions: AtomicU64,
    pub(super) bytes_written: AtomicU64,
    pub(super) fsyncs: AtomicU64,
    pub(super) blocks_read: AtomicU64,
    pub(super) corrupt: AtomicU64,
}

/// The parts of [`Shared`] that differ from device to device.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) folder: PathBuf,
    pub(super) identity: DeviceIdentity,
    pub(super) files: Arc<dyn DeviceFiles>,
    pub(super) segments: Arc<SegmentSet>,
    pub(super) index: ShardIndex,
    pub(super) events: Events,
    pub(super) lock: File,
}

impl Shared {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { folder, identity, files, segments, index, events, lock } = parts;
        Self {
            folder,
            identity,
            files,
            segments,
            index,
            events,
            counts: Counts::default(),
            failed: OnceLock::new(),
            is_full: AtomicBool::new(false),
            lock: Mutex::new(Some(lock)),
        }
    }

    /// Adds to a count and to the metric of the same meaning.
    pub(super) fn count(&self, count: &AtomicU64, metric: &'static str, amount: u64) {
        if amount > 0 {
            count.fetch_add(amount, Ordering::Relaxed);
            metrics::counter(metric, self.identity.device).increment(amount);
        }
    }

    /// Reports a damaged record.
    pub(super) fn report_corrupt(&self, key: ShardKey, location: Location) {
        self.count(&self.counts.corrupt, metrics::RECORDS_CORRUPT, 1);
        self.events.send(DeviceEvent::Corrupt { device: self.identity.device, shard: Some(key), location });
    }

    /// Why the device takes no more writes, if it doesn't.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failed.get().map(String::as_str)
    }

    /// Takes the device out. Only the first reason counts.
    pub(super) fn fail(&self, reason: &str) {
        if self.failed.set(reason.to_owned()).is_ok() {
            self.events.send(DeviceEvent::Failed { device: self.identity.device, reason: reason.to_owned() });
        }
    }

    /// Takes the device out because its index failed; the next start makes it anew.
    pub(super) fn fail_index(&self, reason: &str) {
        if let Err(error) = recovery::mark_for_rebuild(&self.folder) {
            tracing::warn!(folder = %self.folder.display(), %error, "the index can't be marked for rebuilding");
        }
        self.fail(reason);
    }

    /// Lets another process have the folder.
    pub(super) fn unlock(&self) {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
