//! What the log stores of a group: votes, entries, and what became of entries.
//!
//! A record is kind, group, Raft id, then the fields of its kind, little-endian. An entry carries a checksum of its own, so that it can be read alone.

use std::fmt;

use bytes::{BufMut, Bytes};
use skep_placement::ids::{GroupId, RaftId};

use crate::format::fields::{Fields, FormatError};

const KIND_VOTE: u8 = 1;
const KIND_ENTRY: u8 = 2;
const KIND_TRUNCATE: u8 = 3;
const KIND_PURGE: u8 = 4;
const KIND_COMMITTED: u8 = 5;
const KIND_REMOVED: u8 = 6;

/// Bytes of an entry record before its payload: kind, group, Raft id, position, length, checksum.
const ENTRY_OVERHEAD: usize = 1 + 16 + 24 + 4 + 4;

/// One placement of one group on this node: whose log it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKey {
    /// The group.
    pub group: GroupId,
    /// Its replica here; a group that comes back has another and starts empty.
    pub raft: RaftId,
}

impl fmt::Display for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group {} (Raft id {})", self.group, self.raft)
    }
}

/// The identity of an entry. Ordered as Raft orders them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPosition {
    /// The leader's term.
    pub term: u64,
    /// The leader's Raft id.
    pub leader: u64,
    /// The place in the group's log.
    pub index: u64,
}

/// The vote of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoredVote {
    /// The term voted in.
    pub term: u64,
    /// The Raft id voted for.
    pub leader: u64,
    /// Whether a quorum granted it.
    pub committed: bool,
}

/// An entry: where it stands, and what it carries, opaque here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Where it stands.
    pub position: LogPosition,
    /// What it carries.
    pub payload: Bytes,
}

/// One step of a group's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    Vote(StoredVote),
    Entry(LogEntry),
    /// Entries from this index on are gone.
    Truncate {
        from: u64,
    },
    /// Entries up to this one are gone.
    Purge(LogPosition),
    Committed(LogPosition),
    /// The whole log of the group is gone.
    Removed,
}

impl Record {
    /// How many bytes its encoding takes.
    pub(crate) fn length(&self) -> usize {
        match self {
            Record::Vote(_) => 34,
            Record::Entry(entry) => ENTRY_OVERHEAD + entry.payload.len(),
            Record::Truncate { .. } => 25,
            Record::Purge(_) | Record::Committed(_) => 41,
            Record::Removed => 17,
        }
    }

    /// Appends its encoding.
    pub(crate) fn encode(&self, key: GroupKey, bytes: &mut Vec<u8>) {
        let start = bytes.len();
        let kind = match self {
            Record::Vote(_) => KIND_VOTE,
            Record::Entry(_) => KIND_ENTRY,
            Record::Truncate { .. } => KIND_TRUNCATE,
            Record::Purge(_) => KIND_PURGE,
            Record::Committed(_) => KIND_COMMITTED,
            Record::Removed => KIND_REMOVED,
        };
        bytes.put_u8(kind);
        put_key(bytes, key);
        match self {
            Record::Vote(vote) => put_vote(bytes, *vote),
            Record::Entry(entry) => {
                put_position(bytes, entry.position);
                bytes.put_u32_le(u32::try_from(entry.payload.len()).expect("an entry is at most a few MiB"));
                let checksum = entry_checksum(&bytes[start..], &entry.payload);
                bytes.put_u32_le(checksum);
                bytes.put_slice(&entry.payload);
            }
            Record::Truncate { from } => bytes.put_u64_le(*from),
            Record::Purge(position) | Record::Committed(position) => put_position(bytes, *position),
            Record::Removed => {}
        }
        assert_eq!(bytes.len() - start, self.length(), "a record takes the bytes it says");
    }
}

/// Takes the next record of a batch; `whole` is what `fields` reads, so that payloads can be copied only when wanted.
pub(crate) fn take_record(fields: &mut Fields<'_>) -> Result<(GroupKey, Record), FormatError> {
    let whole = *fields;
    let kind = fields.u8()?;
    let key = GroupKey { group: GroupId(fields.u64()?), raft: RaftId(fields.u64()?) };
    let record = match kind {
        KIND_VOTE => Record::Vote(take_vote(fields)?),
        KIND_ENTRY => {
            let position = take_position(fields)?;
            let length = fields.count(1)?;
            let mut again = whole;
            let head = again.take(ENTRY_OVERHEAD - 4)?;
            let checksum = fields.u32()?;
            let payload = fields.take(length)?;
            if entry_checksum(head, payload) != checksum {
                return Err(FormatError { problem: "the checksum of an entry is wrong" });
            }
            Record::Entry(LogEntry { position, payload: Bytes::copy_from_slice(payload) })
        }
        KIND_TRUNCATE => Record::Truncate { from: fields.u64()? },
        KIND_PURGE => Record::Purge(take_position(fields)?),
        KIND_COMMITTED => Record::Committed(take_position(fields)?),
        KIND_REMOVED => Record::Removed,
        _ => return Err(FormatError { problem: "a record of a kind that this program does not know" }),
    };
    Ok((key, record))
}

fn entry_checksum(head: &[u8], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(head), payload)
}

pub(crate) fn put_key(bytes: &mut Vec<u8>, key: GroupKey) {
    bytes.put_u64_le(key.group.0);
    bytes.put_u64_le(key.raft.0);
}

pub(crate) fn put_vote(bytes: &mut Vec<u8>, vote: StoredVote) {
    bytes.put_u64_le(vote.term);
    bytes.put_u64_le(vote.leader);
    bytes.put_u8(u8::from(vote.committed));
}

pub(crate) fn take_vote(fields: &mut Fields<'_>) -> Result<StoredVote, FormatError> {
    Ok(StoredVote { term: fields.u64()?, leader: fields.u64()?, committed: fields.flag()? })
}

pub(crate) fn put_position(bytes: &mut Vec<u8>, position: LogPosition) {
    bytes.put_u64_le(position.term);
    bytes.put_u64_le(position.leader);
    bytes.put_u64_le(position.index);
}

pub(crate) fn take_position(fields: &mut Fields<'_>) -> Result<LogPosition, FormatError> {
    Ok(LogPosition { term: fields.u64()?, leader: fields.u64()?, index: fields.u64()? })
}
