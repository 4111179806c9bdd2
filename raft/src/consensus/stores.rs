//! What consensus asks of a place for a group's state, so that it runs on RocksDB and in memory alike.

use std::path::Path;
use std::sync::Arc;

use crate::store::{Changes, ReadState, StateError};

/// The state of one replica, open.
pub trait ReplicaStore: Send + Sync {
    /// Returns the state as of now; it stays so, and readable, as long as it is held.
    fn snapshot(&self) -> Box<dyn ReadState>;

    /// Takes over all changes or none.
    ///
    /// # Errors
    /// The store failed; the node must stop.
    fn commit(&self, changes: Changes) -> Result<(), StateError>;

    /// Makes the state durable and copies or links it into a folder that does not exist yet; both hold at least what was committed before the call.
    ///
    /// # Errors
    /// The store failed.
    fn checkpoint(&self, folder: &Path) -> Result<(), StateError>;

    /// Says what went wrong behind the store's back; the node must stop then.
    fn background_failure(&self) -> Option<String>;
}

/// Opens states.
pub trait StoreFactory: Send + Sync {
    /// Opens the state in a folder, empty if the folder is empty or not there.
    ///
    /// # Errors
    /// The folder holds something else or cannot be read and written.
    fn open(&self, folder: &Path) -> Result<Arc<dyn ReplicaStore>, StateError>;

    /// Opens a copy to read it, without changing it.
    ///
    /// # Errors
    /// The folder holds no state or a damaged one.
    fn peek(&self, folder: &Path) -> Result<Box<dyn ReadState>, StateError>;
}
