//! Consensus: the Raft groups of this node, and how commands and questions reach the right replica of each.
//!
//! Openraft stays inside. The pieces: [`state_machine`] applies entries to a [`stores::ReplicaStore`]; [`network`] and [`router`] carry calls between
//! replicas, [`gateway_calls`] those of other nodes' gateways; [`batcher`] packs commands at a leader; [`sessions`], [`propose`] and [`forward`] bring a
//! command to the leader exactly once; [`read_id`] and [`read`] make reads linearizable; [`groups`] starts what the system group places here; [`plan`], [`membership`] and
//! [`reconciler`] decide and change who is a member; [`clocks`] keeps leaders with wrong clocks from leading, [`full_leader`] those without room;
//! [`recover`], [`survey`], [`seed`] and [`system_placement`] have a group go on after a lost quorum.
//!
//! Invariants: a replica that was begun is never begun again from nothing; a Raft id belongs to one placement for ever; every wait has a deadline; what
//! may have been proposed is never reported as not done.

mod adoption;
mod batcher;
pub(crate) mod clocks;
mod codec;
mod config;
pub(crate) mod context;
mod directory;
pub(crate) mod forward;
pub(crate) mod full_leader;
pub(crate) mod gateway_calls;
pub(crate) mod groups;
pub(crate) mod hand_over;
pub mod limits;
pub(crate) mod line;
mod membership;
pub mod memory;
mod network;
mod note_index;
mod plan;
mod propose;
mod pruning;
mod read;
mod read_id;
pub(crate) mod reconciler;
pub(crate) mod recover;
pub(crate) mod replica;
mod replica_state;
#[cfg(feature = "rocksdb")]
pub mod rocks;
pub(crate) mod router;
pub mod seed;
mod sessions;
pub mod snapshot;
mod snapshot_receiver;
mod snapshot_sender;
mod space;
mod state_machine;
pub(crate) mod status;
pub mod stores;
mod survey;
pub(crate) mod system_placement;
mod upkeep;

pub use context::Leadership;

/// Every failpoint of applying and of snapshots. At each the process may end without any acknowledged thing being lost.
pub const FAILPOINTS: &[&str] =
    &["apply-before-commit", "apply-after-commit", "snapshot-built", "install-received", "install-before-pointer", "install-after-pointer"];

/// Every failpoint of a recovery after a lost quorum: its steps, and what who hears of it notes. What was acknowledged to a majority that is
/// gone may be lost then; ending at one of these loses nothing more.
pub const RECOVERY_FAILPOINTS: &[&str] = &["recovery-copied", "recovery-before-vote", "recovery-before-start", "adoption-noted"];

pub use gateway_calls::MetadataService;
pub use router::RaftService;

#[cfg(test)]
mod tests {
    use super::{FAILPOINTS, RECOVERY_FAILPOINTS, seed};

    #[test]
    fn every_failpoint_is_listed_once() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/consensus");
        let files = std::fs::read_dir(folder).expect("the sources are here").map(|file| file.expect("a file of the sources").path());
        let sources: String = files.map(|file| std::fs::read_to_string(&file).expect("text")).collect();
        let listed = [FAILPOINTS, RECOVERY_FAILPOINTS].concat();
        assert_eq!(sources.matches("fail_point!(").count(), listed.len(), "none is missing");
        for name in listed {
            assert_eq!(sources.matches(&format!("fail_point!(\"{name}\"")).count(), 1, "{name}");
        }
        assert!(RECOVERY_FAILPOINTS.starts_with(seed::FAILPOINTS), "the steps of a recovery come first");
    }
}
