//! A state with changes laid over it, which can be taken back to a mark: what an entry's commands read and write.
//!
//! Sums of folders and the group's counters lie over the other changes, decoded. Invariants: after [`Overlay::roll_back`] every read gives what it gave at the
//! last [`Overlay::mark`]; a read gives what was set last under its key, in whichever form.

use std::cmp::Ordering;
use std::iter::Peekable;
use std::ops::{Bound, RangeBounds};

use bytes::Bytes;
use prost::Message;
use skep_placement::ids::EntryId;

use crate::keys::{Counter, CounterKey, StateKey, SumsKey, TotalsKey};
use crate::state::decoded::Decoded;
use crate::store::{Changes, Direction, Family, ReadState, Row, Rows, StateError, is_some_between};
use crate::wire::meta::v1::{FolderSums, GroupTotals};

/// What a key was changed to before: nothing yet, deleted, or a value.
type Before = Option<Option<Bytes>>;

/// Changes over a state.
pub(crate) struct Overlay<'a> {
    base: &'a dyn ReadState,
    changes: Changes,
    undo: Vec<((Family, Bytes), Before)>,
    pub(crate) sums: Decoded<EntryId, FolderSums>,
    pub(crate) counters: Decoded<Counter, u64>,
    pub(crate) totals: Decoded<(), GroupTotals>,
}

impl<'a> Overlay<'a> {
    pub(crate) fn over(base: &'a dyn ReadState) -> Self {
        Self {
            base,
            changes: Changes::new(),
            undo: Vec::new(),
            sums: Decoded::default(),
            counters: Decoded::default(),
            totals: Decoded::default(),
        }
    }

    pub(crate) fn set(&mut self, family: Family, key: Bytes, value: Option<Bytes>) {
        match DecodedKey::read(family, &key) {
            Some(DecodedKey::Sums(folder)) => self.sums.forget(folder),
            Some(DecodedKey::Counter(which)) => self.counters.forget(which),
            Some(DecodedKey::Totals) => self.totals.forget(()),
            None => {}
        }
        let before = self.changes.set(family, key.clone(), value);
        self.undo.push(((family, key), before));
    }

    /// What is changed so far stays.
    pub(crate) fn mark(&mut self) {
        self.undo.clear();
        self.sums.mark();
        self.counters.mark();
        self.totals.mark();
    }

    /// Takes back what was changed since the mark.
    pub(crate) fn roll_back(&mut self) {
        while let Some(((family, key), before)) = self.undo.pop() {
            match before {
                Some(value) => {
                    self.changes.set(family, key, value);
                }
                None => self.changes.forget(family, &key),
            }
        }
        self.sums.roll_back();
        self.counters.roll_back();
        self.totals.roll_back();
    }

    pub(crate) fn into_changes(mut self) -> Changes {
        for (family, key, value) in self.decoded_rows() {
            self.changes.put(family, key, value);
        }
        self.changes
    }

    /// The record of a key that is held decoded.
    fn decoded(&self, family: Family, key: &[u8]) -> Option<Bytes> {
        match DecodedKey::read(family, key)? {
            DecodedKey::Sums(folder) => self.sums.get(folder).map(encoded),
            DecodedKey::Counter(which) => self.counters.get(which).map(encoded),
            DecodedKey::Totals => self.totals.get(()).map(encoded),
        }
    }

    /// Rows that are held decoded and were changed.
    fn decoded_rows(&self) -> Vec<(Family, Bytes, Bytes)> {
        let sums = self.sums.changed().map(|(folder, sums)| (SumsKey::FAMILY, SumsKey { folder }.to_bytes(), encoded(sums)));
        let counters = self.counters.changed().map(|(which, count)| (CounterKey::FAMILY, CounterKey { which }.to_bytes(), encoded(count)));
        let totals = self.totals.changed().map(|((), totals)| (TotalsKey::FAMILY, TotalsKey {}.to_bytes(), encoded(totals)));
        sums.chain(counters).chain(totals).collect()
    }
}

/// What tells records apart that are held decoded.
enum DecodedKey {
    Sums(EntryId),
    Counter(Counter),
    Totals,
}

impl DecodedKey {
    /// Reads a key; `None` if its records are not held decoded.
    fn read(family: Family, key: &[u8]) -> Option<Self> {
        const SUMS: u8 = SumsKey::KIND.number();
        const COUNTER: u8 = CounterKey::KIND.number();
        const TOTALS: u8 = TotalsKey::KIND.number();
        match (family, *key.first()?) {
            (SumsKey::FAMILY, SUMS) => SumsKey::from_bytes(key).ok().map(|key| Self::Sums(key.folder)),
            (CounterKey::FAMILY, COUNTER) => CounterKey::from_bytes(key).ok().map(|key| Self::Counter(key.which)),
            (TotalsKey::FAMILY, TOTALS) => Some(Self::Totals),
            _ => None,
        }
    }
}

