//! Nodes in one process that talk over loopback. Instead of certificates each node has one port for every other node, so that it knows who calls.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use skep_placement::ids::{BootNumber, ClusterId, GroupId, NodeId, RaftId};
use skep_raft::consensus::stores::{ReplicaStore, StoreFactory};
use skep_raft::errors::{PeerError, ProposeError};
use skep_raft::handle::{Metadata, Proposed};
use skep_raft::options::{FreeSpace, MetadataOptions, NodeIdentity, PeerIdentity, Peers};
use skep_raft::store::{Changes, ReadState, StateError};
use skep_raft::wire::meta::v1::{
    AddNode, ClusterCommand, ClusterRecord, Command, CreateFolder, DeviceRecord, EntryPath, InitCluster, MemberRole, NodeRecord,
    PlaceMember, Profile, PutJoinToken, Query, StatQuery, TreeCommand, UserRecord, answer, cluster_command, command, query, tree_command,
};
use skep_raft::wire::raft::v1::ReplicaStatus;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::codegen::Service;
use tonic::transport::{Channel, Endpoint};

pub(crate) const CLUSTER: ClusterId = ClusterId([7; 16]);
/// The group of the first datasource that every cluster begins with.
pub(crate) const DATA: GroupId = GroupId(1);
/// Nodes that a cluster may have.
const NODES_MAX: u64 = 6;

/// Where everybody listens, for whom.
#[derive(Default)]
pub(crate) struct Ports {
    by_pair: Mutex<BTreeMap<(NodeId, NodeId), (SocketAddr, Channel)>>,
}

/// The other nodes as one of them sees them.
pub(crate) struct From {
    node: NodeId,
    ports: Arc<Ports>,
}

impl From {
    pub(crate) fn new(node: NodeId, ports: Arc<Ports>) -> Self {
        Self { node, ports }
    }
}

impl Peers for From {
    fn channel(&self, node: NodeId) -> Result<Channel, PeerError> {
        let ports = self.ports.by_pair.lock().unwrap_or_else(PoisonError::into_inner);
        let found = ports.get(&(self.node, node)).map(|(_, channel)| channel.clone());
        found.ok_or_else(|| PeerError { node, why: "it has no address".to_owned() })
    }
}

/// How far each node's clock is ahead of the machine's, in microseconds.
#[derive(Default)]
pub(crate) struct Clocks {
    ahead: Mutex<BTreeMap<NodeId, i64>>,
}

impl Clocks {
    pub(crate) fn set(&self, node: NodeId, ahead: Duration) {
        let micros = i64::try_from(ahead.as_micros()).expect("a test's clock is not that wrong");
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner).insert(node, micros);
    }

    fn now(&self, node: NodeId) -> u64 {
        let ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner).get(&node).copied().unwrap_or(0);
        now_micros().checked_add_signed(ahead).expect("a test's clock is not that wrong")
    }
}

/// Which nodes' data folders are nearly full.
#[derive(Default)]
pub(crate) struct Spaces {
    full: Mutex<BTreeSet<NodeId>>,
}

impl Spaces {
    pub(crate) fn fill(&self, node: NodeId) {
        self.full.lock().unwrap_or_else(PoisonError::into_inner).insert(node);
    }
}

/// One node's data folder.
struct Space(NodeId, Arc<Spaces>);

impl FreeSpace for Space {
    fn free_and_total(&self) -> Option<(u64, u64)> {
        let full = self.1.full.lock().unwrap_or_else(PoisonError::into_inner).contains(&self.0);
        Some((if full { 1 } else { 50 }, 100))
    }
}

/// States that say, once they are told to, that something failed behind their back.
struct Failing {
    stores: Arc<dyn StoreFactory>,
    failed: Arc<AtomicBool>,
}

struct FailingReplica {
    store: Arc<dyn ReplicaStore>,
    failed: Arc<AtomicBool>,
}

impl StoreFactory for Failing {
    fn open(&self, folder: &Path) -> Result<Arc<dyn ReplicaStore>, StateError> {
        Ok(Arc::new(FailingReplica { store: self.stores.open(folder)?, failed: Arc::clone(&self.failed) }))
    }

    fn peek(&self, folder: &Path) -> Result<Box<dyn ReadState>, StateError> {
        self.stores.peek(folder)
    }
}

impl ReplicaStore for FailingReplica {
    fn snapshot(&self) -> Box<dyn ReadState> {
        self.store.snapshot()
    }

