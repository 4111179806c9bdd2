//! Asks a running node: by the certificate of the node whose configuration is given, over the port between nodes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

use super::errors::CliError;
use super::{ConfigSource, block_on};
use crate::admin_rpc::wire::admin_client::AdminClient;
use crate::config::Config;
use crate::identity::require_member;
use crate::join::client::sentence;
use crate::peers::channel_to;
use crate::tls::verify::Expected;
use crate::tls::{NodeCredentials, NodeTls};

const PATIENCE: Duration = Duration::from_secs(30);

/// Which node to ask.
#[derive(Clone, Debug, Args)]
pub(super) struct Target {
    #[command(flatten)]
    source: ConfigSource,
    /// Asks the node at this RPC address instead of the one whose configuration this is.
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
}

/// A way to a node's admin service.
pub(super) struct Admin {
    calls: AdminClient<Channel>,
    address: String,
}

impl Target {
    /// Asks; the connection is made by the first call.
    pub(super) fn with_admin<T>(&self, work: impl AsyncFnOnce(Admin) -> Result<T, CliError>) -> Result<T, CliError> {
        let config = self.source.load()?;
        block_on(async { work(Admin::of(&config, self.address.clone())?).await })
    }
}

impl Admin {
    /// For the node of a configuration, or another one's address. Only within a runtime.
    pub(super) fn of(config: &Config, address: Option<String>) -> Result<Self, CliError> {
        let identity = require_member(&config.node.data_dir)?;
        let tls = Arc::new(NodeTls::new(&NodeCredentials::load(&config.node.data_dir)?)?);
        let expected = if address.is_some() { Expected::AnyNode } else { Expected::Node(identity.node) };
        let address = address.unwrap_or_else(|| local(config.rpc.listen).to_string());
        let calls = AdminClient::new(channel_to(tls, address.clone(), expected)).max_decoding_message_size(64 << 20);
        Ok(Self { calls, address })
    }

    /// Makes a call and waits for its answer; says in a sentence why there is none.
    pub(super) async fn ask<T>(
        &self,
        call: impl AsyncFnOnce(&mut AdminClient<Channel>) -> Result<Response<T>, Status>,
    ) -> Result<T, CliError> {
        self.ask_within(PATIENCE, call).await
    }

    /// The same, for what takes longer.
    pub(super) async fn ask_within<T>(
        &self,
        patience: Duration,
        call: impl AsyncFnOnce(&mut AdminClient<Channel>) -> Result<Response<T>, Status>,
    ) -> Result<T, CliError> {
        let mut calls = self.calls.clone();
        match tokio::time::timeout(patience, call(&mut calls)).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(self.error(&status)),
            Err(_elapsed) => Err(CliError::unreachable(format!("the node at {} does not answer within {patience:?}", self.address))),
        }
    }

    fn error(&self, status: &Status) -> CliError {
        let why = sentence(status);
        let from_transport = std::error::Error::source(status).is_some();
        match status.code() {
            Code::Unavailable | Code::Unknown if from_transport => CliError::unreachable(format!(
                "the node at {} cannot be asked ({why}): is it running? `skep node --config FILE` starts it; --address asks another node",
                self.address
            )),
            Code::Unauthenticated | Code::PermissionDenied => CliError::failed(format!("the node at {} refuses: {why}", self.address)),
            Code::NotFound => CliError::absent(why),
            _ => CliError::failed(why),
        }
    }
}

/// Where a listener of this machine is reached from this machine.
fn local(listen: SocketAddr) -> SocketAddr {
    match listen.ip() {
        IpAddr::V4(address) if address.is_unspecified() => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), listen.port()),
        IpAddr::V6(address) if address.is_unspecified() => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), listen.port()),
        _ => listen,
    }
}
