//! The state machine as its users see it: commands in, outcomes and answers out, on the store in memory and on RocksDB.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::missing_assert_message, reason = "the values compared say it")]

#[path = "state_machine/audit.rs"]
mod audit;
#[path = "state_machine/batches.rs"]
mod batches;
#[path = "state_machine/broken.rs"]
mod broken;
#[path = "state_machine/collection.rs"]
mod collection;
#[path = "state_machine/entry_limit.rs"]
mod entry_limit;
#[path = "state_machine/feed.rs"]
mod feed;
#[path = "state_machine/fuzz.rs"]
mod fuzz;
#[path = "state_machine/group.rs"]
mod group;
#[path = "state_machine/identities.rs"]
mod identities;
#[path = "state_machine/locks.rs"]
mod locks;
#[path = "state_machine/metadata.rs"]
mod metadata;
#[path = "state_machine/model.rs"]
mod model;
#[path = "state_machine/pair.rs"]
mod pair;
#[path = "state_machine/past_model.rs"]
mod past_model;
#[path = "state_machine/policies.rs"]
mod policies;
#[path = "state_machine/quota_model.rs"]
mod quota_model;
#[path = "state_machine/quotas.rs"]
mod quotas;
#[path = "state_machine/reading.rs"]
mod reading;
#[path = "state_machine/repeat.rs"]
mod repeat;
#[path = "state_machine/replaced.rs"]
mod replaced;
#[path = "state_machine/replayed.rs"]
mod replayed;
#[path = "state_machine/restore_model.rs"]
mod restore_model;
#[path = "state_machine/script.rs"]
mod script;
#[path = "state_machine/script_past.rs"]
mod script_past;
#[path = "state_machine/sessions.rs"]
mod sessions;
#[path = "state_machine/steps.rs"]
mod steps;
#[path = "state_machine/stores.rs"]
mod stores;
#[path = "state_machine/system.rs"]
mod system;
#[path = "state_machine/system_script.rs"]
mod system_script;
#[path = "state_machine/tree_model.rs"]
mod tree_model;
#[path = "state_machine/upkeep.rs"]
mod upkeep;
