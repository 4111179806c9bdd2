//! A cluster of `skep dev`, driven from outside as people do.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::child;
use crate::fault::Fault;
use crate::http_client::{Address, SendBody, Take};
use crate::protocol::{Protocol, Speaker};
use crate::side::Side;
use crate::work_folder::cluster_folder;

/// How long a cluster may take until it is whole.
const START_MAX: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(50);
/// Of clusters that live for minutes on loopback.
const PASSWORD: &str = "only for the benchmark";

#[derive(Clone, Debug, Deserialize)]
struct ClusterFile {
    nodes: Vec<NodeEntry>,
}

#[derive(Clone, Debug, Deserialize)]
struct NodeEntry {
    id: u64,
    name: String,
    api: String,
    pid: u32,
    config: PathBuf,
}

/// A running cluster; ends with its value.
#[derive(Debug)]
pub struct Cluster {
    binary: PathBuf,
    folder: TempDir,
    dev: Child,
    file: ClusterFile,
    /// Started again by hand.
    own: Vec<Child>,
    side: Side,
}

/// The first of so many ports in a row that are free.
///
/// # Errors
/// If there are none.
pub fn free_ports(count: u16) -> Result<u16, Fault> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = 21_000 + u16::try_from(std::process::id() % 300).unwrap_or(0) * 30;
    for _attempt in 0..200 {
        let port = start + NEXT.fetch_add(count, Ordering::Relaxed) % 9_000;
        if (port..port + count).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return Ok(port);
        }
    }
    Err(Fault::new(format!("there are no {count} free ports in a row on 127.0.0.1")))
}

impl Cluster {
    /// Starts a cluster with its files below a folder and waits until every node is ready, every group has its voters and every placement
    /// group its devices.
    ///
    /// # Errors
    /// If it does not get there.
    pub async fn start(binary: &Path, name: &str, below: &Path, nodes: usize) -> Result<Self, Fault> {
        let folder = cluster_folder(below)?;
        // Nodes' RPC ports are a hundred above those of their API.
        let port = free_ports(110)?;
        let dir = folder.path().join("c").display().to_string();
        let words = ["dev", "--nodes", &nodes.to_string(), "--dir", &dir, "--port", &port.to_string(), "--admin-password", PASSWORD];
        let dev = child::start(binary, &words.map(str::to_owned), &folder.path().join("dev.log"))?;
        let speaker = Arc::new(Speaker::new(Protocol::Skep));
        let side = Side { name: name.to_owned(), speaker, addresses: Vec::new(), pids: Vec::new() };
        let file = ClusterFile { nodes: Vec::new() };
        let mut cluster = Self { binary: binary.to_path_buf(), folder, dev, file, own: Vec::new(), side };
        let begun = Instant::now();
        cluster.wait_ready(begun).await.map_err(|fault| cluster.with_log(fault))?;
        cluster.sign_in().await?;
        cluster.wait_whole(begun).await.map_err(|fault| cluster.with_log(fault))?;
        cluster.side.wait_serving(1, START_MAX).await?;
        Ok(cluster)
    }

    fn with_log(&self, fault: Fault) -> Fault {
        let log = std::fs::read_to_string(self.folder.path().join("dev.log")).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(5).collect();
        fault.advise(format!("The last that skep dev said: {}", tail.into_iter().rev().collect::<Vec<_>>().join(" | ")))
    }

    async fn wait_ready(&mut self, begun: Instant) -> Result<(), Fault> {
        let path = self.folder.path().join("c/cluster.json");
        loop {
            if let Some(file) = std::fs::read(&path).ok().and_then(|text| serde_json::from_slice::<ClusterFile>(&text).ok()) {
                self.file = file;
                break;
            }
            if let Ok(Some(status)) = self.dev.try_wait() {
                return Err(Fault::new(format!("skep dev ended with {status}")));
            }
            if begun.elapsed() > START_MAX {
                return Err(Fault::new(format!("the cluster is not ready after {START_MAX:?}")));
            }
            tokio::time::sleep(PAUSE).await;
        }
        for node in &self.file.nodes {
            let bad = || Fault::new(format!("cluster.json: {} is no address of ours", node.api));
            let authority = node.api.strip_prefix("http://").ok_or_else(bad)?;
            let socket: SocketAddr = authority.parse().map_err(|_not_one| bad())?;
            let host = HeaderValue::from_str(authority).map_err(|_not_one| bad())?;
            self.side.addresses.push(Arc::new(Address { name: format!("{} {}", self.side.name, node.name), socket, host, tls: None }));
            self.side.pids.push(node.pid);
        }
        Ok(())
    }

