//! Reads a range of one chunk: the data shards it touches, or, where one is slow, damaged or gone, the same blocks of k others.
//!
//! Invariants: only shards of the instance that the record names are combined; every block was checked against its checksum on arrival; a
//! whole chunk is checked against its id, and looked for among other shards if it has not that ([`sound_shards`]). A wrong byte is never returned.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use skep_placement::chunk::chunk_id;
use skep_placement::erasure::{reconstruct_shards, shard_length, shard_ranges, whole_blocks};
use skep_placement::ids::{ChunkId, DatasourceId, DeviceId, Epoch, GroupId, InstanceId, PoolId, WriteId};
use skep_placement::limits::CHECKSUM_BLOCK_LENGTH_BYTES;
use skep_placement::placement_map::preference_list;
use skep_placement::profile::Code;
use skep_placement::read_order::{AfterMiss, after_miss, read_order};
use skep_raft::wire::meta::v1 as meta;
use tokio::time::{Instant, sleep_until, timeout};

use super::encoded::heavy;
use super::limits::{MAP_WAIT_MAX, METADATA_DEADLINE, REFETCHES_MAX};
use super::metrics::{AGAIN, ASKED, BLOCKS_READ, DAMAGED_SHARDS, DEGRADED_READS, FIRST, HEDGED_READS};
use super::{Damage, Shared, sound_shards, write_id};
use crate::chunk_rpc::TransportError;
use crate::cluster_map::{ClusterMap, code};
use crate::device_store::{ShardBlocks, ShardKey};

/// Why a range of a chunk can't be read now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkReadError {
    /// Fewer than k shards.
    #[error("chunk {chunk}: {found} of the {needed} shards needed can be read ({why})")]
    TooFewShards {
        /// The chunk.
        chunk: ChunkId,
        /// Found.
        found: usize,
        /// Needed.
        needed: usize,
        /// The last device's words.
        why: String,
    },
    /// The record is not one.
    #[error("chunk {0} has a malformed record")]
    Record(ChunkId),
    /// The shards pass their checksums and no k of them give the chunk.
    #[error("chunk {0}: no shards that can be read give the chunk")]
    WrongChunk(ChunkId),
    /// Its record can't be fetched anew.
    #[error("chunk {chunk}: {why}")]
    Metadata {
        /// The chunk.
        chunk: ChunkId,
        /// What the group said.
        why: String,
    },
}

/// An instance to read from, and where each of its shards may be.
#[derive(Clone, Debug)]
pub struct ChunkSource {
    /// Whose chunk it is.
    pub datasource: DatasourceId,
    /// Its name.
    pub chunk: ChunkId,
    /// The instance.
    pub write: WriteId,
    /// Its code.
    pub code: Code,
    /// Plaintext, bytes.
    pub length: usize,
    /// Shards that the record says are not durable.
    pub missing: u32,
    /// Devices by shard, best first.
    pub order: Vec<Vec<DeviceId>>,
}

impl ChunkSource {
    /// Where the instance of a record is.
    pub(super) fn of_record(
        shared: &Shared,
        datasource: DatasourceId,
        chunk: ChunkId,
        record: &meta::ChunkRecord,
    ) -> Result<Self, ChunkReadError> {
        let malformed = || ChunkReadError::Record(chunk);
        let code = record.code.as_ref().and_then(code).ok_or_else(malformed)?;
        let write = write_id(record.write.as_ref().ok_or_else(malformed)?);
        let map = shared.maps.current();
        let own: Vec<DeviceId> = record.devices.iter().copied().map(DeviceId).collect();
        let order = match map.place(PoolId(record.pool), &chunk) {
            None => own.iter().map(|device| vec![*device]).collect(),
            Some((pg, sets, pool)) => {
                // An instance of an older epoch is at home in that epoch's set first.
                let mut group = sets.group.clone();
                let home = sets.home_at(Epoch(record.epoch)).to_vec();
                if home != group.acting {
                    group.past.push(std::mem::replace(&mut group.acting, home));
                }
                let preference = preference_list(&map.view, pg, pool.profile.domain);
                read_order(code, (!own.is_empty()).then_some(own.as_slice()), &group, &preference)
            }
        };
        let length = usize::try_from(record.length).expect("usize has 32 bits at least");
        Ok(Self { datasource, chunk, write, code, length, missing: record.missing, order })
    }
}

