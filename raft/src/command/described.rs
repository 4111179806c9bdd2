//! What a command is called in the audit, and what it is about.

use crate::wire::meta::v1::command::What;
use crate::wire::meta::v1::{
    ClusterCommand, Command, EntryPath, IdentityCommand, JobCommand, TreeCommand, WorkspaceCommand, cluster_command, identity_command,
    job_command, tree_command, workspace_command,
};

/// The action and its subject; none for what the cluster does by itself.
#[must_use]
pub fn described(command: &Command) -> Option<(&'static str, String)> {
    match command.what.as_ref()? {
        What::Tree(TreeCommand { what: Some(what) }) => tree(what),
        What::Cluster(ClusterCommand { what: Some(what) }) => cluster(what),
        What::Identity(IdentityCommand { what: Some(what) }) => identity(what),
        What::Workspace(WorkspaceCommand { what: Some(what) }) => workspace(what),
        What::Job(JobCommand { what: Some(what) }) => job(what),
        // A part of an upload is told by the version that it becomes.
        What::OpenSession(_)
        | What::CloseSessions(_)
        | What::PruneMeta(_)
        | What::Content(_)
        | What::Tree(_)
        | What::Cluster(_)
        | What::Identity(_)
        | What::Workspace(_)
        | What::Job(_) => None,
    }
}

fn tree(what: &tree_command::What) -> Option<(&'static str, String)> {
    use tree_command::What;
    Some(match what {
        What::CreateFolder(command) => ("create-folder", path(command.path.as_ref())),
        What::PutFile(command) => ("write-file", path(command.path.as_ref())),
        What::MoveEntry(command) if command.restore => ("restore", both(command.from.as_ref(), command.to.as_ref())),
        What::MoveEntry(command) => ("move", both(command.from.as_ref(), command.to.as_ref())),
        What::CopyEntry(command) => ("copy", both(command.from.as_ref(), command.to.as_ref())),
        What::DeleteEntry(command) if command.permanently => ("delete", path(command.path.as_ref())),
        What::DeleteEntry(command) => ("recycle", path(command.path.as_ref())),
        What::SetMeta(command) => ("set-metadata", format!("{} {}", path(command.path.as_ref()), command.namespace)),
        What::SetTimes(command) => ("set-times", path(command.path.as_ref())),
        What::OpenHidden(_) => ("begin-copy", String::new()),
        What::Batch(command) => ("batch", format!("{} steps", command.steps.len())),
        What::UseVersion(command) => ("use-version", path(command.path.as_ref())),
        What::DescribeVersion(command) => ("describe-version", path(command.path.as_ref())),
        What::DeleteVersion(command) => ("delete-version", path(command.path.as_ref())),
        What::SetLock(command) => ("lock", path(command.path.as_ref())),
        What::RefreshLock(command) => ("refresh-lock", path(command.path.as_ref())),
        What::RemoveLock(command) => ("unlock", path(command.path.as_ref())),
        What::SetDatasourceQuota(_) => ("set-quota", String::new()),
        What::EmptyBins(_)
        | What::ExpireLocks(_)
        | What::PruneVersions(_)
        | What::QueuePruning(_)
        | What::PruneHistory(_)
        | What::ReapEntries(_) => {
            return None;
        }
    })
}

fn cluster(what: &cluster_command::What) -> Option<(&'static str, String)> {
    use cluster_command::What;
    Some(match what {
        What::Init(_) => ("init-cluster", String::new()),
        What::AddNode(command) => ("add-node", command.node.as_ref().map_or_else(String::new, |node| node.name.clone())),
        What::AddDevice(command) => ("add-device", command.device.as_ref().map_or_else(String::new, |device| device.label.clone())),
        What::SetDeviceState(command) => ("set-device-state", command.device.to_string()),
        What::CreateDatasource(command) => ("create-datasource", command.name.clone()),
        What::ChangeDatasource(command) => ("change-datasource", command.datasource.to_string()),
        What::PutPolicy(command) => ("put-policy", command.policy.as_ref().map_or_else(String::new, |policy| policy.uuid.clone())),
        What::DeletePolicy(_) => ("delete-policy", String::new()),
        What::PutJoinToken(_) => ("make-join-token", String::new()),
        What::UseJoinToken(_) => ("withdraw-join-token", String::new()),
        What::RecoverGroup(command) => ("recover-group", command.group.to_string()),
        What::FinishRecovery(_)
        | What::RegisterBoot(_)
        | What::PlaceMember(_)
        | What::SetMemberRole(_)
        | What::DropMember(_)
        | What::SetPlacement(_)
        | What::ResizePool(_) => return None,
    })
}

fn identity(what: &identity_command::What) -> Option<(&'static str, String)> {
    use identity_command::What;
    Some(match what {
        What::PutUser(command) => ("put-user", command.user.as_ref().map_or_else(String::new, |user| user.login.clone())),
        What::DeleteUser(command) => ("delete-user", hex(&command.user)),
        What::SetPassword(command) => ("set-password", hex(&command.user)),
        What::PutGrant(command) => ("grant", format!("{} on {}", hex(&command.user), hex(&command.workspace))),
        What::PutToken(command) => ("make-token", command.token.as_ref().map_or_else(String::new, |token| token.label.clone())),
        What::DeleteToken(command) => ("delete-token", hex(&command.id)),
        What::ExpireTokens(_) | What::NoteRefusal(_) => return None,
    })
}

fn workspace(what: &workspace_command::What) -> Option<(&'static str, String)> {
    use workspace_command::What;
    Some(match what {
        What::PutWorkspace(command) => {
            ("put-workspace", command.workspace.as_ref().map_or_else(String::new, |workspace| workspace.slug.clone()))
        }
        What::DeleteWorkspace(command) => ("delete-workspace", hex(&command.workspace)),
        What::PutNamespace(command) => {
            ("put-namespace", command.namespace.as_ref().map_or_else(String::new, |namespace| namespace.name.clone()))
        }
        What::DeleteNamespace(command) => ("delete-namespace", command.name.clone()),
    })
}

fn job(what: &job_command::What) -> Option<(&'static str, String)> {
    use job_command::What;
    match what {
        What::Create(command) => command.job.as_ref().map(|job| ("begin-job", format!("{} {}", job.name, job.label))),
        What::Cancel(command) => Some(("cancel-job", hex(&command.job))),
        What::Claim(_) | What::Report(_) | What::Prune(_) => None,
    }
}

/// Names from the root; what begins at another entry has its id before.
fn path(path: Option<&EntryPath>) -> String {
    let Some(path) = path else { return String::new() };
    let names = path.names.join("/");
    if path.base.iter().all(|byte| *byte == 0) { names } else { format!("{}/{names}", hex(&path.base)) }
}

fn both(from: Option<&EntryPath>, to: Option<&EntryPath>) -> String {
    format!("{} to {}", path(from), path(to))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
