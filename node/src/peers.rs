//! Connections to other nodes: where they are, and that the one reached is the one meant.
//!
//! Invariant: a channel reaches exactly the node it was asked for, whatever its address leads to now: the certificate decides.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper_util::rt::TokioIo;
use skep_placement::ids::NodeId;
use skep_raft::errors::PeerError;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

use crate::chunk_rpc::client::{ShardDialer, ShardStream};
use crate::tls::session::handshake_name;
use crate::tls::verify::Expected;
use crate::tls::{Alpn, NodeTls, TlsError};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(3);
const STREAM_WINDOW_BYTES: u32 = 2 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// Where the nodes' RPC ports are: what the cluster map says, and before it is there what the node was told when it joined.
#[derive(Debug, Default)]
pub struct AddressBook {
    addresses: RwLock<BTreeMap<NodeId, String>>,
}

impl AddressBook {
    /// Starts with what is known from before.
    pub fn new(known: impl IntoIterator<Item = (NodeId, String)>) -> Self {
        Self { addresses: RwLock::new(known.into_iter().collect()) }
    }

    /// Takes what the cluster map says now; nodes it does not name keep what was known.
    pub fn learn(&self, addresses: impl IntoIterator<Item = (NodeId, String)>) {
        let mut known = self.addresses.write().unwrap_or_else(PoisonError::into_inner);
        known.extend(addresses.into_iter().filter(|(_node, address)| !address.is_empty()));
    }

    /// Where a node's RPC port is, host:port.
    pub fn get(&self, node: NodeId) -> Option<String> {
        self.addresses.read().unwrap_or_else(PoisonError::into_inner).get(&node).cloned()
    }
}

/// Why a node cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// It is in no map.
    #[error("the address of node {0} is not known yet")]
    UnknownAddress(NodeId),
    /// It did not answer in time.
    #[error("{target} at {address} does not answer within {CONNECT_TIMEOUT:?}")]
    TimedOut {
        /// Who was meant.
        target: String,
        /// Where.
        address: String,
    },
    /// The connection or its handshake failed.
    #[error("cannot reach {target} at {address}: {source}")]
    Failed {
        /// Who was meant.
        target: String,
        /// Where.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// The node's connections to the others.
#[derive(Clone)]
pub struct NodePeers {
    shared: Arc<Shared>,
}

struct Shared {
    tls: Arc<NodeTls>,
    book: Arc<AddressBook>,
    channels: Mutex<BTreeMap<NodeId, Channel>>,
}

impl fmt::Debug for NodePeers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodePeers").field("tls", &self.shared.tls).field("book", &self.shared.book).finish_non_exhaustive()
    }
}

impl NodePeers {
    /// Connects by these credentials to these addresses.
    pub fn new(tls: Arc<NodeTls>, book: Arc<AddressBook>) -> Self {
        Self { shared: Arc::new(Shared { tls, book, channels: Mutex::default() }) }
    }

    /// The channel for control calls to a node; it connects when it is used, and again after a failure.
    ///
    /// # Errors
    /// [`DialError::UnknownAddress`] until the cluster map or the configuration names the node.
    pub fn channel(&self, node: NodeId) -> Result<Channel, DialError> {
        let mut channels = self.shared.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(&node) {
            return Ok(channel.clone());
        }
        if self.shared.book.get(node).is_none() {
            return Err(DialError::UnknownAddress(node));
        }
        let shared = self.shared.clone();
        let connector = tower::service_fn(move |_uri: http::Uri| {
            let shared = shared.clone();
            async move { shared.dial(node, Alpn::Control).await.map(TokioIo::new) }
        });
        let channel = endpoint().connect_with_connector_lazy(connector);
        channels.insert(node, channel.clone());
        Ok(channel)
    }

    /// Opens a connection for bytes of shards to a node.
    ///
    /// # Errors
    /// [`DialError`] saying who cannot be reached where and why.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn dial_shards(&self, node: NodeId) -> Result<TlsStream<TcpStream>, DialError> {
        self.shared.dial(node, Alpn::Shard).await
    }
}

impl Shared {
    async fn dial(&self, node: NodeId, alpn: Alpn) -> Result<TlsStream<TcpStream>, DialError> {
        let address = self.book.get(node).ok_or(DialError::UnknownAddress(node))?;
        dial_address(&self.tls, &address, Expected::Node(node), alpn).await
    }
}

impl skep_raft::options::Peers for NodePeers {
    fn channel(&self, node: NodeId) -> Result<Channel, PeerError> {
        NodePeers::channel(self, node).map_err(|error| PeerError { node, why: error.to_string() })
    }
}

impl ShardDialer for NodePeers {
    fn dial(&self, node: NodeId) -> BoxFuture<'_, io::Result<Box<dyn ShardStream>>> {
        Box::pin(async move {
            let stream = self.dial_shards(node).await.map_err(io::Error::other)?;
            Ok(Box::new(stream) as Box<dyn ShardStream>)
        })
    }
}

/// Connects to an address and checks that the expected node answers there.
///
/// # Errors
/// [`DialError`] saying who cannot be reached where and why.
pub async fn dial_address(tls: &NodeTls, address: &str, expected: Expected, alpn: Alpn) -> Result<TlsStream<TcpStream>, DialError> {
    let config = tls.client_config(expected, alpn)?;
    let target = match expected {
        Expected::Node(node) => format!("node {node}"),
        Expected::AnyNode => "a node of the cluster".to_owned(),
    };
    connect(config, address, target).await
}

/// A channel to whichever expected node answers at an address.
pub fn channel_to(tls: Arc<NodeTls>, address: String, expected: Expected) -> Channel {
    let connector = tower::service_fn(move |_uri: http::Uri| {
        let (tls, address) = (tls.clone(), address.clone());
        async move { dial_address(&tls, &address, expected, Alpn::Control).await.map(TokioIo::new) }
    });
    endpoint().connect_with_connector_lazy(connector)
}

/// Connects with the given settings; `target` names who is meant, for errors.
pub(crate) async fn connect(config: Arc<rustls::ClientConfig>, address: &str, target: String) -> Result<TlsStream<TcpStream>, DialError> {
    let connecting = async {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        TlsConnector::from(config).connect(handshake_name(), tcp).await
    };
    match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(source)) => Err(DialError::Failed { target, address: address.to_owned(), source }),
        Err(_elapsed) => Err(DialError::TimedOut { target, address: address.to_owned() }),
    }
}

/// The settings of every control channel; the host in its URI is a placeholder, the connector knows where to go.
pub(crate) fn endpoint() -> Endpoint {
    Endpoint::from_static("http://node.skep.internal")
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
}
