//! The state machine as openraft asks for it: entries in order, each committed once with its log id and the membership.
//!
//! The store's work runs on blocking threads, several entries at a time, one commit an entry. Openraft calls from one worker a group, so that no
//! two changes of a state run at once. A failure stops the process: what is on the disk is then unknown.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{FutureExt, Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use prost::Message;
use tokio::time::Instant;

use super::limits;
use super::replica_state::ReplicaState;
use super::snapshot::{BuiltSnapshot, SnapshotFolder};
use crate::log::GroupLog;
use crate::metrics as names;
use crate::options::OnFatal;
use crate::state::{GroupKind, Position, apply_batch};
use crate::store::Changes;
use crate::store::remembered::RememberedState;
use crate::types::{Applied, Entry, LogId, SnapshotMeta, StoredMembership, TypeConfig};
use crate::wire::meta::v1::Batch;

/// A snapshot as openraft passes it on.
pub(crate) type Snapshot = openraft::type_config::alias::SnapshotOf<TypeConfig, Arc<SnapshotFolder>>;

/// The state machine of one replica. Clones are the same.
#[derive(Clone)]
pub(crate) struct StateMachine {
    pub(crate) state: Arc<ReplicaState>,
    pub(crate) kind: GroupKind,
    pub(crate) log: GroupLog,
    pub(crate) label: Arc<str>,
    pub(crate) on_fatal: OnFatal,
    pub(crate) latest: Arc<LatestSnapshot>,
}

/// The snapshot made last, so that several receivers, and a second try, share it.
#[derive(Default)]
pub(crate) struct LatestSnapshot {
    /// Set once the replica runs: before, openraft only asks whether there is one.
    running: AtomicBool,
    built: Mutex<Option<(BuiltSnapshot, Instant)>>,
}

impl LatestSnapshot {
    /// From now on a snapshot is made when one is asked for.
    pub(crate) fn run(&self) {
        self.running.store(true, Ordering::Release);
    }

    fn set(&self, built: BuiltSnapshot) {
        *self.lock() = Some((built, Instant::now()));
    }

    fn get(&self) -> Option<BuiltSnapshot> {
        self.lock().as_ref().map(|(built, _)| built.clone())
    }

