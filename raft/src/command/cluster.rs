//! The first command of a cluster: the cluster itself, its first node with its devices, a pool, two datasources, two workspaces, an admin.
//!
//! Invariant: it is applied once; whoever asks again is told that there is a cluster.

use skep_placement::ids::{DatasourceId, GroupId, NodeId, RecordId};

use super::{datasource, device, placement, user, workspace};
use crate::keys::{ClusterKey, NodeKey};
use crate::state::rejection::{Stop, id, invalid, refuse, required};
use crate::state::transaction::Transaction;
use crate::store::StateError;
use crate::wire::meta::v1::{
    ClusterRecord, Done, InitCluster, NodeRecord, NodeState, Permission, RejectionCode, WorkspaceRecord, WorkspaceRoot, WorkspaceScope,
};

/// The datasource of what everybody shares.
const COMMON_DATASOURCE: &str = "pydiods1";
/// The datasource of everybody's own files.
const PERSONAL_DATASOURCE: &str = "personal";

/// Makes the cluster.
pub(super) fn init(transaction: &mut Transaction<'_>, command: &InitCluster) -> Result<Done, Stop> {
    if transaction.get(&ClusterKey {})?.is_some() {
        return Err(refuse(RejectionCode::AlreadyExists, "there is a cluster already"));
    }
    let given = required(command.cluster.as_ref(), "cluster")?;
    id::<skep_placement::ids::ClusterId>(&given.cluster, "cluster id")?;
    let stamp = transaction.stamp();
    let cluster = ClusterRecord {
        created_at: stamp,
        next_node: 2,
        next_device: 1,
        next_datasource: 1,
        next_raft_id: 1,
        next_pool: 1,
        ..given.clone()
    };
    transaction.put(&ClusterKey {}, &cluster);
    let node = NodeId(1);
    let record =
        NodeRecord { id: node.0, state: NodeState::Active.into(), joined_at: stamp, ..required(command.node.as_ref(), "node")?.clone() };
    transaction.put(&NodeKey { node }, &record);
    datasource::create_group(transaction, GroupId::SYSTEM, node)?;
    let devices = add_devices(transaction, command)?;
    let profile = required(command.default_profile.as_ref(), "default profile")?;
    let pool = placement::pool_of(transaction, profile)?;
    for (name, key) in [(COMMON_DATASOURCE, &command.chunk_key_sealed), (PERSONAL_DATASOURCE, &command.chunk_key_sealed_personal)] {
        let new =
            datasource::New { name, pool, chunk_key_sealed: key.clone(), encrypted: false, quota_bytes: 0, degraded_writes_device: false };
        datasource::add(transaction, new, node)?;
    }
    add_workspaces(transaction, command)?;
    let mut admin = required(command.admin.as_ref(), "administrator")?.clone();
    admin.admin = true;
    admin.disabled = false;
    user::add(transaction, admin)?;
    Ok(Done { number: node.0, numbers: devices, created: true, ..Done::default() })
}

fn add_devices(transaction: &mut Transaction<'_>, command: &InitCluster) -> Result<Vec<u64>, Stop> {
    if command.devices.is_empty() {
        return Err(invalid("the first node has no device to store anything on"));
    }
    if !command.device_nonces.is_empty() && command.device_nonces.len() != command.devices.len() {
        return Err(invalid("some devices have a nonce and some have none"));
    }
    let mut ids = Vec::new();
    for (place, device) in command.devices.iter().enumerate() {
        let nonce = command.device_nonces.get(place);
        let mut device = device.clone();
        device.node = 1;
        ids.push(device::create(transaction, device, nonce.map(AsRef::as_ref))?);
    }
    Ok(ids)
}

fn add_workspaces(transaction: &mut Transaction<'_>, command: &InitCluster) -> Result<(), Stop> {
    let workspaces = [
        (&command.common_workspace, "common-files", "Common Files", DatasourceId(1), false),
        (&command.personal_workspace, "personal-files", "Personal Files", DatasourceId(2), true),
    ];
    for (workspace, slug, label, datasource, folder_per_user) in workspaces {
        id::<RecordId>(workspace, "workspace id")?;
        let root = WorkspaceRoot { datasource: datasource.0, entry: vec![0; 16].into(), folder_per_user };
        let record = WorkspaceRecord {
            id: workspace.clone(),
            slug: slug.to_owned(),
            label: label.to_owned(),
            description: String::new(),
            scope: WorkspaceScope::Admin.into(),
            roots: vec![root],
            default_permission: Permission::ReadWrite.into(),
            ..WorkspaceRecord::default()
        };
        workspace::write(transaction, record, true)?;
    }
    Ok(())
}

/// Gives out the next number of one of the cluster's counters.
pub(super) fn next(transaction: &mut Transaction<'_>, counter: impl FnOnce(&mut ClusterRecord) -> &mut u64) -> Result<u64, Stop> {
    let mut cluster = require(transaction)?;
    let counter = counter(&mut cluster);
    let number = *counter;
    *counter = number.checked_add(1).ok_or_else(|| StateError::corrupt("a counter of the cluster has come to its end"))?;
    transaction.put(&ClusterKey {}, &cluster);
    Ok(number)
}

/// The cluster, which must have been made.
pub(super) fn require(transaction: &Transaction<'_>) -> Result<ClusterRecord, Stop> {
    transaction.get(&ClusterKey {})?.ok_or_else(|| refuse(RejectionCode::NotFound, "there is no cluster yet"))
}
