//! The port between nodes: one mutual-TLS listener for control (gRPC) and for bytes of shards.
//!
//! Invariant: fail closed. A connection without a certificate of the cluster reaches the services that were added as open to joiners and
//! nothing else; each call carries the [`PeerIdentity`] of the certificate, and is checked against the cluster map when it comes, so that a
//! removed node is shut out though its certificate is still good.

mod connection;
mod router;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use skep_placement::ids::NodeId;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

pub use connection::RpcConnection;
pub use router::RpcRouter;
pub use skep_raft::options::PeerIdentity;

use crate::tls::{Alpn, NodeTls, PeerName, TlsError};

/// Connections open at a time.
const CONNECTIONS_MAX: usize = 4096;
/// Handshakes under way at a time.
const HANDSHAKES_MAX: usize = 128;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
const STREAM_WINDOW_BYTES: u32 = 2 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// The listener waits so long after an accept failed, as it does when no file can be opened.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Takes over connections that speak `skep-shard/1`.
pub trait ShardConnectionHandler: Send + Sync {
    /// Serves one connection of a node to its end; ends it soon after `stop` is cancelled.
    fn serve(&self, peer: NodeId, connection: TlsStream<TcpStream>, stop: CancellationToken) -> BoxFuture<'static, ()>;
}

/// Decides by the cluster map whether a node with a good certificate may still speak; the error says why not.
pub type Admission = Arc<dyn Fn(NodeId) -> Result<(), String> + Send + Sync>;

/// What the port serves.
pub struct RpcServer {
    /// Shows and checks certificates.
    pub tls: Arc<NodeTls>,
    /// The gRPC services.
    pub router: RpcRouter,
    /// Takes connections for bytes of shards.
    pub shards: Arc<dyn ShardConnectionHandler>,
    /// Whether a node is still one of the cluster.
    pub admission: Admission,
}

impl std::fmt::Debug for RpcServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RpcServer").field("tls", &self.tls).field("router", &self.router).finish_non_exhaustive()
    }
}

/// Why the port stopped.
#[derive(Debug, thiserror::Error)]
pub enum RpcServerError {
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The gRPC server failed.
    #[error("the RPC server failed: {0}")]
    Server(#[from] tonic::transport::Error),
}

impl RpcServer {
    /// Serves until `stop` is cancelled; then lets calls finish until `cut` is cancelled, and ends what is left.
    ///
    /// # Errors
    /// [`RpcServerError`] if TLS cannot be set up or the gRPC server fails.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken, cut: CancellationToken) -> Result<(), RpcServerError> {
        let acceptor = TlsAcceptor::from(self.tls.server_config()?);
        let (control, incoming) = mpsc::channel(HANDSHAKES_MAX);
        let gate = Gate { acceptor, control, shards: self.shards, admission: self.admission.clone(), cluster: self.tls.name(), cut };
        let accepting = accept(listener, Arc::new(gate), stop.clone());
        let incoming = tokio_stream::wrappers::ReceiverStream::new(incoming);
        let server = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .serve_with_incoming_shutdown(self.router.guarded_by(self.admission), incoming, stop.cancelled_owned());
        let (served, ()) = tokio::join!(server, accepting);
        Ok(served?)
    }
}

/// What a new connection passes through.
struct Gate {
    acceptor: TlsAcceptor,
    control: mpsc::Sender<io::Result<RpcConnection>>,
    shards: Arc<dyn ShardConnectionHandler>,
    admission: Admission,
    cluster: PeerName,
    cut: CancellationToken,
}

async fn accept(listener: TcpListener, gate: Arc<Gate>, stop: CancellationToken) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let mut tasks = JoinSet::new();
    loop {
        while tasks.try_join_next().is_some() {}
        let next = async {
            let slot = connections.clone().acquire_owned().await.expect("the semaphore is never closed");
            let shaking = handshakes.clone().acquire_owned().await.expect("the semaphore is never closed");
            (slot, shaking, listener.accept().await)
        };
        match stop.run_until_cancelled(next).await {
            None => break,
            Some((slot, shaking, Ok((stream, address)))) => {
                let (gate, stop) = (gate.clone(), stop.clone());
                tasks.spawn(async move {
                    let admitted = gate.handshake(stream, address).await;
                    drop(shaking);
                    gate.route(admitted, slot, stop).await;
                });
            }
            Some((_slot, _shaking, Err(error))) => {
                tracing::warn!(%error, "a connection on the RPC port could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    // Ends the tonic server's stream of connections; shard connections end with `stop`.
    let cut = gate.cut.clone();
    drop(gate);
    if cut.run_until_cancelled(async { while tasks.join_next().await.is_some() {} }).await.is_none() {
        tasks.shutdown().await;
    }
}

/// A connection after its handshake.
struct Admitted {
    stream: TlsStream<TcpStream>,
    peer: Option<NodeId>,
    alpn: Alpn,
}

impl Gate {
    async fn handshake(&self, stream: TcpStream, address: SocketAddr) -> Option<Admitted> {
        let refused = |why: &dyn std::fmt::Display| tracing::info!(%address, "a connection on the RPC port was refused: {why}");
        if let Err(error) = stream.set_nodelay(true) {
            refused(&error);
            return None;
        }
        let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, self.acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                refused(&error);
                return None;
            }
            Err(_elapsed) => {
                refused(&"the TLS handshake took too long");
                return None;
            }
        };
        let (_tcp, session) = stream.get_ref();
        let Some(alpn) = Alpn::agreed(session.alpn_protocol()) else {
            refused(&"it agreed on no protocol of ours");
            return None;
        };
        let peer = match session.peer_certificates().and_then(|chain| chain.first()).map(PeerName::of_certificate) {
            None => None,
            Some(Ok(name)) if name.cluster == self.cluster.cluster => Some(name.node),
            Some(Ok(name)) => {
                refused(&format_args!("its certificate is of {name}"));
                return None;
            }
            Some(Err(error)) => {
                refused(&error);
                return None;
            }
        };
        Some(Admitted { stream, peer, alpn })
    }

    async fn route(&self, admitted: Option<Admitted>, slot: tokio::sync::OwnedSemaphorePermit, stop: CancellationToken) {
        match admitted {
            Some(Admitted { stream, peer, alpn: Alpn::Control }) => {
                let connection = RpcConnection::new(stream, peer, slot, &self.cut);
                // The server is gone only when everything ends.
                let _ending = self.control.send(Ok(connection)).await;
            }
            Some(Admitted { stream, peer: Some(node), alpn: Alpn::Shard }) => match (self.admission)(node) {
                Ok(()) => {
                    self.shards.serve(node, stream, stop).await;
                    drop(slot);
                }
                Err(why) => tracing::info!(%node, "a connection for shards was refused: {why}"),
            },
            Some(Admitted { peer: None, alpn: Alpn::Shard, .. }) => {
                tracing::info!("a connection for shards was refused: it shows no certificate");
            }
            None => {}
        }
    }
}
