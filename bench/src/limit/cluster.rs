//! Starts and ends the processes of the limit program.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;
use tempfile::TempDir;

use super::node::LimitNodeOptions;
use super::tls;
use crate::child;
use crate::fault::Fault;
use crate::http_client::Address;
use crate::protocol::{Protocol, Speaker};
use crate::side::Side;
use crate::work_folder::cluster_folder;

/// How long the nodes may take to listen; each writes its log once.
const START_MAX: Duration = Duration::from_secs(30);

/// A running limit program; ends with its value.
#[derive(Debug)]
pub struct LimitCluster {
    nodes: Vec<Child>,
    side: Side,
    _folder: TempDir,
}

impl LimitCluster {
    /// Starts so many nodes with their files below a folder.
    ///
    /// # Errors
    /// If a process cannot be started or does not listen.
    pub async fn start(below: &Path, count: usize, port: u16) -> Result<Self, Fault> {
        let folder = cluster_folder(below)?;
        tls::make(folder.path()).map_err(|error| Fault::io("write a certificate in", folder.path().display(), error))?;
        let own = std::env::current_exe().map_err(|error| Fault::io("find", "this program", error))?;
        let mut nodes = Vec::with_capacity(count);
        let mut addresses = Vec::with_capacity(count);
        for index in 0..count {
            let options = LimitNodeOptions { dir: folder.path().to_path_buf(), index, count, port };
            let dir = options.dir.display().to_string();
            let words =
                ["limit-node", "--dir", &dir, "--index", &index.to_string(), "--count", &count.to_string(), "--port", &port.to_string()];
            let log = folder.path().join(format!("log-of-{index}.txt"));
            nodes.push(child::start(&own, &words.map(str::to_owned), &log)?);
            let socket = SocketAddr::from((Ipv4Addr::LOCALHOST, options.client_port(index)));
            let host = HeaderValue::from_static("limit");
            addresses.push(Arc::new(Address { name: format!("limit node {}", index + 1), socket, host, tls: None }));
        }
        let pids = nodes.iter().map(Child::id).collect();
        let side = Side { name: "limit".to_owned(), speaker: Arc::new(Speaker::new(Protocol::Limit)), addresses, pids };
        let cluster = Self { nodes, side, _folder: folder };
        cluster.wait_listening().await?;
        cluster.side.wait_serving(1, START_MAX).await?;
        Ok(cluster)
    }

    async fn wait_listening(&self) -> Result<(), Fault> {
        let begun = Instant::now();
        for node in 0..self.side.addresses.len() {
            while let Err(fault) = self.side.get(node, "/metrics").await {
                if begun.elapsed() > START_MAX {
                    return Err(fault);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }

    /// As it is measured.
    pub fn side(&self) -> Side {
        self.side.clone()
    }

    /// Kills the last node.
    pub fn kill_last(&mut self) {
        if let Some(mut node) = self.nodes.pop() {
            let _already_dead = node.kill();
            let _status = node.wait();
        }
        self.side.addresses.truncate(self.nodes.len());
        self.side.pids.truncate(self.nodes.len());
    }
}

impl Drop for LimitCluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            let _already_dead = node.kill();
            let _status = node.wait();
        }
    }
}
