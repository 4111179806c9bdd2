//! The name a node's certificate bears: `skep://<cluster uuid>/node/<id>`, the only URI among its alternative names.

use std::fmt;
use std::str::FromStr;

use rustls_pki_types::CertificateDer;
use skep_placement::ids::{ClusterId, NodeId};
use x509_parser::extensions::GeneralName;

use super::TlsError;

/// A node of a cluster, as a certificate names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerName {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "skep://{}/node/{}", self.cluster, self.node)
    }
}

impl FromStr for PeerName {
    type Err = TlsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = || {
            let (cluster, node) = text.strip_prefix("skep://")?.split_once("/node/")?;
            Some(Self { cluster: cluster.parse().ok()?, node: node.parse().ok()? })
        };
        // One spelling only: what is compared elsewhere must not have two.
        parsed().filter(|name| name.to_string() == text).ok_or_else(|| TlsError::WrongName(format!("it says `{text}`")))
    }
}

impl PeerName {
    /// Reads the name from a certificate that was verified before.
    ///
    /// # Errors
    /// [`TlsError::WrongName`] unless it bears exactly one URI and that is a node's name.
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Result<Self, TlsError> {
        let malformed = |error: x509_parser::nom::Err<x509_parser::error::X509Error>| TlsError::Malformed(error.to_string());
        let (_rest, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(malformed)?;
        let names = parsed.subject_alternative_name().map_err(|error| TlsError::Malformed(error.to_string()))?;
        let mut uris = names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
        match (uris.next(), uris.next()) {
            (Some(uri), None) => uri.parse(),
            (None, _) => Err(TlsError::WrongName("it has no URI".to_owned())),
            (Some(_), Some(_)) => Err(TlsError::WrongName("it has more than one URI".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_spelling() {
        let text = "skep://01010101-0101-0101-0101-010101010101/node/7";
        let name: PeerName = text.parse().unwrap();
        assert_eq!(name, PeerName { cluster: ClusterId([1; 16]), node: NodeId(7) });
        assert_eq!(name.to_string(), text);
        for wrong in [
            "",
            "skep://01010101-0101-0101-0101-010101010101/node/07",
            "skep://01010101-0101-0101-0101-010101010101/node/+7",
            "skep://01010101010101010101010101010101/node/7",
            "skep://01010101-0101-0101-0101-010101010101/node/7/",
            "https://01010101-0101-0101-0101-010101010101/node/7",
        ] {
            assert!(wrong.parse::<PeerName>().is_err(), "{wrong:?} was taken");
        }
    }
}
