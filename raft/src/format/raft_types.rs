//! The bytes of openraft's types, in the log and between nodes: entries, votes, log ids, memberships.
//!
//! Every value begins with [`VERSION`]. All numbers are little-endian; a log id is (term, leader, index), 24 bytes; an optional value follows a
//! flag; sets and maps are written in ascending order, so that equal values have equal bytes.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut, Bytes};
use openraft::EntryPayload;

use super::fields::Fields;
pub use super::fields::FormatError;
use crate::types::{Entry, LeaderId, LogId, MemberNode, Membership, Payload, Proposal, SnapshotMeta, StoredMembership, Vote};

/// The version written first in every value.
pub const VERSION: u8 = 1;

const KIND_BLANK: u8 = 0;
const KIND_NORMAL: u8 = 1;
const KIND_MEMBERSHIP: u8 = 2;

/// Encodes what an entry carries, without its log id.
#[must_use]
pub fn encode_payload(payload: &Payload) -> Bytes {
    let mut bytes = vec![VERSION];
    put_payload(&mut bytes, payload);
    bytes.into()
}

/// Decodes what an entry carries; a proposal shares the memory of `bytes`.
///
/// # Errors
/// The bytes are no payload of a known version.
pub fn decode_payload(bytes: &Bytes) -> Result<Payload, FormatError> {
    let mut fields = versioned(bytes)?;
    take_payload(&mut fields, bytes)
}

/// Encodes a whole entry, log id first.
#[must_use]
pub fn encode_entry(entry: &Entry) -> Bytes {
    let mut bytes = vec![VERSION];
    put_log_id(&mut bytes, &entry.log_id);
    put_payload(&mut bytes, &entry.payload);
    bytes.into()
}

/// Decodes a whole entry; a proposal shares the memory of `bytes`.
///
/// # Errors
/// The bytes are no entry of a known version.
pub fn decode_entry(bytes: &Bytes) -> Result<Entry, FormatError> {
    let mut fields = versioned(bytes)?;
    let log_id = take_log_id(&mut fields)?;
    let payload = take_payload(&mut fields, bytes)?;
    Ok(Entry { log_id, payload })
}

/// Encodes a vote.
#[must_use]
pub fn encode_vote(vote: &Vote) -> Bytes {
    let mut bytes = vec![VERSION];
    bytes.put_u64_le(vote.leader_id.term);
    bytes.put_u64_le(vote.leader_id.node_id);
    bytes.put_u8(u8::from(vote.committed));
    bytes.into()
}

/// Decodes a vote.
///
/// # Errors
/// The bytes are no vote of a known version.
pub fn decode_vote(bytes: &[u8]) -> Result<Vote, FormatError> {
    let mut fields = versioned(bytes)?;
    let leader_id = LeaderId { term: fields.u64()?, node_id: fields.u64()? };
    let committed = fields.flag()?;
    fields.finish()?;
    Ok(Vote { leader_id, committed })
}

/// Encodes an optional log id.
#[must_use]
pub fn encode_log_id(log_id: Option<&LogId>) -> Bytes {
    let mut bytes = vec![VERSION];
    put_optional_log_id(&mut bytes, log_id);
    bytes.into()
}

/// Decodes an optional log id.
///
/// # Errors
/// The bytes are no log id of a known version.
pub fn decode_log_id(bytes: &[u8]) -> Result<Option<LogId>, FormatError> {
    let mut fields = versioned(bytes)?;
    let log_id = take_optional_log_id(&mut fields)?;
    fields.finish()?;
    Ok(log_id)
}

/// Encodes a membership.
#[must_use]
pub fn encode_membership(membership: &Membership) -> Bytes {
    let mut bytes = vec![VERSION];
    put_membership(&mut bytes, membership);
    bytes.into()
}

/// Decodes a membership.
///
/// # Errors
/// The bytes are no membership of a known version.
pub fn decode_membership(bytes: &[u8]) -> Result<Membership, FormatError> {
    let mut fields = versioned(bytes)?;
    let membership = take_membership(&mut fields)?;
    fields.finish()?;
    Ok(membership)
}

/// Encodes a membership with the entry that made it.
#[must_use]
pub fn encode_stored_membership(stored: &StoredMembership) -> Bytes {
    let mut bytes = vec![VERSION];
    put_optional_log_id(&mut bytes, stored.log_id().as_ref());
    put_membership(&mut bytes, stored.membership());
    bytes.into()
}

