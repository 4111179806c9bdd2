//! The folder of one replica's state: which of its states is in force, the open store, and how far it has been applied.
//!
//! The file `CURRENT` names the folder of the state in force. It is written beside, synced and renamed, so that after a crash there is either the old
//! state or the new one; whatever else lies there is rubbish and removed at the next start. `CURRENT` is durable before its folder is used.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use bytes::Bytes;
use tokio::sync::watch;

use super::snapshot::{BuiltSnapshot, SnapshotFolder, build, sync_parent};
use super::stores::{ReplicaStore, StoreFactory};
use crate::format::raft_types::{decode_snapshot_meta, encode_snapshot_meta};
use crate::store::remembered::RememberedState;
use crate::store::{Changes, Family, ReadState};
use crate::types::SnapshotMeta;

const POINTER: &str = "CURRENT";
const POINTER_UNFINISHED: &str = "CURRENT.new";
const STATE_PREFIX: &str = "state-";

/// The state of one replica.
pub(crate) struct ReplicaState {
    folder: PathBuf,
    stores: Arc<dyn StoreFactory>,
    open: RwLock<Open>,
    /// What the state in force covers; changed only by the state machine's worker.
    covers: Mutex<SnapshotMeta>,
    /// Index of the last entry applied; 0: none.
    applied: watch::Sender<u64>,
    /// The state that who reads now shares, with the index that was applied before it was taken. Dropped with the next change, so that it holds nothing of the past.
    shared: Mutex<Option<(u64, Arc<RememberedState>)>>,
    /// Names given to folders so far in this process.
    names: AtomicU64,
    /// States that were replaced, with who may still read them.
    replaced: Mutex<Vec<(PathBuf, Weak<dyn ReplicaStore>)>>,
    /// Commands and payload bytes applied since the last snapshot.
    pub(crate) commands: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

struct Open {
    number: u64,
    store: Arc<dyn ReplicaStore>,
}

impl std::fmt::Debug for ReplicaState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplicaState").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl ReplicaState {
    /// Opens the state in a folder, an empty one if there is none. Blocks.
    pub(crate) fn open(folder: PathBuf, stores: Arc<dyn StoreFactory>) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        sync_parent(&folder)?;
        let number = match read_pointer(&folder)? {
            Some(number) => number,
            None if has_state(&folder)? => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("{} holds a state but no file {POINTER}", folder.display()),
                ));
            }
            None => {
                write_pointer(&folder, 1)?;
                1
            }
        };
        remove_rubbish(&folder, number)?;
        let store = stores.open(&folder.join(state_name(number))).map_err(io::Error::other)?;
        let covers = read_applied(store.snapshot().as_ref())?;
        let index = covers.last_log_id.map_or(0, |last| last.index);
        Ok(Self {
            folder,
            stores,
            open: RwLock::new(Open { number, store }),
            covers: Mutex::new(covers),
            applied: watch::Sender::new(index),
            shared: Mutex::new(None),
            names: AtomicU64::new(0),
            replaced: Mutex::new(Vec::new()),
            commands: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        })
    }

    /// The store in force.
    pub(crate) fn store(&self) -> Arc<dyn ReplicaStore> {
        Arc::clone(&self.open.read().unwrap_or_else(PoisonError::into_inner).store)
    }

    /// The state as of now.
    pub(crate) fn snapshot(&self) -> Box<dyn ReadState> {
        self.store().snapshot()
    }

    /// The state as of now or a moment ago, in which nothing is missing that was applied before this call. Who reads between two changes shares one, and the rows that it
    /// has read.
    pub(crate) fn shared(&self) -> Arc<RememberedState> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        // Read before the state is taken: one that is newer than it says is only replaced too early.
        let applied = *self.applied.borrow();
        match &*shared {
            Some((of, state)) if *of == applied => Arc::clone(state),
            _ => {
                let state = Arc::new(RememberedState::for_readers(self.snapshot()));
                *shared = Some((applied, Arc::clone(&state)));
                state
            }
        }
    }

    /// What the state covers.
    pub(crate) fn covers(&self) -> SnapshotMeta {
        self.covers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Follows the index of the last entry applied.
    pub(crate) fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// Commits what an entry changed together with what the state covers from now on. Blocks.
    pub(crate) fn commit(&self, mut changes: Changes, covers: SnapshotMeta) -> io::Result<()> {
        changes.put(Family::Meta, crate::keys::applied(), encode_snapshot_meta(&covers));
        fail::fail_point!("apply-before-commit");
        self.store().commit(changes).map_err(io::Error::other)?;
        fail::fail_point!("apply-after-commit");
        self.set_covers(covers);
        Ok(())
    }

    /// Builds a snapshot. Blocks.
    pub(crate) fn build_snapshot(&self) -> io::Result<BuiltSnapshot> {
        build(self.store().as_ref(), self.stores.as_ref(), self.new_folder("snapshot"))
    }

    /// Copies this state into a folder of another replica, which must not exist yet, and opens the copy. Blocks.
    pub(crate) fn copy_to(&self, folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        self.store().checkpoint(&folder.join(state_name(1))).map_err(io::Error::other)?;
        write_pointer(&folder, 1)?;
        Self::open(folder, Arc::clone(&self.stores))
    }

    /// Reads what the state in a folder covers, without opening it for changes; nothing if it holds none yet. Blocks.
    pub(crate) fn peek(folder: &Path, stores: &dyn StoreFactory) -> io::Result<SnapshotMeta> {
        let Some(number) = read_pointer(folder)? else { return Ok(SnapshotMeta::default()) };
        let state = stores.peek(&folder.join(state_name(number))).map_err(io::Error::other)?;
        read_applied(state.as_ref())
    }

    /// A folder to receive a snapshot into.
    pub(crate) fn new_incoming(&self) -> SnapshotFolder {
        SnapshotFolder::new(self.new_folder("incoming"))
    }

    fn new_folder(&self, kind: &str) -> PathBuf {
        self.folder.join(format!("{kind}-{}", self.names.fetch_add(1, Ordering::Relaxed)))
    }

    /// Puts a received snapshot in the place of the state. Its files are durable and verified. Blocks.
    pub(crate) fn install(&self, meta: &SnapshotMeta, snapshot: &SnapshotFolder) -> io::Result<()> {
        let number = self.open.read().unwrap_or_else(PoisonError::into_inner).number + 1;
        let target = self.folder.join(state_name(number));
        fail::fail_point!("install-received");
        snapshot.move_to(&target)?;
        fail::fail_point!("install-before-pointer");
        let store = self.stores.open(&target).map_err(io::Error::other)?;
        let covers = read_applied(store.snapshot().as_ref())?;
        if covers != *meta {
            let problem = format!("a snapshot covers {:?} though its sender said {:?}", covers.last_log_id, meta.last_log_id);
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        write_pointer(&self.folder, number)?;
        fail::fail_point!("install-after-pointer");
        let old = {
            let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *open, Open { number, store })
        };
        let old_folder = self.folder.join(state_name(old.number));
        self.replaced.lock().unwrap_or_else(PoisonError::into_inner).push((old_folder, Arc::downgrade(&old.store)));
        drop(old);
        self.set_covers(covers);
        Ok(())
    }

    /// Removes replaced states that nobody reads any more. Blocks.
    pub(crate) fn remove_replaced(&self) {
        let unread = {
            let mut replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
            let (read, unread): (Vec<_>, Vec<_>) =
                std::mem::take(&mut *replaced).into_iter().partition(|(_, store)| store.strong_count() > 0);
            *replaced = read;
            unread
        };
        for (folder, _) in unread {
            if let Err(error) = fs::remove_dir_all(&folder) {
                tracing::warn!(folder = %folder.display(), %error, "cannot remove a replaced state");
            }
        }
    }

    fn set_covers(&self, covers: SnapshotMeta) {
        let index = covers.last_log_id.map_or(0, |last| last.index);
        *self.covers.lock().unwrap_or_else(PoisonError::into_inner) = covers;
        self.applied.send_replace(index);
        let past = self.shared.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(past);
    }
}

