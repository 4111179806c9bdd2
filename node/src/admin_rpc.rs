//! What an operator does from a node's own machine: `skep status`, `skep user`, … call this service over the port between nodes.
//!
//! Invariant: a caller has the certificate of a node of the cluster (the port refuses everybody else), which is why it may do everything an
//! administrator may; each call is logged with the node it came from. Decisions stay in the use cases of `skep_api`.

mod accounts;
mod debug_chunk;
mod debug_files;
mod nodes;
mod recovery;
mod restore;
mod storage;
mod workspaces;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use skep_api::app::App;
use skep_api::auth::rights::{Administer, Authorized, Cluster};
use skep_api::error_code::{ErrorCode, Failure};
use skep_api::ports::NodePort;
use skep_api::request_context::RequestContext;
use skep_placement::ids::{DeviceId, NodeId};
use skep_raft::handle::Metadata;
use skep_raft::system_view::SystemView;
use tonic::{Request, Response, Status};

use crate::chunk_rpc::ShardTransport;
use crate::clock::System;
use crate::cluster_map::ClusterMaps;
use crate::master_key::MasterKey;
use crate::rpc_server::PeerIdentity;
use wire::admin_server::Admin;

/// Messages generated from `node/proto/skep/admin`.
pub mod wire {
    #![expect(
        missing_docs,
        unused_qualifications,
        clippy::allow_attributes,
        clippy::allow_attributes_without_reason,
        clippy::missing_errors_doc,
        clippy::too_many_lines,
        reason = "generated; the comments stand in the proto file"
    )]
    tonic::include_proto!("skep.admin.v1");
}

/// What the service is made of.
#[derive(Clone)]
pub struct AdminParts {
    /// This node.
    pub node: NodeId,
    /// The only door to metadata.
    pub metadata: Metadata,
    /// The use cases.
    pub app: App,
    /// Answers the status.
    pub port: Arc<dyn NodePort>,
    /// Seals keys of new datasources.
    pub master: MasterKey,
    /// The cluster map.
    pub maps: ClusterMaps,
    /// Asks devices what they have.
    pub transport: Arc<dyn ShardTransport>,
    /// The folders of this node's devices.
    pub devices: Vec<(DeviceId, PathBuf)>,
    /// The folder of this node's log.
    pub log_folder: PathBuf,
}

impl fmt::Debug for AdminParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AdminParts(node {})", self.node)
    }
}

/// The service behind the port, which listens before the node is whole: it answers that the node starts until it is given its parts.
/// A group is recovered also before: a node need not become whole without one.
#[derive(Clone, Debug)]
pub struct AdminService {
    metadata: Metadata,
    parts: Arc<OnceLock<AdminParts>>,
}

/// One call: its context, a fresh view of the system group, and the proof that an operator may.
struct Call {
    context: RequestContext,
    view: SystemView,
}

impl Call {
    /// The proof; each use case takes one.
    fn proof(&self) -> Result<Authorized<Administer, Cluster>, Status> {
        Authorized::operator(&self.view).map_err(status)
    }
}

impl AdminService {
    /// Makes the service of a node that starts.
    pub fn new(metadata: Metadata) -> Self {
        Self { metadata, parts: Arc::default() }
    }

    /// Answers by these parts from now on.
    pub fn provide(&self, parts: AdminParts) {
        if self.parts.set(parts).is_err() {
            tracing::error!("the admin service has its parts already");
        }
    }
}

impl AdminParts {
    /// Begins a call; refuses one that does not come from a node, which the port has refused already.
    async fn begin<T>(&self, request: &Request<T>, name: &'static str) -> Result<Call, Status> {
        let context = RequestContext::new(admit(request, name)?.into(), IpAddr::V4(Ipv4Addr::LOCALHOST));
        let view = self.metadata.system(context.deadline()).await.map_err(|error| status(error.into()))?;
        Ok(Call { context, view })
    }
}

