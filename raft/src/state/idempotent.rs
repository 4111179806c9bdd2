//! Requests that a client may repeat under a key of its own: their commands are done once, and give the same again for a day.
//!
//! Invariants: under one key one request is done; a step of it that was done is never done again while its key is kept. What was refused changed
//! nothing and may be tried again.

use bytes::Bytes;
use prost::Message;
use skep_placement::ids::Stamp;

use crate::keys::{IdempotentExpiryKey, IdempotentKey};
use crate::state::rejection::{Stop, id, invalid, refuse};
use crate::state::transaction::Transaction;
use crate::state::{limits, read};
use crate::store::{Direction, StateError};
use crate::wire::meta::v1::outcome::What;
use crate::wire::meta::v1::{Done, Idempotency, IdempotentRecord, PruneMeta, RejectionCode};

/// The step that stands for the request itself.
const REQUEST: [u8; 32] = [0; 32];

/// What the step gave when it was done, if it was.
pub(crate) fn replay(transaction: &mut Transaction<'_>, asked: &Idempotency) -> Result<Option<Done>, Stop> {
    let key = keys(asked)?;
    let stamp = transaction.stamp();
    let first = IdempotentKey { key: key.key, step: REQUEST };
    match transaction.get(&first)? {
        Some(record) if is_over(record.stamp, stamp) => {
            forget(transaction, &IdempotentExpiryKey { since: Stamp(record.stamp), key: key.key }, usize::MAX)?;
            Ok(None)
        }
        Some(record) if record.request != asked.request => {
            let detail = "this Idempotency-Key was sent with another request within the last day: draw a new one for each request";
            Err(refuse(RejectionCode::KeyReused, detail))
        }
        Some(_) => {
            let Some(kept) = transaction.get(&key)? else { return Ok(None) };
            let done = Done::decode(kept.done).map_err(|error| StateError::corrupt(format!("a kept answer: {error}")))?;
            Ok(Some(Done { replayed: true, ..done }))
        }
        None => Ok(None),
    }
}

/// Keeps what a step gave.
pub(crate) fn keep(transaction: &mut Transaction<'_>, asked: &Idempotency, outcome: &What) -> Result<(), Stop> {
    let What::Done(done) = outcome else { return Ok(()) };
    let key = keys(asked)?;
    let stamp = transaction.stamp();
    let first = IdempotentKey { key: key.key, step: REQUEST };
    if transaction.get(&first)?.is_none() {
        transaction.put(&first, &IdempotentRecord { request: asked.request.clone(), done: Bytes::new(), stamp });
        transaction.put(&IdempotentExpiryKey { since: Stamp(stamp), key: key.key }, &());
    }
    // Whoever repeats the request did not write what this one had in surplus.
    let done = Done { surplus: Vec::new(), ..done.clone() };
    transaction.put(&key, &IdempotentRecord { request: asked.request.clone(), done: done.encode_to_vec().into(), stamp });
    Ok(())
}

/// Forgets what is older than a day.
pub(crate) fn prune(transaction: &mut Transaction<'_>, command: &PruneMeta) -> Result<u64, Stop> {
    let limit = usize::try_from(command.limit).unwrap_or(usize::MAX).min(limits::PAGE_MAX);
    let stamp = transaction.stamp();
    let rows = read::rows::<IdempotentExpiryKey>(transaction.state(), &[], Direction::Forward);
    let over = rows.take(limit).map(|row| row.map(|(key, ())| key)).collect::<Result<Vec<_>, StateError>>()?;
    let mut room = limit;
    let mut dropped = 0;
    for key in over.into_iter().filter(|key| is_over(key.since.0, stamp)) {
        if room == 0 {
            break;
        }
        let rows = forget(transaction, &key, room)?;
        room = room.saturating_sub(rows);
        dropped += u64::try_from(rows).unwrap_or(u64::MAX);
    }
    Ok(dropped)
}

/// Deletes up to `most` rows of a key, the request itself and its expiry last. How many.
fn forget(transaction: &mut Transaction<'_>, expiry: &IdempotentExpiryKey, most: usize) -> Result<usize, StateError> {
    let rows = read::rows::<IdempotentKey>(transaction.state(), &[&expiry.key], Direction::Backward);
    let keys = rows.take(most).map(|row| row.map(|(key, _)| key)).collect::<Result<Vec<_>, StateError>>()?;
    for key in &keys {
        transaction.delete(key);
    }
    if keys.last().is_none_or(|last| last.step == REQUEST) {
        transaction.delete(expiry);
    }
    Ok(keys.len())
}

fn is_over(since: u64, stamp: u64) -> bool {
    stamp.saturating_sub(since) >= limits::IDEMPOTENT_SECONDS * 1_000_000
}

fn keys(asked: &Idempotency) -> Result<IdempotentKey, Stop> {
    if asked.request.len() != 32 {
        return Err(invalid("the hash of a repeatable request has not 32 bytes"));
    }
    let key = IdempotentKey { key: id(&asked.key, "idempotency key")?, step: id(&asked.step, "step of a repeatable request")? };
    if key.step == REQUEST {
        return Err(invalid("the step of a repeatable request is the request itself"));
    }
    Ok(key)
}
