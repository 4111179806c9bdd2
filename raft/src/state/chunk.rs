//! Chunk records: one live instance of each chunk, how many contents name it, and the queues of repair, condemnation and deletion.
//!
//! Invariants, those of the `collection` model: a command that names a new instance begun before the collection horizon is refused; the
//! first instance of a chunk is kept and revived, another one is surplus; a chunk is condemned exactly while no content names it; a record
//! is in the repair queue exactly while it has a cause to be.

use skep_placement::ids::{BootNumber, ChunkId, InstanceId, NodeId, Stamp, WriteId};
use skep_placement::profile::Code;

use crate::keys::{ChunkKey, CondemnedKey, DeleteKey, HorizonKey, RepairKey};
use crate::state::read;
use crate::state::rejection::{Stop, id, refuse_at, required};
use crate::state::transaction::{Transaction, take, take_late};
use crate::store::StateError;
use crate::wire::meta::v1::{self, ChunkRecord, DeleteRecord, RejectionCode, RepairCause, RepairRecord, StoredChunk};
use skep_placement::limits::CHUNK_LENGTH_BYTES_MAX;

/// What a command says of an instance, checked.
pub(crate) struct Named<'a> {
    pub(crate) chunk: ChunkId,
    pub(crate) write: WriteId,
    pub(crate) stored: &'a StoredChunk,
}

/// Reads what a command says of an instance at a place of its list.
pub(crate) fn named(stored: &StoredChunk, place: usize) -> Result<Named<'_>, Stop> {
    let fault = |detail: String| refuse_at(RejectionCode::Invalid, detail, place);
    let chunk = id(&stored.chunk, "chunk id")?;
    if stored.length == 0 || usize::try_from(stored.length).map_or(true, |length| length > CHUNK_LENGTH_BYTES_MAX) {
        return Err(fault(format!("a chunk of {} bytes; it has 1 to {CHUNK_LENGTH_BYTES_MAX}", stored.length)));
    }
    let write = write_id(required(stored.write.as_ref(), "write id")?);
    if write.node.0 == 0 || write.boot.0 == 0 {
        return Err(fault(format!("write id {write} names no process")));
    }
    let code = code(stored.code.as_ref(), place)?;
    check_missing(stored.missing, code, place)?;
    if code.total().saturating_sub(count_ones(stored.missing)) < code.write_quorum() {
        return Err(fault(format!("{} of {} shards are not durable: too many to acknowledge", count_ones(stored.missing), code.total())));
    }
    check_devices(&stored.devices, code, place)?;
    Ok(Named { chunk, write, stored })
}

/// A code that a command carries.
pub(crate) fn code(code: Option<&v1::Code>, place: usize) -> Result<Code, Stop> {
    let code = required(code, "code")?;
    let no_code = || refuse_at(RejectionCode::Invalid, format!("{}+{} is no code", code.data, code.parity), place);
    let part = |number: u32| u8::try_from(number).map_err(|_too_great| no_code());
    Code::new(part(code.data)?, part(code.parity)?).map_err(|_invalid| no_code())
}

pub(crate) fn check_missing(missing: u32, code: Code, place: usize) -> Result<(), Stop> {
    if u64::from(missing) >> code.total() != 0 {
        return Err(refuse_at(RejectionCode::Invalid, format!("missing shards {missing:#b} that the code {code} does not have"), place));
    }
    Ok(())
}

/// A device list names one device for each shard, none twice; or it is empty.
pub(crate) fn check_devices(devices: &[u64], code: Code, place: usize) -> Result<(), Stop> {
    let distinct: std::collections::BTreeSet<&u64> = devices.iter().collect();
    if devices.is_empty() || (distinct.len() == devices.len() && devices.len() == usize::from(code.total())) {
        return Ok(());
    }
    Err(refuse_at(RejectionCode::Invalid, format!("{} devices, some perhaps twice, for the code {code}", devices.len()), place))
}

fn count_ones(mask: u32) -> u8 {
    u8::try_from(mask.count_ones()).unwrap_or(u8::MAX)
}

pub(crate) fn write_id(write: &v1::WriteId) -> WriteId {
    WriteId { node: NodeId(write.node), boot: BootNumber(write.boot), counter: write.counter }
}

/// The write id of a stored record.
pub(crate) fn stored_write(record: &ChunkRecord) -> Result<WriteId, StateError> {
    record.write.as_ref().map(write_id).ok_or_else(|| StateError::corrupt("a chunk record without write id"))
}

