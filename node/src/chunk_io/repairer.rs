//! Repairs one chunk of the repair queue: carries out what [`plan_repair`] decides.
//!
//! Invariants: a repair names the instance it read, so that a record that has meanwhile another is not touched; a re-encoding is proposed
//! only when every one of its shards is durable; shards are made only of a plaintext that has the chunk's id; what a refused re-encoding wrote is deleted, after an unknown answer nothing is.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{join_all, try_join_all};
use skep_placement::checksum::{block_checksums, block_count};
use skep_placement::choose::WriteRequest;
use skep_placement::chunk::chunk_id;
use skep_placement::erasure::{decode, encode, shard_length};
use skep_placement::ids::{ChunkId, DatasourceId, DeviceId, Epoch, GroupId, InstanceId, PgId, Stamp};
use skep_placement::placement_map::preference_list;
use skep_placement::profile::Code;
use skep_placement::repair_plan::{ChunkRecord, RepairPlan, ShardMove, WaitReason, plan_repair};
use skep_raft::errors::ProposeError;
use skep_raft::wire::meta::v1 as meta;
use tokio::time::Instant;

use super::chunk_reader::{ChunkReadError, ChunkSource, read_source};
use super::encoded::{Encoded, Writing, heavy};
use super::limits::BACKGROUND_DEADLINE;
use super::{Chunks, Shared, sound_shards, write_id, write_record};
use crate::chunk_rpc::TransportError;
use crate::cluster_map::{ClusterMap, code, code_record};
use crate::device_store::{ShardHeader, ShardKey, ShardRecord};

/// What became of a repair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repaired {
    /// The record is as it should be now.
    Done,
    /// Nothing can be done now.
    Waits(String),
}

