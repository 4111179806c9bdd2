//! A gateway with a device on each of some nodes, in memory, and groups that answer what they are told to.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream;
use skep_api::ports::{BodyError, ByteStream, ChunkIo, ReadRequest, WriteError, WriteRequest, Written};
use skep_placement::checksum::block_checksums;
use skep_placement::chunk::{ChunkKey, PgCount, chunk_id};
use skep_placement::cluster_view::{ClusterView, Device, DeviceState};
use skep_placement::ids::{BootNumber, ChunkId, DatasourceId, DeviceId, Epoch, GroupId, NodeId, PgId, PoolId, Stamp};
use skep_placement::limits::CHECKSUM_BLOCK_LENGTH_BYTES;
use skep_placement::placement_map::{PlacementGroup, preference_list};
use skep_placement::profile::{FailureDomain, Profile};
use skep_raft::errors::{ProposeError, QueryError};
use skep_raft::handle::Proposed;
use skep_raft::wire::meta::v1 as meta;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use crate::chunk_io::{Chunks, ChunksOptions, Damage, Groups, Times, record_of};
use crate::chunk_rpc::wire::{DeviceCondition, DeviceUsage};
use crate::chunk_rpc::{NodeReport, ShardTransport, TransportError};
use crate::cluster_map::{ClusterMap, ClusterMaps, DatasourceMap, PgSets, PoolMap};
use crate::device_health::DeviceHealth;
use crate::device_store::{ShardBlocks, ShardHeader, ShardKey, ShardRecord};

pub(super) const DATASOURCE: DatasourceId = DatasourceId(1);
const POOL: PoolId = PoolId(1);
const KEY: ChunkKey = ChunkKey([5; 32]);
/// In a test nothing takes longer.
const LIMIT: Duration = Duration::from_secs(20);

/// What a device does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// It does not answer.
    Silent,
    /// Its node is gone.
    Down,
    /// It refuses what is older than this epoch.
    Fenced(Epoch),
}

#[derive(Debug, Default)]
struct Shelves {
    shards: BTreeMap<(DeviceId, ShardKey), ShardRecord>,
    moods: BTreeMap<DeviceId, Mood>,
    puts: Vec<(DeviceId, ShardKey)>,
    reads: Vec<(DeviceId, u8)>,
    deleted: BTreeSet<(DeviceId, ShardKey)>,
}

/// Devices in memory.
#[derive(Debug)]
pub(super) struct Devices {
    shelves: Mutex<Shelves>,
    /// Grows with everything that happens.
    happened: watch::Sender<u64>,
}

impl Devices {
    fn shelves(&self) -> MutexGuard<'_, Shelves> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, device: DeviceId, mood: Mood) {
        self.shelves().moods.insert(device, mood);
    }

    /// Has a device do as it should again.
    pub(super) fn heal(&self, device: DeviceId) {
        self.shelves().moods.remove(&device);
    }

    /// All shards that are stored.
    pub(super) fn stored(&self) -> Vec<(DeviceId, ShardKey)> {
        self.shelves().shards.keys().copied().collect()
    }

    /// Every shard that was ever deleted.
    pub(super) fn deleted(&self) -> BTreeSet<(DeviceId, ShardKey)> {
        self.shelves().deleted.clone()
    }

    /// How many shards were sent, stored or not.
    pub(super) fn sent(&self) -> usize {
        self.shelves().puts.len()
    }

    /// Which shards were asked for, of whom.
    pub(super) fn reads(&self) -> Vec<(DeviceId, u8)> {
        self.shelves().reads.clone()
    }

    pub(super) fn payload(&self, device: DeviceId, shard: u8) -> Option<Bytes> {
        let shelves = self.shelves();
        let mut found = shelves.shards.iter().filter(|((on, key), _)| *on == device && key.shard == shard);
        found.next().map(|(_, record)| record.payload.clone())
    }

    /// Has a device hold other bytes, with checksums that fit them.
    pub(super) fn spoil(&self, device: DeviceId, shard: u8) {
        let mut shelves = self.shelves();
        for ((_, key), record) in shelves.shards.iter_mut().filter(|((on, key), _)| *on == device && key.shard == shard) {
            record.payload = vec![0xee; record.payload.len()].into();
            record.checksums = block_checksums(key.address(), &record.payload);
        }
    }

    /// Takes a shard away.
    pub(super) fn lose(&self, device: DeviceId) {
        self.shelves().shards.retain(|(on, _), _| *on != device);
    }

    fn tell(&self) {
        self.happened.send_modify(|count| *count += 1);
    }

    /// Waits for a condition on the devices, with a limit.
    pub(super) async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let mut happened = self.happened.subscribe();
        let waited = timeout(LIMIT, happened.wait_for(|_count| condition(self))).await;
        assert!(waited.is_ok(), "in vain: {what}");
    }

    async fn mood(&self, device: DeviceId) -> Result<Option<Mood>, TransportError> {
        let mood = self.shelves().moods.get(&device).cloned();
        match mood {
            Some(Mood::Silent) => std::future::pending().await,
            Some(Mood::Down) => Err(TransportError::Unreachable { node: NodeId(device.0), why: "the test says so".into() }),
            mood => Ok(mood),
        }
    }
}

