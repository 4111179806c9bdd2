//! Real processes under faults; see the modules.

#![expect(clippy::unwrap_used, clippy::missing_assert_message, reason = "a test that fails shows the line and the value")]

mod administration;
mod basics;
mod drain;
mod failpoints;
mod feed;
mod full;
mod growth;
mod history;
mod hung;
mod kill;
mod layouts;
mod listing;
mod locks;
mod metrics;
mod power;
mod prune;
mod recovery;
mod refusals;
mod tree;
