//! Names of the device store's metrics; each carries the label [`LABEL_DEVICE`].

use ::metrics::{Counter, Unit, describe_counter};
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

/// Gives every metric its help text; called once by the node.
pub fn describe() {
    describe_counter!(SHARD_BLOCKS_READ, "64 KiB blocks of shards read whose checksum was right, by device.");
    describe_counter!(BYTES_WRITTEN, Unit::Bytes, "Bytes of records written, headers and checksums included, by device.");
    describe_counter!(FSYNCS, "Calls of fdatasync on segments, by device.");
    describe_counter!(SHARDS_WRITTEN, "Shards whose write was acknowledged, by device.");
    describe_counter!(SHARDS_DELETED, "Shards deleted, by device.");
    describe_counter!(RECORDS_CORRUPT, "Records that a read or a scan found bad, by device.");
    describe_counter!(
        EVENTS_DROPPED,
        "Reports of damage that were dropped because too many waited, by device; the next read reports it again."
    );
    describe_counter!(PUNCHES_FAILED, "Freed payloads whose space the file system did not take back, by device.");
}

/// The counter of that name for one device.
pub(super) fn counter(name: &'static str, device: DeviceId) -> Counter {
    ::metrics::counter!(name, LABEL_DEVICE => device.to_string())
}
