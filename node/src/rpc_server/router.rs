//! Which service answers a call, and whether the caller may make it at all.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::Either;
use http::{Request, Response};
use skep_raft::options::PeerIdentity;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};

use super::Admission;
use super::connection::ConnectionPeer;

type RpcService = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// The services of the port by their names.
#[derive(Default)]
pub struct RpcRouter {
    services: BTreeMap<&'static str, RpcService>,
    open_to_joiners: BTreeSet<&'static str>,
}

impl fmt::Debug for RpcRouter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RpcRouter").field("services", &self.services.keys()).field("open_to_joiners", &self.open_to_joiners).finish()
    }
}

impl RpcRouter {
    /// No services: every call is refused.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a service for nodes of the cluster.
    #[must_use]
    pub fn with<S>(mut self, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        self.services.insert(S::NAME, BoxCloneSyncService::new(service));
        self
    }

    /// Adds the one service that a joiner reaches before it has a certificate.
    #[must_use]
    pub fn with_open_to_joiners<S>(mut self, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        self.open_to_joiners.insert(S::NAME);
        self.with(service)
    }

    pub(super) fn guarded_by(self, admission: Admission) -> GuardedRouter {
        GuardedRouter { router: Arc::new(self), admission }
    }
}

/// The router behind its guard.
#[derive(Clone)]
pub(super) struct GuardedRouter {
    router: Arc<RpcRouter>,
    admission: Admission,
}

impl GuardedRouter {
    /// The service for a request that may be made; marks it with its caller.
    fn admit(&self, request: &mut Request<Body>) -> Result<RpcService, Status> {
        let name = request.uri().path().trim_start_matches('/').split('/').next().unwrap_or_default().to_owned();
        // Marks that came with the request are ours alone to set.
        request.extensions_mut().remove::<PeerIdentity>();
        match request.extensions().get::<ConnectionPeer>().and_then(|peer| peer.0) {
            Some(node) => {
                (self.admission)(node).map_err(Status::permission_denied)?;
                request.extensions_mut().insert(PeerIdentity { node });
            }
            None if self.router.open_to_joiners.contains(name.as_str()) => {}
            None => return Err(Status::unauthenticated("this call needs the certificate of a node of the cluster")),
        }
        let service = self.router.services.get(name.as_str());
        service.cloned().ok_or_else(|| Status::unimplemented(format!("this node has no service {name}")))
    }
}

type Answering = <tower::util::Oneshot<RpcService, Request<Body>> as IntoFuture>::IntoFuture;

impl Service<Request<Body>> for GuardedRouter {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<Answering, Ready<Result<Response<Body>, Infallible>>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        match self.admit(&mut request) {
            Ok(service) => Either::Left(service.oneshot(request)),
            Err(status) => Either::Right(ready(Ok(status.into_http()))),
        }
    }
}
