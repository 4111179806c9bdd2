//! The joiner's side: asks one node of the cluster after another, then writes down what it was given, the identity last.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls_pki_types::CertificateDer;
use skep_placement::ids::{BootNumber, ClusterId, Generation, NodeId, RaftId};
use tonic::transport::Channel;
use tonic::{Code, Status};
use zeroize::Zeroizing;

use super::token::JoinToken;
use super::wire::join_client::JoinClient;
use super::wire::{JoinReply, JoinRequest};
use crate::config::Config;
use crate::durable_file::FileError;
use crate::identity::{DataFolder, IdentityError, Membership, NodeIdentity};
use crate::known_nodes;
use crate::master_key::{MasterKey, MasterKeyError};
use crate::peers::{connect, endpoint};
use crate::tls::authority::{certificate_request, fingerprint};
use crate::tls::credentials::load_or_create_key;
use crate::tls::session::joining_client_config;
use crate::tls::{NodeCredentials, PeerName, TlsError};

const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Why the node did not enter.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The data folder cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A key or certificate cannot be made or read.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The master key cannot be written.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The cluster said no.
    #[error("the cluster refused: {0}")]
    Refused(String),
    /// No node of the token answered.
    #[error("no node of the cluster could be asked (the same token may be tried again while it lives):{}", list(.0))]
    NoneAnswered(Vec<String>),
    /// What was answered does not fit the token; the sender is not trusted.
    #[error("the answer does not fit the token: {0}")]
    Answer(&'static str),
}

fn list(reasons: &[String]) -> String {
    reasons.iter().map(|reason| format!("\n  {reason}")).collect()
}

/// Enters the cluster of the token with the node that the configuration describes. A node that has entered it before stays what it is.
///
/// # Errors
/// [`JoinError`]; the same call with the same token may be repeated.
pub async fn join(config: &Config, token: &JoinToken) -> Result<NodeIdentity, JoinError> {
    let folder = DataFolder::lock(&config.node.data_dir)?;
    if let Some(found) = folder.identity()?.filter(|found| found.membership != Membership::Forming && found.cluster == token.cluster) {
        return Ok(found);
    }
    folder.check_vacant()?;
    let key = load_or_create_key(folder.path())?;
    let request = JoinRequest {
        secret: token.secret.to_vec().into(),
        name: config.node.name.clone(),
        zone: config.node.zone.clone(),
        api_address: advertised(config.api.advertise.as_ref(), config.api.listen),
        api_scheme: config.api_scheme().to_owned(),
        rpc_address: advertised(config.rpc.advertise.as_ref(), config.rpc.listen),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        certificate_request: certificate_request(&key)?.into(),
    };
    let reply = ask(token, &request).await?;
    write_down(config, &folder, token, &reply, Zeroizing::new(key.serialize_der()))
}

/// How others reach a listener.
pub fn advertised(said: Option<&String>, listen: std::net::SocketAddr) -> String {
    said.cloned().unwrap_or_else(|| listen.to_string())
}

async fn ask(token: &JoinToken, request: &JoinRequest) -> Result<JoinReply, JoinError> {
    let mut reasons = Vec::new();
    for address in &token.addresses {
        let mut client = JoinClient::new(channel(token, address)?);
        match tokio::time::timeout(CALL_TIMEOUT, client.join(request.clone())).await {
            Ok(Ok(reply)) => return Ok(reply.into_inner()),
            Ok(Err(status)) if is_refusal(&status) => return Err(JoinError::Refused(status.message().to_owned())),
            Ok(Err(status)) => reasons.push(format!("{address}: {}", sentence(&status))),
            Err(_elapsed) => reasons.push(format!("{address}: no answer within {CALL_TIMEOUT:?}")),
        }
    }
    Err(JoinError::NoneAnswered(reasons))
}

/// What another node would say too.
fn is_refusal(status: &Status) -> bool {
    matches!(status.code(), Code::PermissionDenied | Code::InvalidArgument | Code::AlreadyExists | Code::FailedPrecondition)
}

/// A status with its innermost cause, which names what failed.
pub(crate) fn sentence(status: &Status) -> String {
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(status);
    let mut text = status.message().to_owned();
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    text
}

fn channel(token: &JoinToken, address: &str) -> Result<Channel, TlsError> {
    let tls = joining_client_config(token.authority_sha256, token.cluster)?;
    let address = address.to_owned();
    let connector = tower::service_fn(move |_uri: http::Uri| {
        let (tls, address) = (Arc::clone(&tls), address.clone());
        async move { connect(tls, &address, "a node of the token's cluster".to_owned()).await.map(TokioIo::new) }
    });
    Ok(endpoint().connect_with_connector_lazy(connector))
}

/// Checks the answer against the token and writes it down.
fn write_down(
    config: &Config,
    folder: &DataFolder,
    token: &JoinToken,
    reply: &JoinReply,
    key: Zeroizing<Vec<u8>>,
) -> Result<NodeIdentity, JoinError> {
    let cluster = ClusterId::try_from(reply.cluster.as_ref()).map_err(|_no_id| JoinError::Answer("it names no cluster"))?;
    if cluster != token.cluster {
        return Err(JoinError::Answer("it is of another cluster"));
    }
    let authority = CertificateDer::from(reply.authority_certificate.to_vec());
    if fingerprint(&authority) != token.authority_sha256 {
        return Err(JoinError::Answer("its authority is not the pinned one"));
    }
    let node = NodeId(reply.node);
    let credentials = NodeCredentials { authority, certificate: CertificateDer::from(reply.certificate.to_vec()), key };
    if credentials.name()? != (PeerName { cluster, node }) {
        return Err(JoinError::Answer("its certificate names another node"));
    }
    crate::tls::NodeTls::new(&credentials)?;
    store(&config.node.master_key_file, &MasterKey::from_bytes(cluster, &reply.master_key)?)?;
    credentials.store(folder.path())?;
    let nodes: Vec<_> = reply.nodes.iter().map(|known| (NodeId(known.node), known.rpc_address.clone())).collect();
    known_nodes::store(folder.path(), &nodes)?;
    let identity = NodeIdentity {
        cluster,
        node,
        system_raft_id: RaftId(reply.system_raft_id),
        system_generation: Generation(reply.system_generation),
        membership: Membership::Joined,
        boot: BootNumber(0),
    };
    folder.write(identity)?;
    Ok(identity)
}

fn store(path: &Path, key: &MasterKey) -> Result<(), JoinError> {
    Ok(key.store(path)?)
}
