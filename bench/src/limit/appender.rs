//! A file that grows by what waits, with one fdatasync for all of it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use bytes::Bytes;
use tokio::sync::oneshot;

/// Written at once at most.
const BATCH_BYTES_MAX: usize = 8 << 20;
/// Batches begin on it, as a store must so that no write touches what an earlier one made durable.
const SECTOR_BYTES: u64 = 4096;

struct Waiting {
    bytes: Bytes,
    written: oneshot::Sender<u64>,
}

/// The file and the thread that writes it.
#[derive(Clone, Debug)]
pub(super) struct Appender {
    queue: mpsc::Sender<Waiting>,
    file: Arc<File>,
    syncs: Arc<AtomicU64>,
}

/// Where an appender writes next.
struct Writer {
    file: Arc<File>,
    syncs: Arc<AtomicU64>,
    offset: u64,
    /// Goes round in so many bytes that exist already; `None`: grows.
    ring_bytes: Option<u64>,
}

impl Appender {
    /// A file that grows.
    pub(super) fn growing(path: &Path) -> io::Result<Self> {
        Self::start(path, None)
    }

    /// A file of fixed length that is written round and round: the fastest log there can be, since its blocks are there already.
    pub(super) fn ring(path: &Path, length: u64) -> io::Result<Self> {
        Self::start(path, Some(length))
    }

    fn start(path: &Path, ring_bytes: Option<u64>) -> io::Result<Self> {
        let file = Arc::new(File::options().read(true).write(true).create(true).truncate(true).open(path)?);
        if let Some(length) = ring_bytes {
            // Page by page: the kernel counts what is written later by the pieces the cache holds it in, and those are as large as this makes them.
            let zeros = vec![0; usize::try_from(SECTOR_BYTES).map_err(io::Error::other)?];
            for block in 0..length / SECTOR_BYTES {
                file.write_all_at(&zeros, block * SECTOR_BYTES)?;
            }
            file.sync_all()?;
        }
        let syncs = Arc::new(AtomicU64::new(0));
        let (queue, waiting) = mpsc::channel();
        let mut writer = Writer { file: Arc::clone(&file), syncs: Arc::clone(&syncs), offset: 0, ring_bytes };
        std::thread::Builder::new().name("appender".to_owned()).spawn(move || writer.run(&waiting))?;
        Ok(Self { queue, file, syncs })
    }

    /// Writes; durable when it returns the place.
    pub(super) async fn append(&self, bytes: Bytes) -> io::Result<u64> {
        let (written, wait) = oneshot::channel();
        let ended = || io::Error::other("the writer has ended");
        self.queue.send(Waiting { bytes, written }).map_err(|_gone| ended())?;
        wait.await.map_err(|_gone| ended())
    }

    /// Reads what was written.
    pub(super) async fn read(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let file = Arc::clone(&self.file);
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, offset)?;
            Ok(Bytes::from(bytes))
        });
        read.await.map_err(io::Error::other)?
    }

    /// Calls of fdatasync so far.
    pub(super) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }
}

impl Writer {
    /// Ends the process if the disk does not take what it must.
    fn run(&mut self, waiting: &mpsc::Receiver<Waiting>) {
        while let Ok(first) = waiting.recv() {
            let mut batch = vec![first];
            let mut length = batch.iter().map(|one| one.bytes.len()).sum::<usize>();
            while length < BATCH_BYTES_MAX
                && let Ok(next) = waiting.try_recv()
            {
                length += next.bytes.len();
                batch.push(next);
            }
            if self.write(batch).is_err() {
                return;
            }
        }
    }

    fn write(&mut self, batch: Vec<Waiting>) -> io::Result<()> {
        self.offset = self.offset.next_multiple_of(SECTOR_BYTES);
        let length: u64 = batch.iter().map(|one| u64::try_from(one.bytes.len()).expect("usize fits u64")).sum();
        if self.ring_bytes.is_some_and(|ring| self.offset + length > ring) {
            self.offset = 0;
        }
        let mut places = Vec::with_capacity(batch.len());
        let mut joined = Vec::new();
        for one in &batch {
            places.push(self.offset);
            // Small ones go down in one call, large ones without a copy.
            if length <= 1 << 20 {
                joined.extend_from_slice(&one.bytes);
            } else {
                self.file.write_all_at(&one.bytes, self.offset)?;
            }
            self.offset += u64::try_from(one.bytes.len()).expect("usize fits u64");
        }
        if let (Some(first), false) = (places.first(), joined.is_empty()) {
            self.file.write_all_at(&joined, *first)?;
        }
        self.file.sync_data()?;
        self.syncs.fetch_add(1, Ordering::Relaxed);
        for (one, place) in batch.into_iter().zip(places) {
            let _gone = one.written.send(place);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::Appender;

    #[tokio::test]
    async fn what_was_appended_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let appender = Appender::growing(&folder.path().join("x")).unwrap();
        for text in ["one", "another"] {
            let place = appender.append(Bytes::from(text)).await.unwrap();
            assert_eq!(appender.read(place, text.len()).await.unwrap(), text);
        }
        assert_eq!(appender.syncs(), 2);
    }

    #[tokio::test]
    async fn a_ring_stays_as_long_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let ring = Appender::ring(&path, 1 << 20).unwrap();
        for _ in 0..5 {
            ring.append(vec![7; 400_000].into()).await.unwrap();
        }
        assert_eq!(path.metadata().unwrap().len(), 1 << 20);
    }
}