/// Reads what a state covers.
pub(crate) fn read_applied(state: &dyn ReadState) -> io::Result<SnapshotMeta> {
    let found: Option<Bytes> = state.get(Family::Meta, &crate::keys::applied()).map_err(io::Error::other)?;
    match found {
        Some(bytes) => decode_snapshot_meta(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)),
        None => Ok(SnapshotMeta::default()),
    }
}

fn state_name(number: u64) -> String {
    format!("{STATE_PREFIX}{number}")
}

fn read_pointer(folder: &Path) -> io::Result<Option<u64>> {
    let text = match fs::read_to_string(folder.join(POINTER)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let number = text.trim().strip_prefix(STATE_PREFIX).and_then(|number| number.parse().ok());
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, format!("{} does not name a state", folder.join(POINTER).display()));
    number.map(Some).ok_or_else(wrong)
}

fn write_pointer(folder: &Path, number: u64) -> io::Result<()> {
    let unfinished = folder.join(POINTER_UNFINISHED);
    let mut file = File::create(&unfinished)?;
    writeln!(file, "{}", state_name(number))?;
    file.sync_all()?;
    fs::rename(&unfinished, folder.join(POINTER))?;
    File::open(folder)?.sync_all()
}

fn has_state(folder: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        if entry?.file_name().to_string_lossy().starts_with(STATE_PREFIX) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn remove_rubbish(folder: &Path, number: u64) -> io::Result<()> {
    let current = state_name(number);
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == POINTER || name == current.as_str() {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::memory::MemoryStores;
    use super::*;
    use crate::types::{LeaderId, LogId};

    fn open(folder: &Path) -> ReplicaState {
        ReplicaState::open(folder.join("replica"), Arc::new(MemoryStores)).expect("an empty state")
    }

    /// Applies an entry that writes its index under one key.
    fn apply(state: &ReplicaState, index: u64) {
        let mut changes = Changes::new();
        changes.put(Family::Tree, Bytes::from_static(b"key"), Bytes::copy_from_slice(&index.to_be_bytes()));
        let leader_id = LeaderId { term: 1, node_id: 1 };
        let covers = SnapshotMeta { last_log_id: Some(LogId { leader_id, index }), ..SnapshotMeta::default() };
        state.commit(changes, covers).expect("memory does not fail");
    }

    fn found(state: &RememberedState) -> u64 {
        let value = state.get(Family::Tree, b"key").expect("memory does not fail");
        value.map_or(0, |value| u64::from_be_bytes(value.as_ref().try_into().expect("eight bytes")))
    }

    #[test]
    fn readers_share_a_state_until_the_next_change_and_nothing_is_held_after_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = open(folder.path());
        apply(&state, 1);
        let (one, other) = (state.shared(), state.shared());
        assert!(Arc::ptr_eq(&one, &other));
        let held = Arc::downgrade(&other);
        drop(other);
        apply(&state, 2);
        assert_eq!((found(&one), found(&state.shared())), (1, 2), "each state stays as it was");
        drop(one);
        assert_eq!(held.strong_count(), 0, "a state of the past is not held");
        let last = Arc::downgrade(&state.shared());
        apply(&state, 3);
        assert_eq!(last.strong_count(), 0, "nor is it when nobody reads any more");
    }

    #[test]
    fn nothing_that_was_applied_before_a_reader_asked_is_missing() {
        const ENTRIES: u64 = 20_000;
        let folder = tempfile::tempdir().expect("a folder");
        let state = open(folder.path());
        std::thread::scope(|scope| {
            for _reader in 0..3 {
                scope.spawn(|| {
                    let mut last = 0;
                    while last < ENTRIES {
                        let applied = *state.applied().borrow();
                        let read = found(&state.shared());
                        assert!(read >= applied && read >= last, "{read} was read after {last}, when {applied} was applied");
                        last = read;
                    }
                });
            }
            (1..=ENTRIES).for_each(|index| apply(&state, index));
        });
    }
}
