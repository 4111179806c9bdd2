//! openraft's own test suite of log storage, on real files, with the smallest state machine that it asks for.

use std::io;
use std::sync::{Arc, Mutex};

use futures_util::{Stream, StreamExt, TryStreamExt};
use openraft::storage::{EntryResponder, IOFlushed, RaftLogReader, RaftLogStorage, RaftSnapshotBuilder, RaftStateMachine, Snapshot};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::type_config::TypeConfigExt;
use openraft::{EntryPayload, OptionalSend, StorageError};
use skep_raft::log::{DiskFiles, GroupLog, Log};
use skep_raft::types::{Applied, Entry, LeaderId, LogId, MemberNode, Proposal, SnapshotMeta, StoredMembership, TypeConfig, Vote};

use crate::rig::{GROUP, RAFT, options};

type MachineSnapshot = Snapshot<LeaderId, u64, MemberNode, ()>;

/// Applies nothing but remembers how far.
#[derive(Clone, Default)]
struct Machine {
    applied: Option<LogId>,
    membership: StoredMembership,
    snapshot: Arc<Mutex<Option<SnapshotMeta>>>,
}

impl RaftSnapshotBuilder<TypeConfig> for Machine {
    type SnapshotData = ();

    async fn build_snapshot(&mut self) -> Result<MachineSnapshot, io::Error> {
        let meta = SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone() };
        *self.snapshot.lock().expect("nobody panics here") = Some(meta.clone());
        Ok(Snapshot { meta, snapshot: () })
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = ();
    type SnapshotBuilder = Machine;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            self.applied = Some(entry.log_id);
            if let EntryPayload::Membership(membership) = entry.payload {
                self.membership = StoredMembership::new(self.applied, membership);
            }
            if let Some(responder) = responder {
                responder.send(Applied::default());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Machine {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, _snapshot: ()) -> Result<(), io::Error> {
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        *self.snapshot.lock().expect("nobody panics here") = Some(meta.clone());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<MachineSnapshot>, io::Error> {
        let meta = self.snapshot.lock().expect("nobody panics here").clone();
        Ok(meta.map(|meta| Snapshot { meta, snapshot: () }))
    }
}

struct Builder;

/// Keeps log and folder until the test is over.
struct Guard {
    _log: Log,
    _folder: tempfile::TempDir,
}

fn build() -> (Guard, GroupLog) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let files = Arc::new(DiskFiles::open(folder.path()).expect("it can be opened"));
    let log = Log::open(options(), files).expect("it opens");
    let group = log.group(GROUP, RAFT).expect("there is room for it");
    (Guard { _log: log, _folder: folder }, group)
}

impl StoreBuilder<TypeConfig, GroupLog, Machine, Guard> for Builder {
    async fn build(&self) -> Result<(Guard, GroupLog, Machine), StorageError<TypeConfig>> {
        let (guard, group) = build();
        Ok((guard, group, Machine::default()))
    }
}

#[test]
fn openrafts_suite_passes_on_real_files() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime starts");
    runtime.block_on(Suite::test_all(Builder)).expect("the suite passes");
}

fn normal(index: u64, length: usize) -> Entry {
    let log_id = LogId { leader_id: LeaderId { term: 1, node_id: RAFT.0 }, index };
    Entry { log_id, payload: EntryPayload::Normal(Proposal { payload: vec![1; length].into() }) }
}

#[test]
fn streams_read_more_than_one_piece_and_stop_when_the_leader_changes() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime starts");
    runtime.block_on(async {
        let (_guard, mut group) = build();
        let (durable, wait) = TypeConfig::oneshot();
        let entries: Vec<Entry> = (1..=12).map(|index| normal(index, 1024 * 1024)).collect();
        RaftLogStorage::append(&mut group, entries.clone(), IOFlushed::signal(durable)).await.expect("it is running");
        let limited = group.limited_get_log_entries(1, 13).await.expect("it can be read");
        assert_eq!(limited.len(), 3, "a reader returns at most 4 MiB");
        wait.await.expect("it is answered").expect("the disk is good");
        let all: Vec<Entry> = group.entries_stream(1..13).await.try_collect().await.expect("it can be read");
        assert_eq!(all, entries, "every piece");
        let vote = Vote::new_committed(1, RAFT.0);
        RaftLogStorage::save_vote(&mut group, &vote).await.expect("it is running");
        let mut reader = group.get_log_reader().await;
        let mut stream = Box::pin(reader.leader_bounded_stream(vote.leader_id, 1..13).await);
        assert_eq!(stream.next().await.expect("one comes").expect("it leads"), entries[0], "the first");
        RaftLogStorage::save_vote(&mut group, &Vote::new(2, 99)).await.expect("it is running");
        let rest: Vec<_> = stream.collect().await;
        assert!(rest.len() < 11 && rest.last().is_some_and(Result::is_err), "the stream ends with the change of leader");
    });
}
