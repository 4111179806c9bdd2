//! Messages generated from `raft/proto`: what is stored and what is sent, by package and version.

#![expect(
    missing_docs,
    unused_qualifications,
    clippy::all,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::missing_errors_doc,
    clippy::too_many_lines,
    reason = "generated; the comments stand in the proto files"
)]

/// Stored values, records, commands, outcomes, and queries.
pub mod meta {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("skep.meta.v1");
    }
}

/// Calls between nodes.
pub mod raft {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("skep.raft.v1");
    }
}
