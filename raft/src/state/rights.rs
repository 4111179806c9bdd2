//! Who may do what: the one decision for all protocols. Deny by default; pure, over one moment of the system group.
//!
//! Invariants: a disabled or deleted user may do nothing; administering gives no right to anybody's files; a token with scopes narrows what its
//! user may do and never widens it.

use skep_placement::ids::{EntryId, RecordId};

use crate::state::namespace::{self, May};
use crate::state::read;
use crate::store::StateError;
use crate::system_view::SystemView;
use crate::wire::meta::v1::{JobRecord, Permission, UserRecord, WorkspaceRecord};

/// Who asks, as signing in has found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub user: RecordId,
    /// The login at that time, for people to read.
    pub login: String,
    /// Whether the user administered at that time; a decision reads it anew.
    pub admin: bool,
    /// The user's revision at that time; 0: the identity is not bound to one.
    pub revision: u64,
    /// Scopes of the token used, `node:<uuid>:r` or `:rw`; empty: all rights of the user.
    pub scopes: Vec<String>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Know that the workspace is there.
    SeeWorkspace,
    /// List, stat, versions, notes.
    ReadTree,
    /// Read bytes.
    ReadContent,
    /// Make folders, move, copy to, delete, note.
    WriteTree,
    /// Write bytes.
    WriteContent,
    /// Nodes, devices, datasources, users, workspaces.
    Administer,
    /// Read an account.
    ReadAccount,
    /// Change an account's own settings: password, tokens.
    ChangeAccount,
    /// Read a job.
    ReadJob,
    /// Cancel a job.
    ChangeJob,
    /// See what is noted under a namespace.
    ReadNamespace,
    /// Note something under a namespace.
    WriteNamespace,
}

/// What it is to be done with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A workspace as a whole.
    Workspace(RecordId),
    /// An entry in a workspace: itself and the folders above it, as far as known.
    Entry {
        /// The workspace.
        workspace: RecordId,
        /// The entry and folders above it.
        chain: Vec<EntryId>,
    },
    /// The cluster.
    Cluster,
    /// A user's account.
    Account(RecordId),
    /// A job.
    Job(RecordId),
    /// A namespace of metadata, by its name. Where it may be used is decided beside it.
    Namespace(String),
}

/// The decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may be done.
    Allowed,
    /// It may not.
    Denied {
        /// Why.
        reason: Denial,
    },
}

impl Decision {
    /// Whether it may be done.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        *self == Decision::Allowed
    }
}

/// Why something may not be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Denial {
    /// The user is not there any more.
    #[error("there is no such user any more")]
    NoUser,
    /// The user is disabled.
    #[error("the user is disabled")]
    Disabled,
    /// Password, administrator flag or state have changed since signing in.
    #[error("the user has changed since signing in")]
    Revised,
    /// The token's scopes do not cover it.
    #[error("the token's scopes do not cover this")]
    Scope,
    /// There is no such workspace or job.
    #[error("there is nothing of this id")]
    NoResource,
    /// The user was not granted it.
    #[error("the user was not granted this")]
    NotGranted,
    /// Only an administrator may.
    #[error("only an administrator may do this")]
    NotAdmin,
    /// The policies of the namespace do not allow it.
    #[error("the policies of the namespace do not allow it")]
    Policy,
    /// The name is kept for the program itself.
    #[error("this name is kept for the server itself")]
    Reserved,
    /// The action and the resource do not belong together.
    #[error("this cannot be done with this")]
    Meaningless,
}

/// Decides.
///
/// # Errors
/// [`StateError`] if the state fails; then nothing is allowed.
pub fn decide(view: &SystemView, identity: &Identity, action: Action, resource: &Resource) -> Result<Decision, StateError> {
    let verdict = judge(view, identity, action, resource)?;
    Ok(verdict.map_or_else(|reason| Decision::Denied { reason }, |()| Decision::Allowed))
}

type Verdict = Result<(), Denial>;

fn judge(view: &SystemView, identity: &Identity, action: Action, resource: &Resource) -> Result<Verdict, StateError> {
    let Some(user) = view.user(identity.user)? else { return Ok(Err(Denial::NoUser)) };
    if user.disabled {
        return Ok(Err(Denial::Disabled));
    }
    if identity.revision != 0 && identity.revision != user.revision {
        return Ok(Err(Denial::Revised));
    }
    match resource {
        Resource::Workspace(workspace) => in_workspace(view, identity, action, *workspace, &[]),
        Resource::Entry { workspace, chain } => in_workspace(view, identity, action, *workspace, chain),
        Resource::Cluster | Resource::Account(_) | Resource::Job(_) if !identity.scopes.is_empty() => Ok(Err(Denial::Scope)),
        Resource::Cluster => Ok(of_cluster(&user, action)),
        Resource::Account(account) => Ok(of_account(&user, identity.user == *account, action)),
        Resource::Job(job) => match view.job(*job)? {
            Some(job) => Ok(of_job(&user, &job, action)),
            None => Ok(Err(Denial::NoResource)),
        },
        Resource::Namespace(name) => of_namespace(view, &user, name, action),
    }
}

