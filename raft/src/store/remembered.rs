//! A state that remembers the single rows that were asked for: the same few are asked for by every request.
//!
//! Invariant: it answers what the state answers, because a state never changes while it is held.

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock};

use bytes::Bytes;

use super::{Direction, Family, LastRow, PerFamily, ReadState, Rows, StateError};

/// Rows of a family that are remembered; those asked for later are read each time.
const ROWS_MAX: usize = 4_096;

/// A longer row is read each time.
const ROW_BYTES_MAX: usize = 4_096;

/// Of a family, keys and values together.
const BYTES_MAX: usize = 2 << 20;

/// See the file.
pub(crate) struct RememberedState {
    state: Box<dyn ReadState>,
    rows: PerFamily<RwLock<Remembered>>,
    for_readers: bool,
}

#[derive(Default)]
struct Remembered {
    rows: HashMap<Bytes, Option<Bytes>>,
    bytes: usize,
}

impl Remembered {
    fn has_room(&self) -> bool {
        self.rows.len() < ROWS_MAX && self.bytes < BYTES_MAX
    }
}

impl RememberedState {
    /// For commands, and for views of the system group.
    pub(crate) fn over(state: Box<dyn ReadState>) -> Self {
        Self { state, rows: PerFamily::default(), for_readers: false }
    }

    /// For many who read. What is not there is asked for again, too; contents are not remembered.
    pub(crate) fn for_readers(state: Box<dyn ReadState>) -> Self {
        Self { for_readers: true, ..Self::over(state) }
    }

    /// A row that is known, else that of a state, which is this one or the part of it that is in memory.
    fn known_or_read(&self, state: &dyn ReadState, family: Family, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        let rows = self.rows.of(family);
        let has_room = {
            let rows = rows.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = rows.rows.get(key) {
                return Ok(known.clone());
            }
            rows.has_room()
        };
        let value = state.get(family, key)?;
        if has_room && self.is_remembered(family, value.as_ref()) {
            let mut rows = rows.write().unwrap_or_else(PoisonError::into_inner);
            if rows.has_room() {
                rows.bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
                rows.rows.insert(Bytes::copy_from_slice(key), value.clone());
            }
        }
        Ok(value)
    }

    fn is_remembered(&self, family: Family, value: Option<&Bytes>) -> bool {
        match value {
            Some(value) => value.len() <= ROW_BYTES_MAX && !(self.for_readers && family == Family::Inline),
            // For commands: what is not there of the tree and the contents is about to be made, and not asked for again.
            None => self.for_readers || family == Family::Meta,
        }
    }
}

impl ReadState for RememberedState {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        self.known_or_read(self.state.as_ref(), family, key)
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

    fn in_memory<'a>(&'a self) -> Option<Box<dyn ReadState + 'a>> {
        let below = self.state.in_memory()?;
        Some(Box::new(InMemory { remembered: self, below }))
    }
}

/// What is remembered, and what below is in memory.
struct InMemory<'a> {
    remembered: &'a RememberedState,
    below: Box<dyn ReadState + 'a>,
}

impl ReadState for InMemory<'_> {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        self.remembered.known_or_read(self.below.as_ref(), family, key)
    }

    fn scan<'a>(&'a self, family: Family, start: Bound<&[u8]>, end: Bound<&[u8]>, direction: Direction) -> Rows<'a> {
        self.below.scan(family, start, end, direction)
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
        assert_eq!(state.rows.of(Family::Meta).read().expect("not poisoned").rows.len(), 1, "long rows are not remembered");
        assert_eq!(
            state.rows.of(Family::Data).read().expect("not poisoned").rows.len(),
            0,
            "what is not there is remembered in one family"
        );
        assert_eq!(state.count(Family::Meta, Bound::Unbounded, Bound::Unbounded).expect("read"), 2);
    }

    #[test]
    fn what_it_remembers_is_bounded() {
        let state = RememberedState::over(MemoryStore::new().snapshot());
        for number in 0..=u32::try_from(ROWS_MAX).expect("small") {
            assert_eq!(state.get(Family::Meta, &number.to_be_bytes()).expect("read"), None);
        }
        assert_eq!(state.rows.of(Family::Meta).read().expect("not poisoned").rows.len(), ROWS_MAX);
    }

    #[test]
    fn readers_ask_once_for_what_is_not_there_and_contents_are_not_kept() {
        let store = MemoryStore::new();
        let mut changes = Changes::new();
        changes.put(Family::Inline, Bytes::from_static(b"a"), Bytes::from_static(b"content"));
        changes.put(Family::Tree, Bytes::from_static(b"a"), Bytes::from_static(b"1"));
        store.commit(changes).expect("memory commits");
        let state = RememberedState::for_readers(store.snapshot());
        for _twice in 0..2 {
            assert_eq!(state.get(Family::Tree, b"b").expect("read"), None);
            assert_eq!(state.get(Family::Tree, b"a").expect("read"), Some(Bytes::from_static(b"1")));
            assert_eq!(state.get(Family::Inline, b"a").expect("read"), Some(Bytes::from_static(b"content")));
        }
        let kept = |family| state.rows.of(family).read().expect("not poisoned").rows.len();
        assert_eq!((kept(Family::Tree), kept(Family::Inline)), (2, 0));
    }

    #[test]
    fn long_rows_are_bounded_by_their_bytes() {
        let store = MemoryStore::new();
        let mut changes = Changes::new();
        let long = Bytes::from(vec![7; ROW_BYTES_MAX]);
        let keys: Vec<Bytes> = (0..1_000_u32).map(|number| Bytes::copy_from_slice(&number.to_be_bytes())).collect();
        keys.iter().for_each(|key| changes.put(Family::Data, key.clone(), long.clone()));
        store.commit(changes).expect("memory commits");
        let state = RememberedState::for_readers(store.snapshot());
        for key in &keys {
            assert_eq!(state.get(Family::Data, key).expect("read").as_ref(), Some(&long));
        }
        let rows = state.rows.of(Family::Data).read().expect("not poisoned");
        assert!(rows.bytes <= BYTES_MAX + ROW_BYTES_MAX + 4 && rows.rows.len() < 600, "{} rows, {} bytes", rows.rows.len(), rows.bytes);
    }
}
