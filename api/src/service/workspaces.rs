//! Workspaces: what a user sees of them, and how an administrator makes them.

use skep_placement::ids::{DatasourceId, EntryId, GroupId, RecordId};
use skep_raft::state::rights::{Action as ActionValue, Resource, decide};
use skep_raft::system_view::SystemView;
use skep_raft::wire::meta::v1::{
    CreateFolder, DatasourceRecord, DeleteWorkspace, EntryPath, Permission, PutWorkspace, TreeCommand, WorkspaceCommand, WorkspaceRecord,
    WorkspaceRoot, WorkspaceScope, command, tree_command, workspace_command,
};

use super::user_path::check_name;
use super::{Service, id_bytes};
use crate::auth::rights::{Account, Administer, Authorized, Cluster, ReadAccount};
use crate::error_code::{ErrorCode, Failure};
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
    /// For people.
    pub label: String,
    /// For people.
    pub description: String,
    /// The name of its datasource.
    pub datasource: String,
    /// The folder below the datasource's root that is its root, made if missing; empty: the datasource's root.
    pub folder: String,
    /// Each user gets a folder of its own.
    pub folder_per_user: bool,
    /// Of every user without a grant.
    pub default_permission: Option<Permission>,
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

    /// Lists all datasources, for administrators.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`] for a damaged record.
    pub fn all_datasources(&self, _proof: Authorized<Administer, Cluster>, view: &SystemView) -> Result<Vec<DatasourceRecord>, Failure> {
        Ok(view.datasources()?)
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
        let workspace = WorkspaceRecord {
            id: id_bytes(id.0),
            label: if request.label.is_empty() { request.slug.clone() } else { request.label },
            slug: request.slug,
            description: request.description,
            scope: WorkspaceScope::Admin.into(),
            roots: vec![root],
            default_permission: request.default_permission.unwrap_or(Permission::Unspecified).into(),
            ..WorkspaceRecord::default()
        };
        let put = PutWorkspace { workspace: Some(workspace), must_be_new: true };
        self.propose_workspace(&proof, workspace_command::What::PutWorkspace(put), context).await?;
        Ok(id)
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
