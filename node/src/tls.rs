//! Who is who between nodes: the cluster's own certificate authority, a certificate a node, mutual TLS on every connection.
//!
//! Invariants: only TLS 1.3 by `ring`; no session is resumed, so that every connection checks both certificates as they are now; a peer is
//! the node that its certificate names (`skep://<cluster>/node/<id>`), whatever address it was reached by. Not for the API port, whose
//! certificates are the operator's ([`api`]).

pub mod api;
pub mod authority;
pub mod credentials;
pub mod peer_name;
pub mod renewal;
pub mod session;
pub mod verify;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use authority::Authority;
pub use credentials::NodeCredentials;
pub use peer_name::PeerName;
pub use session::{Alpn, NodeTls};

/// A failure of certificates or TLS settings.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is missing or cannot be used.
    #[error(transparent)]
    File(#[from] crate::durable_file::FileError),
    /// A file of the node's credentials is missing.
    #[error("the node's certificate is not complete: {} is missing; let the node enter the cluster anew, or restore the data folder", path.display())]
    Missing {
        /// Which one.
        path: std::path::PathBuf,
    },
    /// A certificate that cannot be read.
    #[error("a certificate cannot be read: {0}")]
    Malformed(String),
    /// A certificate without a node's name, or of another cluster.
    #[error("a certificate names no node of this cluster: {0}")]
    WrongName(String),
    /// A certificate request that is not signed by its own key, or asks for the impossible.
    #[error("a certificate request cannot be used: {0}")]
    Request(String),
    /// A key or certificate could not be made.
    #[error("a key or certificate cannot be made: {0}")]
    Make(#[from] rcgen::Error),
    /// The TLS library refused.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
    /// The verifier of client certificates could not be built.
    #[error("TLS cannot be set up: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// The one provider of cryptography.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
