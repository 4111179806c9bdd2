//! A snapshot: a folder with a copy of a state, which is removed when nobody holds it any more.
//!
//! What it covers is read from the copy itself, never from the state it was made of, because that goes on meanwhile.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::replica_state::read_applied;
use super::stores::{ReplicaStore, StoreFactory};
use crate::types::SnapshotMeta;

/// A folder that vanishes with its last holder, unless it was moved away.
#[derive(Debug)]
pub struct SnapshotFolder {
    path: PathBuf,
    moved: AtomicBool,
}

impl SnapshotFolder {
    /// Takes over a folder, which need not exist yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, moved: AtomicBool::new(false) }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it another place, durably, where it stays.
    ///
    /// # Errors
    /// As the system says.
    pub fn move_to(&self, target: &Path) -> io::Result<()> {
        fs::rename(&self.path, target)?;
        self.moved.store(true, Ordering::Release);
        sync_parent(target)
    }

    /// Lists its files by name with their lengths.
    ///
    /// # Errors
    /// As the system says; it holds something that is no file; a name is no text.
    pub fn files(&self) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            let name = entry.file_name().into_string().map_err(|name| io::Error::other(format!("{} is no text", name.display())))?;
            if !metadata.is_file() {
                return Err(io::Error::other(format!("{name} in a snapshot is no file")));
            }
            files.push((name, metadata.len()));
        }
        files.sort();
        Ok(files)
    }
}

impl Drop for SnapshotFolder {
    fn drop(&mut self) {
        if self.moved.load(Ordering::Acquire) {
            return;
        }
        match fs::remove_dir_all(&self.path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // What is left is removed at the next start.
            Err(error) => tracing::warn!(folder = %self.path.display(), %error, "cannot remove a snapshot"),
        }
    }
}

/// A folder and what it covers.
#[derive(Clone, Debug)]
pub struct BuiltSnapshot {
    /// What it covers.
    pub meta: SnapshotMeta,
    /// Where it is.
    pub folder: Arc<SnapshotFolder>,
}

/// Copies a state and reads from the copy what it covers. Blocks.
///
/// # Errors
/// The store or the file system failed.
pub fn build(store: &dyn ReplicaStore, stores: &dyn StoreFactory, folder: PathBuf) -> io::Result<BuiltSnapshot> {
    let folder = Arc::new(SnapshotFolder::new(folder));
    store.checkpoint(folder.path()).map_err(io::Error::other)?;
    fail::fail_point!("snapshot-built");
    let meta = read_applied(stores.peek(folder.path()).map_err(io::Error::other)?.as_ref())?;
    Ok(BuiltSnapshot { meta, folder })
}

/// Makes the names in the parent folder durable.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().ok_or_else(|| io::Error::other(format!("{} has no parent folder", path.display())))?;
    File::open(parent)?.sync_all()
}
