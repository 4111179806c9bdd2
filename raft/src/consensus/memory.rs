//! States in memory, for tests and simulations of consensus without RocksDB. What a checkpoint writes is one file with all keys; a state that was never
//! checkpointed begins empty after a restart, as one does whose memory was lost, and is made anew from the log.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};

use super::stores::{ReplicaStore, StoreFactory};
use crate::store::{Changes, Direction, Family, MemoryStore, ReadState, StateError, StateStore};

const FILE: &str = "keys";

/// Opens states in memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryStores;

impl StoreFactory for MemoryStores {
    fn open(&self, folder: &Path) -> Result<Arc<dyn ReplicaStore>, StateError> {
        fs::create_dir_all(folder).map_err(failed)?;
        let store = MemoryStore::new();
        match File::open(folder.join(FILE)) {
            Ok(file) => store.commit(read(file)?)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        Ok(Arc::new(MemoryReplica { store, folder: folder.to_owned() }))
    }

    fn peek(&self, folder: &Path) -> Result<Box<dyn ReadState>, StateError> {
        let store = MemoryStore::new();
        store.commit(read(File::open(folder.join(FILE)).map_err(failed)?)?)?;
        Ok(store.snapshot())
    }
}

/// A state in memory with the folder that its checkpoints lie in.
struct MemoryReplica {
    store: MemoryStore,
    folder: PathBuf,
}

impl ReplicaStore for MemoryReplica {
    fn snapshot(&self) -> Box<dyn ReadState> {
        self.store.snapshot()
    }

    fn commit(&self, changes: Changes) -> Result<(), StateError> {
        self.store.commit(changes)
    }

    fn checkpoint(&self, folder: &Path) -> Result<(), StateError> {
        let state = self.store.snapshot();
        fs::create_dir(folder).map_err(failed)?;
        write(&folder.join(FILE), state.as_ref())?;
        // The state itself becomes durable too: the log may be purged up to here.
        let beside = self.folder.join(format!("{FILE}.new"));
        write(&beside, state.as_ref())?;
        fs::rename(beside, self.folder.join(FILE)).map_err(failed)
    }

    fn background_failure(&self) -> Option<String> {
        None
    }
}

fn failed(error: io::Error) -> StateError {
    StateError::Storage { detail: error.to_string() }
}

/// One record a key: family, length of the key, length of the value, key, value.
fn write(path: &Path, state: &dyn ReadState) -> Result<(), StateError> {
    let mut bytes = Vec::new();
    for family in Family::ALL {
        for row in state.scan(family, Bound::Unbounded, Bound::Unbounded, Direction::Forward) {
            let (key, value) = row?;
            bytes.put_u8(place(family));
            bytes.put_u32_le(length(&key));
            bytes.put_u32_le(length(&value));
            bytes.put_slice(&key);
            bytes.put_slice(&value);
        }
    }
    let mut file = File::create(path).map_err(failed)?;
    file.write_all(&bytes).map_err(failed)?;
    file.sync_all().map_err(failed)
}

fn read(mut file: File) -> Result<Changes, StateError> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(failed)?;
    let mut bytes = Bytes::from(bytes);
    let short = || StateError::Corrupt { what: "a checkpoint in memory's format ends within a record".to_owned() };
    let mut changes = Changes::new();
    while bytes.has_remaining() {
        let family = Family::ALL.get(usize::from(bytes.try_get_u8().map_err(|_short| short())?)).copied().ok_or_else(short)?;
        let key = bytes.try_get_u32_le().map_err(|_short| short())?;
        let value = bytes.try_get_u32_le().map_err(|_short| short())?;
        let mut take = |length: u32| {
            let length = usize::try_from(length).ok().filter(|length| *length <= bytes.len());
            length.map(|length| bytes.split_to(length)).ok_or_else(short)
        };
        let (key, value) = (take(key)?, take(value)?);
        changes.put(family, key, value);
    }
    Ok(changes)
}

fn place(family: Family) -> u8 {
    Family::ALL.iter().zip(0..).find(|(other, _)| **other == family).map_or(0, |(_, place)| place)
}

fn length(bytes: &Bytes) -> u32 {
    u32::try_from(bytes.len()).expect("a key or value is shorter than 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_the_whole_state() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = MemoryStores.open(&folder.path().join("state")).expect("an empty state");
        let mut changes = Changes::new();
        changes.put(Family::Meta, Bytes::from_static(b"a"), Bytes::new());
        changes.put(Family::Inline, Bytes::new(), Bytes::from_static(b"value"));
        store.commit(changes).expect("memory does not fail");
        store.checkpoint(&folder.path().join("copy")).expect("it can be written");
        for place in ["copy", "state"] {
            let copy = MemoryStores.open(&folder.path().join(place)).expect("it can be read");
            let found = copy.snapshot().get(Family::Inline, b"").expect("memory does not fail");
            assert_eq!(found, Some(Bytes::from_static(b"value")), "{place}");
            assert!(copy.snapshot().get(Family::Meta, b"a").expect("memory does not fail").is_some(), "{place}: an empty value");
        }
    }
}
