//! Sends a snapshot file by file in parts; each file's checksum goes with its last part, so that every byte is read once.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use openraft::raft::SnapshotResponse;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use super::limits;
use super::snapshot::SnapshotFolder;
use super::state_machine::Snapshot;
use crate::format::raft_types::{FormatError, decode_vote, encode_snapshot_meta, encode_vote};
use crate::types::{TypeConfig, Vote};
use crate::wire::raft::v1::raft_client::RaftClient;
use crate::wire::raft::v1::{Envelope, SnapshotFile, SnapshotPart, SnapshotReply};

/// Why a snapshot did not arrive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error("cannot read the snapshot: {0}")]
    Read(#[from] io::Error),
    #[error("the receiver refused the snapshot: {0}")]
    Refused(#[from] tonic::Status),
    #[error("the receiver did not take a part, or answer, in time")]
    Timeout,
    #[error("the receiver's answer is malformed: {0}")]
    Malformed(#[from] FormatError),
}

/// Sends a whole snapshot and waits until it is installed.
pub(crate) async fn send(
    mut client: RaftClient<Channel>,
    envelope: Envelope,
    vote: Vote,
    snapshot: Snapshot,
) -> Result<SnapshotResponse<TypeConfig>, SendError> {
    let (parts, taken) = mpsc::channel(2);
    let header = SnapshotPart {
        envelope: Some(envelope),
        vote: encode_vote(&vote),
        meta: encode_snapshot_meta(&snapshot.meta),
        ..SnapshotPart::default()
    };
    let mut answer = std::pin::pin!(client.install_snapshot(ReceiverStream::new(taken)));
    let sent = tokio::select! {
        // A receiver that refuses, or follows another leader, answers before it has everything.
        reply = &mut answer => return read_answer(reply),
        sent = send_parts(parts, header, snapshot.snapshot) => sent,
    };
    match (sent, tokio::time::timeout(limits::SNAPSHOT_DEADLINE, answer).await) {
        (Err(error @ SendError::Read(_)), _) => Err(error),
        (_, Ok(reply)) => read_answer(reply),
        (_, Err(_elapsed)) => Err(SendError::Timeout),
    }
}

fn read_answer(reply: Result<tonic::Response<SnapshotReply>, tonic::Status>) -> Result<SnapshotResponse<TypeConfig>, SendError> {
    Ok(SnapshotResponse::new(decode_vote(&reply?.into_inner().vote)?))
}

async fn send_parts(parts: mpsc::Sender<SnapshotPart>, mut header: SnapshotPart, folder: Arc<SnapshotFolder>) -> Result<(), SendError> {
    let files = {
        let folder = Arc::clone(&folder);
        tokio::task::spawn_blocking(move || folder.files()).await.map_err(io::Error::other)??
    };
    header.files = files.iter().map(|(name, length)| SnapshotFile { name: name.clone(), length: *length }).collect();
    send_part(&parts, header).await?;
    for (place, (name, length)) in files.iter().enumerate() {
        let mut reading = Reading::open(&folder, name, *length, place).await?;
        loop {
            let (part, next) = reading.next().await?;
            let last = part.last;
            send_part(&parts, part).await?;
            if last {
                break;
            }
            reading = next;
        }
    }
    Ok(())
}

async fn send_part(parts: &mpsc::Sender<SnapshotPart>, part: SnapshotPart) -> Result<(), SendError> {
    // A receiver that has gone says why in its answer.
    parts.send_timeout(part, limits::SNAPSHOT_DEADLINE).await.map_err(|_late_or_gone| SendError::Timeout)
}

/// A file that is read part by part on blocking threads.
struct Reading {
    file: File,
    place: u32,
    left: u64,
    crc32c: u32,
}

impl Reading {
    async fn open(folder: &SnapshotFolder, name: &str, length: u64, place: usize) -> io::Result<Self> {
        let path = folder.path().join(name);
        let file = tokio::task::spawn_blocking(move || File::open(path)).await.map_err(io::Error::other)??;
        let place = u32::try_from(place).map_err(io::Error::other)?;
        Ok(Self { file, place, left: length, crc32c: 0 })
    }

    async fn next(self) -> io::Result<(SnapshotPart, Self)> {
        tokio::task::spawn_blocking(move || self.read()).await.map_err(io::Error::other)?
    }

    fn read(mut self) -> io::Result<(SnapshotPart, Self)> {
        let part_bytes = u64::try_from(limits::SNAPSHOT_PART_BYTES).map_err(io::Error::other)?;
        let length = usize::try_from(self.left.min(part_bytes)).map_err(io::Error::other)?;
        let mut data = vec![0; length];
        self.file.read_exact(&mut data)?;
        self.left -= self.left.min(part_bytes);
        self.crc32c = crc32c::crc32c_append(self.crc32c, &data);
        let last = self.left == 0;
        let crc32c = if last { self.crc32c } else { 0 };
        let part = SnapshotPart { file: self.place, data: Bytes::from(data), last, crc32c, ..SnapshotPart::default() };
        Ok((part, self))
    }
}
