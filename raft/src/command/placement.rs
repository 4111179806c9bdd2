//! Pools and the device sets of their placement groups.
//!
//! Invariants: the epoch of a placement group grows with every change of its set; the sets of older epochs are remembered, because instances
//! lie there.

use std::collections::BTreeSet;

use skep_placement::chunk::PgCount;
use skep_placement::cluster_view::{self, ClusterView, Device};
use skep_placement::ids::{DeviceId, NodeId, PoolId};
use skep_placement::limits::SHARDS_MAX;
use skep_placement::placement_map;
use skep_placement::profile::{self, FailureDomain};

use super::cluster;
use crate::keys::{DeviceKey, NodeKey, PgKey, PoolKey};
use crate::state::chunk;
use crate::state::rejection::{Stop, invalid, refuse, refuse_at};
use crate::state::transaction::Transaction;
use crate::state::{limits, read};
use crate::store::{Direction, ReadState, StateError};
use crate::wire::meta::v1::{
    Code, DeviceState, DomainKind, Done, NodeState, PgChange, PgRecord, PgSet, PoolRecord, Profile, RejectionCode, ResizePool, SetPlacement,
};

/// The pool of a profile; made with all its placement groups if there is none.
pub(super) fn pool_of(transaction: &mut Transaction<'_>, wanted: &Profile) -> Result<PoolId, Stop> {
    let view = view(transaction.state())?;
    let profile = if wanted.automatic { view.auto_profile() } else { profile(wanted)? };
    let stored = stored_profile(profile, wanted.automatic);
    let pools = read::rows::<PoolKey>(transaction.state(), &[], Direction::Forward).collect::<Result<Vec<_>, StateError>>()?;
    for (key, pool) in pools {
        let has = pool.profile.unwrap_or_default();
        if has.automatic == wanted.automatic && (wanted.automatic || has == stored) {
            return Ok(key.pool);
        }
    }
    let pool = PoolId(cluster::next(transaction, |cluster| &mut cluster.next_pool)?);
    let groups = placement_map::initial_map(&view, pool, profile);
    let count = PgCount::NEW_POOL.get();
    transaction.put(&PoolKey { pool }, &PoolRecord { id: pool.0, profile: Some(stored), placement_groups: count });
    for (index, group) in (0..count).zip(groups) {
        let acting = group.acting.iter().map(|device| device.0).collect();
        let record = PgRecord { epoch: group.epoch.0, acting, target: Vec::new(), past: Vec::new() };
        transaction.put(&PgKey { pool, index }, &record);
    }
    Ok(pool)
}

/// New sets for placement groups, each compared with the epoch that the proposer saw.
pub(super) fn set(transaction: &mut Transaction<'_>, command: &SetPlacement) -> Result<Done, Stop> {
    let key = PoolKey { pool: PoolId(command.pool) };
    let mut pool = existing(transaction, &key)?;
    if let Some(wanted) = &command.profile {
        pool.profile = Some(stored_profile(profile(wanted)?, wanted.automatic));
        transaction.put(&key, &pool);
    }
    let view = view(transaction.state())?;
    let mut count = 0;
    for (place, change) in command.changes.iter().enumerate() {
        check_set(&view, change, place)?;
        let key = PgKey { pool: key.pool, index: change.index };
        let group = transaction.get(&key)?;
        let no_group = || refuse_at(RejectionCode::NotFound, format!("the pool has no placement group {}", change.index), place);
        let mut group = group.ok_or_else(no_group)?;
        if group.epoch != change.epoch_was {
            let detail = format!("placement group {} is at epoch {}, not {}", change.index, group.epoch, change.epoch_was);
            return Err(refuse_at(RejectionCode::Stale, detail, place));
        }
        if group.acting == change.acting {
            continue;
        }
        if group.past.len() >= limits::PAST_SETS_MAX {
            let detail = format!("placement group {} remembers {} sets, its limit", change.index, group.past.len());
            return Err(refuse_at(RejectionCode::LimitReached, detail, place));
        }
        let devices = std::mem::replace(&mut group.acting, change.acting.clone());
        group.past.insert(0, PgSet { epoch: group.epoch, devices });
        group.epoch += 1;
        transaction.put(&key, &group);
        count += 1;
    }
    Ok(Done { count, ..Done::default() })
}

