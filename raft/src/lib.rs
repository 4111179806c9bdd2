//! Skep.
pub mod command;
pub mod consensus;
pub mod errors;
pub mod format;
pub mod handle;
pub mod invariants;
pub mod keys;
pub mod log;
pub mod metrics;
pub mod options;
pub mod query;
pub mod recovery;
pub mod state;
pub mod store;
pub mod system_view;
pub mod types;
pub mod wire;