impl ShardTransport for Devices {
    fn put(&self, device: DeviceId, record: ShardRecord) -> BoxFuture<'_, Result<(), TransportError>> {
        Box::pin(async move {
            self.shelves().puts.push((device, record.header.key()));
            self.tell();
            match self.mood(device).await? {
                Some(Mood::Fenced(current)) if record.header.epoch < current => return Err(TransportError::StaleEpoch { current }),
                _ => {}
            }
            self.shelves().shards.insert((device, record.header.key()), record);
            self.tell();
            Ok(())
        })
    }

    fn read(&self, device: DeviceId, key: ShardKey, blocks: Range<u32>) -> BoxFuture<'_, Result<ShardBlocks, TransportError>> {
        Box::pin(async move {
            self.shelves().reads.push((device, key.shard));
            self.tell();
            self.mood(device).await?;
            let record = self.shelves().shards.get(&(device, key)).cloned().ok_or(TransportError::NotFound(device))?;
            let at = |block: u32| (usize::try_from(block).unwrap() * CHECKSUM_BLOCK_LENGTH_BYTES).min(record.payload.len());
            let payload = record.payload.slice(at(blocks.start)..at(blocks.end));
            Ok(ShardBlocks { header: record.header, first_block: blocks.start, payload, checksums: Vec::new() })
        })
    }

    fn stat(&self, device: DeviceId, key: ShardKey) -> BoxFuture<'_, Result<ShardHeader, TransportError>> {
        let found = self.shelves().shards.get(&(device, key)).map(|record| record.header);
        Box::pin(async move { found.ok_or(TransportError::NotFound(device)) })
    }

    fn delete(&self, device: DeviceId, key: ShardKey) -> BoxFuture<'_, Result<(), TransportError>> {
        let mut shelves = self.shelves();
        shelves.shards.remove(&(device, key));
        shelves.deleted.insert((device, key));
        drop(shelves);
        self.tell();
        Box::pin(async { Ok(()) })
    }

    fn find(&self, _device: DeviceId, _chunk: ChunkId) -> BoxFuture<'_, Result<Vec<ShardHeader>, TransportError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn list(&self, _: DeviceId, _: PgId, _: Option<ShardKey>, _: u32) -> BoxFuture<'_, Result<Vec<ShardHeader>, TransportError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn ping(&self, node: NodeId) -> BoxFuture<'_, Result<NodeReport, TransportError>> {
        Box::pin(async move {
            self.mood(DeviceId(node.0)).await?;
            let usage = DeviceUsage { device: node.0, condition: DeviceCondition::Working.into(), ..DeviceUsage::default() };
            Ok(NodeReport { boot: 1, devices: vec![usage] })
        })
    }
}

type Answers = Box<dyn Fn(&meta::content_command::What) -> Result<meta::Done, ProposeError> + Send>;

/// Groups that do as they are told.
pub(super) struct ToldGroups {
    answers: Mutex<Answers>,
    records: Mutex<BTreeMap<ChunkId, meta::ChunkRecord>>,
    /// Every command that was proposed.
    proposed: watch::Sender<Vec<meta::content_command::What>>,
}

impl std::fmt::Debug for ToldGroups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ToldGroups")
    }
}

impl ToldGroups {
    pub(super) fn answer(&self, answers: impl Fn(&meta::content_command::What) -> Result<meta::Done, ProposeError> + Send + 'static) {
        *self.answers.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(answers);
    }

