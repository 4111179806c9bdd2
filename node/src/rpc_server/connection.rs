//! One control connection as the gRPC server sees it: bytes, whose certificate it showed, and an end that can be forced.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use skep_placement::ids::NodeId;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

/// A TLS connection that breaks when the server is cut.
pub struct RpcConnection {
    stream: TlsStream<TcpStream>,
    peer: Option<NodeId>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    _slot: OwnedSemaphorePermit,
}

impl std::fmt::Debug for RpcConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RpcConnection").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl RpcConnection {
    pub(super) fn new(stream: TlsStream<TcpStream>, peer: Option<NodeId>, slot: OwnedSemaphorePermit, cut: &CancellationToken) -> Self {
        Self { stream, peer, cut: Box::pin(cut.clone().cancelled_owned()), _slot: slot }
    }
}

/// Whose certificate a connection showed; `None` if it showed none.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionPeer(pub(super) Option<NodeId>);

impl Connected for RpcConnection {
    type ConnectInfo = ConnectionPeer;

    fn connect_info(&self) -> ConnectionPeer {
        ConnectionPeer(self.peer)
    }
}

impl AsyncRead for RpcConnection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.cut.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the node stops")));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for RpcConnection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
