//! The only door to metadata: commands, questions, leadership, and the services for other nodes.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use skep_placement::ids::{GroupId, NodeId, Stamp};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::consensus::context::Context;
use crate::consensus::hand_over::{HandOver, hand_over};
use crate::consensus::{
    Leadership, MetadataService, RaftService, clocks, forward, full_leader, groups, limits, line, reconciler, status, system_placement,
};
use crate::errors::{ProposeError, QueryError, StartError};
use crate::log::{DiskFiles, Log, LogError, LogOptions};
use crate::options::{MetadataOptions, Peers};
use crate::recovery::{Choice, RecoverError, Recovered, Survey};
use crate::system_view::SystemView;
use crate::types::MemberNode;
use crate::wire::meta::v1::{Answer, ClusterCommand, Command, Done, InitCluster, Outcome, Query, cluster_command, command, outcome};
use crate::wire::raft::v1::ReplicaStatus;
use crate::wire::raft::v1::metadata_server::MetadataServer;
use crate::wire::raft::v1::raft_server::RaftServer;

/// What a command that was done gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposed {
    /// The command's stamp.
    pub stamp: Stamp,
    /// Its entry's index in the group's log.
    pub index: u64,
    /// What came of it.
    pub done: Done,
}

/// The metadata of a node. Clones are the same; the last must be closed by [`Metadata::close`].
#[derive(Clone)]
pub struct Metadata {
    context: Arc<Context>,
    tasks: Arc<Mutex<JoinSet<()>>>,
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metadata").field("context", &self.context).finish_non_exhaustive()
    }
}

impl Metadata {
    /// Opens the log and every replica that this node has begun, and starts them.
    ///
    /// # Errors
    /// The options, the log or a replica's folder are wrong; each error is a sentence for the operator and the node must not serve.
    pub async fn start(options: MetadataOptions, peers: Arc<dyn Peers>) -> Result<Self, StartError> {
        options.validate().map_err(|faults| StartError::Options { faults })?;
        let log = open_log(&options).await?;
        let context = Arc::new(Context::new(options, peers, log));
        let metadata = Self { context, tasks: Arc::default() };
        match metadata.start_replicas().await {
            Ok(()) => Ok(metadata),
            Err(error) => {
                metadata.close().await;
                Err(error)
            }
        }
    }

    async fn start_replicas(&self) -> Result<(), StartError> {
        system_placement::start(&self.context).await?;
        groups::start_known(&self.context).await?;
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.spawn(forward::run(Arc::clone(&self.context)));
        tasks.spawn(line::run(Arc::clone(&self.context)));
        tasks.spawn(groups::run(Arc::clone(&self.context)));
        tasks.spawn(full_leader::run(Arc::clone(&self.context)));
        tasks.spawn(reconciler::run(Arc::clone(&self.context)));
        tasks.spawn(clocks::run(Arc::clone(&self.context)));
        Ok(())
    }

    /// Begins the cluster: this node's replica of the system group becomes its only member, and the command its first.
    ///
    /// # Errors
    /// As [`Metadata::propose`]; a cluster that has begun refuses the command.
    pub async fn init_cluster(&self, command: InitCluster) -> Result<Proposed, ProposeError> {
        let replica = self.context.replica(GroupId::SYSTEM).ok_or_else(|| ProposeError::unavailable("this node is closed"))?;
        let node = MemberNode::from(self.context.options.node);
        replica.initialize(node).await.map_err(|fatal| ProposeError::unavailable(fatal.to_string()))?;
        let cluster = ClusterCommand { what: Some(cluster_command::What::Init(command)) };
        let command = Command { what: Some(command::What::Cluster(cluster)), ..Command::default() };
        self.propose(GroupId::SYSTEM, command, Instant::now() + limits::CHANGE_DEADLINE).await
    }

    /// Has a command done exactly once, wherever its group is led.
    ///
    /// # Errors
    /// See [`ProposeError`]: after `Unknown` the command may have been done, after all others it surely was not.
    ///
    /// # Cancel safety
    /// Dropped, the command may or may not be done; it is never done later than the next command of this process in the group.
    pub async fn propose(&self, group: GroupId, command: Command, deadline: Instant) -> Result<Proposed, ProposeError> {
        match self.context.propose(group, command, deadline).await? {
            Outcome { stamp, index, what: Some(outcome::What::Done(done)) } => Ok(Proposed { stamp: Stamp(stamp), index, done }),
            Outcome { what: Some(outcome::What::Rejection(rejection)), .. } => Err(ProposeError::Rejected(rejection)),
            Outcome { stamp, index, what: Some(outcome::What::SessionOpened(opened)) } => {
                let done = Done { number: opened.session, ..Done::default() };
                Ok(Proposed { stamp: Stamp(stamp), index, done })
            }
            Outcome { what, .. } => Err(ProposeError::Unknown { why: format!("the outcome {what:?} does not fit the command") }),
        }
    }

