//! States in RocksDB: what a production node opens.

use std::path::Path;
use std::sync::Arc;

use super::stores::{ReplicaStore, StoreFactory};
use crate::store::{Changes, ReadState, RocksShared, RocksStore, StateError, StateStore};

/// Opens states in RocksDB that share memory and threads.
#[derive(Clone, Debug)]
pub struct RocksStores {
    shared: RocksShared,
}

impl RocksStores {
    /// Makes a factory on what all states of the node share.
    #[must_use]
    pub fn new(shared: RocksShared) -> Self {
        Self { shared }
    }
}

impl StoreFactory for RocksStores {
    fn open(&self, folder: &Path) -> Result<Arc<dyn ReplicaStore>, StateError> {
        Ok(Arc::new(RocksReplica(RocksStore::open(folder, &self.shared)?)))
    }

    fn peek(&self, folder: &Path) -> Result<Box<dyn ReadState>, StateError> {
        Ok(RocksStore::open_read_only(folder, &self.shared)?.snapshot())
    }
}

struct RocksReplica(RocksStore);

impl ReplicaStore for RocksReplica {
    fn snapshot(&self) -> Box<dyn ReadState> {
        self.0.snapshot()
    }

    fn commit(&self, changes: Changes) -> Result<(), StateError> {
        self.0.commit(changes)
    }

    fn checkpoint(&self, folder: &Path) -> Result<(), StateError> {
        self.0.checkpoint(folder)
    }

    fn background_failure(&self) -> Option<String> {
        match self.0.background_errors() {
            Ok(0) => None,
            Ok(count) => Some(format!("{count} flushes or compactions have failed; the database's file LOG says why")),
            Err(error) => Some(error.to_string()),
        }
    }
}
