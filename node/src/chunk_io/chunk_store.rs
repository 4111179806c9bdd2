//! Stores one chunk by the write rule: carries out what [`WritePlan`] decides.
//!
//! Invariant: `store` returns a chunk only after the plan acknowledged it; whatever else was sent is deleted or left to the sweep. If the
//! caller drops the future, what was sent is named by nobody and is the sweep's.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use skep_placement::choose::{Decision, Event, Failure, Placed, WritePlan, WriteRequest};
use skep_placement::chunk::{ChunkKey, chunk_id};
use skep_placement::ids::{ChunkId, DatasourceId, DeviceId, Epoch, PgId, PoolId, Stamp, WriteId};
use skep_placement::placement_map::preference_list;
use skep_raft::wire::meta::v1 as meta;
use tokio::time::{Instant, sleep_until, timeout};

use super::encoded::{Encoded, Writing, heavy};
use super::limits::{LINGER, MAP_WAIT_MAX};
use super::metrics::{CHUNK_BYTES_STORED, CHUNKS_SHRUNK, CHUNKS_STORED};
use super::{Shared, write_record};
use crate::chunk_rpc::TransportError;
use crate::cluster_map::{ClusterMap, DatasourceMap, PgSets, PoolMap, code_record};

/// Why a chunk was not stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Too few failure domains.
    #[error("the file cannot be stored now: {0}")]
    Unavailable(String),
    /// Devices have no room.
    #[error("the devices that the file would be stored on are full: {0}")]
    NoSpace(String),
    /// This node does not know the datasource (yet).
    #[error("datasource {0} is not known to this node")]
    UnknownDatasource(DatasourceId),
}

/// The name of a chunk, computed before anything is sent.
#[derive(Clone, Debug)]
pub(super) struct Identified {
    pub(super) chunk: ChunkId,
    pub(super) plaintext: Bytes,
}

/// Names a chunk.
pub(super) async fn identify(key: ChunkKey, plaintext: Bytes) -> Identified {
    heavy(plaintext.len(), move || Identified { chunk: chunk_id(&key, &plaintext), plaintext }).await
}

/// A shard on its way, and what became of it.
struct Arrival {
    write: WriteId,
    index: u8,
    device: DeviceId,
    epoch: Epoch,
    took: Duration,
    result: Result<(), TransportError>,
}

type Arrivals = FuturesUnordered<BoxFuture<'static, Arrival>>;

/// One chunk being stored.
struct Storing {
    shared: Arc<Shared>,
    datasource: DatasourceId,
    pool: PoolId,
    pg: PgId,
    began: Stamp,
    identified: Identified,
    plan: WritePlan,
    encoded: Encoded,
    arrivals: Arrivals,
    /// Shards of the writing in force that have not arrived.
    waiting: Vec<(u8, DeviceId)>,
}

/// Stores a chunk; durable by the write rule when it returns. Before it is refused for want of devices, those are asked that are believed to be out.
pub(super) async fn store(shared: Arc<Shared>, datasource: DatasourceId, identified: Identified) -> Result<meta::StoredChunk, StoreError> {
    match store_once(Arc::clone(&shared), datasource, identified.clone()).await {
        Err(StoreError::Unavailable(why)) => {
            if !shared.health.ask_again(&shared.maps, &*shared.transport).await {
                return Err(StoreError::Unavailable(why));
            }
            store_once(shared, datasource, identified).await
        }
        stored => stored,
    }
}

async fn store_once(shared: Arc<Shared>, datasource: DatasourceId, identified: Identified) -> Result<meta::StoredChunk, StoreError> {
    let map = shared.maps.current();
    let (ds, pg, sets, pool) = locate(&map, datasource, &identified.chunk)?;
    let write = shared.fresh_write();
    let failures = shared.health.failures();
    let preference = preference_list(&map.view, pg, pool.profile.domain);
    let request = write_request(&map, ds, sets, pool, &preference, &failures, identified.plaintext.len());
    let (plan, decisions) = WritePlan::begin(&request, write);
    fail::fail_point!("chunk-before-send");
    let began = super::clock_stamp();
    let writing = Writing { datasource, chunk: identified.chunk, write, code: plan.code(), began, pg };
    let encoded = Encoded::new(writing, identified.plaintext.clone()).await;
    let pool = ds.pool;
    let arrivals = Arrivals::new();
    let mut storing = Storing { shared, datasource, pool, pg, began, identified, plan, encoded, arrivals, waiting: Vec::new() };
    storing.run(decisions.into()).await
}

