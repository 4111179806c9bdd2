//! What the faces and use cases need of the node that runs them, as traits; the node implements them.
//!
//! Nothing here knows HTTP. The invariant both sides keep: data first, metadata last. [`ChunkIo::write`] returns only when the bytes are durable by
//! the write rule, and what it wrote is named by exactly one of a commit, [`ChunkIo::abandon`] or, after an unknown answer, nobody.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::future::BoxFuture;
use serde::Serialize;
use skep_placement::ids::DatasourceId;
use skep_raft::errors::ProposeError;
pub use skep_raft::options::Clock;
use skep_raft::wire::meta::v1::{Actor, ContentAnswer, NewContent, StoredChunk};
use utoipa::ToSchema;

/// Bytes in order. An error ends the stream; what came before it is right but not all.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send>>;

/// Why a stream of bytes ended before its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The client closed the connection or sent a malformed body.
    #[error("the sender broke off: {0}")]
    Broken(String),
    /// Nothing came for so long.
    #[error("no byte came for {0:?}")]
    TooSlow(Duration),
    /// More came than the limit allows.
    #[error("the body is longer than the limit of {limit} bytes")]
    TooLong {
        /// Bytes.
        limit: u64,
    },
    /// A chunk cannot be read: too few of its shards are reachable or sound.
    #[error("a part of the file cannot be read now: {0}")]
    Unreadable(String),
}

/// What to write and for whom.
#[derive(Clone, Debug)]
pub struct WriteRequest {
    /// Where the content goes.
    pub datasource: DatasourceId,
    /// Who asks; written into uploads.
    pub actor: Actor,
    /// Bytes that the sender announced; another number is [`WriteError::LengthMismatch`].
    pub expected_length: Option<u64>,
    /// Also compute the MD5.
    pub want_md5: bool,
    /// Of the request that caused it.
    pub request_id: String,
    /// The client's address; written into the audit.
    pub from: String,
    /// System index that the rights were decided at; carried by commands of a registered upload.
    pub rights_index: u64,
}

/// What was written, durable but not yet named by a version.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// Bytes.
    pub size: u64,
    /// Of the whole content.
    pub blake3: [u8; 32],
    /// Of the whole content, if asked for.
    pub md5: Option<[u8; 16]>,
    /// For the commit.
    pub content: NewContent,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The body ended with an error.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The body was shorter or longer than announced.
    #[error("{expected} bytes were announced and {got} came")]
    LengthMismatch {
        /// Bytes announced.
        expected: u64,
        /// Bytes that came, at least.
        got: u64,
    },
    /// Fewer failure domains are reachable than the write rule needs.
    #[error("{why}")]
    Unavailable {
        /// Which ones, as a sentence.
        why: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// No device has room.
    #[error("{why}")]
    NoSpace {
        /// Which ones, as a sentence.
        why: String,
    },
    /// The byte budget's queue is full.
    #[error("too many writes wait for memory")]
    TooBusy,
    /// A command of a registered upload failed.
    #[error(transparent)]
    Metadata(#[from] ProposeError),
}

/// What to read.
#[derive(Clone, Debug)]
pub struct ReadRequest {
    /// Where the content lies.
    pub datasource: DatasourceId,
    /// The first page of the manifest, for the range asked for; further pages are fetched by its content id.
    pub first: ContentAnswer,
    /// Of the first byte in the file.
    pub offset: u64,
    /// Bytes; offset + length is at most the file's size.
    pub length: u64,
}

/// Writes and reads contents in chunks over the devices of the cluster.
pub trait ChunkIo: Send + Sync {
    /// Reads the whole body and makes it durable by the write rule: inline, as a chunk list, or, when large or slow, as a registered upload.
    ///
    /// # Errors
    /// After any error nothing is left that a version could name; the caller has nothing to clean up.
    fn write<'a>(&'a self, request: WriteRequest, body: ByteStream) -> BoxFuture<'a, Result<Written, WriteError>>;

    /// Deletes instances that a commit answered as surplus. Never called after an unknown answer.
    fn discard(&self, datasource: DatasourceId, instances: Vec<StoredChunk>);

    /// Takes back a writing whose commit was refused: aborts its upload, deletes its instances.
    fn abandon<'a>(&'a self, datasource: DatasourceId, written: Written) -> BoxFuture<'a, ()>;

    /// Streams a range. What cannot be read right ends the stream with an error, never with wrong bytes and never with a clean short end.
    fn read(&self, request: ReadRequest) -> ByteStream;
}

/// What the node says of itself and of the cluster.
pub trait NodePort: Send + Sync {
    /// Whether this node should get requests.
    fn ready(&self) -> Readiness;

    /// All metrics in Prometheus' text format, with help texts.
    fn metrics_text(&self) -> String;

    /// The state of the cluster as this node sees it. Bounded in time: what does not answer is shown as silent.
    fn status<'a>(&'a self) -> BoxFuture<'a, ClusterStatus>;
}

/// Unpredictable bytes.
pub trait Random: Send + Sync {
    /// Fills the buffer; a system that has no randomness is a fault that ends the process.
    fn fill(&self, buffer: &mut [u8]);
}

impl fmt::Debug for dyn ChunkIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChunkIo")
    }
}

impl fmt::Debug for dyn NodePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodePort")
    }
}

impl fmt::Debug for dyn Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random")
    }
}

/// Whether a node should get requests, and why not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Readiness {
    /// True if it should.
    pub ready: bool,
    /// A sentence each; empty if ready.
    pub reasons: Vec<String>,
}

