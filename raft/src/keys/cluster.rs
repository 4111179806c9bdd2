//! `cluster`: the cluster itself and the counters of its ids.

use super::state_key;
use crate::wire::meta::v1::ClusterRecord;

state_key!(
    /// The one cluster.
    ClusterKey {} in Meta, Cluster holds ClusterRecord
);
