//! Requests that share one fdatasync: what is to be indexed, freed and answered once it is done.

use skep_placement::ids::Epoch;

use super::errors::{ChangeError, PutError};
use super::index::{IndexChange, IndexEntry};
use super::requests::Answer;

/// An answer that waits for durability.
#[derive(Debug)]
pub(super) enum Waiting {
    Put(Answer<Result<(), PutError>>),
    Delete(Answer<Result<bool, ChangeError>>, bool),
    Fence(Answer<Result<Epoch, ChangeError>>, Epoch),
    Close(Answer<Result<(), ChangeError>>),
}

#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) changes: Vec<IndexChange>,
    /// Records whose payload is freed once the index no longer names them.
    pub(super) freed: Vec<IndexEntry>,
    pub(super) waiting: Vec<Waiting>,
    /// Shards written.
    pub(super) written: u64,
    /// Shards deleted.
    pub(super) deleted: u64,
    /// Whether a fence was raised.
    pub(super) is_fenced: bool,
    /// Whether the store closes after this.
    pub(super) is_last: bool,
}

impl Waiting {
    /// Says that it is done. Whoever asked may have gone away; the answer is dropped then.
    pub(super) fn acknowledge(self) {
        match self {
            Waiting::Put(answer) => drop(answer.send(Ok(()))),
            Waiting::Delete(answer, was_there) => drop(answer.send(Ok(was_there))),
            Waiting::Fence(answer, epoch) => drop(answer.send(Ok(epoch))),
            Waiting::Close(answer) => drop(answer.send(Ok(()))),
        }
    }

    /// Says that the device is out; whether it is done is unknown.
    pub(super) fn fail(self, reason: &str) {
        let reason = reason.to_owned();
        match self {
            Waiting::Put(answer) => drop(answer.send(Err(PutError::Failed { reason }))),
            Waiting::Delete(answer, _) => drop(answer.send(Err(ChangeError::Failed { reason }))),
            Waiting::Fence(answer, _) => drop(answer.send(Err(ChangeError::Failed { reason }))),
            Waiting::Close(answer) => drop(answer.send(Err(ChangeError::Failed { reason }))),
        }
    }
}
