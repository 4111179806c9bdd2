//! Where a group's state lies: ordered keys and values in four families, read at one moment and changed one entry at a time.
//!
//! The state machine knows these two traits and nothing else of storage. Invariant: a [`ReadState`] never changes while it is held, and a
//! commit is seen whole or not at all.

pub mod memory;
pub(crate) mod remembered;
#[cfg(feature = "rocksdb")]
pub mod rocksdb;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;

use bytes::Bytes;

#[cfg(feature = "rocksdb")]
pub use self::rocksdb::{RocksOptions, RocksShared, RocksStore};
pub use memory::MemoryStore;

/// A part of the state with settings of its own on disk. The numbers and names are frozen: they lie on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Singletons, counters, sessions, and everything the system group holds.
    Meta = 0,
    /// The tree: current, history, by-id, sums.
    Tree = 1,
    /// Versions, contents, manifests, chunks and their queues.
    Data = 2,
    /// The bytes of inline contents.
    Inline = 3,
}

impl Family {
    /// All families in the order of their numbers.
    pub const ALL: [Family; 4] = [Family::Meta, Family::Tree, Family::Data, Family::Inline];

    /// The name on disk.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Family::Meta => "meta",
            Family::Tree => "tree",
            Family::Data => "data",
            Family::Inline => "inline",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which way a scan goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the least key up.
    Forward,
    /// From the greatest key down.
    Backward,
}

/// A key and its value.
pub type Row = (Bytes, Bytes);

/// Rows in the order of their keys.
pub type Rows<'a> = Box<dyn Iterator<Item = Result<Row, StateError>> + 'a>;

/// Gives the last row from one key on and before another.
pub type LastRow<'a> = Box<dyn FnMut(&[u8], &[u8]) -> Result<Option<Row>, StateError> + 'a>;

/// A group's state at one moment.
pub trait ReadState: Send + Sync {
    /// The value of a key.
    ///
    /// # Errors
    /// The storage failed; the node must stop.
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, StateError>;

    /// The rows between two bounds, in the given direction. An error ends the rows.
    fn scan<'a>(&'a self, family: Family, start: Bound<&[u8]>, end: Bound<&[u8]>, direction: Direction) -> Rows<'a>;

    /// The last rows between many pairs of keys of a family, one after the other: cheaper than a scan for each.
    fn last_rows<'a>(&'a self, family: Family) -> LastRow<'a> {
        Box::new(move |start, end| self.scan(family, Bound::Included(start), Bound::Excluded(end), Direction::Backward).next().transpose())
    }

    /// How many rows lie between two bounds.
    ///
    /// # Errors
    /// The storage failed; the node must stop.
    fn count(&self, family: Family, start: Bound<&[u8]>, end: Bound<&[u8]>) -> Result<u64, StateError> {
        self.scan(family, start, end, Direction::Forward).try_fold(0, |count, row| row.map(|_row| count + 1))
    }

    /// The same state, where what would have to be read from a disk fails with [`StateError::NotInMemory`]; nothing if all of it is in memory.
    fn in_memory<'a>(&'a self) -> Option<Box<dyn ReadState + 'a>> {
        None
    }
}

/// A group's state as it changes. One writer at a time.
pub trait StateStore: Send + Sync {
    /// The state as it is now; it stays so however the store changes.
    fn snapshot(&self) -> Box<dyn ReadState>;

    /// Makes all changes at once.
    ///
    /// # Errors
    /// The storage failed; the node must stop.
    fn commit(&self, changes: Changes) -> Result<(), StateError>;
}

/// What one entry changes: at most one new value, or a deletion, for each key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    families: PerFamily<BTreeMap<Bytes, Option<Bytes>>>,
}

impl Changes {
    /// No changes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a key; a later call for the same key counts.
    pub fn put(&mut self, family: Family, key: Bytes, value: Bytes) {
        self.set(family, key, Some(value));
    }

    /// Deletes a key; a later call for the same key counts.
    pub fn delete(&mut self, family: Family, key: Bytes) {
        self.set(family, key, None);
    }

    /// How many keys change.
    #[must_use]
    pub fn len(&self) -> usize {
        Family::ALL.iter().map(|family| self.families.of(*family).len()).sum()
    }

    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The changes in the order of family and key; `None` is a deletion.
    pub fn iter(&self) -> impl Iterator<Item = (Family, &Bytes, Option<&Bytes>)> {
        Family::ALL.into_iter().flat_map(|family| self.of(family).iter().map(move |(key, value)| (family, key, value.as_ref())))
    }

    /// Sets or deletes a key. Gives what it was changed to before.
    pub(crate) fn set(&mut self, family: Family, key: Bytes, value: Option<Bytes>) -> Option<Option<Bytes>> {
        self.families.of_mut(family).insert(key, value)
    }

    /// Forgets the change of a key.
    pub(crate) fn forget(&mut self, family: Family, key: &[u8]) {
        self.families.of_mut(family).remove(key);
    }

    /// The changes of one family in the order of keys.
    pub(crate) fn of(&self, family: Family) -> &BTreeMap<Bytes, Option<Bytes>> {
        self.families.of(family)
    }
}

/// One of something for each family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PerFamily<T>([T; Family::ALL.len()]);

impl<T> PerFamily<T> {
    pub(crate) fn of(&self, family: Family) -> &T {
        let [meta, tree, data, inline] = &self.0;
        match family {
            Family::Meta => meta,
            Family::Tree => tree,
            Family::Data => data,
            Family::Inline => inline,
        }
    }

    pub(crate) fn of_mut(&mut self, family: Family) -> &mut T {
        let [meta, tree, data, inline] = &mut self.0;
        match family {
            Family::Meta => meta,
            Family::Tree => tree,
            Family::Data => data,
            Family::Inline => inline,
        }
    }
}

/// Whether a key can lie between two bounds.
pub(crate) fn is_some_between(start: Bound<&[u8]>, end: Bound<&[u8]>) -> bool {
    match (start, end) {
        (Bound::Included(start), Bound::Included(end)) => start <= end,
        (Bound::Included(start) | Bound::Excluded(start), Bound::Excluded(end)) | (Bound::Excluded(start), Bound::Included(end)) => {
            start < end
        }
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => true,
    }
}

/// The state cannot be read or written, or holds what it must not hold. Either ends the node: going on could answer wrongly.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The storage below reported a failure.
    #[error("the state store failed: {detail}")]
    Storage {
        /// What it said.
        detail: String,
    },
    /// A stored key or record cannot be what this program writes.
    #[error("the stored state is damaged: {what}")]
    Corrupt {
        /// What was found.
        what: String,
    },
    /// A read that was not to wait for a disk would have had to; nothing is wrong. Only [`ReadState::in_memory`] fails so.
    #[error("what was asked for is not in memory")]
    NotInMemory,
}

impl StateError {
    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }
}
