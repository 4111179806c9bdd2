//! Works towards the right replicas of every group, while this node leads the system group.
//!
//! Each round looks at all groups and takes at most one step in one of them. Every command is compared with the record it was planned for by the group
//! itself, and every step can be taken twice, so that two reconcilers for a moment do no harm.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use skep_placement::ids::{GroupId, NodeId, RaftId};
use tokio::time::Instant;

use super::adoption::Adopted;
use super::context::Context;
use super::directory::{Directory, GroupEntry};
use super::plan::{Action, GroupSeen, NodeSeen, plan};
use super::{limits, membership, status};
use crate::metrics as names;
use crate::wire::meta::v1::{
    ClusterCommand, Command, DropMember, FinishRecovery, MemberRole, Outcome, PlaceMember, SetMemberRole, cluster_command, command, outcome,
};
use crate::wire::raft::v1::metadata_client::MetadataClient;
use crate::wire::raft::v1::{AdoptSystemRequest, ChangeMemberRequest, GroupStatusRequest, MemberNode, ReplicaStatus, Status};

/// When members were last heard, by their group's leaders; since this node leads the system group.
#[derive(Default)]
struct Heard {
    at: BTreeMap<(GroupId, RaftId), Instant>,
    /// Where each group was last seen to be led.
    leaders: BTreeMap<GroupId, NodeId>,
}

/// Works until everything must end.
pub(crate) async fn run(context: Arc<Context>) {
    let mut leadership = context.leadership(GroupId::SYSTEM).subscribe();
    let mut stop = context.stop.subscribe();
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            led = leadership.wait_for(|now| now.leads) => if led.is_err() { return },
        }
        let term = leadership.borrow_and_update().term;
        let mut heard = Heard::default();
        loop {
            let wake = Instant::now() + context.options.reconcile_interval;
            if let Err(why) = round(&context, &mut heard).await {
                tracing::debug!(%why, "the reconciler waits");
            }
            if !context.sleep_until(wake).await {
                return;
            }
            let now = *leadership.borrow_and_update();
            if !now.leads || now.term != term {
                break;
            }
        }
    }
}

/// Looks at all groups once and takes at most one step.
async fn round(context: &Arc<Context>, heard: &mut Heard) -> Result<(), String> {
    let view = context.system(Instant::now() + limits::DEFAULT_DEADLINE).await.map_err(|error| error.to_string())?;
    let directory = Directory::read(&view).map_err(|error| error.to_string())?;
    let silent_limit = match view.cluster().map_err(|error| error.to_string())? {
        Some(cluster) if cluster.silent_voter_seconds > 0 => Duration::from_secs(cluster.silent_voter_seconds),
        Some(_) => context.options.silent_voter,
        // The cluster is not begun yet.
        None => return Ok(()),
    };
    drop(view);
    let (mut nodes, mut system_recovered) = (None, None);
    // The system group comes first: who is alive is read from it.
    for (group, entry) in &directory.groups {
        let Some(found) = leader_status(context, heard, *group, entry).await else { continue };
        note(heard, *group, entry, &found);
        let nodes = match &mut nodes {
            Some(nodes) => nodes,
            unknown => unknown.insert(look(context, heard, &directory).await),
        };
        let mut seen = group_seen(heard, *group, entry, &found, silent_limit);
        seen.waiting = waiting(context, *group, entry, &seen).await;
        let mut action = plan(*group, entry, &seen, nodes);
        // Who was heard a moment ago may be dead: a place is given only to who answers now.
        while let Action::Place(node, _) = action
            && let Some(chosen) = nodes.get_mut(&node)
            && status_of(context, node, GroupId::SYSTEM).await.is_none()
        {
            chosen.alive = false;
            action = plan(*group, entry, &seen, nodes);
        }
        // Nothing is removed before all groups agree with their records, which may be older than they.
        if *group == GroupId::SYSTEM && action == Action::FinishRecovery {
            system_recovered = Some(Action::FinishRecovery);
            continue;
        }
        let target = Target { group: *group, entry, leader: NodeId(found.node), waiting: &seen.waiting };
        if act(context, &target, action).await? {
            return Ok(());
        }
    }
    if let (Some(action), Some(entry)) = (system_recovered, directory.groups.get(&GroupId::SYSTEM)) {
        let target = Target { group: GroupId::SYSTEM, entry, leader: context.options.node, waiting: &BTreeSet::new() };
        act(context, &target, action).await?;
    }
    Ok(())
}

/// A group that a step is taken in.
struct Target<'a> {
    group: GroupId,
    entry: &'a GroupEntry,
    leader: NodeId,
    waiting: &'a BTreeSet<RaftId>,
}

