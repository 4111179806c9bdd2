//! Writes a whole body: inline, as a chunk list, or as a registered upload.
//!
//! Invariants: memory is taken from the byte budget before a chunk's first byte is read; everything stored is durable before the result
//! names it; whatever fails or is cancelled before the result is given back, unless a command's answer is unknown.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use skep_api::ports::{BodyError, ByteStream, WriteError, WriteRequest, Written};
use skep_placement::chunk::ChunkKey;
use skep_placement::ids::{ChunkId, DatasourceId, GroupId};
use skep_placement::limits::{CHUNK_LENGTH_BYTES_MAX, INLINE_LENGTH_BYTES_MAX};
use skep_raft::errors::ProposeError;
use skep_raft::handle::Proposed;
use skep_raft::wire::meta::v1 as meta;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};

use super::Shared;
use super::chunk_store::{StoreError, identify, store};
use super::file_hashes::FileHashes;
use super::limits::{
    APPEND_AFTER, APPEND_CHUNKS_MAX, BACKGROUND_DEADLINE, BODY_IDLE_MAX, BUDGET_WAIT_MAX, CHUNKS_IN_FLIGHT_MAX, METADATA_DEADLINE,
    PERMIT_BYTES, UNREGISTERED_BYTES_MAX, UPLOAD_LEASE,
};

/// Writes a body.
pub(super) async fn write(shared: Arc<Shared>, request: WriteRequest, body: ByteStream) -> Result<Written, WriteError> {
    let mut writing = ContentWriting::new(shared, request)?;
    match writing.run(body).await {
        Ok(written) => {
            fail::fail_point!("content-before-commit");
            writing.done = true;
            Ok(written)
        }
        Err(error) => Err(error),
    }
}

/// Takes back what was written after its commit was refused.
pub(super) async fn abandon(shared: &Arc<Shared>, datasource: DatasourceId, written: Written) {
    match written.content.from {
        Some(meta::new_content::From::Chunks(list)) => shared.discard(&list.chunks),
        Some(meta::new_content::From::Upload(upload)) => abort_upload(shared, datasource, upload).await,
        Some(meta::new_content::From::Inlined(_) | meta::new_content::From::Content(_)) | None => {}
    }
}

async fn abort_upload(shared: &Arc<Shared>, datasource: DatasourceId, upload: u64) {
    let what = meta::content_command::What::AbortUpload(meta::AbortUpload { upload });
    let command = content_command(what);
    match shared.metadata.propose(GroupId::from(datasource), command, Instant::now() + BACKGROUND_DEADLINE).await {
        Ok(proposed) => shared.discard(&proposed.done.surplus),
        // Its lease ends it.
        Err(error) => tracing::info!(upload, %error, "an upload was not aborted"),
    }
}

fn content_command(what: meta::content_command::What) -> meta::Command {
    let what = Some(meta::command::What::Content(meta::ContentCommand { what: Some(what) }));
    meta::Command { what, ..meta::Command::default() }
}

/// One chunk, full or cut, with the memory it holds.
struct Cut {
    bytes: Bytes,
    permit: OwnedSemaphorePermit,
    /// The body ended with it.
    last: bool,
}

/// What a body gives next; nothing at its end.
type Piece = Option<Result<Bytes, BodyError>>;

/// A registered upload.
struct Upload {
    id: u64,
    parts: u64,
    appended_at: Instant,
}

type InFlight = FuturesOrdered<BoxFuture<'static, Result<meta::StoredChunk, StoreError>>>;

struct ContentWriting {
    shared: Arc<Shared>,
    request: WriteRequest,
    key: ChunkKey,
    begun: Instant,
    begun_stamp: u64,
    hashes: FileHashes,
    size: u64,
    rest: Bytes,
    in_flight: InFlight,
    /// Stored, not yet named by a command.
    pending: Vec<meta::StoredChunk>,
    /// Every chunk stored by this writing, so that a repeated one is not stored again.
    known: HashMap<ChunkId, meta::StoredChunk>,
    upload: Option<Upload>,
    /// A command's answer is unknown: nothing may be deleted.
    unknown: bool,
    done: bool,
}

