//! Copy and move within one datasource: one command, all or nothing. What lies across datasources or is too large for a command is a job's.

use skep_raft::handle::Proposed;
use skep_raft::wire::meta::v1::{CopyEntry, Entry, MoveEntry, Precondition, tree_command};

use super::recycle::{bin_root, note_of_place};
use super::tree::entry_of;
use super::{Service, id_bytes};
use crate::auth::rights::{Authorized, ReadContent, WriteTree};
use crate::error_code::{ErrorCode, Failure};
use crate::request_context::RequestContext;
use crate::service::place::Place;

/// How something is copied or moved.
#[derive(Clone, Debug, Default)]
pub struct TransferRequest {
    /// What stands at the target gives way: to the recycle bin, unless its workspace has none.
    pub overwrite: bool,
    /// A folder without its members; copies only.
    pub shallow: bool,
    /// What must hold for the source.
    pub condition: Option<Precondition>,
    /// What must hold for the target.
    pub target_condition: Option<Precondition>,
}

/// What was copied or moved.
#[derive(Clone, Debug)]
pub struct Transferred {
    /// The entry at its new place.
    pub entry: Entry,
    /// Nothing stood there before.
    pub created: bool,
}

impl Service {
    /// Renames or moves within a datasource.
    ///
    /// # Errors
    /// [`ErrorCode::AcrossDatasources`] for what needs a job; [`ErrorCode::NotFound`], [`ErrorCode::AlreadyExists`], [`ErrorCode::ParentNotFound`],
    /// [`ErrorCode::IntoItself`], [`ErrorCode::PreconditionFailed`]; [`ErrorCode::Unknown`].
    pub async fn move_entry(
        &self,
        from: Authorized<WriteTree, Place>,
        mut to: Authorized<WriteTree, Place>,
        request: TransferRequest,
        context: &RequestContext,
    ) -> Result<Transferred, Failure> {
        check_ends(from.subject(), to.subject())?;
        self.ensure_home(&mut to, context).await?;
        let place = to.subject().clone();
        let command = MoveEntry {
            from: Some(from.subject().entry()),
            to: Some(place.entry()),
            overwrite: request.overwrite,
            condition: request.condition,
            recycle_root: bin_root(&place).filter(|_| request.overwrite),
            recycle_note_json: note_of_place(&place),
            bin: id_bytes(self.draw_entry().0),
            target_condition: request.target_condition,
            restore: from.subject().is_in_recycle_bin() && !place.is_in_recycle_bin(),
            ..MoveEntry::default()
        };
        from.index_for_proposal(self.metadata(), self.now_micros(), context.deadline()).await?;
        let proposed = self.propose_tree(&to, tree_command::What::MoveEntry(command), context).await?;
        transferred(proposed, &place)
    }

    /// Copies within a datasource; contents are shared, not copied. What lies in the past is copied as it was.
    ///
    /// # Errors
    /// As [`Service::move_entry`], and [`ErrorCode::TooLarge`] for a folder that needs a job.
    pub async fn copy_entry(
        &self,
        from: Authorized<ReadContent, Place>,
        mut to: Authorized<WriteTree, Place>,
        request: TransferRequest,
        context: &RequestContext,
    ) -> Result<Transferred, Failure> {
        check_ends(from.subject(), to.subject())?;
        self.ensure_home(&mut to, context).await?;
        if from.subject().instant() != 0 {
            return self.copy_from_past(from, to, request, context).await;
        }
        let place = to.subject().clone();
        let command = CopyEntry {
            from: Some(from.subject().entry()),
            to: Some(place.entry()),
            overwrite: request.overwrite,
            shallow: request.shallow,
            condition: request.condition,
            seed: id_bytes(self.draw_id()),
            target_condition: request.target_condition,
            recycle_root: bin_root(&place).filter(|_| request.overwrite),
            recycle_note_json: note_of_place(&place),
            bin: id_bytes(self.draw_entry().0),
        };
        from.index_for_proposal(self.metadata(), self.now_micros(), context.deadline()).await?;
        let proposed = self.propose_tree(&to, tree_command::What::CopyEntry(command), context).await?;
        transferred(proposed, &place)
    }
}

fn check_ends(from: &Place, to: &Place) -> Result<(), Failure> {
    if from.is_workspace_root() || to.is_workspace_root() {
        return Err(Failure::new(ErrorCode::Forbidden, "a workspace itself is not copied, moved or replaced"));
    }
    if from.datasource() != to.datasource() {
        let why = format!("{} and {} lie in different datasources", from.path(), to.path());
        return Err(Failure::new(ErrorCode::AcrossDatasources, why));
    }
    Ok(())
}

fn transferred(proposed: Proposed, place: &Place) -> Result<Transferred, Failure> {
    let created = proposed.done.created;
    Ok(Transferred { entry: entry_of(proposed, place)?, created })
}
