//! Versioning policies of the cluster. Those that every cluster has are part of the program and cannot be changed.

use skep_placement::ids::RecordId;

use super::cluster;
use crate::keys::{DatasourceKey, PolicyKey};
use crate::state::policy::{self, Rules};
use crate::state::rejection::{Stop, id, invalid, refuse, required, text};
use crate::state::transaction::Transaction;
use crate::state::{limits, read};
use crate::store::{Direction, StateError};
use crate::wire::meta::v1::{DeletePolicy, Done, PutPolicy, RejectionCode, VersioningPolicyRecord};

/// Policies that administrators may make.
const POLICIES_MAX: usize = 1_000;

/// Makes or changes a policy. Datasources that have it are looked at anew.
pub(super) fn put(transaction: &mut Transaction<'_>, command: &PutPolicy) -> Result<Done, Stop> {
    cluster::require(transaction)?;
    let given = required(command.policy.as_ref(), "policy")?;
    let key = PolicyKey { policy: id(&given.id, "policy id")? };
    check_own(key.policy)?;
    text(&given.name, "name", limits::NAME_BYTES_MAX)?;
    text(&given.uuid, "Uuid", limits::NAME_BYTES_MAX)?;
    text(&given.description, "description", limits::TEXT_BYTES_MAX)?;
    if given.name.is_empty() || given.uuid.is_empty() {
        return Err(invalid("a policy needs a name and a Uuid"));
    }
    Rules::of(given).map_err(|fault| invalid(fault.to_string()))?;
    let all = read::rows::<PolicyKey>(transaction.state(), &[], Direction::Forward).collect::<Result<Vec<_>, StateError>>()?;
    let others = all.iter().map(|(_, policy)| policy).filter(|policy| policy.id != given.id);
    if others.cloned().chain(policy::built_in()).any(|policy| policy.uuid == given.uuid) {
        return Err(refuse(RejectionCode::AlreadyExists, format!("there is a policy {:?} already", given.uuid)));
    }
    let created = transaction.get(&key)?.is_none();
    if created && all.len() >= POLICIES_MAX {
        return Err(refuse(RejectionCode::LimitReached, format!("there are {POLICIES_MAX} policies, the most there can be")));
    }
    transaction.put(&key, &VersioningPolicyRecord { built_in: false, ..given.clone() });
    let stamp = transaction.stamp();
    for (key, mut datasource) in datasources(transaction)? {
        if datasource.policy == given.id {
            datasource.policy_changed_at = stamp;
            transaction.put(&key, &datasource);
        }
    }
    Ok(Done { created, ..Done::default() })
}

/// Deletes a policy that no datasource has.
pub(super) fn delete(transaction: &mut Transaction<'_>, command: &DeletePolicy) -> Result<Done, Stop> {
    let key = PolicyKey { policy: id(&command.policy, "policy id")? };
    check_own(key.policy)?;
    if transaction.get(&key)?.is_none() {
        return Err(refuse(RejectionCode::NotFound, format!("there is no policy with the id {}", key.policy)));
    }
    if let Some((_, user)) = datasources(transaction)?.into_iter().find(|(_, datasource)| datasource.policy == command.policy) {
        let detail = format!("the datasource {:?} has this policy: give it another one first", user.name);
        return Err(refuse(RejectionCode::NotEmpty, detail));
    }
    transaction.delete(&key);
    Ok(Done::default())
}

/// A policy by its id, also one that every cluster has.
pub(super) fn exists(transaction: &Transaction<'_>, policy: RecordId) -> Result<bool, StateError> {
    let is_built_in = policy::built_in().iter().any(|record| record.id.as_ref() == policy.0.as_slice());
    Ok(is_built_in || transaction.get(&PolicyKey { policy })?.is_some())
}

fn check_own(policy: RecordId) -> Result<(), Stop> {
    if policy::built_in().iter().any(|record| record.id.as_ref() == policy.0.as_slice()) {
        return Err(refuse(RejectionCode::Forbidden, "a policy that every cluster has cannot be changed: make one of your own"));
    }
    Ok(())
}

type Datasources = Vec<(DatasourceKey, crate::wire::meta::v1::DatasourceRecord)>;

fn datasources(transaction: &Transaction<'_>) -> Result<Datasources, StateError> {
    read::rows::<DatasourceKey>(transaction.state(), &[], Direction::Forward).collect()
}