impl Drop for ContentWriting {
    fn drop(&mut self) {
        if self.done || self.unknown {
            return;
        }
        self.shared.discard(&self.pending);
        let (shared, in_flight) = (Arc::clone(&self.shared), std::mem::take(&mut self.in_flight));
        self.shared.background.spawn(async move {
            let stored: Vec<_> = in_flight.filter_map(|stored| async { stored.ok() }).collect().await;
            shared.discard(&stored);
        });
        if let Some(upload) = self.upload.take() {
            let (shared, datasource) = (Arc::clone(&self.shared), self.request.datasource);
            self.shared.background.spawn(async move { abort_upload(&shared, datasource, upload.id).await });
        }
    }
}

impl ContentWriting {
    fn new(shared: Arc<Shared>, request: WriteRequest) -> Result<Self, WriteError> {
        let map = shared.maps.current();
        let datasource = map.datasources.get(&request.datasource);
        let key = datasource
            .map(|datasource| datasource.key.clone())
            .ok_or_else(|| unavailable(StoreError::UnknownDatasource(request.datasource)))?;
        let hashes = FileHashes::new(request.want_md5);
        Ok(Self {
            shared,
            request,
            key,
            begun: Instant::now(),
            begun_stamp: super::clock_stamp().0,
            hashes,
            size: 0,
            rest: Bytes::new(),
            in_flight: InFlight::new(),
            pending: Vec::new(),
            known: HashMap::new(),
            upload: None,
            unknown: false,
            done: false,
        })
    }

    async fn run(&mut self, mut body: ByteStream) -> Result<Written, WriteError> {
        loop {
            let cut = self.next_cut(&mut body).await?;
            self.size += u64::try_from(cut.bytes.len()).expect("usize fits u64");
            self.check_length(cut.last)?;
            self.hashes.update(&cut.bytes).await;
            if cut.last && self.is_inline() {
                let from = Some(meta::new_content::From::Inlined(cut.bytes));
                return Ok(self.written(meta::NewContent { from, key_version: 0 }));
            }
            let last = cut.last;
            if !cut.bytes.is_empty() {
                self.begin_chunk(cut).await?;
            }
            while self.in_flight.len() >= if last { 1 } else { CHUNKS_IN_FLIGHT_MAX } {
                self.finish_chunk().await?;
            }
            self.register(last).await?;
            if last {
                let from = match (&self.upload, std::mem::take(&mut self.pending)) {
                    (Some(upload), _none) => meta::new_content::From::Upload(upload.id),
                    (None, chunks) => meta::new_content::From::Chunks(meta::ChunkList { chunks }),
                };
                return Ok(self.written(meta::NewContent { from: Some(from), key_version: 0 }));
            }
        }
    }

    fn is_inline(&self) -> bool {
        let short = usize::try_from(self.size).is_ok_and(|size| size <= INLINE_LENGTH_BYTES_MAX);
        short && self.pending.is_empty() && self.in_flight.is_empty() && self.upload.is_none()
    }

    fn written(&self, content: meta::NewContent) -> Written {
        Written { size: self.size, blake3: self.hashes.blake3(), md5: self.hashes.md5(), content }
    }

