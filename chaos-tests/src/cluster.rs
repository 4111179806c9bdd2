//! A cluster of real processes on loopback, made by `skep dev`.
//!
//! Only processes that were started here are ended, by their ids. One cluster runs at a time: elections and time-outs are measured on what
//! the machine has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde::Deserialize;
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

use crate::client::Client;
use crate::processes::{Said, free_ports, is_running, is_skep, signal, skep_binary, skep_for, wait_until_gone};
use crate::wait::{INTERVAL, wait_for};

/// How long a cluster may take until every node is ready.
const READY_LIMIT: Duration = Duration::from_secs(90);
/// How long killed processes may take to be gone.
const GONE_LIMIT: Duration = Duration::from_secs(10);
/// How long a node may take to end in order.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Lines of each log that a failed test shows.
const LOG_LINES_SHOWN: usize = 40;
/// Clusters take turns.
pub(crate) static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());
/// Password of the admin in all tests.
pub const PASSWORD: &str = "correct horse battery staple";

/// What `skep dev` writes when every node is ready.
#[derive(Clone, Debug, Deserialize)]
pub struct ClusterFile {
    /// The nodes in the order of their ids.
    pub nodes: Vec<NodeEntry>,
}

/// A node in the file.
#[derive(Clone, Debug, Deserialize)]
pub struct NodeEntry {
    /// Its id.
    pub id: u64,
    /// URL of its API.
    pub api: String,
    /// Its process when the file was written.
    pub pid: i32,
    /// Its configuration.
    pub config: PathBuf,
    /// Its data folders.
    pub data: Vec<PathBuf>,
}

/// How to make a cluster.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// Nodes.
    pub nodes: usize,
    /// More arguments of `skep dev`.
    pub arguments: Vec<String>,
    /// Where it lives; a temporary folder if absent.
    pub folder: Option<PathBuf>,
    /// Variables of all processes.
    pub environment: Vec<(String, String)>,
}

impl ClusterOptions {
    /// So many nodes with everything else by default.
    pub fn nodes(nodes: usize) -> Self {
        Self { nodes, arguments: Vec::new(), folder: None, environment: Vec::new() }
    }
}

/// A running cluster; ends with its value.
#[derive(Debug)]
pub struct Cluster {
    options: ClusterOptions,
    folder: PathBuf,
    _temporary: Option<TempDir>,
    port: u16,
    dev: Child,
    /// Nodes started again by hand.
    own: Vec<(usize, Child)>,
    _turn: MutexGuard<'static, ()>,
    /// What `skep dev` wrote.
    pub file: ClusterFile,
}

impl Cluster {
    /// Starts a cluster and waits until every node is ready.
    ///
    /// # Panics
    /// If it does not get ready; its log is in the folder.
    pub async fn start(options: ClusterOptions) -> Self {
        let turn = ONE_AT_A_TIME.lock().await;
        let temporary = options.folder.is_none().then(|| TempDir::new().expect("a temporary folder"));
        let folder = options.folder.clone().or_else(|| temporary.as_ref().map(|own| own.path().join("cluster"))).expect("one of both");
        let port = free_ports(u16::try_from(options.nodes).expect("few nodes"));
        let dev = spawn_dev(&options, &folder, port);
        let file = ClusterFile { nodes: Vec::new() };
        let mut cluster = Self { options, folder, _temporary: temporary, port, dev, own: Vec::new(), _turn: turn, file };
        cluster.wait_ready().await;
        cluster
    }

    /// Ends everything and starts it again from what is on the disks.
    pub async fn restart_all(&mut self) {
        self.kill_all();
        self.start_all().await;
    }

    /// Starts everything again after [`Self::kill_all`].
    pub async fn start_all(&mut self) {
        self.dev = spawn_dev(&self.options, &self.folder, self.port);
        self.wait_ready().await;
    }

    /// Variables for all processes from the next start on.
    pub fn set_environment(&mut self, environment: &[(&str, &str)]) {
        self.options.environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    }

    async fn wait_ready(&mut self) {
        if let Err(why) = self.ready(READY_LIMIT).await {
            panic!("{why}");
        }
    }

    /// Starts everything again, which may fail; it has so long.
    ///
    /// # Errors
    /// A sentence if the nodes are not ready in time.
    pub async fn try_start_all(&mut self, limit: Duration) -> Result<(), String> {
        self.dev = spawn_dev(&self.options, &self.folder, self.port);
        self.ready(limit).await
    }

