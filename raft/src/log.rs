//! The segment log: one log of 64 MiB files for all Raft groups of a node.
//!
//! It is not a log of applied state: that is the store's. It promises that what was acknowledged is there after a crash or a power cut, and that
//! damage is refused with a sentence, never skipped (the one exception: damage of the newest batch before a later one is durable passes for a
//! torn tail; batches that hold a vote are therefore written twice). How: [`writer`] makes one batch at a time durable; [`recovery`] decides what
//! counts; at every start a new [`segment`] begins that repeats the last valid batch. The rules are model-checked: `models/src/segment_log.rs`,
//! rule set "repaired".

mod batch;
mod disk;
mod error;
mod files;
mod group;
mod header;
pub mod limits;
mod memory;
pub mod metrics;
mod record;
mod recovery;
mod segment;
mod shared;
mod storage;
pub mod testing;
mod writer;
mod written;

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use skep_placement::ids::{ClusterId, GroupId, NodeId, RaftId};
use tokio::sync::watch;

pub use disk::DiskFiles;
pub use error::LogError;
pub use files::{LogFile, LogFiles};
pub use group::GroupLog;
use header::Header;
pub use memory::Done;
use memory::{GroupMemory, Memory};
use record::Record;
pub use record::{GroupKey, LogEntry, LogPosition, StoredVote};
use recovery::Identity;
use shared::Shared;
pub use shared::{OnFatal, Pressure};
pub(crate) use storage::decode;
use writer::Writer;

/// Every failpoint of the log. At each the process may end without any acknowledged thing being lost.
pub const FAILPOINTS: &[&str] = &[
    "log-before-write",
    "log-before-sync",
    "log-after-sync",
    "log-segment-written",
    "log-segment-synced",
    "log-segment-renamed",
    "log-before-unlink",
];

/// The sync of the log that tests leave out to see that they would notice. It lies.
pub const SKIP_SYNC: &str = "log-skip-sync";

/// The sync of the log that tests make fail, as a device that dies does.
pub const FAIL_SYNC: &str = "log-fail-sync";

/// Draws the salt of a new segment; it must not repeat itself from one start to the next.
pub type Salt = Box<dyn FnMut() -> u32 + Send>;

/// What a log is opened with.
pub struct LogOptions {
    /// Whose log it is; another cluster's is refused.
    pub cluster: ClusterId,
    /// Whose log it is; another node's is refused.
    pub node: NodeId,
    /// Whether an empty folder is right: only at the first start of a node.
    pub allow_empty: bool,
    /// Draws the salt of each new segment.
    pub salt: Salt,
    /// Called when a write or sync has failed; in production it ends the process.
    pub on_fatal: OnFatal,
    /// See [`limits::SEGMENT_BYTES_MAX`].
    pub segment_bytes_max: u64,
    /// See [`limits::CACHE_BYTES_MAX`].
    pub cache_bytes_max: usize,
    /// See [`limits::KEPT_BYTES_MAX`].
    pub kept_bytes_max: u64,
    /// See [`limits::IDLE_DELAY`].
    pub idle_delay: Duration,
}

impl LogOptions {
    /// Makes options with the limits of [`limits`], for a folder that must not be empty.
    #[must_use]
    pub fn new(cluster: ClusterId, node: NodeId, salt: Salt, on_fatal: OnFatal) -> Self {
        Self {
            cluster,
            node,
            allow_empty: false,
            salt,
            on_fatal,
            segment_bytes_max: limits::SEGMENT_BYTES_MAX,
            cache_bytes_max: limits::CACHE_BYTES_MAX,
            kept_bytes_max: limits::KEPT_BYTES_MAX,
            idle_delay: limits::IDLE_DELAY,
        }
    }
}

impl fmt::Debug for LogOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogOptions").field("cluster", &self.cluster).field("node", &self.node).finish_non_exhaustive()
    }
}

