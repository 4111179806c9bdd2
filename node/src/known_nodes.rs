//! The nodes a joiner was told of: enough to reach the cluster before this node has a replica of the cluster map.

use std::path::Path;

use serde::{Deserialize, Serialize};
use skep_placement::ids::NodeId;

use crate::durable_file::{self, FileError, MODE_PLAIN};

const FILE: &str = "known-nodes.json";
const FORMAT: u32 = 1;
const FILE_BYTES_MAX: u64 = 1 << 20;

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    nodes: Vec<StoredNode>,
}

#[derive(Serialize, Deserialize)]
struct StoredNode {
    node: u64,
    rpc_address: String,
}

/// Writes where nodes are reached.
///
/// # Errors
/// The file cannot be written.
///
/// # Panics
/// Never: the fields are plain.
pub fn store(data_folder: &Path, nodes: &[(NodeId, String)]) -> Result<(), FileError> {
    let nodes = nodes.iter().map(|(node, rpc_address)| StoredNode { node: node.0, rpc_address: rpc_address.clone() }).collect();
    let text = serde_json::to_vec_pretty(&Stored { format: FORMAT, nodes }).expect("plain fields are JSON");
    durable_file::write(&data_folder.join(FILE), &text, MODE_PLAIN)
}

/// Reads where nodes are reached. A hint: a missing or unreadable file is no node known, and the log says so.
///
/// # Errors
/// The file is there and cannot be read.
pub fn load(data_folder: &Path) -> Result<Vec<(NodeId, String)>, FileError> {
    let Some(text) = durable_file::read(&data_folder.join(FILE), FILE_BYTES_MAX)? else {
        return Ok(Vec::new());
    };
    match serde_json::from_slice::<Stored>(&text) {
        Ok(Stored { format: FORMAT, nodes }) => Ok(nodes.into_iter().map(|known| (NodeId(known.node), known.rpc_address)).collect()),
        Ok(_) | Err(_) => {
            tracing::warn!(folder = %data_folder.display(), "{FILE} cannot be read; nodes are found by the cluster map and rpc.peers only");
            Ok(Vec::new())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_remembered() {
        let folder = tempfile::tempdir().unwrap();
        assert!(load(folder.path()).unwrap().is_empty());
        let nodes = vec![(NodeId(1), "a:1".to_owned()), (NodeId(4), "b:2".to_owned())];
        store(folder.path(), &nodes).unwrap();
        assert_eq!(load(folder.path()).unwrap(), nodes);
        std::fs::write(folder.path().join(FILE), "no json").unwrap();
        assert!(load(folder.path()).unwrap().is_empty());
    }
}