    /// The record that a reader gets who fetches it anew.
    pub(super) fn record(&self, chunk: ChunkId, record: meta::ChunkRecord) {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).insert(chunk, record);
    }

    pub(super) fn proposed(&self) -> Vec<meta::content_command::What> {
        self.proposed.borrow().clone()
    }

    /// Waits until a command was proposed for which this holds.
    pub(super) async fn until(&self, what: &str, holds: impl Fn(&meta::content_command::What) -> bool) {
        let mut proposed = self.proposed.subscribe();
        let waited = timeout(LIMIT, proposed.wait_for(|all| all.iter().any(&holds))).await;
        assert!(waited.is_ok(), "in vain: {what}");
    }
}

impl Groups for ToldGroups {
    fn propose(&self, _: GroupId, command: meta::Command, deadline: Instant) -> BoxFuture<'_, Result<Proposed, ProposeError>> {
        let Some(meta::command::What::Content(meta::ContentCommand { what: Some(what) })) = command.what else {
            panic!("only contents are changed here: {command:?}");
        };
        if matches!(what, meta::content_command::What::OpenUpload(_) | meta::content_command::What::AppendUpload(_)) {
            assert_soon(deadline);
        }
        let answer = self.answers.lock().unwrap_or_else(PoisonError::into_inner)(&what);
        self.proposed.send_modify(|all| all.push(what));
        Box::pin(async move { answer.map(|done| Proposed { stamp: Stamp(1), index: 1, done }) })
    }

    fn query(&self, _: GroupId, query: meta::Query, deadline: Instant) -> BoxFuture<'_, Result<meta::Answer, QueryError>> {
        assert_soon(deadline);
        let Some(meta::query::What::Chunk(asked)) = query.what else { panic!("only records are asked for here: {query:?}") };
        let chunk = ChunkId::try_from(asked.chunk.as_ref()).unwrap();
        let found = self.records.lock().unwrap_or_else(PoisonError::into_inner).get(&chunk).cloned();
        let what = found.map_or_else(|| meta::answer::What::Absence(meta::Absence::default()), meta::answer::What::Chunk);
        Box::pin(async move { Ok(meta::Answer { what: Some(what), ..meta::Answer::default() }) })
    }
}

/// A client waits for this: it is answered within five seconds, with or without a quorum.
fn assert_soon(deadline: Instant) {
    assert!(deadline <= Instant::now() + Duration::from_secs(4), "a client would wait too long");
}

/// A gateway and what it works with.
pub(super) struct Rig {
    pub(super) chunks: Chunks,
    pub(super) devices: Arc<Devices>,
    pub(super) groups: Arc<ToldGroups>,
    pub(super) maps: ClusterMaps,
    pub(super) damages: mpsc::Receiver<Damage>,
    /// The set of every chunk, best first; then the devices that are spare.
    pub(super) set: Vec<DeviceId>,
}

/// What a rig is made of.
pub(super) struct Settings {
    pub(super) nodes: u64,
    pub(super) profile: &'static str,
    pub(super) budget_bytes: usize,
    pub(super) times: Times,
}

impl Default for Settings {
    fn default() -> Self {
        Self { nodes: 4, profile: "2+1", budget_bytes: 64 << 20, times: Times::default() }
    }
}

/// A map in which every chunk is in one placement group.
pub(super) fn map(settings: &Settings, index: u64, epoch: u64, acting: Option<Vec<DeviceId>>) -> ClusterMap {
    let device = |node: u64| Device { id: DeviceId(node), node: NodeId(node), zone: "z".into(), weight: 1, state: DeviceState::Up };
    let view = ClusterView::new((1..=settings.nodes).map(device));
    let profile = Profile { code: settings.profile.parse().unwrap(), domain: FailureDomain::Node };
    let count = PgCount::new(1).unwrap();
    let pg = count.group_of(POOL, &ChunkId([0; 32]));
    let total = usize::from(profile.code.total());
    let acting = acting.unwrap_or_else(|| preference_list(&view, pg, profile.domain).into_iter().take(total).collect());
    let group = PlacementGroup { epoch: Epoch(epoch), acting, target: None, past: Vec::new() };
    let pool = PoolMap { profile, automatic: false, count, groups: vec![PgSets { group, past: Vec::new() }] };
    let datasource = DatasourceMap { pool: POOL, name: "test".into(), key: KEY, degraded_to_devices: false };
    ClusterMap {
        index,
        view,
        nodes: (1..=settings.nodes).map(|node| (NodeId(node), meta::NodeRecord::default())).collect(),
        pools: BTreeMap::from([(POOL, pool)]),
        datasources: BTreeMap::from([(DATASOURCE, datasource)]),
    }
}

