//! TLS of the API port: the operator's certificate chain and key, PEM files named in the configuration.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{TlsError, provider};

/// Reads chain and key and makes the settings of the API's listener (TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1).
///
/// # Errors
/// [`TlsError`] naming the file that cannot be used.
pub fn server_config(certificate_file: &Path, key_file: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let at = |path: &Path, why: &dyn std::fmt::Display| TlsError::Malformed(format!("{}: {why}", path.display()));
    let chain = CertificateDer::pem_file_iter(certificate_file).map_err(|error| at(certificate_file, &error))?;
    let chain: Vec<_> = chain.collect::<Result<_, _>>().map_err(|error| at(certificate_file, &error))?;
    if chain.is_empty() {
        return Err(at(certificate_file, &"it holds no certificate"));
    }
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(|error| at(key_file, &error))?;
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key).map_err(|error| at(certificate_file, &error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
