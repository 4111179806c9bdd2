//! The folder of one run's clusters: one run at a time in it, and what an earlier one was kept from removing goes first.

use std::fs::{self, File};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use crate::fault::Fault;

/// What folders of clusters begin with.
const PREFIX: &str = "skep-bench-";
/// What must be free on its file system for a few rows, above what nodes leave free.
const FREE_BYTES_MIN: u64 = 10 << 30;
/// And for a run of all: nothing is given back before a cluster ends.
const FREE_BYTES_MIN_OF_ALL: u64 = 54 << 30;
/// Nodes refuse writes below one part in so many of the disk.
const LEFT_FREE_PART: u64 = 20;

/// Makes the folder this run's until the file is dropped.
///
/// # Errors
/// If another run is in it.
pub fn take(folder: &Path) -> Result<File, Fault> {
    let cannot = |error: &dyn std::fmt::Display| Fault::io("use", folder.display(), error);
    fs::create_dir_all(folder).map_err(|error| cannot(&error))?;
    let lock = File::create(folder.join("bench.lock")).map_err(|error| cannot(&error))?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_taken| {
        Fault::new(format!("another benchmark runs in {}", folder.display())).advise("Wait for it: two would measure each other")
    })?;
    for entry in fs::read_dir(folder).map_err(|error| cannot(&error))?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            fs::remove_dir_all(entry.path()).map_err(|error| Fault::io("remove", entry.path().display(), error))?;
        }
    }
    Ok(lock)
}

/// Checks that there is room for what a run writes.
///
/// # Errors
/// If there is not.
pub fn check_room(folder: &Path, all_rows: bool) -> Result<(), Fault> {
    let cannot = |error: &dyn std::fmt::Display| Fault::io("look at", folder.display(), error);
    let stat = rustix::fs::statvfs(folder).map_err(|error| cannot(&error))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let left_free = stat.f_blocks.saturating_mul(stat.f_frsize) / LEFT_FREE_PART;
    let wanted = left_free + if all_rows { FREE_BYTES_MIN_OF_ALL } else { FREE_BYTES_MIN };
    if free < wanted {
        let why = format!("{} GiB are free in {}, {} are wanted", free >> 30, folder.display(), wanted >> 30);
        return Err(Fault::new(why).advise("Choose another folder with --dir, or a few rows with --rows"));
    }
    Ok(())
}

/// A folder for one cluster; goes with its value.
///
/// # Errors
/// If it cannot be made.
pub fn cluster_folder(below: &Path) -> Result<TempDir, Fault> {
    let made = tempfile::Builder::new().prefix(PREFIX).tempdir_in(below);
    made.map_err(|error| Fault::io("make a folder in", below.display(), error))
}

#[cfg(test)]
mod tests {
    use super::{cluster_folder, take};

    #[test]
    fn one_run_at_a_time_and_leftovers_go() {
        let folder = tempfile::tempdir().unwrap();
        let left = cluster_folder(folder.path()).unwrap().keep();
        let other = folder.path().join("other");
        std::fs::create_dir(&other).unwrap();
        let lock = take(folder.path()).unwrap();
        assert!(!left.exists() && other.exists());
        assert!(take(folder.path()).unwrap_err().to_string().contains("another benchmark"));
        drop(lock);
        assert!(take(folder.path()).is_ok());
    }
}