/// Why a repair did not come to an end; it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// The record or the map is not one.
    #[error("the record of chunk {0} does not fit the cluster map")]
    Record(ChunkId),
    /// A device failed.
    #[error(transparent)]
    Device(#[from] TransportError),
    /// The chunk can't be read.
    #[error(transparent)]
    Read(#[from] ChunkReadError),
    /// The sources give no shards.
    #[error("the shards of chunk {0} that were read give none of those missing")]
    Shards(ChunkId),
    /// The command was not carried out.
    #[error(transparent)]
    Metadata(#[from] ProposeError),
}

/// A chunk in repair.
struct Repair<'a> {
    shared: &'a Arc<Shared>,
    datasource: DatasourceId,
    chunk: ChunkId,
    record: &'a meta::ChunkRecord,
    seen: ChunkRecord,
    pg: PgId,
    /// The set of the record's epoch.
    home: Vec<DeviceId>,
    /// The set and epoch in force.
    acting: Vec<DeviceId>,
    epoch: Epoch,
    devices: Vec<DeviceId>,
}

impl Chunks {
    /// Brings a chunk nearer to its profile.
    ///
    /// # Errors
    /// [`RepairError`]; the chunk stays in the queue.
    pub async fn repair(&self, datasource: DatasourceId, placed: &meta::PlacedChunk) -> Result<Repaired, RepairError> {
        let chunk = ChunkId::try_from(placed.chunk.as_ref()).map_err(|_no_id| RepairError::Record(ChunkId([0; 32])))?;
        let record = placed.record.as_ref().ok_or(RepairError::Record(chunk))?;
        let map = self.shared.maps.current();
        let repair = Repair::new(&self.shared, &map, datasource, chunk, record).ok_or(RepairError::Record(chunk))?;
        match repair.plan(&map).ok_or(RepairError::Record(chunk))? {
            RepairPlan::Nothing => repair.propose_repaired(0, repair.devices.clone()).await,
            RepairPlan::Fill { shards, sources, .. } => repair.fill(shards, sources).await,
            RepairPlan::ReEncode { code, devices, .. } => repair.encode_anew(code, devices).await,
            RepairPlan::BringHome { shards, .. } => repair.bring_home(shards).await,
            RepairPlan::Wait(WaitReason::TooFewShards { .. }) if record.missing != 0 => repair.look_again().await,
            RepairPlan::Wait(reason) => Ok(Repaired::Waits(reason.to_string())),
        }
    }
}

impl<'a> Repair<'a> {
    fn new(
        shared: &'a Arc<Shared>,
        map: &ClusterMap,
        datasource: DatasourceId,
        chunk: ChunkId,
        record: &'a meta::ChunkRecord,
    ) -> Option<Self> {
        let (pg, sets, _) = map.place(map.datasources.get(&datasource)?.pool, &chunk)?;
        let code = record.code.as_ref().and_then(code)?;
        let total = usize::from(code.total());
        let home = sets.home_at(Epoch(record.epoch)).get(..total).map(<[DeviceId]>::to_vec).unwrap_or_default();
        let mut devices = map.devices_of(&chunk, record);
        devices.truncate(total);
        let acting = sets.group.write_set().to_vec();
        let at_home = acting.get(..total) == Some(devices.as_slice());
        let seen = ChunkRecord {
            write: write_id(record.write.as_ref()?),
            code,
            epoch: sets.group.epoch,
            length: u64::from(record.length),
            devices: (!at_home).then(|| devices.clone()),
            missing: (0..code.total()).filter(|index| record.missing & (1 << index) != 0).collect(),
        };
        Some(Self { shared, datasource, chunk, record, seen, pg, home, acting, epoch: sets.group.epoch, devices })
    }

    fn plan(&self, map: &ClusterMap) -> Option<RepairPlan> {
        let ds = map.datasources.get(&self.datasource)?;
        let (pg, sets, pool) = map.place(ds.pool, &self.chunk)?;
        let preference = preference_list(&map.view, pg, pool.profile.domain);
        let failures = self.shared.health.failures();
        let request = WriteRequest {
            profile: pool.profile,
            length: self.seen.length,
            degraded_to_devices: ds.degraded_to_devices,
            group: &sets.group,
            preference: &preference,
            view: &map.view,
            failures: &failures,
        };
        Some(plan_repair(&request, &self.seen))
    }

    fn key(&self, shard: u8) -> ShardKey {
        ShardKey { instance: InstanceId { chunk: self.chunk, write: self.seen.write }, shard }
    }

    /// Stores missing shards of the same instance.
    async fn fill(&self, wanted: Vec<(u8, DeviceId)>, sources: Vec<(u8, DeviceId)>) -> Result<Repaired, RepairError> {
        // A shard that was late at the commit, or whose repair was not recorded, may be there; a damaged one is there and bad.
        let whole = join_all(wanted.iter().map(|(shard, device)| self.is_whole(*shard, *device))).await;
        let absent: Vec<(u8, DeviceId)> = wanted.iter().zip(whole).filter(|(_, is_whole)| !is_whole).map(|(place, _)| *place).collect();
        if !absent.is_empty() {
            let indexes: Vec<u8> = absent.iter().map(|(shard, _)| *shard).collect();
            let made = self.make_shards(&indexes, &sources).await?;
            try_join_all(absent.iter().zip(made).map(|((shard, device), bytes)| self.put(*shard, *device, bytes))).await?;
        }
        let mut devices = self.devices.clone();
        let mut missing = self.record.missing;
        for (shard, device) in &wanted {
            if let Some(place) = devices.get_mut(usize::from(*shard)) {
                *place = *device;
            }
            missing &= !(1 << shard);
        }
        self.propose_repaired(missing, devices).await
    }

    /// Whether a device has a shard, every block of it as it was written.
    async fn is_whole(&self, shard: u8, device: DeviceId) -> bool {
        self.shared.transport.read(device, self.key(shard), 0..self.blocks()).await.is_ok()
    }

    /// Blocks of a shard.
    fn blocks(&self) -> u32 {
        let length = shard_length(self.seen.code, usize::try_from(self.record.length).expect("usize has 32 bits at least"));
        u32::try_from(block_count(length)).expect("a shard has 4 MiB at most")
    }

    /// Fewer than k shards are said to be there. What is said to be missing may not be, or be there again: each is read, and the record put right.
    async fn look_again(&self) -> Result<Repaired, RepairError> {
        let said = (0..self.seen.code.total()).zip(&self.devices).filter(|(shard, _)| self.record.missing & (1 << shard) != 0);
        let looks = said.map(|(shard, device)| async move { self.is_whole(shard, *device).await.then_some(shard) });
        let found = join_all(looks).await.into_iter().flatten().fold(0_u32, |found, shard| found | 1 << shard);
        if found == 0 {
            return Ok(Repaired::Waits("fewer shards than are needed can be read".to_owned()));
        }
        self.propose_repaired(self.record.missing & !found, self.devices.clone()).await
    }

    /// Reads k shards whole and makes others of them.
    async fn make_shards(&self, wanted: &[u8], sources: &[(u8, DeviceId)]) -> Result<Vec<Bytes>, RepairError> {
        let code = self.seen.code;
        let length = shard_length(code, usize::try_from(self.record.length).expect("usize has 32 bits at least"));
        let blocks = self.blocks();
        let mut shards: Vec<Option<Vec<u8>>> = vec![None; usize::from(code.total())];
        let mut last_error = None;
        for (shard, device) in sources {
            if shards.iter().flatten().count() == usize::from(code.data()) {
                break;
            }
            match self.shared.transport.read(*device, self.key(*shard), 0..blocks).await {
                Ok(read) => {
                    if let Some(place) = shards.get_mut(usize::from(*shard)) {
                        *place = Some(read.payload.to_vec());
                    }
                }
                Err(error) => {
                    self.shared.health.note(*device, &error);
                    last_error = Some(error);
                }
            }
        }
        if shards.iter().flatten().count() < usize::from(code.data()) {
            return Err(last_error.map_or(RepairError::Shards(self.chunk), RepairError::Device));
        }
        let plaintext = self.plaintext_of(shards).await?;
        let indexes = wanted.to_vec();
        let made = heavy(length, move || {
            let mut all = encode(code, &plaintext);
            let taken = indexes.iter().filter_map(|index| all.get_mut(usize::from(*index)).map(std::mem::take));
            taken.map(Bytes::from).collect::<Vec<_>>()
        });
        Ok(made.await)
    }

    /// The chunk that k shards give, or others if one of them is wrong: what is made of wrong shards would be wrong too.
    async fn plaintext_of(&self, shards: Vec<Option<Vec<u8>>>) -> Result<Bytes, RepairError> {
        let map = self.shared.maps.current();
        let key = &map.datasources.get(&self.datasource).ok_or(RepairError::Record(self.chunk))?.key;
        let length = usize::try_from(self.record.length).expect("usize has 32 bits at least");
        let (code, expected, its_key) = (self.seen.code, self.chunk, key.clone());
        let decoded = heavy(length, move || {
            let plaintext = decode(code, length, shards).ok()?;
            let is_right = chunk_id(&its_key, &plaintext) == expected;
            Some((Bytes::from(plaintext), is_right))
        });
        match decoded.await.ok_or(RepairError::Shards(self.chunk))? {
            (plaintext, true) => Ok(plaintext),
            (_wrong, false) => {
                let source = ChunkSource::of_record(self.shared, self.datasource, self.chunk, self.record)?;
                Ok(sound_shards::read_whole(self.shared, &source, key).await?)
            }
        }
    }

    async fn put(&self, shard: u8, device: DeviceId, payload: Bytes) -> Result<(), TransportError> {
        let key = self.key(shard);
        let header = ShardHeader {
            datasource: self.datasource,
            instance: key.instance,
            shard,
            code: self.seen.code,
            began: Stamp(self.record.begun),
            pg: self.pg,
            epoch: self.epoch,
            plaintext_length: self.record.length,
            payload_length: u32::try_from(payload.len()).expect("a shard has 4 MiB at most"),
            key_version: (self.record.key_version != 0).then_some(self.record.key_version),
        };
        let checksums = block_checksums(key.address(), &payload);
        let result = self.shared.transport.put(device, ShardRecord { header, checksums, payload }).await;
        result.inspect_err(|error| {
            self.shared.health.note(device, error);
        })
    }

    /// Copies shards to the set in force.
    async fn bring_home(&self, moves: Vec<ShardMove>) -> Result<Repaired, RepairError> {
        let mut devices = self.devices.clone();
        for ShardMove { index, from, to } in moves {
            let bytes = self.make_shards(&[index], &[(index, from)]).await;
            let bytes = match bytes {
                Ok(bytes) => bytes,
                Err(_one_is_not_enough) => {
                    let sources: Vec<(u8, DeviceId)> = (0..).zip(self.devices.iter().copied()).collect();
                    self.make_shards(&[index], &sources).await?
                }
            };
            let bytes = bytes.into_iter().next().ok_or(RepairError::Shards(self.chunk))?;
            self.put(index, to, bytes).await?;
            if let Some(place) = devices.get_mut(usize::from(index)) {
                *place = to;
            }
        }
        self.propose_repaired(self.record.missing, devices).await
    }

    /// Tells the group where the instance's shards are now.
    async fn propose_repaired(&self, missing: u32, devices: Vec<DeviceId>) -> Result<Repaired, RepairError> {
        let acting = self.acting.get(..devices.len()) == Some(devices.as_slice());
        let home = self.home == devices;
        let (devices, epoch) = match (acting, home) {
            (true, _) => (Vec::new(), self.epoch.0),
            (false, true) => (Vec::new(), self.record.epoch),
            (false, false) => (devices.iter().map(|device| device.0).collect(), self.epoch.0),
        };
        let repaired = meta::ShardRepaired {
            chunk: self.chunk.0.to_vec().into(),
            write: self.record.write,
            missing_was: self.record.missing,
            missing,
            devices,
            epoch,
        };
        self.propose(meta::content_command::What::ShardRepaired(repaired)).await?;
        Ok(Repaired::Done)
    }

    /// Writes the chunk in another code, or to other devices than one instance can be on, and has the record name the new instance.
    async fn encode_anew(&self, code: Code, devices: Vec<DeviceId>) -> Result<Repaired, RepairError> {
        let map = self.shared.maps.current();
        let source = ChunkSource::of_record(self.shared, self.datasource, self.chunk, self.record)?;
        let length = source.length;
        let plaintext = read_source(self.shared, &source, 0..length).await?;
        let began = super::clock_stamp();
        let write = self.shared.fresh_write();
        let writing = Writing { datasource: self.datasource, chunk: self.chunk, write, code, began, pg: self.pg };
        let encoded = Encoded::new(writing, plaintext).await;
        let puts = (0..code.total()).zip(&devices).filter_map(|(index, device)| {
            let record = encoded.record(index, self.epoch)?;
            Some(async move { (*device, self.shared.transport.put(*device, record).await) })
        });
        let arrivals = join_all(puts).await;
        let sent = || (0..).zip(devices.iter().copied()).collect();
        for (device, arrival) in arrivals {
            if let Err(error) = arrival {
                self.shared.health.note(device, &error);
                self.shared.delete_in_background(self.chunk, write, sent());
                return Err(error.into());
            }
        }
        let home = map.place(map.datasources.get(&self.datasource).ok_or(RepairError::Record(self.chunk))?.pool, &self.chunk);
        let at_home = home.is_some_and(|(_, sets, _)| sets.group.write_set().get(..devices.len()) == Some(devices.as_slice()));
        let instance = meta::StoredChunk {
            chunk: self.chunk.0.to_vec().into(),
            length: self.record.length,
            write: Some(write_record(write)),
            begun: began.0,
            code: Some(code_record(code)),
            pool: self.pg.pool.0,
            epoch: self.epoch.0,
            devices: if at_home { Vec::new() } else { devices.iter().map(|device| device.0).collect() },
            ..meta::StoredChunk::default()
        };
        let reencoded = meta::Reencoded { chunk: self.chunk.0.to_vec().into(), replaces: self.record.write, instance: Some(instance) };
        match self.propose(meta::content_command::What::Reencoded(reencoded)).await {
            Ok(()) => Ok(Repaired::Done),
            Err(ProposeError::Rejected(rejection)) => {
                self.shared.delete_in_background(self.chunk, write, sent());
                Err(RepairError::Metadata(ProposeError::Rejected(rejection)))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn propose(&self, what: meta::content_command::What) -> Result<(), ProposeError> {
        // Shards are on devices and no record names them there yet.
        fail::fail_point!("repair-before-commit");
        let what = Some(meta::command::What::Content(meta::ContentCommand { what: Some(what) }));
        let command = meta::Command { what, ..meta::Command::default() };
        let group = GroupId::from(self.datasource);
        self.shared.metadata.propose(group, command, Instant::now() + BACKGROUND_DEADLINE).await.map(|_proposed| ())
    }
}