    fn commit(&self, changes: Changes) -> Result<(), StateError> {
        self.store.commit(changes)
    }

    fn checkpoint(&self, folder: &Path) -> Result<(), StateError> {
        self.store.checkpoint(folder)
    }

    fn background_failure(&self) -> Option<String> {
        let failed = self.failed.load(Ordering::Relaxed).then(|| "3 flushes have failed".to_owned());
        failed.or_else(|| self.store.background_failure())
    }
}

/// What all nodes of a cluster share.
#[derive(Clone, Default)]
pub(crate) struct World {
    /// Every node's states have failed.
    pub(crate) failed: Arc<AtomicBool>,
    pub(crate) spaces: Arc<Spaces>,
    pub(crate) ports: Arc<Ports>,
    pub(crate) clocks: Arc<Clocks>,
}

pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) metadata: Metadata,
    boot: u64,
    raft: RaftId,
    folder: Arc<TempDir>,
    servers: JoinSet<()>,
    fatal: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) snapshot_commands: u64,
    pub(crate) kept_entries: u64,
    pub(crate) silent_voter: Duration,
    /// Bytes of a segment of the log; eight are kept.
    pub(crate) log_segment_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { snapshot_commands: 100_000, kept_entries: 1_000, silent_voter: Duration::from_secs(900), log_segment_bytes: 64 << 20 }
    }
}

pub(crate) struct Cluster {
    pub(crate) world: World,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    settings: Settings,
}

pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(4)
}

pub(crate) fn later() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

/// Waits for a condition, with a limit.
pub(crate) async fn until<F, Fut>(what: &str, mut condition: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let limit = Instant::now() + Duration::from_secs(60);
    while !condition().await {
        assert!(Instant::now() < limit, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Node {
    async fn start(world: &World, (id, raft, boot): (NodeId, RaftId, u64), folder: Arc<TempDir>, settings: Settings) -> Self {
        let ports = &world.ports;
        let identity = NodeIdentity { cluster: CLUSTER, node: id, boot: BootNumber(boot), data_dir: PathBuf::from(folder.path()) };
        let fatal = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&fatal);
        let on_fatal = Arc::new(move |why: &str| told.lock().unwrap_or_else(PoisonError::into_inner).push(why.to_owned()));
        let clocks = Arc::clone(&world.clocks);
        let states = Arc::new(Failing { stores: stores(), failed: Arc::clone(&world.failed) });
        let mut options = MetadataOptions::new(identity, states, Arc::new(move || clocks.now(id)), on_fatal);
        // Later the log itself says which replica this node has.
        options.system_raft_id = (boot == 1).then_some(raft);
        options.first_start = boot == 1;
        options.free_space = Arc::new(Space(id, Arc::clone(&world.spaces)));
        options.heartbeat = Duration::from_millis(50);
        options.election_timeout_min = Duration::from_millis(250);
        options.election_timeout_max = Duration::from_millis(500);
        options.reconcile_interval = Duration::from_millis(50);
        options.clock_interval = Duration::from_millis(50);
        options.snapshot_commands = settings.snapshot_commands;
        options.kept_entries = settings.kept_entries;
        options.silent_voter = settings.silent_voter;
        options.log_segment_bytes = settings.log_segment_bytes;
        options.log_kept_bytes = settings.log_segment_bytes * 8;
        let peers = Arc::new(From::new(id, Arc::clone(ports)));
        let metadata = Metadata::start(options, peers).await.expect("the node starts");
        let mut servers = JoinSet::new();
        for caller in (1..=NODES_MAX).map(NodeId).filter(|caller| *caller != id) {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
            let address = listener.local_addr().expect("it is bound");
            servers.spawn(serve(listener, caller, metadata.clone()));
            let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address is a URI");
            let channel = endpoint.connect_timeout(Duration::from_millis(500)).connect_lazy();
            ports.by_pair.lock().unwrap_or_else(PoisonError::into_inner).insert((caller, id), (address, channel));
        }
        Self { id, metadata, boot, raft, folder, servers, fatal }
    }

    async fn stop(&mut self, ports: &Ports) {
        self.servers.shutdown().await;
        ports.by_pair.lock().unwrap_or_else(PoisonError::into_inner).retain(|(_, to), _| *to != self.id);
        self.metadata.close().await;
        let fatal = self.fatal.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(fatal.is_empty(), "node {} failed: {fatal:?}", self.id);
    }

    /// Why this node cannot go on, in its words; forgotten then.
    pub(crate) fn take_fatal(&self) -> Vec<String> {
        std::mem::take(&mut *self.fatal.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where this node's data are.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Bytes of this node's log.
    pub(crate) fn log_bytes(&self) -> u64 {
        let files = std::fs::read_dir(self.folder.path().join("log")).expect("the log has a folder");
        files.map(|file| file.expect("it can be read").metadata().map_or(0, |metadata| metadata.len())).sum()
    }

    /// This node's replica of a group.
    pub(crate) async fn replica(&self, group: GroupId) -> Option<ReplicaStatus> {
        self.metadata.replicas().await.into_iter().find(|replica| replica.group == group.0)
    }
}

/// Serves one caller until it is aborted, and with it all connections.
async fn serve(listener: TcpListener, caller: NodeId, metadata: Metadata) {
    let (raft, gateway) = (metadata.raft_service(), metadata.metadata_service());
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(PeerIdentity { node: caller });
        let (mut raft, mut gateway) = (raft.clone(), gateway.clone());
        async move {
            if request.uri().path().starts_with("/skep.raft.v1.Raft/") { raft.call(request).await } else { gateway.call(request).await }
        }
    });
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("a listener accepts");
        let connection = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service.clone());
        // How a connection ends is its caller's concern.
        connections.spawn(async move { drop(connection.await) });
    }
}

