//! What a command is called in the audit, and what it is about.

use crate::wire::meta::v1::command::What;
use crate::wire::meta::v1::{
    BatchStep, ClusterCommand, Command, ContentCommand, DeleteEntry, EntryPath, IdentityCommand, JobCommand, MoveEntry, SetMeta,
    TreeCommand, WorkspaceCommand, batch_step, cluster_command, content_command, identity_command, job_command, tree_command,
    workspace_command,
};

/// An action, and what it is about.
pub(crate) struct About<'a> {
    pub(crate) action: &'static str,
    /// For people.
    pub(crate) subject: String,
    /// Of an entry, in a tree.
    pub(crate) path: Option<&'a EntryPath>,
}

impl<'a> About<'a> {
    fn entry(action: &'static str, at: Option<&'a EntryPath>) -> Self {
        Self { action, subject: path(at), path: at }
    }

    fn moved(command: &'a MoveEntry) -> Self {
        let action = if command.restore { "restore" } else { "move" };
        Self { action, subject: both(command.from.as_ref(), command.to.as_ref()), path: command.from.as_ref() }
    }

    fn deleted(command: &'a DeleteEntry) -> Self {
        Self::entry(if command.permanently { "delete" } else { "recycle" }, command.path.as_ref())
    }

    fn noted(command: &'a SetMeta) -> Self {
        let subject = format!("{} {}", path(command.path.as_ref()), command.namespace);
        Self { action: "set-metadata", subject, path: command.path.as_ref() }
    }

    fn other((action, subject): (&'static str, String)) -> Self {
        Self { action, subject, path: None }
    }
}

/// The action and its subject; none for what the cluster does by itself.
#[must_use]
pub fn described(command: &Command) -> Option<(&'static str, String)> {
    about(command).map(|about| (about.action, about.subject))
}

/// What a command is about; none for what the cluster does by itself, and for a part of an upload, which is told by the version that it becomes.
pub(crate) fn about(command: &Command) -> Option<About<'_>> {
    match command.what.as_ref()? {
        What::Tree(TreeCommand { what: Some(what) }) => tree(what),
        What::Cluster(ClusterCommand { what: Some(what) }) => cluster(what).map(About::other),
        What::Identity(IdentityCommand { what: Some(what) }) => identity(what).map(About::other),
        What::Workspace(WorkspaceCommand { what: Some(what) }) => workspace(what).map(About::other),
        What::Job(JobCommand { what: Some(what) }) => job(what).map(About::other),
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

/// What a part of an upload is about, which is told only if it is refused: then no version comes of it.
pub(crate) fn about_upload(command: &Command) -> Option<About<'static>> {
    use content_command::What as Content;
    let Some(What::Content(ContentCommand { what: Some(what) })) = &command.what else { return None };
    Some(About::other(match what {
        Content::OpenUpload(_) => ("open-upload", String::new()),
        Content::AppendUpload(command) => ("append-upload", command.upload.to_string()),
        Content::RenewUpload(command) => ("renew-upload", command.upload.to_string()),
        Content::AbortUpload(command) => ("abort-upload", command.upload.to_string()),
        Content::ExpireUploads(_)
        | Content::ShardRepaired(_)
        | Content::Reencoded(_)
        | Content::ReportDamage(_)
        | Content::AdvanceHorizon(_)
        | Content::QueueRepairs(_) => return None,
    }))
}

/// What a step of a batch is about; none for one that changes nothing.
pub(crate) fn about_step(step: &BatchStep) -> Option<About<'_>> {
    use batch_step::What;
    Some(match step.what.as_ref()? {
        What::CreateFolder(command) => About::entry("create-folder", command.path.as_ref()),
        What::PutFile(command) => About::entry("write-file", command.path.as_ref()),
        What::MoveEntry(command) => About::moved(command),
        What::DeleteEntry(command) => About::deleted(command),
        What::SetMeta(command) => About::noted(command),
        What::UseVersion(command) => About::entry("use-version", command.path.as_ref()),
        What::SetTimes(command) => About::entry("set-times", command.path.as_ref()),
        What::HoldsStill(_) => return None,
    })
}

/// What a refused step of a batch is about, also of one that only looks.
pub(crate) fn about_refused_step(step: &BatchStep) -> Option<About<'_>> {
    match &step.what {
        Some(batch_step::What::HoldsStill(command)) => Some(About::entry("compare", command.path.as_ref())),
        Some(_) | None => about_step(step),
    }
}

fn tree(what: &tree_command::What) -> Option<About<'_>> {
    use tree_command::What;
    Some(match what {
        What::CreateFolder(command) => About::entry("create-folder", command.path.as_ref()),
        What::PutFile(command) => About::entry("write-file", command.path.as_ref()),
        What::MoveEntry(command) => About::moved(command),
        What::CopyEntry(command) => {
            About { action: "copy", subject: both(command.from.as_ref(), command.to.as_ref()), path: command.from.as_ref() }
        }
        What::DeleteEntry(command) => About::deleted(command),
        What::SetMeta(command) => About::noted(command),
        What::SetTimes(command) => About::entry("set-times", command.path.as_ref()),
        What::OpenHidden(_) => About::other(("begin-copy", String::new())),
        What::Batch(command) => About::other(("batch", format!("{} steps", command.steps.len()))),
        What::UseVersion(command) => About::entry("use-version", command.path.as_ref()),
        What::DescribeVersion(command) => About::entry("describe-version", command.path.as_ref()),
        What::DeleteVersion(command) => About::entry("delete-version", command.path.as_ref()),
        What::SetLock(command) => About::entry("lock", command.path.as_ref()),
        What::RefreshLock(command) => About::entry("refresh-lock", command.path.as_ref()),
        What::RemoveLock(command) => About::entry("unlock", command.path.as_ref()),
        What::SetDatasourceQuota(_) => About::other(("set-quota", String::new())),
        What::EmptyBins(_)
        | What::ExpireLocks(_)
        | What::PruneVersions(_)
        | What::QueuePruning(_)
        | What::PruneHistory(_)
        | What::IndexNotes(_)
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
