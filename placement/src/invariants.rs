//! What must hold for data to be safe, written once: for debug assertions, property tests and chaos tests.

use std::collections::BTreeSet;

use crate::choose::Placed;
use crate::cluster_view::ClusterView;
use crate::ids::DeviceId;
use crate::profile::FailureDomain;

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Two devices of one domain.
    #[error("devices {devices:?} share a failure domain ({domain})")]
    SharedDomain {
        /// The devices.
        devices: Vec<DeviceId>,
        /// What counts as a domain.
        domain: FailureDomain,
    },
    /// A device that the view does not know.
    #[error("device {0} is not in the view")]
    UnknownDevice(DeviceId),
    /// Not one device for each shard.
    #[error("{found} devices for {expected} shards")]
    WrongLength {
        /// Devices named.
        found: usize,
        /// Shards of the code.
        expected: usize,
    },
    /// A missing shard that the code has not, or that is named twice or out of order.
    #[error("the missing shards {0:?} are no ascending list of the code's shards")]
    BadMissing(Vec<u8>),
    /// Acknowledged too early.
    #[error("{durable} shards are durable, {needed} are needed")]
    BelowQuorum {
        /// Durable shards.
        durable: usize,
        /// Shards needed (w).
        needed: usize,
    },
}

/// The devices lie in different failure domains.
///
/// # Errors
/// [`Violation`] if two share one or the view does not know one.
pub fn check_domains(view: &ClusterView, domain: FailureDomain, devices: &[DeviceId]) -> Result<(), Violation> {
    let mut seen = BTreeSet::new();
    for device in devices {
        let own = view.domain_of(*device, domain).ok_or(Violation::UnknownDevice(*device))?;
        if !seen.insert(own) {
            let shares = |other: &&DeviceId| view.domain_of(**other, domain) == Some(own);
            return Err(Violation::SharedDomain { devices: devices.iter().filter(shares).copied().collect(), domain });
        }
    }
    Ok(())
}

/// What is named by a commit may be acknowledged: one device a shard, different domains, w shards durable, the others named.
///
/// # Errors
/// [`Violation`] for the first rule that is broken.
pub fn check_placed(view: &ClusterView, domain: FailureDomain, placed: &Placed) -> Result<(), Violation> {
    let expected = usize::from(placed.code.total());
    if placed.devices.len() != expected {
        return Err(Violation::WrongLength { found: placed.devices.len(), expected });
    }
    check_domains(view, domain, &placed.devices)?;
    let ascending = placed.missing.is_sorted_by(|a, b| a < b);
    if !ascending || placed.missing.iter().any(|index| *index >= placed.code.total()) {
        return Err(Violation::BadMissing(placed.missing.clone()));
    }
    let (durable, needed) = (expected - placed.missing.len(), usize::from(placed.code.write_quorum()));
    if durable < needed { Err(Violation::BelowQuorum { durable, needed }) } else { Ok(()) }
}
