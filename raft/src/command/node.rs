//! Nodes join and start.

use skep_placement::ids::NodeId;

use super::{cluster, join_token};
use crate::keys::NodeKey;
use crate::state::limits;
use crate::state::rejection::{Stop, id, invalid, refuse, required, text};
use crate::state::transaction::Transaction;
use crate::wire::meta::v1::{AddNode, Done, NodeRecord, NodeState, RegisterBoot, RejectionCode};

/// Adds a node, using up its join token. The outcome names the node.
pub(super) fn add(transaction: &mut Transaction<'_>, command: &AddNode) -> Result<Done, Stop> {
    let given = required(command.node.as_ref(), "node")?;
    for (value, what) in [
        (&given.name, "name"),
        (&given.zone, "zone"),
        (&given.api_address, "API address"),
        (&given.rpc_address, "RPC address"),
        (&given.version, "version"),
        (&given.api_scheme, "API scheme"),
    ] {
        text(value, what, limits::NAME_BYTES_MAX)?;
    }
    if given.rpc_address.is_empty() {
        return Err(invalid("a node without an RPC address cannot be reached"));
    }
    let hash = id(&command.join_token_hash, "hash of the join token")?;
    join_token::check_usable(transaction, hash)?;
    let node = NodeId(cluster::next(transaction, |cluster| &mut cluster.next_node)?);
    join_token::mark_used(transaction, hash, node)?;
    let record = NodeRecord { id: node.0, state: NodeState::Active.into(), joined_at: transaction.stamp(), ..given.clone() };
    transaction.put(&NodeKey { node }, &record);
    Ok(Done { number: node.0, created: true, ..Done::default() })
}

/// Notes that a node's process started, and where it is reached.
pub(super) fn register_boot(transaction: &mut Transaction<'_>, command: &RegisterBoot) -> Result<Done, Stop> {
    let mut record = existing(transaction, NodeId(command.node))?;
    if command.boot < record.boot {
        return Err(refuse(RejectionCode::Stale, format!("node {} has started as boot {} since", command.node, record.boot)));
    }
    if command.rpc_address.is_empty() {
        return Err(invalid("a node without an RPC address cannot be reached"));
    }
    record.boot = command.boot;
    record.api_address.clone_from(&command.api_address);
    record.rpc_address.clone_from(&command.rpc_address);
    record.version.clone_from(&command.version);
    record.api_scheme.clone_from(&command.api_scheme);
    transaction.put(&NodeKey { node: NodeId(command.node) }, &record);
    Ok(Done { number: record.boot, ..Done::default() })
}

/// A node that is there and was not removed.
pub(super) fn existing(transaction: &Transaction<'_>, node: NodeId) -> Result<NodeRecord, Stop> {
    let record = transaction.get(&NodeKey { node })?;
    let record = record.ok_or_else(|| refuse(RejectionCode::NotFound, format!("there is no node {node}")))?;
    if record.state == i32::from(NodeState::Removed) {
        return Err(refuse(RejectionCode::Forbidden, format!("node {node} was removed from the cluster")));
    }
    Ok(record)
}