/// Notes who has answered its leader, and when; who is new counts as heard.
fn note(heard: &mut Heard, group: GroupId, entry: &GroupEntry, found: &ReplicaStatus) {
    let now = Instant::now();
    for member in &entry.members {
        heard.at.entry((group, member.raft)).or_insert(now);
    }
    for lag in &found.lags {
        let at = heard.at.entry((group, RaftId(lag.raft_id))).or_insert(now);
        if lag.heard {
            let last = now.checked_sub(Duration::from_millis(lag.silent_ms)).unwrap_or(*at);
            *at = (*at).max(last);
        }
    }
}

/// The nodes, with who was heard in the system group, where every node has a replica.
async fn look(context: &Arc<Context>, heard: &Heard, directory: &Directory) -> BTreeMap<NodeId, NodeSeen> {
    let members = directory.groups.get(&GroupId::SYSTEM);
    let unplaced = directory.nodes.keys().filter(|node| members.is_none_or(|group| group.on(**node).is_none()));
    // A node without a placement is one that a recovered group has not taken in again yet.
    let asked = unplaced.map(|node| async move { status_of(context, *node, GroupId::SYSTEM).await.map(|_status| *node) });
    let answering: BTreeSet<NodeId> = join_all(asked).await.into_iter().flatten().collect();
    let alive = |node: NodeId| {
        let Some(member) = members.and_then(|group| group.on(node)) else { return answering.contains(&node) };
        let at = heard.at.get(&(GroupId::SYSTEM, member.raft));
        node == context.options.node || at.is_some_and(|at| at.elapsed() <= limits::ALIVE_WITHIN)
    };
    directory.nodes.iter().map(|(id, node)| (*id, NodeSeen { zone: node.zone.clone(), state: node.state, alive: alive(*id) })).collect()
}

fn group_seen(heard: &Heard, group: GroupId, entry: &GroupEntry, found: &ReplicaStatus, limit: Duration) -> GroupSeen {
    let silent = |raft: &RaftId| heard.at.get(&(group, *raft)).is_some_and(|at| at.elapsed() >= limit);
    GroupSeen {
        voters: found.voters.iter().copied().map(RaftId).collect(),
        learners: found.learners.iter().copied().map(RaftId).collect(),
        settled: !found.joint && !found.unsettled,
        silent: entry.members.iter().map(|member| member.raft).filter(silent).collect(),
        waiting: BTreeSet::new(),
    }
}

/// The placements that are no members yet and whose nodes have not begun them.
async fn waiting(context: &Arc<Context>, group: GroupId, entry: &GroupEntry, seen: &GroupSeen) -> BTreeSet<RaftId> {
    let mut waiting = BTreeSet::new();
    for member in &entry.members {
        let known = seen.voters.contains(&member.raft) || seen.learners.contains(&member.raft);
        if known || member.role == MemberRole::Leaving {
            continue;
        }
        let status = status_of(context, member.node, group).await;
        let begun = status.as_ref().is_some_and(|status| status.raft_id == member.raft.0);
        if !begun {
            if group == GroupId::SYSTEM && status.is_some() {
                tell(context, member.node, Adopted { generation: entry.generation, raft: member.raft }).await;
            }
            waiting.insert(member.raft);
        }
    }
    waiting
}

/// What the leader of a group says of it; nothing if none is found now.
async fn leader_status(context: &Arc<Context>, heard: &mut Heard, group: GroupId, entry: &GroupEntry) -> Option<ReplicaStatus> {
    let mut asked = Vec::new();
    let mut next = heard.leaders.get(&group).copied();
    let mut others = entry.members.iter().filter(|member| member.role != MemberRole::Leaving).map(|member| member.node);
    while let Some(node) = next.take().or_else(|| others.find(|node| !asked.contains(node))) {
        asked.push(node);
        let Some(found) = status_of(context, node, group).await else { continue };
        if found.leader == found.raft_id && found.state == "leader" {
            heard.leaders.insert(group, node);
            return Some(found);
        }
        next = super::propose::named(found.leader_node).filter(|leader| !asked.contains(leader));
    }
    heard.leaders.remove(&group);
    None
}

/// What a node says of its replica of a group.
pub(crate) async fn status_of(context: &Arc<Context>, node: NodeId, group: GroupId) -> Option<ReplicaStatus> {
    if node == context.options.node {
        return context.replica(group).map(|replica| status::of(context, &replica));
    }
    let mut client = MetadataClient::new(context.peers.channel(node).ok()?);
    let request = GroupStatusRequest { envelope: Some(context.envelope(group, RaftId(0), RaftId(0))), all: false };
    let reply = tokio::time::timeout(limits::STATUS_DEADLINE, client.group_status(request)).await.ok()?.ok()?;
    reply.into_inner().replicas.into_iter().next()
}

