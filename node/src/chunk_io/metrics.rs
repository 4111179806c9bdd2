//! Names of this module's metrics.

/// 64 KiB blocks of shards that were asked for by readers.
pub const BLOCKS_READ: &str = "skep_shard_blocks_read_total";
/// Label of [`BLOCKS_READ`]: [`FIRST`] or [`AGAIN`].
pub const ASKED: &str = "asked";
/// What the range takes, asked for at the beginning.
pub const FIRST: &str = "first";
/// Asked for later, because a shard was slow, damaged or gone.
pub const AGAIN: &str = "again";
/// Chunks read with at least one shard reconstructed from parity.
pub const DEGRADED_READS: &str = "skep_degraded_chunk_reads_total";
/// Reads that asked another shard because one was slow.
pub const HEDGED_READS: &str = "skep_hedged_chunk_reads_total";
/// Chunks stored.
pub const CHUNKS_STORED: &str = "skep_chunks_stored_total";
/// Chunks stored in a smaller code than the profile's.
pub const CHUNKS_SHRUNK: &str = "skep_chunks_shrunk_total";
/// Plaintext bytes of stored chunks.
pub const CHUNK_BYTES_STORED: &str = "skep_chunk_bytes_stored_total";
/// Shards found damaged or absent.
pub const DAMAGED_SHARDS: &str = "skep_damaged_shards_total";
/// Chunks whose shards passed their checksums and gave another chunk.
pub const WRONG_CHUNKS: &str = "skep_wrong_chunks_total";

/// Registers the help texts.
pub fn describe() {
    metrics::describe_counter!(
        BLOCKS_READ,
        "64 KiB blocks of shards that readers asked devices for: first what a range takes, again for what was slow, damaged or gone"
    );
    metrics::describe_counter!(DEGRADED_READS, "chunks read with a shard reconstructed from parity");
    metrics::describe_counter!(HEDGED_READS, "chunk reads that asked another shard because one was slow");
    metrics::describe_counter!(CHUNKS_STORED, "chunks written to devices by this node");
    metrics::describe_counter!(CHUNKS_SHRUNK, "chunks written in a smaller code than the profile's, for want of live domains");
    metrics::describe_counter!(CHUNK_BYTES_STORED, "plaintext bytes of chunks written by this node");
    metrics::describe_counter!(WRONG_CHUNKS, "chunks looked for among all shards because those read gave another chunk");
    metrics::describe_counter!(DAMAGED_SHARDS, "shards that readers found damaged or absent");
}
