//! Handing the leadership of a group to another voter: when a node is drained, and when its clock is off.

use skep_placement::ids::NodeId;

use super::limits;
use super::membership;
use super::replica::Replica;

/// A voter that could lead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heir {
    /// Where it runs.
    pub(crate) node: NodeId,
    /// Entries behind the leader's last; nothing if it was not heard yet.
    pub(crate) behind: Option<u64>,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandOver {
    /// Another leads.
    Done,
    /// No voter is fit to lead.
    NoHeir,
    /// The heir did not take it over in time.
    NotTaken,
}

/// Hands leadership to the voter that is least behind among the fit ones.
pub(crate) async fn hand_over(replica: &Replica, fit: impl Fn(&Heir) -> bool) -> HandOver {
    let seen = membership::seen(&replica.raft, replica.id.0);
    let heir = |voter: u64| Heir {
        node: seen.membership.get_node(&voter).map_or(NodeId(0), |node| node.node()),
        behind: seen.behind.get(&voter).copied(),
    };
    let voters = seen.membership.voter_ids().filter(|voter| *voter != replica.id.0 && fit(&heir(*voter)));
    let Some(chosen) = voters.min_by_key(|voter| heir(*voter).behind.unwrap_or(u64::MAX)) else { return HandOver::NoHeir };
    if replica.raft.trigger().transfer_leader(chosen).await.is_err() {
        return HandOver::NotTaken;
    }
    let led_by_another =
        |metrics: &openraft::RaftMetrics<crate::types::TypeConfig>| metrics.current_leader.is_some_and(|leader| leader != replica.id.0);
    let waited = replica.raft.wait(Some(limits::HAND_OVER_DEADLINE)).metrics(led_by_another, "leadership is handed over").await;
    if waited.is_ok() { HandOver::Done } else { HandOver::NotTaken }
}
