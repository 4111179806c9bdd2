//! Newtypes for every id, so that two ids of different things never change places.
//!
//! Ids are plain values: who hands them out (the system group's counters, a gateway, a hash) is said at each type.

use std::fmt;
use std::str::FromStr;

/// Defines a `u64` newtype that prints as its number.
macro_rules! number_id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = std::num::ParseIntError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

number_id!(
    /// A server process of the cluster; 1 for the first, then a counter of the system group. Never used again.
    NodeId
);
number_id!(
    /// One data directory of a node; a counter of the system group. Never used again.
    DeviceId
);
number_id!(
    /// A named root of storage; a counter of the system group from 1.
    DatasourceId
);
number_id!(
    /// A Raft group: 0 is the system group, any other the group of the datasource with the same number.
    GroupId
);
number_id!(
    /// How often a group was recovered after a lost quorum; older generations are refused for ever.
    Generation
);
number_id!(
    /// One placement of one group on one node; a counter of the system group. Never used again.
    RaftId
);
number_id!(
    /// A start of a node's process; counted by the node on its disk, registered with the system group.
    BootNumber
);
number_id!(
    /// All datasources of one profile share a pool; a counter of the system group.
    PoolId
);
number_id!(
    /// A version of one placement group's device sets.
    Epoch
);
number_id!(
    /// One content of a datasource; a counter of its group.
    ContentId
);
number_id!(
    /// One registered upload of a datasource; a counter of its group.
    UploadId
);
number_id!(
    /// A moment in microseconds since the Unix epoch; monotone within a group.
    Stamp
);

impl GroupId {
    /// The group that holds the cluster map, identities, workspaces and jobs.
    pub const SYSTEM: GroupId = GroupId(0);
}

impl From<DatasourceId> for GroupId {
    fn from(id: DatasourceId) -> Self {
        GroupId(id.0)
    }
}

/// The digits of a UUID in their five groups. Listings write one for each entry.
fn uuid_text(bytes: &[u8; 16]) -> [u8; 36] {
    let digit = |half: u8| if half < 10 { b'0' + half } else { b'a' + half - 10 };
    let mut text = [b'-'; 36];
    let digits = bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
    let places = text.iter_mut().enumerate().filter(|(place, _)| !matches!(place, 8 | 13 | 18 | 23));
    for ((_, place), digit) in places.zip(digits) {
        *place = digit;
    }
    text
}

/// Defines a 16-byte newtype that prints as a UUID.
macro_rules! uuid_id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(std::str::from_utf8(&uuid_text(&self.0)).expect("digits are ASCII"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let compact: String = text.chars().filter(|c| *c != '-').collect();
                hex_array(&compact).map(Self)
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = InvalidId;

            fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
                bytes.try_into().map(Self).map_err(|_wrong_length| InvalidId)
            }
        }
    };
}

uuid_id!(
    /// The whole cluster, drawn once by `skep init`.
    ClusterId
);
uuid_id!(
    /// A file or a folder in a datasource's tree. The root of each tree is [`EntryId::ROOT`].
    EntryId
);
uuid_id!(
    /// One version of a file.
    VersionId
);
uuid_id!(
    /// A user, a workspace, a role, a token or a job.
    RecordId
);

impl EntryId {
    /// The root folder of every datasource's tree.
    pub const ROOT: EntryId = EntryId([0; 16]);
}

/// Identity of a chunk: the BLAKE3 of its plaintext under its datasource's key, 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId(pub [u8; 32]);

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ChunkId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        hex_array(text).map(Self)
    }
}

impl TryFrom<&[u8]> for ChunkId {
    type Error = InvalidId;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        bytes.try_into().map(Self).map_err(|_wrong_length| InvalidId)
    }
}

/// One writing of a chunk by one process; never drawn twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteId {
    /// The gateway that wrote.
    pub node: NodeId,
    /// Its process.
    pub boot: BootNumber,
    /// Its count of writings since it started.
    pub counter: u64,
}

impl fmt::Display for WriteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.node, self.boot, self.counter)
    }
}

/// One stored writing of a chunk. Shards of different instances are never combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId {
    /// What was written.
    pub chunk: ChunkId,
    /// Which writing of it.
    pub write: WriteId,
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.chunk, self.write)
    }
}

/// A placement group: a hash bucket of a pool's chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PgId {
    /// The pool it is a part of.
    pub pool: PoolId,
    /// Its number in the pool, from 0.
    pub index: u32,
}

impl fmt::Display for PgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.pool, self.index)
    }
}

/// A text or a byte string that is no id of the kind asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id: wrong length or a character that is no hexadecimal digit")]
pub struct InvalidId;

fn hex_array<const LENGTH: usize>(text: &str) -> Result<[u8; LENGTH], InvalidId> {
    let digits = text.as_bytes();
    if digits.len() != 2 * LENGTH {
        return Err(InvalidId);
    }
    let mut bytes = [0; LENGTH];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_not_text| InvalidId)?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_not_hex| InvalidId)?;
    }
    Ok(bytes)
}
