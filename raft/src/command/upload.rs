//! Registered uploads: opened, appended to in order, renewed, and committed as a file's content; or aborted, or expired by stamp.
//!
//! Invariant: an open upload holds one reference on each place of its manifest until it is committed or dropped; a dropped one gives back at
//! most a few parts a command, and takes and commits nothing meanwhile.

use skep_placement::ids::{ContentId, Stamp};

use crate::keys::{ContentKey, Counter, UploadExpiryKey};
use crate::state::rejection::{Stop, invalid, refuse, refuse_at};
use crate::state::transaction::Transaction;
use crate::state::{content, limits, read};
use crate::store::{Direction, StateError};
use crate::wire::meta::v1::{
    AbortUpload, AppendUpload, ContentRecord, Done, ExpireUploads, OpenUpload, RejectionCode, RenewUpload, UploadRecord,
};

/// Opens an upload; the outcome names it.
pub(super) fn open(transaction: &mut Transaction<'_>, command: &OpenUpload) -> Result<Done, Stop> {
    check_lease(command.lease_seconds)?;
    if !matches!(command.job.len(), 0 | 16) {
        return Err(invalid("the id of the upload's job is no id"));
    }
    let content = ContentId(transaction.next(Counter::Content)?);
    let expires_at = transaction.stamp_in(command.lease_seconds);
    let upload = UploadRecord {
        owner: Some(transaction.actor().clone()),
        opened_at: transaction.stamp(),
        expires_at,
        begun: command.begun,
        job: command.job.clone(),
        parts: 0,
    };
    transaction.put(&ContentKey { content }, &ContentRecord { references: 1, upload: Some(upload), ..ContentRecord::default() });
    transaction.put(&UploadExpiryKey { expires_at: Stamp(expires_at), content }, &());
    transaction.count(|totals| {
        totals.uploads_open += 1;
        Ok(())
    })?;
    Ok(Done { number: content.0, created: true, ..Done::default() })
}

/// Adds the next part's chunks and renews the lease.
pub(super) fn append(transaction: &mut Transaction<'_>, command: &AppendUpload) -> Result<Done, Stop> {
    check_lease(command.lease_seconds)?;
    let content = ContentId(command.upload);
    let mut record = content::open_upload(transaction, content)?;
    let parts = record.upload.as_ref().map_or(0, |upload| upload.parts);
    if command.part != parts {
        let place = usize::try_from(parts).unwrap_or(usize::MAX);
        return Err(refuse_at(RejectionCode::UploadOutOfOrder, format!("part {} was sent, {parts} is next", command.part), place));
    }
    if command.chunks.is_empty() || command.chunks.len() > limits::MANIFEST_PART_CHUNKS {
        return Err(invalid(format!("a part of {} chunks; it has 1 to {}", command.chunks.len(), limits::MANIFEST_PART_CHUNKS)));
    }
    let surplus = content::append(transaction, content, &mut record, &command.chunks)?;
    if record.size > limits::CONTENT_BYTES_MAX {
        return Err(refuse(RejectionCode::LimitReached, "the upload is longer than a content can be"));
    }
    if let Some(upload) = &mut record.upload {
        upload.parts += 1;
    }
    extend(transaction, content, &mut record, command.lease_seconds);
    transaction.put(&ContentKey { content }, &record);
    Ok(Done { number: content.0, surplus, count: record.size, ..Done::default() })
}

/// Renews the lease.
pub(super) fn renew(transaction: &mut Transaction<'_>, command: &RenewUpload) -> Result<Done, Stop> {
    check_lease(command.lease_seconds)?;
    let content = ContentId(command.upload);
    let mut record = content::open_upload(transaction, content)?;
    extend(transaction, content, &mut record, command.lease_seconds);
    transaction.put(&ContentKey { content }, &record);
    Ok(Done { number: content.0, ..Done::default() })
}

fn extend(transaction: &mut Transaction<'_>, content: ContentId, record: &mut ContentRecord, seconds: u64) {
    let Some(upload) = &mut record.upload else { return };
    transaction.delete(&UploadExpiryKey { expires_at: Stamp(upload.expires_at), content });
    upload.expires_at = upload.expires_at.max(transaction.stamp_in(seconds));
    transaction.put(&UploadExpiryKey { expires_at: Stamp(upload.expires_at), content }, &());
}

/// Gives up an upload. A long one is given back step by step; the outcome's cursor says that there is more.
pub(super) fn abort(transaction: &mut Transaction<'_>, command: &AbortUpload) -> Result<Done, Stop> {
    let content = ContentId(command.upload);
    let record = match content::open_upload(transaction, content) {
        Ok(record) => record,
        // An expired one may be given up as well.
        Err(Stop::Refused(refusal)) if refusal.code == i32::from(RejectionCode::UploadExpired) => {
            read::expect(transaction.state(), &ContentKey { content })?
        }
        Err(stop) => return Err(stop),
    };
    content::drop_upload(transaction, content, record, limits::RELEASED_PARTS_MAX)?;
    Ok(Done { number: content.0, ..Done::default() })
}

/// Gives back uploads whose lease has ended, the oldest first, at most `limit` and a bounded number of parts.
pub(super) fn expire(transaction: &mut Transaction<'_>, command: &ExpireUploads) -> Result<Done, Stop> {
    let stamp = transaction.stamp();
    let most = usize::try_from(command.limit).unwrap_or(usize::MAX).clamp(1, limits::PAGE_MAX);
    let ended = read::rows::<UploadExpiryKey>(transaction.state(), &[], Direction::Forward);
    let ended = ended.take_while(|row| row.as_ref().map_or(true, |(key, ())| key.expires_at.0 <= stamp)).take(most);
    let ended = ended.map(|row| row.map(|(key, ())| key.content)).collect::<Result<Vec<ContentId>, StateError>>()?;
    let (mut parts, mut count) = (0, 0);
    for content in ended {
        if parts >= limits::RELEASED_PARTS_MAX {
            break;
        }
        let record = read::expect(transaction.state(), &ContentKey { content })?;
        parts += content::drop_upload(transaction, content, record, limits::RELEASED_PARTS_MAX - parts)?;
        count += 1;
    }
    Ok(Done { count, ..Done::default() })
}

fn check_lease(seconds: u64) -> Result<(), Stop> {
    if (1..=limits::LEASE_SECONDS_MAX).contains(&seconds) {
        return Ok(());
    }
    Err(invalid(format!("a lease of {seconds} seconds; it has 1 to {}", limits::LEASE_SECONDS_MAX)))
}
