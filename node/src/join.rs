//! How a node enters a cluster: a one-time token that pins the cluster's authority, the joiner's side, the cluster's side.
//!
//! Invariants: the joiner speaks to nobody but a node whose certificate the pinned authority signed; the cluster gives its secrets to nobody but
//! who shows an unused token's secret; a join that was interrupted is repeated with the same token and the same key and gives the same node.

pub mod client;
pub mod service;
pub mod token;

pub use token::JoinToken;

/// Messages generated from `node/proto/skep/join`.
pub mod wire {
    #![expect(
        missing_docs,
        unused_qualifications,
        clippy::allow_attributes,
        clippy::allow_attributes_without_reason,
        clippy::missing_errors_doc,
        reason = "generated; the comments stand in the proto file"
    )]
    tonic::include_proto!("skep.join.v1");
}
