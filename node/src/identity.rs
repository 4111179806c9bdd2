//! Whose data folder this is: `skep-node.json` with cluster, node and boot number, and the lock that keeps a second process out.
//!
//! Invariants: a boot number is durable before the process that bears it does anything else, and is never borne twice; a folder of another
//! cluster, of another format or of a running process is refused with a sentence.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use skep_placement::ids::{BootNumber, ClusterId, Generation, NodeId, RaftId};

use crate::durable_file::{self, FileError, MODE_PLAIN};

/// Name of the identity file in the data folder.
pub const IDENTITY_FILE: &str = "skep-node.json";

const LOCK_FILE: &str = "skep-node.lock";
const FORMAT: u32 = 1;
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// How far a node has come on its way into a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Membership {
    /// `skep init` has begun and not ended; nothing was acknowledged yet.
    Forming,
    /// Taken in by a cluster; no process has run on it yet, so that it has no log.
    Joined,
    /// A node of the cluster that has run.
    Member,
}

/// What the identity file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeIdentity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
    /// Its first placement in the system group, by which it enters that group.
    pub system_raft_id: RaftId,
    /// The system group's generation when it entered.
    pub system_generation: Generation,
    /// Whether it is a node of the cluster yet.
    pub membership: Membership,
    /// The boot number of the last process; 0 if none ran.
    pub boot: BootNumber,
}

impl fmt::Display for NodeIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} of cluster {}", self.node, self.cluster)
    }
}

/// A data folder that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Never initialised.
    #[error(
        "the data folder {} belongs to no cluster yet: begin one with `skep init --config FILE`, or enter one with `skep join --config FILE --token TOKEN`",
        folder.display()
    )]
    Vacant {
        /// The folder.
        folder: PathBuf,
    },
    /// Init has not ended.
    #[error(
        "`skep init` was interrupted on the data folder {}: run it again, it starts over (nothing was stored yet)",
        folder.display()
    )]
    Forming {
        /// The folder.
        folder: PathBuf,
    },
    /// In use by a cluster.
    #[error("the data folder {} belongs to {found} already: a new cluster or a new node needs an empty folder", folder.display())]
    Occupied {
        /// The folder.
        folder: PathBuf,
        /// Whose it is.
        found: NodeIdentity,
    },
    /// Of another cluster than the master key.
    #[error(
        "the data folder {} belongs to {found}, but the master key is of cluster {expected}: name the folder and the key file of one cluster",
        folder.display()
    )]
    Foreign {
        /// The folder.
        folder: PathBuf,
        /// Whose it is.
        found: NodeIdentity,
        /// Whose it should be.
        expected: ClusterId,
    },
    /// Another process holds it.
    #[error("the data folder {} is in use by another skep process{}: stop that one first", folder.display(), pid_text(*pid))]
    Running {
        /// The folder.
        folder: PathBuf,
        /// The process, if it is known.
        pid: Option<u32>,
    },
    /// A format this version does not know.
    #[error("the data folder {} has format {found}; this version of skep knows format {FORMAT}: run the version that wrote it", folder.display())]
    Format {
        /// The folder.
        folder: PathBuf,
        /// Its format.
        found: u32,
    },
    /// Damage.
    #[error("{} is damaged: take it from a backup, or let the node enter the cluster anew with an empty data folder", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// Something else is in the way.
    #[error("the data folder {} holds no skep node, but other files ({example}): name an empty folder", folder.display())]
    NotEmpty {
        /// The folder.
        folder: PathBuf,
        /// One of them.
        example: String,
    },
    /// The folder cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

fn pid_text(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

/// The identity file of format 1.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: u32,
    cluster: String,
    node: u64,
    system_raft_id: u64,
    system_generation: u64,
    membership: Membership,
    boot: u64,
    crc32c: String,
}

/// Read before all else, so that a newer format is named as such.
#[derive(Deserialize)]
struct StoredFormat {
    format: u32,
}

impl Stored {
    fn checksum(&self) -> String {
        let Self { format, cluster, node, system_raft_id, system_generation, membership, boot, .. } = self;
        let text = format!("{format} {cluster} {node} {system_raft_id} {system_generation} {membership:?} {boot}");
        format!("{:08x}", crc32c::crc32c(text.as_bytes()))
    }
}

/// A data folder that this process alone uses; the lock ends with the value.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    _lock: File,
}

