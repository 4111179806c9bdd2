//! Every bound of the segment log.

use std::time::Duration;

/// A segment file is closed before it grows beyond this many bytes.
pub const SEGMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A batch takes what waits up to this many bytes of records, or one larger entry.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// The largest payload of an entry in bytes: 4 MiB of commands and room for what surrounds them.
pub const ENTRY_BYTES_MAX: usize = 4 * 1024 * 1024 + 64 * 1024;

/// A reader returns at most this many bytes of payload a call, or one larger entry.
pub const READ_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Payloads kept in memory, in bytes a node.
pub const CACHE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Payloads kept in memory, counted a node.
pub const CACHE_ENTRIES_MAX: usize = 256 * 1024;

/// Bytes of segments kept a node. Beyond it [`Pressure::full`](super::Pressure::full) is set and no proposal may be taken; the log itself goes on, because
/// only the purges that wait behind refused writes can free it.
pub const KEPT_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// From this part of [`KEPT_BYTES_MAX`] on, the groups that pin the oldest segment are told to snapshot: one half.
pub const PRESSURE_DIVISOR: u64 = 2;

/// Bytes that wait for the writer before an append waits itself, a node.
pub const WAITING_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How long the log is quiet before the empty batch follows that proves the last one.
pub const IDLE_DELAY: Duration = Duration::from_millis(5);

/// Groups a node may hold in its log, counting those that are about to be removed.
pub const GROUPS_MAX: usize = 1024;

/// Sector sizes believed of a device, in bytes.
pub const SECTOR_BYTES: std::ops::RangeInclusive<u32> = 512..=65_536;

/// The sector size where the device does not tell, in bytes.
pub const SECTOR_BYTES_UNKNOWN: u32 = 4096;

/// Two wanted entries this near to each other in a segment are read at once, in bytes.
pub const READ_GAP_BYTES_MAX: u32 = 64 * 1024;
