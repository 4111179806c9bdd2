//! How openraft is set: timers from the options, everything else fixed.

use std::sync::Arc;
use std::time::Duration;

use openraft::{Config, ConfigError, SnapshotPolicy, StepDownPolicy};
use skep_placement::ids::GroupId;

use super::limits;
use crate::options::MetadataOptions;

/// Makes the configuration of a group.
///
/// # Errors
/// The timers contradict each other.
pub(crate) fn config(options: &MetadataOptions, group: GroupId) -> Result<Arc<Config>, ConfigError> {
    let (election_timeout_min, election_timeout_max) = election_timeouts(options);
    let config = Config {
        cluster_name: format!("group {group}"),
        heartbeat_interval: milliseconds(options.heartbeat),
        election_timeout_min,
        election_timeout_max,
        enable_pre_vote: Some(true),
        allow_log_reversion: Some(false),
        // A restarted leader stands for election like everybody: its followers may have gone on without it.
        enable_leader_restore: Some(false),
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: options.kept_entries,
        max_payload_entries: limits::APPEND_ENTRIES_MAX,
        install_snapshot_timeout: milliseconds(limits::SNAPSHOT_DEADLINE),
        removed_leader_step_down: StepDownPolicy::After(milliseconds(options.heartbeat)),
        // A leader that was cut off stops its heartbeats for a while, so that followers which still hear it may elect another.
        quorum_loss_probe_interval: Some(milliseconds(options.election_timeout_max) * 2),
        backoff: "100ms 200ms 400ms ..1s".to_owned(),
        ..Config::default()
    };
    Ok(Arc::new(config.validate()?))
}

/// What the library is told, so that a silent leader's followers stand for election when the options say so.
///
/// The library waits the leader's lease, which is its longest time-out, *and then* a time-out: with the options taken as they are an election would
/// begin after twice their longest time, which is longer than a request waits.
fn election_timeouts(options: &MetadataOptions) -> (u64, u64) {
    let heartbeat = milliseconds(options.heartbeat);
    let lease = (milliseconds(options.election_timeout_max) / 2).max(heartbeat + 2);
    let least = milliseconds(options.election_timeout_min).saturating_sub(lease).clamp(heartbeat + 1, lease - 1);
    (least, lease)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consensus::memory::MemoryStores;
    use crate::options::NodeIdentity;
    use skep_placement::ids::{BootNumber, ClusterId, NodeId};

    #[test]
    fn the_defaults_are_the_decided_ones() {
        let identity = NodeIdentity {
            cluster: ClusterId([1; 16]),
            node: NodeId(1),
            boot: BootNumber(1),
            data_dir: std::path::PathBuf::from("/nowhere"),
        };
        let options = MetadataOptions::new(identity, Arc::new(MemoryStores), Arc::new(|| 0), Arc::new(|_: &str| {}));
        assert_eq!(options.validate(), Ok(()), "the defaults");
        let config = config(&options, GroupId::SYSTEM).expect("the defaults");
        let (lease, shortest, longest) = (config.election_timeout_max, config.election_timeout_min, config.election_timeout_max);
        assert_eq!((config.heartbeat_interval, lease + shortest, lease + longest), (250, 1251, 2000), "silence until an election");
        assert_eq!((config.enable_pre_vote, config.allow_log_reversion), (Some(true), Some(false)), "elections");
        assert_eq!(config.snapshot_policy, SnapshotPolicy::Never, "snapshots");
    }
}
