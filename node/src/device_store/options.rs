//! How a device is opened.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::events::DeviceEvent;
use super::files::{DeviceFiles, SystemFiles};
use super::identity::DeviceIdentity;
use super::index::IndexProvider;
use super::limits::{INDEX_FLUSH_BYTES, SEGMENT_BYTES};
use super::segment::DATA_START;

/// How a device is opened.
#[derive(Clone, Debug)]
pub struct DeviceOptions {
    /// The data directory.
    pub folder: PathBuf,
    /// Whose folder this must be.
    pub identity: DeviceIdentity,
    /// Whether an empty folder becomes this device; set when the device is added, never at an ordinary start.
    pub initialize: bool,
    /// Whether a copied folder is taken for the original from now on; set for one start, by an operator.
    pub accept_moved: bool,
    /// Where the index is kept.
    pub index: Arc<dyn IndexProvider>,
    /// Where events go; the node runs on if nobody listens.
    pub events: Option<mpsc::Sender<DeviceEvent>>,
    /// The length in bytes at which a segment is sealed.
    pub segment_bytes: u64,
    /// Free bytes below which writes are refused.
    pub reserve_bytes: u64,
    /// Thousandths of the file system's size below which writes are refused; the lower of the two reserves counts.
    pub reserve_thousandths: u64,
    /// Threads that read, at least 1.
    pub readers: usize,
    /// Requests that wait in each of the two queues at most, at least 1.
    pub queue_max: usize,
    /// Segment files held open at most, at least 2.
    pub open_files_max: usize,
    /// Bytes written after which the index is flushed.
    pub index_flush_bytes: u64,
    /// The file system.
    pub files: Arc<dyn DeviceFiles>,
}

/// What is wrong with the options of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionFault {
    /// Segments without room for a record.
    #[error("segments must be between {} bytes and 4 GiB", DATA_START * 2)]
    SegmentBytes,
    /// No reader.
    #[error("a device needs between 1 and 64 reader threads")]
    Readers,
    /// No queue.
    #[error("a device's queues must hold between 1 and 65536 requests")]
    Queue,
    /// Too few files.
    #[error("a device must be allowed at least 2 open segment files")]
    OpenFiles,
    /// More than everything.
    #[error("a device's reserve must be below 1000 thousandths")]
    Reserve,
}

impl DeviceOptions {
    /// The defaults for a folder.
    pub fn new(folder: impl Into<PathBuf>, identity: DeviceIdentity, index: Arc<dyn IndexProvider>) -> Self {
        Self {
            folder: folder.into(),
            identity,
            initialize: false,
            accept_moved: false,
            index,
            events: None,
            segment_bytes: SEGMENT_BYTES,
            reserve_bytes: 16 << 30,
            reserve_thousandths: 50,
            readers: 4,
            queue_max: 256,
            open_files_max: 512,
            index_flush_bytes: INDEX_FLUSH_BYTES,
            files: Arc::new(SystemFiles),
        }
    }

    /// All that is wrong with the options.
    pub fn validate(&self) -> Vec<OptionFault> {
        let checks = [
            ((2 * DATA_START..=1 << 32).contains(&self.segment_bytes), OptionFault::SegmentBytes),
            ((1..=64).contains(&self.readers), OptionFault::Readers),
            ((1..=65_536).contains(&self.queue_max), OptionFault::Queue),
            (self.open_files_max >= 2, OptionFault::OpenFiles),
            (self.reserve_thousandths < 1000, OptionFault::Reserve),
        ];
        checks.into_iter().filter(|(holds, _fault)| !holds).map(|(_holds, fault)| fault).collect()
    }
}