    async fn ready(&mut self, limit: Duration) -> Result<(), String> {
        let path = self.folder.join("cluster.json");
        let begun = Instant::now();
        loop {
            if let Ok(file) = fs::read(&path) {
                self.file = serde_json::from_slice(&file).map_err(|error| format!("{}: {error}", path.display()))?;
                return Ok(());
            }
            let ended = self.dev.try_wait().map_err(|error| error.to_string())?;
            if ended.is_some() || begun.elapsed() > limit {
                let log = fs::read_to_string(self.folder.with_extension("log")).unwrap_or_default();
                return Err(format!("the cluster is not ready after {:?}, skep dev ended: {ended:?}; it said:\n{log}", begun.elapsed()));
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// A client of a node, by its place from 0, as the admin.
    pub fn client(&self, place: usize) -> Client {
        Client::new(&self.file.nodes[place].api, "admin", PASSWORD)
    }

    /// Clients of all nodes.
    pub fn clients(&self) -> Vec<Client> {
        (0..self.file.nodes.len()).map(|place| self.client(place)).collect()
    }

    /// Ends a node's process without warning.
    pub fn kill(&mut self, place: usize) {
        if let Some(found) = self.own.iter().position(|(own, _)| *own == place) {
            let (_, mut child) = self.own.remove(found);
            child.kill().expect("the child was started here");
            child.wait().expect("it ends");
            return;
        }
        signal(self.file.nodes[place].pid, Signal::KILL);
        wait_until_gone(&[self.file.nodes[place].pid], GONE_LIMIT);
    }

    /// Ends several nodes' processes without warning.
    pub fn kill_nodes(&mut self, places: &[usize]) {
        places.iter().for_each(|place| self.kill(*place));
    }

    /// Tells a node to end in order and waits until it has.
    ///
    /// # Panics
    /// If it has not in time.
    pub async fn stop(&mut self, place: usize) {
        let pid = self.pid(place);
        signal(pid, Signal::TERM);
        self.wait_ended(place, STOP_LIMIT).await;
    }

    /// Waits until a node's process has ended by itself.
    ///
    /// # Panics
    /// If it has not in time.
    pub async fn wait_ended(&mut self, place: usize, limit: Duration) {
        let pid = self.pid(place);
        wait_for("a node to end", limit, async || {
            let ended = match self.own.iter_mut().find(|(own, _)| *own == place) {
                Some((_, child)) => child.try_wait().is_ok_and(|status| status.is_some()),
                None => !is_running(pid),
            };
            if ended { Ok(()) } else { Err(format!("process {pid} still runs")) }
        })
        .await;
    }

    /// Starts a node again that was killed, and waits until it is ready.
    pub async fn start_again(&mut self, place: usize) {
        self.start_unready(place);
        self.wait_node_ready(place).await;
    }

    fn spawn_node(&self, place: usize, environment: &[(&str, &str)]) -> Child {
        let log = fs::File::options().append(true).create(true).open(self.folder.with_extension(format!("n{place}.log"))).expect("a log");
        let mut command = Command::new(skep_binary());
        command.arg("node").arg("--config").arg(&self.file.nodes[place].config).stdin(Stdio::null());
        command.envs(self.options.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        command.stdout(log.try_clone().expect("a handle")).stderr(log).envs(environment.iter().copied());
        command.spawn().expect("the binary starts")
    }

    /// Starts a node with a failpoint armed, without waiting for anything.
    pub fn start_armed(&mut self, place: usize, armed: &str) {
        self.forget_ended(place);
        let child = self.spawn_node(place, &[("SKEP_FAILPOINTS", armed)]);
        self.own.push((place, child));
    }

    /// Shows the last lines of all logs: the folder goes with the test.
    #[expect(clippy::print_stderr, reason = "a failed test says what its processes said")]
    fn tell_logs(&mut self) {
        let names = (1..=self.options.nodes).map(|node| self.folder.join(format!("n{node}")).join("log.txt"));
        let again = (0..self.options.nodes).map(|place| self.folder.with_extension(format!("n{place}.log")));
        for log in names.chain(again).chain([self.folder.with_extension("log")]) {
            if let Ok(text) = fs::read_to_string(&log) {
                eprintln!("== the end of {}\n{}", log.display(), end_of(&text, LOG_LINES_SHOWN));
            }
        }
        for (place, child) in &mut self.own {
            eprintln!("== node at place {place}, started again as process {}: {:?}", child.id(), child.try_wait());
        }
    }

    /// Starts a node without waiting for anything.
    pub fn start_unready(&mut self, place: usize) {
        self.forget_ended(place);
        let child = self.spawn_node(place, &[]);
        self.own.push((place, child));
    }

    /// A node that was started again and has ended gives its place to the next process.
    fn forget_ended(&mut self, place: usize) {
        self.own.retain_mut(|(own, child)| *own != place || child.try_wait().is_ok_and(|status| status.is_none()));
    }

    /// Whether a node that was started again has ended.
    pub fn has_ended(&mut self, place: usize) -> bool {
        let found = self.own.iter_mut().find(|(own, _)| *own == place);
        found.is_none_or(|(_, child)| child.try_wait().is_ok_and(|status| status.is_some()))
    }

    /// Waits until a node says that it is ready.
    pub async fn wait_node_ready(&self, place: usize) {
        let client = self.client(place);
        wait_for("the node to be ready", READY_LIMIT, async || match client.open("/readyz").await? {
            (status, _) if status.is_success() => Ok(()),
            (status, text) => Err(format!("{status}: {text}")),
        })
        .await;
    }

    /// Runs `skep` with these arguments and a node's configuration.
    pub fn skep(&self, place: usize, arguments: &[&str]) -> Said {
        skep_for(&self.file.nodes[place].config, arguments)
    }

    /// `skep status --json` by a node's configuration.
    ///
    /// # Errors
    /// What the command said.
    pub fn status(&self, place: usize) -> Result<serde_json::Value, String> {
        let said = self.skep(place, &["status", "--json"]).good()?;
        serde_json::from_str(&said).map_err(|error| error.to_string())
    }

    /// The place of the node that leads a group, as a node sees it.
    pub fn leader(&self, asked: usize, group: &str) -> Option<usize> {
        let status = self.status(asked).ok()?;
        let groups = status["groups"].as_array()?;
        let group = groups.iter().find(|row| row["name"] == group)?;
        self.place_of(group["leader"].as_u64()?)
    }

    /// The place of a node by its id.
    pub fn place_of(&self, id: u64) -> Option<usize> {
        self.file.nodes.iter().position(|node| node.id == id)
    }

    /// Stops a node's process in its tracks, as a machine does that hangs: its connections stay open and nothing answers.
    pub fn freeze(&self, place: usize) {
        signal(self.pid(place), Signal::STOP);
    }

    /// Lets a frozen node go on.
    pub fn thaw(&self, place: usize) {
        signal(self.pid(place), Signal::CONT);
    }

    /// The process of a node now.
    pub fn pid(&self, place: usize) -> i32 {
        let own = self.own.iter().find(|(own, _)| *own == place).map(|(_, child)| child.id());
        own.map_or(self.file.nodes[place].pid, |id| i32::try_from(id).expect("process ids are small"))
    }

    /// Everything that the nodes and `skep dev` have written to their logs.
    pub fn logs(&self) -> String {
        let names = (1..=self.file.nodes.len().max(self.options.nodes)).map(|node| self.folder.join(format!("n{node}")).join("log.txt"));
        let again = (0..self.options.nodes).map(|place| self.folder.with_extension(format!("n{place}.log")));
        let files = names.chain(again).chain([self.folder.with_extension("log")]);
        files.filter_map(|file| fs::read(file).ok()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect()
    }

    /// Waits until nothing waits for repair.
    pub async fn wait_repaired(&self, place: usize, limit: Duration) {
        wait_for("full redundancy", limit, async || {
            let status = self.status(place)?;
            let datasources = status["datasources"].as_array().cloned().unwrap_or_default();
            let all_there = !datasources.is_empty() && datasources.iter().all(|row| row["available"] == true);
            match (all_there, status["repair_queue"].as_u64(), status["below_profile"].as_u64()) {
                (true, Some(0), Some(0)) => Ok(()),
                _still => Err(format!("{status}")),
            }
        })
        .await;
    }

    /// Ends all processes without warning.
    pub fn kill_all(&mut self) {
        for (_, child) in &mut self.own {
            let _already_dead = child.kill();
            let _status = child.wait();
        }
        self.own.clear();
        let pids: Vec<i32> = self.file.nodes.iter().map(|node| node.pid).collect();
        // The nodes first: when `skep dev` ends, those that are left would end in order, and that takes them a while.
        for pid in &pids {
            if is_skep(*pid) {
                signal(*pid, Signal::KILL);
            }
        }
        let _already_dead = self.dev.kill();
        let _status = self.dev.wait();
        wait_until_gone(&pids, GONE_LIMIT);
        let _absent = fs::remove_file(self.folder.join("cluster.json"));
    }

    /// Where it lives.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell_logs();
        }
        self.kill_all();
    }
}

/// The end of a text, from the beginning of a line.
fn end_of(text: &str, lines: usize) -> String {
    let from = text.lines().count().saturating_sub(lines);
    text.lines().skip(from).collect::<Vec<_>>().join("\n")
}

fn spawn_dev(options: &ClusterOptions, folder: &Path, port: u16) -> Child {
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent).expect("the folder can be made");
    }
    let _absent = fs::remove_file(folder.join("cluster.json"));
    let log = fs::File::create(folder.with_extension("log")).expect("a log beside the folder");
    let mut command = Command::new(skep_binary());
    command.args(["dev", "--nodes", &options.nodes.to_string(), "--port", &port.to_string(), "--admin-password", PASSWORD, "--dir"]);
    command.arg(folder).args(&options.arguments).stdin(Stdio::null());
    command.envs(options.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    command.stdout(log.try_clone().expect("a handle")).stderr(log).spawn().expect("the binary starts")
}
