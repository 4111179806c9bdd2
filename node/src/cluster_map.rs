//! The cluster map as this node last applied it: nodes, devices, pools, placement groups, and the keys of datasources.
//!
//! Built from the node's own replica of the system group, which may lag: a writer that uses an old set is told so by the devices, and
//! a record names the epoch it was written at, so a reader finds its set whatever the map's age. Invariant: a map is never changed, only
//! replaced by a newer one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use skep_placement::chunk::{ChunkKey, InvalidPgCount, PgCount};
use skep_placement::cluster_view::{ClusterView, Device, DeviceState};
use skep_placement::ids::{ChunkId, DatasourceId, DeviceId, Epoch, NodeId, PgId, PoolId};
use skep_placement::placement_map::PlacementGroup;
use skep_placement::profile::{Code, FailureDomain, Profile};
use skep_raft::handle::Metadata;
use skep_raft::store::StateError;
use skep_raft::system_view::SystemView;
use skep_raft::wire::meta::v1 as meta;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::chunk_rpc::client::DeviceDirectory;
use crate::master_key::{MasterKey, OpenSealError, SealPurpose};

/// How long changes of the system group are gathered before the map is built anew.
const GATHER: Duration = Duration::from_millis(100);

/// One placement group: where it is written, and where instances of older epochs lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PgSets {
    /// What a writer goes by.
    pub group: PlacementGroup,
    /// Older sets by epoch, newest first.
    pub past: Vec<(Epoch, Vec<DeviceId>)>,
}

/// A pool's profile and placement groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolMap {
    /// In force.
    pub profile: Profile,
    /// Whether the code follows the number of nodes.
    pub automatic: bool,
    /// How many placement groups.
    pub count: PgCount,
    /// By index.
    pub groups: Vec<PgSets>,
}

/// How a datasource stores.
#[derive(Clone, Debug)]
pub struct DatasourceMap {
    /// Its pool.
    pub pool: PoolId,
    /// Its name.
    pub name: String,
    /// What its chunk ids are keyed with.
    pub key: ChunkKey,
    /// Whether devices count as domains where the profile's are too few.
    pub degraded_to_devices: bool,
}

/// The map.
#[derive(Clone, Debug, Default)]
pub struct ClusterMap {
    /// Applied index of the system group that it was built at.
    pub index: u64,
    /// All devices, in the state that the system group gives them.
    pub view: ClusterView,
    /// All nodes.
    pub nodes: BTreeMap<NodeId, meta::NodeRecord>,
    /// All pools.
    pub pools: BTreeMap<PoolId, PoolMap>,
    /// All datasources.
    pub datasources: BTreeMap<DatasourceId, DatasourceMap>,
}

/// Why no map can be built.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// The replica can't be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// A datasource's key can't be opened.
    #[error("the key of datasource {datasource} can't be opened: {source}; is the master key file the cluster's?")]
    Key {
        /// Which.
        datasource: String,
        /// Why.
        source: OpenSealError,
    },
    /// A datasource's key has a wrong length.
    #[error("the key of datasource {0} is not 32 bytes long")]
    KeyLength(String),
    /// A record contradicts the rules for pools.
    #[error("pool {0} has a profile or number of placement groups that is none")]
    Pool(u64),
}

impl ClusterMap {
    /// Builds the map from the node's replica.
    ///
    /// # Errors
    /// [`MapError`]; the older map stays in use.
    pub fn build(system: &SystemView, master: &MasterKey) -> Result<Self, MapError> {
        let nodes: BTreeMap<NodeId, meta::NodeRecord> = system.nodes()?.into_iter().map(|node| (NodeId(node.id), node)).collect();
        let devices = system.devices()?.into_iter().map(|record| device(&record, &nodes));
        let mut map = Self { index: system.index()?, view: ClusterView::new(devices), nodes, ..Self::default() };
        for pool in system.pools()? {
            let id = PoolId(pool.id);
            map.pools.insert(id, pool_map(system, &pool)?);
        }
        for record in system.datasources()? {
            let key = master.open(SealPurpose::DatasourceKey, &record.chunk_key_sealed);
            let key = key.map_err(|source| MapError::Key { datasource: record.name.clone(), source })?;
            let key = <[u8; 32]>::try_from(key.as_slice()).map_err(|_wrong_length| MapError::KeyLength(record.name.clone()))?;
            let datasource = DatasourceMap {
                pool: PoolId(record.pool),
                name: record.name,
                key: ChunkKey(key),
                degraded_to_devices: record.degraded_writes_device,
            };
            map.datasources.insert(DatasourceId(record.id), datasource);
        }
        Ok(map)
    }

    /// The placement group of a chunk, with its sets.
    pub fn place(&self, pool: PoolId, chunk: &ChunkId) -> Option<(PgId, &PgSets, &PoolMap)> {
        let map = self.pools.get(&pool)?;
        let id = map.count.group_of(pool, chunk);
        let sets = map.groups.get(usize::try_from(id.index).ok()?)?;
        Some((id, sets, map))
    }

    /// The devices of a chunk by shard index, as its record says.
    pub fn devices_of(&self, chunk: &ChunkId, record: &meta::ChunkRecord) -> Vec<DeviceId> {
        if !record.devices.is_empty() {
            return record.devices.iter().copied().map(DeviceId).collect();
        }
        let Some((_, sets, _)) = self.place(PoolId(record.pool), chunk) else { return Vec::new() };
        sets.home_at(Epoch(record.epoch)).to_vec()
    }
}

