//! What gateways and the reconciler call: proposals, read ids, questions, membership, status.
//!
//! They name a group, not a placement. A status says what happened before anything was proposed; an outcome says what happened after.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use skep_placement::ids::{Generation, GroupId, NodeId, RaftId};
use tokio::time::Instant;
use tonic::{Request, Response};

use super::adoption::Adopted;
use super::batcher::NotDone;
use super::context::Context;
use super::read_id::leader_of;
use super::reconciler::is_done;
use super::router::{Caller, admit, identity_of};
use super::system_placement::{Order, is_newer};
use super::{limits, membership, status, survey};
use crate::errors::QueryError;
use crate::format::raft_types::decode_log_id;
use crate::options::PeerIdentity;
use crate::recovery::Position;
use crate::wire::meta::v1::Proposal;
use crate::wire::raft::v1::metadata_server::Metadata as MetadataCalls;
use crate::wire::raft::v1::{
    AdoptSystemReply, AdoptSystemRequest, ChangeMemberReply, ChangeMemberRequest, ClockReply, ClockRequest, Envelope, GroupStatusReply,
    GroupStatusRequest, ProposalReply, ProposeReply, ProposeRequest, QueryReply, QueryRequest, ReadIdReply, ReadIdRequest,
    RecoverSystemReply, RecoverSystemRequest, Status, SurveyReply, SurveyRequest,
};

/// The calls of gateways.
#[derive(Debug)]
pub struct MetadataService {
    pub(crate) context: Arc<Context>,
}

fn number(node: Option<NodeId>) -> u64 {
    node.unwrap_or_default().0
}

fn said(status: Status) -> ProposalReply {
    ProposalReply { status: status.into(), ..ProposalReply::default() }
}

/// The caller's deadline on this node's clock; never further than it may be.
fn deadline(timeout_ms: u64) -> Instant {
    Instant::now() + Duration::from_millis(timeout_ms).min(limits::CHANGE_DEADLINE)
}

impl MetadataService {
    fn admit<T>(&self, request: &Request<T>, envelope: Option<&Envelope>) -> Result<Caller, tonic::Status> {
        admit(&self.context, identity_of(request), envelope)
    }
}

/// A group's record here may be older or newer than the caller's; then both wait until they agree.
fn generation_differs(context: &Context, caller: Caller) -> bool {
    context.generation(caller.group).is_some_and(|known| known != caller.generation)
}

fn leader_node(context: &Context, group: GroupId) -> Option<NodeId> {
    context.replica(group).and_then(|replica| leader_of(&replica.raft)).map(|(_, node)| node)
}

async fn propose_one(context: &Context, group: GroupId, proposal: Proposal, until: Instant) -> ProposalReply {
    match tokio::time::timeout_at(until, context.propose_at_leader(group, proposal)).await {
        Ok(Ok(outcome)) => ProposalReply { outcome: Some(outcome), ..said(Status::Ok) },
        Ok(Err(NotDone::NotLeader(leader))) => ProposalReply { leader_node: number(leader), ..said(Status::NotLeader) },
        Ok(Err(NotDone::NoReplica)) => said(Status::NoReplica),
        Ok(Err(NotDone::Busy)) => said(Status::TooBusy),
        Ok(Err(NotDone::NoSpace)) => said(Status::NoSpace),
        Ok(Err(NotDone::Unknown(detail))) => ProposalReply { detail, ..said(Status::Unknown) },
        Err(_elapsed) => said(Status::Unknown),
    }
}

/// Proposes commands where this node leads.
pub(crate) async fn propose(
    context: &Context,
    identity: Option<PeerIdentity>,
    request: ProposeRequest,
) -> Result<ProposeReply, tonic::Status> {
    let caller = admit(context, identity, request.envelope.as_ref())?;
    if generation_differs(context, caller) {
        return Ok(ProposeReply { replies: vec![said(Status::WrongGeneration); request.proposals.len()] });
    }
    let until = deadline(request.timeout_ms);
    let proposed = request.proposals.into_iter().map(|proposal| propose_one(context, caller.group, proposal, until));
    Ok(ProposeReply { replies: join_all(proposed).await })
}

/// Gives a read id where this node leads. Readers of all nodes share the confirmations that this leader asks its quorum for.
pub(crate) async fn read_id(
    context: &Context,
    identity: Option<PeerIdentity>,
    request: &ReadIdRequest,
) -> Result<ReadIdReply, tonic::Status> {
    let caller = admit(context, identity, request.envelope.as_ref())?;
    let reply = |status: Status, index, leader| ReadIdReply { status: status.into(), leader_node: number(leader), index };
    if generation_differs(context, caller) {
        return Ok(reply(Status::WrongGeneration, 0, None));
    }
    let Some(replica) = context.replica(caller.group) else { return Ok(reply(Status::NoReplica, 0, None)) };
    if !replica.leads() {
        return Ok(reply(Status::NotLeader, 0, leader_node(context, caller.group)));
    }
    Ok(match replica.read_ids.get(deadline(request.timeout_ms)).await {
        Ok(index) => reply(Status::Ok, index, None),
        Err(_why) if !replica.leads() => reply(Status::NotLeader, 0, leader_node(context, caller.group)),
        Err(_why) => reply(Status::Unavailable, 0, None),
    })
}

#[tonic::async_trait]
impl MetadataCalls for MetadataService {
    async fn propose(&self, request: Request<ProposeRequest>) -> Result<Response<ProposeReply>, tonic::Status> {
        let identity = identity_of(&request);
        propose(&self.context, identity, request.into_inner()).await.map(Response::new)
    }

