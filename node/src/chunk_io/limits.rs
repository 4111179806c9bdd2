//! Every maximum of reading and writing contents.

use std::time::Duration;

/// Granularity of the byte budget.
pub const PERMIT_BYTES: usize = 1 << 10;

/// Chunks of one file that are encoded and sent at once.
pub const CHUNKS_IN_FLIGHT_MAX: usize = 4;

/// Above it a write is a registered upload.
pub const UNREGISTERED_BYTES_MAX: u64 = 64 << 20;

/// After it a write becomes a registered upload.
pub const UNREGISTERED_TIME_MAX: Duration = Duration::from_secs(60);

/// Chunks named by one command of an upload; 1,024 is the format's limit.
pub const APPEND_CHUNKS_MAX: usize = 64;

/// How long chunks of an upload wait to be named by a command.
pub const APPEND_AFTER: Duration = Duration::from_secs(20);

/// How long an upload lives without an append.
pub const UPLOAD_LEASE: Duration = Duration::from_secs(15 * 60);

/// A client that takes longer to fill a chunk gets it cut.
pub const CHUNK_FILL_TIME_MAX: Duration = Duration::from_secs(10);

/// A client that sends nothing for so long is given up.
pub const BODY_IDLE_MAX: Duration = Duration::from_secs(60);

/// How long a write waits for memory.
pub const BUDGET_WAIT_MAX: Duration = Duration::from_secs(30);

/// How long an acknowledged chunk waits for its last shards before they are left to the repair queue.
pub const LINGER: Duration = Duration::from_millis(30);

/// How long a writer waits for a newer map after a device refused an old epoch, and a reader of a record that means a newer set.
pub const MAP_WAIT_MAX: Duration = Duration::from_secs(2);

/// Deadline of each command and query that a client waits for: without a quorum it is told so within five seconds.
pub const METADATA_DEADLINE: Duration = Duration::from_secs(4);

/// Deadline of each command that nobody waits for: of the repair, and to take back an upload.
pub const BACKGROUND_DEADLINE: Duration = Duration::from_secs(10);

/// Chunks fetched ahead of a reader.
pub const READ_AHEAD_CHUNKS: usize = 3;

/// Chunks asked for in one page of a manifest.
pub const MANIFEST_PAGE: u32 = 256;

/// A shard that takes longer is hedged by parity.
pub const HEDGE_AFTER: Duration = Duration::from_millis(250);

/// How often a reader fetches a chunk's record anew as long as it names another instance.
pub const REFETCHES_MAX: usize = 8;

/// Ways to choose k of k+m shards that are tried to find a chunk among wrong ones: all of them up to 8+3, which has 165.
pub const COMBINATIONS_MAX: usize = 512;
