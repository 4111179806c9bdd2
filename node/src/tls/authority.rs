//! The cluster's certificate authority: made by `skep init`, its key sealed in the system group, so that any node can sign for a joiner and
//! for itself.

use std::fmt;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, PrivatePkcs8KeyDer};
use skep_placement::ids::ClusterId;
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use super::{PeerName, TlsError};

/// How long a node's certificate is good.
pub const CERTIFICATE_DAYS: i64 = 90;
const AUTHORITY_DAYS: i64 = 365 * 30;
/// A clock that stands a little early must not refuse a new certificate.
const BACKDATED: Duration = Duration::days(1);

/// The authority with its key.
pub struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({})", hex(&fingerprint(&self.certificate)))
    }
}

impl Authority {
    /// Makes the authority of a new cluster.
    ///
    /// # Errors
    /// [`TlsError::Make`] if the system has no randomness.
    pub fn create(cluster: ClusterId, now: OffsetDateTime) -> Result<Self, TlsError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, format!("skep cluster {cluster}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = now - BACKDATED;
        params.not_after = now + Duration::days(AUTHORITY_DAYS);
        params.serial_number = Some(serial()?);
        let certificate = params.self_signed(&key)?.der().clone();
        let issuer = Issuer::new(params, key);
        Ok(Self { certificate, issuer })
    }

    /// Takes the authority's certificate and its key as they lie in the system group, the key opened before.
    ///
    /// # Errors
    /// [`TlsError`] if they cannot be read.
    pub fn from_parts(certificate: &[u8], key_pkcs8: &[u8]) -> Result<Self, TlsError> {
        let certificate = CertificateDer::from(certificate.to_vec());
        let key = KeyPair::try_from(&PrivatePkcs8KeyDer::from(key_pkcs8.to_vec()))?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        Ok(Self { certificate, issuer })
    }

    /// Its certificate, DER.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Its key in PKCS#8, to be sealed.
    pub fn key_pkcs8(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.issuer.key().serialize_der())
    }

    /// Signs a node's certificate for a public key; its name and uses come from here alone.
    ///
    /// # Errors
    /// [`TlsError`] if the key cannot be read.
    pub fn issue(&self, name: PeerName, public_key: &PublicKeyInfo, now: OffsetDateTime) -> Result<CertificateDer<'static>, TlsError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, format!("skep node {}", name.node));
        let uri = name.to_string().try_into()?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = now - BACKDATED;
        params.not_after = now + Duration::days(CERTIFICATE_DAYS);
        params.serial_number = Some(serial()?);
        Ok(params.signed_by(&public_key.0, &self.issuer)?.der().clone())
    }
}

/// A node's public key.
#[derive(Clone, Debug)]
pub struct PublicKeyInfo(SubjectPublicKeyInfo);

impl PublicKeyInfo {
    /// Of a key pair of this node.
    ///
    /// # Errors
    /// [`TlsError::Make`] if the key cannot be read.
    pub fn of(key: &KeyPair) -> Result<Self, TlsError> {
        Ok(Self(SubjectPublicKeyInfo::from_der(&key.subject_public_key_info())?))
    }

    /// Of a certificate request (PKCS#10, DER); proves that the sender has the private key. Everything else it asks for is ignored.
    ///
    /// # Errors
    /// [`TlsError::Request`] if it is malformed or its signature is wrong.
    pub fn of_request(der: &[u8]) -> Result<Self, TlsError> {
        let refused = |error: rcgen::Error| TlsError::Request(error.to_string());
        let request = CertificateSigningRequestDer::from(der.to_vec());
        let checked = CertificateSigningRequestParams::from_der(&request).map_err(refused)?;
        let info = checked.public_key.subject_public_key_info();
        Ok(Self(SubjectPublicKeyInfo::from_der(&info).map_err(refused)?))
    }

    /// SHA-256 of the key's DER form: the same for every certificate of one key.
    pub fn sha256(&self) -> [u8; 32] {
        sha256(&self.0.subject_public_key_info())
    }
}

/// A request for a certificate (PKCS#10, DER), signed by the node's key.
///
/// # Errors
/// [`TlsError::Make`] if the key cannot sign.
pub fn certificate_request(key: &KeyPair) -> Result<Vec<u8>, TlsError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "skep node");
    Ok(params.serialize_request(key)?.der().to_vec())
}

/// SHA-256 of a certificate: what a join token pins.
pub fn fingerprint(certificate: &CertificateDer<'_>) -> [u8; 32] {
    sha256(certificate)
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// A random positive serial number.
fn serial() -> Result<SerialNumber, TlsError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_no_randomness| rcgen::Error::RingUnspecified)?;
    bytes[0] &= 0x7f;
    Ok(SerialNumber::from_slice(&bytes))
}
