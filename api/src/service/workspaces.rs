//! Workspaces: what a user sees of them, and how an administrator makes them.

use std::collections::BTreeMap;

use skep_placement::ids::{DatasourceId, EntryId, GroupId, RecordId};
use skep_raft::state::rights::{Action as ActionValue, Resource, decide};
use skep_raft::system_view::SystemView;
use skep_raft::wire::meta::v1::{
    CreateFolder, DeleteWorkspace, EntryPath, Permission, PutWorkspace, TreeCommand, WorkspaceCommand, WorkspaceRecord, WorkspaceRoot,
    WorkspaceScope, command, tree_command, workspace_command,
};

use super::user_path::check_name;
use super::{Service, id_bytes};
use crate::auth::rights::{Account, Administer, Authorized, Cluster, ReadAccount};
use crate::error_code::{ErrorCode, Failure};
use crate::limits;
use crate::request_context::RequestContext;

/// A workspace as one user sees it.
#[derive(Clone, Debug)]
pub struct SeenWorkspace {
    /// The workspace.
    pub record: WorkspaceRecord,
    /// The user may also write.
    pub writable: bool,
}

impl SeenWorkspace {
    /// `r` or `rw`.
    #[must_use]
    pub(crate) fn permissions(&self) -> &'static str {
        if self.writable { "rw" } else { "r" }
    }

    /// Its id as a UUID.
    pub(crate) fn uuid(&self) -> String {
        RecordId::try_from(self.record.id.as_ref()).unwrap_or_default().to_string()
    }

    /// ADMIN, ROOM or LINK.
    pub(crate) fn scope(&self) -> &'static str {
        match self.record.scope() {
            WorkspaceScope::Room => "ROOM",
            WorkspaceScope::Link => "LINK",
            WorkspaceScope::Admin | WorkspaceScope::Unspecified => "ADMIN",
        }
    }
}

/// What a new workspace is.
#[derive(Clone, Debug, Default)]
pub struct WorkspaceRequest {
    /// Unique; a name of a path.
    pub slug: String,
    /// The name of its datasource.
    pub datasource: String,
    /// The folder below the datasource's root that is its root, made if missing; empty: the datasource's root.
    pub folder: String,
    /// Each user gets a folder of its own.
    pub folder_per_user: bool,
    /// All that can be changed later.
    pub set: WorkspaceChange,
}

/// Changes of a workspace; none: stays.
#[derive(Clone, Debug, Default)]
pub struct WorkspaceChange {
    /// For people.
    pub label: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// Of every user without a grant; unspecified: nothing.
    pub default_permission: Option<Permission>,
    /// Logical bytes at most, of a workspace with a folder for each user in each; 0: no limit.
    pub quota_bytes: Option<u64>,
    /// Entries at most; 0: no limit.
    pub quota_entries: Option<u64>,
    /// What is deleted is deleted for good.
    pub skip_recycle: Option<bool>,
    /// What clients keep with it, a JSON text each; an empty one is taken away.
    pub attributes: BTreeMap<String, String>,
}

impl WorkspaceChange {
    /// The record with what is changed.
    fn of(self, was: WorkspaceRecord) -> Result<WorkspaceRecord, Failure> {
        let mut attributes = was.attributes;
        for (name, text) in self.attributes {
            if name.len() > limits::NAME_BYTES || text.len() > limits::WORKSPACE_ATTRIBUTE_BYTES {
                let why = format!("the attribute {name:.64} is longer than {} bytes", limits::WORKSPACE_ATTRIBUTE_BYTES);
                return Err(Failure::new(ErrorCode::TooLarge, why));
            }
            if text.is_empty() {
                attributes.remove(&name);
            } else {
                attributes.insert(name, text);
            }
        }
        if attributes.len() > limits::WORKSPACE_ATTRIBUTES {
            return Err(Failure::new(
                ErrorCode::TooLarge,
                format!("a workspace keeps at most {} attributes", limits::WORKSPACE_ATTRIBUTES),
            ));
        }
        Ok(WorkspaceRecord {
            label: self.label.filter(|label| !label.is_empty()).unwrap_or(was.label),
            description: self.description.unwrap_or(was.description),
            default_permission: self.default_permission.map_or(was.default_permission, Into::into),
            quota_bytes: self.quota_bytes.unwrap_or(was.quota_bytes),
            quota_entries: self.quota_entries.unwrap_or(was.quota_entries),
            skip_recycle: self.skip_recycle.unwrap_or(was.skip_recycle),
            attributes,
            ..was
        })
    }
}

