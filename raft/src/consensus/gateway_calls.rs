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

    /// A group's record here may be older or newer than the caller's; then both wait until they agree.
    fn generation_differs(&self, caller: Caller) -> bool {
        self.context.generation(caller.group).is_some_and(|known| known != caller.generation)
    }

    async fn propose_one(&self, group: GroupId, proposal: Proposal, until: Instant) -> ProposalReply {
        match tokio::time::timeout_at(until, self.context.propose_at_leader(group, proposal)).await {
            Ok(Ok(outcome)) => ProposalReply { outcome: Some(outcome), ..said(Status::Ok) },
            Ok(Err(NotDone::NotLeader(leader))) => ProposalReply { leader_node: number(leader), ..said(Status::NotLeader) },
            Ok(Err(NotDone::NoReplica)) => said(Status::NoReplica),
            Ok(Err(NotDone::Busy)) => said(Status::TooBusy),
            Ok(Err(NotDone::NoSpace)) => said(Status::NoSpace),
            Ok(Err(NotDone::Unknown(detail))) => ProposalReply { detail, ..said(Status::Unknown) },
            Err(_elapsed) => said(Status::Unknown),
        }
    }

    fn leader_node(&self, group: GroupId) -> Option<NodeId> {
        self.context.replica(group).and_then(|replica| leader_of(&replica.raft)).map(|(_, node)| node)
    }
}

#[tonic::async_trait]
impl MetadataCalls for MetadataService {
    async fn propose(&self, request: Request<ProposeRequest>) -> Result<Response<ProposeReply>, tonic::Status> {
        let caller = self.admit(&request, request.get_ref().envelope.as_ref())?;
        let request = request.into_inner();
        if self.generation_differs(caller) {
            let replies = vec![said(Status::WrongGeneration); request.proposals.len()];
            return Ok(Response::new(ProposeReply { replies }));
        }
        let until = deadline(request.timeout_ms);
        let proposed = request.proposals.into_iter().map(|proposal| self.propose_one(caller.group, proposal, until));
        Ok(Response::new(ProposeReply { replies: join_all(proposed).await }))
    }

    async fn read_id(&self, request: Request<ReadIdRequest>) -> Result<Response<ReadIdReply>, tonic::Status> {
        let caller = self.admit(&request, request.get_ref().envelope.as_ref())?;
        let reply = |status: Status, index, leader| ReadIdReply { status: status.into(), leader_node: number(leader), index };
        if self.generation_differs(caller) {
            return Ok(Response::new(reply(Status::WrongGeneration, 0, None)));
        }
        let Some(replica) = self.context.replica(caller.group) else {
            return Ok(Response::new(reply(Status::NoReplica, 0, None)));
        };
        if !replica.leads() {
            return Ok(Response::new(reply(Status::NotLeader, 0, self.leader_node(caller.group))));
        }
        // Readers of all nodes share the confirmations that this leader asks its quorum for.
        let reply = match replica.read_ids.get(deadline(request.get_ref().timeout_ms)).await {
            Ok(index) => reply(Status::Ok, index, None),
            Err(_why) if !replica.leads() => reply(Status::NotLeader, 0, self.leader_node(caller.group)),
            Err(_why) => reply(Status::Unavailable, 0, None),
        };
        Ok(Response::new(reply))
    }

    async fn query(&self, request: Request<QueryRequest>) -> Result<Response<QueryReply>, tonic::Status> {
        let caller = self.admit(&request, request.get_ref().envelope.as_ref())?;
        let reply = |status: Status| QueryReply { status: status.into(), ..QueryReply::default() };
        if self.generation_differs(caller) {
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
        if self.generation_differs(caller) {
            return Ok(Response::new(reply(Status::WrongGeneration)));
        }
        let Some(replica) = self.context.replica(caller.group) else {
            return Ok(Response::new(reply(Status::NoReplica)));
        };
        if !replica.leads() {
            let leader_node = number(self.leader_node(caller.group));
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
