//! What other nodes' replicas call: each call is checked against the caller's certificate and the replica it names before openraft hears of it.
//!
//! Fail closed: a call without an identity, for another cluster, group, generation or placement, or of an older process, is refused.

use std::sync::Arc;

use openraft::errors::Fatal;
use skep_placement::ids::{BootNumber, ClusterId, Generation, GroupId, NodeId, RaftId};
use tokio_stream::StreamExt;
use tonic::{Request, Response, Status, Streaming};

use super::codec;
use super::context::Context;
use super::limits;
use super::line;
use super::replica::{Claim, Replica};
use super::snapshot_receiver;
use super::state_machine::Snapshot;
use crate::format::raft_types::{FormatError, decode_snapshot_meta, decode_vote, encode_vote};
use crate::metrics as names;
use crate::options::PeerIdentity;
use crate::types::TypeConfig;
use crate::wire::meta::v1::NodeState;
use crate::wire::raft::v1::raft_server::Raft as RaftCalls;
use crate::wire::raft::v1::{
    AppendReply, AppendRequest, Call, Envelope, SnapshotPart, SnapshotReply, TransferReply, TransferRequest, VoteReply, VoteRequest,
};

/// A caller whose envelope is right.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    pub(crate) group: GroupId,
    pub(crate) generation: Generation,
    pub(crate) node: NodeId,
    pub(crate) from: RaftId,
    pub(crate) to: RaftId,
}

/// Notes why a call is refused.
fn refused(reason: &'static str, status: Status) -> Status {
    metrics::counter!(names::REFUSED_CALLS_TOTAL, "reason" => reason).increment(1);
    status
}

/// Checks who calls: the certificate's node, of this cluster, not removed, not an older process.
pub(crate) fn admit(context: &Context, identity: Option<PeerIdentity>, envelope: Option<&Envelope>) -> Result<Caller, Status> {
    let identity = identity.ok_or_else(|| refused("identity", Status::unauthenticated("the caller has no node certificate")))?;
    let envelope = envelope.ok_or_else(|| refused("envelope", Status::permission_denied("the call has no envelope")))?;
    if ClusterId::try_from(envelope.cluster.as_ref()) != Ok(context.options.cluster) {
        return Err(refused("cluster", Status::permission_denied("the call is for another cluster")));
    }
    let node = NodeId(envelope.from_node);
    if node != identity.node {
        return Err(refused("node", Status::permission_denied("the caller's certificate is another node's")));
    }
    if context.directory().nodes.get(&node).is_some_and(|node| node.state == NodeState::Removed) {
        return Err(refused("removed", Status::permission_denied("the calling node was removed from the cluster")));
    }
    if !context.admit_boot(node, BootNumber(envelope.from_boot)) {
        return Err(refused("boot", Status::failed_precondition("the caller is an older process of its node")));
    }
    Ok(Caller {
        group: GroupId(envelope.group),
        generation: Generation(envelope.generation),
        node,
        from: RaftId(envelope.from),
        to: RaftId(envelope.to),
    })
}

/// Checks that a member calls this very placement, and returns it.
fn member_call(context: &Context, identity: Option<PeerIdentity>, envelope: Option<&Envelope>) -> Result<Arc<Replica>, Status> {
    let caller = admit(context, identity, envelope)?;
    let replica = context.replica(caller.group);
    let replica = replica.ok_or_else(|| refused("group", Status::failed_precondition("this node has no replica of the group")))?;
    if context.generation(caller.group) != Some(caller.generation) {
        return Err(refused("generation", Status::failed_precondition("the call is of another generation of the group")));
    }
    if caller.to != replica.id || caller.from == RaftId(0) {
        return Err(refused("target", Status::failed_precondition("the call is for another placement of the group")));
    }
    if home_of(context, &replica, caller.from).is_some_and(|home| home != caller.node) {
        return Err(refused("sender", Status::permission_denied("the calling member is another node's")));
    }
    Ok(replica)
}

/// The node of a member, as far as it is known here. A replica that lags behind need not know whom it must follow.
fn home_of(context: &Context, replica: &Replica, member: RaftId) -> Option<NodeId> {
    let placed = context.directory().groups.get(&replica.group).and_then(|group| group.member(member)).map(|member| member.node);
    placed.or_else(|| {
        let covers = replica.state.covers();
        covers.last_membership.get_node(&member.0).map(|node| node.node())
    })
}

