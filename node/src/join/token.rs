//! The join token: `skep1.` and base64url of JSON with where the cluster is, the fingerprint of its authority, and a secret.
//!
//! The cluster keeps only the SHA-256 of the secret. A check sum finds a token that was not copied whole; it protects from nothing else.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use skep_placement::ids::ClusterId;
use zeroize::Zeroizing;

use crate::tls::authority::{hex, sha256};

const PREFIX: &str = "skep1.";
const TEXT_BYTES_MAX: usize = 8192;
const ADDRESSES_MAX: usize = 16;

/// How long a token lives unless it is said otherwise.
pub const LIFETIME_SECONDS: u64 = 3600;

/// Lets one node enter the cluster, once.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// RPC addresses of nodes of the cluster.
    pub addresses: Vec<String>,
    /// SHA-256 of the authority's certificate.
    pub authority_sha256: [u8; 32],
    /// The cluster.
    pub cluster: ClusterId,
    /// What only the token's holder knows.
    pub secret: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken({}, {:?}, secret)", self.cluster, self.addresses)
    }
}

/// A text that is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    /// Not of this form or version.
    #[error("this is no join token of this version: it begins with `{PREFIX}`; make one with `skep join-token` on a node of the cluster")]
    Form,
    /// Not copied whole.
    #[error("the join token is damaged: copy it whole, it is one line")]
    Damaged,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    addresses: Vec<String>,
    ca_sha256: String,
    cluster: String,
    secret: String,
    check: String,
}

impl Stored {
    fn check(&self) -> String {
        let Self { addresses, ca_sha256, cluster, secret, .. } = self;
        format!("{:08x}", crc32c::crc32c(format!("{} {ca_sha256} {cluster} {secret}", addresses.join(",")).as_bytes()))
    }
}

impl JoinToken {
    /// What the cluster keeps of the secret.
    pub fn hash(&self) -> [u8; 32] {
        hash(self.secret.as_slice())
    }

    /// The token as a line to copy.
    ///
    /// # Panics
    /// Never: the fields are plain.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut stored = Stored {
            addresses: self.addresses.clone(),
            ca_sha256: hex(&self.authority_sha256),
            cluster: self.cluster.to_string(),
            secret: URL_SAFE_NO_PAD.encode(self.secret.as_slice()),
            check: String::new(),
        };
        stored.check = stored.check();
        let json = Zeroizing::new(serde_json::to_vec(&stored).expect("plain fields are JSON"));
        Zeroizing::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(json.as_slice())))
    }
}

/// What the cluster keeps of a token's secret.
pub fn hash(secret: &[u8]) -> [u8; 32] {
    sha256(secret)
}

impl FromStr for JoinToken {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let encoded = text.trim().strip_prefix(PREFIX).filter(|encoded| encoded.len() <= TEXT_BYTES_MAX).ok_or(InvalidToken::Form)?;
        let json = URL_SAFE_NO_PAD.decode(encoded).map(Zeroizing::new).map_err(|_no_base64| InvalidToken::Damaged)?;
        let stored: Stored = serde_json::from_slice(&json).map_err(|_no_json| InvalidToken::Damaged)?;
        if stored.check != stored.check() || stored.addresses.is_empty() || stored.addresses.len() > ADDRESSES_MAX {
            return Err(InvalidToken::Damaged);
        }
        let secret = URL_SAFE_NO_PAD.decode(&stored.secret).map(Zeroizing::new).map_err(|_no_base64| InvalidToken::Damaged)?;
        let secret: [u8; 32] = secret.as_slice().try_into().map_err(|_length| InvalidToken::Damaged)?;
        Ok(Self {
            authority_sha256: bytes_of_hex(&stored.ca_sha256).ok_or(InvalidToken::Damaged)?,
            cluster: stored.cluster.parse().map_err(|_no_id| InvalidToken::Damaged)?,
            secret: Zeroizing::new(secret),
            addresses: stored.addresses,
        })
    }
}

fn bytes_of_hex(text: &str) -> Option<[u8; 32]> {
    let id: skep_placement::ids::ChunkId = text.parse().ok()?;
    Some(id.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> JoinToken {
        JoinToken {
            addresses: vec!["10.0.0.1:7100".to_owned(), "[::1]:7100".to_owned()],
            authority_sha256: [0xab; 32],
            cluster: ClusterId([4; 16]),
            secret: Zeroizing::new([5; 32]),
        }
    }

    #[test]
    fn a_token_comes_back_as_it_was() {
        let text = token().to_text();
        assert_eq!(text.parse::<JoinToken>().unwrap(), token());
        assert_eq!(format!("  {}\n", text.as_str()).parse::<JoinToken>().unwrap(), token());
        assert!(!format!("{:?}", token()).contains("BQU"), "the secret is never printed");
    }

    #[test]
    fn a_token_that_was_changed_or_cut_is_refused() {
        let text = token().to_text();
        for place in 0..text.len() {
            let mut changed = text.as_bytes().to_vec();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(changed.parse::<JoinToken>().is_err(), "changed at {place} and taken");
            assert!(text[..place].parse::<JoinToken>().is_err(), "cut at {place} and taken");
        }
        assert_eq!("skep2.abc".parse::<JoinToken>(), Err(InvalidToken::Form));
    }

    #[test]
    fn a_token_of_the_first_version_is_still_read() {
        let json = format!(
            r#"{{"addresses":["h:1"],"ca_sha256":"{}","cluster":"01010101-0101-0101-0101-010101010101","secret":"{}","check":"{}"}}"#,
            "02".repeat(32),
            URL_SAFE_NO_PAD.encode([3; 32]),
            "df1d8f5e",
        );
        let token: JoinToken = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(json)).parse().unwrap();
        assert_eq!((token.authority_sha256, *token.secret), ([2; 32], [3; 32]));
    }
}
