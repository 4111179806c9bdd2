//! What a command works on: the state as the entry has changed it so far, the stamp, who asks, and the group's counters.

use bytes::Bytes;
use prost::Message;

use crate::keys::{Counter, CounterKey, RightsIndexKey, StampKey, StateKey, TotalsKey};
use crate::state::overlay::Overlay;
use crate::state::{GroupKind, Position, limits, read};
use crate::store::{Changes, Family, ReadState, StateError};
use crate::wire::meta::v1::{Actor, Command, GroupTotals};

/// An entry under way.
pub(crate) struct Transaction<'a> {
    overlay: Overlay<'a>,
    kind: GroupKind,
    position: Position,
    stamp: u64,
    /// The group's counters, decoded once; written when what is changed so far is kept.
    totals: Totals,
    asked: Asked,
    /// Rows of the feed and the audit that this entry has written.
    sub: u32,
    /// The command changed something that the lock with its fence covers.
    fence_met: bool,
    /// Recycle bins that the command has made.
    bins_made: u64,
}

/// Counters as they are and as they were when changes were last kept.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    now: GroupTotals,
    kept: GroupTotals,
}

/// Who asks for a command, and what goes with it.
#[derive(Clone, Debug, Default)]
struct Asked {
    actor: Actor,
    rights_index: u64,
    request_id: String,
    from: String,
    lock_tokens: Vec<Bytes>,
    fence: u64,
}

impl<'a> Transaction<'a> {
    pub(crate) fn begin(state: &'a dyn ReadState, kind: GroupKind, position: Position) -> Result<Self, StateError> {
        let stamp = read::get(state, &StampKey {})?.unwrap_or(0);
        let totals = read::get(state, &TotalsKey {})?.unwrap_or_default();
        Ok(Self {
            overlay: Overlay::over(state),
            kind,
            position,
            stamp,
            totals: Totals { now: totals, kept: totals },
            asked: Asked::default(),
            sub: 0,
            fence_met: false,
            bins_made: 0,
        })
    }

    /// Goes on to the next proposal: what was changed stays, the stamp grows.
    pub(crate) fn advance(&mut self, clock: u64) {
        self.keep();
        self.stamp = (self.stamp + 1).max(clock.min(limits::CLOCK_MAX));
    }

    /// Takes over who asks.
    pub(crate) fn asked_by(&mut self, command: &Command) -> Result<(), StateError> {
        self.asked = Asked {
            actor: command.actor.clone().unwrap_or_default(),
            rights_index: command.rights_index,
            request_id: command.request_id.clone(),
            from: command.from.clone(),
            lock_tokens: command.lock_tokens.clone(),
            fence: command.fence,
        };
        self.fence_met = false;
        self.bins_made = 0;
        let highest = self.get(&RightsIndexKey {})?.unwrap_or(0);
        if command.rights_index > highest {
            self.put(&RightsIndexKey {}, &command.rights_index);
        }
        Ok(())
    }

    /// What is changed so far stays.
    pub(crate) fn keep(&mut self) {
        let Totals { now, kept } = self.totals;
        if now != kept {
            self.put(&TotalsKey {}, &now);
            self.totals.kept = now;
        }
        self.overlay.mark();
    }

    /// Takes back what changed since it was last kept.
    pub(crate) fn roll_back(&mut self) {
        self.overlay.roll_back();
        self.totals.now = self.totals.kept;
    }

    pub(crate) fn into_changes(mut self) -> Changes {
        self.keep();
        self.overlay.into_changes()
    }

    /// The state with what is changed so far.
    pub(crate) fn state(&self) -> &dyn ReadState {
        &self.overlay
    }

    pub(crate) fn kind(&self) -> GroupKind {
        self.kind
    }

    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// The stamp of the command under way.
    pub(crate) fn stamp(&self) -> u64 {
        self.stamp
    }

    /// The stamp `seconds` from now.
    pub(crate) fn stamp_in(&self, seconds: u64) -> u64 {
        self.stamp.saturating_add(seconds.saturating_mul(1_000_000))
    }

    pub(crate) fn actor(&self) -> &Actor {
        &self.asked.actor
    }

    pub(crate) fn rights_index(&self) -> u64 {
        self.asked.rights_index
    }

    /// The request that the command belongs to.
    pub(crate) fn request_id(&self) -> &str {
        &self.asked.request_id
    }

    /// The client's address; empty for the cluster itself.
    pub(crate) fn asked_from(&self) -> &str {
        &self.asked.from
    }

    /// Tokens of locks that the caller says it holds.
    pub(crate) fn lock_tokens(&self) -> &[Bytes] {
        &self.asked.lock_tokens
    }

    /// The fence of the lock that the command relies on; 0: it relies on none.
    pub(crate) fn fence(&self) -> u64 {
        self.asked.fence
    }

    /// Notes that something was changed that this lock covers.
    pub(crate) fn meet_fence(&mut self) {
        self.fence_met = true;
    }

    /// Whether the command changed something that the lock with its fence covers.
    pub(crate) fn fence_is_met(&self) -> bool {
        self.fence_met
    }

    /// Notes that a recycle bin was made.
    pub(crate) fn count_bin(&mut self) {
        self.bins_made += 1;
    }

    /// Recycle bins that the command has made.
    pub(crate) fn bins_made(&self) -> u64 {
        self.bins_made
    }

    /// The next number of a row that this entry writes.
    pub(crate) fn next_sub(&mut self) -> u32 {
        self.sub += 1;
        self.sub
    }

    pub(crate) fn get<K: StateKey>(&self, key: &K) -> Result<Option<K::Record>, StateError> {
        read::get(&self.overlay, key)
    }

    pub(crate) fn put<K: StateKey>(&mut self, key: &K, record: &K::Record) {
        self.overlay.set(K::FAMILY, key.to_bytes(), Some(Bytes::from(record.encode_to_vec())));
    }

    pub(crate) fn delete<K: StateKey>(&mut self, key: &K) {
        self.overlay.set(K::FAMILY, key.to_bytes(), None);
    }

    pub(crate) fn put_bytes(&mut self, family: Family, key: Bytes, value: Bytes) {
        self.overlay.set(family, key, Some(value));
    }

    pub(crate) fn delete_bytes(&mut self, family: Family, key: Bytes) {
        self.overlay.set(family, key, None);
    }

    /// Gives out the next number of a counter, from 1.
    pub(crate) fn next(&mut self, which: Counter) -> Result<u64, StateError> {
        let number = self.get(&CounterKey { which })?.unwrap_or(0) + 1;
        self.put(&CounterKey { which }, &number);
        Ok(number)
    }

    /// The group's counters.
    pub(crate) fn totals(&self) -> GroupTotals {
        self.totals.now
    }

    /// Changes the group's counters.
    pub(crate) fn count(&mut self, change: impl FnOnce(&mut GroupTotals) -> Result<(), StateError>) -> Result<(), StateError> {
        change(&mut self.totals.now)
    }
}

/// Takes from a counter what was once added to it.
pub(crate) fn take(counter: &mut u64, amount: u64, what: &str) -> Result<(), StateError> {
    *counter = counter.checked_sub(amount).ok_or_else(|| StateError::corrupt(format!("{what}: {amount} taken from {counter}")))?;
    Ok(())
}

/// Takes from a counter that groups begun by older releases did not have from the first: what they had then is not in it.
pub(crate) fn take_late(counter: &mut u64, amount: u64) {
    *counter = counter.saturating_sub(amount);
}
