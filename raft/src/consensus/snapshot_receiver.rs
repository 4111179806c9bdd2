//! Receives a snapshot beside the state in force: every file is checked against its length and checksum and made durable before openraft hears of it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use tokio_stream::{Stream, StreamExt};
use tonic::Status;

use super::limits;
use super::replica_state::{ReplicaState, read_applied};
use super::snapshot::{SnapshotFolder, sync_parent};
use super::stores::StoreFactory;
use crate::types::SnapshotMeta;
use crate::wire::raft::v1::{SnapshotFile, SnapshotPart};

/// Receives the files that the first part announced, and checks that they hold what the sender said.
pub(crate) async fn receive(
    state: &ReplicaState,
    stores: Arc<dyn StoreFactory>,
    announced: Vec<SnapshotFile>,
    meta: SnapshotMeta,
    parts: impl Stream<Item = Result<SnapshotPart, Status>>,
) -> Result<Arc<SnapshotFolder>, Status> {
    check_names(&announced)?;
    let mut parts = std::pin::pin!(parts);
    let folder = Arc::new(state.new_incoming());
    let mut writing = blocking({
        let folder = Arc::clone(&folder);
        move || Writing::begin(&folder)
    })
    .await?;
    for (place, file) in announced.iter().enumerate() {
        let path = folder.path().join(&file.name);
        writing = blocking(move || writing.create(&path)).await?;
        loop {
            let part = tokio::time::timeout(limits::SNAPSHOT_DEADLINE, parts.next()).await;
            let part = part.map_err(|_elapsed| Status::deadline_exceeded("the next part of the snapshot does not come"))?;
            let part = part.ok_or_else(|| Status::invalid_argument("the snapshot ends before its last file"))??;
            if usize::try_from(part.file).ok() != Some(place) {
                return Err(Status::invalid_argument("a part of the snapshot is out of order"));
            }
            let (last, crc32c, length) = (part.last, part.crc32c, file.length);
            writing = blocking(move || writing.write(&part.data)).await?;
            if last {
                writing = blocking(move || writing.finish(length, crc32c)).await?;
                break;
            }
        }
    }
    let checked = Arc::clone(&folder);
    blocking(move || check_content(&checked, stores.as_ref(), &meta)).await?;
    Ok(folder)
}

/// Names are those of plain files, each once.
fn check_names(files: &[SnapshotFile]) -> Result<(), Status> {
    let mut names = BTreeSet::new();
    let plain = |name: &str| !name.is_empty() && name.len() <= 255 && !name.starts_with('.') && !name.contains(['/', '\0']);
    if files.len() > limits::SNAPSHOT_FILES_MAX || !files.iter().all(|file| plain(&file.name) && names.insert(file.name.as_str())) {
        return Err(Status::invalid_argument("the snapshot's list of files is not one of plain, different names"));
    }
    Ok(())
}

fn check_content(folder: &SnapshotFolder, stores: &dyn StoreFactory, meta: &SnapshotMeta) -> io::Result<()> {
    File::open(folder.path())?.sync_all()?;
    let covers = read_applied(stores.peek(folder.path()).map_err(io::Error::other)?.as_ref())?;
    if covers == *meta { Ok(()) } else { Err(io::Error::other("the snapshot does not cover what its sender said")) }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, Status> {
    let done = tokio::task::spawn_blocking(work).await.map_err(io::Error::other).flatten();
    done.map_err(|error| Status::internal(format!("cannot receive the snapshot: {error}")))
}

/// The file that is being written.
#[derive(Default)]
struct Writing {
    file: Option<File>,
    length: u64,
    crc32c: u32,
}

impl Writing {
    fn begin(folder: &SnapshotFolder) -> io::Result<Self> {
        fs::create_dir(folder.path())?;
        sync_parent(folder.path())?;
        Ok(Self::default())
    }

    fn create(self, path: &std::path::Path) -> io::Result<Self> {
        Ok(Self { file: Some(File::create_new(path)?), length: 0, crc32c: 0 })
    }

    fn write(mut self, data: &Bytes) -> io::Result<Self> {
        let file = self.file.as_mut().ok_or_else(|| io::Error::other("no file is open"))?;
        file.write_all(data)?;
        self.length += u64::try_from(data.len()).map_err(io::Error::other)?;
        self.crc32c = crc32c::crc32c_append(self.crc32c, data);
        Ok(self)
    }

    fn finish(self, length: u64, crc32c: u32) -> io::Result<Self> {
        if (self.length, self.crc32c) != (length, crc32c) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a file did not arrive as it was sent"));
        }
        self.file.ok_or_else(|| io::Error::other("no file is open"))?.sync_all()?;
        Ok(Self::default())
    }
}
