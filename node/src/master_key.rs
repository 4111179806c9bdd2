//! The cluster's master key: it seals what must not lie open in the metadata (the CA's key, the datasources' keys).
//!
//! The key is a file of mode 0600 outside the data folders, the same on every node. What it seals is AES-256-GCM with a random nonce, bound
//! to the cluster and to what the secret is for, so that one sealed secret cannot be put in the place of another.

use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use skep_placement::ids::ClusterId;
use zeroize::Zeroizing;

use crate::durable_file::{self, FileError, MODE_SECRET};

const KEY_BYTES: usize = 32;
const SEAL_VERSION: u8 = 1;
const HEADING: &str = "skep-master-key 1";
const FILE_BYTES_MAX: u64 = 4096;

/// What a sealed secret is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealPurpose {
    /// The private key of the cluster's certificate authority.
    AuthorityKey,
    /// A datasource's key for chunk ids and, where it is encrypted, for its chunks.
    DatasourceKey,
}

impl SealPurpose {
    /// Frozen: part of what was sealed.
    fn label(self) -> &'static str {
        match self {
            SealPurpose::AuthorityKey => "authority-key",
            SealPurpose::DatasourceKey => "datasource-key",
        }
    }
}

/// The key of one cluster. Never printed; wiped when dropped.
#[derive(Clone)]
pub struct MasterKey {
    cluster: ClusterId,
    bytes: Zeroizing<[u8; KEY_BYTES]>,
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({}, secret)", self.cluster)
    }
}

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// No file.
    #[error(
        "the master key file {} is missing: put back the file, or write it from the recovery sheet with `skep key import --config FILE`",
        path.display()
    )]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// Others may read it.
    #[error("the master key file {} can be read by others (mode {mode:03o}): `chmod 600` it, and think about who has read it", path.display())]
    Open {
        /// Where it is.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Not a key file.
    #[error("{what} is not a master key: {why}")]
    Malformed {
        /// The file, or the text.
        what: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A key is there already.
    #[error("{} holds a master key already: it is never overwritten; move it away if it is of a cluster that is gone", path.display())]
    Exists {
        /// Where it is.
        path: PathBuf,
    },
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The system gave no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(#[from] getrandom::Error),
}

/// A sealed secret that does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenSealError {
    /// Sealed by a newer version.
    #[error("a sealed secret has format {0}; this version of skep knows format {SEAL_VERSION}")]
    Version(u8),
    /// Another key, another purpose, or damage.
    #[error("a sealed secret does not open with this node's master key: the key is of another cluster, or the secret is damaged")]
    Refused,
}

impl MasterKey {
    /// Draws the key of a new cluster.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn generate(cluster: ClusterId) -> Result<Self, MasterKeyError> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        getrandom::fill(bytes.as_mut_slice())?;
        Ok(Self { cluster, bytes })
    }

    /// Takes a key that came over the pinned connection.
    ///
    /// # Errors
    /// [`MasterKeyError::Malformed`] if it has another length.
    pub fn from_bytes(cluster: ClusterId, bytes: &[u8]) -> Result<Self, MasterKeyError> {
        let malformed = |_length| MasterKeyError::Malformed { what: "what the cluster sent".to_owned(), why: "it has not 32 bytes" };
        let bytes: [u8; KEY_BYTES] = bytes.try_into().map_err(malformed)?;
        Ok(Self { cluster, bytes: Zeroizing::new(bytes) })
    }

    /// The cluster it belongs to.
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// The key itself, to hand to a joining node.
    pub fn expose(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    /// Reads the key file.
    ///
    /// # Errors
    /// [`MasterKeyError`]: missing, readable by others, or not a key file.
    pub fn load(path: &Path) -> Result<Self, MasterKeyError> {
        let text = durable_file::read(path, FILE_BYTES_MAX)?.map(Zeroizing::new);
        let text = text.ok_or_else(|| MasterKeyError::Missing { path: path.to_owned() })?;
        let metadata = fs::metadata(path).map_err(FileError::at("read", path))?;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(MasterKeyError::Open { path: path.to_owned(), mode });
        }
        Self::parse(&text, &path.display().to_string())
    }

    /// Writes the key file, mode 0600. The same key again is no fault.
    ///
    /// # Errors
    /// [`MasterKeyError::Exists`] if another key is there.
    pub fn store(&self, path: &Path) -> Result<(), MasterKeyError> {
        match Self::load(path) {
            Ok(there) if there.cluster == self.cluster && there.bytes == self.bytes => return Ok(()),
            Ok(_) | Err(MasterKeyError::Malformed { .. } | MasterKeyError::Open { .. }) => {
                return Err(MasterKeyError::Exists { path: path.to_owned() });
            }
            Err(MasterKeyError::Missing { .. }) => {}
            Err(error) => return Err(error),
        }
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            durable_file::create_folder(folder)?;
        }
        durable_file::write(path, self.sheet().as_bytes(), MODE_SECRET)?;
        Ok(())
    }

    /// The lines of the key file, which are also the lines of the recovery sheet.
    pub fn sheet(&self) -> Zeroizing<String> {
        let key = Zeroizing::new(URL_SAFE_NO_PAD.encode(self.bytes.as_slice()));
        Zeroizing::new(format!("{HEADING}\ncluster {}\nkey {}\ncheck {:08x}\n", self.cluster, key.as_str(), self.check()))
    }

    /// Reads the lines of a key file or a recovery sheet; `what` names it in errors.
    ///
    /// # Errors
    /// [`MasterKeyError::Malformed`] with what is wrong.
    pub fn parse(text: &[u8], what: &str) -> Result<Self, MasterKeyError> {
        let malformed = |why| MasterKeyError::Malformed { what: what.to_owned(), why };
        let text = std::str::from_utf8(text).map_err(|_not_text| malformed("it is not text"))?;
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        if lines.next() != Some(HEADING) {
            return Err(malformed("its first line is not `skep-master-key 1`"));
        }
        let mut value = |name: &str, why| {
            let line = lines.next().and_then(|line| line.split_once(' ')).filter(|(key, _value)| *key == name);
            line.map(|(_key, value)| value.trim()).ok_or_else(|| malformed(why))
        };
        let cluster = value("cluster", "the line `cluster` is missing")?;
        let cluster = cluster.parse().map_err(|_no_id| malformed("the cluster is no id"))?;
        let key = value("key", "the line `key` is missing")?;
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(key).map_err(|_no_base64| malformed("the key is not base64"))?);
        let bytes: [u8; KEY_BYTES] = bytes.as_slice().try_into().map_err(|_length| malformed("the key has not 32 bytes"))?;
        let parsed = Self { cluster, bytes: Zeroizing::new(bytes) };
        if value("check", "the line `check` is missing")? != format!("{:08x}", parsed.check()) {
            return Err(malformed("its check sum is wrong: a line was mistyped"));
        }
        Ok(parsed)
    }

    /// Seals a secret for a purpose.
    ///
    /// # Errors
    /// The system has no randomness for the nonce.
    ///
    /// # Panics
    /// Never: a secret is far shorter than what AES-GCM can seal.
    pub fn seal(&self, purpose: SealPurpose, secret: &[u8]) -> Result<Vec<u8>, MasterKeyError> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce)?;
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + secret.len() + AES_256_GCM.tag_len());
        sealed.push(SEAL_VERSION);
        sealed.extend_from_slice(&nonce);
        let mut text = secret.to_vec();
        let tagged = self.cipher().seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), self.bound_to(purpose), &mut text);
        tagged.expect("AES-GCM seals up to 64 GiB, a secret has some bytes");
        sealed.extend_from_slice(&text);
        Ok(sealed)
    }

    /// Opens what [`MasterKey::seal`] made for the same purpose.
    ///
    /// # Errors
    /// [`OpenSealError`] if it was sealed by another key, for another purpose, or is damaged.
    pub fn open(&self, purpose: SealPurpose, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenSealError> {
        let (version, rest) = sealed.split_first().ok_or(OpenSealError::Refused)?;
        if *version != SEAL_VERSION {
            return Err(OpenSealError::Version(*version));
        }
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>().ok_or(OpenSealError::Refused)?;
        let mut text = Zeroizing::new(text.to_vec());
        let opened = self.cipher().open_in_place(Nonce::assume_unique_for_key(*nonce), self.bound_to(purpose), &mut text);
        let length = opened.map_err(|_no_reason_given| OpenSealError::Refused)?.len();
        text.truncate(length);
        Ok(text)
    }

    fn cipher(&self) -> LessSafeKey {
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, self.bytes.as_slice()).expect("a 32-byte key fits AES-256"))
    }

    fn bound_to(&self, purpose: SealPurpose) -> Aad<Vec<u8>> {
        Aad::from(format!("skep seal {SEAL_VERSION} {} {}", self.cluster, purpose.label()).into_bytes())
    }

    /// Finds mistyped lines; no secret can be had from it but that it is this key.
    fn check(&self) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&self.cluster.0), self.bytes.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: ClusterId = ClusterId([7; 16]);

    #[test]
    fn what_is_sealed_opens_for_its_purpose_only() {
        let key = MasterKey::generate(CLUSTER).unwrap();
        let sealed = key.seal(SealPurpose::AuthorityKey, b"secret").unwrap();
        assert_eq!(key.open(SealPurpose::AuthorityKey, &sealed).unwrap().as_slice(), b"secret");
        assert_eq!(key.open(SealPurpose::DatasourceKey, &sealed), Err(OpenSealError::Refused));
        assert_ne!(sealed, key.seal(SealPurpose::AuthorityKey, b"secret").unwrap(), "each seal has a nonce of its own");
        let other = MasterKey::generate(CLUSTER).unwrap();
        assert_eq!(other.open(SealPurpose::AuthorityKey, &sealed), Err(OpenSealError::Refused));
        let elsewhere = MasterKey::from_bytes(ClusterId([8; 16]), key.expose()).unwrap();
        assert_eq!(elsewhere.open(SealPurpose::AuthorityKey, &sealed), Err(OpenSealError::Refused));
    }

    #[test]
    fn every_changed_or_cut_byte_is_refused() {
        let key = MasterKey::generate(CLUSTER).unwrap();
        let sealed = key.seal(SealPurpose::DatasourceKey, &[9; 32]).unwrap();
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert!(key.open(SealPurpose::DatasourceKey, &changed).is_err(), "byte {place} changed and opened");
            assert!(key.open(SealPurpose::DatasourceKey, &sealed[..place]).is_err(), "cut at {place} and opened");
        }
    }

    #[test]
    fn a_secret_sealed_by_the_first_version_still_opens() {
        let key = MasterKey::from_bytes(CLUSTER, &[1; 32]).unwrap();
        let mut text = b"frozen".to_vec();
        let nonce = [2; NONCE_LEN];
        let aad = Aad::from("skep seal 1 07070707-0707-0707-0707-070707070707 authority-key".as_bytes());
        key.cipher().seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut text).unwrap();
        let sealed = [&[1][..], &nonce, &text].concat();
        assert_eq!(key.open(SealPurpose::AuthorityKey, &sealed).unwrap().as_slice(), b"frozen");
    }

    #[test]
    fn the_file_is_secret_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/master.key");
        assert!(matches!(MasterKey::load(&path), Err(MasterKeyError::Missing { .. })));
        let key = MasterKey::generate(CLUSTER).unwrap();
        key.store(&path).unwrap();
        key.store(&path).unwrap();
        assert_eq!(MasterKey::load(&path).unwrap().expose(), key.expose());
        assert!(matches!(MasterKey::generate(CLUSTER).unwrap().store(&path), Err(MasterKeyError::Exists { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(MasterKey::load(&path).unwrap_err().to_string().contains("chmod 600"));
    }

    #[test]
    fn a_mistyped_sheet_is_noticed() {
        let key = MasterKey::from_bytes(CLUSTER, &[5; 32]).unwrap();
        let sheet = key.sheet();
        assert_eq!(MasterKey::parse(sheet.as_bytes(), "the sheet").unwrap().expose(), key.expose());
        let mistyped = sheet.replacen("BQ", "BR", 1);
        assert!(MasterKey::parse(mistyped.as_bytes(), "the sheet").unwrap_err().to_string().contains("mistyped"));
        assert!(!format!("{key:?}").contains("BQU"), "the key is never printed");
    }
}
