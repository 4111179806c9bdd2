//! Workspaces: named views on entries.

use bytes::Bytes;
use skep_placement::ids::{DatasourceId, EntryId};

use super::{cluster, grant};
use crate::keys::{DatasourceKey, NameRest, WorkspaceBySlugKey, WorkspaceKey};
use crate::state::limits;
use crate::state::rejection::{Stop, id, invalid, refuse, refuse_at, required, text};
use crate::state::transaction::Transaction;
use crate::wire::meta::v1::{DeleteWorkspace, Done, Permission, PutWorkspace, RejectionCode, WorkspaceRecord, WorkspaceScope};

/// Makes or changes a workspace.
pub(super) fn put(transaction: &mut Transaction<'_>, command: &PutWorkspace) -> Result<Done, Stop> {
    cluster::require(transaction)?;
    let given = required(command.workspace.as_ref(), "workspace")?;
    let created = write(transaction, given.clone(), command.must_be_new)?;
    Ok(Done { created, ..Done::default() })
}

/// Writes a workspace. Whether it is new.
pub(super) fn write(transaction: &mut Transaction<'_>, given: WorkspaceRecord, must_be_new: bool) -> Result<bool, Stop> {
    let key = WorkspaceKey { workspace: id(&given.id, "workspace id")? };
    check(transaction, &given)?;
    let was = transaction.get(&key)?;
    if must_be_new && was.is_some() {
        return Err(refuse(RejectionCode::AlreadyExists, format!("there is a workspace with the id {} already", key.workspace)));
    }
    let by_slug = WorkspaceBySlugKey { slug: NameRest(given.slug.clone()) };
    if transaction.get(&by_slug)?.is_some_and(|owner| owner != given.id) {
        return Err(refuse(RejectionCode::AlreadyExists, format!("there is a workspace {:?} already", given.slug)));
    }
    if let Some(was) = was.as_ref().filter(|was| was.slug != given.slug) {
        transaction.delete(&WorkspaceBySlugKey { slug: NameRest(was.slug.clone()) });
    }
    let stamp = transaction.stamp();
    let created = was.is_none();
    let record = WorkspaceRecord { created_at: was.map_or(stamp, |was| was.created_at), changed_at: stamp, ..given };
    transaction.put(&by_slug, &Bytes::copy_from_slice(&key.workspace.0));
    transaction.put(&key, &record);
    Ok(created)
}

fn check(transaction: &Transaction<'_>, workspace: &WorkspaceRecord) -> Result<(), Stop> {
    let fits = |character: char| !character.is_control() && !matches!(character, '/' | '\\' | '?' | '#');
    if matches!(workspace.slug.as_str(), "" | "." | "..") || !workspace.slug.chars().all(fits) {
        return Err(refuse(RejectionCode::NameInvalid, format!("{:?} cannot be a slug", workspace.slug)));
    }
    text(&workspace.slug, "slug", limits::NAME_BYTES_MAX)?;
    text(&workspace.label, "label", limits::TEXT_BYTES_MAX)?;
    text(&workspace.description, "description", limits::TEXT_BYTES_MAX)?;
    if WorkspaceScope::try_from(workspace.scope).unwrap_or_default() == WorkspaceScope::Unspecified {
        return Err(invalid("no scope of a workspace"));
    }
    if Permission::try_from(workspace.default_permission).is_err() {
        return Err(invalid("an unknown permission"));
    }
    if !matches!(workspace.owner.len(), 0 | 16) {
        return Err(invalid("the id of the owner is no id"));
    }
    if workspace.roots.is_empty() || workspace.roots.len() > limits::WORKSPACE_ROOTS_MAX {
        return Err(invalid(format!("a workspace has 1 to {} roots", limits::WORKSPACE_ROOTS_MAX)));
    }
    for (place, root) in workspace.roots.iter().enumerate() {
        id::<EntryId>(&root.entry, "entry id of a root")?;
        if transaction.get(&DatasourceKey { datasource: DatasourceId(root.datasource) })?.is_none() {
            return Err(refuse_at(RejectionCode::NotFound, format!("there is no datasource {}", root.datasource), place));
        }
    }
    Ok(())
}

/// Deletes a workspace with its grants; what it shows stays.
pub(super) fn delete(transaction: &mut Transaction<'_>, command: &DeleteWorkspace) -> Result<Done, Stop> {
    let (key, record) = existing(transaction, &command.workspace)?;
    grant::delete_of_workspace(transaction, key.workspace)?;
    transaction.delete(&WorkspaceBySlugKey { slug: NameRest(record.slug) });
    transaction.delete(&key);
    Ok(Done::default())
}

/// A workspace that is there.
pub(super) fn existing(transaction: &Transaction<'_>, workspace: &[u8]) -> Result<(WorkspaceKey, WorkspaceRecord), Stop> {
    let key = WorkspaceKey { workspace: id(workspace, "workspace id")? };
    let record = transaction.get(&key)?;
    let record = record.ok_or_else(|| refuse(RejectionCode::NotFound, format!("there is no workspace with the id {}", key.workspace)))?;
    Ok((key, record))
}
