//! The one listener for every face: HTTP/1.1 and HTTP/2, plain or over TLS, with limits on everything a client can hold, and a drain that fails no request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use http::header::{CONNECTION, HOST, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, StatusCode, Uri, Version};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use percent_encoding::percent_decode;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::Instrument;

use crate::app::{App, remote_or_unspecified};
use crate::metrics::{Face, OpenConnection};
use crate::refusals::Refused;
use crate::request_context::{REQUEST_ID_HEADER, Repeatable, RequestContext, request_id};
use crate::stated::Stated;
use crate::{dav, health, limits, metrics, openapi, rest, web, ws};

/// Limits of the server.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Connections open at once; more wait in the kernel's queue.
    pub connections: usize,
    /// Longest wait for the head of a request, also on a connection that is kept open.
    pub head_wait: Duration,
    /// How long the server goes on taking requests after it has said that it is not ready any more.
    pub drain_notice: Duration,
    /// Longest wait for open requests at a stop.
    pub drain_wait: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            connections: limits::CONNECTIONS,
            head_wait: limits::HEAD_WAIT,
            drain_notice: Duration::ZERO,
            drain_wait: limits::DRAIN_WAIT,
        }
    }
}

/// How a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// Over TLS.
    pub secure: bool,
}

/// How a stop went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every request was answered.
    All,
    /// Some requests took longer than the longest wait and were cut.
    CutSome,
}

/// All routes of all faces.
pub fn routes(app: App) -> Router {
    let rest = rest::routes().fallback(rest::unknown).method_not_allowed_fallback(rest::wrong_method);
    Router::new()
        .nest("/a", rest)
        .nest("/n", rest::versions::routes().fallback(rest::unknown).method_not_allowed_fallback(rest::wrong_method))
        .merge(dav::routes())
        .merge(web::routes())
        .merge(ws::routes())
        .merge(health::routes())
        .merge(openapi::routes())
        .fallback(web::unknown)
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(app.clone(), with_context))
        .with_state(app)
}

/// Serves until `shutdown` is cancelled, then takes no new connection, answers what is open, writes what was refused into the audit, and returns.
pub async fn serve(
    options: ServerOptions,
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    app: App,
    shutdown: CancellationToken,
) -> Drained {
    let server = Server {
        builder: builder(&options),
        router: routes(app.clone()),
        tls: tls.map(TlsAcceptor::from),
        graceful: GracefulShutdown::new(),
        permits: Arc::new(Semaphore::new(options.connections)),
    };
    let answered = CancellationToken::new();
    let mut audit = JoinSet::new();
    audit.spawn({
        let (app, answered) = (app.clone(), answered.clone());
        async move { app.refusals().run(answered).await }
    });
    let mut connections = JoinSet::new();
    server.accept_until(&listener, &mut connections, shutdown.cancelled()).await;
    app.draining().cancel();
    if !options.drain_notice.is_zero() {
        server.accept_until(&listener, &mut connections, tokio::time::sleep(options.drain_notice)).await;
    }
    drop(listener);
    let graceful = server.graceful;
    let drained = timeout(options.drain_wait, async {
        graceful.shutdown().await;
        while connections.join_next().await.is_some() {}
        // Sockets have left their connections.
        app.feeds_closed().await;
    })
    .await;
    connections.shutdown().await;
    answered.cancel();
    while let Some(ended) = audit.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "the writer of refusals has failed");
        }
    }
    if drained.is_ok() { Drained::All } else { Drained::CutSome }
}

fn builder(options: &ServerOptions) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(options.head_wait).max_buf_size(limits::HEAD_BYTES).keep_alive(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits::STREAMS_PER_CONNECTION)
        .max_header_list_size(u32::try_from(limits::HEAD_BYTES).expect("a constant below 4 GiB"))
        .keep_alive_interval(options.head_wait)
        .adaptive_window(true);
    builder
}

struct Server {
    builder: auto::Builder<TokioExecutor>,
    router: Router,
    tls: Option<TlsAcceptor>,
    graceful: GracefulShutdown,
    permits: Arc<Semaphore>,
}