pub(crate) fn identity_of<T>(request: &Request<T>) -> Option<PeerIdentity> {
    request.extensions().get::<PeerIdentity>().copied()
}

fn malformed(error: FormatError) -> Status {
    Status::invalid_argument(error.to_string())
}

fn stopped(error: impl std::fmt::Display) -> Status {
    Status::unavailable(format!("the replica has stopped: {error}"))
}

/// An append to the replica that it names.
pub(crate) async fn append(context: &Context, identity: Option<PeerIdentity>, request: &AppendRequest) -> Result<AppendReply, Status> {
    let replica = member_call(context, identity, request.envelope.as_ref())?;
    let rpc = codec::read_append_request(request).map_err(malformed)?;
    let response = replica.raft.append_entries(rpc).await.map_err(stopped)?;
    Ok(codec::append_reply(&response))
}

/// The calls between replicas.
#[derive(Debug)]
pub struct RaftService {
    pub(crate) context: Arc<Context>,
}

#[tonic::async_trait]
impl RaftCalls for RaftService {
    type TalkStream = line::Replies;

    async fn append(&self, request: Request<AppendRequest>) -> Result<Response<AppendReply>, Status> {
        append(&self.context, identity_of(&request), request.get_ref()).await.map(Response::new)
    }

    async fn talk(&self, request: Request<Streaming<Call>>) -> Result<Response<Self::TalkStream>, Status> {
        let identity = identity_of(&request);
        Ok(Response::new(line::answer(Arc::clone(&self.context), identity, request.into_inner())))
    }

    async fn vote(&self, request: Request<VoteRequest>) -> Result<Response<VoteReply>, Status> {
        let replica = member_call(&self.context, identity_of(&request), request.get_ref().envelope.as_ref())?;
        let rpc = codec::read_vote_request(request.get_ref()).map_err(malformed)?;
        let response = replica.raft.vote(rpc).await.map_err(stopped)?;
        Ok(Response::new(codec::vote_reply(&response)))
    }

    async fn pre_vote(&self, request: Request<VoteRequest>) -> Result<Response<VoteReply>, Status> {
        let replica = member_call(&self.context, identity_of(&request), request.get_ref().envelope.as_ref())?;
        let rpc = codec::read_vote_request(request.get_ref()).map_err(malformed)?;
        let response = replica.raft.pre_vote(rpc).await.map_err(stopped)?;
        Ok(Response::new(codec::vote_reply(&response)))
    }

    async fn transfer_leader(&self, request: Request<TransferRequest>) -> Result<Response<TransferReply>, Status> {
        let replica = member_call(&self.context, identity_of(&request), request.get_ref().envelope.as_ref())?;
        let rpc = codec::read_transfer_request(request.get_ref()).map_err(malformed)?;
        let response = replica.raft.handle_transfer_leader(rpc).await.map_err(stopped)?;
        Ok(Response::new(codec::transfer_reply(&response)))
    }

    async fn install_snapshot(&self, request: Request<Streaming<SnapshotPart>>) -> Result<Response<SnapshotReply>, Status> {
        let identity = identity_of(&request);
        let mut parts = request.into_inner();
        let first = tokio::time::timeout(limits::SNAPSHOT_DEADLINE, parts.next()).await;
        let first = first.map_err(|_elapsed| Status::deadline_exceeded("the first part of the snapshot does not come"))?;
        let first = first.ok_or_else(|| Status::invalid_argument("the snapshot has no parts"))??;
        let replica = member_call(&self.context, identity, first.envelope.as_ref())?;
        let vote = decode_vote(&first.vote).map_err(malformed)?;
        let meta = decode_snapshot_meta(&first.meta).map_err(malformed)?;
        let Some(_claim) = Claim::take(&replica.receiving) else {
            return Err(Status::resource_exhausted("a snapshot is being received already"));
        };
        let stores = Arc::clone(&self.context.options.stores);
        let snapshot = snapshot_receiver::receive(&replica.state, stores, first.files, meta.clone(), parts).await?;
        let installed = replica.raft.install_full_snapshot(vote, Snapshot { meta, snapshot }).await;
        let response = installed.map_err(|fatal: Fatal<TypeConfig>| stopped(fatal))?;
        Ok(Response::new(SnapshotReply { vote: encode_vote(&response.vote) }))
    }
}