/// The state of the whole cluster, for people and scripts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct ClusterStatus {
    /// The cluster's id as a UUID.
    pub cluster: String,
    /// The node that answers.
    pub answered_by: u64,
    /// All nodes that were not removed.
    pub nodes: Vec<NodeStatus>,
    /// All devices that are not lost.
    pub devices: Vec<DeviceStatus>,
    /// All Raft groups.
    pub groups: Vec<GroupStatus>,
    /// All pools.
    pub pools: Vec<PoolStatus>,
    /// All datasources.
    pub datasources: Vec<DatasourceStatus>,
    /// Chunks that wait for repair.
    pub repair_queue: u64,
    /// Chunks stored in a code below the profile in force, as far as the repair queues were looked at.
    pub below_profile: u64,
    /// The repair queues are longer than was looked at: there may be more chunks below the profile.
    pub below_profile_at_least: bool,
    /// Plaintext bytes of chunks that no content names and that wait for collection.
    pub awaiting_collection_bytes: u64,
    /// Logical bytes of what was deleted for good and is kept until history has passed it.
    pub unlinked_bytes: u64,
    /// Quotas of workspaces and users with what is used of them; the first hundred.
    pub quotas: Vec<QuotaStatus>,
    /// Jobs that have not ended.
    pub jobs: Vec<JobStatus>,
    /// What a person should know now, a sentence each: what is not protected, what is missing.
    pub warnings: Vec<String>,
}

/// One node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct NodeStatus {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Its zone.
    pub zone: String,
    /// active, draining.
    pub state: String,
    /// It answered just now.
    pub alive: bool,
    /// URL of its API.
    pub api: String,
    /// host:port of its RPC.
    pub rpc: String,
    /// Of its binary.
    pub version: String,
    /// How far its clock is ahead of the nodes' median, milliseconds; nothing while it is not known.
    pub clock_offset_ms: Option<i64>,
}

/// One device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct DeviceStatus {
    /// Its id.
    pub id: u64,
    /// The node it is in.
    pub node: u64,
    /// Its folder.
    pub label: String,
    /// active, draining, failed, silent.
    pub state: String,
    /// Of the file system, bytes.
    pub total_bytes: u64,
    /// Of the file system, bytes.
    pub free_bytes: u64,
    /// Of live shards, bytes.
    pub live_bytes: u64,
    /// Shards.
    pub shards: u64,
}

/// One Raft group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct GroupStatus {
    /// Its id; 0 is the system group.
    pub id: u64,
    /// system, or the datasource's name.
    pub name: String,
    /// Node of its leader; none is known if absent.
    pub leader: Option<u64>,
    /// Nodes of its voters.
    pub voters: Vec<u64>,
    /// Nodes of its learners.
    pub learners: Vec<u64>,
    /// Entries that the slowest voter is behind the leader's last, as the leader sees.
    pub lag: u64,
    /// Index applied by the answering replica.
    pub applied: u64,
}

/// One pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct PoolStatus {
    /// Its id.
    pub id: u64,
    /// k+m in force.
    pub code: String,
    /// device, node or zone.
    pub domain: String,
    /// The code follows the number of nodes.
    pub automatic: bool,
    /// Placement groups.
    pub placement_groups: u32,
    /// Placement groups with fewer devices than shards.
    pub incomplete: u32,
}

/// One datasource.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct DatasourceStatus {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Its pool.
    pub pool: u64,
    /// Files and folders.
    pub entries: u64,
    /// Bytes of current versions.
    pub logical_bytes: u64,
    /// Bytes on devices and inline, all shards counted.
    pub stored_bytes: u64,
    /// Live chunks.
    pub chunks: u64,
    /// Contents that lie in the metadata.
    pub inlined: StoredClass,
    /// Small chunks, kept as whole copies.
    pub copies: StoredClass,
    /// Large chunks, erasure-coded.
    pub coded: StoredClass,
    /// Its group answered; the numbers of the group are zero if not.
    pub available: bool,
    /// Versions of files, the current ones counted.
    pub versions: u64,
    /// Plaintext bytes of chunks that no content names and that wait for collection.
    pub condemned_bytes: u64,
    /// Logical bytes of what was deleted for good and is kept until history has passed it.
    pub unlinked_bytes: u64,
    /// Locks, with those that have ended and were not swept yet.
    pub locks: u64,
    /// Stored bytes at most; 0: no limit.
    pub quota_bytes: u64,
    /// Entries at most; 0: no limit.
    pub quota_entries: u64,
    /// The name of the versioning policy in force.
    pub policy: String,
}

/// A quota of a workspace, or of a user in a workspace with a folder for each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct QuotaStatus {
    /// workspace or user: whose quota it is.
    pub kind: String,
    /// The slug of the workspace.
    pub workspace: String,
    /// The user whose own folder it is; empty: the workspace's root.
    pub login: String,
    /// Logical bytes of current versions.
    pub used_bytes: u64,
    /// Logical bytes at most; 0: no limit.
    pub quota_bytes: u64,
    /// Files and folders.
    pub used_entries: u64,
    /// Files and folders at most; 0: no limit.
    pub quota_entries: u64,
    /// The datasource answered; what is used is zero if not.
    pub available: bool,
}

/// How much of one size class is kept, by content: what several files have in common counts once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct StoredClass {
    /// Plaintext bytes.
    pub logical_bytes: u64,
    /// Bytes that they take on devices, all shards counted, or in the metadata.
    pub stored_bytes: u64,
}

/// One job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct JobStatus {
    /// Its id as a UUID.
    pub id: String,
    /// copy, move, delete, …
    pub name: String,
    /// Who asked.
    pub login: String,
    /// queued, running, …
    pub state: String,
    /// The node that works on it.
    pub node: Option<u64>,
    /// 0 to 1,000.
    pub progress_permille: u64,
    /// What it does now, or why it failed.
    pub message: String,
}
