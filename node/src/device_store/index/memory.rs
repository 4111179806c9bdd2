//! An index in memory. It keeps nothing over a restart of the process; within one it behaves over a crash as a real
//! one does at worst: what wasn't flushed is gone.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Change, IndexBackend, IndexError, IndexProvider, KeyValue};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;
type Flushed = Arc<Mutex<BTreeMap<PathBuf, Map>>>;

/// Indexes in memory, one a folder.
#[derive(Clone, Debug, Default)]
pub struct MemoryIndexes {
    flushed: Flushed,
}

#[derive(Debug)]
struct MemoryIndex {
    folder: PathBuf,
    map: Mutex<Map>,
    flushed: Flushed,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl IndexProvider for MemoryIndexes {
    fn open(&self, folder: &Path) -> Result<Box<dyn IndexBackend>, IndexError> {
        let map = locked(&self.flushed).get(folder).cloned().unwrap_or_default();
        Ok(Box::new(MemoryIndex { folder: folder.to_owned(), map: Mutex::new(map), flushed: Arc::clone(&self.flushed) }))
    }

    fn destroy(&self, folder: &Path) -> Result<(), IndexError> {
        locked(&self.flushed).remove(folder);
        Ok(())
    }
}

impl IndexBackend for MemoryIndex {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        Ok(locked(&self.map).get(key).cloned())
    }

    fn scan(&self, from: Bound<&[u8]>, to: &[u8], limit: usize) -> Result<Vec<KeyValue>, IndexError> {
        let map = locked(&self.map);
        let range = map.range::<[u8], _>((from, Bound::Excluded(to)));
        Ok(range.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn write(&self, changes: Vec<Change>) -> Result<(), IndexError> {
        let mut map = locked(&self.map);
        for change in changes {
            match change {
                Change::Set(key, value) => map.insert(key, value),
                Change::Remove(key) => map.remove(&key),
            };
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), IndexError> {
        let map = locked(&self.map).clone();
        locked(&self.flushed).insert(self.folder.clone(), map);
        Ok(())
    }
}