fn locate<'a>(
    map: &'a ClusterMap,
    datasource: DatasourceId,
    chunk: &ChunkId,
) -> Result<(&'a DatasourceMap, PgId, &'a PgSets, &'a PoolMap), StoreError> {
    let ds = map.datasources.get(&datasource).ok_or(StoreError::UnknownDatasource(datasource))?;
    let (pg, sets, pool) = map.place(ds.pool, chunk).ok_or(StoreError::UnknownDatasource(datasource))?;
    Ok((ds, pg, sets, pool))
}

#[expect(clippy::too_many_arguments, reason = "one for each field of the request, which borrows them all")]
fn write_request<'a>(
    map: &'a ClusterMap,
    ds: &DatasourceMap,
    sets: &'a PgSets,
    pool: &PoolMap,
    preference: &'a [DeviceId],
    failures: &'a std::collections::BTreeMap<DeviceId, Failure>,
    length: usize,
) -> WriteRequest<'a> {
    WriteRequest {
        profile: pool.profile,
        length: u64::try_from(length).expect("usize fits u64"),
        degraded_to_devices: ds.degraded_to_devices,
        group: &sets.group,
        preference,
        view: &map.view,
        failures,
    }
}

impl Storing {
    async fn run(&mut self, mut decisions: VecDeque<Decision>) -> Result<meta::StoredChunk, StoreError> {
        let mut slow_at = Instant::now() + self.shared.health.slow_after();
        let mut linger_until = None;
        loop {
            while let Some(decision) = decisions.pop_front() {
                match self.carry_out(decision).await? {
                    Carried::Going => {}
                    Carried::Acknowledged => linger_until = Some(Instant::now() + LINGER),
                }
            }
            if linger_until.is_some_and(|until| self.plan.is_over() || Instant::now() >= until) {
                return Ok(self.finish());
            }
            let wake = linger_until.unwrap_or(slow_at);
            tokio::select! {
                arrival = self.arrivals.next() => match arrival {
                    Some(arrival) => decisions.extend(self.arrived(arrival).await?),
                    None if linger_until.is_some() => return Ok(self.finish()),
                    None => return Err(StoreError::Unavailable("no shard is on its way and too few arrived".into())),
                },
                () = sleep_until(wake), if linger_until.is_none() => {
                    slow_at = Instant::now() + self.shared.health.slow_after();
                    decisions.extend(self.mark_slow());
                }
                () = sleep_until(wake), if linger_until.is_some() => {}
            }
        }
    }

    async fn carry_out(&mut self, decision: Decision) -> Result<Carried, StoreError> {
        match decision {
            Decision::Send { write, index, device, epoch } => self.send(write, index, device, epoch),
            Decision::Acknowledge(_placed) => return Ok(Carried::Acknowledged),
            // The record is made from the plan's last word, so a late shard is named as durable there.
            Decision::Late { .. } => {}
            Decision::Discard { write, device } => {
                let index = self.encoded.writing.code.total();
                let shards = (0..index).map(|shard| (shard, device)).collect();
                self.shared.delete_in_background(self.identified.chunk, write, shards);
            }
            Decision::Restart { abandoned, delete_from, write, code } => {
                tracing::info!(chunk = %self.identified.chunk, %code, "fewer domains answer: the chunk is written anew in a smaller code");
                self.delete_writing(abandoned, &delete_from);
                self.waiting.clear();
                let writing = Writing { write, code, ..self.encoded.writing };
                self.encoded = Encoded::new(writing, self.identified.plaintext.clone()).await;
            }
            Decision::Unavailable(unavailable) => {
                if let Some((write, devices)) = &unavailable.abandoned {
                    self.delete_writing(*write, devices);
                }
                let failures = self.shared.health.failures();
                let all_full =
                    !unavailable.out.is_empty() && unavailable.out.iter().all(|device| failures.get(device) == Some(&Failure::Full));
                return Err(match all_full {
                    true => StoreError::NoSpace(unavailable.to_string()),
                    false => StoreError::Unavailable(unavailable.to_string()),
                });
            }
        }
        Ok(Carried::Going)
    }

    fn delete_writing(&self, write: WriteId, devices: &[DeviceId]) {
        let total = self.encoded.writing.code.total();
        let shards = devices.iter().flat_map(|device| (0..total).map(move |shard| (shard, *device))).collect();
        self.shared.delete_in_background(self.identified.chunk, write, shards);
    }

