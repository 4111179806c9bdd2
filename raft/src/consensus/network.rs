//! Calls of a leader or candidate here to a member elsewhere.
//!
//! The channel reaches the node, not an address (its certificate is checked), and the envelope names the member, so that a call never ends at another
//! placement. Every call has a deadline.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RPCTypes, RaftNetworkFactory, RaftNetworkV2};
use skep_placement::ids::{GroupId, NodeId, RaftId};
use tonic::{Code, Response, Status};

use super::codec;
use super::context::Context;
use super::limits;
use super::snapshot::SnapshotFolder;
use super::snapshot_sender;
use super::state_machine::Snapshot;
use crate::format::raft_types::FormatError;
use crate::types::{MemberNode, TypeConfig, Vote};
use crate::wire::raft::v1::Envelope;
use crate::wire::raft::v1::raft_client::RaftClient;

type RpcError = RPCError<TypeConfig>;

/// Makes connections for one replica here.
pub(crate) struct Network {
    pub(crate) context: Arc<Context>,
    pub(crate) group: GroupId,
    pub(crate) raft: RaftId,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Member;

    async fn new_client(&mut self, target: u64, node: &MemberNode) -> Member {
        Member { context: Arc::clone(&self.context), group: self.group, from: self.raft, to: RaftId(target), node: node.node() }
    }
}

/// A member elsewhere, as one replica here sees it.
pub(crate) struct Member {
    pub(super) context: Arc<Context>,
    pub(super) group: GroupId,
    pub(super) from: RaftId,
    pub(super) to: RaftId,
    pub(super) node: NodeId,
}

impl Member {
    fn client(&self) -> Result<RaftClient<tonic::transport::Channel>, RpcError> {
        let channel = self.context.peers.channel(self.node).map_err(|error| Unreachable::new(&error))?;
        Ok(RaftClient::new(channel)
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::MESSAGE_BYTES_MAX))
    }

    pub(super) fn envelope(&self) -> Envelope {
        self.context.envelope(self.group, self.from, self.to)
    }

    /// Waits for an answer, at most so long.
    async fn call<T>(
        &self,
        action: RPCTypes,
        timeout: Duration,
        answer: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, RpcError> {
        match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(from_status(&status)),
            Err(_elapsed) => Err(Timeout { action, id: self.from.0, target: self.to.0, timeout }.into()),
        }
    }
}

/// A member that does not answer, or refuses, is tried again with growing pauses.
fn from_status(status: &Status) -> RpcError {
    match status.code() {
        Code::Cancelled | Code::Aborted | Code::Internal | Code::Unknown => NetworkError::new(status).into(),
        _ => Unreachable::new(status).into(),
    }
}

fn malformed(error: FormatError) -> RpcError {
    NetworkError::new(&error).into()
}

impl RaftNetworkV2<TypeConfig> for Member {
    type SnapshotData = Arc<SnapshotFolder>;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RpcError> {
        // Heartbeats and probes have a call of their own; the deadline of a heartbeat would be too short for 4 MiB on a slow disk, and sending them
        // again and again would block the group for ever.
        let timeout = if rpc.entries.is_empty() { option.soft_ttl() } else { limits::APPEND_DEADLINE.max(option.soft_ttl()) };
        let request = codec::append_request(&rpc, self.envelope());
        let sent = async {
            if request.entries.iter().map(Bytes::len).sum::<usize>() <= limits::LINE_CALL_BYTES_MAX {
                let channel = self.context.peers.channel(self.node).map_err(|error| Status::unavailable(error.to_string()))?;
                return self.context.lines.append(self.node, channel, request).await.map(Response::new);
            }
            self.client().map_err(|error| Status::unavailable(error.to_string()))?.append(request).await
        };
        let reply = self.call(RPCTypes::AppendEntries, timeout, sent).await?;
        codec::read_append_reply(&reply).map_err(malformed)
    }

    async fn vote(&mut self, rpc: VoteRequest<TypeConfig>, option: RPCOption) -> Result<VoteResponse<TypeConfig>, RpcError> {
        let mut client = self.client()?;
        let request = codec::vote_request(&rpc, self.envelope());
        let reply = self.call(RPCTypes::Vote, option.soft_ttl(), client.vote(request)).await?;
        codec::read_vote_reply(&reply).map_err(malformed)
    }

    async fn pre_vote(&mut self, rpc: VoteRequest<TypeConfig>, option: RPCOption) -> Result<VoteResponse<TypeConfig>, RpcError> {
        let mut client = self.client()?;
        let request = codec::vote_request(&rpc, self.envelope());
        let reply = self.call(RPCTypes::Vote, option.soft_ttl(), client.pre_vote(request)).await?;
        codec::read_vote_reply(&reply).map_err(malformed)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let client = self.client()?;
        let sending = snapshot_sender::send(client, self.envelope(), vote, snapshot);
        tokio::select! {
            closed = cancel => Err(closed.into()),
            sent = sending => sent.map_err(|error| Unreachable::new(&error).into()),
        }
    }

    async fn transfer_leader(
        &mut self,
        rpc: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RpcError> {
        let mut client = self.client()?;
        let request = codec::transfer_request(&rpc, self.envelope());
        let reply = self.call(RPCTypes::TransferLeader, option.soft_ttl(), client.transfer_leader(request)).await?;
        codec::read_transfer_reply(&reply).map_err(malformed)
    }
}
