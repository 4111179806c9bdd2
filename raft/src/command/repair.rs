//! What the repair of chunks tells the group: shards made durable, instances replaced, damage found; and the collection horizon.
//!
//! Invariant: each command names the instance that its sender saw, and changes nothing if the record names another.

use skep_placement::ids::{ChunkId, WriteId};
use skep_placement::profile::{Code, FailureDomain, Profile};

use crate::keys::{ChunkKey, HorizonKey};
use crate::state::chunk;
use crate::state::rejection::{Stop, id, invalid, refuse, required};
use crate::state::transaction::Transaction;
use crate::state::{limits, read};
use crate::store::{Direction, StateError};
use crate::wire::meta::v1::{self, AdvanceHorizon, ChunkRecord, Done, QueueRepairs, Reencoded, RejectionCode, ReportDamage, ShardRepaired};

/// Shards of an instance became durable.
pub(super) fn shard_repaired(transaction: &mut Transaction<'_>, command: &ShardRepaired) -> Result<Done, Stop> {
    let (key, mut record) = record_of(transaction, &command.chunk, command.write.as_ref())?;
    if record.missing != command.missing_was {
        let detail = format!("shards {:#b} are missing now, not {:#b}", record.missing, command.missing_was);
        return Err(refuse(RejectionCode::Stale, detail));
    }
    let code = chunk::code(record.code.as_ref(), 0)?;
    chunk::check_missing(command.missing, code, 0)?;
    chunk::check_devices(&command.devices, code, 0)?;
    record.missing = command.missing;
    record.devices.clone_from(&command.devices);
    record.epoch = command.epoch;
    transaction.put(&key, &record);
    chunk::queue(transaction, key.chunk, &record, false)?;
    Ok(Done::default())
}

/// A new instance takes the place of the one that was read; the old one is to be deleted.
pub(super) fn reencoded(transaction: &mut Transaction<'_>, command: &Reencoded) -> Result<Done, Stop> {
    let stored = required(command.instance.as_ref(), "instance")?;
    let named = chunk::named(stored, 0)?;
    if stored.chunk != command.chunk || stored.missing != 0 || stored.pin != 0 {
        return Err(invalid("a re-encoding names the same chunk, all its shards durable, and no pin"));
    }
    let key = ChunkKey { chunk: named.chunk };
    let record = transaction.get(&key)?.ok_or_else(|| gone(named.chunk))?;
    let current = chunk::stored_write(&record)?;
    if current == named.write {
        // It was done already: the worker must not delete what the record names.
        return Ok(Done::default());
    }
    if current != chunk::write_id(required(command.replaces.as_ref(), "write id to replace")?) {
        return Err(another(named.chunk, current));
    }
    chunk::check_begun(transaction, stored.begun, 0)?;
    if stored.length != record.length {
        return Err(refuse(RejectionCode::SizeMismatch, format!("the chunk has {} bytes, not {}", record.length, stored.length)));
    }
    chunk::replace(transaction, &named, &record)?;
    Ok(Done::default())
}

/// Shards of an instance were found bad or absent.
pub(super) fn report_damage(transaction: &mut Transaction<'_>, command: &ReportDamage) -> Result<Done, Stop> {
    let (key, mut record) = record_of(transaction, &command.chunk, command.write.as_ref())?;
    chunk::check_missing(command.missing, chunk::code(record.code.as_ref(), 0)?, 0)?;
    if command.missing == 0 {
        return Err(invalid("damage of no shard"));
    }
    record.missing |= command.missing;
    transaction.put(&key, &record);
    chunk::queue(transaction, key.chunk, &record, true)?;
    Ok(Done::default())
}

fn record_of(transaction: &Transaction<'_>, chunk: &[u8], write: Option<&v1::WriteId>) -> Result<(ChunkKey, ChunkRecord), Stop> {
    let key = ChunkKey { chunk: id(chunk, "chunk id")? };
    let write = chunk::write_id(required(write, "write id")?);
    let record = transaction.get(&key)?.ok_or_else(|| gone(key.chunk))?;
    let current = chunk::stored_write(&record)?;
    if current != write {
        return Err(another(key.chunk, current));
    }
    Ok((key, record))
}

fn gone(chunk: ChunkId) -> Stop {
    refuse(RejectionCode::InstanceGone, format!("there is no chunk {chunk}"))
}

fn another(chunk: ChunkId, current: WriteId) -> Stop {
    refuse(RejectionCode::InstanceGone, format!("chunk {chunk} has the instance {current} now"))
}

/// Raises the collection horizon; one that is not higher changes nothing.
pub(super) fn advance_horizon(transaction: &mut Transaction<'_>, command: &AdvanceHorizon) -> Result<Done, Stop> {
    if command.collection > transaction.stamp() {
        return Err(invalid(format!("the horizon {} lies ahead of the stamp {}", command.collection, transaction.stamp())));
    }
    let horizon = transaction.get(&HorizonKey {})?.unwrap_or(0).max(command.collection);
    transaction.put(&HorizonKey {}, &horizon);
    Ok(Done { number: horizon, ..Done::default() })
}

/// Walks the chunk records and notes which are in a smaller code than the profile gives them.
pub(super) fn queue_repairs(transaction: &mut Transaction<'_>, command: &QueueRepairs) -> Result<Done, Stop> {
    let profile = Profile { code: chunk::code(command.profile.as_ref(), 0)?, domain: FailureDomain::default() };
    let most = usize::try_from(command.limit).unwrap_or(usize::MAX).clamp(1, limits::PAGE_MAX);
    let rows: Vec<(ChunkKey, ChunkRecord)> = if command.after.is_empty() {
        read::rows::<ChunkKey>(transaction.state(), &[], Direction::Forward).take(most).collect::<Result<_, StateError>>()?
    } else {
        let after = ChunkKey { chunk: id(&command.after, "chunk id to go on after")? };
        read::rows_after(transaction.state(), &[], &after).take(most).collect::<Result<_, StateError>>()?
    };
    let cursor = rows.get(most - 1).map(|(key, _)| key.chunk.0.to_vec()).unwrap_or_default();
    let mut count = 0;
    for (key, mut record) in rows {
        let code = chunk::code(record.code.as_ref(), 0)?;
        let wanted = Code::for_chunk(profile, u64::from(record.length));
        let below = code.data() < wanted.data() || code.parity() < wanted.parity();
        if below == record.below_profile {
            continue;
        }
        record.below_profile = below;
        transaction.put(&key, &record);
        chunk::queue(transaction, key.chunk, &record, false)?;
        count += u64::from(below);
    }
    Ok(Done { cursor: cursor.into(), count, ..Done::default() })
}
