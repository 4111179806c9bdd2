//! What this node believes of devices at this moment: who failed, who is full or slow, and how full each is.
//!
//! Beliefs come from failed requests at once and from a ping a second; they are this node's own and never replicated. Invariant: a belief
//! only makes a writer pass a device over and a reader ask it last; nothing is declared lost by it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use skep_placement::choose::Failure;
use skep_placement::ids::{DeviceId, NodeId};
use tokio_util::sync::CancellationToken;

use crate::chunk_rpc::wire::{DeviceCondition, DeviceUsage};
use crate::chunk_rpc::{ShardTransport, TransportError};
use crate::cluster_map::ClusterMaps;

/// Between two pings of a node.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// How long nodes are asked before a writer is refused.
const ASK_LIMIT: Duration = Duration::from_secs(1);
/// How long a device that was slow once is passed over.
const SLOW_PENALTY: Duration = Duration::from_secs(10);
/// Put latencies that the time limit is made from.
const LATENCIES: usize = 256;
/// Least time a device is given for one shard.
const SLOW_AFTER_MIN: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct Beliefs {
    failed: BTreeMap<DeviceId, Failure>,
    slow_until: BTreeMap<DeviceId, Instant>,
    usage: BTreeMap<DeviceId, DeviceUsage>,
    alive: BTreeMap<NodeId, bool>,
    latencies: Vec<Duration>,
    next_latency: usize,
}

/// The beliefs of this node.
#[derive(Clone, Debug, Default)]
pub struct DeviceHealth {
    beliefs: Arc<Mutex<Beliefs>>,
}

impl DeviceHealth {
    fn beliefs(&self) -> MutexGuard<'_, Beliefs> {
        self.beliefs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Devices that a writer passes over, and why.
    pub fn failures(&self) -> BTreeMap<DeviceId, Failure> {
        let beliefs = self.beliefs();
        let now = Instant::now();
        let slow = beliefs.slow_until.iter().filter(|(_, until)| **until > now).map(|(device, _)| (*device, Failure::Slow));
        let mut failures: BTreeMap<DeviceId, Failure> = slow.collect();
        failures.extend(beliefs.failed.iter().map(|(device, failure)| (*device, *failure)));
        failures
    }

    /// Whether a device is believed to answer reads.
    pub fn answers(&self, device: DeviceId) -> bool {
        self.beliefs().failed.get(&device) != Some(&Failure::Down)
    }

    /// Takes a failed request into account; what it means to a writer, if it is the device's failure.
    pub fn note(&self, device: DeviceId, error: &TransportError) -> Option<Failure> {
        let failure = match error {
            TransportError::Unreachable { .. } | TransportError::Failed { .. } | TransportError::UnknownDevice(_) => Failure::Down,
            TransportError::Full(_) => Failure::Full,
            TransportError::Refused { .. } => return Some(Failure::Down),
            TransportError::NotFound(_) | TransportError::Corrupt { .. } | TransportError::StaleEpoch { .. } => return None,
        };
        self.beliefs().failed.insert(device, failure);
        Some(failure)
    }

    /// A device took longer than [`Self::slow_after`].
    pub fn note_slow(&self, device: DeviceId) {
        self.beliefs().slow_until.insert(device, Instant::now() + SLOW_PENALTY);
    }

    /// A shard was stored in this time.
    pub fn note_latency(&self, took: Duration) {
        let mut beliefs = self.beliefs();
        let place = beliefs.next_latency;
        match beliefs.latencies.get_mut(place) {
            Some(latency) => *latency = took,
            None => beliefs.latencies.push(took),
        }
        beliefs.next_latency = (place + 1) % LATENCIES;
    }

    /// After which a device is slow: max(1 s, 4 × p99 of the last stored shards).
    pub fn slow_after(&self) -> Duration {
        let mut latencies = self.beliefs().latencies.clone();
        latencies.sort_unstable();
        let p99 = latencies.get(latencies.len() * 99 / 100).copied().unwrap_or_default();
        SLOW_AFTER_MIN.max(4 * p99)
    }