impl Service {
    /// Lists the workspaces that the owner of an account may see, by slug.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`] for a damaged record.
    pub fn workspaces_of(&self, proof: Authorized<ReadAccount, Account>, view: &SystemView) -> Result<Vec<SeenWorkspace>, Failure> {
        let identity = proof.who().identity();
        let mut seen = Vec::new();
        for record in view.workspaces()? {
            let Ok(id) = RecordId::try_from(record.id.as_ref()) else { continue };
            let resource = Resource::Workspace(id);
            if !decide(view, identity, ActionValue::ReadTree, &resource)?.is_allowed() {
                continue;
            }
            let writable = decide(view, identity, ActionValue::WriteTree, &resource)?.is_allowed();
            seen.push(SeenWorkspace { record, writable });
        }
        seen.sort_by(|a, b| a.record.slug.cmp(&b.record.slug));
        Ok(seen)
    }

    /// Lists all workspaces, for administrators.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`] for a damaged record.
    pub fn all_workspaces(&self, _proof: Authorized<Administer, Cluster>, view: &SystemView) -> Result<Vec<WorkspaceRecord>, Failure> {
        Ok(view.workspaces()?)
    }

    /// Makes a workspace over a folder of a datasource.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`] for an unknown datasource, [`ErrorCode::AlreadyExists`] for a slug in use; [`ErrorCode::Unknown`].
    pub async fn create_workspace(
        &self,
        proof: Authorized<Administer, Cluster>,
        view: &SystemView,
        request: WorkspaceRequest,
        context: &RequestContext,
    ) -> Result<RecordId, Failure> {
        check_name(&request.slug).map_err(|failure| failure.at("the slug"))?;
        let unknown = || Failure::new(ErrorCode::NotFound, format!("there is no datasource named {}", request.datasource));
        let datasource = DatasourceId(view.datasource_by_name(&request.datasource)?.ok_or_else(unknown)?.id);
        let entry = self.root_folder(&proof, datasource, &request.folder, context).await?;
        let id = RecordId(self.draw_id());
        let root = WorkspaceRoot { datasource: datasource.0, entry: id_bytes(entry.0), folder_per_user: request.folder_per_user };
        let bare = WorkspaceRecord {
            id: id_bytes(id.0),
            label: request.slug.clone(),
            slug: request.slug,
            scope: WorkspaceScope::Admin.into(),
            roots: vec![root],
            ..WorkspaceRecord::default()
        };
        let put = PutWorkspace { workspace: Some(request.set.of(bare)?), must_be_new: true };
        self.propose_workspace(&proof, workspace_command::What::PutWorkspace(put), context).await?;
        Ok(id)
    }

    /// Changes a workspace. Quotas hold from the next change on; what is over already may shrink.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`] for an unknown slug, [`ErrorCode::TooLarge`] for attributes beyond the limits; [`ErrorCode::Unknown`].
    pub async fn change_workspace(
        &self,
        proof: Authorized<Administer, Cluster>,
        view: &SystemView,
        (slug, change): (&str, WorkspaceChange),
        context: &RequestContext,
    ) -> Result<(), Failure> {
        let put = PutWorkspace { workspace: Some(change.of(workspace_named(view, slug)?)?), must_be_new: false };
        self.propose_workspace(&proof, workspace_command::What::PutWorkspace(put), context).await
    }

