//! The device store: shards on one data directory.
//!
//! A device is one folder with segment files, to which records are appended, and an index that can be made anew from
//! them. It knows nothing of other devices: who wants which shard here is decided elsewhere. One thread writes, some
//! read; callers wait for their answers asynchronously.
//!
//! **What [`DeviceStore::put`] has acknowledged is durable, and is read back as it was or not at all.** Nothing is
//! overwritten, and nothing is deleted but by [`DeviceStore::delete`].

mod appender;
mod batch;
mod errors;
mod events;
mod failpoints;
mod fences;
mod fields;
mod files;
mod identity;
mod index;
mod inspect;
pub mod limits;
pub mod metrics;
mod options;
mod reader;
mod record;
mod recovery;
mod requests;
mod scan;
mod segment;
mod segment_set;
mod shard;
mod shared;
#[cfg(test)]
mod tests;
mod usage;
mod writer;

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use skep_placement::ids::{ChunkId, DeviceId, Epoch, PgId};
use tokio::sync::{mpsc, oneshot};

pub use errors::{ChangeError, IndexError, OpenError, PutError, ReadError};
pub use events::DeviceEvent;
pub use failpoints::{FAILPOINTS, SKIP_SYNC};
pub use files::{DeviceFiles, SegmentFile, Space, SystemFiles};
pub use identity::{DeviceIdentity, IDENTITY_FILE, identity_of};
pub use index::{Change, IndexBackend, IndexProvider, KeyValue, MemoryIndexes, RocksIndexes};
pub use inspect::{InspectedRecord, SegmentInspection, inspect_segment};
pub use options::{DeviceOptions, OptionFault};
pub use record::{Location, RecordHeader, RecordKind};
pub use segment::{RecordFault, SegmentClass, SegmentHeader};
pub use shard::{HeaderFault, ShardBlocks, ShardHeader, ShardKey, ShardRecord};
pub use usage::{DeviceState, DeviceUsage};

use events::Events;
use fences::{FENCE_FILE, Fences};
use requests::{Answer, ReadRequest, WriteRequest};
use segment_set::{SEGMENT_FOLDER, SegmentSet};
use shared::{Parts, Shared};
use writer::Writer;

/// One open device.
#[derive(Debug)]
pub struct DeviceStore {
    shared: Arc<Shared>,
    /// `None` once the store is closed.
    queues: RwLock<Option<Queues>>,
    /// Closes when the last thread has ended.
    ended: tokio::sync::Mutex<mpsc::Receiver<Infallible>>,
}

#[derive(Clone, Debug)]
struct Queues {
    writes: mpsc::Sender<WriteRequest>,
    reads: mpsc::Sender<ReadRequest>,
}

impl DeviceStore {
    /// Opens a device: checks whose folder it is, locks it, and brings its index up to date. Blocks for as long as the
    /// scan of what the index lacks takes: call it where blocking is allowed.
    ///
    /// # Errors
    /// [`OpenError`], a sentence that names the folder and what to do.
    pub fn open(options: DeviceOptions) -> Result<DeviceStore, OpenError> {
        let faults = options.validate();
        if !faults.is_empty() {
            return Err(OpenError::Options(faults));
        }
        let folder = options.folder.as_path();
        let io = |source| OpenError::io(folder, source);
        if !std::fs::exists(folder).map_err(io)? {
            return Err(OpenError::Missing { folder: folder.to_owned() });
        }
        let lock = admit(&options)?;
        let fences = read_fences(folder, options.identity.device)?;
        let files = Arc::clone(&options.files);
        let segments = SegmentSet::list(folder, options.identity, files, options.open_files_max).map_err(io)?;
        let segments = Arc::new(segments);
        let events = Events { device: options.identity.device, sender: options.events.clone() };
        let recovery::Recovered { index, appender, corrupt } = recovery::recover(&options, &segments, &events)?;
        let shared = Arc::new(Shared::new(Parts {
            folder: folder.to_owned(),
            identity: options.identity,
            files: Arc::clone(&options.files),
            segments,
            index,
            events,
            lock,
        }));
        shared.count(&shared.counts.corrupt, metrics::RECORDS_CORRUPT, corrupt);
        let writer = Writer::new(Arc::clone(&shared), appender, fences, &options);
        start(shared, writer, &options).map_err(io)
    }

