//! How a server's certificate is checked: by the cluster's authority and the node expected, or, before a node knows the authority, by the
//! fingerprint that its join token pins.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerIncompatible, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use skep_placement::ids::{ClusterId, NodeId};

use super::authority::fingerprint;
use super::{PeerName, TlsError, provider};

/// Which node is expected at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// This one and no other.
    Node(NodeId),
    /// Any node of the cluster.
    AnyNode,
}

/// What the chain must end in.
#[derive(Debug)]
enum Anchor {
    Authority(RootCertStore),
    Pinned([u8; 32]),
}

/// Accepts the certificate of the expected node of the cluster, and nothing else; the name that was dialled plays no part.
#[derive(Debug)]
pub struct NodeVerifier {
    anchor: Anchor,
    cluster: ClusterId,
    expected: Expected,
    provider: Arc<CryptoProvider>,
}

impl NodeVerifier {
    /// Checks by the cluster's authority.
    ///
    /// # Errors
    /// [`TlsError::Setup`] if its certificate cannot be read.
    pub fn by_authority(authority: &CertificateDer<'static>, cluster: ClusterId, expected: Expected) -> Result<Self, TlsError> {
        Ok(Self { anchor: Anchor::Authority(roots(authority)?), cluster, expected, provider: provider() })
    }

    /// Checks by the SHA-256 of the authority's certificate, which the server must send along.
    pub fn by_pin(authority_sha256: [u8; 32], cluster: ClusterId) -> Self {
        Self { anchor: Anchor::Pinned(authority_sha256), cluster, expected: Expected::AnyNode, provider: provider() }
    }

    fn check_chain(&self, leaf: &CertificateDer<'_>, sent: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Error> {
        let parsed = ParsedCertificate::try_from(leaf)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        match &self.anchor {
            Anchor::Authority(roots) => verify_server_cert_signed_by_trust_anchor(&parsed, roots, &[], now, algorithms),
            Anchor::Pinned(pin) => {
                let pinned = sent.iter().find(|certificate| fingerprint(certificate) == *pin);
                let pinned = pinned.ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
                let mut roots = RootCertStore::empty();
                roots.add(pinned.clone().into_owned())?;
                verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], now, algorithms)
            }
        }
    }
}

impl ServerCertVerifier for NodeVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check_chain(end_entity, intermediates, now)?;
        let wrong_name = || Error::InvalidCertificate(CertificateError::NotValidForName);
        let name = PeerName::of_certificate(end_entity).map_err(|_no_node| wrong_name())?;
        let node_fits = match self.expected {
            Expected::Node(node) => name.node == node,
            Expected::AnyNode => true,
        };
        if name.cluster == self.cluster && node_fits { Ok(ServerCertVerified::assertion()) } else { Err(wrong_name()) }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// A store with the cluster's authority alone.
pub(super) fn roots(authority: &CertificateDer<'static>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone())?;
    Ok(roots)
}
