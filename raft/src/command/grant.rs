//! What a user may do in a workspace.

use skep_placement::ids::RecordId;

use super::{user, workspace};
use crate::keys::{GrantByWorkspaceKey, GrantKey};
use crate::state::rejection::{Stop, refuse};
use crate::state::transaction::Transaction;
use crate::state::{limits, read};
use crate::store::{Direction, StateError};
use crate::wire::meta::v1::{Done, GrantRecord, Permission, PutGrant, RejectionCode};

/// Writes or removes a grant.
pub(super) fn put(transaction: &mut Transaction<'_>, command: &PutGrant) -> Result<Done, Stop> {
    let (user, _) = user::existing(transaction, &command.user)?;
    let (workspace, _) = workspace::existing(transaction, &command.workspace)?;
    let key = GrantKey { user: user.user, workspace: workspace.workspace };
    let permission = Permission::try_from(command.permission).unwrap_or_default();
    if permission == Permission::Unspecified {
        remove(transaction, &key);
        return Ok(Done::default());
    }
    let created = transaction.get(&key)?.is_none();
    let record = GrantRecord { user: command.user.clone(), workspace: command.workspace.clone(), permission: permission.into() };
    transaction.put(&key, &record);
    transaction.put(&GrantByWorkspaceKey { workspace: key.workspace, user: key.user }, &());
    Ok(Done { created, ..Done::default() })
}

/// Removes all grants of a user.
pub(super) fn delete_of_user(transaction: &mut Transaction<'_>, user: RecordId) -> Result<(), Stop> {
    let grants = read::rows::<GrantKey>(transaction.state(), &[&user], Direction::Forward);
    remove_all(transaction, &grants.map(|row| row.map(|(key, _)| key)).collect::<Result<Vec<GrantKey>, StateError>>()?)
}

/// Removes all grants on a workspace.
pub(super) fn delete_of_workspace(transaction: &mut Transaction<'_>, workspace: RecordId) -> Result<(), Stop> {
    let grants = read::rows::<GrantByWorkspaceKey>(transaction.state(), &[&workspace], Direction::Forward);
    let grants = grants.map(|row| row.map(|(key, ())| GrantKey { user: key.user, workspace: key.workspace }));
    remove_all(transaction, &grants.collect::<Result<Vec<GrantKey>, StateError>>()?)
}

fn remove_all(transaction: &mut Transaction<'_>, grants: &[GrantKey]) -> Result<(), Stop> {
    if u64::try_from(grants.len()).unwrap_or(u64::MAX) > limits::ENTRIES_TOUCHED_MAX {
        return Err(refuse(RejectionCode::TooManyEntries, format!("{} grants would have to go at once; remove some first", grants.len())));
    }
    grants.iter().for_each(|grant| remove(transaction, grant));
    Ok(())
}

fn remove(transaction: &mut Transaction<'_>, grant: &GrantKey) {
    transaction.delete(grant);
    transaction.delete(&GrantByWorkspaceKey { workspace: grant.workspace, user: grant.user });
}
