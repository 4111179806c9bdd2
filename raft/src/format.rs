//! What is stored and sent as bytes of our own making: fixed little-endian fields, a version first, lengths checked, nothing left over.
//!
//! Each format has a frozen byte vector a version in its tests; a new version keeps the decoder of the one before it.

pub(crate) mod fields;
pub mod raft_types;
