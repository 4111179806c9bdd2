//! Names of the log's counters. None has a label.

/// Batches made durable.
pub const BATCHES: &str = "skep_log_batches_total";
/// Calls of fdatasync on a segment.
pub const SYNCS: &str = "skep_log_syncs_total";
/// Entries made durable.
pub const ENTRIES: &str = "skep_log_entries_total";
/// Bytes written to segments, padding and second copies included.
pub const BYTES: &str = "skep_log_bytes_total";
