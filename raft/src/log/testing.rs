//! A file system in memory that loses power the way real ones do, and a log whose writer is driven step by step.
//!
//! A power cut leaves every sector that was not synced old, new, half or garbage, and every change of the folder that was not synced done or not. A
//! failed sync takes the pages for clean though they are not on the disk. A crash of the process alone loses nothing. Every choice comes from the
//! caller, so a run repeats itself.

mod stepped;

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use stepped::SteppedLog;

use super::files::{LogFile, LogFiles};

/// Picks one of so many possibilities, from 0.
pub type Choose<'a> = &'a mut dyn FnMut(u32) -> u32;

/// A folder in memory, as one process sees it. After a crash the old process's handles answer errors.
#[derive(Clone)]
pub struct SimFiles {
    state: Arc<Mutex<SimState>>,
    /// The process this handle belongs to.
    boot: u64,
}

/// What is to go wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The sync after so many more fails.
    pub fail_sync_in: Option<u32>,
    /// The write after so many more fails.
    pub fail_write_in: Option<u32>,
    /// The process ends before the change after so many more.
    pub crash_in: Option<u32>,
    /// Syncs do nothing and say that they did: a lying disk, to prove that a test would notice.
    pub ignore_syncs: bool,
}

#[derive(Clone, Default)]
struct SimState {
    boot: u64,
    locked: bool,
    sector_bytes: u32,
    inodes: BTreeMap<u64, Inode>,
    /// Names as processes see them, and as the disk holds them.
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    /// Changes of names that are not synced.
    changes: Vec<Change>,
    faults: Faults,
    operations: u64,
}

#[derive(Clone, Default)]
struct Inode {
    cache: Vec<u8>,
    disk: Vec<u8>,
    dirty: BTreeSet<usize>,
}

#[derive(Clone)]
enum Change {
    Add(String, u64),
    Move(String, String, u64),
    Remove(String),
}

impl Change {
    fn apply(self, names: &mut BTreeMap<String, u64>) {
        match self {
            Change::Add(name, inode) => {
                names.insert(name, inode);
            }
            Change::Move(from, to, inode) => {
                names.remove(&from);
                names.insert(to, inode);
            }
            Change::Remove(name) => {
                names.remove(&name);
            }
        }
    }
}

impl fmt::Debug for SimFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFiles").field("boot", &self.boot).finish_non_exhaustive()
    }
}

impl SimFiles {
    /// Makes an empty folder on a device with sectors of so many bytes.
    #[must_use]
    pub fn new(sector_bytes: u32) -> Self {
        Self { state: Arc::new(Mutex::new(SimState { sector_bytes, ..SimState::default() })), boot: 0 }
    }

    fn state(&self) -> MutexGuard<'_, SimState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Copies the whole folder, cache and disk, for another process.
    #[must_use]
    pub fn fork(&self) -> Self {
        let mut state = self.state().clone();
        state.restart();
        let boot = state.boot;
        Self { state: Arc::new(Mutex::new(state)), boot }
    }

    /// Ends the process: what it wrote stays readable. Returns the folder for the next process.
    #[must_use]
    pub fn crash(&self) -> Self {
        let mut state = self.state();
        state.restart();
        Self { state: Arc::clone(&self.state), boot: state.boot }
    }

    /// Cuts the power. Returns the folder for the next process.
    #[must_use]
    pub fn power_cut(&self, choose: Choose<'_>) -> Self {
        let mut state = self.state();
        let sector_bytes = state.sector_length();
        for inode in state.inodes.values_mut() {
            inode.lose_power(sector_bytes, choose);
        }
        for change in std::mem::take(&mut state.changes) {
            if choose(2) == 1 {
                change.apply(&mut state.durable_names);
            }
        }
        state.names = state.durable_names.clone();
        state.restart();
        Self { state: Arc::clone(&self.state), boot: state.boot }
    }

    /// Sets what is to go wrong from now on, until the process ends.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// How many changes were made so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Lists the files with their content as processes see it.
    #[must_use]
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.state();
        let content = |inode: &u64| state.inodes.get(inode).map(|inode| inode.cache.clone()).unwrap_or_default();
        state.names.iter().map(|(name, inode)| (name.clone(), content(inode))).collect()
    }

    /// Replaces a file's content durably, as damage does. An absent file is made.
    pub fn overwrite(&self, name: &str, content: Vec<u8>) {
        let mut state = self.state();
        let number = state.names.get(name).copied().unwrap_or_else(|| state.next_inode());
        state.inodes.insert(number, Inode { disk: content.clone(), cache: content, dirty: BTreeSet::new() });
        state.names.insert(name.to_owned(), number);
        state.durable_names.insert(name.to_owned(), number);
    }

    /// Removes a file durably, as damage does.
    pub fn erase(&self, name: &str) {
        let mut state = self.state();
        state.names.remove(name);
        state.durable_names.remove(name);
    }
}

impl Inode {
    fn lose_power(&mut self, sector_bytes: usize, choose: Choose<'_>) {
        for sector in std::mem::take(&mut self.dirty) {
            let range = sector * sector_bytes..((sector + 1) * sector_bytes).min(self.cache.len());
            let kept = match choose(4) {
                0 => continue,
                1 => range.len(),
                2 => range.len() / 2,
                _ => 0,
            };
            let garbage = kept == 0;
            if self.disk.len() < range.end {
                self.disk.resize(range.end, 0);
            }
            self.disk[range.start..range.start + kept].copy_from_slice(&self.cache[range.start..range.start + kept]);
            if garbage {
                self.disk[range].iter_mut().enumerate().for_each(|(at, byte)| *byte = u8::try_from(at % 251).unwrap_or_default() ^ 0xA5);
            }
        }
        self.cache.clone_from(&self.disk);
    }
}

