//! The state of the cluster, and tokens for new nodes.

use bytes::Bytes;
use skep_placement::ids::GroupId;
use skep_raft::wire::meta::v1 as meta;
use tonic::Status;
use zeroize::Zeroizing;

use super::wire::{CreateJoinTokenReply, CreateJoinTokenRequest, StatusReply, StatusRequest};
use super::{AdminParts, Call, status};
use crate::clock::System;
use crate::join::JoinToken;
use crate::join::token::LIFETIME_SECONDS;
use crate::tls::authority::sha256;

/// A token may live a week at most.
const LIFETIME_SECONDS_MAX: u64 = 7 * 24 * 3600;
/// Addresses that a token names at most.
const ADDRESSES_MAX: usize = 8;

impl AdminParts {
    pub(super) async fn status(&self, _request: StatusRequest) -> Result<StatusReply, Status> {
        let found = self.port.status().await;
        let json = serde_json::to_string(&found).map_err(|error| Status::internal(error.to_string()))?;
        Ok(StatusReply { json })
    }

    pub(super) async fn create_join_token(&self, call: Call, request: CreateJoinTokenRequest) -> Result<CreateJoinTokenReply, Status> {
        let lifetime_seconds = match request.lifetime_seconds {
            0 => LIFETIME_SECONDS,
            seconds if seconds <= LIFETIME_SECONDS_MAX => seconds,
            _too_long => return Err(Status::invalid_argument("a join token lives a week at most")),
        };
        let cluster = call.view.cluster().map_err(|error| status(error.into()))?;
        let cluster = cluster.ok_or_else(|| Status::failed_precondition("this node knows no cluster yet"))?;
        let mut secret = Zeroizing::new([0; 32]);
        System.fill(secret.as_mut_slice());
        let token = JoinToken {
            addresses: self.addresses(&call)?,
            authority_sha256: sha256(&cluster.ca_certificate),
            cluster: self.master.cluster(),
            secret,
        };
        let put = meta::PutJoinToken { hash: Bytes::copy_from_slice(&token.hash()), lifetime_seconds };
        let proposed = self.propose_cluster(&call, meta::cluster_command::What::PutJoinToken(put)).await?;
        Ok(CreateJoinTokenReply { token: token.to_text().to_string(), expires_at: proposed.stamp.0 + lifetime_seconds * 1_000_000 })
    }

    /// Where a joiner finds nodes: this one first.
    fn addresses(&self, call: &Call) -> Result<Vec<String>, Status> {
        let mut nodes = call.view.nodes().map_err(|error| status(error.into()))?;
        nodes.retain(|node| node.state() == meta::NodeState::Active && !node.rpc_address.is_empty());
        nodes.sort_by_key(|node| (node.id != self.node.0, node.id));
        Ok(nodes.into_iter().map(|node| node.rpc_address).take(ADDRESSES_MAX).collect())
    }

    /// Proposes a command on the cluster as the operator.
    pub(super) async fn propose_cluster(
        &self,
        call: &Call,
        what: meta::cluster_command::What,
    ) -> Result<skep_raft::handle::Proposed, Status> {
        let proof = call.proof()?;
        let command = meta::Command {
            actor: Some(proof.actor()),
            rights_index: proof.index(),
            request_id: call.context.request_id.to_string(),
            what: Some(meta::command::What::Cluster(meta::ClusterCommand { what: Some(what) })),
            ..meta::Command::default()
        };
        let proposed = self.metadata.propose(GroupId::SYSTEM, command, call.context.deadline()).await;
        proposed.map_err(|error| status(error.into()))
    }
}