    /// Takes a workspace away; its files stay in the datasource.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`]; [`ErrorCode::Unknown`].
    pub async fn delete_workspace(
        &self,
        proof: Authorized<Administer, Cluster>,
        workspace: RecordId,
        context: &RequestContext,
    ) -> Result<(), Failure> {
        let delete = DeleteWorkspace { workspace: id_bytes(workspace.0) };
        self.propose_workspace(&proof, workspace_command::What::DeleteWorkspace(delete), context).await
    }

    async fn root_folder(
        &self,
        proof: &Authorized<Administer, Cluster>,
        datasource: DatasourceId,
        folder: &str,
        context: &RequestContext,
    ) -> Result<EntryId, Failure> {
        let path: super::user_path::UserPath = folder.parse()?;
        if path.names().is_empty() {
            return Ok(EntryId::ROOT);
        }
        let parents = path.names().len().saturating_sub(1);
        let command = CreateFolder {
            path: Some(EntryPath { base: id_bytes(EntryId::ROOT.0), names: path.names().to_vec() }),
            entry: id_bytes(self.draw_entry().0),
            recursive: true,
            parents: (0..parents).map(|_| id_bytes(self.draw_entry().0)).collect(),
            existing_ok: true,
            mtime: 0,
        };
        let what = command::What::Tree(TreeCommand { what: Some(tree_command::What::CreateFolder(command)) });
        let proposed = self.propose(proof, datasource.into(), what, context).await?;
        proposed
            .done
            .entry
            .and_then(|entry| EntryId::try_from(entry.entry.as_ref()).ok())
            .ok_or_else(|| Failure::new(ErrorCode::Internal, "the folder was made but its id was not answered"))
    }

    async fn propose_workspace(
        &self,
        proof: &Authorized<Administer, Cluster>,
        what: workspace_command::What,
        context: &RequestContext,
    ) -> Result<(), Failure> {
        let what = command::What::Workspace(WorkspaceCommand { what: Some(what) });
        self.propose(proof, GroupId::SYSTEM, what, context).await.map(|_done| ())
    }
}

/// The workspace of a slug.
pub(crate) fn workspace_named(view: &SystemView, slug: &str) -> Result<WorkspaceRecord, Failure> {
    view.workspace_by_slug(slug)?.ok_or_else(|| Failure::new(ErrorCode::NotFound, format!("there is no workspace {slug}")))
}

#[cfg(test)]
mod tests {
    use skep_raft::wire::meta::v1::{Permission, WorkspaceRecord};

    use super::WorkspaceChange;
    use crate::error_code::ErrorCode;

    #[test]
    fn what_is_not_named_stays() {
        let was = WorkspaceRecord { label: "Plans".to_owned(), quota_bytes: 7, skip_recycle: true, ..WorkspaceRecord::default() };
        let same = WorkspaceChange::default().of(was.clone()).expect("nothing is wrong");
        assert_eq!(same, was);
        let change = WorkspaceChange {
            quota_bytes: Some(0),
            default_permission: Some(Permission::Read),
            attributes: [("a".to_owned(), "1".to_owned())].into(),
            ..WorkspaceChange::default()
        };
        let changed = change.of(was).expect("nothing is wrong");
        assert_eq!((changed.quota_bytes, changed.skip_recycle, changed.default_permission()), (0, true, Permission::Read));
        let taken = WorkspaceChange { attributes: [("a".to_owned(), String::new())].into(), ..WorkspaceChange::default() };
        assert!(taken.of(changed).expect("nothing is wrong").attributes.is_empty());
    }

    #[test]
    fn attributes_are_bounded() {
        let many = (0..100).map(|number| (number.to_string(), "1".to_owned())).collect();
        let many = WorkspaceChange { attributes: many, ..WorkspaceChange::default() };
        assert_eq!(many.of(WorkspaceRecord::default()).expect_err("refused").code, ErrorCode::TooLarge);
    }
}
