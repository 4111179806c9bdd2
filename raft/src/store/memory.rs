//! The state in memory: for tests and simulations. Nothing here survives the process.
//!
//! Invariant: a snapshot shares the maps with the store until the store changes, then the store takes a copy.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

use super::{Changes, Direction, Family, ReadState, Rows, StateError, StateStore};

type Rowset = BTreeMap<(Family, Bytes), Bytes>;

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
        f.debug_struct("MemoryStore").field("rows", &self.current().len()).finish()
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
                Some(value) => rows.insert((family, key.clone()), value.clone()),
                None => rows.remove(&(family, key.clone())),
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
        Ok(self.rows.get(&(family, Bytes::copy_from_slice(key))).cloned())
    }

    fn scan<'a>(&'a self, family: Family, start: Bound<&[u8]>, end: Bound<&[u8]>, direction: Direction) -> Rows<'a> {
        let Some(bounds) = family_bounds(family, start, end) else { return Box::new(std::iter::empty()) };
        let rows = self.rows.range(bounds).map(|((_, key), value)| Ok((key.clone(), value.clone())));
        match direction {
            Direction::Forward => Box::new(rows),
            Direction::Backward => Box::new(rows.rev()),
        }
    }
}

type FamilyBound = Bound<(Family, Bytes)>;

/// The bounds of a scan in a map of all families; `None` if nothing lies between them.
pub(crate) fn family_bounds(family: Family, start: Bound<&[u8]>, end: Bound<&[u8]>) -> Option<(FamilyBound, FamilyBound)> {
    let empty = match (start, end) {
        (Bound::Included(start), Bound::Included(end)) => start > end,
        (Bound::Included(start) | Bound::Excluded(start), Bound::Excluded(end)) | (Bound::Excluded(start), Bound::Included(end)) => {
            start >= end
        }
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
    };
    if empty {
        return None;
    }
    let at = |key: &[u8]| (family, Bytes::copy_from_slice(key));
    let start = match start {
        Bound::Included(key) => Bound::Included(at(key)),
        Bound::Excluded(key) => Bound::Excluded(at(key)),
        Bound::Unbounded => Bound::Included((family, Bytes::new())),
    };
    let end = match (end, family) {
        (Bound::Included(key), _) => Bound::Included(at(key)),
        (Bound::Excluded(key), _) => Bound::Excluded(at(key)),
        (Bound::Unbounded, Family::Meta) => Bound::Excluded((Family::Tree, Bytes::new())),
        (Bound::Unbounded, Family::Tree) => Bound::Excluded((Family::Data, Bytes::new())),
        (Bound::Unbounded, Family::Data) => Bound::Excluded((Family::Inline, Bytes::new())),
        (Bound::Unbounded, Family::Inline) => Bound::Unbounded,
    };
    Some((start, end))
}
