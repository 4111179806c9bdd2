//! The node's storage, put together: devices, the way to other nodes' devices, contents, and the workers that keep them whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::{BoxFuture, join_all};
use skep_placement::ids::{BootNumber, DeviceId, NodeId};
use skep_raft::handle::Metadata;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::chunk_io::{Chunks, ChunksOptions, Damage, Times};
use crate::chunk_rpc::ShardTransport;
use crate::chunk_rpc::client::{ShardClient, ShardDialer};
use crate::chunk_rpc::server::LocalDevices;
use crate::cluster_map::{ClusterMap, ClusterMaps, MapError};
use crate::device_health::DeviceHealth;
use crate::device_store::{DeviceEvent, DeviceStore};
use crate::master_key::MasterKey;
use crate::tasks::Tasks;
use crate::workers::damage;
use crate::workers::placement::PlacementWorker;
use crate::workers::repair::RepairWorker;

/// Reports of damage that wait.
const DAMAGES_MAX: usize = 1_024;

/// What a node's storage is opened with.
#[derive(Debug)]
pub struct StorageOptions {
    /// This node.
    pub node: NodeId,
    /// Its process.
    pub boot: BootNumber,
    /// The devices, open.
    pub stores: BTreeMap<DeviceId, Arc<DeviceStore>>,
    /// Where devices' events arrive.
    pub events: mpsc::Receiver<DeviceEvent>,
    /// Opens datasources' keys.
    pub master: MasterKey,
    /// Reaches other nodes.
    pub dialer: Arc<dyn ShardDialer>,
    /// Bytes that all requests together may hold.
    pub budget_bytes: usize,
}

/// The storage of a running node.
#[derive(Clone, Debug)]
pub struct Storage {
    /// This node's devices.
    pub local: LocalDevices,
    /// Reaches all devices.
    pub transport: Arc<dyn ShardTransport>,
    /// The cluster map.
    pub maps: ClusterMaps,
    /// Beliefs on devices.
    pub health: DeviceHealth,
    /// Contents.
    pub chunks: Chunks,
    /// The repair worker, for its report.
    pub repair: RepairWorker,
}

impl Storage {
    /// Puts the parts together and starts the workers; they end with `tasks`.
    ///
    /// # Errors
    /// [`MapError`] if the replica of the system group gives no cluster map.
    pub async fn start(options: StorageOptions, metadata: &Metadata, tasks: &Tasks) -> Result<Self, MapError> {
        let StorageOptions { node, boot, stores, events, master, dialer, budget_bytes } = options;
        let maps = ClusterMaps::new(ClusterMap::build(&metadata.system_stale(), &master)?);
        tasks.spawn("cluster map", maps.clone().follow(metadata.clone(), master, tasks.stopping()));
        let local = LocalDevices::new(node, boot, stores);
        let transport: Arc<dyn ShardTransport> = Arc::new(ShardClient::new(local.clone(), Arc::new(maps.clone()), dialer));
        let health = DeviceHealth::default();
        health.ping_all(&maps, &*transport).await;
        tasks.spawn("device health", health.clone().follow(maps.clone(), Arc::clone(&transport), tasks.stopping()));
        let (damages, found) = mpsc::channel(DAMAGES_MAX);
        tasks.spawn("damage", damage::report(metadata.clone(), found, tasks.stopping()));
        tasks.spawn("device events", forward(local.clone(), events, damages.clone(), tasks.stopping()));
        let chunks = Chunks::new(ChunksOptions {
            node,
            boot,
            maps: maps.clone(),
            health: health.clone(),
            transport: Arc::clone(&transport),
            metadata: Arc::new(metadata.clone()),
            budget_bytes,
            damages,
            times: Times::default(),
        });
        let repair = RepairWorker::new(metadata.clone(), maps.clone(), chunks.clone());
        tasks.spawn("repair", repair.clone().run(tasks.stopping()));
        tasks.spawn("placement", PlacementWorker::new(metadata.clone(), maps.clone()).run(tasks.stopping()));
        Ok(Self { local, transport, maps, health, chunks, repair })
    }

    /// Ends what is under way and closes the devices; the workers have been joined before.
    pub fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.chunks.close().await;
            let closing = self.local.iter().map(|(id, store)| async move { (id, store.close().await) });
            for (id, closed) in join_all(closing).await {
                if let Err(error) = closed {
                    tracing::warn!(device = %id, %error, "the device was not closed in order; its index catches up at the next start");
                }
            }
        })
    }
}

/// Passes what devices find damaged on to the repair queue.
async fn forward(local: LocalDevices, mut events: mpsc::Receiver<DeviceEvent>, damages: mpsc::Sender<Damage>, stop: CancellationToken) {
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = events.recv() => match event {
                Some(event) => event,
                None => return,
            },
        };
        if let Some(damage) = damage_of(&local, &event).await
            && damages.try_send(damage).is_err()
        {
            tracing::debug!("too much damage is waiting to be reported; the next reader reports it");
        }
    }
}

async fn damage_of(local: &LocalDevices, event: &DeviceEvent) -> Option<Damage> {
    let DeviceEvent::Corrupt { device, shard: Some(key), .. } = event else { return None };
    let header = local.get(*device)?.stat(*key).await.ok()??;
    Some(Damage { datasource: header.datasource, instance: key.instance, missing: 1 << key.shard })
}
