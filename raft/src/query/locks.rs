//! The locks that an entry is under, and those below it.
//!
//! Invariant: none is shown whose time was over at the group's last stamp.

use skep_placement::ids::EntryId;

use super::{Found, look_up};
use crate::keys::{ByIdKey, StampKey};
use crate::state::lock::{self, Held, is_live};
use crate::state::read;
use crate::store::{ReadState, StateError};
use crate::wire::meta::v1::{HeldLock, LockRecord, LocksPage, LocksQuery};

pub(super) fn locks(state: &dyn ReadState, query: &LocksQuery) -> Result<Found, StateError> {
    let located = match look_up(state, query.path.as_ref())? {
        Ok(located) => located,
        Err(absence) => return Ok(Found::Absence(absence)),
    };
    let stamp = read::get(state, &StampKey {})?.unwrap_or(0);
    let mut held = lock::in_scope(state, &located, stamp)?;
    if query.below {
        held.extend(lock::below(state, &located)?.into_iter().filter(|(_, lock)| is_live(lock, stamp)));
    }
    let locks = held.into_iter().map(|held| shown(state, held)).collect::<Result<Vec<HeldLock>, StateError>>()?;
    Ok(Found::Locks(LocksPage { locks }))
}

fn shown(state: &dyn ReadState, (key, lock): Held) -> Result<HeldLock, StateError> {
    let mut names = Vec::with_capacity(lock.chain.len());
    for entry in lock::chain(&lock)?.into_iter().skip(1).chain([key.entry]) {
        names.push(name(state, entry)?);
    }
    Ok(HeldLock { lock: Some(LockRecord { chain: Vec::new(), ..lock }), entry: key.entry.0.to_vec().into(), names })
}

fn name(state: &dyn ReadState, entry: EntryId) -> Result<String, StateError> {
    Ok(read::expect(state, &ByIdKey { entry })?.name)
}
