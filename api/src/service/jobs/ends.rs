//! The two ends of one item of a copy or a move: the proofs, and what must hold there.

use std::sync::Arc;

use skep_placement::ids::EntryId;
use skep_raft::wire::meta::v1::{BatchStep, Entry, EntryPath, HoldsStill, MoveEntry, Precondition, TreeBatch, batch_step, tree_command};

use super::record::{JobKind, TransferParameters, derived_id};
use super::running::Running;
use super::transfer_job::step;
use crate::auth::authenticator::SignedIn;
use crate::auth::rights::{Authorized, ReadContent, WriteTree};
use crate::error_code::{ErrorCode, Failure};
use crate::service::content::may_hold;
use crate::service::id_bytes;
use crate::service::place::Place;
use crate::service::recycle::{bin_root, note_of_place};
use crate::service::user_path::UserPath;

/// Both ends with their proofs.
pub(super) struct Ends {
    pub(super) source: Authorized<ReadContent, Place>,
    /// The item leaves its place: a move.
    pub(super) leaving: Option<Authorized<WriteTree, Place>>,
    pub(super) target: Authorized<WriteTree, Place>,
    /// What is at the target gives way.
    pub(super) overwrite: bool,
    /// What must hold for the source.
    pub(super) condition: Option<Precondition>,
    /// What must hold for the target.
    pub(super) target_condition: Option<Precondition>,
}

impl Ends {
    /// Decides both ends anew, as the user who asked.
    pub(super) async fn decide(
        running: &Running,
        (kind, parameters): (JobKind, &TransferParameters),
        node: &str,
        target: &UserPath,
    ) -> Result<Self, Failure> {
        let view = running.service().metadata().system(running.context().deadline()).await?;
        let who = Arc::new(SignedIn::of_job(&view, &running.job)?);
        let from = Place::find(&view, &who, node.parse()?)?;
        let to = Place::find(&view, &who, target.clone())?;
        if from.is_workspace_root() || to.is_workspace_root() {
            return Err(Failure::new(ErrorCode::Forbidden, "a workspace itself is not copied, moved or replaced"));
        }
        let leaving = match kind {
            JobKind::Move => Some(Authorized::decide(&view, Arc::clone(&who), from.clone())?),
            JobKind::Copy | JobKind::Delete | JobKind::Recycled | JobKind::Restore => None,
        };
        Ok(Self {
            source: Authorized::decide(&view, Arc::clone(&who), from)?,
            leaving,
            target: Authorized::decide(&view, who, to)?,
            overwrite: parameters.overwrite,
            condition: parameters.condition.clone().map(Into::into),
            target_condition: parameters.target_condition.clone().map(Into::into),
        })
    }

    /// Has the condition on the source judged where it lies, of the very state that is copied.
    pub(super) async fn check_source(&self, running: &Running, source: &Entry) -> Result<(), Failure> {
        let Some(condition) = self.condition.clone() else { return Ok(()) };
        if self.source.subject().instant() != 0 {
            // What was does not change any more.
            let why = "what stood there then is not what the request names";
            return if may_hold(&condition, source) { Ok(()) } else { Err(Failure::new(ErrorCode::PreconditionFailed, why)) };
        }
        let path = Some(self.source.subject().entry());
        let as_seen = Precondition { etags_any: vec![source.etag.clone()], ..Precondition::default() };
        let steps = [condition, as_seen].map(|condition| {
            let still = HoldsStill { path: path.clone(), condition: Some(condition), ..HoldsStill::default() };
            BatchStep { what: Some(batch_step::What::HoldsStill(still)) }
        });
        let batch = tree_command::What::Batch(TreeBatch { steps: steps.to_vec() });
        step(running, &self.source, batch).await.map(|_done| ())
    }

    /// The command that puts at the target what lies at another path, whose entry is known: in one step with what gives way there.
    pub(super) fn putting(&self, running: &Running, from: EntryPath, expected: EntryId) -> MoveEntry {
        let place = self.target.subject();
        MoveEntry {
            from: Some(from),
            to: Some(place.entry()),
            expected: id_bytes(expected.0),
            overwrite: self.overwrite,
            recycle_root: bin_root(place).filter(|_| self.overwrite),
            recycle_note_json: note_of_place(place),
            bin: id_bytes(derived_id(running.id(), running.position().item, "bin", b"")),
            target_condition: self.target_condition.clone(),
            ..MoveEntry::default()
        }
    }
}
