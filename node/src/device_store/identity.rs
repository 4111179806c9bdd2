//! Whose folder a device folder is: `skep-device.json`, and the lock that keeps a second process out.
//!
//! The file names cluster, node and device, and the inode it was created as: a copied folder has another inode and is
//! refused, because two copies of one device would both acknowledge and each lack what the other has.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use skep_placement::ids::{ClusterId, DeviceId, NodeId};

use super::errors::OpenError;
use super::fences::FENCE_FILE;
use super::files::sync_folder;
use super::segment_set::SEGMENT_FOLDER;

/// Name of the identity file in a device folder.
pub const IDENTITY_FILE: &str = "skep-device.json";

const TEMPORARY: &str = "skep-device.json.tmp";
const LOCK_FILE: &str = "skep-device.lock";
const FORMAT: u32 = 1;

/// The cluster, node and device a folder belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceIdentity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
    /// The device.
    pub device: DeviceId,
}

impl std::fmt::Display for DeviceIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "device {} of node {} in cluster {}", self.device, self.node, self.cluster)
    }
}

/// The identity file of format 1.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: u32,
    cluster: String,
    node: u64,
    device: u64,
    inode: u64,
    crc32c: String,
}

/// Read before all else, so that a newer format is named as such.
#[derive(Deserialize)]
struct StoredFormat {
    format: u32,
}

impl Stored {
    fn new(identity: DeviceIdentity, inode: u64) -> Self {
        let DeviceIdentity { cluster, node, device } = identity;
        let mut stored =
            Self { format: FORMAT, cluster: cluster.to_string(), node: node.0, device: device.0, inode, crc32c: String::new() };
        stored.crc32c = stored.checksum();
        stored
    }

    fn checksum(&self) -> String {
        let Self { format, cluster, node, device, inode, .. } = self;
        format!("{:08x}", crc32c::crc32c(format!("{format} {cluster} {node} {device} {inode}").as_bytes()))
    }
}

/// Locks the folder for this process; the lock ends with the file.
pub(super) fn lock(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join(LOCK_FILE);
    let opened = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let file = opened.map_err(|source| OpenError::io(&path, source))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::Locked { folder: folder.to_owned() }),
        Err(error) => Err(OpenError::io(&path, error.into())),
    }
}

/// Whether the folder has nothing that someone may miss. What an unfinished initialization left is no such thing.
pub(super) fn is_vacant(folder: &Path) -> io::Result<bool> {
    let fences_unfinished = format!("{FENCE_FILE}.tmp");
    // A new file system has `lost+found`.
    let ours = ["lost+found", LOCK_FILE, TEMPORARY, FENCE_FILE, &fences_unfinished];
    for file in std::fs::read_dir(folder)? {
        let file = file?;
        let name = file.file_name();
        let is_empty_segments = name == SEGMENT_FOLDER && std::fs::read_dir(file.path())?.next().is_none();
        if !is_empty_segments && !ours.iter().any(|our| name == *our) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Writes the identity of a folder that has none.
pub(super) fn write(folder: &Path, identity: DeviceIdentity) -> Result<(), OpenError> {
    let temporary = folder.join(TEMPORARY);
    let written = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&temporary)?;
        let stored = Stored::new(identity, file.metadata()?.ino());
        let text = serde_json::to_string_pretty(&stored).map_err(io::Error::other)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&temporary, folder.join(IDENTITY_FILE))?;
        sync_folder(folder)
    };
    written().map_err(|source| OpenError::io(&temporary, source))
}

/// Reads whose folder it is; `None` for a folder without an identity file.
///
/// # Errors
/// [`OpenError`] if the file can't be read or believed.
pub fn identity_of(folder: &Path) -> Result<Option<DeviceIdentity>, OpenError> {
    match exists(folder) {
        Ok(true) => read(folder).map(|(found, _inode)| Some(found)),
        Ok(false) => Ok(None),
        Err(source) => Err(OpenError::io(folder, source)),
    }
}

/// Reads the identity file: whose folder it is, and the inode it was written as.
fn read(folder: &Path) -> Result<(DeviceIdentity, u64), OpenError> {
    let path = folder.join(IDENTITY_FILE);
    let text = std::fs::read_to_string(&path).map_err(|source| OpenError::io(&path, source))?;
    let damaged = || OpenError::IdentityDamaged { folder: folder.to_owned() };
    let StoredFormat { format } = serde_json::from_str(&text).map_err(|_not_json| damaged())?;
    if format != FORMAT {
        return Err(OpenError::Format { folder: folder.to_owned(), found: format, known: FORMAT });
    }
    let stored: Stored = serde_json::from_str(&text).map_err(|_not_format_1| damaged())?;
    if stored.crc32c != stored.checksum() {
        return Err(damaged());
    }
    let cluster = stored.cluster.parse().map_err(|_no_id| damaged())?;
    Ok((DeviceIdentity { cluster, node: NodeId(stored.node), device: DeviceId(stored.device) }, stored.inode))
}

/// Reads the identity file and compares it with what the configuration says this folder is.
pub(super) fn check(folder: &Path, expected: DeviceIdentity, accept_moved: bool) -> Result<(), OpenError> {
    let (found, written_as) = read(folder)?;
    if found != expected {
        return Err(OpenError::Foreign { folder: folder.to_owned(), found, expected });
    }
    let path = folder.join(IDENTITY_FILE);
    let inode = std::fs::metadata(&path).map_err(|source| OpenError::io(&path, source))?.ino();
    if written_as != inode {
        if !accept_moved {
            return Err(OpenError::Cloned { folder: folder.to_owned(), identity: found });
        }
        write(folder, expected)?;
    }
    Ok(())
}

/// Whether the folder has an identity file.
pub(super) fn exists(folder: &Path) -> io::Result<bool> {
    std::fs::exists(folder.join(IDENTITY_FILE))
}
