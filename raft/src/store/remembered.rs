//! A state that remembers the single rows that were asked for: the same few are asked for by every request.
//!
//! Invariant: it answers what the state answers, because a state never changes while it is held.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock};

use bytes::Bytes;

use super::{Direction, Family, LastRow, PerFamily, ReadState, Rows, StateError};

/// Rows remembered; those asked for later are read each time.
const ROWS_MAX: usize = 4_096;

/// A longer row is read each time.
const ROW_BYTES_MAX: usize = 4_096;

type Remembered = BTreeMap<Bytes, Option<Bytes>>;

/// See the file.
pub(crate) struct RememberedState {
    state: Box<dyn ReadState>,
    rows: PerFamily<RwLock<Remembered>>,
}

impl RememberedState {
    pub(crate) fn over(state: Box<dyn ReadState>) -> Self {
        Self { state, rows: PerFamily::default() }
    }
}

impl ReadState for RememberedState {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        let rows = self.rows.of(family);
        if let Some(known) = rows.read().unwrap_or_else(PoisonError::into_inner).get(key) {
            return Ok(known.clone());
        }
        let value = self.state.get(family, key)?;
        let is_remembered = match &value {
            Some(value) => value.len() <= ROW_BYTES_MAX,
            // Of the tree and the contents what is not there is about to be made, and not asked for again.
            None => family == Family::Meta,
        };
        if is_remembered {
            let mut rows = rows.write().unwrap_or_else(PoisonError::into_inner);
            if rows.len() < ROWS_MAX {
                rows.insert(Bytes::copy_from_slice(key), value.clone());
            }
        }
        Ok(value)
    }

    fn scan<'a>(&'a self, family: Family, start: Bound<&[u8]>, end: Bound<&[u8]>, direction: Direction) -> Rows<'a> {
        self.state.scan(family, start, end, direction)
    }

    fn last_rows<'a>(&'a self, family: Family) -> LastRow<'a> {
        self.state.last_rows(family)
    }

    fn count(&self, family: Family, start: Bound<&[u8]>, end: Bound<&[u8]>) -> Result<u64, StateError> {
        self.state.count(family, start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Changes, MemoryStore, StateStore};

    #[test]
    fn it_answers_as_the_state_does() {
        let store = MemoryStore::new();
        let mut changes = Changes::new();
        let long = Bytes::from(vec![7; ROW_BYTES_MAX + 1]);
        changes.put(Family::Meta, Bytes::from_static(b"a"), Bytes::from_static(b"1"));
        changes.put(Family::Tree, Bytes::from_static(b"a"), Bytes::from_static(b"2"));
        changes.put(Family::Meta, Bytes::from_static(b"long"), long.clone());
        store.commit(changes).expect("memory commits");
        let state = RememberedState::over(store.snapshot());
        for _twice in 0..2 {
            assert_eq!(state.get(Family::Meta, b"a").expect("read"), Some(Bytes::from_static(b"1")));
            assert_eq!(state.get(Family::Tree, b"a").expect("read"), Some(Bytes::from_static(b"2")), "families are apart");
            assert_eq!(state.get(Family::Data, b"a").expect("read"), None);
            assert_eq!(state.get(Family::Meta, b"long").expect("read"), Some(long.clone()));
        }
        assert_eq!(state.rows.of(Family::Meta).read().expect("not poisoned").len(), 1, "long rows are not remembered");
        assert_eq!(state.rows.of(Family::Data).read().expect("not poisoned").len(), 0, "what is not there is remembered in one family");
        assert_eq!(state.count(Family::Meta, Bound::Unbounded, Bound::Unbounded).expect("read"), 2);
    }

    #[test]
    fn what_it_remembers_is_bounded() {
        let state = RememberedState::over(MemoryStore::new().snapshot());
        for number in 0..=u32::try_from(ROWS_MAX).expect("small") {
            assert_eq!(state.get(Family::Meta, &number.to_be_bytes()).expect("read"), None);
        }
        assert_eq!(state.rows.of(Family::Meta).read().expect("not poisoned").len(), ROWS_MAX);
    }
}
