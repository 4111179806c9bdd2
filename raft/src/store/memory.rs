//! The state in memory: for tests and simulations. Nothing here survives the process.
//!
//! Invariant: a snapshot shares the maps with the store until the store changes, then the store takes a copy.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

use super::{Changes, Direction, Family, PerFamily, ReadState, Rows, StateError, StateStore, is_some_between};

type Rowset = PerFamily<BTreeMap<Bytes, Bytes>>;

/// A store that is a map.
#[derive(Default)]
pub struct MemoryStore {
    rows: RwLock<Arc<Rowset>>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn current(&self) -> Arc<Rowset> {
        Arc::clone(&self.rows.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let current = self.current();
        let rows: usize = Family::ALL.iter().map(|family| current.of(*family).len()).sum();
        f.debug_struct("MemoryStore").field("rows", &rows).finish()
    }
}

impl StateStore for MemoryStore {
    fn snapshot(&self) -> Box<dyn ReadState> {
        Box::new(MemorySnapshot { rows: self.current() })
    }

    fn commit(&self, changes: Changes) -> Result<(), StateError> {
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        let rows = Arc::make_mut(&mut rows);
        for (family, key, value) in changes.iter() {
            match value {
                Some(value) => rows.of_mut(family).insert(key.clone(), value.clone()),
                None => rows.of_mut(family).remove(key),
            };
        }
        Ok(())
    }
}

struct MemorySnapshot {
    rows: Arc<Rowset>,
}

impl ReadState for MemorySnapshot {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        Ok(self.rows.of(family).get(key).cloned())
    }

    fn scan<'a>(&'a self, family: Family, start: Bound<&[u8]>, end: Bound<&[u8]>, direction: Direction) -> Rows<'a> {
        if !is_some_between(start, end) {
            return Box::new(std::iter::empty());
        }
        let rows = self.rows.of(family).range::<[u8], _>((start, end)).map(|(key, value)| Ok((key.clone(), value.clone())));
        match direction {
            Direction::Forward => Box::new(rows),
            Direction::Backward => Box::new(rows.rev()),
        }
    }
}
