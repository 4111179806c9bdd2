//! The cluster's side: any node takes a joiner in. It proposes the node, places it in the system group, signs its certificate and hands it the
//! master key.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use skep_placement::ids::{GroupId, NodeId};
use skep_raft::errors::{ProposeError, QueryError};
use skep_raft::handle::Metadata;
use skep_raft::store::StateError;
use skep_raft::system_view::SystemView;
use skep_raft::wire::meta::v1 as meta;
use time::OffsetDateTime;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::token::hash;
use super::wire::join_server::Join;
use super::wire::{JoinReply, JoinRequest, KnownNode};
use crate::clock::System;
use crate::master_key::{MasterKey, SealPurpose};
use crate::tls::authority::PublicKeyInfo;
use crate::tls::{Authority, PeerName, TlsError};

const DEADLINE: Duration = Duration::from_secs(20);
const TEXT_BYTES_MAX: usize = 255;
/// A token's `used_by` when it was withdrawn.
const WITHDRAWN: u64 = u64::MAX;

/// Takes nodes in.
#[derive(Clone)]
pub struct JoinService {
    metadata: Metadata,
    master: MasterKey,
}

impl fmt::Debug for JoinService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinService")
    }
}

/// Opens the cluster's authority with the master key.
///
/// # Errors
/// A status with a sentence: no cluster, or the key of another.
pub fn open_authority(view: &SystemView, master: &MasterKey) -> Result<Authority, AuthorityError> {
    let cluster = view.cluster()?.ok_or(AuthorityError::NoCluster)?;
    let key = master.open(SealPurpose::AuthorityKey, &cluster.ca_key_sealed)?;
    Ok(Authority::from_parts(&cluster.ca_certificate, &key)?)
}

/// Why the cluster's authority cannot sign here.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The replica cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The replica is empty.
    #[error("this node knows no cluster yet")]
    NoCluster,
    /// The master key is another cluster's.
    #[error(transparent)]
    Seal(#[from] crate::master_key::OpenSealError),
    /// The authority cannot be read.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl JoinService {
    /// Takes nodes in by these metadata, handing out this key.
    pub fn new(metadata: Metadata, master: MasterKey) -> Self {
        Self { metadata, master }
    }

    async fn take_in(&self, request: &JoinRequest) -> Result<JoinReply, Status> {
        let deadline = Instant::now() + DEADLINE;
        let public_key =
            PublicKeyInfo::of_request(&request.certificate_request).map_err(|error| Status::invalid_argument(error.to_string()))?;
        check(request)?;
        let token_hash = hash(&request.secret);
        let view = self.metadata.system(deadline).await.map_err(from_query)?;
        let node = match self.entered_before(&view, token_hash, &public_key)? {
            Some(node) => node,
            None => {
                refuse_known_name(&view, &request.name)?;
                self.add(request, token_hash, &public_key, deadline).await?
            }
        };
        let system_raft_id = self.place(node, deadline).await?;
        // What was just proposed is in the next view.
        let view = self.metadata.system(deadline).await.map_err(from_query)?;
        let authority = open_authority(&view, &self.master).map_err(|error| Status::failed_precondition(error.to_string()))?;
        let name = PeerName { cluster: self.master.cluster(), node };
        let certificate =
            authority.issue(name, &public_key, OffsetDateTime::now_utc()).map_err(|error| Status::internal(error.to_string()))?;
        let group = view.group(GroupId::SYSTEM).map_err(from_state)?;
        tracing::info!(%node, name = %request.name, zone = %request.zone, rpc = %request.rpc_address, "a node joins the cluster");
        Ok(JoinReply {
            cluster: Bytes::copy_from_slice(&self.master.cluster().0),
            node: node.0,
            system_raft_id,
            system_generation: group.map_or(1, |group| group.generation),
            authority_certificate: Bytes::copy_from_slice(authority.certificate()),
            certificate: Bytes::copy_from_slice(&certificate),
            master_key: Bytes::copy_from_slice(self.master.expose()),
            nodes: known(&view, node)?,
        })
    }

    /// The node that this very joiner became before, if its join was interrupted. An unknown, used or ended token is refused here.
    fn entered_before(&self, view: &SystemView, hash: [u8; 32], public_key: &PublicKeyInfo) -> Result<Option<NodeId>, Status> {
        let record = view.join_token(&hash).map_err(from_state)?;
        let record = record
            .ok_or_else(|| Status::permission_denied("the cluster does not know this join token; make one with `skep join-token`"))?;
        if record.used_by == WITHDRAWN {
            return Err(Status::permission_denied("the join token was withdrawn"));
        }
        if record.expires_at <= System.now_micros() {
            return Err(Status::permission_denied("the join token has expired; make another with `skep join-token`"));
        }
        if record.used_by == 0 {
            return Ok(None);
        }
        let node = NodeId(record.used_by);
        let entered = view.node(node).map_err(from_state)?;
        match entered.filter(|entered| entered.public_key_sha256.as_ref() == public_key.sha256()) {
            Some(_same_key) => Ok(Some(node)),
            None => Err(Status::permission_denied(format!(
                "node {node} has joined with this token, and a token lets one node join; make another with `skep join-token`"
            ))),
        }
    }

    async fn add(
        &self,
        request: &JoinRequest,
        token_hash: [u8; 32],
        public_key: &PublicKeyInfo,
        deadline: Instant,
    ) -> Result<NodeId, Status> {
        let node = meta::NodeRecord {
            name: request.name.clone(),
            zone: request.zone.clone(),
            api_address: request.api_address.clone(),
            api_scheme: request.api_scheme.clone(),
            rpc_address: request.rpc_address.clone(),
            version: request.version.clone(),
            public_key_sha256: Bytes::copy_from_slice(&public_key.sha256()),
            ..meta::NodeRecord::default()
        };
        let add = meta::AddNode { node: Some(node), join_token_hash: Bytes::copy_from_slice(&token_hash) };
        let done = self.propose(meta::cluster_command::What::AddNode(add), deadline).await?;
        Ok(NodeId(done.number))
    }

    /// The node's place in the system group; asked again it is the same.
    async fn place(&self, node: NodeId, deadline: Instant) -> Result<u64, Status> {
        let place = meta::PlaceMember { group: GroupId::SYSTEM.0, node: node.0, role: meta::MemberRole::Learner.into() };
        Ok(self.propose(meta::cluster_command::What::PlaceMember(place), deadline).await?.number)
    }

    async fn propose(&self, what: meta::cluster_command::What, deadline: Instant) -> Result<meta::Done, Status> {
        let what = meta::command::What::Cluster(meta::ClusterCommand { what: Some(what) });
        let request_id = uuid::Uuid::from_bytes(System.new_id()).to_string();
        let command = meta::Command { request_id, what: Some(what), ..meta::Command::default() };
        let proposed = self.metadata.propose(GroupId::SYSTEM, command, deadline).await;
        proposed.map(|proposed| proposed.done).map_err(from_propose)
    }
}