/// Reads a range of a chunk; `range` is within its length. Fetches the record anew while it names another instance than the one missed.
pub(super) async fn read_range(
    shared: &Arc<Shared>,
    datasource: DatasourceId,
    chunk: ChunkId,
    record: &meta::ChunkRecord,
    range: Range<usize>,
) -> Result<Bytes, ChunkReadError> {
    hear_of_home(shared, chunk, record).await;
    let mut source = ChunkSource::of_record(shared, datasource, chunk, record)?;
    for _ in 0..REFETCHES_MAX {
        let missed = match read_source(shared, &source, range.clone()).await {
            Err(error @ ChunkReadError::TooFewShards { .. }) => error,
            other => return other,
        };
        let named_now = fetch_record(shared, datasource, chunk).await?;
        let write = named_now.as_ref().and_then(|record| record.write.as_ref()).map(write_id);
        match (after_miss(source.write, write), named_now) {
            (AfterMiss::Read(_), Some(record)) => {
                hear_of_home(shared, chunk, &record).await;
                source = ChunkSource::of_record(shared, datasource, chunk, &record)?;
            }
            (AfterMiss::Read(_) | AfterMiss::Cut, _) => return Err(missed),
        }
    }
    Err(ChunkReadError::Metadata { chunk, why: "its record changes faster than it can be read".into() })
}

/// Waits until this node's map knows the set that a record means if it names no devices: just after a pool was made, or a set changed, the record may be the younger
/// one. After a while it is looked for where the map of now has it.
async fn hear_of_home(shared: &Shared, chunk: ChunkId, record: &meta::ChunkRecord) {
    let (pool, epoch) = (PoolId(record.pool), Epoch(record.epoch));
    let knows = |map: &Arc<ClusterMap>| map.place(pool, &chunk).is_some_and(|(_, sets, _)| sets.group.epoch >= epoch);
    if record.devices.is_empty() && !knows(&shared.maps.current()) {
        let mut maps = shared.maps.watch();
        let heard = timeout(MAP_WAIT_MAX, maps.wait_for(knows)).await;
        if !matches!(heard, Ok(Ok(_))) {
            tracing::warn!(%chunk, %pool, %epoch, "this node has not heard of the set that a chunk lies in");
        }
    }
}

async fn fetch_record(shared: &Shared, datasource: DatasourceId, chunk: ChunkId) -> Result<Option<meta::ChunkRecord>, ChunkReadError> {
    let query = meta::Query { what: Some(meta::query::What::Chunk(meta::ChunkQuery { chunk: chunk.0.to_vec().into() })) };
    let answer = shared.metadata.query(GroupId::from(datasource), query, Instant::now() + METADATA_DEADLINE).await;
    match answer.map_err(|error| ChunkReadError::Metadata { chunk, why: error.to_string() })?.what {
        Some(meta::answer::What::Chunk(record)) => Ok(Some(record)),
        _absent => Ok(None),
    }
}

/// Reads a range from one instance.
pub(super) async fn read_source(shared: &Arc<Shared>, source: &ChunkSource, range: Range<usize>) -> Result<Bytes, ChunkReadError> {
    let whole = range == (0..source.length);
    let read = ShardReading::new(shared, source, range.clone()).run().await?;
    if !whole {
        return Ok(read);
    }
    let map = shared.maps.current();
    let Some(datasource) = map.datasources.get(&source.datasource) else { return Ok(read) };
    let (key, plaintext, expected) = (datasource.key.clone(), read.clone(), source.chunk);
    match heavy(read.len(), move || chunk_id(&key, &plaintext) == expected).await {
        true => Ok(read),
        false => sound_shards::read_whole(shared, source, &datasource.key).await,
    }
}

struct Arrived {
    shard: u8,
    device: DeviceId,
    bytes: Range<usize>,
    result: Result<ShardBlocks, TransportError>,
}

/// One range being read from one instance.
struct ShardReading<'a> {
    shared: &'a Arc<Shared>,
    source: &'a ChunkSource,
    /// What is wanted of each data shard.
    wanted: BTreeMap<u8, Range<usize>>,
    range: Range<usize>,
    /// The blocks that all of them lie in, as bytes of a shard: what is read once parity takes part.
    common: Range<usize>,
    shard_length: usize,
    /// Devices not asked yet, by shard.
    left: BTreeMap<u8, Vec<DeviceId>>,
    asked: FuturesUnordered<BoxFuture<'static, Arrived>>,
    /// Shards on their way, with the bytes asked for.
    under_way: Vec<(u8, Range<usize>)>,
    /// Where a shard was asked for that has not failed there: more of it is asked for at the same place.
    asked_at: BTreeMap<u8, DeviceId>,
    /// What arrived: the bytes from `begin` of a shard on.
    here: BTreeMap<u8, (usize, Bytes)>,
    damaged: u32,
    /// Shards that are not where the record has them. They are absent unless they come from elsewhere.
    astray: u32,
    degraded: bool,
    /// Why the next shard is asked for, as the metrics say it: [`FIRST`] until everything was asked that the range takes.
    asking: &'static str,
    last_error: String,
}

