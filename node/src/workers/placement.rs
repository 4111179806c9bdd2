//! Keeps pools on the devices the cluster has: the profile that `auto` stands for, the sets of each placement group, and, after a change
//! of profile, the walk that queues what is below it.
//!
//! Runs where the system group is led. A new set only says where *new* instances go: what lies in older sets stays readable there, because
//! the older set is kept with its epoch. Invariant: a set is proposed with the epoch it was computed from, and refused if that has changed.

use std::collections::BTreeMap;
use std::time::Duration;

use skep_placement::ids::{DatasourceId, DeviceId, GroupId, PgId, PoolId};
use skep_placement::placement_map::{ideal_set, next_set};
use skep_placement::profile::{FailureDomain, Profile};
use skep_raft::errors::ProposeError;
use skep_raft::handle::Metadata;
use skep_raft::wire::meta::v1 as meta;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cluster_map::{ClusterMap, ClusterMaps, PoolMap, code_record};

/// Between two looks at the map.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long the map must have been the same before sets are computed: nodes that join together are placed together.
const SETTLED_AFTER: Duration = Duration::from_secs(2);
/// Placement groups changed by one command.
const CHANGES_MAX: usize = 256;
/// Chunk records walked by one command.
const WALK_MAX: u32 = 1_000;
/// Deadline of a command.
const DEADLINE: Duration = Duration::from_secs(8);

/// Keeps pools and devices together until it is told to stop.
#[derive(Debug)]
pub struct PlacementWorker {
    metadata: Metadata,
    maps: ClusterMaps,
    /// The profile that each datasource was last walked for; a new leader walks once more.
    walked: BTreeMap<DatasourceId, Profile>,
    seen: Vec<(DeviceId, u32)>,
    seen_since: Instant,
}

impl PlacementWorker {
    /// A worker that has not begun.
    pub fn new(metadata: Metadata, maps: ClusterMaps) -> Self {
        Self { metadata, maps, walked: BTreeMap::new(), seen: Vec::new(), seen_since: Instant::now() }
    }

    /// Works until it is told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _tick = ticks.tick() => {}
            }
            let map = self.maps.current();
            if self.is_settled(&map) && self.metadata.is_leader(GroupId::SYSTEM).await {
                self.place_pools(&map).await;
            }
            self.walk_datasources(&map).await;
        }
    }

    fn is_settled(&mut self, map: &ClusterMap) -> bool {
        let placed = map.view.devices().filter(|device| device.state.keeps_places());
        let devices: Vec<(DeviceId, u32)> = placed.map(|device| (device.id, device.weight)).collect();
        if devices != self.seen {
            self.seen = devices;
            self.seen_since = Instant::now();
        }
        self.seen_since.elapsed() >= SETTLED_AFTER
    }

    async fn place_pools(&self, map: &ClusterMap) {
        for (id, pool) in &map.pools {
            let profile = if pool.automatic { map.view.auto_profile() } else { pool.profile };
            let changes = changes(map, *id, pool, profile);
            if changes.is_empty() && profile == pool.profile {
                continue;
            }
            tracing::info!(pool = %id, code = %profile.code, groups = changes.len(), "placing the pool on the devices there are");
            // At least one command, so that a new profile is recorded even where no set changes.
            let mut parts: Vec<Vec<meta::PgChange>> = changes.chunks(CHANGES_MAX).map(<[meta::PgChange]>::to_vec).collect();
            if parts.is_empty() {
                parts.push(Vec::new());
            }
            for changes in parts {
                let record = profile_record(profile, pool.automatic);
                let set = meta::SetPlacement { pool: id.0, profile: Some(record), changes };
                let cluster = meta::ClusterCommand { what: Some(meta::cluster_command::What::SetPlacement(set)) };
                if let Err(error) = self.propose(GroupId::SYSTEM, meta::command::What::Cluster(cluster)).await {
                    tracing::warn!(pool = %id, %error, "the pool was not placed; trying again");
                    return;
                }
            }
        }
    }

    /// Queues what is below the profile, where this node leads the datasource's group and the profile is new to it.
    async fn walk_datasources(&mut self, map: &ClusterMap) {
        for (id, datasource) in &map.datasources {
            let Some(pool) = map.pools.get(&datasource.pool) else { continue };
            if !self.metadata.is_leader(GroupId::from(*id)).await {
                self.walked.remove(id);
                continue;
            }
            if self.walked.get(id) == Some(&pool.profile) {
                continue;
            }
            match self.walk(*id, pool.profile).await {
                Ok(()) => {
                    self.walked.insert(*id, pool.profile);
                }
                Err(error) => tracing::info!(datasource = %id, %error, "the walk for chunks below the profile did not end; trying again"),
            }
        }
    }

    async fn walk(&self, datasource: DatasourceId, profile: Profile) -> Result<(), ProposeError> {
        let mut after = bytes::Bytes::new();
        loop {
            let queue = meta::QueueRepairs { after, limit: WALK_MAX, profile: Some(code_record(profile.code)), epoch_floor: 0 };
            let content = meta::ContentCommand { what: Some(meta::content_command::What::QueueRepairs(queue)) };
            let done = self.propose(GroupId::from(datasource), meta::command::What::Content(content)).await?;
            if done.cursor.is_empty() {
                return Ok(());
            }
            after = done.cursor;
        }
    }

    async fn propose(&self, group: GroupId, what: meta::command::What) -> Result<meta::Done, ProposeError> {
        let command = meta::Command { what: Some(what), ..meta::Command::default() };
        self.metadata.propose(group, command, Instant::now() + DEADLINE).await.map(|proposed| proposed.done)
    }
}

/// The sets that differ from what the devices and the profile ask for.
fn changes(map: &ClusterMap, pool: PoolId, sets: &PoolMap, profile: Profile) -> Vec<meta::PgChange> {
    let change = |(index, pg): (u32, &crate::cluster_map::PgSets)| {
        let current = &pg.group.acting;
        // Under a new code everything is encoded anew, and a set that was never complete holds nothing whole: devices need not keep their positions there,
        // and none should have the same everywhere.
        let is_kept = profile.code == sets.profile.code && current.len() >= usize::from(profile.code.total());
        let acting = match is_kept {
            true => next_set(&map.view, PgId { pool, index }, profile, current),
            false => ideal_set(&map.view, PgId { pool, index }, profile),
        };
        // A cluster that has fewer domains than the profile asks for keeps what it has.
        let worth = acting != *current && acting.len() >= current.len().min(usize::from(profile.code.total()));
        worth.then(|| meta::PgChange { index, epoch_was: pg.group.epoch.0, acting: acting.iter().map(|device| device.0).collect() })
    };
    (0..).zip(&sets.groups).filter_map(change).collect()
}

/// A profile as it is stored.
pub fn profile_record(profile: Profile, automatic: bool) -> meta::Profile {
    let domain = match profile.domain {
        FailureDomain::Device => meta::DomainKind::Device,
        FailureDomain::Node => meta::DomainKind::Node,
        FailureDomain::Zone => meta::DomainKind::Zone,
    };
    meta::Profile { automatic, code: Some(code_record(profile.code)), domain: domain.into() }
}
