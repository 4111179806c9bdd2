//! The frames that nodes exchange about shards: how they stand in a stream, the messages in them, and what these say of a shard.
//!
//! It opens no connection and no file, and needs no RocksDB, so that its instructions can be counted.
//!
//! Invariant: lengths that a peer sent are checked before anything is allocated, its headers before they become a [`shard::ShardHeader`].

pub mod frame;
pub mod limits;
pub mod messages;
pub mod shard;
pub mod wire;