impl<'a> ShardReading<'a> {
    fn new(shared: &'a Arc<Shared>, source: &'a ChunkSource, range: Range<usize>) -> Self {
        let shard_length = shard_length(source.code, source.length);
        let ranges = shard_ranges(source.code, source.length, range.clone());
        let start = ranges.iter().map(|part| part.range.start).min().unwrap_or(0);
        let end = ranges.iter().map(|part| part.range.end).max().unwrap_or(0);
        let wanted = ranges.into_iter().map(|part| (part.index, part.range)).collect();
        let left = (0..source.code.total())
            .zip(&source.order)
            .map(|(shard, devices)| {
                let mut devices = devices.clone();
                // Devices believed down come last, those of this node first.
                devices.sort_by_key(|device| !shared.health.answers(*device));
                devices.reverse();
                (shard, devices)
            })
            .collect();
        Self {
            shared,
            source,
            wanted,
            range,
            common: whole_blocks(&(start..end), shard_length),
            shard_length,
            left,
            asked: FuturesUnordered::new(),
            under_way: Vec::new(),
            asked_at: BTreeMap::new(),
            here: BTreeMap::new(),
            damaged: 0,
            astray: 0,
            degraded: false,
            asking: FIRST,
            last_error: "no device is known to have it".into(),
        }
    }

    async fn run(mut self) -> Result<Bytes, ChunkReadError> {
        if self.source.code.data() == 1 {
            self.begin_copies();
        } else {
            self.begin_data_shards();
        }
        self.asking = AGAIN;
        let mut hedge_at = Instant::now() + self.shared.times.hedge_after;
        loop {
            if let Some(bytes) = self.assemble().await {
                self.report();
                return Ok(bytes);
            }
            if self.asked.is_empty() && !self.ask_another() {
                self.report();
                return Err(self.too_few());
            }
            tokio::select! {
                Some(arrived) = self.asked.next() => self.take(arrived),
                () = sleep_until(hedge_at) => {
                    hedge_at = Instant::now() + self.shared.times.hedge_after;
                    if self.ask_another() {
                        metrics::counter!(HEDGED_READS).increment(1);
                    }
                }
            }
        }
    }

    /// Every shard is a copy: one is enough, the nearest first.
    fn begin_copies(&mut self) {
        let map = self.shared.maps.current();
        let node = self.shared.node;
        let is_local = |shard: &u8| {
            let device = self.source.order.get(usize::from(*shard)).and_then(|devices| devices.first());
            device.and_then(|device| map.view.device(*device)).is_some_and(|device| device.node == node)
        };
        let answers = |shard: &u8| {
            let device = self.source.order.get(usize::from(*shard)).and_then(|devices| devices.first());
            device.is_some_and(|device| self.shared.health.answers(*device)) && self.source.missing & (1 << shard) == 0
        };
        let mut shards: Vec<u8> = (0..self.source.code.total()).collect();
        shards.sort_by_key(|shard| (!answers(shard), !is_local(shard)));
        if let Some(first) = shards.first().copied() {
            self.ask(first);
        }
    }

    fn begin_data_shards(&mut self) {
        let wanted: Vec<u8> = self.wanted.keys().copied().collect();
        for shard in wanted {
            let next = self.left.get(&shard).and_then(|devices| devices.last());
            let hopeful = next.is_some_and(|device| self.shared.health.answers(*device)) && self.source.missing & (1 << shard) == 0;
            match hopeful {
                true if self.is_under_way(shard) => {}
                true => drop(self.ask(shard)),
                false => self.degrade(),
            }
        }
    }

    /// From now on k shards are wanted over the common blocks.
    fn degrade(&mut self) {
        if !self.degraded {
            self.degraded = true;
            self.fill_up();
        }
    }

