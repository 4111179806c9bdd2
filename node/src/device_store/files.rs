//! The store's view of its file system, as traits: so that tests inject what disks do.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Advice, FallocateFlags};

/// One segment file. Reads and writes name their offset; nothing here keeps a position.
pub trait SegmentFile: Send + Sync + fmt::Debug {
    /// Reads exactly as many bytes as `bytes` is long.
    ///
    /// # Errors
    /// `UnexpectedEof` past the end, else what the file system says.
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all bytes; after an error any part of them may be written.
    ///
    /// # Errors
    /// What the file system says.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// What the file system says; nothing written since the last success can be relied on then.
    fn sync_data(&self) -> io::Result<()>;

    /// Gives the bytes back to the file system; they read as zero afterwards.
    ///
    /// # Errors
    /// What the file system says, also that it can't do this.
    fn punch(&self, offset: u64, length: u64) -> io::Result<()>;

    /// Length in bytes.
    ///
    /// # Errors
    /// What the file system says.
    fn length(&self) -> io::Result<u64>;

    /// Cuts or extends the file.
    ///
    /// # Errors
    /// What the file system says.
    fn set_length(&self, length: u64) -> io::Result<()>;

    /// Drops clean pages from the cache, so that the next read is the disk's answer.
    ///
    /// # Errors
    /// What the file system says.
    fn forget_cached(&self) -> io::Result<()>;
}

/// Total and free bytes of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Its size.
    pub total_bytes: u64,
    /// What an unprivileged process may still write.
    pub free_bytes: u64,
}

/// Opens segment files.
pub trait DeviceFiles: Send + Sync + fmt::Debug {
    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// What the file system says.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn SegmentFile>>;

    /// Creates a file that must not exist.
    ///
    /// # Errors
    /// What the file system says.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn SegmentFile>>;

    /// The space of the file system that holds the folder.
    ///
    /// # Errors
    /// What the file system says.
    fn space(&self, folder: &Path) -> io::Result<Space>;
}

/// The real file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemFiles;

impl DeviceFiles for SystemFiles {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn SegmentFile>> {
        Ok(Arc::new(SystemFile(OpenOptions::new().read(true).write(true).open(path)?)))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn SegmentFile>> {
        Ok(Arc::new(SystemFile(OpenOptions::new().read(true).write(true).create_new(true).open(path)?)))
    }

    fn space(&self, folder: &Path) -> io::Result<Space> {
        let found = rustix::fs::statvfs(folder)?;
        Ok(Space { total_bytes: found.f_blocks.saturating_mul(found.f_frsize), free_bytes: found.f_bavail.saturating_mul(found.f_frsize) })
    }
}

#[derive(Debug)]
struct SystemFile(File);

impl SegmentFile for SystemFile {
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(bytes, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(rustix::fs::fallocate(&self.0, flags, offset, length)?)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn forget_cached(&self) -> io::Result<()> {
        Ok(rustix::fs::fadvise(&self.0, 0, None, Advice::DontNeed)?)
    }
}

/// Makes what was created, renamed or removed in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Puts a file in place at once and durably: under a temporary name, synced, renamed, the folder synced.
pub(super) fn replace_file(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = folder.join(format!("{name}.tmp"));
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(&temporary)?;
    file.write_all_at(bytes, 0)?;
    file.sync_all()?;
    std::fs::rename(&temporary, folder.join(name))?;
    sync_folder(folder)
}