/// A defined namespace is used as its policies say. Under other names programs keep what they like, but not under those that the server or definitions
/// own: what was noted under a definition that is gone is not shown.
fn of_namespace(view: &SystemView, user: &UserRecord, name: &str, action: Action) -> Result<Verdict, StateError> {
    let may = match action {
        Action::ReadNamespace => May::Read,
        Action::WriteNamespace => May::Write,
        Action::SeeWorkspace
        | Action::ReadTree
        | Action::ReadContent
        | Action::WriteTree
        | Action::WriteContent
        | Action::Administer
        | Action::ReadAccount
        | Action::ChangeAccount
        | Action::ReadJob
        | Action::ChangeJob => return Ok(Err(Denial::Meaningless)),
    };
    if let Some(record) = view.namespace(name)? {
        return Ok(if namespace::allows(&record.policies, user, may) { Ok(()) } else { Err(Denial::Policy) });
    }
    Ok(if name.starts_with(namespace::OWN_PREFIX) {
        Err(Denial::NoResource)
    } else if may == May::Write && namespace::is_reserved(name) {
        Err(Denial::Reserved)
    } else {
        Ok(())
    })
}

fn of_cluster(user: &UserRecord, action: Action) -> Verdict {
    match action {
        Action::Administer if user.admin => Ok(()),
        Action::Administer => Err(Denial::NotAdmin),
        Action::SeeWorkspace
        | Action::ReadTree
        | Action::ReadContent
        | Action::WriteTree
        | Action::WriteContent
        | Action::ReadAccount
        | Action::ChangeAccount
        | Action::ReadJob
        | Action::ChangeJob
        | Action::ReadNamespace
        | Action::WriteNamespace => Err(Denial::Meaningless),
    }
}

fn of_account(user: &UserRecord, own: bool, action: Action) -> Verdict {
    match action {
        Action::ReadAccount | Action::ChangeAccount if own || user.admin => Ok(()),
        Action::ReadAccount | Action::ChangeAccount => Err(Denial::NotGranted),
        Action::Administer if user.admin => Ok(()),
        Action::Administer => Err(Denial::NotAdmin),
        Action::SeeWorkspace
        | Action::ReadTree
        | Action::ReadContent
        | Action::WriteTree
        | Action::WriteContent
        | Action::ReadJob
        | Action::ChangeJob
        | Action::ReadNamespace
        | Action::WriteNamespace => Err(Denial::Meaningless),
    }
}

fn of_job(user: &UserRecord, job: &JobRecord, action: Action) -> Verdict {
    match action {
        Action::ReadJob | Action::ChangeJob if user.admin || job.user == user.id => Ok(()),
        Action::ReadJob | Action::ChangeJob => Err(Denial::NotGranted),
        Action::SeeWorkspace
        | Action::ReadTree
        | Action::ReadContent
        | Action::WriteTree
        | Action::WriteContent
        | Action::Administer
        | Action::ReadAccount
        | Action::ChangeAccount
        | Action::ReadNamespace
        | Action::WriteNamespace => Err(Denial::Meaningless),
    }
}

fn in_workspace(
    view: &SystemView,
    identity: &Identity,
    action: Action,
    workspace: RecordId,
    chain: &[EntryId],
) -> Result<Verdict, StateError> {
    let needed = match action {
        Action::SeeWorkspace | Action::ReadTree | Action::ReadContent => Permission::Read,
        Action::WriteTree | Action::WriteContent => Permission::ReadWrite,
        Action::Administer
        | Action::ReadAccount
        | Action::ChangeAccount
        | Action::ReadJob
        | Action::ChangeJob
        | Action::ReadNamespace
        | Action::WriteNamespace => {
            return Ok(Err(Denial::Meaningless));
        }
    };
    let Some(record) = view.workspace(workspace)? else { return Ok(Err(Denial::NoResource)) };
    let granted = view.grant(identity.user, workspace)?.map_or(0, |grant| grant.permission);
    let owned = if record.owner.as_ref() == identity.user.0.as_slice() { i32::from(Permission::ReadWrite) } else { 0 };
    let most = [granted, owned, record.default_permission].into_iter().map(strength).max().unwrap_or(0);
    if most < strength(needed.into()) {
        return Ok(Err(Denial::NotGranted));
    }
    if identity.scopes.is_empty() {
        return Ok(Ok(()));
    }
    let places = scoped_places(workspace, &record, chain)?;
    let covers = |scope: &String| {
        scope_of(scope).is_some_and(|(place, permission)| strength(permission.into()) >= strength(needed.into()) && places.contains(&place))
    };
    Ok(if identity.scopes.iter().any(covers) { Ok(()) } else { Err(Denial::Scope) })
}

/// What a permission is worth; an unknown one nothing.
fn strength(permission: i32) -> u8 {
    match Permission::try_from(permission).unwrap_or_default() {
        Permission::Unspecified => 0,
        Permission::Read => 1,
        Permission::ReadWrite => 2,
    }
}

/// The ids that a scope may name to cover this: the workspace, its roots, the entry and the folders above it. The root of a tree has the same
/// id in every datasource and counts for none.
fn scoped_places(workspace: RecordId, record: &WorkspaceRecord, chain: &[EntryId]) -> Result<Vec<RecordId>, StateError> {
    let mut places = vec![workspace];
    for root in record.roots.iter().filter(|root| !root.folder_per_user) {
        places.push(RecordId(read::stored_id::<EntryId>(&root.entry, "an entry id")?.0));
    }
    places.extend(chain.iter().map(|entry| RecordId(entry.0)));
    places.retain(|place| place.0 != EntryId::ROOT.0);
    Ok(places)
}

/// What a scope names and allows; `None` if it is no scope.
fn scope_of(scope: &str) -> Option<(RecordId, Permission)> {
    let (place, permission) = scope.strip_prefix("node:")?.split_once(':')?;
    let permission = match permission {
        "r" => Permission::Read,
        "rw" => Permission::ReadWrite,
        _ => return None,
    };
    Some((place.parse().ok()?, permission))
}