fn stored_code(record: &ChunkRecord) -> Result<Code, StateError> {
    let part = |number: u32| u8::try_from(number).ok();
    let parts = record.code.as_ref().and_then(|code| Some((part(code.data)?, part(code.parity)?)));
    parts.and_then(|(data, parity)| Code::new(data, parity).ok()).ok_or_else(|| StateError::corrupt("a chunk record without code"))
}

/// Bytes that a chunk's shards take on devices.
pub(crate) fn stored_bytes(record: &ChunkRecord) -> Result<u64, StateError> {
    let code = stored_code(record)?;
    Ok((u64::from(record.length) * u64::from(code.total())).div_ceil(u64::from(code.data())))
}

/// Refuses an instance that began before the collection horizon: its shards may be swept already.
pub(crate) fn check_begun(transaction: &Transaction<'_>, begun: u64, place: usize) -> Result<(), Stop> {
    let horizon = transaction.get(&HorizonKey {})?.unwrap_or(0);
    if begun < horizon {
        let detail = format!("the instance began at {begun}, before the collection horizon {horizon}: write the chunk anew");
        return Err(refuse_at(RejectionCode::InstanceTooOld, detail, place));
    }
    Ok(())
}

/// Takes a reference on a chunk for one place in a manifest. Whether the instance named is surplus.
pub(crate) fn refer(transaction: &mut Transaction<'_>, named: &Named<'_>, place: usize) -> Result<bool, Stop> {
    let relies_on_pin = named.stored.pin != 0;
    if !relies_on_pin {
        check_begun(transaction, named.stored.begun, place)?;
    }
    let key = ChunkKey { chunk: named.chunk };
    let Some(mut record) = transaction.get(&key)? else {
        if relies_on_pin {
            return Err(refuse_at(RejectionCode::InstanceGone, format!("chunk {} is not there any more", named.chunk), place));
        }
        begin(transaction, named)?;
        return Ok(false);
    };
    if record.length != named.stored.length {
        let detail = format!("chunk {} has {} bytes, not {}", named.chunk, record.length, named.stored.length);
        return Err(refuse_at(RejectionCode::Invalid, detail, place));
    }
    let is_same = stored_write(&record)? == named.write;
    // Shards of two codes under one write id could be taken for pieces of one.
    if is_same && !relies_on_pin && record.code != named.stored.code {
        let detail = format!("the writing {} of chunk {} has another code: a changed code takes a new write id", named.write, named.chunk);
        return Err(refuse_at(RejectionCode::Invalid, detail, place));
    }
    if relies_on_pin && !is_same {
        return Err(refuse_at(RejectionCode::InstanceGone, format!("chunk {} has another instance now", named.chunk), place));
    }
    if record.condemned_at != 0 {
        revive(transaction, named.chunk, &mut record)?;
    }
    record.contents += 1;
    transaction.put(&key, &record);
    Ok(!is_same)
}

fn begin(transaction: &mut Transaction<'_>, named: &Named<'_>) -> Result<(), StateError> {
    let stored = named.stored;
    let record = ChunkRecord {
        write: stored.write,
        begun: stored.begun,
        length: stored.length,
        code: stored.code,
        pool: stored.pool,
        epoch: stored.epoch,
        devices: stored.devices.clone(),
        missing: stored.missing,
        key_version: stored.key_version,
        contents: 1,
        condemned_at: 0,
        below_profile: stored.below_profile,
    };
    transaction.put(&ChunkKey { chunk: named.chunk }, &record);
    count_live(transaction, &record)?;
    queue(transaction, named.chunk, &record, false)
}

/// Whether a chunk is erasure-coded; else its shards are whole copies.
pub(crate) fn is_coded(record: &ChunkRecord) -> bool {
    record.code.is_some_and(|code| code.data > 1)
}

/// Counts a chunk among the live ones.
fn count_live(transaction: &mut Transaction<'_>, record: &ChunkRecord) -> Result<(), StateError> {
    let stored = stored_bytes(record)?;
    transaction.count(|totals| {
        totals.chunks += 1;
        totals.chunk_bytes += u64::from(record.length);
        totals.stored_bytes += stored;
        if is_coded(record) {
            totals.coded_bytes += u64::from(record.length);
            totals.coded_stored_bytes += stored;
        }
        Ok(())
    })
}

fn uncount_live(transaction: &mut Transaction<'_>, record: &ChunkRecord) -> Result<(), StateError> {
    let stored = stored_bytes(record)?;
    transaction.count(|totals| {
        take(&mut totals.chunks, 1, "chunks")?;
        take(&mut totals.chunk_bytes, u64::from(record.length), "chunk bytes")?;
        if is_coded(record) {
            take_late(&mut totals.coded_bytes, u64::from(record.length));
            take_late(&mut totals.coded_stored_bytes, stored);
        }
        take(&mut totals.stored_bytes, stored, "stored bytes")
    })
}

