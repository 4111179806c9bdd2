//! The commands of a group, one file an area. Each gets a transaction and either carries itself out or says why not.
//!
//! Invariant: nothing that a command holds can make a replica panic; what no program of ours would send is refused as invalid.
#![deny(clippy::wildcard_enum_match_arm, clippy::float_arithmetic)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod batch;
mod cluster;
mod copy_entry;
mod datasource;
mod delete_entry;
mod described;
mod device;
mod folder;
mod grant;
mod history;
mod job;
mod join_token;
mod lock;
mod member;
mod move_entry;
mod namespace;
mod node;
mod note;
mod note_index;
mod placement;
mod policy;
mod prune;
mod put_file;
mod recover_group;
mod recycle;
mod repair;
mod token;
mod upload;
mod user;
mod version;
mod workspace;

pub use described::described;
pub(crate) use described::{About, about, about_refused_step, about_step, about_upload};
pub(crate) use note::by_value;
pub(crate) use prune::aged;

use crate::state::GroupKind;
use crate::state::rejection::{Stop, invalid, refuse, required};
use crate::state::transaction::Transaction;
use crate::state::{audit, idempotent, session};
use crate::wire::meta::v1::command::What;
use crate::wire::meta::v1::outcome::What as Outcome;
use crate::wire::meta::v1::{
    ClusterCommand, Command, ContentCommand, Done, IdentityCommand, JobCommand, RejectionCode, TreeCommand, WorkspaceCommand,
    cluster_command, content_command, identity_command, job_command, tree_command, workspace_command,
};

/// Carries out one command.
pub(crate) fn apply(transaction: &mut Transaction<'_>, command: &Command) -> Result<Outcome, Stop> {
    let what = required(command.what.as_ref(), "content")?;
    let is_system = transaction.kind() == GroupKind::System;
    let belongs_here = match what {
        What::OpenSession(_) | What::CloseSessions(_) | What::PruneMeta(_) => true,
        What::Tree(_) | What::Content(_) => !is_system,
        What::Cluster(_) | What::Identity(_) | What::Workspace(_) | What::Job(_) => is_system,
    };
    if !belongs_here {
        return Err(refuse(RejectionCode::WrongGroup, "this command is for another kind of group"));
    }
    let done = match what {
        What::OpenSession(open) => return session::open(transaction, open),
        What::CloseSessions(close) => return session::close(transaction, close),
        What::Tree(command) => tree(transaction, command),
        What::Content(command) => content(transaction, command),
        What::Cluster(command) => cluster(transaction, command),
        What::Identity(command) => identity(transaction, command),
        What::Workspace(command) => workspace(transaction, command),
        What::Job(command) => job(transaction, command),
        What::PruneMeta(command) => {
            let count = idempotent::prune(transaction, command)? + audit::prune(transaction, command)?;
            Ok(Done { count, ..Done::default() })
        }
    };
    done.map(Outcome::Done)
}

fn tree(transaction: &mut Transaction<'_>, command: &TreeCommand) -> Result<Done, Stop> {
    use tree_command::What;
    match command.what.as_ref().ok_or_else(empty)? {
        What::CreateFolder(command) => folder::create(transaction, command),
        What::OpenHidden(command) => folder::open_hidden(transaction, command),
        What::PutFile(command) => put_file::put(transaction, command),
        What::MoveEntry(command) => move_entry::apply(transaction, command),
        What::CopyEntry(command) => copy_entry::apply(transaction, command),
        What::DeleteEntry(command) => delete_entry::apply(transaction, command),
        What::SetMeta(command) => note::set(transaction, command),
        What::SetTimes(command) => note::set_times(transaction, command),
        What::Batch(command) => batch::apply(transaction, command),
        What::UseVersion(command) => version::use_again(transaction, command),
        What::DescribeVersion(command) => version::describe(transaction, command),
        What::DeleteVersion(command) => version::delete(transaction, command),
        What::PruneVersions(command) => prune::versions(transaction, command),
        What::QueuePruning(command) => prune::queue(transaction, command),
        What::PruneHistory(command) => history::prune(transaction, command),
        What::ReapEntries(command) => history::reap(transaction, command),
        What::EmptyBins(command) => recycle::empty(transaction, command),
        What::IndexNotes(command) => note_index::step(transaction, command),
        What::SetDatasourceQuota(command) => datasource::set_limits(transaction, command),
        What::SetLock(command) => lock::set(transaction, command),
        What::RefreshLock(command) => lock::refresh(transaction, command),
        What::RemoveLock(command) => lock::remove(transaction, command),
        What::ExpireLocks(command) => lock::expire(transaction, command),
    }
}