#[tonic::async_trait]
impl Join for JoinService {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinReply>, Status> {
        let request = request.into_inner();
        let answered = self.take_in(&request).await;
        if let Err(status) = &answered {
            tracing::warn!(name = %request.name, "a node could not join: {}", status.message());
        }
        answered.map(Response::new)
    }
}

fn check(request: &JoinRequest) -> Result<(), Status> {
    let texts = [
        ("name", &request.name),
        ("zone", &request.zone),
        ("API address", &request.api_address),
        ("API scheme", &request.api_scheme),
        ("RPC address", &request.rpc_address),
        ("version", &request.version),
    ];
    for (what, text) in texts {
        if text.is_empty() || text.len() > TEXT_BYTES_MAX {
            return Err(Status::invalid_argument(format!("the {what} of the node is missing or longer than {TEXT_BYTES_MAX} bytes")));
        }
    }
    if request.version != env!("CARGO_PKG_VERSION") {
        tracing::info!(name = %request.name, version = %request.version, "a node of another version joins");
    }
    Ok(())
}

fn refuse_known_name(view: &SystemView, name: &str) -> Result<(), Status> {
    let nodes = view.nodes().map_err(from_state)?;
    match nodes.iter().find(|node| node.name == name && node.state() != meta::NodeState::Removed) {
        Some(node) => Err(Status::already_exists(format!("node {} is named {name} already: set another node.name", node.id))),
        None => Ok(()),
    }
}

fn known(view: &SystemView, but: NodeId) -> Result<Vec<KnownNode>, Status> {
    let nodes = view.nodes().map_err(from_state)?.into_iter();
    let reachable = nodes.filter(|node| node.id != but.0 && node.state() != meta::NodeState::Removed);
    Ok(reachable.map(|node| KnownNode { node: node.id, rpc_address: node.rpc_address }).collect())
}

fn from_state(error: StateError) -> Status {
    Status::internal(error.to_string())
}

fn from_query(error: QueryError) -> Status {
    Status::unavailable(error.to_string())
}

fn from_propose(error: ProposeError) -> Status {
    match error {
        ProposeError::Rejected(rejection) => Status::permission_denied(rejection.detail),
        ProposeError::Unknown { why } => {
            Status::unavailable(format!("it is not known whether the node was taken in ({why}); try again with the same token"))
        }
        error => Status::unavailable(error.to_string()),
    }
}
