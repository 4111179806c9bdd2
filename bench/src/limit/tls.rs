//! One self-signed certificate for all limit nodes: each shows it and takes nobody without it.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::ring::default_provider;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio_rustls::{TlsAcceptor, TlsConnector};

const NAME: &str = "limit";

fn wrong(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}

/// Writes a certificate and its key into a folder.
pub(super) fn make(folder: &Path) -> io::Result<()> {
    let key = KeyPair::generate().map_err(wrong)?;
    let certificate = CertificateParams::new(vec![NAME.to_owned()]).and_then(|params| params.self_signed(&key)).map_err(wrong)?;
    fs::write(folder.join("certificate.der"), certificate.der())?;
    fs::write(folder.join("key.der"), key.serialize_der())
}

/// Both sides of a connection.
pub(super) fn load(folder: &Path) -> io::Result<(TlsAcceptor, TlsConnector)> {
    let certificate = CertificateDer::from(fs::read(folder.join("certificate.der"))?);
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(fs::read(folder.join("key.der"))?));
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).map_err(wrong)?;
    let (roots, provider) = (Arc::new(roots), Arc::new(default_provider()));
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider)).build().map_err(wrong)?;
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().map_err(wrong)?;
    let server = server.with_client_cert_verifier(verifier).with_single_cert(vec![certificate.clone()], key.clone_key()).map_err(wrong)?;
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(wrong)?;
    let client = client.with_root_certificates(roots).with_client_auth_cert(vec![certificate], key).map_err(wrong)?;
    Ok((TlsAcceptor::from(Arc::new(server)), TlsConnector::from(Arc::new(client))))
}

/// Whom a connection must lead to.
pub(super) fn server_name() -> ServerName<'static> {
    ServerName::try_from(NAME).expect("a valid name")
}
