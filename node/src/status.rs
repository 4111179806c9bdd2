//! The state of the cluster as this node sees it: what its replica says, what every node answered just now, what the groups' leaders count.
//!
//! Bounded in time: a node or group that does not answer is shown as silent, never waited for.

mod quotas;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use skep_api::ports::{ClusterStatus, DatasourceStatus, DeviceStatus, GroupStatus, JobStatus, NodeStatus, PoolStatus, StoredClass};
use skep_placement::chunk::PgCount;
use skep_placement::ids::{BootNumber, ChunkId, ClusterId, DatasourceId, GroupId, NodeId, RecordId};
use skep_placement::profile::{Code, Profile};
use skep_raft::handle::Metadata;
use skep_raft::store::StateError;
use skep_raft::system_view::SystemView;
use skep_raft::wire::meta::v1 as meta;
use skep_raft::wire::raft::v1::metadata_client::MetadataClient;
use skep_raft::wire::raft::v1::{Envelope, GroupStatusRequest, ReplicaStatus};
use tokio::time::{Instant, timeout};

use crate::chunk_rpc::wire::{DeviceCondition, DeviceUsage};
use crate::cluster_map::{ClusterMap, ClusterMaps, DatasourceMap, code};
use crate::device_health::DeviceHealth;
use crate::peers::NodePeers;

/// How long a node or group is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// Chunks of a repair queue looked at, to count those below the profile.
const QUEUE_LOOKED_AT_MAX: usize = 10_000;
/// A node whose clock is further off does not lead if another can, milliseconds.
const CLOCK_OFF_MS_MAX: u64 = 2_000;
/// Chunks asked for at once.
const PAGE: u32 = 1_000;

/// Gathers the state of the cluster.
#[derive(Clone, Debug)]
pub struct StatusSource {
    /// This node.
    pub node: NodeId,
    /// Its process.
    pub boot: BootNumber,
    /// Its cluster.
    pub cluster: ClusterId,
    /// The groups.
    pub metadata: Metadata,
    /// The cluster map.
    pub maps: ClusterMaps,
    /// Beliefs on devices.
    pub health: DeviceHealth,
    /// Reaches the other nodes.
    pub peers: NodePeers,
}

/// What a datasource's group counts.
struct Counted {
    totals: meta::GroupTotals,
    below_profile: BelowProfile,
}

/// Chunks of a repair queue in a smaller code than the profile's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct BelowProfile {
    chunks: u64,
    /// The queue goes on behind what was looked at.
    more: bool,
}

impl StatusSource {
    /// The state of the cluster.
    pub async fn gather(&self) -> ClusterStatus {
        let map = self.maps.current();
        let system = self.metadata.system_stale();
        let (replicas, counted, quotas) = tokio::join!(self.replicas(&map), self.counted(&map), self.quotas(&system));
        let mut status = self.of_replica(&map, &system, &replicas).unwrap_or_else(|error| {
            let warnings = vec![format!("this node's replica of the system group cannot be read: {error}")];
            ClusterStatus { warnings, ..ClusterStatus::default() }
        });
        quotas.add_to(&mut status);
        for (id, datasource) in &map.datasources {
            let mut row = datasource_row(&system, *id, datasource);
            match counted.get(&id.0) {
                Some(Counted { totals, below_profile }) => {
                    row = counted_row(row, totals);
                    status.repair_queue += totals.repair_queue;
                    status.below_profile += below_profile.chunks;
                    status.below_profile_at_least |= below_profile.more;
                    status.awaiting_collection_bytes += totals.condemned_bytes;
                    status.unlinked_bytes += totals.unlinked_bytes;
                }
                None => status.warnings.push(format!("datasource {} has no quorum now: it cannot be read or written", datasource.name)),
            }
            status.datasources.push(row);
        }
        if status.repair_queue > 0 {
            let chunks = if status.repair_queue == 1 { "1 chunk waits" } else { &format!("{} chunks wait", status.repair_queue) };
            status.warnings.push(format!("{chunks} for repair"));
        }
        status
    }