fn content(transaction: &mut Transaction<'_>, command: &ContentCommand) -> Result<Done, Stop> {
    use content_command::What;
    match command.what.as_ref().ok_or_else(empty)? {
        What::OpenUpload(command) => upload::open(transaction, command),
        What::AppendUpload(command) => upload::append(transaction, command),
        What::RenewUpload(command) => upload::renew(transaction, command),
        What::AbortUpload(command) => upload::abort(transaction, command),
        What::ExpireUploads(command) => upload::expire(transaction, command),
        What::ShardRepaired(command) => repair::shard_repaired(transaction, command),
        What::Reencoded(command) => repair::reencoded(transaction, command),
        What::ReportDamage(command) => repair::report_damage(transaction, command),
        What::AdvanceHorizon(command) => repair::advance_horizon(transaction, command),
        What::QueueRepairs(command) => repair::queue_repairs(transaction, command),
    }
}

fn cluster(transaction: &mut Transaction<'_>, command: &ClusterCommand) -> Result<Done, Stop> {
    use cluster_command::What;
    match command.what.as_ref().ok_or_else(empty)? {
        What::Init(command) => cluster::init(transaction, command),
        What::AddNode(command) => node::add(transaction, command),
        What::RegisterBoot(command) => node::register_boot(transaction, command),
        What::AddDevice(command) => device::add(transaction, command),
        What::SetDeviceState(command) => device::set_state(transaction, command),
        What::PlaceMember(command) => member::place(transaction, command),
        What::SetMemberRole(command) => member::set_role(transaction, command),
        What::DropMember(command) => member::drop_member(transaction, command),
        What::SetPlacement(command) => placement::set(transaction, command),
        What::ResizePool(command) => placement::resize(transaction, command),
        What::CreateDatasource(command) => datasource::create(transaction, command),
        What::PutJoinToken(command) => join_token::put(transaction, command),
        What::UseJoinToken(command) => join_token::withdraw(transaction, command),
        What::RecoverGroup(command) => recover_group::recover(transaction, command),
        What::FinishRecovery(command) => recover_group::finish(transaction, command),
        What::PutPolicy(command) => policy::put(transaction, command),
        What::DeletePolicy(command) => policy::delete(transaction, command),
        What::ChangeDatasource(command) => datasource::change(transaction, command),
    }
}

fn identity(transaction: &mut Transaction<'_>, command: &IdentityCommand) -> Result<Done, Stop> {
    use identity_command::What;
    match command.what.as_ref().ok_or_else(empty)? {
        What::PutUser(command) => user::put(transaction, command),
        What::DeleteUser(command) => user::delete(transaction, command),
        What::SetPassword(command) => user::set_password(transaction, command),
        What::PutGrant(command) => grant::put(transaction, command),
        What::PutToken(command) => token::put(transaction, command),
        What::DeleteToken(command) => token::delete(transaction, command),
        What::ExpireTokens(command) => token::expire(transaction, command),
        What::NoteRefusal(command) => audit::refusals(transaction, command),
    }
}

fn workspace(transaction: &mut Transaction<'_>, command: &WorkspaceCommand) -> Result<Done, Stop> {
    use workspace_command::What;
    match command.what.as_ref().ok_or_else(empty)? {
        What::PutWorkspace(command) => workspace::put(transaction, command),
        What::DeleteWorkspace(command) => workspace::delete(transaction, command),
        What::PutNamespace(command) => namespace::put(transaction, command),
        What::DeleteNamespace(command) => namespace::delete(transaction, command),
    }
}

fn job(transaction: &mut Transaction<'_>, command: &JobCommand) -> Result<Done, Stop> {
    use job_command::What;
    match command.what.as_ref().ok_or_else(empty)? {
        What::Create(command) => job::create(transaction, command),
        What::Claim(command) => job::claim(transaction, command),
        What::Report(command) => job::report(transaction, command),
        What::Cancel(command) => job::cancel(transaction, command),
        What::Prune(command) => job::prune(transaction, command),
    }
}

fn empty() -> Stop {
    invalid("the command names nothing to do")
}
