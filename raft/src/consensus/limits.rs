//! Every bound of consensus.

use std::time::Duration;

/// Bytes of a message between nodes, either way.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Commands packed into one entry.
pub const ENTRY_COMMANDS_MAX: usize = 512;

/// Bytes of commands packed into one entry.
pub const ENTRY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The largest encoded command: what an entry holds less its own frame.
pub const COMMAND_BYTES_MAX: usize = ENTRY_BYTES_MAX - 1024;

/// Commands that wait at a leader, a group.
pub const WAITING_COMMANDS_MAX: usize = 4_096;

/// Bytes of commands that wait at a leader or are not applied yet, a group.
pub const WAITING_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Entries of one group that a leader has proposed and that are not applied yet.
pub const ENTRIES_IN_FLIGHT_MAX: usize = 4;

/// Calls with commands to one leader on another node that are under way; what comes meanwhile goes with the next.
pub const FORWARDS_IN_FLIGHT_MAX: usize = 4;

/// While an entry or a call is on its way, a further one is sent only with so many commands, or so many bytes of them: each costs several times what it
/// carries, and fewer are on their way sooner together.
pub const FURTHER_COMMANDS_MIN: usize = 128;

/// See [`FURTHER_COMMANDS_MIN`].
pub const FURTHER_BYTES_MIN: usize = 1024 * 1024;

/// An entry that is on its way for so long holds up no other: a leader that has lost its quorum is told so only when it proposes again. Longer than a leader's lease.
pub const ENTRY_SLOW: Duration = Duration::from_millis(1_100);

/// Whether commands of these sizes are worth a further entry or call while others are on their way.
pub(crate) fn is_worth_a_further_one(sizes: impl ExactSizeIterator<Item = usize>) -> bool {
    sizes.len() >= FURTHER_COMMANDS_MIN || sizes.sum::<usize>() >= FURTHER_BYTES_MIN
}

/// Bytes of entries or commands up to which a call goes by the line to a node; larger ones go by themselves and hold up nobody.
pub const LINE_CALL_BYTES_MAX: usize = 64 * 1024;

/// Calls that wait to be written to a line.
pub const LINE_CALLS_MAX: usize = 1_024;

/// Calls of one line that are answered at once: more than all groups of a node can have under way.
pub const LINE_ANSWERS_MAX: usize = 1_024;

/// Lines that wait to be opened.
pub const LINES_OPENING_MAX: usize = 256;

/// Entries sent in one append; their bytes are bounded by the log's reader.
pub const APPEND_ENTRIES_MAX: u64 = 256;

/// Entries applied by one task on a blocking thread.
pub const APPLY_ENTRIES_MAX: usize = 64;

/// Payload of the entries applied by one task on a blocking thread, in bytes.
pub const APPLY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Numbers of a session that may be unanswered; the state machine refuses those 4,096 beyond the lowest.
pub const UNANSWERED_MAX: usize = 4_000;

/// A session that lay idle so long is not used again: the state machine closes it after an hour.
pub const SESSION_IDLE_MAX: Duration = Duration::from_secs(50 * 60);

/// Sessions unused so long are closed, in seconds.
pub const SESSION_UNUSED_SECONDS: u64 = 3_600;

/// Readers of one group that wait for a read id.
pub const WAITING_READERS_MAX: usize = 16_384;

/// How long a request waits by default.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(4);

/// What a caller is told to wait before it tries again.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A pause between two tries to reach a leader.
pub const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// How often who fetches a read id lets others go first, as long as more readers come of it.
pub const READERS_TURNS_MAX: usize = 8;

/// How long one call for a read id may take before the leader is looked for anew.
pub const READ_ID_ATTEMPT: Duration = Duration::from_millis(1_000);

/// How long one call with a proposal may take before the leader is looked for anew; the session makes sure that it takes effect once.
pub const PROPOSAL_ATTEMPT: Duration = Duration::from_millis(2_000);

