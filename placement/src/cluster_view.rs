//! The devices of a cluster as the system group records them: where they are, what they weigh, how they are.
//!
//! Invariant: devices are always walked in the order of their ids, so that every node decides alike from the same view.

use std::collections::BTreeMap;
use std::fmt;

use crate::ids::{DeviceId, NodeId};
use crate::profile::{FailureDomain, Profile};

/// One data directory of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its id, never used again.
    pub id: DeviceId,
    /// The node it belongs to.
    pub node: NodeId,
    /// The zone of that node.
    pub zone: String,
    /// Its share of the bytes relative to other devices, usually its size in GiB. With 0 it gets nothing.
    pub weight: u32,
    /// How it is.
    pub state: DeviceState,
}

/// How a device is, as far as the cluster has agreed on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceState {
    /// Reads and writes.
    #[default]
    Up,
    /// Silent, within its grace time: keeps its places, is neither read nor written.
    Down,
    /// Reads and deletes; keeps its places, takes no new shard.
    Full,
    /// Being emptied, or silent for longer than the grace: has no place in new sets; while it answers it is read, and written only
    /// where a set still names it or nothing else is left.
    Draining,
    /// Declared lost: its id is closed for ever and nobody waits for it.
    Lost,
}

impl DeviceState {
    /// Whether a set computed now may name it.
    pub const fn keeps_places(self) -> bool {
        match self {
            DeviceState::Up | DeviceState::Down | DeviceState::Full => true,
            DeviceState::Draining | DeviceState::Lost => false,
        }
    }

    /// Whether it answers reads.
    pub const fn is_readable(self) -> bool {
        match self {
            DeviceState::Up | DeviceState::Full | DeviceState::Draining => true,
            DeviceState::Down | DeviceState::Lost => false,
        }
    }

    /// Whether it takes new shards.
    pub const fn is_writable(self) -> bool {
        match self {
            DeviceState::Up | DeviceState::Draining => true,
            DeviceState::Down | DeviceState::Full | DeviceState::Lost => false,
        }
    }
}

impl fmt::Display for DeviceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DeviceState::Up => "up",
            DeviceState::Down => "down",
            DeviceState::Full => "full",
            DeviceState::Draining => "draining",
            DeviceState::Lost => "lost",
        })
    }
}

/// The failure domain a device lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Domain<'a> {
    /// A device by itself.
    Device(DeviceId),
    /// A node.
    Node(NodeId),
    /// A zone, by its name.
    Zone(&'a str),
}

impl fmt::Display for Domain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Domain::Device(id) => write!(f, "device {id}"),
            Domain::Node(id) => write!(f, "node {id}"),
            Domain::Zone(name) => write!(f, "zone {name}"),
        }
    }
}

impl Device {
    /// The domain it lies in.
    pub fn domain(&self, domain: FailureDomain) -> Domain<'_> {
        match domain {
            FailureDomain::Device => Domain::Device(self.id),
            FailureDomain::Node => Domain::Node(self.node),
            FailureDomain::Zone => Domain::Zone(&self.zone),
        }
    }
}

/// All devices of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterView {
    devices: BTreeMap<DeviceId, Device>,
}

impl ClusterView {
    /// A view of these devices; of two with one id the later counts.
    pub fn new(devices: impl IntoIterator<Item = Device>) -> Self {
        Self { devices: devices.into_iter().map(|device| (device.id, device)).collect() }
    }

    /// Adds a device, or replaces the one with its id.
    pub fn insert(&mut self, device: Device) {
        self.devices.insert(device.id, device);
    }

    /// All devices in the order of their ids.
    pub fn devices(&self) -> impl Iterator<Item = &Device> {
        self.devices.values()
    }

    /// The device with an id.
    pub fn device(&self, id: DeviceId) -> Option<&Device> {
        self.devices.get(&id)
    }

    /// Changes the state of a device; `false` if there is none with this id.
    pub fn set_state(&mut self, id: DeviceId, state: DeviceState) -> bool {
        match self.devices.get_mut(&id) {
            Some(device) => {
                device.state = state;
                true
            }
            None => false,
        }
    }

    /// How a device is; one that the view does not know is lost.
    pub fn state(&self, id: DeviceId) -> DeviceState {
        self.device(id).map_or(DeviceState::Lost, |device| device.state)
    }

    /// The failure domain of a device, if the view knows the device.
    pub fn domain_of(&self, id: DeviceId, domain: FailureDomain) -> Option<Domain<'_>> {
        self.device(id).map(|device| device.domain(domain))
    }

    /// The profile that `auto` stands for here: counted are nodes and devices that may be named by a set.
    pub fn auto_profile(&self) -> Profile {
        let placed = || self.devices().filter(|device| device.state.keeps_places() && device.weight > 0);
        let nodes: std::collections::BTreeSet<NodeId> = placed().map(|device| device.node).collect();
        Profile::auto(nodes.len(), placed().count())
    }
}
