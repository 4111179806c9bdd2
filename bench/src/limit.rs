//! The limit program: what this machine can do of the same work, by the simplest program that does it.
//!
//! A process for each node. The client's hop is HTTP by the same library, the hops between nodes are frames over mutual TLS by rustls, bytes are
//! hashed (BLAKE3) and encoded by the same codec and written with one fdatasync for all who wait, in the classes of the store: up to 4 KiB a record of
//! a log on a quorum, up to 128 KiB whole copies and a record, above that k+m shards for every 4 MiB and a record. A read first has the leader
//! confirmed by a quorum, once for all who wait. Nothing else is there: no rights, no tree, no versions, no recovery, one hash instead of three.

mod appender;
pub mod cluster;
mod content;
mod http_face;
mod leader;
mod node;
mod peer;
mod record;
mod tls;

pub use node::{LimitNodeOptions, run};