/// Decodes a membership with the entry that made it.
///
/// # Errors
/// The bytes are no such membership of a known version.
pub fn decode_stored_membership(bytes: &[u8]) -> Result<StoredMembership, FormatError> {
    let mut fields = versioned(bytes)?;
    let stored = take_stored_membership(&mut fields)?;
    fields.finish()?;
    Ok(stored)
}

/// Encodes what a snapshot covers.
#[must_use]
pub fn encode_snapshot_meta(meta: &SnapshotMeta) -> Bytes {
    let mut bytes = vec![VERSION];
    put_optional_log_id(&mut bytes, meta.last_log_id.as_ref());
    put_optional_log_id(&mut bytes, meta.last_membership.log_id().as_ref());
    put_membership(&mut bytes, meta.last_membership.membership());
    bytes.into()
}

/// Decodes what a snapshot covers.
///
/// # Errors
/// The bytes are no such description of a known version.
pub fn decode_snapshot_meta(bytes: &[u8]) -> Result<SnapshotMeta, FormatError> {
    let mut fields = versioned(bytes)?;
    let last_log_id = take_optional_log_id(&mut fields)?;
    let last_membership = take_stored_membership(&mut fields)?;
    fields.finish()?;
    Ok(SnapshotMeta { last_log_id, last_membership })
}

fn versioned(bytes: &[u8]) -> Result<Fields<'_>, FormatError> {
    let mut fields = Fields::new(bytes);
    match fields.u8()? {
        VERSION => Ok(fields),
        _ => Err(FormatError { problem: "a version that this program does not know" }),
    }
}

fn put_payload(bytes: &mut Vec<u8>, payload: &Payload) {
    match payload {
        EntryPayload::Blank => bytes.put_u8(KIND_BLANK),
        EntryPayload::Normal(proposal) => {
            bytes.put_u8(KIND_NORMAL);
            bytes.put_slice(&proposal.payload);
        }
        EntryPayload::Membership(membership) => {
            bytes.put_u8(KIND_MEMBERSHIP);
            put_membership(bytes, membership);
        }
    }
}

/// The payload is the last field of what `whole` holds.
fn take_payload(fields: &mut Fields<'_>, whole: &Bytes) -> Result<Payload, FormatError> {
    let payload = match fields.u8()? {
        KIND_BLANK => EntryPayload::Blank,
        KIND_NORMAL => {
            let length = fields.left();
            fields.take(length)?;
            EntryPayload::Normal(Proposal { payload: whole.slice(whole.len() - length..) })
        }
        KIND_MEMBERSHIP => EntryPayload::Membership(take_membership(fields)?),
        _ => return Err(FormatError { problem: "an entry of a kind that this program does not know" }),
    };
    fields.finish()?;
    Ok(payload)
}

fn put_log_id(bytes: &mut Vec<u8>, log_id: &LogId) {
    bytes.put_u64_le(log_id.leader_id.term);
    bytes.put_u64_le(log_id.leader_id.node_id);
    bytes.put_u64_le(log_id.index);
}

fn take_log_id(fields: &mut Fields<'_>) -> Result<LogId, FormatError> {
    let leader_id = LeaderId { term: fields.u64()?, node_id: fields.u64()? };
    Ok(LogId { leader_id, index: fields.u64()? })
}

fn put_optional_log_id(bytes: &mut Vec<u8>, log_id: Option<&LogId>) {
    bytes.put_u8(u8::from(log_id.is_some()));
    if let Some(log_id) = log_id {
        put_log_id(bytes, log_id);
    }
}

fn take_optional_log_id(fields: &mut Fields<'_>) -> Result<Option<LogId>, FormatError> {
    if fields.flag()? { take_log_id(fields).map(Some) } else { Ok(None) }
}

fn put_count(bytes: &mut Vec<u8>, count: usize) {
    bytes.put_u32_le(u32::try_from(count).expect("a group has fewer than four thousand million members"));
}

fn put_membership(bytes: &mut Vec<u8>, membership: &Membership) {
    let configurations = membership.get_joint_config();
    put_count(bytes, configurations.len());
    for voters in configurations {
        put_count(bytes, voters.len());
        voters.iter().for_each(|voter| bytes.put_u64_le(*voter));
    }
    put_count(bytes, membership.nodes().count());
    for (member, node) in membership.nodes() {
        bytes.put_u64_le(*member);
        bytes.put_u64_le(node.node_id);
    }
}