    fn send(&mut self, write: WriteId, index: u8, device: DeviceId, epoch: Epoch) {
        let Some(record) = self.encoded.record(index, epoch) else { return };
        self.waiting.retain(|(other, _)| *other != index);
        self.waiting.push((index, device));
        let transport = Arc::clone(&self.shared.transport);
        self.arrivals.push(Box::pin(async move {
            let begun = Instant::now();
            let result = transport.put(device, record).await;
            Arrival { write, index, device, epoch, took: begun.elapsed(), result }
        }));
    }

    async fn arrived(&mut self, arrival: Arrival) -> Result<Vec<Decision>, StoreError> {
        let Arrival { write, index, device, epoch, took, result } = arrival;
        self.waiting.retain(|waiting| *waiting != (index, device));
        let shared = Arc::clone(&self.shared);
        let mut fresh = || shared.fresh_write();
        match result {
            Ok(()) => {
                self.shared.health.note_latency(took);
                Ok(self.plan.handle(Event::Durable { write, index, device, epoch }, &mut fresh))
            }
            Err(TransportError::StaleEpoch { current }) => self.refresh(current).await,
            Err(error) => {
                tracing::warn!(%device, %error, "a shard was not stored");
                let failure = self.shared.health.note(device, &error).unwrap_or(Failure::Down);
                Ok(self.plan.handle(Event::Failed { device, failure }, &mut fresh))
            }
        }
    }

    /// Waits for sets as new as the device's, and goes on with them.
    async fn refresh(&mut self, current: Epoch) -> Result<Vec<Decision>, StoreError> {
        let mut maps = self.shared.maps.watch();
        let (pool, chunk) = (self.pool, self.identified.chunk);
        let newer = maps.wait_for(|map| map.place(pool, &chunk).is_some_and(|(_, sets, _)| sets.group.epoch >= current));
        let map = match timeout(MAP_WAIT_MAX, newer).await {
            Ok(Ok(map)) => Arc::clone(&map),
            Ok(Err(_)) | Err(_) => {
                let why = format!("placement group {} is at epoch {current}, which this node has not heard of yet", self.pg);
                return Err(StoreError::Unavailable(why));
            }
        };
        let (ds, pg, sets, pool) = locate(&map, self.datasource, &chunk)?;
        let failures = self.shared.health.failures();
        let preference = preference_list(&map.view, pg, pool.profile.domain);
        let request = write_request(&map, ds, sets, pool, &preference, &failures, self.identified.plaintext.len());
        let shared = Arc::clone(&self.shared);
        Ok(self.plan.refresh(&request, &mut || shared.fresh_write()))
    }

    fn mark_slow(&mut self) -> Vec<Decision> {
        let shared = Arc::clone(&self.shared);
        let mut decisions = Vec::new();
        for (_, device) in std::mem::take(&mut self.waiting) {
            shared.health.note_slow(device);
            let event = Event::Failed { device, failure: Failure::Slow };
            decisions.extend(self.plan.handle(event, &mut || shared.fresh_write()));
        }
        decisions
    }

    /// The acknowledged chunk; shards still on their way go on in the background and are confirmed by the repair queue.
    fn finish(&mut self) -> meta::StoredChunk {
        fail::fail_point!("chunk-acknowledged");
        let Placed { write, code, epoch, devices, at_home, missing } = self.plan.placed();
        if !self.arrivals.is_empty() {
            let late = std::mem::take(&mut self.arrivals);
            self.shared.background.spawn(late.for_each(|_arrival| async {}));
        }
        let length = self.identified.plaintext.len();
        let map = self.shared.maps.current();
        let wanted = map
            .pools
            .get(&self.pool)
            .map(|pool| skep_placement::profile::Code::for_chunk(pool.profile, u64::try_from(length).expect("usize fits u64")));
        let below_profile = wanted.is_some_and(|wanted| wanted != code);
        metrics::counter!(CHUNKS_STORED).increment(1);
        metrics::counter!(CHUNK_BYTES_STORED).increment(u64::try_from(length).expect("usize fits u64"));
        if below_profile {
            metrics::counter!(CHUNKS_SHRUNK).increment(1);
        }
        meta::StoredChunk {
            chunk: self.identified.chunk.0.to_vec().into(),
            length: u32::try_from(length).expect("a chunk has 4 MiB at most"),
            write: Some(write_record(write)),
            begun: self.began.0,
            code: Some(code_record(code)),
            pool: self.pool.0,
            epoch: epoch.0,
            devices: if at_home { Vec::new() } else { devices.iter().map(|device| device.0).collect() },
            missing: missing.iter().fold(0, |mask, index| mask | 1 << index),
            key_version: 0,
            pin: 0,
            below_profile,
        }
    }
}

enum Carried {
    Going,
    Acknowledged,
}