    fn check_length(&self, last: bool) -> Result<(), WriteError> {
        match self.request.expected_length {
            Some(expected) if self.size > expected || (last && self.size != expected) => {
                Err(WriteError::LengthMismatch { expected, got: self.size })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Reads until a chunk is full, the body ends, or the client took too long to fill it.
    async fn next_cut(&mut self, body: &mut ByteStream) -> Result<Cut, WriteError> {
        let announced = self.request.expected_length.map(|expected| expected.saturating_sub(self.size));
        let wanted =
            announced.map_or(CHUNK_LENGTH_BYTES_MAX, |left| usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_LENGTH_BYTES_MAX));
        let mut permit = self.admit(wanted).await?;
        let mut buffer = BytesMut::with_capacity(wanted.min(64 << 10));
        let mut filling_since = None;
        loop {
            let room = CHUNK_LENGTH_BYTES_MAX - buffer.len();
            let piece = self.rest.split_to(room.min(self.rest.len()));
            buffer.extend_from_slice(&piece);
            if buffer.len() == CHUNK_LENGTH_BYTES_MAX {
                let last =
                    self.rest.is_empty() && announced.is_some_and(|left| left == u64::try_from(CHUNK_LENGTH_BYTES_MAX).expect("4 MiB"));
                if !last {
                    return Ok(Cut { bytes: buffer.freeze(), permit, last: false });
                }
                // Announced as the end: see it, so that a body that is too long is noticed.
            }
            let next = if buffer.is_empty() {
                let (piece, held) = self.first_piece(body, permit).await?;
                permit = held;
                Some(piece)
            } else {
                let since = *filling_since.get_or_insert_with(Instant::now);
                timeout(self.shared.times.chunk_fill_max.saturating_sub(since.elapsed()), body.next()).await.ok()
            };
            match next {
                Some(Some(Ok(piece))) => self.rest = piece,
                Some(Some(Err(error))) => return Err(WriteError::Body(error)),
                Some(None) => return Ok(Cut { bytes: buffer.freeze(), permit, last: true }),
                None => return Ok(Cut { bytes: buffer.freeze(), permit, last: false }),
            }
            if buffer.len() == CHUNK_LENGTH_BYTES_MAX && !self.rest.is_empty() {
                return Ok(Cut { bytes: buffer.freeze(), permit, last: false });
            }
        }
    }

    /// Waits for the first piece of a chunk. Who keeps silent gives the memory back, and waits for it anew when he goes on: a piece that has come
    /// lies in what the connection holds anyway.
    async fn first_piece(
        &mut self,
        body: &mut ByteStream,
        permit: OwnedSemaphorePermit,
    ) -> Result<(Piece, OwnedSemaphorePermit), WriteError> {
        let soon = self.shared.times.chunk_fill_max;
        if let Ok(piece) = timeout(soon, body.next()).await {
            return Ok((piece, permit));
        }
        let given_back = u32::try_from(permit.num_permits()).expect("a chunk has 4 MiB at most");
        drop(permit);
        let waited = timeout(BODY_IDLE_MAX.saturating_sub(soon), body.next()).await;
        let piece = waited.map_err(|_elapsed| WriteError::Body(BodyError::TooSlow(BODY_IDLE_MAX)))?;
        let permit = self.acquire(if piece.is_some() { given_back } else { 0 }).await?;
        Ok((piece, permit))
    }

    /// Takes memory for a chunk and its parity, first come first served.
    async fn admit(&mut self, bytes: usize) -> Result<OwnedSemaphorePermit, WriteError> {
        let permits = u32::try_from((2 * bytes).div_ceil(PERMIT_BYTES).max(1)).expect("a chunk has 4 MiB at most");
        self.acquire(permits).await
    }

    async fn acquire(&mut self, permits: u32) -> Result<OwnedSemaphorePermit, WriteError> {
        let waited = timeout(BUDGET_WAIT_MAX, Arc::clone(&self.shared.budget).acquire_many_owned(permits)).await;
        waited.map_err(|_elapsed| WriteError::TooBusy)?.map_err(|_closed| WriteError::TooBusy)
    }

    async fn begin_chunk(&mut self, cut: Cut) -> Result<(), WriteError> {
        let identified = identify(self.key.clone(), cut.bytes).await;
        if let Some(stored) = self.known.get(&identified.chunk).cloned() {
            drop(cut.permit);
            self.in_flight.push_back(Box::pin(async move { Ok(stored) }));
            return Ok(());
        }
        let (shared, datasource, permit) = (Arc::clone(&self.shared), self.request.datasource, cut.permit);
        // A task of its own: it goes on while the next chunk is read.
        let task = self.shared.background.spawn(async move {
            let stored = store(shared, datasource, identified).await;
            drop(permit);
            stored
        });
        self.in_flight.push_back(Box::pin(async move {
            task.await.unwrap_or_else(|error| Err(StoreError::Unavailable(format!("the chunk's task ended early: {error}"))))
        }));
        Ok(())
    }

    async fn finish_chunk(&mut self) -> Result<(), WriteError> {
        let Some(stored) = self.in_flight.next().await else { return Ok(()) };
        let stored = stored.map_err(unavailable)?;
        if let Ok(chunk) = ChunkId::try_from(stored.chunk.as_ref()) {
            self.known.insert(chunk, stored.clone());
        }
        self.pending.push(stored);
        Ok(())
    }

    /// Names the pending chunks by commands of an upload once the body is large or slow.
    async fn register(&mut self, last: bool) -> Result<(), WriteError> {
        let large = self.size > UNREGISTERED_BYTES_MAX || self.begun.elapsed() > self.shared.times.unregistered_max;
        if self.upload.is_none() {
            if !large {
                return Ok(());
            }
            self.open_upload().await?;
        }
        let Some(upload) = &self.upload else { return Ok(()) };
        let due = self.pending.len() >= APPEND_CHUNKS_MAX || upload.appended_at.elapsed() > APPEND_AFTER || last;
        if !due || self.pending.is_empty() {
            return Ok(());
        }
        while !self.pending.is_empty() {
            self.append().await?;
        }
        Ok(())
    }

    async fn open_upload(&mut self) -> Result<(), WriteError> {
        let open = meta::OpenUpload { begun: self.begun_stamp, lease_seconds: UPLOAD_LEASE.as_secs(), job: Bytes::new() };
        let proposed = self.propose(meta::content_command::What::OpenUpload(open)).await?;
        fail::fail_point!("upload-opened");
        self.upload = Some(Upload { id: proposed.done.number, parts: 0, appended_at: Instant::now() });
        Ok(())
    }

    async fn append(&mut self) -> Result<(), WriteError> {
        let Some(upload) = &self.upload else { return Ok(()) };
        let count = self.pending.len().min(APPEND_CHUNKS_MAX);
        let chunks: Vec<meta::StoredChunk> = self.pending.iter().take(count).cloned().collect();
        let append = meta::AppendUpload { upload: upload.id, part: upload.parts, chunks, lease_seconds: UPLOAD_LEASE.as_secs() };
        let proposed = self.propose(meta::content_command::What::AppendUpload(append)).await?;
        fail::fail_point!("upload-appended");
        self.shared.discard(&proposed.done.surplus);
        self.pending.drain(..count);
        if let Some(upload) = &mut self.upload {
            upload.parts += 1;
            upload.appended_at = Instant::now();
        }
        Ok(())
    }

    async fn propose(&mut self, what: meta::content_command::What) -> Result<Proposed, WriteError> {
        let WriteRequest { actor, rights_index, request_id, from, .. } = self.request.clone();
        let command = meta::Command { actor: Some(actor), rights_index, request_id, from, ..content_command(what) };
        let group = GroupId::from(self.request.datasource);
        let answer = self.shared.metadata.propose(group, command, Instant::now() + METADATA_DEADLINE).await;
        self.unknown |= matches!(answer, Err(ProposeError::Unknown { .. }));
        answer.map_err(WriteError::Metadata)
    }
}

fn unavailable(error: StoreError) -> WriteError {
    let why = error.to_string();
    match error {
        StoreError::NoSpace(_) => WriteError::NoSpace { why },
        StoreError::Unavailable(_) | StoreError::UnknownDatasource(_) => {
            WriteError::Unavailable { why, retry_after: std::time::Duration::from_secs(2) }
        }
    }
}
