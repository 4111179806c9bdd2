//! Tests of the device store as a whole, on real files, with faults put in below it.

mod device;
mod faults;
mod folder;
mod format;
mod model;
mod recovery;
mod rocks;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use skep_placement::checksum::block_checksums;
use skep_placement::ids::{
    BootNumber, ChunkId, ClusterId, DatasourceId, DeviceId, Epoch, InstanceId, NodeId, PgId, PoolId, Stamp, WriteId,
};
use skep_placement::profile::Code;
use tokio::sync::mpsc;

use super::*;
use faults::FaultyFiles;

/// A device in a folder that goes with the test.
struct Bench {
    folder: tempfile::TempDir,
    files: FaultyFiles,
    indexes: MemoryIndexes,
    events: mpsc::Receiver<DeviceEvent>,
    event_sender: mpsc::Sender<DeviceEvent>,
}

fn identity() -> DeviceIdentity {
    DeviceIdentity { cluster: ClusterId([7; 16]), node: NodeId(1), device: DeviceId(12) }
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (event_sender, events) = mpsc::channel(10_000);
        Self { folder, files: FaultyFiles::default(), indexes: MemoryIndexes::default(), events, event_sender }
    }

    fn options(&self) -> DeviceOptions {
        let mut options = DeviceOptions::new(self.folder.path(), identity(), Arc::new(self.indexes.clone()));
        options.initialize = true;
        options.segment_bytes = 512 * 1024;
        options.reserve_bytes = 0;
        options.readers = 2;
        options.open_files_max = 2;
        options.events = Some(self.event_sender.clone());
        options.files = Arc::new(self.files.clone());
        options
    }

    fn open(&self) -> DeviceStore {
        DeviceStore::open(self.options()).expect("the device opens")
    }

    /// Forgets the index, as if its folder had been removed.
    fn lose_index(&mut self) {
        self.indexes = MemoryIndexes::default();
    }

    fn segment_paths(&self) -> Vec<PathBuf> {
        let folder = self.folder.path().join(SEGMENT_FOLDER);
        let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).expect("a folder").map(|file| file.expect("a file").path()).collect();
        paths.sort();
        paths
    }

    /// The only segment of a class.
    fn segment_path(&self, class: &str) -> PathBuf {
        let is_class = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(class));
        let found: Vec<PathBuf> = self.segment_paths().into_iter().filter(is_class).collect();
        assert_eq!(found.len(), 1, "one segment of class {class}");
        found[0].clone()
    }

    fn taken_events(&mut self) -> Vec<DeviceEvent> {
        std::iter::from_fn(|| self.events.try_recv().ok()).collect()
    }
}

impl DeviceStore {
    /// Ends the threads without a last word to the index, as a crash does.
    async fn crash(self) {
        self.end().await;
    }
}

fn pg(index: u32) -> PgId {
    PgId { pool: PoolId(3), index }
}

/// The key of the test's shard of that number.
fn key(number: u64) -> ShardKey {
    let [low, ..] = number.to_le_bytes();
    let write = WriteId { node: NodeId(1), boot: BootNumber(2), counter: number };
    ShardKey { instance: InstanceId { chunk: ChunkId([low; 32]), write }, shard: low % 3 }
}

/// The test's shard of that number; its bytes follow from number and length.
fn shard(number: u64, length: u32) -> ShardRecord {
    let header = ShardHeader {
        datasource: DatasourceId(5),
        instance: key(number).instance,
        shard: key(number).shard,
        code: Code::new(2, 1).expect("a code"),
        began: Stamp(1_000_000 + number),
        pg: pg(u32::try_from(number % 4).expect("below 4")),
        epoch: Epoch(10),
        plaintext_length: 2 * length,
        payload_length: length,
        key_version: (number % 2 == 1).then_some(9),
    };
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let payload: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    })
    .take(length as usize)
    .collect();
    let checksums = block_checksums(header.key().address(), &payload);
    ShardRecord { header, checksums, payload: Bytes::from(payload) }
}

async fn read_all(store: &DeviceStore, key: ShardKey) -> Result<ShardBlocks, ReadError> {
    store.read(key, 0..u32::MAX).await
}

/// Asserts that a shard is read back as it was written.
async fn assert_stored(store: &DeviceStore, written: &ShardRecord) {
    let found = read_all(store, written.header.key()).await.expect("the shard is read");
    assert_eq!(found.header, written.header, "its header");
    assert!(found.payload == written.payload, "its bytes");
    assert_eq!(found.checksums, written.checksums, "its checksums");
}

fn flip_bit(path: &Path, bit: u64) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).expect("the segment");
    let mut byte = [0];
    file.read_exact_at(&mut byte, bit / 8).expect("a byte");
    byte[0] ^= 1 << (bit % 8);
    file.write_all_at(&byte, bit / 8).expect("a byte");
}