/// So much before a reader gives up he is told why.
pub const ANSWER_MARGIN: Duration = Duration::from_millis(50);

/// Hints that are followed at once, without a pause.
pub const HOPS_MAX: u32 = 4;

/// How long an append with entries may take: the receiver makes 4 MiB durable first. Heartbeats go on beside it.
pub const APPEND_DEADLINE: Duration = Duration::from_secs(5);

/// How long a part of a snapshot may wait for the receiver, and the last answer for the installation.
pub const SNAPSHOT_DEADLINE: Duration = Duration::from_secs(60);

/// Bytes of a snapshot's part.
pub const SNAPSHOT_PART_BYTES: usize = 1024 * 1024;

/// Files of a snapshot.
pub const SNAPSHOT_FILES_MAX: usize = 100_000;

/// A snapshot that nobody fetches is removed after this time; another can be made at any moment.
pub const SNAPSHOT_KEPT: Duration = Duration::from_secs(120);

/// A learner this near to the leader's last entry may become a voter.
pub const CAUGHT_UP_ENTRIES: u64 = 1_000;

/// How long one step of a membership change may take.
pub const CHANGE_DEADLINE: Duration = Duration::from_secs(8);

/// How long the reconciler waits for another node's answer.
pub const STATUS_DEADLINE: Duration = Duration::from_secs(2);

/// A node that was heard this recently may be given a replica.
pub const ALIVE_WITHIN: Duration = Duration::from_secs(10);

/// Voters of the system group.
pub const SYSTEM_VOTERS_MAX: usize = 5;

/// Voters of a datasource's group.
pub const DATASOURCE_VOTERS_MAX: usize = 3;

/// How long a leader waits for its successor when it hands over.
pub const HAND_OVER_DEADLINE: Duration = Duration::from_secs(5);

/// Orders to the system group's replica that wait.
pub const ORDERS_MAX: usize = 4;

/// How long a node may take to go on from its replica: it copies a state and applies a log.
pub const RECOVERY_DEADLINE: Duration = Duration::from_secs(300);

/// How long the nodes that answer are waited for, until they have taken a recovered group over.
pub const ADOPTION_DEADLINE: Duration = Duration::from_secs(20);

/// How long another node's clock is waited for: an answer that took longer says little.
pub const CLOCK_DEADLINE: Duration = Duration::from_secs(1);

/// What was read of a clock counts so long.
pub const CLOCK_READING_KEPT: Duration = Duration::from_secs(15);

/// A leader whose clock is further off its peers' median hands over, microseconds.
pub const LEADER_CLOCK_OFF_MICROS_MAX: u64 = 2_000_000;

/// A leader with a wrong clock tries so often to find another.
pub const CLOCK_HAND_OVER_PAUSE: Duration = Duration::from_secs(60);

/// A leader without room tries so often to find another.
pub const SPACE_HAND_OVER_PAUSE: Duration = Duration::from_secs(60);

/// How often free space is measured.
pub const SPACE_INTERVAL: Duration = Duration::from_secs(1);

/// How often a replica looks after its snapshots and what is left of old states.
pub const UPKEEP_INTERVAL: Duration = Duration::from_millis(500);

/// The cluster map is read anew at most so often.
pub const DIRECTORY_INTERVAL: Duration = Duration::from_millis(20);

/// Uploads ended by one command.
pub const EXPIRED_UPLOADS_MAX: u32 = 256;

/// How long a stopped replica waits until nobody uses its state any more.
pub const RELEASE_DEADLINE: Duration = Duration::from_secs(5);

/// How often it looks.
pub const RELEASE_PAUSE: Duration = Duration::from_millis(5);
/// Rows that one step of pruning may delete.
pub const PRUNED_ROWS_MAX: u32 = 1_000;
/// Steps of one kind in a row, before others have their turn.
pub const PRUNING_STEPS_MAX: usize = 100;
