//! Clusters to test with. No part of what runs; other crates' tests use it too.

use crate::cluster_view::{ClusterView, Device, DeviceState};
use crate::ids::{DeviceId, NodeId};

/// Builds a view in which device ids count up from 1 over the nodes.
#[derive(Clone, Debug)]
pub struct ClusterBuilder {
    nodes: u64,
    devices_per_node: u64,
    zones: u64,
    weight: u32,
}

impl ClusterBuilder {
    /// So many nodes with one device each, all in one zone.
    pub fn nodes(nodes: u64) -> Self {
        Self { nodes, devices_per_node: 1, zones: 1, weight: 100 }
    }

    /// So many devices for each node.
    #[must_use]
    pub fn devices_per_node(self, devices_per_node: u64) -> Self {
        Self { devices_per_node, ..self }
    }

    /// Nodes in turn in so many zones, `z1`, `z2` and so on.
    #[must_use]
    pub fn zones(self, zones: u64) -> Self {
        Self { zones: zones.max(1), ..self }
    }

    /// The weight of each device.
    #[must_use]
    pub fn weight(self, weight: u32) -> Self {
        Self { weight, ..self }
    }

    /// The view.
    pub fn view(&self) -> ClusterView {
        let places = (0..self.nodes).flat_map(|node| (0..self.devices_per_node).map(move |_| node));
        ClusterView::new((1..).zip(places).map(|(id, node)| Device {
            id: DeviceId(id),
            node: NodeId(node + 1),
            zone: format!("z{}", node % self.zones + 1),
            weight: self.weight,
            state: DeviceState::Up,
        }))
    }
}