impl DataFolder {
    /// Locks the folder for this process; makes it if it is missing.
    ///
    /// # Errors
    /// [`IdentityError::Running`] while another process has it, or it cannot be made.
    pub fn lock(path: &Path) -> Result<Self, IdentityError> {
        durable_file::create_folder(path)?;
        let lock_path = path.join(LOCK_FILE);
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&lock_path);
        let mut file = opened.map_err(FileError::at("open", &lock_path))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let read = file.read_to_string(&mut text);
                let pid = read.ok().and_then(|_length| text.trim().parse().ok());
                return Err(IdentityError::Running { folder: path.to_owned(), pid });
            }
            Err(error) => return Err(FileError::at("lock", &lock_path)(error.into()).into()),
        }
        let mut note_pid = || -> std::io::Result<()> {
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            writeln!(file, "{}", std::process::id())
        };
        note_pid().map_err(FileError::at("write", &lock_path))?;
        Ok(Self { path: path.to_owned(), _lock: file })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose folder it is; `None` if it holds nothing.
    ///
    /// # Errors
    /// [`IdentityError`] if it holds something that is no node of this format.
    pub fn identity(&self) -> Result<Option<NodeIdentity>, IdentityError> {
        read_identity(&self.path)
    }

    /// Checks that the folder can become a new node: it holds nothing, or what an interrupted `skep init` left.
    ///
    /// # Errors
    /// [`IdentityError::Occupied`] or [`IdentityError::NotEmpty`].
    pub fn check_vacant(&self) -> Result<(), IdentityError> {
        match self.identity()? {
            Some(NodeIdentity { membership: Membership::Forming, .. }) => return Ok(()),
            Some(found) => return Err(IdentityError::Occupied { folder: self.path.clone(), found }),
            None => {}
        }
        for entry in fs::read_dir(&self.path).map_err(FileError::at("list", &self.path))? {
            let name = entry.map_err(FileError::at("list", &self.path))?.file_name();
            // A new file system has lost+found; what is ours was left by an interrupted join and is used again.
            let own = ["lost+found", LOCK_FILE, "skep-node.json.new", "tls", "known-nodes.json", "known-nodes.json.new", "devices"];
            if !own.iter().any(|known| name == *known) {
                return Err(IdentityError::NotEmpty { folder: self.path.clone(), example: name.to_string_lossy().into_owned() });
            }
        }
        Ok(())
    }

    /// Writes whose folder this is, durably.
    ///
    /// # Errors
    /// The file cannot be written.
    ///
    /// # Panics
    /// Never: the fields are plain numbers and texts.
    pub fn write(&self, identity: NodeIdentity) -> Result<(), IdentityError> {
        let mut stored = Stored {
            format: FORMAT,
            cluster: identity.cluster.to_string(),
            node: identity.node.0,
            system_raft_id: identity.system_raft_id.0,
            system_generation: identity.system_generation.0,
            membership: identity.membership,
            boot: identity.boot.0,
            crc32c: String::new(),
        };
        stored.crc32c = stored.checksum();
        let text = serde_json::to_string_pretty(&stored).expect("plain fields are JSON");
        durable_file::write(&self.path.join(IDENTITY_FILE), text.as_bytes(), MODE_PLAIN)?;
        Ok(())
    }

    /// Notes that the node has run, so that a missing log is a loss from now on and never a beginning.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn note_run(&self, identity: NodeIdentity) -> Result<NodeIdentity, IdentityError> {
        let member = NodeIdentity { membership: Membership::Member, ..identity };
        if member != identity {
            self.write(member)?;
        }
        Ok(member)
    }

    /// Takes the next boot number, durably, for the node of this cluster.
    ///
    /// # Errors
    /// [`IdentityError`] if the folder is no member's, or another cluster's.
    pub fn begin_boot(&self, cluster: ClusterId) -> Result<NodeIdentity, IdentityError> {
        let found = require_member(&self.path)?;
        if found.cluster != cluster {
            return Err(IdentityError::Foreign { folder: self.path.clone(), found, expected: cluster });
        }
        let booted = NodeIdentity { boot: BootNumber(found.boot.0 + 1), ..found };
        self.write(booted)?;
        Ok(booted)
    }
}