impl Server {
    async fn accept_until(&self, listener: &TcpListener, connections: &mut JoinSet<()>, until: impl Future<Output = ()>) {
        let mut until = std::pin::pin!(until);
        loop {
            let accepted = async {
                let permit = Arc::clone(&self.permits).acquire_owned().await.expect("the semaphore is never closed");
                (listener.accept().await, permit)
            };
            tokio::select! {
                () = &mut until => return,
                Some(_ended) = connections.join_next(), if !connections.is_empty() => {}
                (accepted, permit) = accepted => match accepted {
                    Ok((stream, remote)) => { connections.spawn(self.connection(stream, remote, permit)); }
                    Err(error) => {
                        // Mostly too many open files: waiting lets some close.
                        tracing::warn!(%error, "a connection was not accepted");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
            }
        }
    }

    fn connection(&self, stream: TcpStream, remote: SocketAddr, permit: OwnedSemaphorePermit) -> impl Future<Output = ()> + Send + 'static {
        let (builder, router, tls) = (self.builder.clone(), self.router.clone(), self.tls.clone());
        let watcher = self.graceful.watcher();
        async move {
            let _open = (OpenConnection::new(), permit);
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection without TCP_NODELAY");
            }
            match tls {
                None => serve_stream(&builder, router, stream, (remote, Transport { secure: false }), watcher).await,
                Some(acceptor) => match timeout(limits::HANDSHAKE_WAIT, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => serve_stream(&builder, router, stream, (remote, Transport { secure: true }), watcher).await,
                    Ok(Err(error)) => tracing::debug!(%remote, %error, "a TLS handshake failed"),
                    Err(_too_slow) => tracing::debug!(%remote, "a TLS handshake took too long"),
                },
            }
        }
    }
}

async fn serve_stream<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    builder: &auto::Builder<TokioExecutor>,
    router: Router,
    stream: S,
    (remote, transport): (SocketAddr, Transport),
    watcher: Watcher,
) {
    let service = hyper::service::service_fn(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(remote);
        request.extensions_mut().insert(transport);
        router.clone().oneshot(request.map(Body::new))
    });
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%remote, %error, "a connection ended early");
    }
}

/// Gives every request its id, its span and its count.
async fn with_context(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let version = request.version();
    let sent = request.headers().get(REQUEST_ID_HEADER).and_then(|value| value.to_str().ok());
    let id = request_id(sent, app.random());
    let remote = remote_or_unspecified(request.extensions().get::<SocketAddr>().map(SocketAddr::ip));
    let (method, uri, target) = (request.method().clone(), request.uri().clone(), destination(&request).to_vec());
    let repeatable = Repeatable::of(request.headers(), &[method.as_str().as_bytes(), uri.to_string().as_bytes(), &target]);
    let context = match repeatable.and_then(|repeatable| Ok((repeatable, Stated::of_headers(request.headers())?))) {
        Ok((repeatable, stated)) => RequestContext::new(Arc::clone(&id), remote).repeatable(repeatable).stating(stated),
        Err(failure) => return rest::wire::RestFailure(failure).into_response(),
    };
    request.extensions_mut().insert(context.clone());
    name_host(&mut request);
    let face = Face::of_path(uri.path());
    let span = tracing::info_span!("request", request_id = %id, method = %method, path = %uri.path(), remote = %remote);
    let mut response = async move {
        let response = next.run(request).await;
        let (status, took) = (response.status().as_u16(), begun.elapsed());
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        // What goes well and fast is in the metrics, and what it changed in the audit.
        if status >= 400 || took >= limits::SLOW_REQUEST {
            tracing::info!(status, took_ms, "answered");
        } else {
            tracing::debug!(status, took_ms, "answered");
        }
        metrics::request(face, status, took);
        response
    }
    .instrument(span)
    .await;
    if let Some(Refused(failure)) = response.extensions_mut().remove() {
        app.refusals().note(&failure, &context, subject_of(&method, &uri, &target));
    }
    let is_switching = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    if app.draining().is_cancelled() && version <= Version::HTTP_11 && !is_switching {
        // Who keeps a connection open learns in time to open the next one elsewhere; HTTP/2 has its own word for that.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID_HEADER, value);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// What a request wants, for the audit: its method and path. What stands behind a question mark may be a secret.
fn subject_of(method: &Method, uri: &Uri, target: &[u8]) -> String {
    let decoded = |bytes: &[u8]| percent_decode(bytes).decode_utf8_lossy().into_owned();
    let mut subject = format!("{method} {}", decoded(uri.path().as_bytes()));
    if !target.is_empty() {
        subject += &format!(" to {}", decoded(target));
    }
    subject
}

/// Where a WebDAV request copies or moves to.
fn destination(request: &Request) -> &[u8] {
    request.headers().get("destination").map_or(&[], HeaderValue::as_bytes)
}

/// HTTP/2 names the host in the URI only; what looks at `Host` finds it there too.
fn name_host(request: &mut Request) {
    if request.headers().contains_key(HOST) {
        return;
    }
    if let Some(host) = request.uri().authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok()) {
        request.headers_mut().insert(HOST, host);
    }
}
