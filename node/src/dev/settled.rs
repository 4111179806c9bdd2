//! Whether a new cluster has come to rest: its groups' voters and its automatic pools follow the number of nodes.

use serde_json::Value;
use skep_placement::profile::Profile;

/// Voters that a group has at least, once it is what it is to be.
const VOTERS: usize = 3;

/// What is not yet as it is to be with so many nodes and devices a node, a clause for people; `None` once all is.
pub(super) fn what_is_missing(status: &[u8], nodes: usize, devices: usize) -> Option<String> {
    let Ok(status) = serde_json::from_slice::<Value>(status) else {
        return Some("its state cannot be read".to_owned());
    };
    let rows = |name: &str| status[name].as_array().into_iter().flatten();
    if let Some(node) = rows("nodes").find(|node| node["alive"] != true) {
        return Some(format!("{} is not seen yet", shown(&node["name"])));
    }
    if let Some(group) = rows("groups").find(|group| group["voters"].as_array().map_or(0, Vec::len) < nodes.min(VOTERS)) {
        return Some(format!("group {} has not all of its voters", shown(&group["name"])));
    }
    let wanted = Profile::auto(nodes, devices);
    let follows = |pool: &Value| pool["code"] == wanted.code.to_string() && pool["domain"] == wanted.domain.to_string();
    let late = rows("pools").find(|pool| pool["automatic"] == true && !follows(pool));
    late.map(|pool| format!("pool {} is not at {wanted} yet", shown(&pool["id"])))
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use skep_api::ports::{ClusterStatus, GroupStatus, NodeStatus, PoolStatus};

    use super::*;

    #[test]
    fn voters_and_pools_follow_the_nodes() {
        let node = |id, alive| NodeStatus { id, name: format!("n{id}"), alive, ..NodeStatus::default() };
        let group = |voters: &[u64]| GroupStatus { name: "system".to_owned(), voters: voters.to_vec(), ..GroupStatus::default() };
        let pool = |code: &str, domain: &str| PoolStatus {
            id: 1,
            code: code.to_owned(),
            domain: domain.to_owned(),
            automatic: true,
            ..PoolStatus::default()
        };
        let missing = |status: &ClusterStatus| what_is_missing(&serde_json::to_vec(status).unwrap(), 3, 1);
        let mut status = ClusterStatus {
            nodes: vec![node(1, true), node(2, false)],
            groups: vec![group(&[1])],
            pools: vec![pool("1+0", "device")],
            ..ClusterStatus::default()
        };
        assert_eq!(missing(&status).as_deref(), Some("n2 is not seen yet"));
        status.nodes = vec![node(1, true)];
        assert_eq!(missing(&status).as_deref(), Some("group system has not all of its voters"));
        status.groups = vec![group(&[1, 2, 3])];
        assert_eq!(missing(&status).as_deref(), Some("pool 1 is not at 2+1/node yet"));
        status.pools = vec![pool("2+1", "node"), PoolStatus::default()];
        assert_eq!(missing(&status), None);
        assert!(what_is_missing(b"no json", 1, 1).is_some());
    }
}
