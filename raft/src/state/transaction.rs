//! What a command works on: the state as the entry has changed it so far, the stamp, who asks, and the group's counters.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use prost::Message;
use skep_placement::ids::EntryId;

use crate::keys::{Counter, CounterKey, RightsIndexKey, StampKey, StateKey, SumsKey, TotalsKey};
use crate::state::overlay::Overlay;
use crate::state::path::Located;
use crate::state::{GroupKind, Position, limits, read};
use crate::store::{Changes, Family, ReadState, StateError};
use crate::wire::meta::v1::{Actor, Command, FolderSums, GroupTotals};

/// Keys and records are written into pieces of memory of this size: one allocation for some dozens of rows.
const PIECE_BYTES: usize = 16 << 10;

/// An entry under way.
pub(crate) struct Transaction<'a> {
    overlay: Overlay<'a>,
    kind: GroupKind,
    position: Position,
    stamp: u64,
    /// The piece that keys and records are written into.
    piece: BytesMut,
    asked: Asked,
    /// Rows of the feed and the audit that this entry has written.
    sub: u32,
    /// The command changed something that the lock with its fence covers.
    fence_met: bool,
    /// Recycle bins that the command has made.
    bins_made: u64,
    known_folder: KnownFolder,
}

/// The folder that the last step of a batch went into: the next one mostly goes there, too.
///
/// Invariant: it is known only while nothing is moved, deleted or noted.
#[derive(Default)]
enum KnownFolder {
    /// Steps may come that do that.
    #[default]
    NotNow,
    /// None yet.
    Unknown,
    /// Which, and the way there.
    Known { base: EntryId, way: Vec<String>, folder: Rc<Located> },
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
        let mut overlay = Overlay::over(state);
        if let Some(totals) = read::get(state, &TotalsKey {})? {
            overlay.totals.hold((), totals);
        }
        Ok(Self {
            overlay,
            kind,
            position,
            stamp,
            piece: BytesMut::with_capacity(PIECE_BYTES),
            asked: Asked::default(),
            sub: 0,
            fence_met: false,
            bins_made: 0,
            known_folder: KnownFolder::NotNow,
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
        self.overlay.mark();
    }

    /// Takes back what changed since it was last kept.
    pub(crate) fn roll_back(&mut self) {
        self.overlay.roll_back();
        self.forget_folders();
    }

    pub(crate) fn into_changes(self) -> Changes {
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

    /// From now on only new entries and versions are made, until told otherwise: the folder that they are made in is looked up once.
    pub(crate) fn know_folders(&mut self) {
        if matches!(self.known_folder, KnownFolder::NotNow) {
            self.known_folder = KnownFolder::Unknown;
        }
    }

    /// From now on anything may be done.
    pub(crate) fn forget_folders(&mut self) {
        self.known_folder = KnownFolder::NotNow;
    }

    /// The folder at the end of a way, if it is known.
    pub(crate) fn known_folder(&self, base: EntryId, way: &[String]) -> Option<Rc<Located>> {
        match &self.known_folder {
            KnownFolder::Known { base: of, way: known, folder } if *of == base && known == way => Some(Rc::clone(folder)),
            KnownFolder::Known { .. } | KnownFolder::Unknown | KnownFolder::NotNow => None,
        }
    }

    /// Takes note of a folder that was looked up, where folders are known at all.
    pub(crate) fn know_folder(&mut self, base: EntryId, way: &[String], folder: &Rc<Located>) {
        if !matches!(self.known_folder, KnownFolder::NotNow) {
            self.known_folder = KnownFolder::Known { base, way: way.to_vec(), folder: Rc::clone(folder) };
        }
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
        let key = self.key(key);
        record.encode(&mut self.piece).expect("memory grows");
        let record = self.piece.split().freeze();
        self.overlay.set(K::FAMILY, key, Some(record));
    }

    pub(crate) fn delete<K: StateKey>(&mut self, key: &K) {
        let key = self.key(key);
        self.overlay.set(K::FAMILY, key, None);
    }

    fn key<K: StateKey>(&mut self, key: &K) -> Bytes {
        key.write(&mut self.piece);
        self.piece.split().freeze()
    }

    pub(crate) fn put_bytes(&mut self, family: Family, key: Bytes, value: Bytes) {
        self.overlay.set(family, key, Some(value));
    }

    pub(crate) fn delete_bytes(&mut self, family: Family, key: Bytes) {
        self.overlay.set(family, key, None);
    }

    /// The sums of a folder; none if it has none yet.
    pub(crate) fn sums(&self, folder: EntryId) -> Result<Option<FolderSums>, StateError> {
        match self.overlay.sums.get(folder) {
            Some(sums) => Ok(Some(sums)),
            None => self.get(&SumsKey { folder }),
        }
    }

    pub(crate) fn set_sums(&mut self, folder: EntryId, sums: FolderSums) {
        self.overlay.sums.set(folder, sums);
    }

    /// Gives out the next number of a counter, from 1.
    pub(crate) fn next(&mut self, which: Counter) -> Result<u64, StateError> {
        let last = match self.overlay.counters.get(which) {
            Some(last) => last,
            None => self.get(&CounterKey { which })?.unwrap_or(0),
        };
        self.overlay.counters.set(which, last + 1);
        Ok(last + 1)
    }

    /// The group's counters.
    pub(crate) fn totals(&self) -> GroupTotals {
        self.overlay.totals.get(()).unwrap_or_default()
    }

    /// Changes the group's counters.
    pub(crate) fn count(&mut self, change: impl FnOnce(&mut GroupTotals) -> Result<(), StateError>) -> Result<(), StateError> {
        let was = self.totals();
        let mut is = was;
        change(&mut is)?;
        if is != was {
            self.overlay.totals.set((), is);
        }
        Ok(())
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