    /// Drops it once nobody has fetched it for a while, so that it does not hold old files on the disk.
    pub(crate) fn expire(&self) {
        let mut latest = self.lock();
        let unused =
            latest.as_ref().is_some_and(|(built, since)| since.elapsed() >= limits::SNAPSHOT_KEPT && Arc::strong_count(&built.folder) == 1);
        if unused {
            let expired = latest.take();
            drop(latest);
            drop(expired);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(BuiltSnapshot, Instant)>> {
        self.built.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateMachine {
    /// Reports a failure that ends the process and passes it on.
    fn fatal(&self, action: &str, error: io::Error) -> io::Error {
        (self.on_fatal)(&format!("cannot {action} of group {}: {error}", self.label));
        error
    }

    async fn blocking<T: Send + 'static>(
        &self,
        action: &str,
        work: impl FnOnce(&ReplicaState) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let state = Arc::clone(&self.state);
        let done = tokio::task::spawn_blocking(move || work(&state)).await.map_err(io::Error::other).flatten();
        done.map_err(|error| self.fatal(action, error))
    }

    async fn build(&self) -> io::Result<BuiltSnapshot> {
        let (commands, bytes) = (self.state.commands.load(Ordering::Relaxed), self.state.bytes.load(Ordering::Relaxed));
        let built = self.blocking("build a snapshot of the state", ReplicaState::build_snapshot).await?;
        take_off(&self.state.commands, commands);
        take_off(&self.state.bytes, bytes);
        metrics::counter!(names::SNAPSHOTS_BUILT_TOTAL, "group" => self.label.to_string()).increment(1);
        self.latest.set(built.clone());
        Ok(built)
    }

    /// Whether whoever gets this snapshot can go on with the log from there.
    fn is_fresh(&self, built: &BuiltSnapshot) -> io::Result<bool> {
        let (purged, _) = self.log.bounds()?;
        Ok(purged.map(LogId::from) <= built.meta.last_log_id)
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = Arc<SnapshotFolder>;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let covers = self.state.covers();
        Ok((covers.last_log_id, covers.last_membership))
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut entries = entries.fuse();
        while let Some(first) = entries.next().await {
            let mut taken = vec![first?];
            let mut bytes = taken.first().map_or(0, |(entry, _)| payload_bytes(entry));
            while taken.len() < limits::APPLY_ENTRIES_MAX && bytes < limits::APPLY_BYTES_MAX {
                let Some(Some(next)) = entries.next().now_or_never() else { break };
                let next = next?;
                bytes += payload_bytes(&next.0);
                taken.push(next);
            }
            let kind = self.kind;
            let count = u64::try_from(taken.len()).expect("a few entries");
            self.blocking("apply an entry to the state", move |state| taken.into_iter().try_for_each(|one| apply_entry(state, kind, one)))
                .await?;
            metrics::counter!(names::APPLIED_ENTRIES_TOTAL, "group" => self.label.to_string()).increment(count);
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: Arc<SnapshotFolder>) -> Result<(), io::Error> {
        let meta = meta.clone();
        self.blocking("install a snapshot as the state", move |state| state.install(&meta, &snapshot)).await?;
        self.state.commands.store(0, Ordering::Relaxed);
        self.state.bytes.store(0, Ordering::Relaxed);
        metrics::counter!(names::SNAPSHOTS_INSTALLED_TOTAL, "group" => self.label.to_string()).increment(1);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        if !self.latest.running.load(Ordering::Acquire) {
            return Ok(None);
        }
        let built = match self.latest.get() {
            Some(built) if self.is_fresh(&built)? => built,
            _ => self.build().await?,
        };
        Ok(Some(Snapshot { meta: built.meta, snapshot: built.folder }))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for StateMachine {
    type SnapshotData = Arc<SnapshotFolder>;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let built = self.build().await?;
        Ok(Snapshot { meta: built.meta, snapshot: built.folder })
    }
}

/// An installation may have set the count to zero meanwhile.
fn take_off(count: &AtomicU64, by: u64) {
    let _previous = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| Some(count.saturating_sub(by)));
}

fn payload_bytes(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(proposal) => proposal.payload.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}

/// Applies one entry, commits it, and only then answers whoever proposed it. Blocks.
pub(crate) fn apply_entry(state: &ReplicaState, kind: GroupKind, (entry, responder): EntryResponder<TypeConfig>) -> io::Result<()> {
    let mut covers = state.covers();
    let index = entry.log_id.index;
    if covers.last_log_id.is_some_and(|last| last.index >= index) {
        return Err(io::Error::other(format!("entry {index} comes again: entry {:?} is applied already", covers.last_log_id)));
    }
    covers.last_log_id = Some(entry.log_id);
    let (changes, answer) = match entry.payload {
        EntryPayload::Blank => (Changes::default(), Bytes::new()),
        EntryPayload::Membership(membership) => {
            covers.last_membership = StoredMembership::new(Some(entry.log_id), membership);
            (Changes::default(), Bytes::new())
        }
        EntryPayload::Normal(proposal) => {
            let bytes = u64::try_from(proposal.payload.len()).expect("a length fits");
            let batch = Batch::decode(proposal.payload).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            state.commands.fetch_add(u64::try_from(batch.proposals.len()).expect("a count fits"), Ordering::Relaxed);
            state.bytes.fetch_add(bytes, Ordering::Relaxed);
            let position = Position { index, term: entry.log_id.leader_id.term };
            // The commands of an entry ask for the same folders, sums and sessions.
            let state = RememberedState::over(state.snapshot());
            let (changes, outcomes) = apply_batch(&state, kind, position, &batch).map_err(io::Error::other)?;
            // Only the leader has somebody to answer.
            let answer = if responder.is_some() { Bytes::from(outcomes.encode_to_vec()) } else { Bytes::new() };
            (changes, answer)
        }
    };
    state.commit(changes, covers)?;
    if let Some(responder) = responder {
        responder.send(Applied { payload: answer });
    }
    Ok(())
}