    /// Asks for so many shards that k are here or on their way over the common blocks.
    fn fill_up(&mut self) {
        let needed = usize::from(self.source.code.data());
        while self.complete().count() + self.on_their_way().count() < needed {
            let useful = |shard: &u8| !self.complete().any(|here| here == *shard) && !self.on_their_way().any(|way| way == *shard);
            let candidates: Vec<u8> =
                (0..self.source.code.total()).filter(useful).filter(|shard| self.next_place(*shard).is_some()).collect();
            let answers = |shard: &&u8| self.next_place(**shard).is_some_and(|device| self.shared.health.answers(device));
            let is_durable = |shard: &&u8| self.source.missing & (1 << **shard) == 0;
            // Those that the record says are missing may be there all the same: they come last.
            let best = candidates.iter().filter(answers).find(is_durable);
            let Some(shard) = best.or_else(|| candidates.iter().find(answers)).or_else(|| candidates.first()).copied() else { return };
            if !self.ask(shard) {
                return;
            }
        }
    }

    fn is_under_way(&self, shard: u8) -> bool {
        self.under_way.iter().any(|(other, _)| *other == shard)
    }

    /// The device that a shard is asked for next.
    fn next_place(&self, shard: u8) -> Option<DeviceId> {
        self.asked_at.get(&shard).or_else(|| self.left.get(&shard).and_then(|devices| devices.last())).copied()
    }