fn take_membership(fields: &mut Fields<'_>) -> Result<Membership, FormatError> {
    let mut configurations = Vec::new();
    for _ in 0..fields.count(4)? {
        let mut voters = BTreeSet::new();
        for _ in 0..fields.count(8)? {
            voters.insert(fields.u64()?);
        }
        configurations.push(voters);
    }
    let mut nodes = BTreeMap::new();
    for _ in 0..fields.count(16)? {
        let member = fields.u64()?;
        nodes.insert(member, MemberNode { node_id: fields.u64()? });
    }
    Membership::new(configurations, nodes)
        .map_err(|_invalid| FormatError { problem: "a membership with an empty set of voters or a voter without a node" })
}

fn take_stored_membership(fields: &mut Fields<'_>) -> Result<StoredMembership, FormatError> {
    let log_id = take_optional_log_id(fields)?;
    Ok(StoredMembership::new(log_id, take_membership(fields)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_id(term: u64, leader: u64, index: u64) -> LogId {
        LogId { leader_id: LeaderId { term, node_id: leader }, index }
    }

    fn membership() -> Membership {
        let nodes = BTreeMap::from([(1, MemberNode { node_id: 10 }), (2, MemberNode { node_id: 11 }), (3, MemberNode { node_id: 12 })]);
        Membership::new(vec![BTreeSet::from([1]), BTreeSet::from([1, 2])], nodes).expect("every voter has a node")
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn version_1_is_frozen() {
        let vote = Vote { leader_id: LeaderId { term: 5, node_id: 7 }, committed: true };
        assert_eq!(hex(&encode_vote(&vote)), "010500000000000000070000000000000001", "a vote");
        let id = log_id(1, 2, 3);
        assert_eq!(hex(&encode_log_id(Some(&id))), "0101010000000000000002000000000000000300000000000000", "a log id");
        assert_eq!(hex(&encode_log_id(None)), "0100", "no log id");
        let blank = Entry { log_id: id, payload: EntryPayload::Blank };
        assert_eq!(hex(&encode_entry(&blank)), "0101000000000000000200000000000000030000000000000000", "a blank entry");
        let normal = Entry { log_id: id, payload: EntryPayload::Normal(Proposal { payload: Bytes::from_static(b"abc") }) };
        assert_eq!(hex(&encode_entry(&normal)), "0101000000000000000200000000000000030000000000000001616263", "a proposal");
        assert_eq!(
            hex(&encode_membership(&membership())),
            "0102000000010000000100000000000000020000000100000000000000020000000000000003000000\
             01000000000000000a0000000000000002000000000000000b0000000000000003000000000000000c00000000000000",
            "a membership"
        );
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for payload in [
            EntryPayload::Blank,
            EntryPayload::Normal(Proposal { payload: Bytes::from_static(b"x") }),
            EntryPayload::Membership(membership()),
        ] {
            let entry = Entry { log_id: log_id(9, 8, 7), payload };
            assert_eq!(decode_entry(&encode_entry(&entry)), Ok(entry.clone()), "an entry");
            assert_eq!(decode_payload(&encode_payload(&entry.payload)), Ok(entry.payload), "a payload");
        }
        let stored = StoredMembership::new(Some(log_id(1, 1, 4)), membership());
        assert_eq!(decode_stored_membership(&encode_stored_membership(&stored)), Ok(stored.clone()), "a stored membership");
        let empty = StoredMembership::default();
        assert_eq!(decode_stored_membership(&encode_stored_membership(&empty)), Ok(empty), "no membership yet");
        let meta = SnapshotMeta { last_log_id: Some(log_id(2, 1, 9)), last_membership: stored };
        assert_eq!(decode_snapshot_meta(&encode_snapshot_meta(&meta)), Ok(meta), "a snapshot's description");
        for vote in [Vote::new(1, 2), Vote::new_committed(3, 4)] {
            assert_eq!(decode_vote(&encode_vote(&vote)), Ok(vote), "a vote");
        }
    }

    #[test]
    fn short_long_and_strange_bytes_are_refused() {
        let bytes = encode_stored_membership(&StoredMembership::new(Some(log_id(1, 1, 4)), membership()));
        for length in 0..bytes.len() {
            assert!(decode_stored_membership(&bytes[..length]).is_err(), "cut at {length}");
        }
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert!(decode_stored_membership(&longer).is_err(), "one byte too many");
        longer[0] = VERSION + 1;
        assert!(decode_stored_membership(&longer).is_err(), "another version");
        assert!(decode_payload(&Bytes::from_static(&[VERSION, 9])).is_err(), "another kind");
        assert!(decode_membership(&[VERSION, 255, 255, 255, 255]).is_err(), "a count without content");
    }
}