    /// Opens a session; it lasts an hour, so every row takes its own.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn sign_in(&self) -> Result<(), Fault> {
        let body = json!({"AuthInfo": {"type": "credentials", "login": "admin", "password": PASSWORD}}).to_string();
        let request = Request::builder().method(Method::POST).uri("/a/frontend/session").header(CONTENT_TYPE, "application/json");
        let request = request.body(SendBody::Full(Bytes::from(body))).map_err(|error| Fault::new(error.to_string()))?;
        let answer = self.side.connection(0).request(request, Take::Keep).await?;
        let token = serde_json::from_slice::<Value>(&answer.body).ok().and_then(|answer| Some(answer["JWT"].as_str()?.to_owned()));
        let token = token.ok_or_else(|| Fault::new(format!("no session was opened: {} {}", answer.status, answer.shown())))?;
        self.side.speaker.authorize(&format!("Bearer {token}"));
        Ok(())
    }

    async fn wait_whole(&self, begun: Instant) -> Result<(), Fault> {
        let nodes = self.file.nodes.len();
        loop {
            let status = self.side.get(0, "/a/skep/status").await;
            let why = match status.map(|text| serde_json::from_str::<Value>(&text)) {
                Ok(Ok(status)) if is_whole(&status, nodes) => return Ok(()),
                Ok(Ok(status)) => format!("groups {} pools {}", status["groups"], status["pools"]),
                Ok(Err(error)) => error.to_string(),
                Err(fault) => fault.to_string(),
            };
            if begun.elapsed() > START_MAX {
                return Err(Fault::new(format!("the cluster is not whole after {START_MAX:?}: {why}")));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// As it is measured.
    pub fn side(&self) -> Side {
        self.side.clone()
    }

    /// Kills the node that leads the files' group with SIGKILL, the hardest case for those who go on; returns what is needed to start it again.
    ///
    /// # Errors
    /// If the cluster does not say who leads.
    pub async fn kill_leader(&mut self) -> Result<Killed, Fault> {
        let text = self.side.get(0, "/a/skep/status").await?;
        let status: Value = serde_json::from_str(&text).map_err(|error| Fault::new(error.to_string()))?;
        let place = leader_of(&status).and_then(|id| self.file.nodes.iter().position(|node| node.id == id));
        let place = place.filter(|place| *place < self.side.pids.len());
        let place =
            place.ok_or_else(|| Fault::new(format!("the cluster does not say who leads the group of its files: {}", status["groups"])))?;
        let (pid, address) = (self.side.pids.remove(place), self.side.addresses.remove(place));
        child::kill(pid, &self.binary);
        child::wait_gone(pid, &self.binary);
        Ok(Killed { place, address, config: self.file.nodes[place].config.clone() })
    }

    /// Starts a killed node again and waits until it says that it is ready; returns how long that took.
    ///
    /// # Errors
    /// If it does not get ready.
    pub async fn restart(&mut self, killed: Killed) -> Result<Duration, Fault> {
        let begun = Instant::now();
        let words = ["node".to_owned(), "--config".to_owned(), killed.config.display().to_string()];
        let node = child::start(&self.binary, &words, &self.folder.path().join("again.log"))?;
        let place = killed.place;
        self.side.pids.insert(place, node.id());
        self.own.push(node);
        self.side.addresses.insert(place, killed.address);
        while let Err(fault) = self.side.get(place, "/readyz").await {
            if begun.elapsed() > START_MAX {
                return Err(fault.at(format!("the node is not ready after {START_MAX:?}")));
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(begun.elapsed())
    }
}

/// A node that was killed.
#[derive(Debug)]
pub struct Killed {
    /// Among all nodes.
    place: usize,
    address: Arc<Address>,
    config: PathBuf,
}

/// The node that leads the group of the first datasource, which holds the workspace that the bench writes to.
fn leader_of(status: &Value) -> Option<u64> {
    let name = &status["datasources"][0]["name"];
    status["groups"].as_array()?.iter().find(|group| group["name"] == *name)?["leader"].as_u64()
}

/// Every group has all its voters, and the code in force is that of so many nodes.
fn is_whole(status: &Value, nodes: usize) -> bool {
    let codes = BTreeMap::from([(1, "1+0"), (2, "1+1"), (6, "4+2")]);
    let code = codes.get(&nodes).copied().unwrap_or("2+1");
    let groups = status["groups"].as_array().cloned().unwrap_or_default();
    let has_voters = |group: &Value| group["voters"].as_array().is_some_and(|voters| voters.len() >= nodes.min(3));
    let pools = status["pools"].as_array().cloned().unwrap_or_default();
    let is_placed = |pool: &Value| pool["incomplete"] == 0 && pool["code"] == code;
    groups.len() >= 3 && groups.iter().all(has_voters) && !pools.is_empty() && pools.iter().all(is_placed)
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The nodes first: told to end in order they would take their time.
        for pid in self.side.pids.iter().chain(self.file.nodes.iter().map(|node| &node.pid)) {
            child::kill(*pid, &self.binary);
        }
        for node in &mut self.own {
            let _status = node.wait();
        }
        let _already_dead = self.dev.kill();
        let _status = self.dev.wait();
        for node in &self.file.nodes {
            child::wait_gone(node.pid, &self.binary);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{is_whole, leader_of};

    #[test]
    fn the_leader_of_the_files_is_found() {
        let groups = json!([{"name": "system", "leader": 1}, {"name": "files", "leader": 3}]);
        assert_eq!(leader_of(&json!({"groups": groups, "datasources": [{"name": "files"}, {"name": "other"}]})), Some(3));
        assert_eq!(leader_of(&json!({"groups": []})), None);
    }

    #[test]
    fn a_cluster_is_whole_with_all_voters_and_its_code() {
        let status = |voters: &[u8], code: &str| {
            let group = json!({"voters": voters});
            json!({"groups": [group, group, group], "pools": [{"incomplete": 0, "code": code}]})
        };
        assert!(is_whole(&status(&[1, 2, 3], "2+1"), 3));
        assert!(!is_whole(&status(&[1], "2+1"), 3));
        assert!(!is_whole(&status(&[1, 2, 3], "1+0"), 3));
        assert!(is_whole(&status(&[1, 2, 3], "4+2"), 6) && is_whole(&status(&[1], "1+0"), 1));
        assert!(!is_whole(&json!({}), 3));
    }
}