/// Tells a node that still has a replica of an older generation of its placement in the recovered system group. It does not matter whether it listens: it
/// is told again.
async fn tell(context: &Context, node: NodeId, adopted: Adopted) {
    let Ok(channel) = context.peers.channel(node) else { return };
    let request = AdoptSystemRequest {
        envelope: Some(context.envelope(GroupId::SYSTEM, RaftId(0), RaftId(0))),
        generation: adopted.generation.0,
        raft_id: adopted.raft.0,
    };
    let told = tokio::time::timeout(limits::STATUS_DEADLINE, MetadataClient::new(channel).adopt_system(request)).await;
    if let Ok(Err(status)) = told {
        tracing::warn!(%node, %status, "a node does not take over the recovered system group");
    }
}

/// Takes a step; false if nothing was done, so that another group may be looked at.
async fn act(context: &Arc<Context>, target: &Target<'_>, action: Action) -> Result<bool, String> {
    let group = target.group;
    let (name, what) = match action {
        Action::Nothing => return Ok(false),
        Action::Change => return change(context, target).await,
        Action::Place(node, role) => {
            let place = PlaceMember { group: group.0, node: node.0, role: role.into() };
            ("place", cluster_command::What::PlaceMember(place))
        }
        Action::SetRole(raft, role) => {
            let set = SetMemberRole { group: group.0, raft_id: raft.0, role: role.into() };
            ("set-role", cluster_command::What::SetMemberRole(set))
        }
        Action::FinishRecovery => {
            let finish = FinishRecovery { group: group.0, generation: target.entry.generation.0 };
            ("finish-recovery", cluster_command::What::FinishRecovery(finish))
        }
        Action::Forget(raft) => ("forget", cluster_command::What::DropMember(DropMember { group: group.0, raft_id: raft.0 })),
    };
    tracing::info!(%group, ?action, "the reconciler takes a step");
    metrics::counter!(names::RECONCILER_STEPS_TOTAL, "step" => name).increment(1);
    let cluster = ClusterCommand { what: Some(what) };
    let command = Command { what: Some(command::What::Cluster(cluster)), ..Command::default() };
    let deadline = Instant::now() + limits::DEFAULT_DEADLINE;
    let outcome = context.propose(GroupId::SYSTEM, command, deadline).await.map_err(|error| error.to_string())?;
    match outcome {
        Outcome { what: Some(outcome::What::Rejection(rejection)), .. } => {
            Err(format!("a step in group {group} was refused: {rejection:?}"))
        }
        _ => Ok(true),
    }
}

/// Has the leader take a step towards the record. Members without a node in the wish are waited for.
async fn change(context: &Arc<Context>, target: &Target<'_>) -> Result<bool, String> {
    let group = target.group;
    let mut request =
        ChangeMemberRequest { envelope: Some(context.envelope(group, RaftId(0), RaftId(0))), ..ChangeMemberRequest::default() };
    for member in &target.entry.members {
        match member.role {
            MemberRole::Voter => request.voters.push(member.raft.0),
            MemberRole::Learner => request.learners.push(member.raft.0),
            MemberRole::Leaving | MemberRole::Unspecified => continue,
        }
        if !target.waiting.contains(&member.raft) {
            request.nodes.push(MemberNode { raft_id: member.raft.0, node: member.node.0 });
        }
    }
    if target.leader == context.options.node {
        let replica = context.replica(group).ok_or_else(|| "the replica here has gone".to_owned())?;
        let wanted = membership::Wanted::of(&request);
        let stepped = tokio::time::timeout(limits::CHANGE_DEADLINE, membership::step(&replica, &wanted)).await;
        let step = stepped.map_err(|_elapsed| "a change of membership takes long".to_owned())??;
        return Ok(is_done(&step));
    }
    let channel = context.peers.channel(target.leader).map_err(|error| error.to_string())?;
    let asked = tokio::time::timeout(limits::CHANGE_DEADLINE, MetadataClient::new(channel).change_member(request)).await;
    let reply =
        asked.map_err(|_elapsed| "a change of membership takes long".to_owned())?.map_err(|status| status.to_string())?.into_inner();
    match reply.status() {
        Status::Ok => Ok(reply.moved),
        status => Err(format!("group {group} was not changed: {} {}", status.as_str_name(), reply.detail)),
    }
}

/// Whether a step changed something, so that this round is over.
pub(crate) fn is_done(step: &membership::Step) -> bool {
    !matches!(step, membership::Step::Settled | membership::Step::Wait | membership::Step::CatchUp(_))
}
