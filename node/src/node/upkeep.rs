//! What a node does for itself beside serving: tells the cluster of its process, keeps addresses new, looks whether it can read.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use skep_placement::ids::{GroupId, NodeId};
use skep_raft::errors::ProposeError;
use skep_raft::handle::Metadata;
use skep_raft::wire::meta::v1 as meta;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use super::Addresses;
use super::port::Readiness;
use crate::config::Config;
use crate::identity::NodeIdentity;
use crate::peers::AddressBook;
use crate::rpc_server::Admission;
use crate::telemetry::{self, Metrics, UPKEEP_INTERVAL};
use crate::tls::{NodeTls, renewal};

const DEADLINE: Duration = Duration::from_secs(4);
const RETRY_PAUSE: Duration = Duration::from_millis(500);
const FRESHNESS_INTERVAL: Duration = Duration::from_secs(1);
/// A node whose clock is further off its peers' is not ready.
const CLOCK_OFF_MAX: Duration = Duration::from_secs(10);

/// Shuts out nodes that the cluster has removed. One that the map does not name yet has a certificate of the cluster and just joined.
pub(super) fn admission(metadata: &Metadata) -> Admission {
    let metadata = metadata.clone();
    let applied = metadata.watch_system();
    // Asked at every call, so the map is read only when it may have changed.
    let known: Mutex<Option<(u64, BTreeSet<NodeId>)>> = Mutex::default();
    Arc::new(move |node: NodeId| {
        let index = *applied.borrow();
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_none_or(|(read_at, _removed)| *read_at != index) {
            let nodes = metadata.system_stale().nodes().map_err(|error| format!("this node cannot read the cluster map: {error}"))?;
            let removed = nodes.into_iter().filter(|node| node.state() == meta::NodeState::Removed);
            *known = Some((index, removed.map(|node| NodeId(node.id)).collect()));
        }
        match known.as_ref().is_some_and(|(_index, removed)| removed.contains(&node)) {
            true => Err(format!("node {node} was removed from the cluster")),
            false => Ok(()),
        }
    })
}

/// Keeps the address book as new as this node's replica of the cluster map.
pub(super) async fn follow_addresses(metadata: Metadata, book: Arc<AddressBook>, stop: CancellationToken) {
    let mut applied = metadata.watch_system();
    loop {
        applied.borrow_and_update();
        match metadata.system_stale().nodes() {
            Ok(nodes) => book.learn(nodes.into_iter().map(|node| (NodeId(node.id), node.rpc_address))),
            Err(error) => tracing::error!(%error, "the cluster map cannot be read"),
        }
        match stop.run_until_cancelled(applied.changed()).await {
            Some(Ok(())) => {}
            Some(Err(_)) | None => return,
        }
    }
}

/// The command that makes this process known.
pub(super) fn boot_command(config: &Config, identity: NodeIdentity, addresses: Addresses) -> meta::Command {
    let register = meta::RegisterBoot {
        node: identity.node.0,
        boot: identity.boot.0,
        api_address: config.api.advertise.clone().unwrap_or_else(|| addresses.api.to_string()),
        rpc_address: config.rpc.advertise.clone().unwrap_or_else(|| addresses.rpc.to_string()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        api_scheme: config.api_scheme().to_owned(),
    };
    let cluster = meta::ClusterCommand { what: Some(meta::cluster_command::What::RegisterBoot(register)) };
    meta::Command { what: Some(meta::command::What::Cluster(cluster)), ..meta::Command::default() }
}

/// Proposes it until it is done; it may be done twice.
pub(super) async fn register_boot(metadata: Metadata, command: meta::Command, readiness: Readiness, stop: CancellationToken) {
    let mut told = false;
    let work = async {
        loop {
            match metadata.propose(GroupId::SYSTEM, command.clone(), tokio::time::Instant::now() + DEADLINE).await {
                Ok(_done) => {
                    readiness.boot_registered();
                    return;
                }
                Err(ProposeError::Rejected(rejection)) => {
                    tracing::error!(detail = rejection.detail, "the cluster refuses this process");
                    tokio::time::sleep(DEADLINE).await;
                }
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::info!(%error, "the cluster could not be told of this process yet");
                    }
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        }
    };
    stop.run_until_cancelled(work).await;
}

/// Looks each second whether this node can read the system group as it is now.
pub(super) async fn watch_freshness(metadata: Metadata, readiness: Readiness, stop: CancellationToken) {
    let work = async {
        loop {
            let read = metadata.system(tokio::time::Instant::now() + DEADLINE).await;
            readiness.read(read.map(|_view| ()).map_err(|error| error.to_string()));
            let off = metadata.clock_offset_micros().map(|micros| Duration::from_millis(micros.unsigned_abs() / 1_000));
            readiness.clock_off(off.filter(|off| *off > CLOCK_OFF_MAX));
            tokio::time::sleep(FRESHNESS_INTERVAL).await;
        }
    };
    stop.run_until_cancelled(work).await;
}

/// Measures the process and drains histograms.
pub(super) async fn measure(metrics: Metrics, tls: Arc<NodeTls>, stop: CancellationToken) {
    let started = Instant::now();
    loop {
        let left = renewal::ends_at(&tls.certificate()).map_or(time::Duration::ZERO, |end| end - OffsetDateTime::now_utc());
        telemetry::record_process(started.elapsed(), left);
        metrics.upkeep();
        if stop.run_until_cancelled(tokio::time::sleep(UPKEEP_INTERVAL)).await.is_none() {
            return;
        }
    }
}
