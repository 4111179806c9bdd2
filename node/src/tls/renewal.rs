//! Certificates are renewed before they end: every node has the master key and the sealed key of the authority, and signs for itself.

use rustls_pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};

use super::authority::{Authority, PublicKeyInfo};
use super::{NodeCredentials, TlsError};

/// A certificate with less than this left is renewed.
pub const RENEW_BEFORE: Duration = Duration::days(30);

/// When a certificate ends.
///
/// # Errors
/// [`TlsError::Malformed`] if it cannot be read.
pub fn ends_at(certificate: &CertificateDer<'_>) -> Result<OffsetDateTime, TlsError> {
    let parsed = x509_parser::parse_x509_certificate(certificate);
    let (_rest, parsed) = parsed.map_err(|error| TlsError::Malformed(error.to_string()))?;
    let seconds = parsed.validity().not_after.timestamp();
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|error| TlsError::Malformed(error.to_string()))
}

/// Whether it is time to renew.
///
/// # Errors
/// [`TlsError::Malformed`] if the certificate cannot be read.
pub fn is_due(certificate: &CertificateDer<'_>, now: OffsetDateTime) -> Result<bool, TlsError> {
    Ok(ends_at(certificate)? - now < RENEW_BEFORE)
}

/// Signs a new certificate for the same node and the same key.
///
/// # Errors
/// [`TlsError`] if the credentials cannot be read.
pub fn renew(credentials: &NodeCredentials, authority: &Authority, now: OffsetDateTime) -> Result<NodeCredentials, TlsError> {
    let public_key = PublicKeyInfo::of(&credentials.key_pair()?)?;
    let certificate = authority.issue(credentials.name()?, &public_key, now)?;
    Ok(NodeCredentials { certificate, authority: authority.certificate().clone(), key: credentials.key.clone() })
}
