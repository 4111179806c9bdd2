//! The file trait on a real folder.

use std::any::Any;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FlockOperation;

use super::files::{LogFile, LogFiles};
use super::limits;

/// The file whose lock says that a process uses the folder.
const LOCK: &str = "LOCK";

/// A folder of the file system.
#[derive(Debug)]
pub struct DiskFiles {
    path: PathBuf,
    folder: File,
    sector_bytes: u32,
}

impl DiskFiles {
    /// Opens a folder, creating it durably if there is none.
    ///
    /// # Errors
    /// The folder can neither be opened nor be created.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        if !path.is_dir() {
            fs::create_dir_all(&path)?;
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                File::open(parent)?.sync_all()?;
            }
        }
        let folder = File::open(&path)?;
        let sector_bytes = physical_sector_bytes(&folder.metadata()?).unwrap_or(limits::SECTOR_BYTES_UNKNOWN);
        Ok(Self { path, folder, sector_bytes })
    }
}

impl LogFiles for DiskFiles {
    fn folder(&self) -> String {
        self.path.display().to_string()
    }

    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(self.path.join(LOCK))?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(file))
    }

    fn sector_bytes(&self) -> u32 {
        self.sector_bytes
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(self.path.join(name))?;
        Ok(Arc::new(DiskFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        Ok(Arc::new(DiskFile(File::open(self.path.join(name))?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.folder.sync_all()
    }
}

#[derive(Debug)]
struct DiskFile(File);

impl LogFile for DiskFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

/// Asks sysfs for the physical block size of the device a file lies on; a partition's is its disk's.
fn physical_sector_bytes(metadata: &fs::Metadata) -> Option<u32> {
    let device = format!("/sys/dev/block/{}:{}", rustix::fs::major(metadata.dev()), rustix::fs::minor(metadata.dev()));
    let device = Path::new(&device);
    ["queue", "../queue"]
        .iter()
        .find_map(|queue| fs::read_to_string(device.join(queue).join("physical_block_size")).ok())
        .and_then(|text| text.trim().parse::<u32>().ok())
        .filter(|bytes| bytes.is_power_of_two() && limits::SECTOR_BYTES.contains(bytes))
}
