//! How a device is and what it did.

use std::io;
use std::sync::atomic::Ordering;

use super::files::Space;
use super::shared::Shared;

/// What a device takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceState {
    /// Reads and writes.
    Running,
    /// Reads and deletions: only the reserve is left.
    Full,
    /// Reads only, for this reason, until the process starts again.
    Failed(String),
}

/// How a device is. Counts are since it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceUsage {
    /// What it takes.
    pub state: DeviceState,
    /// Size of its file system.
    pub total_bytes: u64,
    /// Free bytes of its file system, the reserve included.
    pub free_bytes: u64,
    /// Payload bytes of the shards it holds.
    pub live_bytes: u64,
    /// Shards it holds.
    pub records: u64,
    /// Segment files.
    pub segments: u64,
    /// Shards written.
    pub writes: u64,
    /// Shards deleted.
    pub deletions: u64,
    /// Record bytes written.
    pub bytes_written: u64,
    /// Calls of fdatasync.
    pub fsyncs: u64,
    /// Blocks read whose checksum was right.
    pub blocks_read: u64,
    /// Records found bad.
    pub corrupt: u64,
}

/// Reads how the device is now.
pub(super) fn measure(shared: &Shared) -> io::Result<DeviceUsage> {
    let Space { total_bytes, free_bytes } = shared.files.space(&shared.folder)?;
    let state = match shared.failure() {
        Some(reason) => DeviceState::Failed(reason.to_owned()),
        None if shared.is_full.load(Ordering::Relaxed) => DeviceState::Full,
        None => DeviceState::Running,
    };
    let live = shared.index.ledger().total;
    let counts = &shared.counts;
    Ok(DeviceUsage {
        state,
        total_bytes,
        free_bytes,
        live_bytes: live.bytes,
        records: live.records,
        segments: shared.segments.count(),
        writes: counts.writes.load(Ordering::Relaxed),
        deletions: counts.deletions.load(Ordering::Relaxed),
        bytes_written: counts.bytes_written.load(Ordering::Relaxed),
        fsyncs: counts.fsyncs.load(Ordering::Relaxed),
        blocks_read: counts.blocks_read.load(Ordering::Relaxed),
        corrupt: counts.corrupt.load(Ordering::Relaxed),
    })
}
