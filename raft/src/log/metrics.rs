//! Names of the log's counters. None has a label.

use metrics::{Unit, describe_counter};

/// Batches made durable.
pub const BATCHES: &str = "skep_log_batches_total";
/// Calls of fdatasync on a segment.
pub const SYNCS: &str = "skep_log_syncs_total";
/// Entries made durable.
pub const ENTRIES: &str = "skep_log_entries_total";
/// Bytes written to segments, padding and second copies included.
pub const BYTES: &str = "skep_log_bytes_total";

/// Gives every counter its help text.
pub(crate) fn describe() {
    describe_counter!(BATCHES, "Batches of the log made durable, for all groups of this node.");
    describe_counter!(SYNCS, "Calls of fdatasync on the log.");
    describe_counter!(ENTRIES, "Entries of the log made durable, for all groups of this node.");
    describe_counter!(BYTES, Unit::Bytes, "Bytes written to the log, padding and second copies included.");
}
