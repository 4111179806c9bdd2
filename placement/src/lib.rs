//! Where bytes live: profiles, failure domains, placement groups, the erasure codec and chunk ids.
//!
//! Nothing here does I/O, reads a clock or draws a random number; what decides takes time and chance as arguments.
#![deny(clippy::wildcard_enum_match_arm, clippy::float_arithmetic)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

pub mod balance_plan;
pub mod checksum;
pub mod choose;
pub mod chunk;
pub mod cluster_view;
pub mod erasure;
pub mod ids;
pub mod invariants;
mod layout;
pub mod limits;
pub mod placement_map;
pub mod profile;
pub mod read_order;
mod rendezvous;
pub mod repair_plan;
pub mod testing;
