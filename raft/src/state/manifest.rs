//! Manifests: the chunks of a content in order, in parts of 1,024.
//!
//! Invariant: every part but the last is full and says where its first chunk begins, so that a place in the content is found by halving.

use skep_placement::ids::{ChunkId, ContentId};

use crate::keys::ManifestKey;
use crate::state::limits::MANIFEST_PART_CHUNKS;
use crate::state::transaction::{Transaction, take};
use crate::state::{chunk, read};
use crate::store::{ReadState, StateError};
use crate::wire::meta::v1::{ContentRecord, ManifestChunk, ManifestPart};

/// Chunks in a full part.
const PART: u64 = MANIFEST_PART_CHUNKS as u64;

/// Adds a chunk at the end; the content's record is the caller's to write. Parts are written when they are full and by [`Appending::finish`].
pub(crate) struct Appending {
    content: ContentId,
    part: Option<(u64, ManifestPart)>,
}

impl Appending {
    pub(crate) fn to(content: ContentId) -> Self {
        Self { content, part: None }
    }

    pub(crate) fn push(
        &mut self,
        transaction: &mut Transaction<'_>,
        record: &mut ContentRecord,
        chunk: ManifestChunk,
    ) -> Result<(), StateError> {
        let number = record.chunks / PART;
        let mut part = match self.part.take() {
            Some((current, part)) if current == number => part,
            finished => {
                self.write(transaction, finished);
                if record.chunks.is_multiple_of(PART) {
                    ManifestPart { chunks: Vec::new(), offset: record.size }
                } else {
                    read::expect(transaction.state(), &ManifestKey { content: self.content, part: number })?
                }
            }
        };
        record.chunks += 1;
        record.size += u64::from(chunk.length);
        part.chunks.push(chunk);
        self.part = Some((number, part));
        Ok(())
    }

    pub(crate) fn finish(mut self, transaction: &mut Transaction<'_>) {
        let last = self.part.take();
        self.write(transaction, last);
    }

    fn write(&self, transaction: &mut Transaction<'_>, part: Option<(u64, ManifestPart)>) {
        if let Some((number, part)) = part {
            transaction.put(&ManifestKey { content: self.content, part: number }, &part);
        }
    }
}

/// Takes the last part off and gives its references back; the content's record is the caller's to write.
pub(crate) fn release_last_part(
    transaction: &mut Transaction<'_>,
    content: ContentId,
    record: &mut ContentRecord,
) -> Result<(), StateError> {
    let Some(last) = record.chunks.checked_sub(1) else { return Ok(()) };
    let key = ManifestKey { content, part: last / PART };
    let part = read::expect(transaction.state(), &key)?;
    for place in &part.chunks {
        chunk::release(transaction, read::stored_id::<ChunkId>(&place.chunk, "a chunk id")?)?;
        take(&mut record.chunks, 1, "chunks of a content")?;
        take(&mut record.size, u64::from(place.length), "bytes of a content")?;
    }
    transaction.delete(&key);
    Ok(())
}

/// The number of the part that holds a byte of a content with chunks.
pub(crate) fn part_of(state: &dyn ReadState, content: ContentId, record: &ContentRecord, offset: u64) -> Result<u64, StateError> {
    let (mut low, mut high) = (0, record.chunks.saturating_sub(1) / PART);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if read::expect(state, &ManifestKey { content, part: middle })?.offset <= offset {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    Ok(low)
}

/// How many parts a content has.
pub(crate) fn parts(record: &ContentRecord) -> u64 {
    record.chunks.div_ceil(PART)
}
