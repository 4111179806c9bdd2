//! The bounds that commands and answers are held to. They decide outcomes, so a changed one needs a new version of the commands.

/// Names of a path, and so the depth that entries are made at.
pub(crate) const PATH_NAMES_MAX: usize = 1_000;
/// Bytes of a name.
pub(crate) const NAME_BYTES_MAX: usize = 255;
/// Entries that one command may touch.
pub(crate) const ENTRIES_TOUCHED_MAX: u64 = 10_000;
/// Entries ever given out in a datasource.
pub(crate) const ENTRIES_MAX: u64 = 100_000_000;
/// Bytes of an inline content, in plaintext.
pub(crate) const INLINE_BYTES_MAX: usize = 4 << 10;
/// What encryption adds to an inline content: nonce and tag.
pub(crate) const SEAL_BYTES: usize = 12 + 16;
/// Bytes of a content whose chunks one commit names.
pub(crate) const CHUNK_LIST_BYTES_MAX: u64 = 64 << 20;
/// Bytes of a content.
pub(crate) const CONTENT_BYTES_MAX: u64 = 1 << 50;
/// Chunks in a part of a manifest, and in one append to an upload.
pub(crate) const MANIFEST_PART_CHUNKS: usize = 1_024;
/// Parts of manifests that one command releases.
pub(crate) const RELEASED_PARTS_MAX: u64 = 8;
/// Seconds of a lease of an upload or a job.
pub(crate) const LEASE_SECONDS_MAX: u64 = 7 * 24 * 3_600;
/// Bytes of a note at an entry.
pub(crate) const NOTE_BYTES_MAX: usize = 64 << 10;
/// Bytes of a text in a record: a label, a media type, a description.
pub(crate) const TEXT_BYTES_MAX: usize = 4 << 10;
/// Bytes of a job's parameters, position or message.
pub(crate) const JOB_TEXT_BYTES_MAX: usize = 1 << 20;
/// Numbers of a session from its lowest unanswered one on that are taken.
pub(crate) const SESSION_WINDOW: u64 = 4_096;
/// Rows that one closing of sessions or pruning may delete before it stops at the next whole item.
pub(crate) const ROWS_DELETED_MAX: u64 = 8_192;
/// Groups of a cluster.
pub(crate) const GROUPS_MAX: u64 = 64;
/// Past sets that a placement group remembers.
pub(crate) const PAST_SETS_MAX: usize = 256;
/// Placement groups that one command may split a pool into.
pub(crate) const PLACEMENT_GROUPS_MAX: u32 = 16_384;
/// Roots of a workspace.
pub(crate) const WORKSPACE_ROOTS_MAX: usize = 64;
/// Entries of one page of an answer.
pub(crate) const PAGE_MAX: usize = 1_000;
/// Chunks of one answer.
pub(crate) const CHUNKS_ANSWERED_MAX: usize = 1_024;
/// The greatest clock that is taken for true, in microseconds: stamps have room above it for ever.
pub(crate) const CLOCK_MAX: u64 = 1 << 62;
/// Seconds that what a repeatable request gave is kept.
pub(crate) const IDEMPOTENT_SECONDS: u64 = 24 * 3_600;
/// Seconds that a line of the audit is kept.
pub(crate) const AUDIT_SECONDS: u64 = 90 * 24 * 3_600;
/// Steps of a batch: as many entries as a command may touch, each replaced in two steps, and what must hold still.
pub(crate) const BATCH_STEPS_MAX: usize = 20_001;
/// Refusals that one command writes into the audit.
pub(crate) const REFUSALS_NOTED_MAX: usize = 256;
/// Seconds that reads of the past may go back where nothing else is set.
pub(crate) const HISTORY_SECONDS: u64 = 7 * 24 * 3_600;
/// Rows of a name's history that are searched for a version.
pub(crate) const HISTORY_ROWS_SEARCHED: usize = 1_000;
/// Seconds within which no policy prunes what was current, where it says nothing.
pub(crate) const KEEP_ALL_SECONDS: u64 = 24 * 3_600;
/// Rows that one step of pruning may delete.
pub(crate) const PRUNED_ROWS_MAX: u32 = 1_000;
/// Locks of a datasource.
pub(crate) const LOCKS_MAX: usize = 10_000;
/// Locks on one entry: shared ones.
pub(crate) const LOCKS_PER_ENTRY_MAX: usize = 64;
/// Lists of states in one command, and tests of each.
pub(crate) const STATE_TESTS_MAX: usize = 64;
/// Tokens of locks that one command submits.
pub(crate) const LOCK_TOKENS_MAX: usize = 1_024;
/// Seconds of a lock.
pub(crate) const LOCK_SECONDS_MAX: u64 = 7 * 24 * 3_600;
/// Namespaces that administrators may define.
pub(crate) const NAMESPACES_MAX: usize = 256;
/// Policies of a namespace.
pub(crate) const NAMESPACE_POLICIES_MAX: usize = 64;
/// Tags that a namespace knows.
pub(crate) const TAGS_MAX: usize = 10_000;
/// Bytes of a tag.
pub(crate) const TAG_BYTES_MAX: usize = 128;
