//! A server that runs already, given by its URL.

use std::net::ToSocketAddrs;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Uri};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio_rustls::TlsConnector;

use crate::cli::{TargetKind, TargetOptions};
use crate::fault::Fault;
use crate::http_client::Address;
use crate::protocol::{Protocol, S3, Speaker};
use crate::side::Side;

/// The peer of the command line; `None` if there is none.
///
/// # Errors
/// If it is not named as it must be.
pub fn side(options: &TargetOptions) -> Result<Option<Side>, Fault> {
    let Some(first) = options.target.first() else { return Ok(None) };
    let password = match &options.target_password_file {
        None => String::new(),
        Some(path) => std::fs::read_to_string(path).map_err(|error| Fault::io("read", path.display(), error))?.trim_end().to_owned(),
    };
    let root = uri(first)?.path().trim_end_matches('/').to_owned();
    let speaker = match options.target_kind {
        TargetKind::Webdav => {
            let speaker = Speaker::new(Protocol::WebDav { root });
            if !options.target_login.is_empty() {
                speaker.authorize(&format!("Basic {}", STANDARD.encode(format!("{}:{password}", options.target_login))));
            }
            speaker
        }
        TargetKind::S3 => Speaker::new(Protocol::S3(S3 {
            bucket: options.target_bucket.clone(),
            region: options.target_region.clone(),
            access_key: options.target_login.clone(),
            secret_key: password,
        })),
    };
    let tls = options.target_ca.as_deref().map(connector).transpose()?;
    let addresses = options.target.iter().map(|url| address(url, &options.target_name, tls.as_ref()).map(Arc::new));
    let addresses = addresses.collect::<Result<Vec<_>, Fault>>()?;
    Ok(Some(Side { name: options.target_name.clone(), speaker: Arc::new(speaker), addresses, pids: options.target_pids.clone() }))
}

fn uri(url: &str) -> Result<Uri, Fault> {
    let uri: Uri = url.parse().map_err(|error| Fault::new(format!("--target {url}: {error}")))?;
    if uri.host().is_none() { Err(Fault::new(format!("--target {url}: say http://HOST:PORT/PATH"))) } else { Ok(uri) }
}

fn address(url: &str, name: &str, tls: Option<&TlsConnector>) -> Result<Address, Fault> {
    let uri = uri(url)?;
    let bad = |why: &str| Fault::new(format!("--target {url}: {why}"));
    let host = uri.host().unwrap_or_default().to_owned();
    let is_https = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
    let mut found = (host.as_str(), port).to_socket_addrs().map_err(|error| bad(&error.to_string()))?;
    let socket = found.next().ok_or_else(|| bad("it has no address"))?;
    let tls = match (is_https, tls) {
        (false, _) => None,
        (true, None) => return Err(bad("for https say --target-ca FILE, the authority that signed its certificate")),
        (true, Some(connector)) => {
            let name = ServerName::try_from(host).map_err(|error| bad(&error.to_string()))?;
            Some((connector.clone(), name))
        }
    };
    let host = uri.authority().map_or("", |authority| authority.as_str().rsplit('@').next().unwrap_or_default());
    let host = HeaderValue::from_str(host).map_err(|error| bad(&error.to_string()))?;
    Ok(Address { name: name.to_owned(), socket, host, tls })
}

fn connector(path: &std::path::Path) -> Result<TlsConnector, Fault> {
    let bad = |error: &dyn std::fmt::Display| Fault::io("use the certificate in", path.display(), error);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| bad(&error))? {
        roots.add(certificate.map_err(|error| bad(&error))?).map_err(|error| bad(&error))?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().map_err(|error| bad(&error))?;
    Ok(TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn addresses_are_read_and_https_needs_an_authority() {
        let plain = address("http://127.0.0.1:8080/dav/x", "p", None).unwrap();
        assert_eq!((plain.socket.port(), plain.host.to_str().unwrap()), (8080, "127.0.0.1:8080"));
        assert!(address("https://127.0.0.1/", "p", None).unwrap_err().to_string().contains("--target-ca"));
        assert!(address("/only/a/path", "p", None).is_err());
    }
}
