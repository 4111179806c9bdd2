//! The port over real sockets: which calls get through.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::Ready;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures_util::FutureExt;
use http::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::transport::Channel;
use tower::{Service, ServiceExt};

use super::*;
use crate::peers::{self, AddressBook, NodePeers};
use crate::tls::authority::fingerprint;
use crate::tls::session::joining_client_config;
use crate::tls::testing::{CLUSTER, authority, credentials, node, now};

/// Answers who called.
#[derive(Clone)]
struct WhoAmI;
/// The same, open to joiners.
#[derive(Clone)]
struct Open;

impl NamedService for WhoAmI {
    const NAME: &'static str = "test.WhoAmI";
}
impl NamedService for Open {
    const NAME: &'static str = "test.Open";
}

fn answer(request: &Request<Body>) -> Response<Body> {
    let caller = request.extensions().get::<PeerIdentity>().map_or_else(|| "nobody".to_owned(), |peer| peer.node.to_string());
    Response::builder().header("caller", caller).header("grpc-status", "0").body(Body::empty()).unwrap()
}

macro_rules! answering {
    ($name:ty) => {
        impl Service<Request<Body>> for $name {
            type Response = Response<Body>;
            type Error = Infallible;
            type Future = Ready<Result<Response<Body>, Infallible>>;

            fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
                Poll::Ready(Ok(()))
            }

            fn call(&mut self, request: Request<Body>) -> Self::Future {
                std::future::ready(Ok(answer(&request)))
            }
        }
    };
}
answering!(WhoAmI);
answering!(Open);

/// Echoes one byte and notes the peer.
#[derive(Default)]
struct Echo(Mutex<Vec<NodeId>>);

impl ShardConnectionHandler for Arc<Echo> {
    fn serve(&self, peer: NodeId, mut connection: TlsStream<TcpStream>, stop: CancellationToken) -> BoxFuture<'static, ()> {
        self.0.lock().unwrap().push(peer);
        async move {
            let _stopped = stop.run_until_cancelled(async {
                while let Ok(byte) = connection.read_u8().await {
                    connection.write_u8(byte).await.unwrap();
                    connection.flush().await.unwrap();
                }
            });
            _stopped.await;
        }
        .boxed()
    }
}

struct Running {
    address: String,
    stop: CancellationToken,
    cut: CancellationToken,
    shards: Arc<Echo>,
    removed: Arc<Mutex<BTreeSet<NodeId>>>,
    task: tokio::task::JoinHandle<Result<(), RpcServerError>>,
}

async fn start(tls: Arc<NodeTls>) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let shards = Arc::new(Echo::default());
    let removed: Arc<Mutex<BTreeSet<NodeId>>> = Arc::default();
    let shut_out = removed.clone();
    let admission: Admission = Arc::new(move |node| match shut_out.lock().unwrap().contains(&node) {
        true => Err(format!("node {node} was removed")),
        false => Ok(()),
    });
    let router = RpcRouter::new().with(WhoAmI).with_open_to_joiners(Open);
    let server = RpcServer { tls, router, shards: Arc::new(shards.clone()), admission };
    let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
    let task = tokio::spawn(server.serve(listener, stop.clone(), cut.clone()));
    Running { address, stop, cut, shards, removed, task }
}

/// Calls a path; gives the caller's name or the gRPC status.
async fn call(channel: Channel, path: &str) -> Result<String, String> {
    let request = Request::post(format!("http://x/{path}")).body(Body::empty()).unwrap();
    let response = channel.oneshot(request).await.map_err(|error| format!("{:?}", error))?;
    let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    header("caller").ok_or_else(|| header("grpc-status").unwrap_or_default())
}

fn peers_of(tls: &Arc<NodeTls>, id: u64, address: &str) -> NodePeers {
    NodePeers::new(tls.clone(), Arc::new(AddressBook::new([(NodeId(id), address.to_owned())])))
}

