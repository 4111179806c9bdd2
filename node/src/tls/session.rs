//! The TLS settings of a node's connections to other nodes, with a certificate that can be renewed while the node runs.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use skep_placement::ids::ClusterId;

use super::verify::{Expected, NodeVerifier, roots};
use super::{NodeCredentials, PeerName, TlsError, provider};

/// What is spoken on a connection between nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// gRPC over HTTP/2: control.
    Control,
    /// Length-prefixed frames: bytes of shards.
    Shard,
}

impl Alpn {
    /// The protocol's name on the wire.
    pub const fn protocol(self) -> &'static [u8] {
        match self {
            Alpn::Control => b"h2",
            Alpn::Shard => b"skep-shard/1",
        }
    }

    /// The protocol a handshake agreed on.
    pub fn agreed(protocol: Option<&[u8]>) -> Option<Self> {
        [Alpn::Control, Alpn::Shard].into_iter().find(|alpn| protocol == Some(alpn.protocol()))
    }
}

/// A node's side of every connection to other nodes.
pub struct NodeTls {
    name: PeerName,
    authority: CertificateDer<'static>,
    current: Arc<Current>,
}

impl fmt::Debug for NodeTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeTls({})", self.name)
    }
}

impl NodeTls {
    /// Takes the node's credentials.
    ///
    /// # Errors
    /// [`TlsError`] if key and certificate do not fit or name no node.
    pub fn new(credentials: &NodeCredentials) -> Result<Self, TlsError> {
        let current = Arc::new(Current(RwLock::new(certified(credentials)?)));
        Ok(Self { name: credentials.name()?, authority: credentials.authority.clone(), current })
    }

    /// Who this node is.
    pub fn name(&self) -> PeerName {
        self.name
    }

    /// The certificate that is shown now.
    ///
    /// # Panics
    /// Never: a certified key has a certificate.
    pub fn certificate(&self) -> CertificateDer<'static> {
        let certified = self.current.get();
        certified.cert.first().cloned().expect("a certified key has its certificate first")
    }

    /// Shows a renewed certificate from the next connection on; it must name the same node.
    ///
    /// # Errors
    /// [`TlsError::WrongName`] if it names another.
    pub fn replace(&self, credentials: &NodeCredentials) -> Result<(), TlsError> {
        let name = credentials.name()?;
        if name != self.name {
            return Err(TlsError::WrongName(format!("the renewed one is of {name}, this node is {}", self.name)));
        }
        let renewed = certified(credentials)?;
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = renewed;
        Ok(())
    }

    /// For the listener. A client without a certificate gets through the handshake; what it may do then is decided by the RPC server.
    ///
    /// # Errors
    /// [`TlsError`] if the authority's certificate cannot be read.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(&self.authority)?), provider());
        let verifier = verifier.allow_unauthenticated().build()?;
        let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13])?;
        let mut config = builder.with_client_cert_verifier(verifier).with_cert_resolver(self.current.clone());
        config.alpn_protocols = vec![Alpn::Control.protocol().to_vec(), Alpn::Shard.protocol().to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    /// For a connection to a node.
    ///
    /// # Errors
    /// [`TlsError`] if the authority's certificate cannot be read.
    pub fn client_config(&self, expected: Expected, alpn: Alpn) -> Result<Arc<ClientConfig>, TlsError> {
        let verifier = NodeVerifier::by_authority(&self.authority, self.name.cluster, expected)?;
        let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13])?;
        let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        Ok(client(builder.with_client_cert_resolver(self.current.clone()), alpn))
    }
}

/// For a node that has only a join token: pins the authority, shows no certificate.
///
/// # Errors
/// [`TlsError::Setup`] if the provider lacks TLS 1.3, which it does not.
pub fn joining_client_config(authority_sha256: [u8; 32], cluster: ClusterId) -> Result<Arc<ClientConfig>, TlsError> {
    let verifier = NodeVerifier::by_pin(authority_sha256, cluster);
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13])?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    Ok(client(builder.with_no_client_auth(), Alpn::Control))
}

/// The name put into the handshake; nodes are told apart by their certificates, not by it.
///
/// # Panics
/// Never: the name is a constant.
pub fn handshake_name() -> ServerName<'static> {
    ServerName::try_from("node.skep.internal").expect("a constant DNS name")
}

fn client(mut config: ClientConfig, alpn: Alpn) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![alpn.protocol().to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Arc::new(config)
}

/// The authority's certificate goes along, so that a joiner can find what it pins.
fn certified(credentials: &NodeCredentials) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = vec![credentials.certificate.clone(), credentials.authority.clone()];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(credentials.key.to_vec()));
    Ok(Arc::new(CertifiedKey::from_der(chain, key, &provider())?))
}

/// The certificate in use, for both sides of a connection.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl Current {
    fn get(&self) -> Arc<CertifiedKey> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.get())
    }
}

impl ResolvesClientCert for Current {
    fn resolve(&self, _root_hint_subjects: &[&[u8]], _sigschemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.get())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