    /// Which device it is.
    pub fn device(&self) -> DeviceId {
        self.shared.identity.device
    }

    /// Stores a shard durably. Storing the same again succeeds and changes nothing; if what is stored is found damaged
    /// it is replaced.
    ///
    /// # Errors
    /// [`PutError`]; after `Failed` it is unknown whether the shard is stored.
    ///
    /// # Cancel safety
    /// The shard may be stored or not when the future is dropped.
    pub async fn put(&self, record: ShardRecord) -> Result<(), PutError> {
        let (answer, answered) = oneshot::channel();
        let writes = self.queues().ok_or(PutError::Closed)?.writes;
        writes.send(WriteRequest::Put { record, answer }).await.map_err(|_closed| PutError::Closed)?;
        drop(writes);
        answered.await.unwrap_or_else(|_ended| Err(PutError::Failed { reason: self.unanswered() }))
    }

    /// Deletes a shard durably and frees its space; false if it wasn't there.
    ///
    /// # Errors
    /// [`ChangeError`]; after `Failed` it is unknown whether the shard is deleted.
    ///
    /// # Cancel safety
    /// The shard may be deleted or not when the future is dropped.
    pub async fn delete(&self, key: ShardKey) -> Result<bool, ChangeError> {
        self.change(|answer| WriteRequest::Delete { key, answer }).await
    }

    /// Refuses writes for the placement group with an epoch below this one from now on, durably. Returns the lowest
    /// epoch taken now, which is a higher one if the group was fenced further. Every write acknowledged before is found
    /// by a listing made after this.
    ///
    /// # Errors
    /// [`ChangeError`]; after `Failed` it is unknown whether the fence holds after a restart.
    ///
    /// # Cancel safety
    /// The fence may hold or not when the future is dropped.
    pub async fn fence(&self, pg: PgId, epoch: Epoch) -> Result<Epoch, ChangeError> {
        self.change(|answer| WriteRequest::Fence { pg, epoch, answer }).await
    }

    /// Reads blocks of a shard; an end past its last block means all from the first on. Every byte returned has passed
    /// its checksum.
    ///
    /// # Errors
    /// [`ReadError`]; after `Corrupt` an event has been sent.
    pub async fn read(&self, key: ShardKey, blocks: Range<u32>) -> Result<ShardBlocks, ReadError> {
        self.ask(|answer| ReadRequest::Read { key, blocks, answer }).await
    }

    /// What is known of a shard, without reading it; `None` if it isn't here.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn stat(&self, key: ShardKey) -> Result<Option<ShardHeader>, ReadError> {
        self.ask(|answer| ReadRequest::Stat { key, answer }).await
    }

    /// All shards of a chunk, of every instance, in the order write, shard; at most `LIST_LIMIT_MAX`.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn find(&self, chunk: ChunkId) -> Result<Vec<ShardHeader>, ReadError> {
        self.ask(|answer| ReadRequest::Find { chunk, answer }).await
    }

    /// Shards of a placement group after the one named, in the order chunk, write, shard; at most `limit` and at most
    /// `LIST_LIMIT_MAX`. The listing is at its end when it is empty.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn list_pg(&self, pg: PgId, after: Option<ShardKey>, limit: usize) -> Result<Vec<ShardHeader>, ReadError> {
        self.ask(|answer| ReadRequest::List { pg, after, limit, answer }).await
    }

    /// How the device is.
    ///
    /// # Errors
    /// What the file system says when asked for its space.
    pub fn usage(&self) -> io::Result<DeviceUsage> {
        usage::measure(&self.shared)
    }

    /// Ends the threads, flushes the index and lets the folder go. Requests that wait are done before; later ones get
    /// `Closed`. Closing twice is no error.
    ///
    /// # Errors
    /// [`ChangeError::Failed`] if the device was out or the index can't be flushed: the next start scans more.
    pub async fn close(&self) -> Result<(), ChangeError> {
        let result = match self.change(|answer| WriteRequest::Close { answer }).await {
            Err(ChangeError::Closed) => Ok(()),
            other => other,
        };
        self.end().await;
        self.shared.unlock();
        result
    }

    /// Lets the queues go and waits until the threads have ended.
    async fn end(&self) {
        self.queues.write().unwrap_or_else(PoisonError::into_inner).take();
        let nothing = self.ended.lock().await.recv().await;
        debug_assert!(nothing.is_none(), "no one can send on this channel");
    }

    fn queues(&self) -> Option<Queues> {
        self.queues.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn change<T>(&self, request: impl FnOnce(Answer<Result<T, ChangeError>>) -> WriteRequest) -> Result<T, ChangeError> {
        let (answer, answered) = oneshot::channel();
        let writes = self.queues().ok_or(ChangeError::Closed)?.writes;
        writes.send(request(answer)).await.map_err(|_closed| ChangeError::Closed)?;
        drop(writes);
        answered.await.unwrap_or_else(|_ended| Err(ChangeError::Failed { reason: self.unanswered() }))
    }

    async fn ask<T>(&self, request: impl FnOnce(Answer<Result<T, ReadError>>) -> ReadRequest) -> Result<T, ReadError> {
        let (answer, answered) = oneshot::channel();
        let reads = self.queues().ok_or(ReadError::Closed)?.reads;
        reads.send(request(answer)).await.map_err(|_closed| ReadError::Closed)?;
        drop(reads);
        answered.await.unwrap_or(Err(ReadError::Closed))
    }

    /// Why a request got no answer.
    fn unanswered(&self) -> String {
        self.shared.failure().unwrap_or("its writing thread ended").to_owned()
    }
}

