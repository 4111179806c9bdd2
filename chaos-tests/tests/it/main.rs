//! Real processes under faults; see the modules.

#![expect(clippy::tests_outside_test_module, reason = "an integration binary is all tests")]

mod basics;
mod failpoints;
mod kill;
mod power;
mod refusals;
