//! Folders that are built beside each other in one hidden folder, for one command to put them all in place.
//!
//! A part is known by its names below the place that is restored, so that whoever builds it again, also after another comparison, makes the same entries.

use skep_placement::ids::EntryId;
use skep_raft::wire::meta::v1::{CreateFolder, DeleteEntry, EntryPath, OpenHidden, Precondition, tree_command};

use super::{Builder, ITEM};
use crate::auth::rights::{Authorized, WriteTree};
use crate::error_code::{ErrorCode, Failure};
use crate::service::id_bytes;
use crate::service::jobs::position::Position;
use crate::service::jobs::record::derived_id;
use crate::service::jobs::running::Running;
use crate::service::jobs::transfer_job::step;
use crate::service::place::Place;

impl Builder<'_> {
    /// The same, for a part.
    pub(in crate::service::jobs) fn part(self, names: Vec<String>) -> Self {
        // Its entries take the place of those there are, so it has their notes.
        Self { item: 0, part: Some(names), replacing: Some(Precondition::default()), ..self }
    }

    /// The id of the folder that a part is.
    pub(in crate::service::jobs) fn part_entry(running: &Running, names: &[String]) -> EntryId {
        EntryId(derived_id(running.id(), 0, "part", names.join("/").as_bytes()))
    }

    /// Builds what is missing of a part, and links it nowhere.
    pub(in crate::service::jobs) async fn build_part(mut self, position: &mut Position) -> Result<(), Failure> {
        let hidden = OpenHidden { entry: id_bytes(self.hidden()) };
        step(self.running, &self.ends.target, tree_command::What::OpenHidden(hidden)).await?;
        let beside = CreateFolder {
            path: Some(all_parts(self.running)),
            entry: id_bytes(derived_id(self.running.id(), 0, "parts", b"")),
            existing_ok: true,
            ..CreateFolder::default()
        };
        step(self.running, &self.ends.target, tree_command::What::CreateFolder(beside)).await?;
        self.folder_with_members(position).await
    }

    /// Takes away the parts that are not in place. What cannot be taken away now hangs nowhere.
    pub(in crate::service::jobs) async fn discard_parts(running: &Running, target: &Authorized<WriteTree, Place>) {
        let command = DeleteEntry { path: Some(all_parts(running)), permanently: true, ..DeleteEntry::default() };
        match step(running, target, tree_command::What::DeleteEntry(command)).await {
            Err(failure) if failure.code != ErrorCode::NotFound => {
                tracing::warn!(job = %running.id(), %failure, "what a job built in vain was not taken away");
            }
            Ok(_) | Err(_) => {}
        }
    }
}

/// The folder that the parts lie in.
fn all_parts(running: &Running) -> EntryPath {
    EntryPath { base: id_bytes(derived_id(running.id(), 0, "hidden", b"")), names: vec![ITEM.to_owned()] }
}
