//! A node in the test's process: real metadata with their states in memory, chunks in a map, and a client of the routes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, to_bytes};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Request, Response, StatusCode};
use md5::{Digest, Md5};
use ring::rand::SecureRandom;
use serde_json::Value;
use skep_api::app::{App, AppOptions, AppParts};
use skep_api::auth::password::hash_password;
use skep_api::auth::secret::Secret;
use skep_api::ports::{
    BodyError, ByteStream, ChunkIo, ClusterStatus, NodePort, NodeStatus, Random, ReadRequest, Readiness, WriteError, WriteRequest, Written,
};
use skep_api::server::routes;
use skep_placement::chunk::FileHasher;
use skep_placement::ids::{BootNumber, ClusterId, DatasourceId, GroupId, NodeId, RaftId};
use skep_raft::consensus::memory::MemoryStores;
use skep_raft::errors::PeerError;
use skep_raft::handle::Metadata;
use skep_raft::options::{MetadataOptions, NodeIdentity, Peers};
use skep_raft::wire::meta::v1::{
    AuditQuery, AuditRecord, ChunkList, ClusterRecord, Code, Command, DeviceRecord, GroupTotals, InitCluster, NewContent, NodeRecord,
    Profile, Query, StoredChunk, TotalsQuery, UserRecord, WriteId, answer, new_content, query,
};
use tempfile::TempDir;
use tokio::time::Instant;
use tonic::transport::Channel;
use tower::ServiceExt;

pub(crate) const PASSWORD: &str = "correct horse";
const CLUSTER: ClusterId = ClusterId([7; 16]);
const INLINE: usize = 4_096;
const CHUNK: usize = 64 * 1024;

/// Nobody else is there.
struct Alone;

impl Peers for Alone {
    fn channel(&self, node: NodeId) -> Result<Channel, PeerError> {
        Err(PeerError { node, why: "this node is alone".to_owned() })
    }
}

struct Ready;

impl NodePort for Ready {
    fn ready(&self) -> Readiness {
        Readiness { ready: true, reasons: Vec::new() }
    }

    fn metrics_text(&self) -> String {
        "# HELP skep_up This node runs.\nskep_up 1\n".to_owned()
    }

    fn status<'a>(&'a self) -> BoxFuture<'a, ClusterStatus> {
        let node = NodeStatus { id: 1, name: "n1".to_owned(), state: "active".to_owned(), alive: true, ..NodeStatus::default() };
        Box::pin(async move { ClusterStatus { nodes: vec![node], ..ClusterStatus::default() } })
    }
}

struct System;

impl Random for System {
    fn fill(&self, buffer: &mut [u8]) {
        ring::rand::SystemRandom::new().fill(buffer).expect("the system has randomness");
    }
}

/// Chunks in a map. It keeps what was written until it is discarded or abandoned, so that a test sees what is left.
#[derive(Default)]
pub(crate) struct Chunks {
    stored: Mutex<BTreeMap<Vec<u8>, Bytes>>,
    counter: AtomicU64,
    pub(crate) abandoned: AtomicU64,
    /// The first byte of every chunk read is another one.
    pub(crate) lies: AtomicBool,
}

impl Chunks {
    fn cut(&self, whole: &Bytes) -> Vec<StoredChunk> {
        let mut chunks = Vec::new();
        for start in (0..whole.len()).step_by(CHUNK) {
            let piece = whole.slice(start..whole.len().min(start + CHUNK));
            let id = Bytes::copy_from_slice(&hash(&piece));
            let length = u32::try_from(piece.len()).expect("a chunk is small");
            self.stored.lock().expect("not poisoned").insert(id.to_vec(), piece);
            let write = WriteId { node: 1, boot: 1, counter: self.counter.fetch_add(1, Ordering::Relaxed) };
            chunks.push(StoredChunk {
                chunk: id,
                length,
                write: Some(write),
                begun: now_micros(),
                code: Some(Code { data: 1, parity: 0 }),
                pool: 1,
                epoch: 1,
                ..StoredChunk::default()
            });
        }
        chunks
    }
}