#[tokio::test]
async fn calls_carry_the_certificates_node_and_joiners_reach_one_service() {
    let ca = authority();
    let one = Arc::new(NodeTls::new(&node(&ca, 1)).unwrap());
    let two = Arc::new(NodeTls::new(&node(&ca, 2)).unwrap());
    let server = start(one.clone()).await;
    let channel = peers_of(&two, 1, &server.address).channel(NodeId(1)).unwrap();
    assert_eq!(call(channel.clone(), "test.WhoAmI/Call").await.unwrap(), "2");
    assert_eq!(call(channel.clone(), "test.Unknown/Call").await.unwrap_err(), "12");
    assert!(peers_of(&two, 1, &server.address).channel(NodeId(5)).is_err(), "an address that nobody knows");
    let wrong_node = peers_of(&two, 3, &server.address).channel(NodeId(3)).unwrap();
    assert!(call(wrong_node, "test.WhoAmI/Call").await.unwrap_err().contains("NotValidForName"));

    let config = joining_client_config(fingerprint(ca.certificate()), CLUSTER).unwrap();
    let address = server.address.clone();
    let connector = tower::service_fn(move |_uri: http::Uri| {
        let (config, address) = (config.clone(), address.clone());
        async move { peers::connect(config, &address, "the cluster".to_owned()).await.map(TokioIo::new) }
    });
    let joiner = peers::endpoint().connect_with_connector_lazy(connector);
    assert_eq!(call(joiner.clone(), "test.Open/Call").await.unwrap(), "nobody");
    assert_eq!(call(joiner.clone(), "test.WhoAmI/Call").await.unwrap_err(), "16");
    assert_eq!(call(joiner, "test.Unknown/Call").await.unwrap_err(), "16");

    server.removed.lock().unwrap().insert(NodeId(2));
    assert_eq!(call(channel, "test.WhoAmI/Call").await.unwrap_err(), "7", "a removed node is shut out at once");
    server.stop.cancel();
    server.cut.cancel();
    server.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn shard_connections_need_a_certificate_and_end_with_the_server() {
    let ca = authority();
    let one = Arc::new(NodeTls::new(&node(&ca, 1)).unwrap());
    let two = Arc::new(NodeTls::new(&node(&ca, 2)).unwrap());
    let server = start(one).await;
    let peers = peers_of(&two, 1, &server.address);
    let mut stream = peers.dial_shards(NodeId(1)).await.unwrap();
    stream.write_u8(7).await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), 7);
    assert_eq!(*server.shards.0.lock().unwrap(), [NodeId(2)]);

    let mut config = Arc::unwrap_or_clone(joining_client_config(fingerprint(ca.certificate()), CLUSTER).unwrap());
    config.alpn_protocols = vec![Alpn::Shard.protocol().to_vec()];
    let mut nameless = peers::connect(Arc::new(config.clone()), &server.address, "x".to_owned()).await.unwrap();
    assert!(nameless.read_u8().await.is_err(), "a shard connection without a certificate was served");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    assert!(peers::connect(Arc::new(config), &server.address, "x".to_owned()).await.is_err(), "another protocol was agreed on");

    server.removed.lock().unwrap().insert(NodeId(2));
    let mut removed = peers.dial_shards(NodeId(1)).await.unwrap();
    assert!(removed.read_u8().await.is_err(), "a removed node was served");
    server.stop.cancel();
    assert!(stream.read_u8().await.is_err(), "a connection outlived the server");
    server.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_server_that_is_cut_leaves_no_connection() {
    let ca = authority();
    let one = Arc::new(NodeTls::new(&node(&ca, 1)).unwrap());
    let two = Arc::new(NodeTls::new(&credentials(&ca, CLUSTER, 2, now())).unwrap());
    let server = start(one).await;
    let mut idle = peers::dial_address(&two, &server.address, crate::tls::verify::Expected::Node(NodeId(1)), Alpn::Control).await.unwrap();
    server.stop.cancel();
    server.cut.cancel();
    tokio::time::timeout(Duration::from_secs(20), server.task).await.expect("it ends").unwrap().unwrap();
    let mut rest = Vec::new();
    // The connection ends, cleanly or not.
    let _ended = tokio::time::timeout(Duration::from_secs(20), idle.read_to_end(&mut rest)).await.expect("it ends");
}
