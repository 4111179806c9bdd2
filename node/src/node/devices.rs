//! Opens the node's devices. A new folder is made known to the cluster first, which gives it an id; then it is made into that device, once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rocksdb::Cache;
use skep_placement::ids::{DeviceId, GroupId};
use skep_raft::errors::ProposeError;
use skep_raft::handle::Metadata;
use skep_raft::wire::meta::v1 as meta;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::{Base, StartError};
use crate::config::DeviceConfig;
use crate::device_folders::{DeviceFolder, DeviceFolders, weigh};
use crate::device_store::{DeviceEvent, DeviceIdentity, DeviceOptions, DeviceStore, RocksIndexes};
use crate::form::device_record;

const DEADLINE: Duration = Duration::from_secs(4);
const RETRY_PAUSE: Duration = Duration::from_millis(300);
/// For blocks of the devices' indexes.
const INDEX_CACHE_BYTES: usize = 64 << 20;
const EVENTS_QUEUED: usize = 256;

/// The devices of this node.
pub(super) struct Opened {
    pub(super) stores: BTreeMap<DeviceId, Arc<DeviceStore>>,
    pub(super) folders: Vec<(DeviceId, PathBuf)>,
    pub(super) events: mpsc::Receiver<DeviceEvent>,
}

/// Opens all configured devices.
pub(super) async fn open(base: &Base, metadata: &Metadata) -> Result<Opened, StartError> {
    let mut list = DeviceFolders::load(base.folder.path())?;
    let entries = list.of(&base.config.devices)?;
    let (sender, events) = mpsc::channel(EVENTS_QUEUED);
    let indexes = Arc::new(RocksIndexes::new(Cache::new_lru_cache(INDEX_CACHE_BYTES), None));
    let mut opened = Opened { stores: BTreeMap::new(), folders: Vec::new(), events };
    for (device, entry) in base.config.devices.iter().zip(entries) {
        let id = match entry.device() {
            Some(id) => id,
            None => {
                let id = or_signal(register(base, metadata, device, &entry)).await?;
                list.set_device(&device.path, id)?;
                id
            }
        };
        let identity = DeviceIdentity { cluster: base.identity.cluster, node: base.identity.node, device: id };
        let mut options = DeviceOptions::new(device.path.clone(), identity, indexes.clone());
        options.initialize = !entry.made;
        options.events = Some(sender.clone());
        options.reserve_bytes = base.config.limits.device_reserve_bytes;
        if options.initialize {
            crate::durable_file::create_folder(&device.path)?;
        }
        let store = tokio::task::spawn_blocking(move || DeviceStore::open(options)).await;
        let store = store.map_err(|error| StartError::Refused(format!("opening {} failed: {error}", device.path.display())))??;
        list.set_made(&device.path)?;
        tracing::info!(device = %id, folder = %device.path.display(), "the device is open");
        opened.stores.insert(id, Arc::new(store));
        opened.folders.push((id, device.path.clone()));
    }
    Ok(opened)
}

/// Asks the cluster for an id until it answers.
async fn register(base: &Base, metadata: &Metadata, device: &DeviceConfig, entry: &DeviceFolder) -> Result<DeviceId, StartError> {
    let record = device_record(base.identity.node, weigh(device)?, device);
    let add = meta::AddDevice { device: Some(record), nonce: bytes::Bytes::copy_from_slice(&entry.nonce) };
    let cluster = meta::ClusterCommand { what: Some(meta::cluster_command::What::AddDevice(add)) };
    let command = meta::Command { what: Some(meta::command::What::Cluster(cluster)), ..meta::Command::default() };
    let mut told = false;
    loop {
        match metadata.propose(GroupId::SYSTEM, command.clone(), tokio::time::Instant::now() + DEADLINE).await {
            Ok(proposed) => return Ok(DeviceId(proposed.done.number)),
            Err(ProposeError::Rejected(rejection)) => {
                let sentence = format!("the cluster refuses the device {}: {}", device.path.display(), rejection.detail);
                return Err(StartError::Refused(sentence));
            }
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::info!(%error, folder = %device.path.display(), "the new device waits for the cluster");
                }
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }
}

/// Waits, but not against the will of who ends the process.
async fn or_signal<T>(work: impl Future<Output = Result<T, StartError>>) -> Result<T, StartError> {
    let refused = |error: std::io::Error| StartError::Refused(format!("signals cannot be followed: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(refused)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(refused)?;
    let ended = || Err(StartError::Refused("the node was told to end before the cluster had taken its devices in".to_owned()));
    tokio::select! {
        done = work => done,
        _signal = terminate.recv() => ended(),
        _signal = interrupt.recv() => ended(),
    }
}
