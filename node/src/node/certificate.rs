//! Renews this node's certificate before it ends, by the node's own replica and master key: works also without a quorum.
//!
//! Invariant: a new certificate is shown only after it is stored; whatever fails, the one before stays in use and it is tried again soon.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use skep_raft::handle::Metadata;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::join::service::{AuthorityError, open_authority};
use crate::master_key::MasterKey;
use crate::tls::{Authority, NodeCredentials, NodeTls, TlsError, renewal};

const INTERVAL: Duration = Duration::from_secs(3600);
const RETRY_PAUSE: Duration = Duration::from_secs(60);

/// Opens the cluster's authority as it is now.
type OpenAuthority = Box<dyn Fn() -> Result<Authority, AuthorityError> + Send + Sync>;

/// Why a certificate that is due was not renewed.
#[derive(Debug, thiserror::Error)]
enum RenewalError {
    /// The authority cannot sign here.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// A certificate or key cannot be read, made or written.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Keeps the certificate of a node new.
pub(super) struct Renewal {
    authority: OpenAuthority,
    credentials: NodeCredentials,
    tls: Arc<NodeTls>,
    data_folder: PathBuf,
}

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewal").field("tls", &self.tls).finish_non_exhaustive()
    }
}

impl Renewal {
    /// Renews `credentials`, which lie in the data folder.
    pub(super) fn new(
        metadata: Metadata,
        master: MasterKey,
        (credentials, tls): (NodeCredentials, Arc<NodeTls>),
        data_folder: PathBuf,
    ) -> Self {
        let authority = Box::new(move || open_authority(&metadata.system_stale(), &master));
        Self { authority, credentials, tls, data_folder }
    }

    /// Looks every hour.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            let pause = match self.renew_if_due(OffsetDateTime::now_utc()) {
                Ok(()) => INTERVAL,
                Err(why) => {
                    tracing::error!("the node's certificate could not be renewed: {why}; it is tried again in a minute");
                    RETRY_PAUSE
                }
            };
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    fn renew_if_due(&mut self, now: OffsetDateTime) -> Result<(), RenewalError> {
        if !renewal::is_due(&self.credentials.certificate, now)? {
            return Ok(());
        }
        let authority = (self.authority)()?;
        let renewed = renewal::renew(&self.credentials, &authority, now)?;
        renewed.store(&self.data_folder)?;
        self.tls.replace(&renewed)?;
        self.credentials = renewed;
        tracing::info!("the node's certificate was renewed");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::tls::testing::{CLUSTER, authority, credentials, now};
    use time::Duration as Days;

    /// Asked for the authority so often; the first `failing` times there is none.
    struct Rig {
        renewal: Renewal,
        asked: Arc<AtomicUsize>,
        folder: tempfile::TempDir,
    }

    fn rig(issued_days_ago: i64, failing: usize) -> Rig {
        let authority = authority();
        let credentials = credentials(&authority, CLUSTER, 4, now() - Days::days(issued_days_ago));
        let folder = tempfile::tempdir().unwrap();
        let data_folder = folder.path().join("node");
        std::fs::create_dir(&data_folder).unwrap();
        credentials.store(&data_folder).unwrap();
        let (certificate, key, asked) = (authority.certificate().clone(), authority.key_pkcs8(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&asked);
        let authority: OpenAuthority = Box::new(move || match counted.fetch_add(1, Ordering::Relaxed) {
            nth if nth < failing => Err(AuthorityError::NoCluster),
            _later => Ok(Authority::from_parts(&certificate, &key)?),
        });
        let tls = Arc::new(NodeTls::new(&credentials).unwrap());
        Rig { renewal: Renewal { authority, credentials, tls, data_folder }, asked, folder }
    }

    impl Rig {
        fn shown(&self) -> Vec<u8> {
            self.renewal.tls.certificate().to_vec()
        }

        fn stored(&self) -> Vec<u8> {
            NodeCredentials::load(&self.folder.path().join("node")).unwrap().certificate.to_vec()
        }
    }

    #[test]
    fn one_that_is_good_for_long_stays() {
        let mut rig = rig(59, 0);
        let before = rig.shown();
        rig.renewal.renew_if_due(now()).unwrap();
        assert_eq!((rig.shown() == before, rig.stored() == before), (true, true));
        assert_eq!(rig.asked.load(Ordering::Relaxed), 0, "the authority's key is not opened in vain");
    }

    #[test]
    fn one_that_ends_soon_is_renewed_once() {
        let mut rig = rig(61, 0);
        let (before, name) = (rig.shown(), rig.renewal.credentials.name().unwrap());
        rig.renewal.renew_if_due(now()).unwrap();
        let after = rig.shown();
        assert_ne!(after, before, "another is shown");
        assert_eq!(rig.stored(), after, "and stored");
        let left = renewal::ends_at(&rig.renewal.tls.certificate()).unwrap() - now();
        assert!(left > Days::days(80), "it is good for long: {left}");
        assert_eq!(rig.renewal.credentials.name().unwrap(), name, "it names the same node");
        let stored = NodeCredentials::load(&rig.folder.path().join("node")).unwrap();
        assert!(NodeTls::new(&stored).is_ok(), "certificate and key fit at the next start");
        rig.renewal.renew_if_due(now()).unwrap();
        assert_eq!(rig.shown(), after, "once");
    }

    #[test]
    fn without_the_authority_the_old_one_stays_and_it_is_tried_again() {
        let mut rig = rig(61, 1);
        let before = rig.shown();
        assert!(matches!(rig.renewal.renew_if_due(now()), Err(RenewalError::Authority(AuthorityError::NoCluster))));
        assert_eq!((rig.shown() == before, rig.stored() == before), (true, true));
        rig.renewal.renew_if_due(now()).unwrap();
        assert_ne!(rig.shown(), before, "the next try renews it");
    }

    #[test]
    fn what_cannot_be_stored_is_not_shown() {
        let mut rig = rig(61, 0);
        let before = rig.shown();
        let data_folder = rig.renewal.data_folder.clone();
        std::fs::write(rig.folder.path().join("file"), "").unwrap();
        rig.renewal.data_folder = rig.folder.path().join("file");
        assert!(matches!(rig.renewal.renew_if_due(now()), Err(RenewalError::Tls(_))));
        assert_eq!(rig.shown(), before, "a certificate that a restart would lose is not used");
        rig.renewal.data_folder = data_folder;
        rig.renewal.renew_if_due(now()).unwrap();
        assert_ne!(rig.shown(), before, "the next try renews it");
    }

    #[test]
    fn one_that_has_ended_is_renewed_too() {
        let mut rig = rig(91, 0);
        let before = rig.shown();
        rig.renewal.renew_if_due(now()).unwrap();
        assert_ne!(rig.shown(), before, "a node that was off for months comes back by itself");
    }
}
