//! Names of the device store's metrics; each carries the label [`LABEL_DEVICE`].

use ::metrics::Counter;
use skep_placement::ids::DeviceId;

/// The id of the device.
pub const LABEL_DEVICE: &str = "device";
/// Counter, blocks of 64 KiB: blocks of shards that were read and whose checksum was right.
pub const SHARD_BLOCKS_READ: &str = "skep_device_shard_blocks_read_total";
/// Counter, bytes: record bytes written, headers and checksums included.
pub const BYTES_WRITTEN: &str = "skep_device_written_bytes_total";
/// Counter: calls of fdatasync on segments.
pub const FSYNCS: &str = "skep_device_fsyncs_total";
/// Counter: shards whose write was acknowledged.
pub const SHARDS_WRITTEN: &str = "skep_device_shards_written_total";
/// Counter: shards that were deleted.
pub const SHARDS_DELETED: &str = "skep_device_shards_deleted_total";
/// Counter: records found bad, by a read or a scan.
pub const RECORDS_CORRUPT: &str = "skep_device_records_corrupt_total";
/// Counter: events that nobody took in time.
pub const EVENTS_DROPPED: &str = "skep_device_events_dropped_total";
/// Counter: punches of freed payloads that the file system refused.
pub const PUNCHES_FAILED: &str = "skep_device_punches_failed_total";

/// The counter of that name for one device.
pub(super) fn counter(name: &'static str, device: DeviceId) -> Counter {
    ::metrics::counter!(name, LABEL_DEVICE => device.to_string())
}