impl PgSets {
    /// The set of an epoch; the acting one for an epoch that is not known here.
    pub fn home_at(&self, epoch: Epoch) -> &[DeviceId] {
        let past = self.past.iter().find(|(at, _)| *at == epoch).map(|(_, devices)| devices.as_slice());
        past.unwrap_or(&self.group.acting)
    }
}

fn device(record: &meta::DeviceRecord, nodes: &BTreeMap<NodeId, meta::NodeRecord>) -> Device {
    let node = nodes.get(&NodeId(record.node));
    let node_state = node.map(meta::NodeRecord::state).unwrap_or_default();
    let state = match (record.state(), node_state) {
        (meta::DeviceState::Lost, _) | (_, meta::NodeState::Removed) => DeviceState::Lost,
        (meta::DeviceState::Draining, _) | (_, meta::NodeState::Draining) => DeviceState::Draining,
        (meta::DeviceState::Active | meta::DeviceState::Unspecified, meta::NodeState::Active | meta::NodeState::Unspecified) => {
            DeviceState::Up
        }
    };
    Device {
        id: DeviceId(record.id),
        node: NodeId(record.node),
        zone: node.map(|node| node.zone.clone()).unwrap_or_default(),
        weight: u32::try_from(record.weight).unwrap_or(u32::MAX),
        state,
    }
}

fn pool_map(system: &SystemView, pool: &meta::PoolRecord) -> Result<PoolMap, MapError> {
    let wrong = || MapError::Pool(pool.id);
    let record = pool.profile.ok_or_else(wrong)?;
    let count = PgCount::new(pool.placement_groups).map_err(|_invalid: InvalidPgCount| wrong())?;
    let groups = system.pgs(PoolId(pool.id))?.into_iter().map(sets).collect::<Vec<_>>();
    if groups.len() != usize::try_from(count.get()).expect("usize has 32 bits at least") {
        return Err(wrong());
    }
    Ok(PoolMap { profile: profile(&record).ok_or_else(wrong)?, automatic: record.automatic, count, groups })
}

fn sets(record: meta::PgRecord) -> PgSets {
    let devices = |ids: Vec<u64>| ids.into_iter().map(DeviceId).collect::<Vec<_>>();
    let past: Vec<_> = record.past.into_iter().map(|set| (Epoch(set.epoch), devices(set.devices))).collect();
    let target = (!record.target.is_empty()).then(|| devices(record.target));
    // The placement crate lists past sets oldest first.
    let past_sets = past.iter().rev().map(|(_, devices)| devices.clone()).collect();
    let group = PlacementGroup { epoch: Epoch(record.epoch), acting: devices(record.acting), target, past: past_sets };
    PgSets { group, past }
}

/// A stored profile as the placement crate has it; `None` if it is none.
pub fn profile(record: &meta::Profile) -> Option<Profile> {
    let domain = match record.domain() {
        meta::DomainKind::Device => FailureDomain::Device,
        meta::DomainKind::Node => FailureDomain::Node,
        meta::DomainKind::Zone => FailureDomain::Zone,
        meta::DomainKind::Unspecified => return None,
    };
    Some(Profile { code: code(record.code.as_ref()?)?, domain })
}

/// A stored code as the placement crate has it; `None` if it is none.
pub fn code(record: &meta::Code) -> Option<Code> {
    Code::new(u8::try_from(record.data).ok()?, u8::try_from(record.parity).ok()?).ok()
}

/// A code as it is stored.
pub fn code_record(code: Code) -> meta::Code {
    meta::Code { data: u32::from(code.data()), parity: u32::from(code.parity()) }
}

/// Holds the newest map and keeps it new.
#[derive(Clone, Debug)]
pub struct ClusterMaps {
    newest: Arc<watch::Sender<Arc<ClusterMap>>>,
}

impl ClusterMaps {
    /// Begins with a map.
    pub fn new(map: ClusterMap) -> Self {
        Self { newest: Arc::new(watch::Sender::new(Arc::new(map))) }
    }

    /// The newest map.
    pub fn current(&self) -> Arc<ClusterMap> {
        Arc::clone(&self.newest.borrow())
    }

    /// Says when there is a newer one.
    pub fn watch(&self) -> watch::Receiver<Arc<ClusterMap>> {
        self.newest.subscribe()
    }

    /// Builds the map from the replica as it is now.
    ///
    /// # Errors
    /// [`MapError`]; the older map stays in use.
    pub fn refresh(&self, metadata: &Metadata, master: &MasterKey) -> Result<(), MapError> {
        self.publish(ClusterMap::build(&metadata.system_stale(), master)?);
        Ok(())
    }

    /// Takes a map, unless one that is as new is there.
    pub(crate) fn publish(&self, map: ClusterMap) {
        self.newest.send_if_modified(|newest| {
            let newer = map.index > newest.index;
            if newer {
                *newest = Arc::new(map);
            }
            newer
        });
    }

    /// Follows the system group until it is told to stop.
    pub async fn follow(self, metadata: Metadata, master: MasterKey, stop: CancellationToken) {
        let mut applied = metadata.watch_system();
        loop {
            if let Err(error) = self.refresh(&metadata, &master) {
                tracing::error!(%error, "the cluster map was not rebuilt");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                changed = applied.changed() => if changed.is_err() { return },
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(GATHER) => {}
            }
        }
    }
}

impl DeviceDirectory for ClusterMaps {
    fn node_of(&self, device: DeviceId) -> Option<NodeId> {
        self.newest.borrow().view.device(device).map(|device| device.node)
    }
}