impl ChunkIo for Chunks {
    fn write<'a>(&'a self, request: WriteRequest, mut body: ByteStream) -> BoxFuture<'a, Result<Written, WriteError>> {
        Box::pin(async move {
            let mut whole = Vec::new();
            while let Some(piece) = body.next().await {
                whole.extend_from_slice(&piece?);
            }
            let got = u64::try_from(whole.len()).expect("it fits");
            if let Some(expected) = request.expected_length.filter(|expected| *expected != got) {
                return Err(WriteError::LengthMismatch { expected, got });
            }
            let whole = Bytes::from(whole);
            let blake3 = hash(&whole);
            let md5 = request.want_md5.then(|| Md5::digest(&whole).into());
            let from = if whole.len() <= INLINE {
                new_content::From::Inlined(whole)
            } else {
                new_content::From::Chunks(ChunkList { chunks: self.cut(&whole) })
            };
            Ok(Written { size: got, blake3, md5, content: NewContent { from: Some(from), key_version: 0 } })
        })
    }

    fn discard(&self, _datasource: DatasourceId, _instances: Vec<StoredChunk>) {}

    fn abandon<'a>(&'a self, _datasource: DatasourceId, _written: Written) -> BoxFuture<'a, ()> {
        self.abandoned.fetch_add(1, Ordering::Relaxed);
        Box::pin(async {})
    }

    fn read(&self, request: ReadRequest) -> ByteStream {
        let (offset, length) = (to_usize(request.offset), to_usize(request.length));
        let first = request.first;
        if first.is_inlined {
            return Box::pin(stream::iter([Ok(first.inlined.slice(offset..offset + length))]));
        }
        let mut at = to_usize(first.first_offset);
        let mut pieces = Vec::new();
        for placed in &first.chunks {
            let found = self.stored.lock().expect("not poisoned").get(placed.chunk.as_ref()).cloned();
            let Some(chunk) = found else {
                pieces.push(Err(BodyError::Unreadable("a chunk is gone".to_owned())));
                break;
            };
            let (from, to) = (offset.max(at), (offset + length).min(at + chunk.len()));
            if from < to {
                let mut piece = chunk.slice(from - at..to - at).to_vec();
                if self.lies.load(Ordering::Relaxed) {
                    piece[0] ^= 1;
                }
                pieces.push(Ok(Bytes::from(piece)));
            }
            at += chunk.len();
        }
        Box::pin(stream::iter(pieces))
    }
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).expect("it fits")
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    let mut hasher = FileHasher::new();
    hasher.update(bytes);
    hasher.hash()
}

pub(crate) fn now_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set");
    u64::try_from(since.as_micros()).expect("it is not that late")
}

