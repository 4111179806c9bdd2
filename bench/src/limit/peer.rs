//! Calls between limit nodes: a byte of kind, a length, bytes; answered by a length and bytes. One call at a time on a connection.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::tls::server_name;

/// What a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Store a shard; answers its place.
    PutShard,
    /// Read (place, length) of shards.
    GetShard,
    /// Put records into the log; answers when a quorum has them.
    Propose,
    /// Confirm the leader; answers the newest committed number.
    ReadId,
    /// Append to a follower's log.
    Append,
    /// Is the follower there?
    Confirm,
    /// The record of a file, for a node without the log.
    Lookup,
}

const KINDS: [Kind; 7] = [Kind::PutShard, Kind::GetShard, Kind::Propose, Kind::ReadId, Kind::Append, Kind::Confirm, Kind::Lookup];
/// Up to here head and bytes go down in one write.
const JOINED_BYTES_MAX: usize = 16 << 10;
const FRAME_BYTES_MAX: usize = 64 << 20;

/// Another node.
pub(super) struct Peer {
    address: SocketAddr,
    connector: TlsConnector,
    idle: Mutex<Vec<TlsStream<TcpStream>>>,
    dead: AtomicBool,
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "peer at {}", self.address)
    }
}

impl Peer {
    pub(super) fn new(address: SocketAddr, connector: TlsConnector) -> Self {
        Self { address, connector, idle: Mutex::new(Vec::new()), dead: AtomicBool::new(false) }
    }

    /// False for ever once a call failed.
    pub(super) fn is_alive(&self) -> bool {
        !self.dead.load(Ordering::Relaxed)
    }

    /// Asks and waits for the answer.
    pub(super) async fn call(&self, kind: Kind, payload: &Bytes) -> io::Result<Bytes> {
        let answer = self.try_call(kind, payload).await;
        if answer.is_err() {
            self.dead.store(true, Ordering::Relaxed);
        }
        answer
    }

    async fn try_call(&self, kind: Kind, payload: &Bytes) -> io::Result<Bytes> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut stream = match idle {
            Some(stream) => stream,
            None => self.dial().await?,
        };
        let code = KINDS.iter().position(|known| *known == kind).and_then(|place| u8::try_from(place).ok()).expect("seven kinds");
        write(&mut stream, &[code], payload).await?;
        let mut length = [0; 4];
        stream.read_exact(&mut length).await?;
        let answer = read_body(&mut stream, length).await?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
        Ok(answer)
    }

    async fn dial(&self) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        self.connector.connect(server_name(), stream).await
    }
}

/// Takes the next call; `None` when the peer is gone.
pub(super) async fn read_call<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Option<(Kind, Bytes)>> {
    let mut head = [0; 5];
    if stream.read(&mut head[..1]).await? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut head[1..]).await?;
    let [code, length @ ..] = head;
    let kind = KINDS.get(usize::from(code)).copied().ok_or(io::ErrorKind::InvalidData)?;
    Ok(Some((kind, read_body(stream, length).await?)))
}

/// Answers a call.
pub(super) async fn write_answer<S: AsyncWrite + Unpin>(stream: &mut S, answer: &Bytes) -> io::Result<()> {
    write(stream, &[], answer).await
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, head: &[u8], payload: &Bytes) -> io::Result<()> {
    let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
    let mut first = Vec::with_capacity(16 + payload.len().min(JOINED_BYTES_MAX));
    first.extend_from_slice(head);
    first.extend_from_slice(&length.to_be_bytes());
    if payload.len() <= JOINED_BYTES_MAX {
        first.extend_from_slice(payload);
        stream.write_all(&first).await?;
    } else {
        stream.write_all(&first).await?;
        stream.write_all(payload).await?;
    }
    stream.flush().await
}

async fn read_body<S: AsyncRead + Unpin>(stream: &mut S, length: [u8; 4]) -> io::Result<Bytes> {
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(io::Error::other)?;
    if length > FRAME_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = BytesMut::with_capacity(length);
    let mut limited = stream.take(u64::try_from(length).map_err(io::Error::other)?);
    while bytes.len() < length {
        if limited.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(bytes.freeze())
}