/// Whether keys whose records are held decoded can lie between two bounds.
fn reach_decoded(family: Family, start: Bound<&[u8]>, end: Bound<&[u8]>) -> bool {
    let first = |bound: Bound<&[u8]>| match bound {
        Bound::Included(key) | Bound::Excluded(key) => key.first().copied(),
        Bound::Unbounded => None,
    };
    let (least, greatest) = (first(start).unwrap_or(0), first(end).unwrap_or(u8::MAX));
    let kinds = [(SumsKey::FAMILY, SumsKey::KIND), (CounterKey::FAMILY, CounterKey::KIND), (TotalsKey::FAMILY, TotalsKey::KIND)];
    kinds.into_iter().any(|(of, kind)| of == family && (least..=greatest).contains(&kind.number()))
}

fn encoded(record: impl Message) -> Bytes {
    record.encode_to_vec().into()
}

impl ReadState for Overlay<'_> {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        if let Some(value) = self.decoded(family, key) {
            return Ok(Some(value));
        }
        match self.changes.of(family).get(key) {
            Some(value) => Ok(value.clone()),
            None => self.base.get(family, key),
        }
    }

    fn scan<'a>(&'a self, family: Family, start: Bound<&[u8]>, end: Bound<&[u8]>, direction: Direction) -> Rows<'a> {
        let base = self.base.scan(family, start, end, direction);
        if !is_some_between(start, end) {
            return base;
        }
        let changed = self.changes.of(family).range::<[u8], _>((start, end)).map(|(key, value)| (key.clone(), value.clone()));
        let rows = merged(base, changed, direction);
        if !reach_decoded(family, start, end) {
            return rows;
        }
        let mut decoded = self.decoded_rows();
        decoded.retain(|(of, key, _)| {
            *of == family && <(Bound<&[u8]>, Bound<&[u8]>) as RangeBounds<[u8]>>::contains(&(start, end), key.as_ref())
        });
        decoded.sort_unstable();
        merged(rows, decoded.into_iter().map(|(_, key, value)| (key, Some(value))), direction)
    }
}

/// Rows with changes in their places; both in the order of keys, the changes forward.
fn merged<'a>(base: Rows<'a>, changed: impl DoubleEndedIterator<Item = Changed> + 'a, direction: Direction) -> Rows<'a> {
    let base = base.peekable();
    match direction {
        Direction::Forward => Box::new(Merged { base, changed: changed.peekable(), direction }),
        Direction::Backward => Box::new(Merged { base, changed: changed.rev().peekable(), direction }),
    }
}

/// A key and what it was changed to.
type Changed = (Bytes, Option<Bytes>);

/// The rows of the base with the changed ones in their places.
struct Merged<'a, C: Iterator<Item = Changed>> {
    base: Peekable<Rows<'a>>,
    changed: Peekable<C>,
    direction: Direction,
}