/// The log of a node.
pub struct Log {
    shared: Arc<Shared>,
    /// The writer, until it is closed.
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Keeps other processes off the folder, until it is closed.
    lock: Mutex<Option<Box<dyn Any + Send + Sync>>>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl Log {
    /// Opens the log in a folder and starts its writer. Blocks while it reads all segments.
    ///
    /// # Errors
    /// The folder is in use, another's, damaged, empty though it must not be, or cannot be read and written. Each is a sentence for the operator;
    /// the node must not start.
    pub fn open(options: LogOptions, files: Arc<dyn LogFiles>) -> Result<Self, LogError> {
        let (log, writer) = Self::prepare(options, files)?;
        let spawned = std::thread::Builder::new().name("raft-log".to_owned()).spawn(move || writer.run());
        let thread = spawned.map_err(|error| LogError::io("start the thread for", "raft-log", error))?;
        *log.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(log)
    }

    /// Recovers, begins a new segment, and returns a log whose writer nobody runs yet.
    fn prepare(mut options: LogOptions, files: Arc<dyn LogFiles>) -> Result<(Self, Writer), LogError> {
        let lock = files.lock().map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock => LogError::Locked { folder: files.folder() },
            _ => LogError::io("lock", files.folder(), error),
        })?;
        let identity = Identity { cluster: options.cluster, node: options.node };
        let mut recovery = recovery::recover(files.as_ref(), identity)?;
        recovery::check_present(files.as_ref(), &recovery, options.allow_empty)?;
        let header = Header {
            cluster: options.cluster,
            node: options.node,
            segment: recovery.next_segment,
            first: recovery.last.as_ref().map_or(recovery.next_number, |last| last.number),
            salt: (options.salt)(),
            sector: files.sector_bytes(),
            points: recovery.written.points.clone(),
        };
        let last = recovery.finish(header.segment, header.stored_bytes())?;
        remove_unfinished(files.as_ref())?;
        let segment = segment::create(files.as_ref(), &header, last.as_ref().map(|last| &last.body))?;
        recovery.files.insert(segment.number, Arc::clone(&segment.file));
        if let Some(segment_use) = recovery.written.segments.get_mut(&segment.number) {
            segment_use.bytes = segment.end;
        }
        let memory = Memory::new(recovery.groups, recovery.files, options.cache_bytes_max);
        let shared = Arc::new(Shared::new(memory, options.idle_delay, options.kept_bytes_max, options.on_fatal));
        let mut writer = Writer {
            shared: Arc::clone(&shared),
            files,
            identity,
            salt: options.salt,
            segment_bytes_max: options.segment_bytes_max,
            written: recovery.written,
            segment,
            next_number: recovery.next_number,
            // What was recovered is repeated once and not proven by a later batch yet.
            unproven: last.is_some(),
        };
        writer.remove_oldest()?;
        Ok((Self { shared, thread: Mutex::new(None), lock: Mutex::new(Some(lock)) }, writer))
    }

    /// Returns a group's log on this node, empty if it had none.
    ///
    /// # Errors
    /// The node holds as many groups as it may.
    pub fn group(&self, group: GroupId, raft: RaftId) -> Result<GroupLog, LogError> {
        let key = GroupKey { group, raft };
        let mut memory = self.shared.memory();
        if !memory.groups.contains_key(&key) {
            recovery::check_group_count(memory.groups.len())?;
            memory.groups.insert(key, GroupMemory::default());
        }
        drop(memory);
        Ok(GroupLog { shared: Arc::clone(&self.shared), key })
    }

    /// Returns a group's log on this node, if it has one.
    #[must_use]
    pub fn existing(&self, group: GroupId, raft: RaftId) -> Option<GroupLog> {
        let key = GroupKey { group, raft };
        self.shared.memory().groups.contains_key(&key).then(|| GroupLog { shared: Arc::clone(&self.shared), key })
    }

    /// Lists the groups there are, in ascending order.
    #[must_use]
    pub fn groups(&self) -> Vec<GroupKey> {
        self.shared.memory().groups.keys().copied().collect()
    }

    /// Removes a group's log for ever; `done` is called once that is durable. Its handles answer [`LogError::Removed`] from now on.
    ///
    /// # Errors
    /// There is no such group or the log has stopped; `done` is not called.
    pub fn remove(&self, group: GroupId, raft: RaftId, done: Done) -> Result<(), LogError> {
        let key = GroupKey { group, raft };
        let mut memory = self.shared.memory();
        memory.check_running()?;
        memory.remove(key)?;
        memory.enqueue(key, Some(Record::Removed), Some(done));
        drop(memory);
        self.shared.work.notify_one();
        Ok(())
    }

    /// Follows how full the log is, and which groups must snapshot.
    #[must_use]
    pub fn pressure(&self) -> watch::Receiver<Pressure> {
        self.shared.pressure()
    }

    /// The groups that must snapshot and purge so that the oldest segment can go; empty while there is room.
    #[must_use]
    pub fn pinning_groups(&self) -> Vec<GroupKey> {
        self.shared.pressure().borrow().pinning.clone()
    }

    /// Makes durable what waits, stops the writer and gives the folder free. Blocks; what is asked afterwards is refused.
    pub fn close(&self) {
        {
            let mut memory = self.shared.memory();
            memory.closing = true;
        }
        self.shared.work.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // The writer catches its own panics.
            let _ended = thread.join();
        }
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.close();
    }
}

/// Removes what a crash left of segments that were never finished.
fn remove_unfinished(files: &dyn LogFiles) -> Result<(), LogError> {
    let names = files.list().map_err(|error| LogError::io("list the folder of", files.folder(), error))?;
    for name in names.iter().filter(|name| segment::is_temporary(name)) {
        files.unlink(name).map_err(|error| LogError::io("unlink", name, error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failpoint_is_listed_once() {
        let sources = [include_str!("log/writer.rs"), include_str!("log/segment.rs")].concat();
        let sources = [SKIP_SYNC, FAIL_SYNC].iter().fold(sources, |text, name| text.replace(&format!("fail_point!(\"{name}\""), ""));
        assert_eq!(sources.matches("fail_point!(").count(), FAILPOINTS.len(), "none is missing");
        for name in FAILPOINTS {
            assert_eq!(sources.matches(&format!("fail_point!(\"{name}\")")).count(), 1, "{name}");
        }
    }
}