/// A node with all faces.
pub(crate) struct Node {
    pub(crate) app: App,
    pub(crate) chunks: Arc<Chunks>,
    pub(crate) metadata: Metadata,
    router: Router,
    _folder: TempDir,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl Node {
    pub(crate) async fn start() -> Self {
        let folder = TempDir::new().expect("a folder");
        let metadata = Metadata::start(options(PathBuf::from(folder.path())), Arc::new(Alone)).await.expect("the metadata start");
        metadata.init_cluster(init()).await.expect("a cluster");
        let chunks = Arc::new(Chunks::default());
        let parts = AppParts {
            metadata: metadata.clone(),
            chunks: Arc::clone(&chunks) as Arc<dyn ChunkIo>,
            node: Arc::new(Ready),
            clock: Arc::new(now_micros),
            random: Arc::new(System),
        };
        let app = App::new(parts, AppOptions::default());
        let node = Self { router: routes(app.clone()), app, chunks, metadata, _folder: folder };
        node.groups_answer().await;
        node
    }

    /// Waits until both datasources answer.
    async fn groups_answer(&self) {
        let limit = Instant::now() + Duration::from_secs(30);
        for group in [GroupId(1), GroupId(2)] {
            let question = Query { what: Some(query::What::Totals(TotalsQuery {})) };
            while let Err(error) = self.metadata.query(group, question.clone(), Instant::now() + Duration::from_secs(2)).await {
                assert!(Instant::now() < limit, "group {group} does not answer: {error}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// The counters of the datasource of the common files.
    pub(crate) async fn totals(&self) -> GroupTotals {
        let question = Query { what: Some(query::What::Totals(TotalsQuery {})) };
        let answer = self.metadata.query(GroupId(1), question, Instant::now() + Duration::from_secs(4)).await.expect("the group answers");
        match answer.what {
            Some(answer::What::Totals(totals)) => totals,
            other => panic!("an answer of another kind: {other:?}"),
        }
    }

    /// Waits until the counters are as wanted.
    pub(crate) async fn until(&self, wanted: impl Fn(&GroupTotals) -> bool) -> GroupTotals {
        self.eventually("the counters", async || wanted(&self.totals().await)).await;
        self.totals().await
    }

    /// Waits until something holds.
    pub(crate) async fn eventually(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let limit = Instant::now() + Duration::from_secs(30);
        while !holds().await {
            assert!(Instant::now() < limit, "waited for {what}: {:?}", self.totals().await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn stop(self) {
        self.metadata.close().await;
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("the routes answer");
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 1 << 30).await.expect("the answer has an end");
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// Sends a request whose answer may have no end.
    pub(crate) async fn open(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.expect("the routes answer")
    }

    /// Every line of a group's audit, after what waits on the node is written.
    pub(crate) async fn audit(&self, group: GroupId) -> Vec<AuditRecord> {
        let deadline = Instant::now() + Duration::from_secs(30);
        self.app.refusals().flush(deadline).await;
        let asked = Query { what: Some(query::What::Audit(AuditQuery { limit: 1_000, ..AuditQuery::default() })) };
        match self.metadata.query(group, asked, deadline).await.expect("the group answers").what {
            Some(answer::What::Audit(page)) => page.lines.into_iter().filter_map(|line| line.record).collect(),
            other => panic!("{other:?}"),
        }
    }

    /// Has a command done, as by a request of another node.
    pub(crate) async fn propose(&self, group: GroupId, command: Command) {
        let deadline = Instant::now() + Duration::from_secs(30);
        self.metadata.propose(group, command, deadline).await.expect("the command is done");
    }

    /// A WebDAV request of the administrator.
    pub(crate) async fn dav(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let basic = STANDARD.encode(format!("admin:{PASSWORD}"));
        let mut request =
            Request::builder().method(method).uri(path).header("authorization", format!("Basic {basic}")).header("host", "here");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).expect("a request")).await
    }

    /// A REST request with a token.
    pub(crate) async fn rest(&self, token: &str, (method, path): (&str, &str), body: &Value) -> Answer {
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let request = Request::builder().method(method).uri(path).header("authorization", format!("Bearer {token}"));
        self.send(request.body(body).expect("a request")).await
    }

    /// A session of the administrator.
    pub(crate) async fn token(&self) -> String {
        let body = serde_json::json!({"AuthInfo": {"type": "credentials", "login": "admin", "password": PASSWORD}});
        let answer = self.rest("none", ("POST", "/a/frontend/session"), &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["JWT"].as_str().expect("a token").to_owned()
    }
}

fn options(data_dir: PathBuf) -> MetadataOptions {
    let identity = NodeIdentity { cluster: CLUSTER, node: NodeId(1), boot: BootNumber(1), data_dir };
    let on_fatal = Arc::new(|why: &str| panic!("the metadata failed: {why}"));
    let mut options = MetadataOptions::new(identity, Arc::new(MemoryStores), Arc::new(now_micros), on_fatal);
    options.system_raft_id = Some(RaftId(1));
    options.first_start = true;
    options.heartbeat = Duration::from_millis(50);
    options.election_timeout_min = Duration::from_millis(250);
    options.election_timeout_max = Duration::from_millis(500);
    options.reconcile_interval = Duration::from_millis(50);
    options.prune_sweep_interval = Duration::from_millis(200);
    options
}

fn init() -> InitCluster {
    let id = |byte: u8| Bytes::from(vec![byte; 16]);
    let password_phc = hash_password(&Secret::new(PASSWORD.to_owned()), [1; 16]).expect("a hash");
    InitCluster {
        cluster: Some(ClusterRecord { cluster: Bytes::copy_from_slice(&CLUSTER.0), ..ClusterRecord::default() }),
        node: Some(NodeRecord {
            id: 1,
            name: "n1".to_owned(),
            zone: "z1".to_owned(),
            api_address: "127.0.0.1:1".to_owned(),
            rpc_address: "127.0.0.1:2".to_owned(),
            boot: 1,
            ..NodeRecord::default()
        }),
        devices: vec![DeviceRecord { weight: 1, label: "disk".to_owned(), ..DeviceRecord::default() }],
        admin: Some(UserRecord { id: id(1), login: "admin".to_owned(), password_phc, ..UserRecord::default() }),
        default_profile: Some(Profile { automatic: true, ..Profile::default() }),
        chunk_key_sealed: id(2),
        chunk_key_sealed_personal: id(3),
        common_workspace: id(4),
        personal_workspace: id(5),
        ..InitCluster::default()
    }
}
