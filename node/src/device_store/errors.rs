//! What can go wrong with a device, one enum an operation.

use std::io;
use std::path::{Path, PathBuf};

use skep_placement::ids::Epoch;

use super::identity::{DeviceIdentity, IDENTITY_FILE};
use super::options::OptionFault;
use super::segment::RecordFault;
use super::shard::HeaderFault;

/// Why a device isn't opened; each says which folder and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The options contradict themselves.
    #[error("the device's options are wrong: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Options(Vec<OptionFault>),
    /// The folder isn't there.
    #[error("the device folder {} does not exist: create it or mount its disk, then start again", .folder.display())]
    Missing {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder has no identity and may not get one.
    #[error(
        "the folder {} is not a device of Skep ({IDENTITY_FILE} is missing): mount the disk that belongs there, or add the folder as a new device",
        .folder.display()
    )]
    NotADevice {
        /// The folder.
        folder: PathBuf,
    },
    /// A new device in a folder that has something in it.
    #[error("the folder {} is not empty: a new device needs an empty one; empty it or name another", .folder.display())]
    NotEmpty {
        /// The folder.
        folder: PathBuf,
    },
    /// Another process has it.
    #[error("the device folder {} is in use by another process: stop the other skep, or give this one a folder of its own", .folder.display())]
    Locked {
        /// The folder.
        folder: PathBuf,
    },
    /// It is another device.
    #[error("the folder {} is {found}, but {expected} belongs there: correct the configuration or mount the right disk", .folder.display())]
    Foreign {
        /// The folder.
        folder: PathBuf,
        /// Whose it is.
        found: DeviceIdentity,
        /// Whose it should be.
        expected: DeviceIdentity,
    },
    /// It is a copy.
    #[error(
        "the folder {} is a copy of {identity}: start with the original; if the original is gone for good, accept the copy once (accept-moved)",
        .folder.display()
    )]
    Cloned {
        /// The folder.
        folder: PathBuf,
        /// Whose copy it is.
        identity: DeviceIdentity,
    },
    /// Written by another release.
    #[error("the device folder {} has format {found}, this skep knows {known}: start the release that wrote it, or a newer one", .folder.display())]
    Format {
        /// The folder.
        folder: PathBuf,
        /// The format it has.
        found: u32,
        /// The format this build writes.
        known: u32,
    },
    /// The identity can't be believed.
    #[error("{IDENTITY_FILE} in {} is damaged: declare the device lost and add an emptied folder as a new device", .folder.display())]
    IdentityDamaged {
        /// The folder.
        folder: PathBuf,
    },
    /// The fences can't be believed.
    #[error(
        "the fences of the device in {} are missing or damaged, so it no longer knows which writes it promised to refuse: declare the device lost and add an emptied folder as a new device",
        .folder.display()
    )]
    FencesDamaged {
        /// The folder.
        folder: PathBuf,
    },
    /// The index can't be made.
    #[error("the index of the device in {} can't be opened or rebuilt: {source}", .folder.display())]
    Index {
        /// The folder.
        folder: PathBuf,
        /// What failed.
        source: IndexError,
    },
    /// The file system refuses.
    #[error("{} can't be used: {source}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
}

impl OpenError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        OpenError::Io { path: path.to_owned(), source }
    }
}

/// What the index couldn't do.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The store below failed.
    #[error("the index's store failed: {detail}")]
    Backend {
        /// Its words.
        detail: String,
    },
    /// A key or value that this build can't have written.
    #[error("the index holds an entry that is damaged or of another format")]
    Damaged,
}

/// Why a shard wasn't stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    /// The header describes no shard.
    #[error("the shard is refused: {0}")]
    Header(HeaderFault),
    /// Payload or checksums aren't as long as the header says.
    #[error("the shard's payload or checksums are not as long as its header says")]
    Length,
    /// A block changed on its way here: send it again.
    #[error("block {block} of the shard does not have its checksum")]
    Checksum {
        /// The first such block.
        block: u32,
    },
    /// The writer's view of the placement group is old: refresh it.
    #[error("the placement group is at epoch {current}")]
    StaleEpoch {
        /// The lowest epoch taken.
        current: Epoch,
    },
    /// The same shard of the same instance is stored with other bytes; nothing is overwritten.
    #[error("the shard is stored already, with another content")]
    Conflict,
    /// No space but the reserve.
    #[error("the device is full")]
    Full,
    /// The device is out; whether the shard is stored is unknown if it was being written.
    #[error("the device takes no writes: {reason}")]
    Failed {
        /// What happened.
        reason: String,
    },
    /// The store was closed.
    #[error("the device is closed")]
    Closed,
}

/// Why a fence or a deletion isn't durable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Not even the reserve has space.
    #[error("the device is full")]
    Full,
    /// The device is out; whether the change is durable is unknown.
    #[error("the device takes no writes: {reason}")]
    Failed {
        /// What happened.
        reason: String,
    },
    /// The store was closed.
    #[error("the device is closed")]
    Closed,
}

/// Why a shard can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It isn't on this device.
    #[error("the shard is not on this device")]
    NotFound,
    /// The shard has fewer blocks.
    #[error("the shard has {blocks} blocks")]
    OutOfRange {
        /// How many it has.
        blocks: u32,
    },
    /// What is stored is damaged; an event was sent.
    #[error("the stored shard is damaged: {0}")]
    Corrupt(RecordFault),
    /// The node couldn't read it, though it may be sound: try another shard, and this one later.
    #[error("the shard can't be read now: {0}")]
    Unreadable(RecordFault),
    /// The index failed and the device is out; the next start makes the index anew.
    #[error("{0}")]
    Index(IndexError),
    /// The store was closed.
    #[error("the device is closed")]
    Closed,
}
