//! Connections for shards, from before the devices are open: such a one is closed, and its node tries again.

use std::sync::{Arc, OnceLock};

use futures_util::future::BoxFuture;
use skep_placement::ids::NodeId;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::chunk_rpc::server::LocalDevices;
use crate::rpc_server::ShardConnectionHandler;

/// Serves shards once it is given the devices.
#[derive(Debug, Default)]
pub(super) struct LateShards {
    devices: OnceLock<LocalDevices>,
}

impl LateShards {
    /// Serves these from now on.
    pub(super) fn provide(&self, devices: LocalDevices) {
        if self.devices.set(devices).is_err() {
            tracing::error!("the shard service has its devices already");
        }
    }
}

impl ShardConnectionHandler for LateShards {
    fn serve(&self, peer: NodeId, connection: TlsStream<TcpStream>, stop: CancellationToken) -> BoxFuture<'static, ()> {
        let devices = self.devices.get().cloned();
        Box::pin(async move {
            let Some(devices) = devices else {
                tracing::debug!(%peer, "a connection for shards came before the devices are open");
                return;
            };
            if let Some(Err(error)) = stop.run_until_cancelled(devices.serve(connection)).await {
                tracing::debug!(%peer, %error, "a connection for shards ended");
            }
        })
    }
}

impl ShardConnectionHandler for Arc<LateShards> {
    fn serve(&self, peer: NodeId, connection: TlsStream<TcpStream>, stop: CancellationToken) -> BoxFuture<'static, ()> {
        self.as_ref().serve(peer, connection, stop)
    }
}
