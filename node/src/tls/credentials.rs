//! A node's key and certificate with the authority's certificate, as files in the data folder's `tls` (the key is readable by the owner only).

use std::fmt;
use std::path::{Path, PathBuf};

use rcgen::KeyPair;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use super::{PeerName, TlsError};
use crate::durable_file::{self, MODE_PLAIN, MODE_SECRET};

const FOLDER: &str = "tls";
const AUTHORITY_FILE: &str = "authority.der";
const CERTIFICATE_FILE: &str = "node.der";
const KEY_FILE: &str = "node.key.der";
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// What a node proves itself by, and what it checks others by.
#[derive(Clone)]
pub struct NodeCredentials {
    /// The cluster's authority.
    pub authority: CertificateDer<'static>,
    /// This node's certificate.
    pub certificate: CertificateDer<'static>,
    /// Its key, PKCS#8.
    pub key: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for NodeCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeCredentials(secret)")
    }
}

impl NodeCredentials {
    /// Who this node is by its certificate.
    ///
    /// # Errors
    /// [`TlsError::WrongName`] if the certificate names no node.
    pub fn name(&self) -> Result<PeerName, TlsError> {
        PeerName::of_certificate(&self.certificate)
    }

    /// The node's key pair.
    ///
    /// # Errors
    /// [`TlsError::Make`] if it cannot be read.
    pub fn key_pair(&self) -> Result<KeyPair, TlsError> {
        parse_key(&self.key)
    }

    /// Reads them from a node's data folder.
    ///
    /// # Errors
    /// [`TlsError::Missing`] names the file that is not there.
    pub fn load(data_folder: &Path) -> Result<Self, TlsError> {
        let folder = data_folder.join(FOLDER);
        let read = |name: &str| {
            let path = folder.join(name);
            durable_file::read(&path, FILE_BYTES_MAX)?.ok_or(TlsError::Missing { path })
        };
        Ok(Self {
            authority: CertificateDer::from(read(AUTHORITY_FILE)?),
            certificate: CertificateDer::from(read(CERTIFICATE_FILE)?),
            key: Zeroizing::new(read(KEY_FILE)?),
        })
    }

    /// Writes them into a node's data folder, durably; the certificate last.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn store(&self, data_folder: &Path) -> Result<(), TlsError> {
        store_key(data_folder, &self.key)?;
        let folder = data_folder.join(FOLDER);
        durable_file::write(&folder.join(AUTHORITY_FILE), &self.authority, MODE_PLAIN)?;
        durable_file::write(&folder.join(CERTIFICATE_FILE), &self.certificate, MODE_PLAIN)?;
        Ok(())
    }
}

/// The node's key: the one in the data folder, or a new one, durable before it is used.
///
/// # Errors
/// [`TlsError`] if it cannot be read, made or written.
pub fn load_or_create_key(data_folder: &Path) -> Result<KeyPair, TlsError> {
    let path: PathBuf = data_folder.join(FOLDER).join(KEY_FILE);
    if let Some(key) = durable_file::read(&path, FILE_BYTES_MAX)?.map(Zeroizing::new) {
        return parse_key(&key);
    }
    let key = KeyPair::generate()?;
    store_key(data_folder, &Zeroizing::new(key.serialize_der()))?;
    Ok(key)
}

fn store_key(data_folder: &Path, key: &[u8]) -> Result<(), TlsError> {
    let folder = data_folder.join(FOLDER);
    durable_file::create_folder(&folder)?;
    durable_file::write(&folder.join(KEY_FILE), key, MODE_SECRET)?;
    Ok(())
}

fn parse_key(der: &[u8]) -> Result<KeyPair, TlsError> {
    Ok(KeyPair::try_from(&PrivatePkcs8KeyDer::from(der.to_vec()))?)
}
