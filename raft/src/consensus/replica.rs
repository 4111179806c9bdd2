//! One replica of one group on this node: its consensus, its state and the tasks that serve it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{Fatal, InitializeError, RaftError};
use skep_placement::ids::{DatasourceId, GroupId, RaftId};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::batcher::{Batcher, batcher};
use super::config::config;
use super::context::{Context, Leadership};
use super::network::Network;
use super::read::wait_until_fresh;
use super::read_id::{ReadIds, read_ids};
use super::replica_state::ReplicaState;
use super::state_machine::{LatestSnapshot, StateMachine};
use super::{limits, upkeep};
use crate::errors::StartError;
use crate::metrics as names;
use crate::state::GroupKind;
use crate::types::{MemberNode, Raft};

/// See the file.
pub(crate) struct Replica {
    pub(crate) group: GroupId,
    pub(crate) id: RaftId,
    pub(crate) kind: GroupKind,
    pub(crate) label: Arc<str>,
    pub(crate) raft: Raft<StateMachine>,
    pub(crate) state: Arc<ReplicaState>,
    pub(crate) latest: Arc<LatestSnapshot>,
    pub(crate) batcher: Batcher,
    pub(crate) read_ids: ReadIds,
    /// A snapshot is being received.
    pub(crate) receiving: AtomicBool,
    /// The membership is being changed from here.
    pub(crate) changing: AtomicBool,
    /// It has caught up once.
    ready: AtomicBool,
    tasks: Mutex<JoinSet<()>>,
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica").field("group", &self.group).field("id", &self.id).finish_non_exhaustive()
    }
}

/// Sets a flag until it is dropped.
pub(crate) struct Claim<'a>(&'a AtomicBool);

