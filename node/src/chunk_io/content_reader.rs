//! Streams a range of a content: chunk by chunk in order, a few fetched ahead.
//!
//! Invariant: the stream ends cleanly only after `length` bytes; anything else is an error in it.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use skep_api::ports::{BodyError, ByteStream, ReadRequest};
use skep_placement::ids::{ChunkId, DatasourceId, GroupId};
use skep_raft::wire::meta::v1 as meta;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Shared;
use super::chunk_reader::read_range;
use super::limits::{MANIFEST_PAGE, METADATA_DEADLINE, PERMIT_BYTES, READ_AHEAD_CHUNKS};

type Fetched = Result<(Bytes, Option<OwnedSemaphorePermit>), BodyError>;

/// A chunk on its way; given up when the reader goes away.
struct Fetch(JoinHandle<Fetched>);

impl Drop for Fetch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct ContentReading {
    shared: Arc<Shared>,
    datasource: DatasourceId,
    content: u64,
    /// Chunks of the manifest not begun yet.
    chunks: VecDeque<meta::PlacedChunk>,
    /// Where the first of them begins in the file.
    chunk_offset: u64,
    /// The manifest goes on after them.
    more: bool,
    /// The first byte not given to a fetch.
    position: u64,
    end: u64,
    ahead: VecDeque<Fetch>,
    given: u64,
    length: u64,
    /// Memory of the piece that the client is reading now.
    held: Option<OwnedSemaphorePermit>,
}

/// Streams a range.
pub(super) fn read(shared: Arc<Shared>, request: ReadRequest) -> ByteStream {
    let ReadRequest { datasource, first, offset, length } = request;
    if first.is_inlined {
        return Box::pin(stream::iter(inlined(&first.inlined, offset, length)));
    }
    let reading = ContentReading {
        shared,
        datasource,
        content: first.version.as_ref().map_or(0, |version| version.content),
        chunks: first.chunks.into(),
        chunk_offset: first.first_offset,
        more: first.more,
        position: offset,
        end: offset.saturating_add(length),
        ahead: VecDeque::new(),
        given: 0,
        length,
        held: None,
    };
    Box::pin(stream::unfold(Some(reading), |reading| async move {
        let mut reading = reading?;
        match reading.next().await {
            Ok(None) => None,
            Ok(Some(bytes)) => Some((Ok(bytes), Some(reading))),
            Err(error) => Some((Err(error), None)),
        }
    }))
}

fn inlined(content: &Bytes, offset: u64, length: u64) -> Option<Result<Bytes, BodyError>> {
    let begin = usize::try_from(offset).unwrap_or(usize::MAX);
    let end = usize::try_from(offset.saturating_add(length)).unwrap_or(usize::MAX);
    if begin == end {
        return None;
    }
    let within = begin < end && end <= content.len();
    Some(if within { Ok(content.slice(begin..end)) } else { Err(BodyError::Unreadable("its stored length is another".into())) })
}

impl ContentReading {
    async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        self.held = None;
        while self.ahead.len() < READ_AHEAD_CHUNKS && self.position < self.end {
            if !self.begin_fetch().await? {
                break;
            }
        }
        let Some(mut fetch) = self.ahead.pop_front() else {
            return match self.given == self.length {
                true => Ok(None),
                false => Err(BodyError::Unreadable(format!("{} of {} bytes are in its manifest", self.given, self.length))),
            };
        };
        let fetched = (&mut fetch.0).await.map_err(|error| BodyError::Unreadable(format!("the fetch ended early: {error}")))?;
        let (bytes, permit) = fetched?;
        self.held = permit;
        self.given += u64::try_from(bytes.len()).expect("usize fits u64");
        Ok(Some(bytes))
    }

    /// Begins to fetch the next chunk of the range; `false` if memory is short and something is on its way already.
    async fn begin_fetch(&mut self) -> Result<bool, BodyError> {
        if self.chunks.is_empty() {
            self.fetch_page().await?;
        }
        let Some(placed) = self.chunks.front() else {
            return Err(BodyError::Unreadable("its manifest ends before the file does".into()));
        };
        let record = placed.record.clone().unwrap_or_default();
        let length = u64::from(record.length);
        let chunk_end = self.chunk_offset + length;
        if chunk_end <= self.position {
            self.chunks.pop_front();
            self.chunk_offset = chunk_end;
            return Ok(true);
        }
        let permits = usize::try_from(record.length).expect("usize has 32 bits at least").div_ceil(PERMIT_BYTES);
        let permits = u32::try_from(permits).expect("a chunk has 4 MiB at most");
        let budget = Arc::clone(&self.shared.budget);
        let permit = if self.ahead.is_empty() {
            budget.acquire_many_owned(permits).await.ok()
        } else {
            match budget.try_acquire_many_owned(permits) {
                Ok(permit) => Some(permit),
                Err(_short) => return Ok(false),
            }
        };
        let chunk = ChunkId::try_from(placed.chunk.as_ref()).map_err(|_no_id| BodyError::Unreadable("its manifest is malformed".into()))?;
        let range = self.part(length);
        self.position = (self.chunk_offset + length).min(self.end);
        self.chunks.pop_front();
        self.chunk_offset = chunk_end;
        let (shared, datasource) = (Arc::clone(&self.shared), self.datasource);
        self.ahead.push_back(Fetch(tokio::spawn(async move {
            let bytes = read_range(&shared, datasource, chunk, &record, range).await;
            let bytes = bytes.map_err(|error| {
                tracing::error!(%datasource, %error, "a chunk cannot be read");
                BodyError::Unreadable(error.to_string())
            })?;
            Ok((bytes, permit))
        })));
        Ok(true)
    }

    /// What of the first chunk is wanted, as bytes of it.
    fn part(&self, length: u64) -> Range<usize> {
        let within = |at: u64| usize::try_from(at).expect("a chunk has 4 MiB at most");
        within(self.position - self.chunk_offset)..within((self.end - self.chunk_offset).min(length))
    }

    async fn fetch_page(&mut self) -> Result<(), BodyError> {
        if !self.more {
            return Ok(());
        }
        let query = meta::ContentQuery {
            content: self.content,
            offset: self.position,
            length: self.end - self.position,
            chunks_max: MANIFEST_PAGE,
            ..meta::ContentQuery::default()
        };
        let query = meta::Query { what: Some(meta::query::What::Content(query)) };
        let group = GroupId::from(self.datasource);
        let answer = self.shared.metadata.query(group, query, Instant::now() + METADATA_DEADLINE).await;
        match answer.map_err(|error| BodyError::Unreadable(error.to_string()))?.what {
            Some(meta::answer::What::Content(page)) => {
                self.chunks = page.chunks.into();
                self.chunk_offset = page.first_offset;
                self.more = page.more;
                Ok(())
            }
            _gone => Err(BodyError::Unreadable("its content is gone".into())),
        }
    }
}
