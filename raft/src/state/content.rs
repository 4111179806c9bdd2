//! Contents: what versions refer to. Inline bytes, or a manifest of chunks; an open upload is a content that no version has yet.
//!
//! Invariants: a content counts the versions that refer to it, and one more while it is an open upload; each place of its manifest holds one
//! reference on its chunk.

use skep_placement::ids::{ContentId, Stamp};

use crate::keys::{self, ContentKey, Counter, UploadExpiryKey};
use crate::state::chunk::{self, named};
use crate::state::manifest::{self, Appending};
use crate::state::rejection::{Stop, invalid, refuse, required};
use crate::state::transaction::{Transaction, take, take_late};
use crate::state::{limits, read};
use crate::store::{Family, StateError};
use crate::wire::meta::v1::new_content::From;
use crate::wire::meta::v1::{ContentRecord, ManifestChunk, NewContent, PutFile, RejectionCode, StoredChunk, UploadRecord};
use bytes::Bytes;

/// A content with one more reference than before.
pub(crate) struct Taken {
    pub(crate) content: ContentId,
    /// Instances that the writer is to delete.
    pub(crate) surplus: Vec<StoredChunk>,
}

/// Makes the content of a new version, or takes a reference on one.
pub(crate) fn take_content(transaction: &mut Transaction<'_>, put: &PutFile) -> Result<Taken, Stop> {
    let new = required(put.content.as_ref(), "content")?;
    if put.size > limits::CONTENT_BYTES_MAX {
        return Err(invalid(format!("{} bytes are more than a content can have", put.size)));
    }
    match required(new.from.as_ref(), "content")? {
        From::Inlined(bytes) => inlined(transaction, put, new, bytes),
        From::Chunks(list) => chunks(transaction, put, &list.chunks),
        From::Upload(upload) => committed_upload(transaction, put, ContentId(*upload)),
        From::Content(content) => shared(transaction, put, ContentId(*content)),
    }
}

fn inlined(transaction: &mut Transaction<'_>, put: &PutFile, new: &NewContent, bytes: &Bytes) -> Result<Taken, Stop> {
    let sealed = if new.key_version == 0 { 0 } else { limits::SEAL_BYTES };
    let plain = bytes.len().checked_sub(sealed).ok_or_else(|| invalid("an encrypted content is shorter than its seal"))?;
    if plain > limits::INLINE_BYTES_MAX {
        return Err(invalid(format!("an inline content of {plain} bytes is longer than {}", limits::INLINE_BYTES_MAX)));
    }
    let plain = length(plain);
    check_size(put.size, plain)?;
    let content = ContentId(transaction.next(Counter::Content)?);
    let record = ContentRecord {
        size: plain,
        references: 1,
        inlined: true,
        blake3: put.blake3.clone(),
        key_version: new.key_version,
        ..ContentRecord::default()
    };
    transaction.put(&ContentKey { content }, &record);
    transaction.put_bytes(Family::Inline, keys::inline(content), bytes.clone());
    transaction.count(|totals| {
        totals.inline_bytes += length(bytes.len());
        totals.inline_plain_bytes += plain;
        totals.stored_bytes += length(bytes.len());
        Ok(())
    })?;
    Ok(Taken { content, surplus: Vec::new() })
}

fn chunks(transaction: &mut Transaction<'_>, put: &PutFile, list: &[StoredChunk]) -> Result<Taken, Stop> {
    let bytes: u64 = list.iter().map(|stored| u64::from(stored.length)).sum();
    check_size(put.size, bytes)?;
    if list.is_empty() || bytes > limits::CHUNK_LIST_BYTES_MAX || length(list.len()) > limits::ENTRIES_TOUCHED_MAX {
        let most = limits::CHUNK_LIST_BYTES_MAX;
        return Err(invalid(format!("a list of {} chunks with {bytes} bytes; larger than {most} bytes are uploads", list.len())));
    }
    let content = ContentId(transaction.next(Counter::Content)?);
    let mut record = ContentRecord { references: 1, blake3: put.blake3.clone(), ..ContentRecord::default() };
    let surplus = append(transaction, content, &mut record, list)?;
    transaction.put(&ContentKey { content }, &record);
    Ok(Taken { content, surplus })
}

/// Adds chunks to a content. Gives the instances that are surplus, each once.
pub(crate) fn append(
    transaction: &mut Transaction<'_>,
    content: ContentId,
    record: &mut ContentRecord,
    list: &[StoredChunk],
) -> Result<Vec<StoredChunk>, Stop> {
    let mut surplus = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    let mut appending = Appending::to(content);
    for (place, stored) in list.iter().enumerate() {
        let instance = named(stored, place)?;
        if chunk::refer(transaction, &instance, place)? && seen.insert((instance.chunk, instance.write)) {
            surplus.push(stored.clone());
        }
        appending.push(transaction, record, ManifestChunk { chunk: stored.chunk.clone(), length: stored.length })?;
    }
    appending.finish(transaction);
    Ok(surplus)
}

fn committed_upload(transaction: &mut Transaction<'_>, put: &PutFile, content: ContentId) -> Result<Taken, Stop> {
    let mut record = open_upload(transaction, content)?;
    check_size(put.size, record.size)?;
    if let Some(upload) = record.upload.take() {
        transaction.delete(&UploadExpiryKey { expires_at: Stamp(upload.expires_at), content });
    }
    record.blake3 = put.blake3.clone();
    transaction.put(&ContentKey { content }, &record);
    transaction.count(|totals| take(&mut totals.uploads_open, 1, "open uploads"))?;
    if record.chunks > 0 {
        return Ok(Taken { content, surplus: Vec::new() });
    }
    // An upload without a byte is the empty inline content.
    record.inlined = true;
    transaction.put(&ContentKey { content }, &record);
    transaction.put_bytes(Family::Inline, keys::inline(content), Bytes::new());
    Ok(Taken { content, surplus: Vec::new() })
}

