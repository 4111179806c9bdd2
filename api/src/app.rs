//! What all faces share: the use cases, the authenticator, and how a request becomes a caller.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use skep_raft::handle::Metadata;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::auth::authenticator::{Asking, Authenticator};
use crate::auth::credentials::Credentials;
use crate::error_code::{ErrorCode, Failure};
use crate::limits;
use crate::ports::{ChunkIo, Clock, NodePort, Random};
use crate::refusals::Refusals;
use crate::request_context::RequestContext;
use crate::service::{Parts, Service};

mod caller;

pub use caller::Caller;
pub(crate) use caller::Proofs;

/// Settings of the faces; the node fills them from its configuration.
#[derive(Clone, Debug)]
pub struct AppOptions {
    /// The version that clients are told.
    pub version: String,
    /// The URL under which clients reach the cluster; none: the `Host` of each request.
    pub public_url: Option<String>,
    /// Bytes of a JSON body.
    pub json_body_bytes: usize,
    /// `/metrics` answers without signing in.
    pub metrics_public: bool,
}

impl Default for AppOptions {
    fn default() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            public_url: None,
            json_body_bytes: limits::JSON_BODY_BYTES,
            metrics_public: true,
        }
    }
}

/// What the node hands in.
pub struct AppParts {
    /// The only door to metadata.
    pub metadata: Metadata,
    /// Contents.
    pub chunks: Arc<dyn ChunkIo>,
    /// The node.
    pub node: Arc<dyn NodePort>,
    /// Wall-clock time.
    pub clock: Arc<dyn Clock>,
    /// Unpredictable bytes.
    pub random: Arc<dyn Random>,
}

impl std::fmt::Debug for AppParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AppParts").finish_non_exhaustive()
    }
}

/// The faces' shared state; cheap to clone.
#[derive(Clone, Debug)]
pub struct App {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    service: Service,
    authenticator: Authenticator,
    options: AppOptions,
    draining: CancellationToken,
    feeds: Arc<Semaphore>,
    refusals: Refusals,
}

impl App {
    /// Puts the faces together.
    #[must_use]
    pub fn new(parts: AppParts, options: AppOptions) -> Self {
        let AppParts { metadata, chunks, node, clock, random } = parts;
        let authenticator = Authenticator::new(Arc::clone(&clock), random.as_ref());
        let service = Service::from_parts(Parts { metadata, chunks, node, clock, random });
        let (draining, feeds) = (CancellationToken::new(), Arc::new(Semaphore::new(limits::FEEDS_OPEN)));
        let refusals = Refusals::new(service.metadata().clone());
        Self { inner: Arc::new(Inner { service, authenticator, options, draining, feeds, refusals }) }
    }

    /// The use cases, for the node's worker and its shell.
    #[must_use]
    pub fn service(&self) -> &Service {
        &self.inner.service
    }

    /// The authenticator, whose hasher the node's shell needs to set passwords.
    #[must_use]
    pub fn authenticator(&self) -> &Authenticator {
        &self.inner.authenticator
    }

    pub(crate) fn options(&self) -> &AppOptions {
        &self.inner.options
    }

    pub(crate) fn draining(&self) -> &CancellationToken {
        &self.inner.draining
    }

    /// Counts a stream, socket or waiting request for changes as open until the permit is dropped.
    pub(crate) fn open_feed(&self) -> Result<OwnedSemaphorePermit, Failure> {
        Arc::clone(&self.inner.feeds).try_acquire_owned().map_err(|_all_taken| {
            let why = format!("{} streams of changes are open on this node; try again, or at another node", limits::FEEDS_OPEN);
            Failure::new(ErrorCode::TooBusy, why)
        })
    }

    /// Waits until every stream and socket has ended; after the node has begun to stop.
    pub(crate) async fn feeds_closed(&self) {
        let all = u32::try_from(limits::FEEDS_OPEN).expect("a constant below 4 G");
        let _all = self.inner.feeds.acquire_many(all).await.expect("the semaphore is never closed");
    }

    /// Refusals on their way into the audit.
    #[must_use]
    pub fn refusals(&self) -> &Refusals {
        &self.inner.refusals
    }

    pub(crate) fn random(&self) -> &dyn Random {
        self.inner.service.random()
    }

    /// Who sends a request, by its `Authorization` header.
    pub(crate) async fn caller(&self, headers: &HeaderMap, context: &RequestContext) -> Result<Caller, Failure> {
        self.caller_by(&Credentials::from_headers(headers)?, context).await
    }

    /// Who has these credentials, over a view read for this request.
    pub(crate) async fn caller_by(&self, credentials: &Credentials, context: &RequestContext) -> Result<Caller, Failure> {
        if matches!(credentials, Credentials::None) {
            return Err(Failure::new(ErrorCode::Unauthorized, "sign in first"));
        }
        context.asked_as(credentials.login());
        let view = self.service().metadata().system(context.deadline()).await?;
        let asking = Asking { view: &view, remote: context.remote };
        let who = self.authenticator().sign_in(credentials, asking).await?;
        context.asked_by(who.actor());
        if let Err(failure) = self.service().extend_if_sliding(&who, &view, context).await {
            // The token is good now; it is extended at one of its next uses.
            tracing::debug!(%failure, "a sliding token was not extended");
        }
        // Checking a password takes its time, which is not the metadata's.
        Ok(Caller::new(self.clone(), Arc::new(who), view, context.continued()))
    }

    /// Who has this login and password, for opening a session.
    pub(crate) async fn caller_by_password(
        &self,
        login: &str,
        password: &crate::auth::secret::Secret,
        context: &RequestContext,
    ) -> Result<Caller, Failure> {
        context.asked_as(login);
        let view = self.service().metadata().system(context.deadline()).await?;
        let asking = Asking { view: &view, remote: context.remote };
        let who = self.authenticator().by_password(login, password, asking).await?;
        context.asked_by(who.actor());
        Ok(Caller::new(self.clone(), Arc::new(who), view, context.continued()))
    }
}

/// The address a request is counted under.
pub(crate) fn remote_or_unspecified(remote: Option<IpAddr>) -> IpAddr {
    remote.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED))
}
