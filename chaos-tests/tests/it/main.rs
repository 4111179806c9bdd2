//! Real processes under faults; see the modules.

#![expect(clippy::unwrap_used, clippy::missing_assert_message, reason = "a test that fails shows the line and the value")]

mod basics;
mod drain;
mod failpoints;
mod feed;
mod full;
mod history;
mod kill;
mod listing;
mod power;
mod prune;
mod refusals;
