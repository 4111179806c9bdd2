//! What a device tells the node without being asked.

use skep_placement::ids::DeviceId;
use tokio::sync::mpsc;

use super::metrics;
use super::record::Location;
use super::shard::ShardKey;

/// Something on a device that someone should act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceEvent {
    /// A record is damaged: repair the shard from the others.
    Corrupt {
        /// Where.
        device: DeviceId,
        /// Which shard, where it is known.
        shard: Option<ShardKey>,
        /// Where on the device.
        location: Location,
    },
    /// The device takes no more writes.
    Failed {
        /// Which.
        device: DeviceId,
        /// What happened.
        reason: String,
    },
    /// The index was made anew from the segments.
    IndexRebuilt {
        /// Which device.
        device: DeviceId,
        /// Shards found.
        shards: u64,
    },
}

/// Sends events without ever waiting: one that nobody takes in time is counted and dropped.
#[derive(Clone, Debug)]
pub(super) struct Events {
    pub(super) device: DeviceId,
    pub(super) sender: Option<mpsc::Sender<DeviceEvent>>,
}

impl Events {
    pub(super) fn send(&self, event: DeviceEvent) {
        match &event {
            DeviceEvent::Corrupt { device, shard, location } => {
                let shard = shard.map(|key| key.to_string());
                tracing::warn!(%device, shard, segment = location.segment, offset = location.offset, "a stored record is damaged");
            }
            DeviceEvent::Failed { device, reason } => tracing::error!(%device, reason, "the device takes no more writes"),
            DeviceEvent::IndexRebuilt { device, shards } => tracing::info!(%device, shards, "the device's index was rebuilt"),
        }
        if let Some(sender) = &self.sender
            && sender.try_send(event).is_err()
        {
            metrics::counter(metrics::EVENTS_DROPPED, self.device).increment(1);
        }
    }
}
