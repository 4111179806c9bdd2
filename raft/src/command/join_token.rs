//! Join tokens: each lets one node join, once.

use skep_placement::ids::NodeId;

use super::cluster;
use crate::keys::JoinTokenKey;
use crate::state::rejection::{Stop, id, invalid, refuse};
use crate::state::transaction::Transaction;
use crate::wire::meta::v1::{Done, JoinTokenRecord, PutJoinToken, RejectionCode, UseJoinToken};

/// Stands for no node in a token that was withdrawn.
const WITHDRAWN: u64 = u64::MAX;

/// Lets one node join.
pub(super) fn put(transaction: &mut Transaction<'_>, command: &PutJoinToken) -> Result<Done, Stop> {
    cluster::require(transaction)?;
    let key = JoinTokenKey { hash: id(&command.hash, "hash of the join token")? };
    if command.lifetime_seconds == 0 {
        return Err(invalid("a join token lives for a second at least"));
    }
    if transaction.get(&key)?.is_some() {
        return Err(refuse(RejectionCode::AlreadyExists, "this join token was made already"));
    }
    let expires_at = transaction.stamp_in(command.lifetime_seconds);
    transaction.put(&key, &JoinTokenRecord { hash: command.hash.clone(), expires_at, used_by: 0 });
    Ok(Done { created: true, ..Done::default() })
}

/// Uses a token up without a node.
pub(super) fn withdraw(transaction: &mut Transaction<'_>, command: &UseJoinToken) -> Result<Done, Stop> {
    let hash = id(&command.hash, "hash of the join token")?;
    check_usable(transaction, hash)?;
    mark_used(transaction, hash, NodeId(WITHDRAWN))?;
    Ok(Done::default())
}

/// Refuses a token that lets nobody join.
pub(super) fn check_usable(transaction: &Transaction<'_>, hash: [u8; 32]) -> Result<(), Stop> {
    let record = find(transaction, hash)?;
    match record.used_by {
        0 if record.expires_at <= transaction.stamp() => Err(refuse(RejectionCode::TokenExpired, "the join token has expired")),
        0 => Ok(()),
        WITHDRAWN => Err(refuse(RejectionCode::TokenUsed, "the join token was withdrawn")),
        node => Err(refuse(RejectionCode::TokenUsed, format!("node {node} has joined with this token"))),
    }
}

/// Notes who joined with a token.
pub(super) fn mark_used(transaction: &mut Transaction<'_>, hash: [u8; 32], node: NodeId) -> Result<(), Stop> {
    let record = JoinTokenRecord { used_by: node.0, ..find(transaction, hash)? };
    transaction.put(&JoinTokenKey { hash }, &record);
    Ok(())
}

fn find(transaction: &Transaction<'_>, hash: [u8; 32]) -> Result<JoinTokenRecord, Stop> {
    transaction.get(&JoinTokenKey { hash })?.ok_or_else(|| refuse(RejectionCode::NotFound, "there is no such join token"))
}