fn shared(transaction: &mut Transaction<'_>, put: &PutFile, content: ContentId) -> Result<Taken, Stop> {
    let gone = || refuse(RejectionCode::InstanceGone, format!("there is no content {content} to share"));
    let key = ContentKey { content };
    let mut record = transaction.get(&key)?.ok_or_else(gone)?;
    if record.upload.is_some() || record.condemned_at != 0 {
        return Err(gone());
    }
    check_size(put.size, record.size)?;
    if record.blake3 != put.blake3 {
        return Err(refuse(RejectionCode::SizeMismatch, format!("content {content} has another hash than the version")));
    }
    record.references += 1;
    transaction.put(&key, &record);
    Ok(Taken { content, surplus: Vec::new() })
}

/// Takes one more reference on a content that a version refers to.
pub(crate) fn share(transaction: &mut Transaction<'_>, content: ContentId) -> Result<(), StateError> {
    let key = ContentKey { content };
    let mut record = read::expect(transaction.state(), &key)?;
    record.references += 1;
    transaction.put(&key, &record);
    Ok(())
}

/// Gives a reference on a content back; the last one gives its chunks back, of a large content by and by as of an upload that has expired.
pub(crate) fn release(transaction: &mut Transaction<'_>, content: ContentId) -> Result<(), StateError> {
    let key = ContentKey { content };
    let mut record = read::expect(transaction.state(), &key)?;
    take(&mut record.references, 1, "references of a content")?;
    if record.references > 0 {
        transaction.put(&key, &record);
        return Ok(());
    }
    if record.inlined {
        let (inlined, plain) = (keys::inline(content), record.size);
        let length = length(transaction.state().get(Family::Inline, &inlined)?.map_or(0, |bytes| bytes.len()));
        transaction.delete_bytes(Family::Inline, inlined);
        transaction.count(|totals| {
            take(&mut totals.inline_bytes, length, "inline bytes")?;
            take_late(&mut totals.inline_plain_bytes, plain);
            take(&mut totals.stored_bytes, length, "stored bytes")
        })?;
    }
    if manifest::parts(&record) > limits::RELEASED_PARTS_MAX {
        let stamp = transaction.stamp();
        record.references = 1;
        record.condemned_at = stamp;
        record.upload = Some(UploadRecord { opened_at: stamp, expires_at: stamp, ..UploadRecord::default() });
        transaction.put(&key, &record);
        transaction.put(&UploadExpiryKey { expires_at: Stamp(stamp), content }, &());
        return transaction.count(|totals| {
            totals.uploads_open += 1;
            Ok(())
        });
    }
    while record.chunks > 0 {
        manifest::release_last_part(transaction, content, &mut record)?;
    }
    transaction.delete(&key);
    Ok(())
}

/// An upload that takes parts and can be committed, of the one who asks.
pub(crate) fn open_upload(transaction: &Transaction<'_>, content: ContentId) -> Result<ContentRecord, Stop> {
    let not_found = || refuse(RejectionCode::UploadNotFound, format!("there is no open upload {content}"));
    let record = transaction.get(&ContentKey { content })?.ok_or_else(not_found)?;
    let upload = record.upload.as_ref().ok_or_else(not_found)?;
    let owner = upload.owner.as_ref().map_or(&[][..], |owner| &owner.user);
    let asker = &transaction.actor().user;
    if !asker.is_empty() && !owner.is_empty() && asker.as_ref() != owner {
        return Err(refuse(RejectionCode::Forbidden, format!("upload {content} belongs to another user")));
    }
    if record.condemned_at != 0 || upload.expires_at <= transaction.stamp() {
        return Err(refuse(RejectionCode::UploadExpired, format!("upload {content} has expired or was aborted")));
    }
    Ok(record)
}

/// Gives back up to `parts_max` parts of an upload that nobody will commit. How many; the upload is gone when none is left.
pub(crate) fn drop_upload(
    transaction: &mut Transaction<'_>,
    content: ContentId,
    mut record: ContentRecord,
    parts_max: u64,
) -> Result<u64, StateError> {
    let key = ContentKey { content };
    let parts = manifest::parts(&record).min(parts_max);
    for _ in 0..parts {
        manifest::release_last_part(transaction, content, &mut record)?;
    }
    let expires_at = record.upload.as_ref().map_or(0, |upload| upload.expires_at);
    transaction.delete(&UploadExpiryKey { expires_at: Stamp(expires_at), content });
    if record.chunks == 0 {
        transaction.delete(&key);
        transaction.count(|totals| take(&mut totals.uploads_open, 1, "open uploads"))?;
        return Ok(parts);
    }
    // What is left is the next thing to expire, whatever the lease was.
    let stamp = transaction.stamp();
    if record.condemned_at == 0 {
        record.condemned_at = stamp;
    }
    if let Some(upload) = &mut record.upload {
        upload.expires_at = record.condemned_at;
        transaction.put(&UploadExpiryKey { expires_at: Stamp(record.condemned_at), content }, &());
    }
    transaction.put(&key, &record);
    Ok(parts)
}

fn check_size(said: u64, found: u64) -> Result<(), Stop> {
    if said == found {
        return Ok(());
    }
    Err(refuse(RejectionCode::SizeMismatch, format!("the version has {said} bytes, its content {found}")))
}

fn length(length: usize) -> u64 {
    u64::try_from(length).expect("a length fits 64 bits")
}
