//! Datasources and the groups that hold them.

use bytes::Bytes;
use skep_placement::ids::{DatasourceId, GroupId, NodeId, PoolId, RecordId};

use super::{cluster, node, placement, policy};
use crate::keys::{DatasourceByNameKey, DatasourceKey, GroupKey, LimitsKey, NameRest};
use crate::state::rejection::{Stop, id, invalid, refuse, required};
use crate::state::transaction::Transaction;
use crate::state::{limits, read};
use crate::store::{Direction, StateError};
use crate::wire::meta::v1::{
    ChangeDatasource, CreateDatasource, DatasourceLimits, DatasourceRecord, Done, GroupMember, GroupRecord, MemberRole, RejectionCode,
    SetDatasourceQuota,
};

/// Longest name of a datasource, in bytes.
const NAME_BYTES_MAX: usize = 63;

/// What a datasource is made of.
pub(super) struct New<'a> {
    pub(super) name: &'a str,
    pub(super) pool: PoolId,
    pub(super) chunk_key_sealed: Bytes,
    pub(super) encrypted: bool,
    pub(super) quota_bytes: u64,
    pub(super) degraded_writes_device: bool,
}

/// Makes a datasource with its group. The outcome names it, then its pool and the Raft id of its first replica.
pub(super) fn create(transaction: &mut Transaction<'_>, command: &CreateDatasource) -> Result<Done, Stop> {
    let bootstrap = NodeId(command.bootstrap_node);
    node::existing(transaction, bootstrap)?;
    let pool = placement::pool_of(transaction, required(command.profile.as_ref(), "profile")?)?;
    let new = New {
        name: &command.name,
        pool,
        chunk_key_sealed: command.chunk_key_sealed.clone(),
        encrypted: command.encrypted,
        quota_bytes: command.quota_bytes,
        degraded_writes_device: command.degraded_writes_device,
    };
    let (datasource, raft_id) = add(transaction, new, bootstrap)?;
    Ok(Done { number: datasource.0, numbers: vec![pool.0, raft_id], created: true, ..Done::default() })
}

/// Writes a datasource and its group.
pub(super) fn add(transaction: &mut Transaction<'_>, new: New<'_>, bootstrap: NodeId) -> Result<(DatasourceId, u64), Stop> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    if new.name.is_empty() || new.name.len() > NAME_BYTES_MAX || !new.name.bytes().all(fits) {
        let detail = format!("{:?} cannot name a datasource: 1 to {NAME_BYTES_MAX} of a-z, 0-9, - and _", new.name);
        return Err(refuse(RejectionCode::NameInvalid, detail));
    }
    if new.chunk_key_sealed.is_empty() {
        return Err(invalid("a datasource needs a sealed chunk key"));
    }
    let by_name = DatasourceByNameKey { name: NameRest(new.name.to_owned()) };
    if transaction.get(&by_name)?.is_some() {
        return Err(refuse(RejectionCode::AlreadyExists, format!("there is a datasource {:?} already", new.name)));
    }
    let datasource = DatasourceId(cluster::next(transaction, |cluster| &mut cluster.next_datasource)?);
    let raft_id = create_group(transaction, GroupId::from(datasource), bootstrap)?;
    let record = DatasourceRecord {
        id: datasource.0,
        name: new.name.to_owned(),
        pool: new.pool.0,
        chunk_key_sealed: new.chunk_key_sealed,
        policy: Bytes::new(),
        encrypted: new.encrypted,
        quota_bytes: new.quota_bytes,
        degraded_writes_device: new.degraded_writes_device,
        created_at: transaction.stamp(),
        ..DatasourceRecord::default()
    };
    transaction.put(&DatasourceKey { datasource }, &record);
    transaction.put(&by_name, &datasource.0);
    Ok((datasource, raft_id))
}

/// Changes what is named of a datasource.
pub(super) fn change(transaction: &mut Transaction<'_>, command: &ChangeDatasource) -> Result<Done, Stop> {
    let key = DatasourceKey { datasource: DatasourceId(command.datasource) };
    let not_found = || refuse(RejectionCode::NotFound, format!("there is no datasource {}", command.datasource));
    let mut record = transaction.get(&key)?.ok_or_else(not_found)?;
    change_policy(transaction, command, &mut record)?;
    if command.set_quota {
        (record.quota_bytes, record.quota_entries) = (command.quota_bytes, command.quota_entries);
    }
    if command.history_seconds != 0 {
        record.history_seconds = command.history_seconds;
    }
    if command.set_recycle {
        (record.recycle_seconds, record.recycle_bytes) = (command.recycle_seconds, command.recycle_bytes);
    }
    if command.set_degraded_writes {
        record.degraded_writes_device = command.degraded_writes_device;
    }
    transaction.put(&key, &record);
    Ok(Done { number: record.id, ..Done::default() })
}

/// Gives the datasource a policy or takes its policy away; either way its files are looked at anew.
fn change_policy(transaction: &Transaction<'_>, command: &ChangeDatasource, record: &mut DatasourceRecord) -> Result<(), Stop> {
    if command.clear_policy && !command.policy.is_empty() {
        return Err(invalid("a policy cannot be given and taken away at once"));
    }
    let is_same = command.policy == record.policy;
    if command.clear_policy && !record.current_only {
        (record.policy, record.current_only) = (Bytes::new(), true);
    } else if !command.policy.is_empty() && !is_same {
        let policy_id: RecordId = id(&command.policy, "policy id")?;
        if !policy::exists(transaction, policy_id)? {
            return Err(refuse(RejectionCode::NotFound, format!("there is no versioning policy with the id {policy_id}")));
        }
        (record.policy, record.current_only) = (command.policy.clone(), false);
    } else {
        return Ok(());
    }
    record.policy_changed_at = transaction.stamp();
    Ok(())
}

/// Sets the limits that the datasource's own group enforces.
pub(super) fn set_limits(transaction: &mut Transaction<'_>, command: &SetDatasourceQuota) -> Result<Done, Stop> {
    let limits = transaction.get(&LimitsKey {})?.unwrap_or_default();
    let (stored_bytes_max, entries_max) = (command.stored_bytes_max, command.entries_max);
    transaction.put(&LimitsKey {}, &DatasourceLimits { stored_bytes_max, entries_max, ..limits });
    Ok(Done::default())
}

/// Writes a group with one voter, which initialises it. Gives its Raft id.
pub(super) fn create_group(transaction: &mut Transaction<'_>, group: GroupId, bootstrap: NodeId) -> Result<u64, Stop> {
    let groups = read::rows::<GroupKey>(transaction.state(), &[], Direction::Forward).collect::<Result<Vec<_>, StateError>>()?;
    if u64::try_from(groups.len()).unwrap_or(u64::MAX) >= limits::GROUPS_MAX {
        return Err(refuse(RejectionCode::LimitReached, format!("the cluster has {} groups, its limit", groups.len())));
    }
    let raft_id = cluster::next(transaction, |cluster| &mut cluster.next_raft_id)?;
    let member = GroupMember { raft_id, node: bootstrap.0, role: MemberRole::Voter.into() };
    let record = GroupRecord { id: group.0, generation: 1, members: vec![member], bootstrap: raft_id, recovery: None };
    transaction.put(&GroupKey { group }, &record);
    Ok(raft_id)
}
