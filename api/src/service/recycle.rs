//! Taking something out of the recycle bin again.

use skep_raft::wire::meta::v1::{
    BatchStep, Command, CreateFolder, Entry, EntryPath, MoveEntry, TreeBatch, TreeCommand, batch_step, command, tree_command,
};

use super::{Service, command_of, id_bytes};
use crate::auth::rights::{Authorized, WriteTree};
use crate::error_code::{ErrorCode, Failure};
use crate::request_context::RequestContext;
use crate::service::place::Place;
use crate::service::tree::StatRequest;
use crate::service::user_path::UserPath;

/// The note that recycling leaves: the path it had, as a JSON text.
const NOTE: &str = "pydio:recycle_restore";

/// The note that what lies at a place gets when it goes to the recycle bin.
pub(crate) fn note_of_place(place: &Place) -> String {
    serde_json::Value::String(place.path().to_string()).to_string()
}

/// The folder whose recycle bin takes what stands at a place when it is replaced; none where it is deleted for good.
pub(crate) fn bin_root(place: &Place) -> Option<EntryPath> {
    (!place.workspace().skip_recycle).then(|| place.root())
}

impl Service {
    /// Where something in a recycle bin came from; gives the proof back for taking it out.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`]; [`ErrorCode::BadRequest`] for what does not lie in a bin, or is a part of what was recycled.
    pub async fn recycled_from(
        &self,
        mut proof: Authorized<WriteTree, Place>,
        context: &RequestContext,
    ) -> Result<(Authorized<WriteTree, Place>, UserPath), Failure> {
        let shown = proof.subject().path().to_string();
        if !proof.subject().is_in_recycle_bin() {
            return Err(Failure::new(ErrorCode::BadRequest, format!("{shown}: it does not lie in a recycle bin")));
        }
        let entry = self.stat_if_there(&mut proof, StatRequest { with_meta: true }, context).await?;
        let entry = entry.ok_or_else(|| Failure::not_found(&shown))?;
        let note = entry.meta.iter().find(|note| note.namespace == NOTE).and_then(|note| serde_json::from_str::<String>(&note.json).ok());
        let note = note.ok_or_else(|| {
            let why = format!("{shown}: nothing is noted of where it came from; restore the folder it was recycled with, or move it");
            Failure::new(ErrorCode::BadRequest, why)
        })?;
        Ok((proof, note.parse()?))
    }

    /// Moves something from a recycle bin to where it came from, with the folders above it that are missing, by one command.
    ///
    /// # Errors
    /// [`ErrorCode::AlreadyExists`] if something has the name now, [`ErrorCode::AcrossDatasources`], [`ErrorCode::NotFound`]; [`ErrorCode::Unknown`].
    pub async fn restore_recycled(
        &self,
        from: Authorized<WriteTree, Place>,
        to: Authorized<WriteTree, Place>,
        context: &RequestContext,
    ) -> Result<Entry, Failure> {
        let (bin, place) = (from.subject().clone(), to.subject().clone());
        if bin.datasource() != place.datasource() {
            let why = format!("{} came from {}, which lies in another datasource now; move it", bin.path(), place.path());
            return Err(Failure::new(ErrorCode::AcrossDatasources, why));
        }
        let mut steps = Vec::new();
        if let Some(parent) = place.path().parent().filter(|parent| !parent.below().is_empty()) {
            let parent = place.with_path(parent);
            steps.push(batch_step::What::CreateFolder(CreateFolder {
                path: Some(parent.entry()),
                entry: id_bytes(self.draw_entry().0),
                recursive: true,
                parents: self.parent_ids(&parent, true),
                existing_ok: true,
                mtime: 0,
            }));
        }
        steps.push(batch_step::What::MoveEntry(MoveEntry {
            from: Some(bin.entry()),
            to: Some(place.entry()),
            restore: true,
            ..MoveEntry::default()
        }));
        let steps = steps.into_iter().map(|what| BatchStep { what: Some(what) }).collect();
        from.index_for_proposal(self.metadata(), self.now_micros(), context.deadline()).await?;
        let index = to.index_for_proposal(self.metadata(), self.now_micros(), context.deadline()).await?;
        let what = command::What::Tree(TreeCommand { what: Some(tree_command::What::Batch(TreeBatch { steps })) });
        let command = Command { quotas: to.quotas(), ..command_of(to.actor(), index, what, context) };
        let proposed = self.metadata().propose(place.group(), command, context.deadline()).await;
        let proposed = proposed.map_err(|error| Failure::from(error).at(&place.path().to_string()))?;
        Ok(proposed.done.steps.into_iter().next_back().and_then(|done| done.entry).unwrap_or_default())
    }
}
