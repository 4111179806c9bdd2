//! What the tests of the log share: options, repeatable chance, and a log's state as plain values.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use skep_placement::ids::{ClusterId, GroupId, NodeId, RaftId};
use skep_raft::log::testing::{SimFiles, SteppedLog};
use skep_raft::log::{Done, GroupKey, GroupLog, Log, LogEntry, LogError, LogOptions, LogPosition, StoredVote};

pub(crate) const CLUSTER: ClusterId = ClusterId([7; 16]);
pub(crate) const NODE: NodeId = NodeId(3);
pub(crate) const GROUP: GroupId = GroupId(1);
pub(crate) const RAFT: RaftId = RaftId(11);

/// Repeatable chance.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        u32::try_from((mixed ^ (mixed >> 31)) % u64::from(bound)).expect("it is below a u32")
    }
}

/// Options for small segments; a failure is expected to reach the callers, so the hook does nothing.
pub(crate) fn options() -> LogOptions {
    static SALT: AtomicU32 = AtomicU32::new(1);
    let salt = || SALT.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9);
    let mut options = LogOptions::new(CLUSTER, NODE, Box::new(salt), Box::new(|_error| {}));
    options.allow_empty = true;
    options.segment_bytes_max = 16 * 1024;
    options.cache_bytes_max = 2 * 1024;
    options
}

pub(crate) fn open(files: &SimFiles) -> Result<SteppedLog, LogError> {
    SteppedLog::open(options(), Arc::new(files.clone()))
}

pub(crate) fn position(term: u64, index: u64) -> LogPosition {
    LogPosition { term, leader: RAFT.0, index }
}

pub(crate) fn entry(term: u64, index: u64, length: usize) -> LogEntry {
    let byte = u8::try_from((term * 31 + index) % 251).expect("it is below 251");
    LogEntry { position: position(term, index), payload: Bytes::from(vec![byte; length]) }
}

pub(crate) fn vote(term: u64) -> StoredVote {
    StoredVote { term, leader: RAFT.0, committed: false }
}

/// How requests ended, in the order they did.
#[derive(Clone, Default)]
pub(crate) struct Answers(Arc<Mutex<Vec<(usize, bool)>>>);

impl Answers {
    pub(crate) fn done(&self, number: usize) -> Done {
        let answers = self.clone();
        Box::new(move |result| answers.0.lock().expect("nobody panics here").push((number, result.is_ok())))
    }

    /// Numbers of the requests acknowledged.
    pub(crate) fn acknowledged(&self) -> Vec<usize> {
        self.0.lock().expect("nobody panics here").iter().filter(|(_, ok)| *ok).map(|(number, _)| *number).collect()
    }

    pub(crate) fn refused(&self) -> Vec<usize> {
        self.0.lock().expect("nobody panics here").iter().filter(|(_, ok)| !*ok).map(|(number, _)| *number).collect()
    }
}

/// A callback that nobody needs.
pub(crate) fn ignore() -> Done {
    Box::new(|_result| {})
}

/// One group as plain values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupState {
    pub(crate) vote: Option<StoredVote>,
    pub(crate) purged: Option<LogPosition>,
    pub(crate) entries: Vec<LogEntry>,
}

impl GroupState {
    pub(crate) fn last(&self) -> Option<LogPosition> {
        self.entries.last().map(|entry| entry.position).or(self.purged)
    }

    pub(crate) fn next_index(&self) -> u64 {
        self.last().map_or(1, |last| last.index + 1)
    }
}

/// All groups with anything in them.
pub(crate) type State = BTreeMap<GroupKey, GroupState>;

pub(crate) fn state_of(log: &Log) -> State {
    let mut state = State::new();
    for key in log.groups() {
        let group = log.group(key.group, key.raft).expect("there is room for it");
        let (purged, _last) = group.bounds().expect("it was not removed");
        let entries = group.read(0..u64::MAX, usize::MAX).expect("every entry can be read");
        let found = GroupState { vote: group.vote().expect("it was not removed"), purged, entries };
        if found != GroupState::default() {
            state.insert(key, found);
        }
    }
    state
}

pub(crate) fn group(log: &Log) -> GroupLog {
    log.group(GROUP, RAFT).expect("there is room for it")
}

/// The only group's state.
pub(crate) fn only(log: &Log) -> GroupState {
    state_of(log).remove(&GroupKey { group: GROUP, raft: RAFT }).unwrap_or_default()
}
