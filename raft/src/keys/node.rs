//! `node/id`.

use skep_placement::ids::NodeId;

use super::state_key;
use crate::wire::meta::v1::NodeRecord;

state_key!(
    /// A node.
    NodeKey {
        /// The node.
        node: NodeId,
    } in Meta, Node holds NodeRecord
);
