//! A snapshot that owns its database, so that a view on a group's state can outlive the call that made it.
//!
//! The binding ties a snapshot to a borrow of its database. Here both lie in one value: the database behind an [`Arc`], which does not move,
//! and the snapshot, which is dropped first.
#![expect(unsafe_code, reason = "a value that borrows from another of its fields; the alternative is a lock and a copy a read")]

use std::mem;
use std::sync::Arc;

use rocksdb::{DB, Snapshot};

/// A database at one moment.
pub(super) struct OwnedSnapshot {
    /// Borrows from `db`. Declared before it, so dropped before it.
    snapshot: Snapshot<'static>,
    db: Arc<DB>,
}

impl OwnedSnapshot {
    /// The database as it is now.
    pub(super) fn of(db: Arc<DB>) -> Self {
        let snapshot: Snapshot<'_> = db.snapshot();
        // SAFETY: only the lifetime changes. The snapshot borrows the `DB` inside the `Arc`, which stays where it is until the last clone of
        // the `Arc` is dropped; this value holds one and drops the snapshot before it. The longer lifetime never leaves this module: the
        // accessor below gives the snapshot out with the lifetime of `&self`, to which `Snapshot` is covariant.
        let snapshot = unsafe { mem::transmute::<Snapshot<'_>, Snapshot<'static>>(snapshot) };
        Self { snapshot, db }
    }

    pub(super) fn snapshot(&self) -> &Snapshot<'_> {
        &self.snapshot
    }

    pub(super) fn database(&self) -> &DB {
        &self.db
    }
}