/// Locks the folder, makes it a device if that is asked for, and checks whose it is.
fn admit(options: &DeviceOptions) -> Result<File, OpenError> {
    let DeviceOptions { folder, identity, .. } = options;
    let io = |source| OpenError::io(folder, source);
    let is_device = identity::exists(folder).map_err(io)?;
    if !is_device && !options.initialize {
        return Err(OpenError::NotADevice { folder: folder.clone() });
    }
    if !is_device && !identity::is_vacant(folder).map_err(io)? {
        return Err(OpenError::NotEmpty { folder: folder.clone() });
    }
    let lock = identity::lock(folder)?;
    // Another process may have been faster.
    if !identity::exists(folder).map_err(io)? {
        std::fs::create_dir_all(folder.join(SEGMENT_FOLDER)).map_err(io)?;
        Fences::new(identity.device).write(folder).map_err(io)?;
        // Last, so that a folder with an identity is a whole device.
        identity::write(folder, *identity)?;
    }
    identity::check(folder, *identity, options.accept_moved)?;
    Ok(lock)
}

fn read_fences(folder: &Path, device: DeviceId) -> Result<Fences, OpenError> {
    let path = folder.join(FENCE_FILE);
    let damaged = || OpenError::FencesDamaged { folder: folder.to_owned() };
    match std::fs::read(&path) {
        Ok(bytes) => Fences::decode(&bytes, device).ok_or_else(damaged),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(damaged()),
        Err(error) => Err(OpenError::io(&path, error)),
    }
}

/// Starts the threads.
fn start(shared: Arc<Shared>, writer: Writer, options: &DeviceOptions) -> io::Result<DeviceStore> {
    let device = shared.identity.device;
    let (writes, write_queue) = mpsc::channel(options.queue_max);
    let (reads, read_queue) = mpsc::channel(options.queue_max);
    let (running, ended) = mpsc::channel::<Infallible>(1);
    let read_queue = Arc::new(Mutex::new(read_queue));
    for _reader in 0..options.readers {
        let (shared, queue, running) = (Arc::clone(&shared), Arc::clone(&read_queue), running.clone());
        std::thread::Builder::new().name(format!("device-{device}-read")).spawn(move || {
            reader::run(&shared, &queue);
            // Before the word that this thread has ended, so that the folder's lock goes with the last of them.
            drop(shared);
            drop(running);
        })?;
    }
    let failing = Arc::clone(&shared);
    std::thread::Builder::new().name(format!("device-{device}-write")).spawn(move || {
        let is_panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| writer.run(write_queue))).is_err();
        if is_panic {
            failing.fail("its writing thread panicked");
        }
        drop(failing);
        drop(running);
    })?;
    Ok(DeviceStore { shared, queues: RwLock::new(Some(Queues { writes, reads })), ended: tokio::sync::Mutex::new(ended) })
}
