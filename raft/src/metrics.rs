//! Names of the metrics of consensus. Labels: `group` is the number of the group, at most 64 values.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Commands proposed by this process, by `group` and `result` (done, rejected, unavailable, unknown, busy, other).
pub const COMMANDS_TOTAL: &str = "skep_raft_commands_total";

/// Seconds from a command's proposal to its outcome as its caller saw it, by `group`.
pub const COMMAND_SECONDS: &str = "skep_raft_command_seconds";

/// Commands packed into one entry by a leader here, by `group`.
pub const ENTRY_COMMANDS: &str = "skep_raft_entry_commands";

/// Commands brought to a leader on another node in one call.
pub const FORWARDED_COMMANDS: &str = "skep_raft_forwarded_commands";

/// Commands that wait for a leader here, by `group`.
pub const WAITING_COMMANDS: &str = "skep_raft_waiting_commands";

/// Read ids fetched, by `group`; many reads share one.
pub const READ_IDS_TOTAL: &str = "skep_raft_read_ids_total";

/// Entries applied to the local state, by `group`.
pub const APPLIED_ENTRIES_TOTAL: &str = "skep_raft_applied_entries_total";

/// Snapshots built, by `group`.
pub const SNAPSHOTS_BUILT_TOTAL: &str = "skep_raft_snapshots_built_total";

/// Snapshots received and installed, by `group`.
pub const SNAPSHOTS_INSTALLED_TOTAL: &str = "skep_raft_snapshots_installed_total";

/// Whether this node leads the group (1) or not (0), by `group`.
pub const LEADS: &str = "skep_raft_leads";

/// Calls of other nodes that were refused because their envelope was wrong, by `reason`.
pub const REFUSED_CALLS_TOTAL: &str = "skep_raft_refused_calls_total";

/// Steps that the reconciler took, by `step`.
pub const RECONCILER_STEPS_TOTAL: &str = "skep_raft_reconciler_steps_total";

/// Seconds that this node's clock is ahead of its peers' median.
pub const CLOCK_OFFSET_SECONDS: &str = "skep_raft_clock_offset_seconds";

/// Gives every metric of this crate its help text; called once by the node.
pub fn describe() {
    describe_counter!(COMMANDS_TOTAL, "Commands proposed by this node, by group and result.");
    describe_histogram!(COMMAND_SECONDS, Unit::Seconds, "Time from a command's proposal to its outcome as its caller saw it, by group.");
    describe_histogram!(ENTRY_COMMANDS, Unit::Count, "Commands that a leader here packed into one entry, by group.");
    describe_histogram!(FORWARDED_COMMANDS, Unit::Count, "Commands sent to a leader elsewhere by one call, by group.");
    describe_gauge!(WAITING_COMMANDS, Unit::Count, "Commands that wait for a leader here, by group.");
    describe_counter!(READ_IDS_TOTAL, "Read ids fetched from leaders, by group; many reads share one.");
    describe_counter!(APPLIED_ENTRIES_TOTAL, "Entries applied to the state here, by group.");
    describe_counter!(SNAPSHOTS_BUILT_TOTAL, "Snapshots built here, by group.");
    describe_counter!(SNAPSHOTS_INSTALLED_TOTAL, "Snapshots received and installed here, by group.");
    describe_gauge!(LEADS, "1 if this node leads the group, else 0.");
    describe_counter!(REFUSED_CALLS_TOTAL, "Calls of other nodes refused for their envelope, by reason.");
    describe_counter!(RECONCILER_STEPS_TOTAL, "Steps taken to change the members of groups, by step.");
    describe_gauge!(CLOCK_OFFSET_SECONDS, Unit::Seconds, "Seconds that this node's clock is ahead of its peers' median.");
    crate::log::metrics::describe();
}
