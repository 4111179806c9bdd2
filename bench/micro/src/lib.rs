//! Microbenchmarks of any crate: the same cases are timed by criterion, or run as often as said for who counts their instructions.
//!
//! Not the benchmark of clusters (`skep-bench`). Invariant: nothing here and in no case depends on a clock, on chance or on the environment, so that
//! two runs of a build have the same instructions.

mod case;
mod run;

pub use case::{Amount, Case};
pub use run::run;