impl Cluster {
    /// A cluster of one node.
    pub(crate) async fn begin(settings: Settings) -> Self {
        let world = World::default();
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let first = Node::start(&world, (NodeId(1), RaftId(1), 1), folder, settings).await;
        first.metadata.init_cluster(init()).await.expect("an empty node can begin a cluster");
        Self { world, nodes: BTreeMap::from([(NodeId(1), first)]), settings }
    }

    /// A cluster of so many nodes whose groups have grown to their sizes.
    pub(crate) async fn grown(count: u64, settings: Settings) -> Self {
        let mut cluster = Self::begin(settings).await;
        for _ in 1..count {
            cluster.join().await;
        }
        cluster
            .settle(usize::try_from(count.min(if count == 4 { 3 } else { 5 })).expect("few"), usize::try_from(count.min(3)).expect("few"))
            .await;
        cluster
    }

    /// Waits until the groups have so many voters, as every node with a replica sees it.
    pub(crate) async fn settle(&self, system: usize, data: usize) {
        until("the groups grow", || async {
            for (group, voters) in [(GroupId::SYSTEM, system), (DATA, data)] {
                let mut found = 0;
                for node in self.nodes.values() {
                    if let Some(replica) = node.replica(group).await {
                        if replica.voters.len() != voters || replica.joint || replica.unsettled || replica.leader == 0 {
                            return false;
                        }
                        found += 1;
                    }
                }
                let wanted = if group == GroupId::SYSTEM { self.nodes.len() } else { voters };
                if found < wanted {
                    return false;
                }
            }
            true
        })
        .await;
    }

    pub(crate) fn node(&self, id: u64) -> &Node {
        self.nodes.get(&NodeId(id)).expect("there is such a node")
    }

    /// Adds a node as `skep join` does.
    pub(crate) async fn join(&mut self) -> NodeId {
        let member = &self.nodes.values().next().expect("a cluster has a node").metadata;
        let hash = Bytes::from(vec![u8::try_from(self.nodes.len()).expect("few"); 32]);
        let token = cluster_command::What::PutJoinToken(PutJoinToken { hash: hash.clone(), lifetime_seconds: 600 });
        member.propose(GroupId::SYSTEM, cluster(token), later()).await.expect("a token can be made");
        let add = cluster_command::What::AddNode(AddNode { node: Some(node_record()), join_token_hash: hash });
        let id = NodeId(member.propose(GroupId::SYSTEM, cluster(add), later()).await.expect("the token is good").done.number);
        let place = PlaceMember { group: 0, node: id.0, role: MemberRole::Learner.into() };
        let place = cluster_command::What::PlaceMember(place);
        let raft = RaftId(member.propose(GroupId::SYSTEM, cluster(place), later()).await.expect("it can be placed").done.number);
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let node = Node::start(&self.world, (id, raft, 1), folder, self.settings).await;
        self.nodes.insert(id, node);
        id
    }

    /// Stops a node and keeps what is needed to start it again.
    pub(crate) async fn kill(&mut self, id: NodeId) -> Node {
        let mut node = self.nodes.remove(&id).expect("there is such a node");
        node.stop(&self.world.ports).await;
        node
    }