impl<'a> Claim<'a> {
    /// Nothing if it is set already.
    pub(crate) fn take(flag: &'a AtomicBool) -> Option<Self> {
        (!flag.swap(true, Ordering::AcqRel)).then_some(Self(flag))
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// What kind of state a group holds.
pub(crate) fn kind_of(group: GroupId) -> GroupKind {
    if group == GroupId::SYSTEM { GroupKind::System } else { GroupKind::Datasource(DatasourceId(group.0)) }
}

/// The folder of a replica.
pub(crate) fn folder(context: &Context, group: GroupId, id: RaftId) -> PathBuf {
    context.options.data_dir.join("groups").join(format!("{group}-{id}"))
}

impl Replica {
    /// Opens a replica and starts it; an empty one if there is none.
    pub(crate) async fn start(context: &Arc<Context>, group: GroupId, id: RaftId) -> Result<Arc<Self>, StartError> {
        let folder = folder(context, group, id);
        let wrong = |problem: String| StartError::Replica { group, folder: folder.display().to_string(), problem };
        let label: Arc<str> = group.to_string().into();
        let (path, stores) = (folder.clone(), Arc::clone(&context.options.stores));
        let opened = tokio::task::spawn_blocking(move || ReplicaState::open(path, stores)).await;
        let state = Arc::new(opened.map_err(|panicked| wrong(panicked.to_string()))?.map_err(|error| wrong(error.to_string()))?);
        let latest = Arc::new(LatestSnapshot::default());
        let log = context.log.group(group, id)?;
        let machine = StateMachine {
            state: Arc::clone(&state),
            kind: kind_of(group),
            log: log.clone(),
            label: Arc::clone(&label),
            on_fatal: Arc::clone(&context.options.on_fatal),
            latest: Arc::clone(&latest),
        };
        let config = config(&context.options, group).map_err(|error| wrong(error.to_string()))?;
        let network = Network { context: Arc::clone(context), group, raft: id };
        let raft = Raft::build(id.0, config, network, log, machine).await.map_err(|error| wrong(error.to_string()))?;
        let (batcher, packer) = batcher(raft.clone(), Arc::clone(&context.options.clock), Arc::clone(&label));
        let (read_ids, fetcher) = read_ids(Arc::clone(context), group, raft.clone(), Arc::clone(&label));
        let replica = Arc::new(Self {
            group,
            id,
            kind: kind_of(group),
            label,
            raft,
            state,
            latest,
            batcher,
            read_ids,
            receiving: AtomicBool::new(false),
            changing: AtomicBool::new(false),
            ready: AtomicBool::new(false),
            tasks: Mutex::new(JoinSet::new()),
        });
        {
            let mut tasks = replica.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            tasks.spawn(packer.run(context.stop.subscribe()));
            tasks.spawn(fetcher.run());
            tasks.spawn(follow_leadership(Arc::clone(context), Arc::clone(&replica)));
            tasks.spawn(get_ready(Arc::clone(&replica)));
            tasks.spawn(upkeep::look_after(Arc::clone(context), Arc::clone(&replica)));
        }
        replica.latest.run();
        replica.raft.run();
        replica.elect_alone().await;
        tracing::info!(%group, %id, "a replica runs");
        Ok(replica)
    }

    /// An only voter need not wait for others to speak first.
    async fn elect_alone(&self) {
        let id = self.id.0;
        let alone = self.raft.with_raft_state(move |state| state.membership_state.effective().voter_ids().eq([id])).await;
        if alone.unwrap_or(false)
            && let Err(fatal) = self.raft.trigger().elect(false).await
        {
            tracing::debug!(group = %self.group, %fatal, "no election");
        }
    }

    /// Makes this replica the first and only member of its group, unless the group has begun already.
    pub(crate) async fn initialize(&self, node: MemberNode) -> Result<(), Fatal<crate::types::TypeConfig>> {
        match self.raft.initialize(BTreeMap::from([(self.id.0, node)])).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(RaftError::APIError(error @ InitializeError::NotInMembers(_))) => unreachable!("the replica is the member: {error}"),
            Err(RaftError::Fatal(fatal)) => Err(fatal),
        }
    }

    /// Whether it has caught up once, so that reads here need not wait long.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Whether it leads, as far as it knows.
    pub(crate) fn leads(&self) -> bool {
        self.raft.metrics().borrow_watched().state == ServerState::Leader
    }

    /// Ends all its tasks, waits for them and closes the state, unless somebody still reads it after a while.
    pub(crate) async fn stop(self: Arc<Self>) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
        if let Err(error) = self.raft.shutdown().await {
            tracing::error!(group = %self.group, %error, "a replica did not stop in order");
        }
        let (group, state) = (self.group, Arc::downgrade(&self.state));
        drop(self);
        let limit = Instant::now() + limits::RELEASE_DEADLINE;
        // Openraft's own worker and calls that have begun let go of it soon, without saying when.
        while state.strong_count() > 0 {
            if Instant::now() >= limit {
                tracing::warn!(%group, "the state of a replica is still read though the replica has stopped");
                return;
            }
            tokio::time::sleep(limits::RELEASE_PAUSE).await;
        }
    }
}

/// Tells whoever follows whether this node leads; ends the process when consensus has failed.
async fn follow_leadership(context: Arc<Context>, replica: Arc<Replica>) {
    let told = context.leadership(replica.group);
    let mut metrics = replica.raft.metrics();
    loop {
        let (now, failure) = {
            let metrics = metrics.borrow_and_update();
            let failure = match &metrics.running_state {
                Ok(()) | Err(Fatal::Stopped) => None,
                Err(fatal) => Some(fatal.to_string()),
            };
            (Leadership { leads: metrics.state == ServerState::Leader, term: metrics.current_term }, failure)
        };
        if let Some(failure) = failure {
            (context.options.on_fatal)(&format!("the consensus of group {} has failed: {failure}", replica.group));
        }
        let leads = if now.leads { 1.0 } else { 0.0 };
        metrics::gauge!(names::LEADS, "group" => replica.label.to_string()).set(leads);
        told.send_if_modified(|old| {
            // A term in which another leads is nobody's concern.
            let changed = old.leads != now.leads || (now.leads && old.term != now.term);
            *old = now;
            changed
        });
        if metrics.changed().await.is_err() {
            return;
        }
    }
}

/// Waits as a reader would, so that others need not wait for a replica that has just been placed.
async fn get_ready(replica: Arc<Replica>) {
    while wait_until_fresh(&replica, Instant::now() + limits::DEFAULT_DEADLINE).await.is_err() {
        tokio::time::sleep(limits::RETRY_PAUSE).await;
    }
    replica.ready.store(true, Ordering::Release);
}