/// Reads whose folder this is without locking it; `None` if there is no identity file.
///
/// # Errors
/// [`IdentityError::Format`], [`IdentityError::Damaged`] or an unreadable file.
pub fn read_identity(folder: &Path) -> Result<Option<NodeIdentity>, IdentityError> {
    let path = folder.join(IDENTITY_FILE);
    let Some(text) = durable_file::read(&path, FILE_BYTES_MAX)? else {
        return Ok(None);
    };
    let damaged = || IdentityError::Damaged { path: path.clone() };
    let StoredFormat { format } = serde_json::from_slice(&text).map_err(|_not_json| damaged())?;
    if format != FORMAT {
        return Err(IdentityError::Format { folder: folder.to_owned(), found: format });
    }
    let stored: Stored = serde_json::from_slice(&text).map_err(|_not_format_1| damaged())?;
    if stored.crc32c != stored.checksum() {
        return Err(damaged());
    }
    Ok(Some(NodeIdentity {
        cluster: stored.cluster.parse().map_err(|_no_id| damaged())?,
        node: NodeId(stored.node),
        system_raft_id: RaftId(stored.system_raft_id),
        system_generation: Generation(stored.system_generation),
        membership: stored.membership,
        boot: BootNumber(stored.boot),
    }))
}

/// Reads whose folder this is; only a member's is good.
///
/// # Errors
/// [`IdentityError::Vacant`] or [`IdentityError::Forming`] with what to do, and those of [`read_identity`].
pub fn require_member(folder: &Path) -> Result<NodeIdentity, IdentityError> {
    match read_identity(folder)? {
        Some(NodeIdentity { membership: Membership::Forming, .. }) => Err(IdentityError::Forming { folder: folder.to_owned() }),
        Some(found) => Ok(found),
        None => Err(IdentityError::Vacant { folder: folder.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: ClusterId = ClusterId([1; 16]);

    fn member() -> NodeIdentity {
        NodeIdentity {
            cluster: CLUSTER,
            node: NodeId(3),
            system_raft_id: RaftId(9),
            system_generation: Generation(1),
            membership: Membership::Member,
            boot: BootNumber(0),
        }
    }

    fn sentence(result: Result<impl Sized, IdentityError>) -> String {
        result.err().expect("it is refused").to_string()
    }

    #[test]
    fn each_start_has_a_boot_number_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataFolder::lock(folder.path()).unwrap();
        data.write(member()).unwrap();
        assert_eq!(data.begin_boot(CLUSTER).unwrap().boot, BootNumber(1));
        assert_eq!(data.begin_boot(CLUSTER).unwrap().boot, BootNumber(2));
        drop(data);
        let again = DataFolder::lock(folder.path()).unwrap();
        assert_eq!(again.begin_boot(CLUSTER).unwrap(), NodeIdentity { boot: BootNumber(3), ..member() });
    }

    #[test]
    fn a_running_process_keeps_others_out() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataFolder::lock(folder.path()).unwrap();
        let refused = sentence(DataFolder::lock(folder.path()));
        assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
        drop(data);
        DataFolder::lock(folder.path()).unwrap();
    }

    #[test]
    fn another_cluster_another_format_and_damage_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataFolder::lock(folder.path()).unwrap();
        assert!(sentence(data.begin_boot(CLUSTER)).contains("skep init"));
        data.write(NodeIdentity { membership: Membership::Forming, ..member() }).unwrap();
        assert!(sentence(data.begin_boot(CLUSTER)).contains("interrupted"));
        data.check_vacant().unwrap();
        data.write(member()).unwrap();
        assert!(sentence(data.begin_boot(ClusterId([2; 16]))).contains("belongs to node 3 of cluster 01010101"));
        assert!(sentence(data.check_vacant()).contains("already"));
        let path = folder.path().join(IDENTITY_FILE);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("\"format\": 1", "\"format\": 2, \"new\": true")).unwrap();
        assert!(sentence(data.identity()).contains("format 2"));
        fs::write(&path, text.replace("\"node\": 3", "\"node\": 4")).unwrap();
        assert!(sentence(data.identity()).contains("damaged"));
        fs::write(&path, "").unwrap();
        assert!(sentence(data.identity()).contains("damaged"));
    }

    #[test]
    fn a_folder_with_other_files_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataFolder::lock(folder.path()).unwrap();
        data.check_vacant().unwrap();
        fs::write(folder.path().join("photos.zip"), "").unwrap();
        assert!(sentence(data.check_vacant()).contains("photos.zip"));
    }
}
