//! A file system that fails when it is told to, and forgets in a crash what wasn't synced.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::device_store::{DeviceFiles, SegmentFile, Space, SystemFiles};

#[derive(Clone, Debug, Default)]
pub(super) struct FaultyFiles {
    plan: Arc<Mutex<Plan>>,
}

#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) sync_error: Option<i32>,
    pub(super) write_error: Option<i32>,
    pub(super) read_error: Option<i32>,
    pub(super) free_bytes: Option<u64>,
    pub(super) syncs: u64,
    /// Up to where each file was synced.
    synced: BTreeMap<PathBuf, u64>,
}

#[derive(Debug)]
struct FaultyFile {
    path: PathBuf,
    inner: Arc<dyn SegmentFile>,
    files: FaultyFiles,
}

impl FaultyFiles {
    pub(super) fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().expect("no test panics with the plan")
    }

    /// Loses a part of what wasn't synced: cuts each file somewhere behind its synced length, `keep` of 256 parts of
    /// the rest survive; then zeros lie where `hole` of 256 parts begin.
    pub(super) fn lose_unsynced(&self, keep: u64, hole: u64) {
        for (path, synced) in &self.plan().synced {
            let Ok(file) = SystemFiles.open(path) else { continue };
            let length = file.length().expect("a length");
            let unsynced = length.saturating_sub(*synced);
            let kept = synced + unsynced * keep / 256;
            if kept < length {
                file.set_length(kept).expect("cut");
            }
            let hole_at = synced + kept.saturating_sub(*synced) * hole / 256;
            let zeros = usize::try_from(kept.saturating_sub(hole_at).min(5000)).expect("short");
            if unsynced > 0 && zeros > 0 {
                file.write_all_at(&vec![0; zeros], hole_at).expect("zeros");
            }
        }
    }
}

fn fault(error: Option<i32>) -> io::Result<()> {
    error.map_or(Ok(()), |code| Err(io::Error::from_raw_os_error(code)))
}

impl DeviceFiles for FaultyFiles {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn SegmentFile>> {
        let inner = SystemFiles.open(path)?;
        self.plan().synced.entry(path.to_owned()).or_insert(inner.length()?);
        Ok(Arc::new(FaultyFile { path: path.to_owned(), inner, files: self.clone() }))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn SegmentFile>> {
        fault(self.plan().write_error)?;
        let inner = SystemFiles.create(path)?;
        let path = path.with_extension("");
        Ok(Arc::new(FaultyFile { path, inner, files: self.clone() }))
    }

    fn space(&self, folder: &Path) -> io::Result<Space> {
        let space = SystemFiles.space(folder)?;
        let free_bytes = self.plan().free_bytes.unwrap_or(space.free_bytes);
        Ok(Space { free_bytes, ..space })
    }
}

impl SegmentFile for FaultyFile {
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        fault(self.files.plan().read_error)?;
        self.inner.read_exact_at(bytes, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Err(error) = fault(self.files.plan().write_error) {
            // Some of it is written, as when a disk fills up.
            self.inner.write_all_at(&bytes[..bytes.len() / 2], offset)?;
            return Err(error);
        }
        self.inner.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        fault(self.files.plan().sync_error)?;
        self.inner.sync_data()?;
        let length = self.inner.length()?;
        let mut plan = self.files.plan();
        plan.syncs += 1;
        plan.synced.insert(self.path.clone(), length);
        Ok(())
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        self.inner.punch(offset, length)
    }

    fn length(&self) -> io::Result<u64> {
        self.inner.length()
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.inner.set_length(length)
    }

    fn forget_cached(&self) -> io::Result<()> {
        self.inner.forget_cached()
    }
}
