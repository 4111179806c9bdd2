//! Workspaces and who may use them.

use std::collections::BTreeMap;

use skep_api::service::workspaces::{WorkspaceChange, WorkspaceRequest};
use skep_placement::ids::RecordId;
use skep_raft::wire::meta::v1 as meta;
use tonic::Status;

use super::accounts::shown;
use super::wire::{
    ChangeWorkspaceReply, ChangeWorkspaceRequest, CreateWorkspaceReply, CreateWorkspaceRequest, DeleteWorkspaceReply,
    DeleteWorkspaceRequest, GrantReply, GrantRequest, ListWorkspacesReply, ListWorkspacesRequest, Workspace, WorkspaceGrant,
};
use super::{AdminParts, Call, status};

impl AdminParts {
    pub(super) async fn list_workspaces(&self, call: Call, _request: ListWorkspacesRequest) -> Result<ListWorkspacesReply, Status> {
        let service = self.app.service();
        let records = service.all_workspaces(call.proof()?, &call.view).map_err(status)?;
        let datasources = service.all_datasources(call.proof()?, &call.view).map_err(status)?;
        let names: BTreeMap<u64, String> = datasources.into_iter().map(|record| (record.id, record.name)).collect();
        let mut workspaces = Vec::with_capacity(records.len());
        for record in records {
            workspaces.push(Workspace {
                id: shown(&record.id),
                grants: grants(&call, &record)?,
                datasources: record.roots.iter().filter_map(|root| names.get(&root.datasource).cloned()).collect(),
                folder_per_user: record.roots.iter().any(|root| root.folder_per_user),
                default_permission: permission_text(record.default_permission()).to_owned(),
                slug: record.slug,
                label: record.label,
                quota_bytes: record.quota_bytes,
                quota_entries: record.quota_entries,
                skip_recycle: record.skip_recycle,
            });
        }
        Ok(ListWorkspacesReply { workspaces })
    }

    pub(super) async fn create_workspace(&self, call: Call, request: CreateWorkspaceRequest) -> Result<CreateWorkspaceReply, Status> {
        let set = WorkspaceChange {
            label: Some(request.label),
            description: Some(request.description),
            default_permission: Some(permission(&request.default_permission)?.unwrap_or_default()),
            ..WorkspaceChange::default()
        };
        let wanted = WorkspaceRequest {
            set,
            slug: request.slug,
            datasource: request.datasource,
            folder: request.folder,
            folder_per_user: request.folder_per_user,
        };
        let made = self.app.service().create_workspace(call.proof()?, &call.view, wanted, &call.context).await;
        Ok(CreateWorkspaceReply { id: made.map_err(status)?.to_string() })
    }

    pub(super) async fn change_workspace(&self, call: Call, request: ChangeWorkspaceRequest) -> Result<ChangeWorkspaceReply, Status> {
        let everybody = request.default_permission.as_deref().map(permission).transpose()?;
        let change = WorkspaceChange {
            label: request.label,
            description: request.description,
            default_permission: everybody.map(Option::unwrap_or_default),
            quota_bytes: request.quota_bytes,
            quota_entries: request.quota_entries,
            skip_recycle: request.skip_recycle,
            ..WorkspaceChange::default()
        };
        let service = self.app.service();
        let changed = service.change_workspace(call.proof()?, &call.view, (&request.slug, change), &call.context).await;
        changed.map(|()| ChangeWorkspaceReply {}).map_err(status)
    }

    pub(super) async fn delete_workspace(&self, call: Call, request: DeleteWorkspaceRequest) -> Result<DeleteWorkspaceReply, Status> {
        let workspace = call.view.workspace_by_slug(&request.slug).map_err(|error| status(error.into()))?;
        let workspace = workspace.ok_or_else(|| Status::not_found(format!("there is no workspace {}", request.slug)))?;
        let id = RecordId::try_from(workspace.id.as_ref()).map_err(|_no_id| Status::internal("a workspace's record has no id"))?;
        let deleted = self.app.service().delete_workspace(call.proof()?, id, &call.context).await;
        deleted.map(|()| DeleteWorkspaceReply {}).map_err(status)
    }

    pub(super) async fn grant(&self, call: Call, request: GrantRequest) -> Result<GrantReply, Status> {
        let permission = permission(&request.permission)?;
        let wanted = (request.login.as_str(), request.workspace.as_str(), permission);
        let granted = self.app.service().grant(call.proof()?, &call.view, wanted, &call.context).await;
        granted.map(|()| GrantReply {}).map_err(status)
    }
}

fn grants(call: &Call, workspace: &meta::WorkspaceRecord) -> Result<Vec<WorkspaceGrant>, Status> {
    let Ok(id) = RecordId::try_from(workspace.id.as_ref()) else {
        return Ok(Vec::new());
    };
    let mut grants = Vec::new();
    for grant in call.view.grants_on(id).map_err(|error| status(error.into()))? {
        let Ok(user) = RecordId::try_from(grant.user.as_ref()) else { continue };
        let user = call.view.user(user).map_err(|error| status(error.into()))?;
        let login = user.map_or_else(|| shown(&grant.user), |user| user.login);
        grants.push(WorkspaceGrant { login, permission: permission_text(grant.permission()).to_owned() });
    }
    Ok(grants)
}

fn permission(text: &str) -> Result<Option<meta::Permission>, Status> {
    match text {
        "" | "none" => Ok(None),
        "r" => Ok(Some(meta::Permission::Read)),
        "rw" => Ok(Some(meta::Permission::ReadWrite)),
        other => Err(Status::invalid_argument(format!("`{other}` is no permission: say r, rw or none"))),
    }
}

fn permission_text(permission: meta::Permission) -> &'static str {
    match permission {
        meta::Permission::Unspecified => "",
        meta::Permission::Read => "r",
        meta::Permission::ReadWrite => "rw",
    }
}