    /// Shards here over all common blocks.
    fn complete(&self) -> impl Iterator<Item = u8> + '_ {
        let covers = |begin: usize, bytes: &Bytes| begin <= self.common.start && begin + bytes.len() >= self.common.end;
        self.here.iter().filter(move |(_, (begin, bytes))| covers(*begin, bytes)).map(|(shard, _)| *shard)
    }

    fn on_their_way(&self) -> impl Iterator<Item = u8> + '_ {
        let covers = |range: &Range<usize>| range.start <= self.common.start && range.end >= self.common.end;
        self.under_way.iter().filter(move |(_, range)| covers(range)).map(|(shard, _)| *shard)
    }

    /// Asks for a shard where it was asked for, else at its next device; `false` if there is none left.
    fn ask(&mut self, shard: u8) -> bool {
        let again = self.asked_at.get(&shard).copied();
        let Some(device) = again.or_else(|| self.left.get_mut(&shard).and_then(Vec::pop)) else { return false };
        self.asked_at.insert(shard, device);
        let copies = self.source.code.data() == 1;
        let bytes = match self.wanted.get(&shard) {
            Some(range) if !self.degraded && !copies => whole_blocks(range, self.shard_length),
            Some(_) | None => self.common.clone(),
        };
        let block = |at: usize| u32::try_from(at / CHECKSUM_BLOCK_LENGTH_BYTES).expect("a shard has 4 MiB at most");
        let blocks = block(bytes.start)..block(bytes.end + CHECKSUM_BLOCK_LENGTH_BYTES - 1);
        metrics::counter!(BLOCKS_READ, ASKED => self.asking).increment(u64::from(blocks.end - blocks.start));
        self.under_way.push((shard, bytes.clone()));
        let transport = Arc::clone(&self.shared.transport);
        let key = ShardKey { instance: InstanceId { chunk: self.source.chunk, write: self.source.write }, shard };
        self.asked.push(Box::pin(async move {
            let result = transport.read(device, key, blocks).await;
            Arrived { shard, device, bytes, result }
        }));
        true
    }

    /// Asks somebody who was not asked: parity where a data shard is slow, another device where all failed.
    fn ask_another(&mut self) -> bool {
        let before = self.asked.len();
        if self.source.code.data() == 1 {
            let next = (0..self.source.code.total())
                .find(|shard| !self.is_under_way(*shard) && self.left.get(shard).is_some_and(|devices| !devices.is_empty()));
            return next.is_some_and(|shard| self.ask(shard));
        }
        self.degraded = true;
        self.fill_up();
        if self.asked.len() == before {
            // All that could be complete is on its way: one more, for the slowest.
            let spare = (0..self.source.code.total()).find(|shard| {
                !self.here.contains_key(shard)
                    && !self.is_under_way(*shard)
                    && self.left.get(shard).is_some_and(|devices| !devices.is_empty())
            });
            return spare.is_some_and(|shard| self.ask(shard));
        }
        true
    }

    fn take(&mut self, arrived: Arrived) {
        let Arrived { shard, device, bytes, result } = arrived;
        if let Some(place) = self.under_way.iter().position(|(other, asked)| *other == shard && *asked == bytes) {
            self.under_way.swap_remove(place);
        }
        match result {
            Ok(blocks) if blocks.header.code == self.source.code => {
                let begin = usize::try_from(blocks.first_block).expect("usize has 32 bits at least") * CHECKSUM_BLOCK_LENGTH_BYTES;
                // More of it may be here already.
                if self.here.get(&shard).is_none_or(|(_, had)| had.len() < blocks.payload.len()) {
                    self.here.insert(shard, (begin, blocks.payload));
                }
                return;
            }
            Ok(_other_code) => self.last_error = format!("device {device} has the shard in another code"),
            Err(error) => {
                self.shared.health.note(device, &error);
                self.last_error = error.to_string();
                let home = self.source.order.get(usize::from(shard)).and_then(|devices| devices.first());
                match error {
                    TransportError::Corrupt { .. } => self.damaged |= 1 << shard,
                    TransportError::NotFound(_) if home == Some(&device) => self.astray |= 1 << shard,
                    _elsewhere_or_unreachable => {}
                }
            }
        }
        self.asked_at.remove(&shard);
        // The next place of the same shard first, where a place is believed to answer; else other shards.
        let hopeful = self.left.get(&shard).and_then(|devices| devices.last()).is_some_and(|device| self.shared.health.answers(*device));
        if !(hopeful && self.ask(shard)) {
            self.ask_another();
        }
    }

    /// The range, if what is here gives it.
    async fn assemble(&mut self) -> Option<Bytes> {
        if self.source.code.data() == 1 {
            let (begin, bytes) = self.here.values().next()?;
            return Some(bytes.slice(self.range.start - begin..self.range.end - begin));
        }
        let part = |(shard, range): (&u8, &Range<usize>)| {
            let (begin, bytes) = self.here.get(shard)?;
            (*begin <= range.start && begin + bytes.len() >= range.end).then(|| bytes.slice(range.start - begin..range.end - begin))
        };
        if let Some(parts) = self.wanted.iter().map(part).collect::<Option<Vec<Bytes>>>() {
            return Some(concatenated(parts));
        }
        let complete: Vec<u8> = self.complete().collect();
        if complete.len() < usize::from(self.source.code.data()) {
            return None;
        }
        metrics::counter!(DEGRADED_READS).increment(1);
        let (code, common, wanted) = (self.source.code, self.common.clone(), self.wanted.clone());
        let shards: Vec<Option<Vec<u8>>> = (0..code.total())
            .map(|shard| {
                let (begin, bytes) = self.here.get(&shard).filter(|_| complete.contains(&shard))?;
                Some(bytes.slice(common.start - begin..common.end - begin).to_vec())
            })
            .collect();
        let rebuilt = heavy(self.range.len(), move || {
            let indexes: Vec<u8> = wanted.keys().copied().collect();
            let rebuilt = reconstruct_shards(code, &indexes, shards).ok()?;
            let parts = rebuilt
                .into_iter()
                .zip(wanted.values())
                .map(|(bytes, range)| Bytes::from(bytes).slice(range.start - common.start..range.end - common.start));
            Some(concatenated(parts.collect()))
        });
        rebuilt.await
    }

    /// Tells the repair queue what was found damaged.
    fn report(&self) {
        // One that is on its way still may come: a later reader reports it if it does not.
        let unsettled = self.here.keys().copied().chain(self.under_way.iter().map(|(shard, _)| *shard));
        let astray = unsettled.fold(self.astray, |astray, shard| astray & !(1 << shard));
        let missing = (self.damaged | astray) & !self.source.missing;
        if missing == 0 {
            return;
        }
        metrics::counter!(DAMAGED_SHARDS).increment(u64::from(missing.count_ones()));
        let instance = InstanceId { chunk: self.source.chunk, write: self.source.write };
        let damage = Damage { datasource: self.source.datasource, instance, missing };
        tracing::warn!(%instance, shards = missing, "shards are damaged or absent");
        if self.shared.damages.try_send(damage).is_err() {
            tracing::debug!(%instance, "too much damage is waiting to be reported; the next reader reports it");
        }
    }

    fn too_few(&self) -> ChunkReadError {
        ChunkReadError::TooFewShards {
            chunk: self.source.chunk,
            found: self.here.len(),
            needed: usize::from(self.source.code.data()),
            why: self.last_error.clone(),
        }
    }
}

fn concatenated(mut parts: Vec<Bytes>) -> Bytes {
    if parts.len() == 1 {
        return parts.pop().unwrap_or_default();
    }
    let mut whole = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
    parts.iter().for_each(|part| whole.extend_from_slice(part));
    whole.freeze()
}