/// Lets a node's call in and notes it; gives its request id.
fn admit<T>(request: &Request<T>, name: &'static str) -> Result<String, Status> {
    let caller = request.extensions().get::<PeerIdentity>().ok_or_else(|| Status::unauthenticated("only nodes may call this"))?;
    let request_id = uuid::Uuid::from_bytes(System.new_id()).to_string();
    tracing::info!(%request_id, caller = %caller.node, call = name, "an operator asks");
    Ok(request_id)
}

/// A failure of a use case as the command line shows it.
fn status(failure: Failure) -> Status {
    let sentence = failure.to_string();
    match failure.code {
        ErrorCode::NotFound => Status::not_found(sentence),
        ErrorCode::AlreadyExists => Status::already_exists(sentence),
        ErrorCode::Unavailable => Status::unavailable(sentence),
        ErrorCode::Internal => Status::internal(sentence),
        _ => Status::failed_precondition(sentence),
    }
}

/// Answers of the service's calls, each written in the file of its area. What only looks at what is here needs no quorum: it is asked for most
/// when there is none.
macro_rules! calls {
    (by_view { $($call:ident: $request:ident -> $reply:ident;)* } without_quorum { $($here:ident: $asked:ident -> $told:ident;)* }) => {
        #[tonic::async_trait]
        impl Admin for AdminService {
            $(
                async fn $call(&self, request: Request<wire::$request>) -> Result<Response<wire::$reply>, Status> {
                    let parts = self.parts.get().ok_or_else(|| Status::unavailable("the node is starting; ask again in a moment"))?;
                    let call = parts.begin(&request, stringify!($call)).await?;
                    parts.$call(call, request.into_inner()).await.map(Response::new)
                }
            )*

            $(
                async fn $here(&self, request: Request<wire::$asked>) -> Result<Response<wire::$told>, Status> {
                    let parts = self.parts.get().ok_or_else(|| Status::unavailable("the node is starting; ask again in a moment"))?;
                    admit(&request, stringify!($here))?;
                    parts.$here(request.into_inner()).await.map(Response::new)
                }
            )*

            async fn survey_group(&self, request: Request<wire::SurveyGroupRequest>) -> Result<Response<wire::SurveyGroupReply>, Status> {
                recovery::survey_group(&self.metadata, request).await.map(Response::new)
            }

            async fn recover_group(&self, request: Request<wire::RecoverGroupRequest>) -> Result<Response<wire::RecoverGroupReply>, Status> {
                recovery::recover_group(&self.metadata, request).await.map(Response::new)
            }
        }
    };
}

calls! {
    by_view {
        create_join_token: CreateJoinTokenRequest -> CreateJoinTokenReply;
        list_datasources: ListDatasourcesRequest -> ListDatasourcesReply;
        create_datasource: CreateDatasourceRequest -> CreateDatasourceReply;
        change_datasource: ChangeDatasourceRequest -> ChangeDatasourceReply;
        list_policies: ListPoliciesRequest -> ListPoliciesReply;
        list_workspaces: ListWorkspacesRequest -> ListWorkspacesReply;
        create_workspace: CreateWorkspaceRequest -> CreateWorkspaceReply;
        change_workspace: ChangeWorkspaceRequest -> ChangeWorkspaceReply;
        delete_workspace: DeleteWorkspaceRequest -> DeleteWorkspaceReply;
        grant: GrantRequest -> GrantReply;
        list_users: ListUsersRequest -> ListUsersReply;
        create_user: CreateUserRequest -> CreateUserReply;
        change_user: ChangeUserRequest -> ChangeUserReply;
        delete_user: DeleteUserRequest -> DeleteUserReply;
        set_password: SetPasswordRequest -> SetPasswordReply;
        list_tokens: ListTokensRequest -> ListTokensReply;
        create_token: CreateTokenRequest -> CreateTokenReply;
        delete_token: DeleteTokenRequest -> DeleteTokenReply;
        restore: RestoreRequest -> RestoreReply;
        job_progress: JobProgressRequest -> JobProgressReply;
        debug_chunk: DebugChunkRequest -> DebugChunkReply;
    }
    without_quorum {
        status: StatusRequest -> StatusReply;
        debug_segment: DebugSegmentRequest -> DebugSegmentReply;
        debug_log: DebugLogRequest -> DebugLogReply;
    }
}
