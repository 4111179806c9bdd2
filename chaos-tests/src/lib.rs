//! Clusters of real processes under faults: starts them, kills them, cuts their power, and checks that what was acknowledged is there.
//!
//! The oracle is simple on purpose: a write that was answered with success is *acknowledged* and must be read back unchanged for ever; one
//! that failed or timed out is *unknown* and may be there or not.

#![expect(clippy::missing_panics_doc, reason = "a test that cannot go on ends so")]

pub mod by_hand;
pub mod client;
pub mod cluster;
pub mod content;
pub mod https;
pub mod memory;
pub mod oracle;
pub mod power;
pub mod processes;
pub mod skipped;
pub mod timed;
pub mod wait;
