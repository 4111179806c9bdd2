//! Authorities and nodes for tests.

use rcgen::KeyPair;
use skep_placement::ids::{ClusterId, NodeId};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::authority::PublicKeyInfo;
use super::{Authority, NodeCredentials, PeerName};

pub(crate) const CLUSTER: ClusterId = ClusterId([3; 16]);

pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

pub(crate) fn authority() -> Authority {
    Authority::create(CLUSTER, now()).unwrap()
}

/// Credentials of a node as the authority issued them at a time.
pub(crate) fn credentials(authority: &Authority, cluster: ClusterId, node: u64, issued: OffsetDateTime) -> NodeCredentials {
    let key = KeyPair::generate().unwrap();
    let name = PeerName { cluster, node: NodeId(node) };
    let certificate = authority.issue(name, &PublicKeyInfo::of(&key).unwrap(), issued).unwrap();
    NodeCredentials { authority: authority.certificate().clone(), certificate, key: Zeroizing::new(key.serialize_der()) }
}

/// A good node of the test cluster.
pub(crate) fn node(authority: &Authority, node: u64) -> NodeCredentials {
    credentials(authority, CLUSTER, node, now())
}