    /// The newest word of each device on how full it is.
    pub fn usage(&self) -> BTreeMap<DeviceId, DeviceUsage> {
        self.beliefs().usage.clone()
    }

    /// Which nodes answered their last ping.
    pub fn alive(&self) -> BTreeMap<NodeId, bool> {
        self.beliefs().alive.clone()
    }

    fn take(&self, node: NodeId, devices: &[DeviceId], report: Result<Vec<DeviceUsage>, TransportError>) {
        let mut beliefs = self.beliefs();
        beliefs.alive.insert(node, report.is_ok());
        let Ok(report) = report else {
            beliefs.failed.extend(devices.iter().map(|device| (*device, Failure::Down)));
            return;
        };
        for device in devices {
            let usage = report.iter().find(|usage| usage.device == device.0);
            match usage.map(DeviceUsage::condition) {
                Some(DeviceCondition::Working) => beliefs.failed.remove(device),
                Some(DeviceCondition::Full) => beliefs.failed.insert(*device, Failure::Full),
                Some(DeviceCondition::Failed | DeviceCondition::Unspecified) | None => beliefs.failed.insert(*device, Failure::Down),
            };
        }
        beliefs.usage.extend(report.into_iter().map(|usage| (DeviceId(usage.device), usage)));
    }

    /// Asks every node for its devices, once.
    pub async fn ping_all(&self, maps: &ClusterMaps, transport: &dyn ShardTransport) {
        let map = maps.current();
        let asked = map.nodes.keys().map(|node| {
            let devices: Vec<DeviceId> = map.view.devices().filter(|device| device.node == *node).map(|device| device.id).collect();
            async move {
                let report = transport.ping(*node).await;
                self.take(*node, &devices, report.map(|report| report.devices));
            }
        });
        join_all(asked).await;
    }

    /// Asks every node before a writer is refused, and gives who was slow another chance: what is believed may be a second old, and a slow device is better than
    /// none. Whether a device is believed in now that was not.
    pub async fn ask_again(&self, maps: &ClusterMaps, transport: &dyn ShardTransport) -> bool {
        let before = self.failures();
        self.beliefs().slow_until.clear();
        // Who does not answer in time is believed in as before.
        let _late = tokio::time::timeout(ASK_LIMIT, self.ping_all(maps, transport)).await;
        let after = self.failures();
        before.keys().any(|device| !after.contains_key(device))
    }

    /// Pings every node each second until it is told to stop.
    pub async fn follow(self, maps: ClusterMaps, transport: Arc<dyn ShardTransport>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(PING_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _tick = ticks.tick() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.ping_all(&maps, &*transport) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_request_is_believed_until_a_ping_says_otherwise() {
        let health = DeviceHealth::default();
        let device = DeviceId(3);
        let gone = TransportError::Unreachable { node: NodeId(1), why: "refused".into() };
        assert_eq!(health.note(device, &gone), Some(Failure::Down));
        assert_eq!(health.failures().get(&device), Some(&Failure::Down));
        assert!(!health.answers(device));
        let usage = |condition: DeviceCondition| DeviceUsage { device: 3, condition: condition.into(), ..DeviceUsage::default() };
        health.take(NodeId(1), &[device], Ok(vec![usage(DeviceCondition::Full)]));
        assert_eq!(health.failures().get(&device), Some(&Failure::Full));
        assert!(health.answers(device));
        health.take(NodeId(1), &[device], Ok(vec![usage(DeviceCondition::Working)]));
        assert!(health.failures().is_empty());
        health.take(NodeId(1), &[device], Err(gone));
        assert_eq!((health.failures().len(), health.alive().get(&NodeId(1))), (1, Some(&false)));
    }

    #[test]
    fn the_limit_for_slow_follows_the_tail() {
        let health = DeviceHealth::default();
        assert_eq!(health.slow_after(), Duration::from_secs(1));
        (0..LATENCIES * 2).for_each(|_| health.note_latency(Duration::from_millis(700)));
        assert_eq!(health.slow_after(), Duration::from_millis(2_800));
        health.note_slow(DeviceId(1));
        assert_eq!(health.failures().get(&DeviceId(1)), Some(&Failure::Slow));
    }
}
