//! What the writer and the groups share: the memory of the log behind one lock, the bell that wakes the writer, and how the log stops.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

use super::error::LogError;
use super::limits;
use super::memory::{Done, Memory};
use super::record::GroupKey;

/// Called once when the log has stopped for ever, before anybody else is told.
pub type OnFatal = Box<dyn Fn(&LogError) + Send + Sync>;

/// How full the log is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Bytes of all segments.
    pub kept_bytes: u64,
    /// Proposals must be refused until segments have gone.
    pub full: bool,
    /// Groups that must snapshot and purge so that the oldest segment can go; empty while there is room.
    pub pinning: Vec<GroupKey>,
}

/// Shared by the writer and all groups.
pub(crate) struct Shared {
    memory: Mutex<Memory>,
    /// Rung when something waits or the log closes.
    pub(crate) work: Condvar,
    /// Bytes that may wait, in permits of one byte.
    pub(crate) room: Arc<Semaphore>,
    pub(crate) idle_delay: Duration,
    pub(crate) kept_bytes_max: u64,
    pressure: watch::Sender<Pressure>,
    on_fatal: OnFatal,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("memory", &self.memory).finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn new(memory: Memory, idle_delay: Duration, kept_bytes_max: u64, on_fatal: OnFatal) -> Self {
        Self {
            memory: Mutex::new(memory),
            work: Condvar::new(),
            room: Arc::new(Semaphore::new(limits::WAITING_BYTES_MAX)),
            idle_delay,
            kept_bytes_max,
            pressure: watch::Sender::new(Pressure::default()),
            on_fatal,
        }
    }

    /// Locks the memory.
    ///
    /// # Panics
    /// A thread panicked while it held the lock: what memory says is then not to be relied on.
    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().expect("no thread panics while it holds the log's memory")
    }

    /// Tells in order all who waited for a batch that is durable.
    pub(crate) fn acknowledge(&self, done: Vec<Done>) {
        done.into_iter().for_each(|done| done(Ok(())));
    }

    /// Stops the log for ever. The hook comes first, so that a process that it ends acknowledges nothing; then whoever waits gets an error.
    pub(crate) fn fail(&self, error: &LogError, taken: Vec<Done>) {
        let reason: Arc<str> = error.to_string().into();
        let waiting = {
            let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
            if memory.stopped.is_none() {
                memory.stopped = Some(Arc::clone(&reason));
            }
            std::mem::take(&mut memory.waiting)
        };
        (self.on_fatal)(error);
        for done in taken.into_iter().chain(waiting.into_iter().filter_map(|waiting| waiting.done)) {
            done(Err(LogError::Stopped { reason: Arc::clone(&reason) }));
        }
    }

    /// Lets the watchers know when what they must do has changed.
    pub(crate) fn publish(&self, pressure: Pressure) {
        self.pressure.send_if_modified(|current| {
            let changed = current.full != pressure.full || current.pinning != pressure.pinning;
            *current = pressure;
            changed
        });
    }

    pub(crate) fn pressure(&self) -> watch::Receiver<Pressure> {
        self.pressure.subscribe()
    }
}
