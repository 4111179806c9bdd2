//! A client that speaks HTTPS in the version of HTTP that it is told, and trusts one certificate only.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::cluster::PASSWORD;

const LIMIT: Duration = Duration::from_secs(30);

/// A client of one node as the admin.
#[derive(Debug)]
pub struct Https {
    address: String,
    config: Arc<ClientConfig>,
    version: Version,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// The version it came in.
    pub version: Version,
    /// All of it.
    pub body: Bytes,
}

impl Answer {
    /// Its body for people.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Https {
    /// Trusts the certificate (PEM).
    ///
    /// # Panics
    /// If it is none.
    pub fn new(address: &str, certificate: &str, version: Version) -> Self {
        let mut roots = RootCertStore::empty();
        let trusted = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate");
        roots.add(trusted).expect("it can be trusted");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("both are there");
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![if version == Version::HTTP_2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        Self { address: address.to_owned(), config: Arc::new(config), version }
    }

    /// The version that it speaks.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Reads.
    ///
    /// # Errors
    /// A sentence if there is no answer.
    pub async fn get(&self, path: &str) -> Result<Answer, String> {
        self.send("GET", path, Bytes::new()).await
    }

    /// Sends a request over a connection of its own.
    ///
    /// # Errors
    /// A sentence if there is no answer.
    pub async fn send(&self, method: &str, path: &str, body: Bytes) -> Result<Answer, String> {
        let uri = format!("https://{}{path}", self.address);
        let credentials = STANDARD.encode(format!("admin:{PASSWORD}"));
        let request = Request::builder().method(method).uri(uri).version(self.version).header("Depth", "1");
        let request = request.header(AUTHORIZATION, format!("Basic {credentials}")).body(Full::new(body)).map_err(|e| e.to_string())?;
        let asked = tokio::time::timeout(LIMIT, self.exchange(request)).await;
        asked.map_err(|_elapsed| format!("no answer within {LIMIT:?}"))?
    }

    async fn exchange(&self, mut request: Request<Full<Bytes>>) -> Result<Answer, String> {
        let io = TokioIo::new(self.connect().await?);
        let response = if self.version == Version::HTTP_2 {
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.map_err(|error| error.to_string())?;
            tokio::spawn(connection);
            sender.send_request(request).await
        } else {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.map_err(|error| error.to_string())?;
            tokio::spawn(connection);
            request.headers_mut().insert(HOST, self.address.parse().expect("an address is a header's value"));
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
            *request.uri_mut() = path.parse().expect("a path is a URI");
            sender.send_request(request).await
        };
        whole(response.map_err(|error| error.to_string())?).await
    }

    async fn connect(&self) -> Result<TlsStream<TcpStream>, String> {
        let stream = TcpStream::connect(&self.address).await.map_err(|error| error.to_string())?;
        let host = self.address.split(':').next().unwrap_or_default().to_owned();
        let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
        let stream = TlsConnector::from(Arc::clone(&self.config)).connect(name, stream).await.map_err(|error| error.to_string())?;
        let agreed = stream.get_ref().1.alpn_protocol();
        match agreed {
            Some(b"h2") if self.version == Version::HTTP_2 => Ok(stream),
            Some(b"http/1.1") if self.version == Version::HTTP_11 => Ok(stream),
            other => Err(format!("{:?} was asked for, {other:?} agreed on", self.version)),
        }
    }
}

async fn whole(response: Response<Incoming>) -> Result<Answer, String> {
    let (status, version) = (response.status(), response.version());
    let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
    Ok(Answer { status, version, body })
}