fn check_set(view: &ClusterView, change: &PgChange, place: usize) -> Result<(), Stop> {
    let distinct: BTreeSet<&u64> = change.acting.iter().collect();
    if change.acting.is_empty() || change.acting.len() > usize::from(SHARDS_MAX) || distinct.len() != change.acting.len() {
        return Err(refuse_at(RejectionCode::Invalid, "a set names one device to 32, none twice", place));
    }
    match change.acting.iter().find(|device| view.state(DeviceId(**device)) == cluster_view::DeviceState::Lost) {
        Some(device) => Err(refuse_at(RejectionCode::Invalid, format!("device {device} is lost or unknown"), place)),
        None => Ok(()),
    }
}

/// Splits every placement group of a pool in two, on the same devices.
pub(super) fn resize(transaction: &mut Transaction<'_>, command: &ResizePool) -> Result<Done, Stop> {
    let key = PoolKey { pool: PoolId(command.pool) };
    let mut pool = existing(transaction, &key)?;
    if pool.placement_groups == command.placement_groups {
        return Ok(Done::default());
    }
    if pool.placement_groups.checked_mul(2) != Some(command.placement_groups) {
        return Err(refuse(RejectionCode::Stale, format!("the pool has {} placement groups; it is only doubled", pool.placement_groups)));
    }
    if command.placement_groups > limits::PLACEMENT_GROUPS_MAX {
        return Err(refuse(RejectionCode::LimitReached, format!("a pool has at most {} placement groups", limits::PLACEMENT_GROUPS_MAX)));
    }
    // From the last to the first: group i becomes 2i and 2i+1, which lie behind all that are still to be read.
    for index in (0..pool.placement_groups).rev() {
        let group = read::expect(transaction.state(), &PgKey { pool: key.pool, index })?;
        for half in [2 * index, 2 * index + 1] {
            transaction.put(&PgKey { pool: key.pool, index: half }, &group);
        }
    }
    pool.placement_groups = command.placement_groups;
    transaction.put(&key, &pool);
    Ok(Done { count: u64::from(pool.placement_groups), ..Done::default() })
}

fn existing(transaction: &Transaction<'_>, key: &PoolKey) -> Result<PoolRecord, Stop> {
    transaction.get(key)?.ok_or_else(|| refuse(RejectionCode::NotFound, format!("there is no pool {}", key.pool)))
}

/// The devices as the cluster has agreed on them; those of a node that is drained or removed follow it.
fn view(state: &dyn ReadState) -> Result<ClusterView, StateError> {
    let mut devices = Vec::new();
    for row in read::rows::<DeviceKey>(state, &[], Direction::Forward) {
        let (key, record) = row?;
        let node = read::expect(state, &NodeKey { node: NodeId(record.node) })?;
        let node_state = NodeState::try_from(node.state).unwrap_or_default();
        let device = match (DeviceState::try_from(record.state).unwrap_or_default(), node_state) {
            (DeviceState::Lost | DeviceState::Unspecified, _) | (_, NodeState::Removed | NodeState::Unspecified) => {
                cluster_view::DeviceState::Lost
            }
            (DeviceState::Draining, _) | (_, NodeState::Draining) => cluster_view::DeviceState::Draining,
            (DeviceState::Active, NodeState::Active) => cluster_view::DeviceState::Up,
        };
        let weight = u32::try_from(record.weight).unwrap_or(u32::MAX);
        devices.push(Device { id: key.device, node: NodeId(record.node), zone: node.zone, weight, state: device });
    }
    Ok(ClusterView::new(devices))
}

fn profile(profile: &Profile) -> Result<profile::Profile, Stop> {
    let domain = match DomainKind::try_from(profile.domain).unwrap_or_default() {
        DomainKind::Device => FailureDomain::Device,
        DomainKind::Node => FailureDomain::Node,
        DomainKind::Zone => FailureDomain::Zone,
        DomainKind::Unspecified => return Err(invalid("the profile names no failure domain")),
    };
    Ok(profile::Profile { code: chunk::code(profile.code.as_ref(), 0)?, domain })
}

fn stored_profile(profile: profile::Profile, automatic: bool) -> Profile {
    let domain = match profile.domain {
        FailureDomain::Device => DomainKind::Device,
        FailureDomain::Node => DomainKind::Node,
        FailureDomain::Zone => DomainKind::Zone,
    };
    let code = Code { data: u32::from(profile.code.data()), parity: u32::from(profile.code.parity()) };
    Profile { automatic, code: Some(code), domain: domain.into() }
}
