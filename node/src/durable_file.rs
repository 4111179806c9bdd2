//! Small files that must survive a power cut: written beside, synced, renamed, the folder synced.
//!
//! Invariant: a reader finds the file as it was before or as it is now, never a part of it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Permissions of a file only its owner may read.
pub const MODE_SECRET: u32 = 0o600;
/// Permissions of a file that everybody may read.
pub const MODE_PLAIN: u32 = 0o644;

/// A file that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct FileError {
    /// What was tried: read, write, create.
    pub action: &'static str,
    /// Which file or folder.
    pub path: PathBuf,
    /// Why it failed.
    pub source: io::Error,
}

impl FileError {
    /// Names what was tried on which path.
    pub fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { action, path: path.to_owned(), source }
    }
}

/// Replaces a file by `bytes`, durably; `mode` are its permissions from its first moment on.
///
/// # Errors
/// [`FileError`] if any step failed; the old file is then still there, or the new one whole.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = path.with_file_name(name);
    let written = || -> io::Result<()> {
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _gone => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_folder(parent(path))
    };
    written().map_err(FileError::at("write", path))
}

/// Reads a file of at most `limit` bytes; `None` if there is none.
///
/// # Errors
/// [`FileError`] if it exists but cannot be read, or is longer.
pub fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, FileError> {
    let read = || -> io::Result<Option<Vec<u8>>> {
        let length = match fs::metadata(path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if length > limit {
            return Err(io::Error::other(format!("it has {length} bytes where at most {limit} are expected")));
        }
        fs::read(path).map(Some)
    };
    read().map_err(FileError::at("read", path))
}

/// Makes a folder with its parents, durably; a new one is readable by its owner only.
///
/// # Errors
/// [`FileError`] if it cannot be made or is not a folder.
pub fn create_folder(path: &Path) -> Result<(), FileError> {
    if path.is_dir() {
        return Ok(());
    }
    let made = || -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()).take(2).try_for_each(sync_folder)
    };
    made().map_err(FileError::at("create the folder", path))
}

/// Makes the names in a folder durable.
///
/// # Errors
/// Whatever opening or syncing it gave.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_with_the_mode_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        write(&path, b"one", MODE_PLAIN).unwrap();
        write(&path, b"two", MODE_SECRET).unwrap();
        assert_eq!(read(&path, 10).unwrap().unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside");
        assert!(read(&path, 2).unwrap_err().to_string().contains("at most 2"));
        assert!(read(&folder.path().join("none"), 2).unwrap().is_none());
    }
}