fn revive(transaction: &mut Transaction<'_>, chunk: ChunkId, record: &mut ChunkRecord) -> Result<(), StateError> {
    transaction.delete(&CondemnedKey { since: Stamp(record.condemned_at), chunk });
    record.condemned_at = 0;
    transaction.count(|totals| {
        take(&mut totals.condemned_chunks, 1, "condemned chunks")?;
        take(&mut totals.condemned_bytes, u64::from(record.length), "condemned bytes")
    })?;
    count_live(transaction, record)
}

/// Gives a reference back; the last one condemns the chunk.
pub(crate) fn release(transaction: &mut Transaction<'_>, chunk: ChunkId) -> Result<(), StateError> {
    let key = ChunkKey { chunk };
    let mut record = read::expect(transaction.state(), &key)?;
    take(&mut record.contents, 1, "contents of a chunk")?;
    if record.contents == 0 {
        record.condemned_at = transaction.stamp();
        transaction.put(&CondemnedKey { since: Stamp(record.condemned_at), chunk }, &());
        uncount_live(transaction, &record)?;
        transaction.count(|totals| {
            totals.condemned_chunks += 1;
            totals.condemned_bytes += u64::from(record.length);
            Ok(())
        })?;
    }
    transaction.put(&key, &record);
    Ok(())
}

/// Puts a chunk on the repair queue, keeps it there or takes it off, as its record wants.
pub(crate) fn queue(transaction: &mut Transaction<'_>, chunk: ChunkId, record: &ChunkRecord, damaged: bool) -> Result<(), StateError> {
    let key = RepairKey { chunk };
    let queued = transaction.get(&key)?;
    let was_damaged = queued.is_some_and(|queued| queued.cause == i32::from(RepairCause::Damaged));
    let cause = if record.missing != 0 {
        Some(if damaged || was_damaged { RepairCause::Damaged } else { RepairCause::MissingShards })
    } else if record.below_profile {
        Some(RepairCause::BelowProfile)
    } else if !record.devices.is_empty() {
        Some(RepairCause::Away)
    } else {
        None
    };
    match (queued, cause) {
        (None, None) => Ok(()),
        (None, Some(cause)) => {
            transaction.put(&key, &RepairRecord { since: transaction.stamp(), cause: cause.into() });
            transaction.count(|totals| {
                totals.repair_queue += 1;
                Ok(())
            })
        }
        (Some(queued), Some(cause)) => {
            transaction.put(&key, &RepairRecord { since: queued.since, cause: cause.into() });
            Ok(())
        }
        (Some(_), None) => {
            transaction.delete(&key);
            transaction.count(|totals| take(&mut totals.repair_queue, 1, "the repair queue"))
        }
    }
}

/// Replaces the instance of a chunk by a new one; the old one goes to the delete list.
pub(crate) fn replace(transaction: &mut Transaction<'_>, named: &Named<'_>, record: &ChunkRecord) -> Result<(), StateError> {
    let stored = named.stored;
    let replacing = ChunkRecord {
        write: stored.write,
        begun: stored.begun,
        length: record.length,
        code: stored.code,
        pool: stored.pool,
        epoch: stored.epoch,
        devices: stored.devices.clone(),
        missing: 0,
        key_version: stored.key_version,
        contents: record.contents,
        condemned_at: record.condemned_at,
        below_profile: stored.below_profile,
    };
    transaction.put(&ChunkKey { chunk: named.chunk }, &replacing);
    if record.condemned_at == 0 {
        uncount_live(transaction, record)?;
        count_live(transaction, &replacing)?;
    }
    queue(transaction, named.chunk, &replacing, false)?;
    let instance = InstanceId { chunk: named.chunk, write: stored_write(record)? };
    let since = transaction.stamp();
    let deleted = DeleteRecord { instance: Some(as_stored(named.chunk, record)), since };
    transaction.put(&DeleteKey { since: Stamp(since), instance }, &deleted);
    transaction.count(|totals| {
        totals.delete_list += 1;
        Ok(())
    })
}

/// A record as a command would name its instance.
pub(crate) fn as_stored(chunk: ChunkId, record: &ChunkRecord) -> StoredChunk {
    StoredChunk {
        chunk: chunk.0.to_vec().into(),
        length: record.length,
        write: record.write,
        begun: record.begun,
        code: record.code,
        pool: record.pool,
        epoch: record.epoch,
        devices: record.devices.clone(),
        missing: record.missing,
        key_version: record.key_version,
        pin: 0,
        below_profile: record.below_profile,
    }
}