impl<C: Iterator<Item = Changed>> Iterator for Merged<'_, C> {
    type Item = Result<Row, StateError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let order = match (self.base.peek(), self.changed.peek()) {
                (None, None) => return None,
                (Some(Err(_)), _) | (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(Ok((base, _))), Some((changed, _))) => match self.direction {
                    Direction::Forward => base.cmp(changed),
                    Direction::Backward => changed.cmp(base),
                },
            };
            if order == Ordering::Less {
                return self.base.next();
            }
            if order == Ordering::Equal {
                self.base.next();
            }
            if let Some((key, Some(value))) = self.changed.next() {
                return Some(Ok((key, value)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{MemoryStore, StateStore};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn key(number: u8) -> Bytes {
        Bytes::from(vec![number])
    }

    fn read(state: &dyn ReadState, direction: Direction, from: u8, to: u8) -> Vec<(u8, u8)> {
        let rows = state.scan(Family::Tree, Bound::Included(&[from]), Bound::Excluded(&[to]), direction);
        rows.map(|row| row.map(|(key, value)| (key[0], value[0])).unwrap()).collect()
    }

    proptest! {
        #[test]
        fn reads_as_if_the_changes_were_committed(
            base in proptest::collection::btree_map(0..20_u8, 0..9_u8, 0..15),
            kept in proptest::collection::vec((0..20_u8, proptest::option::of(0..9_u8)), 0..15),
            undone in proptest::collection::vec((0..20_u8, proptest::option::of(0..9_u8)), 0..15),
            from in 0..20_u8,
            to in 0..20_u8,
        ) {
            let store = MemoryStore::new();
            let mut changes = Changes::new();
            base.iter().for_each(|(at, value)| changes.put(Family::Tree, key(*at), key(*value)));
            changes.put(Family::Data, key(3), key(3));
            store.commit(changes).unwrap();
            let snapshot = store.snapshot();
            let mut overlay = Overlay::over(&*snapshot);
            let mut expected: BTreeMap<u8, u8> = base;
            for (at, value) in kept {
                overlay.set(Family::Tree, key(at), value.map(key));
                match value {
                    Some(value) => expected.insert(at, value),
                    None => expected.remove(&at),
                };
            }
            overlay.mark();
            for (at, value) in undone {
                overlay.set(Family::Tree, key(at), value.map(key));
            }
            overlay.roll_back();
            let mut rows: Vec<(u8, u8)> = expected.iter().filter(|(at, _)| (from..to).contains(at)).map(|(at, value)| (*at, *value)).collect();
            prop_assert_eq!(read(&overlay, Direction::Forward, from, to), rows.clone());
            rows.reverse();
            prop_assert_eq!(read(&overlay, Direction::Backward, from, to), rows);
            for at in 0..20 {
                prop_assert_eq!(overlay.get(Family::Tree, &[at]).unwrap(), expected.get(&at).map(|value| key(*value)));
            }
        }

        #[test]
        fn decoded_records_read_as_if_they_were_written(
            base in proptest::collection::btree_map(0..4_u8, 1..9_u64, 0..4),
            steps in proptest::collection::vec(step(), 0..30),
        ) {
            let store = MemoryStore::new();
            let mut changes = Changes::new();
            base.iter().for_each(|(at, files)| changes.put(Family::Tree, sums_key(*at), encoded(sums(*files))));
            changes.put(Family::Tree, key(1), key(1));
            changes.put(Family::Tree, key(90), key(90));
            store.commit(changes).unwrap();
            let snapshot = store.snapshot();
            let mut overlay = Overlay::over(&*snapshot);
            let (mut kept, mut now) = (base.clone(), base);
            for step in steps {
                match step {
                    Step::Decoded(at, files) => {
                        overlay.sums.set(folder(at), sums(files));
                        now.insert(at, files);
                    }
                    Step::Written(at, files) => {
                        overlay.set(Family::Tree, sums_key(at), files.map(|files| encoded(sums(files))));
                        match files {
                            Some(files) => now.insert(at, files),
                            None => now.remove(&at),
                        };
                    }
                    Step::Mark => {
                        overlay.mark();
                        kept = now.clone();
                    }
                    Step::RollBack => {
                        overlay.roll_back();
                        now = kept.clone();
                    }
                }
                let expected: Vec<(u8, u64)> = now.iter().map(|(at, files)| (*at, *files)).collect();
                let found = |state: &dyn ReadState| (0..4_u8).filter_map(|at| Some((at, files_of(&state.get(Family::Tree, &sums_key(at)).unwrap()?)))).collect::<Vec<_>>();
                prop_assert_eq!(found(&overlay), expected.clone());
                let rows = overlay.scan(Family::Tree, Bound::Unbounded, Bound::Unbounded, Direction::Forward).map(Result::unwrap);
                let rows: Vec<(u8, u64)> = rows.filter(|(key, _)| key.len() > 1).map(|(key, value)| (key[16], files_of(&value))).collect();
                prop_assert_eq!(rows, expected);
            }
            let expected: Vec<(u8, u64)> = now.iter().map(|(at, files)| (*at, *files)).collect();
            let changes = overlay.into_changes();
            store.commit(changes).unwrap();
            let state = store.snapshot();
            let found: Vec<(u8, u64)> = (0..4_u8).filter_map(|at| Some((at, files_of(&state.get(Family::Tree, &sums_key(at)).unwrap()?)))).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Decoded(u8, u64),
        Written(u8, Option<u64>),
        Mark,
        RollBack,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..4_u8, 1..9_u64).prop_map(|(at, files)| Step::Decoded(at, files)),
            3 => (0..4_u8, proptest::option::of(1..9_u64)).prop_map(|(at, files)| Step::Written(at, files)),
            1 => Just(Step::Mark),
            1 => Just(Step::RollBack),
        ]
    }

    fn folder(at: u8) -> EntryId {
        EntryId([&[0; 15][..], &[at]].concat().try_into().unwrap())
    }

    fn sums_key(at: u8) -> Bytes {
        SumsKey { folder: folder(at) }.to_bytes()
    }

    fn sums(files: u64) -> FolderSums {
        FolderSums { files, ..FolderSums::default() }
    }

    fn files_of(record: &Bytes) -> u64 {
        FolderSums::decode(record.clone()).unwrap().files
    }
}
