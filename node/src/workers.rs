//! Background work of a node: each worker reports its name, state, queue and last error, runs until it is told to stop, and is joined.

pub mod damage;
pub mod placement;
pub mod repair;
mod repair_order;