    async fn read_id(&self, request: Request<ReadIdRequest>) -> Result<Response<ReadIdReply>, tonic::Status> {
        read_id(&self.context, identity_of(&request), request.get_ref()).await.map(Response::new)
    }

    async fn query(&self, request: Request<QueryRequest>) -> Result<Response<QueryReply>, tonic::Status> {
        let caller = self.admit(&request, request.get_ref().envelope.as_ref())?;
        let reply = |status: Status| QueryReply { status: status.into(), ..QueryReply::default() };
        if generation_differs(&self.context, caller) {
            return Ok(Response::new(reply(Status::WrongGeneration)));
        }
        let Some(replica) = self.context.replica(caller.group) else {
            return Ok(Response::new(reply(Status::NoReplica)));
        };
        let request = request.into_inner();
        let query = request.query.ok_or_else(|| tonic::Status::invalid_argument("there is no question"))?;
        let reply = match self.context.query_here(replica, query, deadline(request.timeout_ms)).await {
            Ok(answer) => QueryReply { answer: Some(answer), ..reply(Status::Ok) },
            Err(QueryError::Unavailable { .. }) => reply(Status::Unavailable),
            Err(QueryError::NoSuchGroup(_)) => reply(Status::NoReplica),
        };
        Ok(Response::new(reply))
    }

    async fn change_member(&self, request: Request<ChangeMemberRequest>) -> Result<Response<ChangeMemberReply>, tonic::Status> {
        let caller = self.admit(&request, request.get_ref().envelope.as_ref())?;
        let reply = |status: Status| ChangeMemberReply { status: status.into(), ..ChangeMemberReply::default() };
        if generation_differs(&self.context, caller) {
            return Ok(Response::new(reply(Status::WrongGeneration)));
        }
        let Some(replica) = self.context.replica(caller.group) else {
            return Ok(Response::new(reply(Status::NoReplica)));
        };
        if !replica.leads() {
            let leader_node = number(leader_node(&self.context, caller.group));
            return Ok(Response::new(ChangeMemberReply { leader_node, ..reply(Status::NotLeader) }));
        }
        let wanted = membership::Wanted::of(request.get_ref());
        let stepped = tokio::time::timeout(limits::CHANGE_DEADLINE, membership::step(&replica, &wanted)).await;
        let reply = match stepped {
            Ok(Ok(step)) => ChangeMemberReply {
                settled: step == membership::Step::Settled,
                moved: is_done(&step),
                detail: step.to_string(),
                ..reply(Status::Ok)
            },
            Ok(Err(detail)) => ChangeMemberReply { detail, ..reply(Status::Unavailable) },
            Err(_elapsed) => reply(Status::Unknown),
        };
        Ok(Response::new(reply))
    }

    async fn group_status(&self, request: Request<GroupStatusRequest>) -> Result<Response<GroupStatusReply>, tonic::Status> {
        let caller = self.admit(&request, request.get_ref().envelope.as_ref())?;
        let all = request.get_ref().all;
        let replicas = self.context.replicas().into_iter().filter(|replica| all || replica.group == caller.group);
        Ok(Response::new(GroupStatusReply { replicas: replicas.map(|replica| status::of(&self.context, &replica)).collect() }))
    }

    async fn clock(&self, request: Request<ClockRequest>) -> Result<Response<ClockReply>, tonic::Status> {
        self.admit(&request, request.get_ref().envelope.as_ref())?;
        let (micros, low_on_space) = (self.context.options.clock.now_micros(), self.context.space.is_low());
        Ok(Response::new(ClockReply { micros, low_on_space }))
    }

    async fn survey(&self, request: Request<SurveyRequest>) -> Result<Response<SurveyReply>, tonic::Status> {
        let caller = self.admit(&request, request.get_ref().envelope.as_ref())?;
        let replicas = survey::survey(&self.context, caller.group).await;
        Ok(Response::new(SurveyReply { replicas: replicas.map_err(|error| tonic::Status::internal(error.to_string()))? }))
    }

    async fn recover_system(&self, request: Request<RecoverSystemRequest>) -> Result<Response<RecoverSystemReply>, tonic::Status> {
        let caller = self.admit(&request, request.get_ref().envelope.as_ref())?;
        let request = request.into_inner();
        let last = decode_log_id(&request.last_log_id).map_err(|error| tonic::Status::invalid_argument(error.to_string()))?;
        tracing::warn!(caller = %caller.node, from = request.raft_id, "this node is asked to go on with the system group alone");
        let reply = match self.context.go_on_here(RaftId(request.raft_id), last.map(Position::from)).await {
            Ok(raft) => RecoverSystemReply { raft_id: raft.0, detail: String::new() },
            Err(detail) => RecoverSystemReply { raft_id: 0, detail },
        };
        Ok(Response::new(reply))
    }

    async fn adopt_system(&self, request: Request<AdoptSystemRequest>) -> Result<Response<AdoptSystemReply>, tonic::Status> {
        self.admit(&request, request.get_ref().envelope.as_ref())?;
        let adopted = Adopted { generation: Generation(request.get_ref().generation), raft: RaftId(request.get_ref().raft_id) };
        if !is_newer(&self.context, adopted) {
            return Err(tonic::Status::failed_precondition("this node knows a placement of the system group that is as new or newer"));
        }
        // A full queue holds an order like this one.
        let _waiting = self.context.orders.try_send(Order::Adopt(adopted));
        Ok(Response::new(AdoptSystemReply {}))
    }
}