impl SimState {
    fn restart(&mut self) {
        self.boot += 1;
        self.locked = false;
        self.faults = Faults::default();
    }

    fn sector_length(&self) -> usize {
        usize::try_from(self.sector_bytes).expect("a sector fits into memory")
    }

    fn next_inode(&self) -> u64 {
        self.inodes.last_key_value().map_or(1, |(last, _)| last + 1)
    }

    /// Counts a change, unless the process has ended or ends here.
    fn operate(&mut self, boot: u64) -> io::Result<()> {
        if boot != self.boot || self.faults.crash_in == Some(0) {
            return Err(io::Error::other("the process has ended"));
        }
        self.faults.crash_in = self.faults.crash_in.map(|left| left - 1);
        self.operations += 1;
        Ok(())
    }
}

/// Counts a fault down; true when it is due.
fn due(fault: &mut Option<u32>) -> bool {
    match fault {
        Some(0) => {
            *fault = None;
            true
        }
        Some(left) => {
            *left -= 1;
            false
        }
        None => false,
    }
}

fn not_found() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "there is no such file")
}

impl LogFiles for SimFiles {
    fn folder(&self) -> String {
        "simulated".to_owned()
    }

    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        let mut state = self.state();
        if std::mem::replace(&mut state.locked, true) {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "another process has the folder"));
        }
        Ok(Box::new(SimLock(self.clone())))
    }

    fn sector_bytes(&self) -> u32 {
        self.state().sector_bytes
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state().names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        let mut state = self.state();
        state.operate(self.boot)?;
        let number = state.next_inode();
        state.inodes.insert(number, Inode::default());
        state.names.insert(name.to_owned(), number);
        state.changes.push(Change::Add(name.to_owned(), number));
        Ok(Arc::new(SimFile { files: self.clone(), number }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        let number = *self.state().names.get(name).ok_or_else(not_found)?;
        Ok(Arc::new(SimFile { files: self.clone(), number }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.operate(self.boot)?;
        let number = *state.names.get(from).ok_or_else(not_found)?;
        let change = Change::Move(from.to_owned(), to.to_owned(), number);
        change.clone().apply(&mut state.names);
        state.changes.push(change);
        Ok(())
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.operate(self.boot)?;
        state.names.remove(name).ok_or_else(not_found)?;
        state.changes.push(Change::Remove(name.to_owned()));
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut state = self.state();
        state.operate(self.boot)?;
        if state.faults.ignore_syncs {
            return Ok(());
        }
        let failed = due(&mut state.faults.fail_sync_in);
        if !failed {
            for change in std::mem::take(&mut state.changes) {
                change.apply(&mut state.durable_names);
            }
        }
        if failed { Err(io::Error::other("the device has failed")) } else { Ok(()) }
    }
}

struct SimLock(SimFiles);

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if state.boot == self.0.boot {
            state.locked = false;
        }
    }
}

#[derive(Debug)]
struct SimFile {
    files: SimFiles,
    number: u64,
}

impl SimFile {
    fn with<T>(&self, run: impl FnOnce(&mut Inode) -> io::Result<T>) -> io::Result<T> {
        self.files.state().inodes.get_mut(&self.number).ok_or_else(not_found).and_then(run)
    }
}

impl LogFile for SimFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.files.state();
        state.operate(self.files.boot)?;
        let sector_bytes = state.sector_length();
        let failed = due(&mut state.faults.fail_write_in);
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        // A failed write leaves its first half.
        let bytes = if failed { &bytes[..bytes.len() / 2] } else { bytes };
        let end = start + bytes.len();
        let inode = state.inodes.get_mut(&self.number).ok_or_else(not_found)?;
        if inode.cache.len() < end {
            inode.cache.resize(end, 0);
        }
        inode.cache[start..end].copy_from_slice(bytes);
        inode.dirty.extend(start / sector_bytes..end.div_ceil(sector_bytes));
        if failed { Err(io::Error::other("the device is full")) } else { Ok(()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.files.state();
        state.operate(self.files.boot)?;
        if state.faults.ignore_syncs {
            return Ok(());
        }
        let failed = due(&mut state.faults.fail_sync_in);
        let sector_bytes = state.sector_length();
        let inode = state.inodes.get_mut(&self.number).ok_or_else(not_found)?;
        let dirty = std::mem::take(&mut inode.dirty);
        if failed {
            return Err(io::Error::other("the device has failed"));
        }
        inode.disk.resize(inode.cache.len(), 0);
        for sector in dirty {
            let range = sector * sector_bytes..((sector + 1) * sector_bytes).min(inode.cache.len());
            inode.disk[range.clone()].copy_from_slice(&inode.cache[range]);
        }
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.with(|inode| {
            let start = usize::try_from(offset).map_err(io::Error::other)?;
            let bytes = inode.cache.get(start..start + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            buffer.copy_from_slice(bytes);
            Ok(())
        })
    }

    fn length(&self) -> io::Result<u64> {
        self.with(|inode| u64::try_from(inode.cache.len()).map_err(io::Error::other))
    }
}
