//! A state with changes laid over it, which can be taken back to a mark: what an entry's commands read and write.
//!
//! Invariant: after [`Overlay::roll_back`] every read gives what it gave at the last [`Overlay::mark`].

use std::cmp::Ordering;
use std::iter::Peekable;
use std::ops::Bound;

use bytes::Bytes;

use crate::store::{Changes, Direction, Family, ReadState, Row, Rows, StateError, is_some_between};

/// What a key was changed to before: nothing yet, deleted, or a value.
type Before = Option<Option<Bytes>>;

/// Changes over a state.
pub(crate) struct Overlay<'a> {
    base: &'a dyn ReadState,
    changes: Changes,
    undo: Vec<((Family, Bytes), Before)>,
}

impl<'a> Overlay<'a> {
    pub(crate) fn over(base: &'a dyn ReadState) -> Self {
        Self { base, changes: Changes::new(), undo: Vec::new() }
    }

    pub(crate) fn set(&mut self, family: Family, key: Bytes, value: Option<Bytes>) {
        let before = self.changes.set(family, key.clone(), value);
        self.undo.push(((family, key), before));
    }

    /// What is changed so far stays.
    pub(crate) fn mark(&mut self) {
        self.undo.clear();
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
    }

    pub(crate) fn into_changes(self) -> Changes {
        self.changes
    }
}

impl ReadState for Overlay<'_> {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        match self.changes.of(family).get(key) {
            Some(value) => Ok(value.clone()),
            None => self.base.get(family, key),
        }
    }

    fn scan<'a>(&'a self, family: Family, start: Bound<&[u8]>, end: Bound<&[u8]>, direction: Direction) -> Rows<'a> {
        let base = self.base.scan(family, start, end, direction).peekable();
        if !is_some_between(start, end) {
            return Box::new(base);
        }
        let changed = self.changes.of(family).range::<[u8], _>((start, end));
        match direction {
            Direction::Forward => Box::new(Merged { base, changed: changed.peekable(), direction }),
            Direction::Backward => Box::new(Merged { base, changed: changed.rev().peekable(), direction }),
        }
    }
}

/// The rows of the base with the changed ones in their places.
struct Merged<'a, C: Iterator<Item = (&'a Bytes, &'a Option<Bytes>)>> {
    base: Peekable<Rows<'a>>,
    changed: Peekable<C>,
    direction: Direction,
}

impl<'a, C: Iterator<Item = (&'a Bytes, &'a Option<Bytes>)>> Iterator for Merged<'a, C> {
    type Item = Result<Row, StateError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let order = match (self.base.peek(), self.changed.peek()) {
                (None, None) => return None,
                (Some(Err(_)), _) | (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(Ok((base, _))), Some((changed, _))) => match self.direction {
                    Direction::Forward => base.cmp(changed),
                    Direction::Backward => (*changed).cmp(base),
                },
            };
            if order == Ordering::Less {
                return self.base.next();
            }
            if order == Ordering::Equal {
                self.base.next();
            }
            if let Some((key, Some(value))) = self.changed.next() {
                return Some(Ok((key.clone(), value.clone())));
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
    }
}
