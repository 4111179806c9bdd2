//! One keep-alive HTTP/1.1 connection: a request at a time, its answer checked while it streams.
//!
//! Lean on purpose: it shares the machine with the servers it measures.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::content::{Check, ContentBody};
use crate::fault::Fault;

/// A connection is given up after this.
const DIAL_MAX: Duration = Duration::from_secs(5);
/// A request is given up after this; a gigabyte must fit.
const REQUEST_MAX: Duration = Duration::from_secs(180);
/// So much of a refusal is shown.
const SHOWN_BYTES_MAX: usize = 300;

/// Where a server is.
#[derive(Clone)]
pub struct Address {
    /// For people.
    pub name: String,
    /// Its socket.
    pub socket: SocketAddr,
    /// The `Host` header.
    pub host: HeaderValue,
    /// TLS, with the name the certificate must have.
    pub tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {}", self.name, self.socket)
    }
}

/// The body of a request.
#[derive(Debug)]
pub enum SendBody {
    /// None.
    Empty,
    /// From memory.
    Full(Bytes),
    /// Made as it goes.
    Content(ContentBody),
}

impl Body for SendBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Content(content) => Pin::new(content).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Content(content) => content.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(u64::try_from(bytes.len()).expect("usize fits u64")),
            Self::Content(content) => content.size_hint(),
        }
    }
}

/// What is done with the body of an answer.
#[derive(Debug)]
pub enum Take {
    /// Kept.
    Keep,
    /// Compared with what it must be.
    Check(Check),
}

/// An answer that was received whole.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, if it was kept or is a refusal.
    pub body: Vec<u8>,
    /// Bytes of its body.
    pub length: u64,
}

impl Answer {
    /// The beginning of the body, for people.
    pub fn shown(&self) -> String {
        let end = self.body.len().min(SHOWN_BYTES_MAX);
        String::from_utf8_lossy(&self.body[..end]).trim().replace('\n', " ")
    }
}

/// A connection to one server, made when it is first used and anew after the server closed it.
#[derive(Debug)]
pub struct Connection {
    address: Arc<Address>,
    sender: Option<SendRequest<SendBody>>,
}

impl Connection {
    /// Not yet open.
    pub fn new(address: Arc<Address>) -> Self {
        Self { address, sender: None }
    }

    /// Where it goes.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Connects before time is taken.
    ///
    /// # Errors
    /// If the server does not take the connection.
    pub async fn open_now(&mut self) -> Result<(), Fault> {
        let opened = self.open().await.map(|_sender| ());
        opened.map_err(|why| Fault::new(why).at(format!("{:?}", self.address)))
    }

    /// Sends a request and takes its whole answer.
    ///
    /// # Errors
    /// What kept it from being answered, or what is wrong with the bytes that came.
    pub async fn request(&mut self, mut request: Request<SendBody>, take: Take) -> Result<Answer, Fault> {
        request.headers_mut().insert(HOST, self.address.host.clone());
        if request.headers().get(CONTENT_LENGTH).is_none()
            && let Some(length) = request.body().size_hint().exact().filter(|length| *length > 0)
        {
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        let called = (request.method().clone(), request.uri().path().to_owned());
        let answered = match timeout(REQUEST_MAX, self.exchange(request, take)).await {
            Ok(answered) => answered,
            Err(_elapsed) => Err(format!("no answer in {REQUEST_MAX:?}")),
        };
        answered.map_err(|why| {
            self.sender = None;
            Fault::new(format!("{} {}: {why}", called.0, called.1)).at(format!("{:?}", self.address))
        })
    }

    /// Sends a request whose answer has no end; gives it once its head is there.
    ///
    /// # Errors
    /// What kept it from being answered.
    pub async fn begin(&mut self, mut request: Request<SendBody>) -> Result<Response<Incoming>, Fault> {
        request.headers_mut().insert(HOST, self.address.host.clone());
        let called = request.uri().path().to_owned();
        let begun = async {
            let sender = self.open().await?;
            sender.ready().await.map_err(|error| error.to_string())?;
            sender.send_request(request).await.map_err(|error| chain(&error))
        };
        let begun = timeout(DIAL_MAX, begun).await.unwrap_or_else(|_elapsed| Err(format!("no head of an answer in {DIAL_MAX:?}")));
        begun.map_err(|why| Fault::new(format!("{called}: {why}")).at(format!("{:?}", self.address)))
    }

    async fn exchange(&mut self, request: Request<SendBody>, take: Take) -> Result<Answer, String> {
        let sender = self.open().await?;
        sender.ready().await.map_err(|error| error.to_string())?;
        let mut response = sender.send_request(request).await.map_err(|error| chain(&error))?;
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let mut check = match take {
            Take::Check(check) if status.is_success() => Some(check),
            Take::Check(_) | Take::Keep => None,
        };
        let (mut body, mut length) = (Vec::new(), 0);
        while let Some(frame) = response.body_mut().frame().await {
            let frame = frame.map_err(|error| format!("the body broke off after {length} bytes: {}", chain(&error)))?;
            let Some(data) = frame.data_ref() else { continue };
            length += u64::try_from(data.len()).expect("usize fits u64");
            match &mut check {
                Some(check) => check.take(data),
                None => body.extend_from_slice(data),
            }
        }
        if let Some(check) = check {
            check.verdict()?;
        }
        Ok(Answer { status, headers, body, length })
    }

    async fn open(&mut self) -> Result<&mut SendRequest<SendBody>, String> {
        if self.sender.as_ref().is_none_or(SendRequest::is_closed) {
            let dialled = timeout(DIAL_MAX, TcpStream::connect(self.address.socket)).await;
            let stream = dialled.map_err(|_elapsed| format!("no connection in {DIAL_MAX:?}"))?.map_err(|error| error.to_string())?;
            stream.set_nodelay(true).map_err(|error| error.to_string())?;
            let sender = match &self.address.tls {
                None => serve(stream).await?,
                Some((connector, name)) => {
                    serve(connector.connect(name.clone(), stream).await.map_err(|error| format!("TLS: {error}"))?).await?
                }
            };
            self.sender = Some(sender);
        }
        self.sender.as_mut().ok_or_else(|| "no connection".to_owned())
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) -> Result<SendRequest<SendBody>, String> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    // It ends with the sender; what goes wrong on it is seen by the request.
    tokio::spawn(connection);
    Ok(sender)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
