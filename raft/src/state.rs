//! The state machine: what a group's entries do to its state. No clock, no chance, no I/O but the [`ReadState`] given; every replica gets
//! the same changes from the same entries.
//!
//! Invariants: a proposal takes effect once at most and as a whole or not at all; stamps only grow; an entry is applied once. A refusal is an
//! outcome like any other; an error is a failed or damaged store and ends the node.
#![deny(clippy::wildcard_enum_match_arm, clippy::float_arithmetic)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

pub(crate) mod audit;
pub(crate) mod chunk;
pub(crate) mod content;
pub(crate) mod decoded;
pub(crate) mod entry;
pub(crate) mod feed;
pub(crate) mod history;
pub(crate) mod idempotent;
pub(crate) mod limits;
pub(crate) mod lock;
pub(crate) mod manifest;
pub mod namespace;
pub(crate) mod overlay;
pub(crate) mod path;
pub mod policy;
pub(crate) mod precondition;
pub(crate) mod quota;
pub(crate) mod read;
pub(crate) mod recovered;
pub(crate) mod rejection;
pub mod rights;
pub(crate) mod session;
pub(crate) mod stated;
pub(crate) mod transaction;
pub(crate) mod tree;

pub use crate::command::described;

use skep_placement::ids::{DatasourceId, GroupId};

use crate::keys::{AppliedIndexKey, FormatKey, StampKey};
use crate::store::{Changes, ReadState, StateError};
use crate::wire::meta::v1::{Batch, Outcomes};

use transaction::Transaction;

/// The version of the keys and records of a state. A newer one comes with a way from this one.
const FORMAT: u64 = 1;

/// What a group holds, and so which commands it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupKind {
    /// The cluster map, identities, workspaces and jobs.
    System,
    /// The tree and contents of one datasource.
    Datasource(DatasourceId),
}

impl From<GroupId> for GroupKind {
    fn from(group: GroupId) -> Self {
        if group == GroupId::SYSTEM { GroupKind::System } else { GroupKind::Datasource(DatasourceId(group.0)) }
    }
}

/// The place of an entry in its group's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Its index.
    pub index: u64,
    /// The term it was proposed in.
    pub term: u64,
}

/// Applies one entry's batch to a state: sessions, stamps, then each command by itself. Gives what changes and one outcome a proposal.
///
/// # Errors
/// [`ApplyError`]: the node must stop. What a client sent is never an error.
pub fn apply_batch(state: &dyn ReadState, kind: GroupKind, position: Position, batch: &Batch) -> Result<(Changes, Outcomes), ApplyError> {
    let applied = read::get(state, &AppliedIndexKey {})?.unwrap_or(0);
    if position.index <= applied {
        return Err(ApplyError::AlreadyApplied { index: position.index, applied });
    }
    let mut transaction = Transaction::begin(state, kind, position)?;
    match read::get(state, &FormatKey {})? {
        None => transaction.put(&FormatKey {}, &FORMAT),
        Some(FORMAT) => {}
        Some(other) => return Err(StateError::corrupt(format!("it has format {other}, this program knows {FORMAT}")).into()),
    }
    let mut outcomes = Vec::with_capacity(batch.proposals.len());
    for proposal in &batch.proposals {
        transaction.advance(batch.clock);
        outcomes.push(session::apply(&mut transaction, proposal)?);
    }
    transaction.keep();
    transaction.put(&StampKey {}, &transaction.stamp());
    transaction.put(&AppliedIndexKey {}, &position.index);
    Ok((transaction.into_changes(), Outcomes { outcomes }))
}

/// Why an entry cannot be applied. Either ends the node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The state failed.
    #[error(transparent)]
    State(#[from] StateError),
    /// The log and the state disagree about what was applied.
    #[error("entry {index} was to be applied, but the state holds all entries to {applied} already")]
    AlreadyApplied {
        /// The entry's index.
        index: u64,
        /// The last index applied.
        applied: u64,
    },
}
