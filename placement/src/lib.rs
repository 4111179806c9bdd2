//! Where bytes live: profiles, failure domains, placement groups, the erasure codec and chunk ids.
//!
//! Nothing here does I/O, reads a clock or draws a random number; what decides takes time and chance as arguments.

pub mod ids;
