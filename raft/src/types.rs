//! The types openraft is used with: what an entry carries, what applying it answers, who a member is.
//!
//! A proposal and its answer are opaque bytes here; the commands and outcomes inside have their own versioned encoding. How entries, votes and
//! memberships themselves look on disk and on the wire is decided in [`crate::format::raft_types`], never by serde.

use std::fmt;
use std::path::PathBuf;

use bytes::Bytes;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use skep_placement::ids::NodeId;

openraft::declare_raft_types!(
    /// The types of every Raft group. Members are named by their `RaftId`, one leader id is (term, `RaftId`).
    pub TypeConfig:
        D = Proposal,
        R = Applied,
        NodeId = u64,
        Node = MemberNode,
);

/// The identity of a log entry: (term, leader, index).
pub type LogId = openraft::type_config::alias::LogIdOf<TypeConfig>;
/// The leader half of a [`LogId`].
pub type LeaderId = openraft::type_config::alias::LeaderIdOf<TypeConfig>;
/// A vote for a leader, or the leadership a quorum granted.
pub type Vote = openraft::type_config::alias::VoteOf<TypeConfig>;
/// A log entry.
pub type Entry = openraft::type_config::alias::EntryOf<TypeConfig>;
/// What a log entry carries.
pub type Payload = openraft::type_config::alias::PayloadOf<TypeConfig>;
/// The members of a group: one configuration, or two while it changes.
pub type Membership = openraft::Membership<u64, MemberNode>;
/// A membership with the entry that made it.
pub type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;
/// What a snapshot covers.
pub type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;
/// The running consensus of one group's replica.
pub type Raft<StateMachine> = openraft::Raft<TypeConfig, StateMachine>;

/// Defines a newtype of opaque bytes that serde writes as a byte string.
macro_rules! opaque_bytes {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            /// The encoded content.
            pub payload: Bytes,
        }

        impl From<Bytes> for $name {
            fn from(payload: Bytes) -> Self {
                Self { payload }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} bytes", self.payload.len())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(&self.payload)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_byte_buf(OpaqueBytes).map(Self::from)
            }
        }
    };
}

opaque_bytes!(
    /// A batch of encoded commands: the data of an entry.
    Proposal
);
opaque_bytes!(
    /// The encoded outcomes of a [`Proposal`], in its order.
    Applied
);

/// Reads a byte string, or a sequence of bytes where the format knows no byte strings.
struct OpaqueBytes;

impl<'de> Visitor<'de> for OpaqueBytes {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
        Ok(Bytes::copy_from_slice(bytes))
    }

    fn visit_byte_buf<E: serde::de::Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
        Ok(Bytes::from(bytes))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Bytes, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = sequence.next_element()? {
            bytes.push(byte);
        }
        Ok(Bytes::from(bytes))
    }
}

/// Where a member of a group runs. Its address is looked up in the cluster map, so that a node may move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberNode {
    /// The number of the node's [`NodeId`].
    pub node_id: u64,
}

impl MemberNode {
    /// The node it runs on.
    #[must_use]
    pub fn node(self) -> NodeId {
        NodeId(self.node_id)
    }
}

impl From<NodeId> for MemberNode {
    fn from(node: NodeId) -> Self {
        Self { node_id: node.0 }
    }
}

impl fmt::Display for MemberNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.node_id)
    }
}

/// A snapshot as openraft passes it on: the folder with its files, which stays until whoever holds this has used it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFiles {
    /// The folder.
    pub dir: PathBuf,
}