    fn of_replica(&self, map: &ClusterMap, system: &SystemView, replicas: &[ReplicaStatus]) -> Result<ClusterStatus, StateError> {
        let alive = self.health.alive();
        let mut status = ClusterStatus { cluster: self.cluster.to_string(), answered_by: self.node.0, ..ClusterStatus::default() };
        for node in system.nodes()?.into_iter().filter(|node| node.state() != meta::NodeState::Removed) {
            let is_alive = node.id == self.node.0 || alive.get(&NodeId(node.id)) == Some(&true);
            if !is_alive {
                status.warnings.push(format!("node {} ({}) does not answer", node.id, node.name));
            }
            let row = NodeStatus { clock_offset_ms: self.clock_offset_ms(NodeId(node.id)), ..node_row(node, is_alive) };
            status.warnings.extend(clock_warning(&row));
            status.nodes.push(row);
        }
        let usage = self.health.usage();
        for record in system.devices()?.into_iter().filter(|device| device.state() != meta::DeviceState::Lost) {
            let is_alive = record.node == self.node.0 || alive.get(&NodeId(record.node)) == Some(&true);
            status.devices.push(device_row(&record, usage.get(&skep_placement::ids::DeviceId(record.id)), is_alive));
        }
        for group in system.groups()? {
            let row = group_row(&group, replicas, map);
            if row.leader.is_none() {
                status.warnings.push(format!("group {} ({}) has no leader that is known here", row.id, row.name));
            }
            if row.voters.len() == 2 {
                status
                    .warnings
                    .push(format!("group {} ({}) has two voters: safe, but not available with one of them down", row.id, row.name));
            }
            status.groups.push(row);
        }
        status.pools = map.pools.iter().map(|(id, pool)| pool_row(id.0, pool.profile, pool.automatic, pool.count, pool)).collect();
        for pool in &status.pools {
            if pool.code.ends_with("+0") {
                status.warnings.push(format!("pool {} keeps one copy: the loss of a device loses files", pool.id));
            }
        }
        let open = vec![meta::JobState::Queued, meta::JobState::Running];
        let filter = skep_raft::system_view::JobFilter { states: open, limit: 100, ..Default::default() };
        status.jobs = system.jobs(&filter)?.into_iter().map(job_row).collect();
        Ok(status)
    }

    fn clock_offset_ms(&self, node: NodeId) -> Option<i64> {
        self.metadata.clock_offset_micros_of(node).map(|micros| micros / 1_000)
    }

    /// What every node says of its replicas.
    async fn replicas(&self, map: &ClusterMap) -> Vec<ReplicaStatus> {
        let others = map.nodes.keys().copied().filter(|node| *node != self.node);
        let asked = join_all(others.map(|node| timeout(PATIENCE, self.ask_replicas(node))));
        let (own, others) = tokio::join!(self.metadata.replicas(), asked);
        own.into_iter().chain(others.into_iter().flatten().flatten()).collect()
    }

    async fn ask_replicas(&self, node: NodeId) -> Vec<ReplicaStatus> {
        let Ok(channel) = self.peers.channel(node) else { return Vec::new() };
        let envelope =
            Envelope { cluster: self.cluster.0.to_vec().into(), from_node: self.node.0, from_boot: self.boot.0, ..Envelope::default() };
        let request = GroupStatusRequest { envelope: Some(envelope), all: true };
        let reply = MetadataClient::new(channel).group_status(request).await;
        reply.map(|reply| reply.into_inner().replicas).unwrap_or_default()
    }