impl Rig {
    pub(super) fn new(settings: &Settings) -> Self {
        let map = map(settings, 1, 1, None);
        let pool = &map.pools[&POOL];
        let pg = pool.count.group_of(POOL, &ChunkId([0; 32]));
        let set = preference_list(&map.view, pg, FailureDomain::Node);
        let maps = ClusterMaps::new(map);
        let devices = Arc::new(Devices { shelves: Mutex::default(), happened: watch::Sender::new(0) });
        let groups = Arc::new(ToldGroups {
            answers: Mutex::new(Box::new(|_any| Ok(meta::Done { number: 77, ..meta::Done::default() }))),
            records: Mutex::default(),
            proposed: watch::Sender::default(),
        });
        let (sender, damages) = mpsc::channel(16);
        let chunks = Chunks::new(ChunksOptions {
            node: NodeId(1),
            boot: BootNumber(1),
            maps: maps.clone(),
            health: DeviceHealth::default(),
            transport: Arc::clone(&devices) as Arc<dyn ShardTransport>,
            metadata: Arc::clone(&groups) as Arc<dyn Groups>,
            budget_bytes: settings.budget_bytes,
            damages: sender,
            times: settings.times,
        });
        Self { chunks, devices, groups, maps, damages, set }
    }

    pub(super) async fn write(&self, body: ByteStream) -> Result<Written, WriteError> {
        timeout(LIMIT, self.chunks.write(request(), body)).await.expect("a write has an end")
    }

    /// Writes a body that is there at once; its chunks as the commit would name them.
    pub(super) async fn store(&self, bytes: &Bytes) -> Vec<meta::StoredChunk> {
        let written = self.write(at_once(bytes)).await.unwrap();
        match written.content.from {
            Some(meta::new_content::From::Chunks(list)) => list.chunks,
            other => panic!("{other:?}"),
        }
    }

    /// Reads a range of a file of one chunk.
    pub(super) async fn read(&self, stored: &meta::StoredChunk, range: Range<u64>) -> Result<Bytes, BodyError> {
        self.read_by(stored.chunk.clone(), record_of(stored), range).await
    }

    pub(super) async fn read_by(&self, chunk: Bytes, record: meta::ChunkRecord, range: Range<u64>) -> Result<Bytes, BodyError> {
        let first =
            meta::ContentAnswer { chunks: vec![meta::PlacedChunk { chunk, record: Some(record) }], ..meta::ContentAnswer::default() };
        let request = ReadRequest { datasource: DATASOURCE, first, offset: range.start, length: range.end - range.start };
        let read = futures_util::TryStreamExt::try_collect::<Vec<Bytes>>(self.chunks.read(request));
        timeout(LIMIT, read).await.expect("a read has an end").map(|pieces| pieces.concat().into())
    }

    pub(super) async fn damage(&mut self) -> Damage {
        timeout(LIMIT, self.damages.recv()).await.expect("damage is reported").expect("the gateway lives")
    }
}

pub(super) fn request() -> WriteRequest {
    WriteRequest {
        from: String::new(),
        datasource: DATASOURCE,
        actor: meta::Actor::default(),
        expected_length: None,
        want_md5: false,
        request_id: String::new(),
        rights_index: 1,
    }
}

/// Large enough for an erasure code, of no pattern that a wrong place could hide in.
pub(super) fn large() -> Bytes {
    (0..300_001_u32).map(|place| (place.wrapping_mul(2_654_435_761) >> 24).to_le_bytes()[0]).collect()
}

pub(super) fn id_of(bytes: &[u8]) -> ChunkId {
    chunk_id(&KEY, bytes)
}

pub(super) fn at_once(bytes: &Bytes) -> ByteStream {
    Box::pin(stream::iter([Ok(bytes.clone())]))
}

/// A body that comes as the test sends it.
pub(super) fn body() -> (mpsc::UnboundedSender<Bytes>, ByteStream) {
    let (sender, mut pieces) = mpsc::unbounded_channel();
    (sender, Box::pin(stream::poll_fn(move |context| pieces.poll_recv(context).map(|piece| piece.map(Ok)))))
}