    /// Starts a node again on its folder.
    pub(crate) async fn restart(&mut self, node: Node) {
        let again = Node::start(&self.world, (node.id, node.raft, node.boot + 1), Arc::clone(&node.folder), self.settings).await;
        self.nodes.insert(node.id, again);
    }

    /// The node that leads a group, by its own word.
    pub(crate) async fn leader(&self, group: GroupId) -> NodeId {
        let mut leader = None;
        let limit = Instant::now() + Duration::from_secs(30);
        while leader.is_none() {
            assert!(Instant::now() < limit, "group {group} finds no leader");
            for node in self.nodes.values() {
                if node.metadata.is_leader(group).await {
                    leader = Some(node.id);
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        leader.expect("the loop ends with one")
    }

    pub(crate) async fn close(mut self) {
        let ids: BTreeSet<NodeId> = self.nodes.keys().copied().collect();
        for id in ids {
            self.kill(id).await;
        }
    }
}

/// What a production node opens.
#[cfg(feature = "rocksdb")]
fn stores() -> Arc<dyn StoreFactory> {
    let options =
        skep_raft::store::rocksdb::RocksOptions { block_cache_bytes: 8 << 20, write_buffer_bytes: 8 << 20, background_threads: 2 };
    let shared = skep_raft::store::RocksShared::new(options).expect("there is memory");
    Arc::new(skep_raft::consensus::rocks::RocksStores::new(shared))
}

/// States in memory, where RocksDB is not built.
#[cfg(not(feature = "rocksdb"))]
fn stores() -> Arc<dyn StoreFactory> {
    Arc::new(skep_raft::consensus::memory::MemoryStores)
}

fn now_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set");
    u64::try_from(since.as_micros()).expect("it is not that late")
}

pub(crate) fn cluster(what: cluster_command::What) -> Command {
    Command { what: Some(command::What::Cluster(ClusterCommand { what: Some(what) })), ..Command::default() }
}

fn node_record() -> NodeRecord {
    NodeRecord {
        name: "node".to_owned(),
        zone: "zone".to_owned(),
        api_address: "127.0.0.1:1".to_owned(),
        rpc_address: "127.0.0.1:2".to_owned(),
        version: "test".to_owned(),
        api_scheme: "http".to_owned(),
        ..NodeRecord::default()
    }
}

pub(crate) fn init() -> InitCluster {
    let id = |byte: u8| Bytes::from(vec![byte; 16]);
    InitCluster {
        cluster: Some(ClusterRecord { cluster: Bytes::copy_from_slice(&CLUSTER.0), ..ClusterRecord::default() }),
        node: Some(node_record()),
        devices: vec![DeviceRecord { weight: 1, label: "disk".to_owned(), ..DeviceRecord::default() }],
        admin: Some(UserRecord { id: id(1), login: "admin".to_owned(), ..UserRecord::default() }),
        default_profile: Some(Profile { automatic: true, ..Profile::default() }),
        chunk_key_sealed: id(2),
        chunk_key_sealed_personal: id(3),
        common_workspace: id(4),
        personal_workspace: id(5),
        ..InitCluster::default()
    }
}

/// A command that succeeds once: a second application of it would be refused.
pub(crate) fn create_folder(name: &str, number: u128) -> Command {
    let path = EntryPath { base: Bytes::from(vec![0; 16]), names: vec![name.to_owned()] };
    let create = CreateFolder { path: Some(path), entry: Bytes::copy_from_slice(&(number + 1).to_be_bytes()), ..CreateFolder::default() };
    let tree = TreeCommand { what: Some(tree_command::What::CreateFolder(create)) };
    Command { what: Some(command::What::Tree(tree)), ..Command::default() }
}

pub(crate) async fn make_folder(node: &Node, name: &str, number: u128, deadline: Instant) -> Result<Proposed, ProposeError> {
    node.metadata.propose(DATA, create_folder(name, number), deadline).await
}

/// Whether a folder is there, by a linearizable read.
pub(crate) async fn has_folder(node: &Node, name: &str, deadline: Instant) -> Result<bool, skep_raft::errors::QueryError> {
    let path = EntryPath { base: Bytes::from(vec![0; 16]), names: vec![name.to_owned()] };
    let stat = Query { what: Some(query::What::Stat(StatQuery { path: Some(path), ..Default::default() })) };
    let answered = node.metadata.query(DATA, stat, deadline).await?;
    Ok(matches!(answered.what, Some(answer::What::Entry(_))))
}