    async fn counted(&self, map: &ClusterMap) -> BTreeMap<u64, Counted> {
        let asked = map.datasources.iter().map(|(id, datasource)| async move {
            let profile = map.pools.get(&datasource.pool).map(|pool| pool.profile);
            let counted = timeout(PATIENCE, self.count(GroupId::from(*id), profile)).await.ok().flatten();
            counted.map(|counted| (id.0, counted))
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    async fn count(&self, group: GroupId, profile: Option<Profile>) -> Option<Counted> {
        let what = meta::query::What::Totals(meta::TotalsQuery {});
        let answer = self.metadata.query(group, meta::Query { what: Some(what) }, Instant::now() + PATIENCE).await.ok()?;
        let Some(meta::answer::What::Totals(totals)) = answer.what else { return None };
        let below_profile = match (totals.repair_queue, profile) {
            (0, _) | (_, None) => BelowProfile::default(),
            (_, Some(profile)) => self.below_profile(group, profile).await?,
        };
        Some(Counted { totals, below_profile })
    }

    async fn below_profile(&self, group: GroupId, profile: Profile) -> Option<BelowProfile> {
        let (mut chunks, mut looked_at, mut after) = (0, 0, bytes::Bytes::new());
        loop {
            let what = meta::query::What::Repair(meta::RepairQuery { after, limit: PAGE });
            let answer = self.metadata.query(group, meta::Query { what: Some(what) }, Instant::now() + PATIENCE).await.ok()?;
            let Some(meta::answer::What::Repair(page)) = answer.what else { return None };
            let is_below = |placed: &&meta::PlacedChunk| is_below_profile(placed, profile);
            chunks += u64::try_from(page.chunks.iter().filter(is_below).count()).unwrap_or(u64::MAX);
            looked_at += page.chunks.len();
            match page.chunks.last() {
                Some(last) if page.more && looked_at < QUEUE_LOOKED_AT_MAX => after = last.chunk.clone(),
                Some(_) | None => return Some(BelowProfile { chunks, more: page.more }),
            }
        }
    }
}

/// What is inline, in whole copies and erasure-coded.
fn classes(totals: &meta::GroupTotals) -> (StoredClass, StoredClass, StoredClass) {
    let of_chunks = totals.stored_bytes.saturating_sub(totals.inline_bytes);
    let inlined = StoredClass { logical_bytes: totals.inline_plain_bytes, stored_bytes: totals.inline_bytes };
    let coded = StoredClass { logical_bytes: totals.coded_bytes, stored_bytes: totals.coded_stored_bytes };
    let copies = StoredClass {
        logical_bytes: totals.chunk_bytes.saturating_sub(totals.coded_bytes),
        stored_bytes: of_chunks.saturating_sub(totals.coded_stored_bytes),
    };
    (inlined, copies, coded)
}

fn is_below_profile(placed: &meta::PlacedChunk, profile: Profile) -> bool {
    let Some(record) = &placed.record else { return false };
    let wanted = Code::for_chunk(profile, u64::from(record.length));
    ChunkId::try_from(placed.chunk.as_ref()).is_ok() && record.code.as_ref().and_then(code) != Some(wanted)
}

fn node_row(node: meta::NodeRecord, alive: bool) -> NodeStatus {
    let state = match node.state() {
        meta::NodeState::Draining => "draining",
        meta::NodeState::Removed => "removed",
        meta::NodeState::Active | meta::NodeState::Unspecified => "active",
    };
    NodeStatus {
        id: node.id,
        name: node.name,
        zone: node.zone,
        state: state.into(),
        alive,
        api: format!("{}://{}", if node.api_scheme.is_empty() { "https" } else { &node.api_scheme }, node.api_address),
        rpc: node.rpc_address,
        version: node.version,
        clock_offset_ms: None,
    }
}

/// A clock that keeps its node from leading is worth a sentence.
fn clock_warning(row: &NodeStatus) -> Option<String> {
    let off = row.clock_offset_ms.filter(|off| off.unsigned_abs() > CLOCK_OFF_MS_MAX)?;
    Some(format!("the clock of node {} ({}) is {off} ms off the nodes' median: look after its time service", row.id, row.name))
}

fn device_row(record: &meta::DeviceRecord, usage: Option<&DeviceUsage>, alive: bool) -> DeviceStatus {
    let state = match (alive, usage.map(DeviceUsage::condition)) {
        (false, _) | (true, None) => "silent",
        (true, Some(DeviceCondition::Full)) => "full",
        (true, Some(DeviceCondition::Failed | DeviceCondition::Unspecified)) => "failed",
        (true, Some(DeviceCondition::Working)) if record.state() == meta::DeviceState::Draining => "draining",
        (true, Some(DeviceCondition::Working)) => "active",
    };
    let usage = usage.cloned().unwrap_or_default();
    DeviceStatus {
        id: record.id,
        node: record.node,
        label: record.label.clone(),
        state: state.into(),
        total_bytes: usage.total_bytes,
        free_bytes: usage.free_bytes,
        live_bytes: usage.live_bytes,
        shards: usage.records,
    }
}

fn group_row(group: &meta::GroupRecord, replicas: &[ReplicaStatus], map: &ClusterMap) -> GroupStatus {
    let mut own = replicas.iter().filter(|replica| replica.group == group.id && replica.generation == group.generation);
    // The leader's word counts; without one, any replica's of the highest term.
    let word = own.clone().find(|replica| replica.state == "leader").or_else(|| own.clone().max_by_key(|replica| replica.term));
    let name = match group.id {
        0 => "system".to_owned(),
        id => map.datasources.get(&DatasourceId(id)).map_or_else(String::new, |datasource| datasource.name.clone()),
    };
    let node_of = |raft_id: &u64| {
        let named = word.into_iter().flat_map(|word| &word.nodes).map(|member| (member.raft_id, member.node));
        let recorded = group.members.iter().map(|member| (member.raft_id, member.node));
        named.chain(recorded).find(|(id, _)| id == raft_id).map_or(0, |(_, node)| node)
    };
    let leads = own.any(|replica| replica.state == "leader");
    GroupStatus {
        id: group.id,
        name,
        leader: word.filter(|word| leads || word.leader != 0).map(|word| word.leader_node).filter(|node| *node != 0),
        voters: word.map(|word| word.voters.iter().map(node_of).collect()).unwrap_or_default(),
        learners: word.map(|word| word.learners.iter().map(node_of).collect()).unwrap_or_default(),
        lag: word.map(|word| word.lags.iter().map(|lag| lag.entries).max().unwrap_or(word.lag)).unwrap_or_default(),
        applied: word.map(|word| word.applied_index).unwrap_or_default(),
    }
}

/// What the system group says of a datasource.
fn datasource_row(system: &SystemView, id: DatasourceId, datasource: &DatasourceMap) -> DatasourceStatus {
    let row = DatasourceStatus { id: id.0, name: datasource.name.clone(), pool: datasource.pool.0, ..DatasourceStatus::default() };
    let Ok(Some(record)) = system.datasource(id) else { return row };
    let policy = system.policy_of(&record).map_or_else(|error| error.to_string(), |policy| policy.name);
    DatasourceStatus { quota_bytes: record.quota_bytes, quota_entries: record.quota_entries, policy, ..row }
}

/// What its own group says.
fn counted_row(row: DatasourceStatus, totals: &meta::GroupTotals) -> DatasourceStatus {
    let (inlined, copies, coded) = classes(totals);
    DatasourceStatus {
        inlined,
        copies,
        coded,
        available: true,
        entries: totals.entries,
        logical_bytes: totals.logical_bytes,
        stored_bytes: totals.stored_bytes,
        chunks: totals.chunks,
        versions: totals.versions,
        condemned_bytes: totals.condemned_bytes,
        unlinked_bytes: totals.unlinked_bytes,
        locks: totals.locks,
        ..row
    }
}

fn pool_row(id: u64, profile: Profile, automatic: bool, count: PgCount, pool: &crate::cluster_map::PoolMap) -> PoolStatus {
    let total = usize::from(profile.code.total());
    let incomplete = pool.groups.iter().filter(|sets| sets.group.acting.len() < total).count();
    PoolStatus {
        id,
        code: profile.code.to_string(),
        domain: profile.domain.to_string(),
        automatic,
        placement_groups: count.get(),
        incomplete: u32::try_from(incomplete).unwrap_or(u32::MAX),
    }
}

fn job_row(job: meta::JobRecord) -> JobStatus {
    let state = match job.state() {
        meta::JobState::Queued | meta::JobState::Unspecified => "queued",
        meta::JobState::Running => "running",
        meta::JobState::Finished => "finished",
        meta::JobState::Failed => "failed",
        meta::JobState::Cancelled => "cancelled",
    };
    JobStatus {
        id: RecordId::try_from(job.id.as_ref()).map(|id| id.to_string()).unwrap_or_default(),
        name: job.name,
        login: job.login,
        state: state.into(),
        node: (job.owner_node != 0).then_some(job.owner_node),
        progress_permille: job.progress_permille,
        message: job.message,
    }
}

/// Shares the source.
pub type SharedStatus = Arc<StatusSource>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_add_up_to_what_is_stored() {
        let totals = meta::GroupTotals {
            chunk_bytes: 1_100,
            coded_bytes: 1_000,
            stored_bytes: 10 + 300 + 1_500,
            coded_stored_bytes: 1_500,
            inline_bytes: 10,
            inline_plain_bytes: 8,
            ..meta::GroupTotals::default()
        };
        let class = |logical_bytes, stored_bytes| StoredClass { logical_bytes, stored_bytes };
        assert_eq!(classes(&totals), (class(8, 10), class(100, 300), class(1_000, 1_500)));
    }
}