    /// Answers a question by a state that holds everything acknowledged before this call.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn query(&self, group: GroupId, query: Query, deadline: Instant) -> Result<Answer, QueryError> {
        self.context.query(group, query, deadline).await
    }

    /// A view of the system group that holds everything acknowledged before this call. It stays as it is.
    ///
    /// # Errors
    /// No such view can be had in time.
    pub async fn system(&self, deadline: Instant) -> Result<SystemView, QueryError> {
        self.context.system(deadline).await
    }

    /// A view of the system group as this node's replica has it: for the cluster map, placement and status, never for rights.
    #[must_use]
    pub fn system_stale(&self) -> SystemView {
        self.context.system_stale()
    }

    /// Follows the applied index of the system group here.
    #[must_use]
    pub fn watch_system(&self) -> watch::Receiver<u64> {
        self.context.system_applied.subscribe()
    }

    /// Follows the applied index of a group's replica here; none where this node has no replica of it.
    #[must_use]
    pub fn watch_applied(&self, group: GroupId) -> Option<watch::Receiver<u64>> {
        self.context.replica(group).map(|replica| replica.state.applied())
    }

    /// The status of this node's replicas.
    #[expect(clippy::unused_async, reason = "the signature leaves room for asking the replicas themselves")]
    pub async fn replicas(&self) -> Vec<ReplicaStatus> {
        self.context.replicas().iter().map(|replica| status::of(&self.context, replica)).collect()
    }

    /// Whether this node leads a group, as far as it knows.
    #[expect(clippy::unused_async, reason = "the signature leaves room for asking the replica itself")]
    pub async fn is_leader(&self, group: GroupId) -> bool {
        self.context.replica(group).is_some_and(|replica| replica.leads())
    }

    /// Follows whether this node leads a group; for workers that run with the leader.
    #[must_use]
    pub fn watch_leader(&self, group: GroupId) -> watch::Receiver<Leadership> {
        self.context.leadership(group).subscribe()
    }

    /// How far this node's clock is ahead of its peers' median, in microseconds; nothing while no peer has told its own.
    #[must_use]
    pub fn clock_offset_micros(&self) -> Option<i64> {
        self.context.clocks.offsets().own()
    }

    /// How far another node's clock is ahead of the median of all that this node has read, in microseconds.
    #[must_use]
    pub fn clock_offset_micros_of(&self, node: NodeId) -> Option<i64> {
        if node == self.context.options.node { self.clock_offset_micros() } else { self.context.clocks.offsets().of(node) }
    }

    /// The service that other nodes' replicas call.
    #[must_use]
    pub fn raft_service(&self) -> RaftServer<RaftService> {
        let service = RaftServer::new(RaftService { context: Arc::clone(&self.context) });
        service.max_decoding_message_size(limits::MESSAGE_BYTES_MAX).max_encoding_message_size(limits::MESSAGE_BYTES_MAX)
    }

    /// The service that other nodes' gateways call.
    #[must_use]
    pub fn metadata_service(&self) -> MetadataServer<MetadataService> {
        let service = MetadataServer::new(MetadataService { context: Arc::clone(&self.context) });
        service.max_decoding_message_size(limits::MESSAGE_BYTES_MAX).max_encoding_message_size(limits::MESSAGE_BYTES_MAX)
    }

    /// Asks every node what it has of a group; works also without a quorum of any group.
    pub async fn survey(&self, group: GroupId) -> Survey {
        self.context.survey_group(group).await
    }

    /// Has a group that has lost its quorum go on from the replica that a survey chose. What only others had is lost.
    ///
    /// # Errors
    /// [`RecoverError`]: after `Refused` and `Changed` nothing was changed; after `Failed` the same call goes on where it was.
    pub async fn recover(&self, group: GroupId, choice: Choice) -> Result<Recovered, RecoverError> {
        self.context.recover_group(group, choice).await
    }

    /// Hands every leadership over to a member that has caught up, if there is one.
    pub async fn drain(&self) {
        let replicas = self.context.replicas();
        for replica in replicas.iter().filter(|replica| replica.leads()) {
            if hand_over(replica, |_any_voter| true).await != HandOver::Done {
                tracing::warn!(group = %replica.group, "leadership could not be handed over");
            }
        }
    }

    /// Lets other nodes' lines to this one end when what has come by them is answered; without this a server that waits for its calls would wait for ever.
    pub fn end_lines(&self) {
        self.context.lines_end.send_replace(true);
    }

    /// Ends all tasks, all replicas and the log, and waits for them.
    pub async fn close(&self) {
        self.context.stop.send_replace(true);
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        while tasks.join_next().await.is_some() {}
        let groups: Vec<GroupId> = self.context.replicas().iter().map(|replica| replica.group).collect();
        for group in groups {
            if let Some(replica) = self.context.take_replica(group) {
                replica.stop().await;
                self.context.leadership(group).send_replace(Leadership::default());
            }
        }
        let context = Arc::clone(&self.context);
        if tokio::task::spawn_blocking(move || context.log.close()).await.is_err() {
            tracing::error!("the log did not close in order");
        }
    }
}

/// Opens the log on a blocking thread: it reads all segments.
async fn open_log(options: &MetadataOptions) -> Result<Log, StartError> {
    let mut salt = options.salt;
    let draw = Box::new(move || {
        // Any sequence that differs from one start to the next will do.
        salt = salt.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        salt
    });
    let on_fatal = Arc::clone(&options.on_fatal);
    let report = Box::new(move |error: &LogError| on_fatal(&error.to_string()));
    let mut log = LogOptions::new(options.cluster, options.node, draw, report);
    log.allow_empty = options.first_start;
    log.segment_bytes_max = options.log_segment_bytes;
    log.kept_bytes_max = options.log_kept_bytes;
    let folder = options.data_dir.join("log");
    let shown = folder.display().to_string();
    let opening = tokio::task::spawn_blocking(move || {
        let files = DiskFiles::open(folder).map_err(|error| error.to_string())?;
        Ok::<_, String>(Log::open(log, Arc::new(files)))
    });
    let failed = |problem: String| StartError::Replica { group: GroupId::SYSTEM, folder: shown.clone(), problem };
    let opened = opening.await.map_err(|panicked| failed(panicked.to_string()))?.map_err(failed)?;
    Ok(opened?)
}
