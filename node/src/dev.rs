//! `skep dev`: a whole cluster of node *processes* on loopback in one folder, for trying and testing.
//!
//! The folder holds a plan (who listens where, the administrator's password), a folder a node, and `cluster.json` for scripts while the cluster
//! is ready. Invariants: the nodes end when this process ends, however it ends; a node that was killed stays dead; what was begun and
//! interrupted is finished by the next start.

mod children;
mod plan;
mod probe;
mod settled;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;
use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind, signal};
use zeroize::Zeroizing;

use crate::durable_file::{self, FileError, MODE_SECRET};
use crate::identity::require_member;
use children::Children;
use plan::{NodePlan, Plan};

/// Name of the file for scripts.
pub const CLUSTER_FILE: &str = "cluster.json";

/// How long the nodes may take to become ready.
const READY_PATIENCE: Duration = Duration::from_secs(180);
/// How long the nodes may take to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(40);
const PROBE_PAUSE: Duration = Duration::from_millis(100);
/// How long voters and pools may take to follow the number of nodes.
const SETTLE_PATIENCE: Duration = Duration::from_secs(60);
const SETTLE_PAUSE: Duration = Duration::from_millis(300);
/// How long ports may be taken by nodes that are about to end.
const PORTS_PATIENCE: Duration = Duration::from_secs(20);

/// What the person says.
#[derive(Clone, Debug)]
pub struct DevOptions {
    /// How many nodes.
    pub nodes: u16,
    /// Where everything is kept.
    pub dir: PathBuf,
    /// API port of the first node; node i has this plus i, from 0.
    pub port: u16,
    /// Of the user admin; `None`: the one kept in the folder, or a drawn one.
    pub admin_password: Option<Zeroizing<String>>,
    /// Nodes are dealt out over so many zones.
    pub zones: u16,
    /// Devices of each node.
    pub devices_per_node: u16,
    /// auto or K+M.
    pub profile: String,
}

/// Why the cluster did not run: a sentence.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Something is in the way; a whole sentence.
    #[error("{0}")]
    Refused(String),
}

/// Tells the person what happens.
pub type Tell<'a> = &'a (dyn Fn(&str) + 'a);

#[derive(Serialize)]
struct ClusterFile<'a> {
    nodes: Vec<ClusterNode<'a>>,
    admin: Admin<'a>,
}

#[derive(Serialize)]
struct ClusterNode<'a> {
    id: u64,
    name: &'a str,
    api: String,
    rpc: String,
    pid: u32,
    config: &'a Path,
    data: Vec<&'a Path>,
}

#[derive(Serialize)]
struct Admin<'a> {
    login: &'a str,
    password: &'a str,
}

/// Both signals that end a process in order.
struct Ending {
    terminate: Signal,
    interrupt: Signal,
}

impl Ending {
    fn follow() -> Result<Self, DevError> {
        let refused = |error: std::io::Error| DevError::Refused(format!("signals cannot be followed: {error}"));
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(refused)?,
            interrupt: signal(SignalKind::interrupt()).map_err(refused)?,
        })
    }

    async fn told(&mut self) {
        tokio::select! {
            _signal = self.terminate.recv() => {}
            _signal = self.interrupt.recv() => {}
        }
    }
}

/// Runs the cluster of a folder until this process is told to end. Must run on the process's main thread: the nodes end with the thread
/// that started them.
///
/// # Errors
/// [`DevError`]; no node runs on then.
pub async fn run(options: &DevOptions, tell: Tell<'_>) -> Result<(), DevError> {
    durable_file::create_folder(&options.dir)?;
    let dir = options.dir.canonicalize().map_err(FileError::at("find", &options.dir))?;
    let _lock = lock(&dir)?;
    let mut ending = Ending::follow()?;
    let plan = Plan::of(&dir, options)?;
    let mut children = Children::default();
    let started = tokio::select! {
        started = start(&dir, &plan, &mut children, tell) => started.map(|()| true),
        () = ending.told() => Ok(false),
    };
    let run = match started {
        Ok(true) => {
            watch(&mut children, &mut ending, tell).await;
            Ok(())
        }
        Ok(false) => Ok(()),
        Err(error) => Err(error),
    };
    tell("the nodes are told to end");
    let stubborn = children.stop(STOP_PATIENCE).await;
    for name in stubborn {
        tell(&format!("{name} did not end within {STOP_PATIENCE:?} and was killed"));
    }
    forget_cluster_file(&dir)?;
    run
}

fn lock(dir: &Path) -> Result<File, DevError> {
    let path = dir.join("dev.lock");
    let file = File::create(&path).map_err(FileError::at("open", &path))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            Err(DevError::Refused(format!("another `skep dev` runs in {}: end that one first", dir.display())))
        }
        Err(error) => Err(FileError::at("lock", &path)(error.into()).into()),
    }
}

/// A file that says "ready" must not outlive the readiness.
fn forget_cluster_file(dir: &Path) -> Result<(), DevError> {
    let path = dir.join(CLUSTER_FILE);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(FileError::at("remove", &path)(error).into()),
        _gone => Ok(()),
    }
}

async fn start(dir: &Path, plan: &Plan, children: &mut Children, tell: Tell<'_>) -> Result<(), DevError> {
    forget_cluster_file(dir)?;
    wait_until_ports_are_free(plan, tell).await?;
    let is_new = |node: &NodePlan| require_member(&node.data_folder).is_err();
    let Some(first) = plan.nodes.first() else {
        return Err(DevError::Refused("a cluster has one node at least".to_owned()));
    };
    if is_new(first) {
        tell("a new cluster is made");
        children::init(first, plan).await?;
    }
    // Nodes that are members already start together: one alone has no quorum.
    for node in plan.nodes.iter().filter(|node| !is_new(node)) {
        children.start(node)?;
    }
    for node in plan.nodes.iter().filter(|node| is_new(node)) {
        wait_until_ready(first, children).await?;
        tell(&format!("{} joins", node.name));
        children::join(first, node).await?;
        children.start(node)?;
        // One after another: each changes who decides.
        wait_until_ready(node, children).await?;
    }
    for node in &plan.nodes {
        wait_until_ready(node, children).await?;
        tell(&format!("{} is ready at {}", node.name, node.api_url()));
    }
    wait_until_settled(first, plan, tell).await?;
    write_cluster_file(dir, plan, children)?;
    tell(&format!("all nodes are ready; admin's password is in {}", dir.join(CLUSTER_FILE).display()));
    Ok(())
}

/// Waits for the ports: nodes of a killed `skep dev` end by themselves a moment later.
async fn wait_until_ports_are_free(plan: &Plan, tell: Tell<'_>) -> Result<(), DevError> {
    let deadline = tokio::time::Instant::now() + PORTS_PATIENCE;
    let mut is_told = false;
    while let Err(error) = plan.check_ports() {
        if tokio::time::Instant::now() >= deadline {
            return Err(error);
        }
        if !is_told {
            tell(&format!("waiting for a port: {error}"));
            is_told = true;
        }
        tokio::time::sleep(PROBE_PAUSE).await;
    }
    Ok(())
}

async fn wait_until_ready(node: &NodePlan, children: &mut Children) -> Result<(), DevError> {
    let deadline = tokio::time::Instant::now() + READY_PATIENCE;
    loop {
        if let Some(ended) = children.first_ended() {
            return Err(DevError::Refused(ended.sentence()));
        }
        let why = match probe::ready(node.api_port).await {
            Ok(()) => return Ok(()),
            Err(why) => why,
        };
        if tokio::time::Instant::now() >= deadline {
            let log = node.log_file.display();
            return Err(DevError::Refused(format!("{} is not ready after {READY_PATIENCE:?}: {why}; its log is {log}", node.name)));
        }
        tokio::time::sleep(PROBE_PAUSE).await;
    }
}

/// Waits until the voters and the pools are what they are to be with so many nodes, so that what is written first is spread already.
async fn wait_until_settled(first: &NodePlan, plan: &Plan, tell: Tell<'_>) -> Result<(), DevError> {
    let deadline = tokio::time::Instant::now() + SETTLE_PATIENCE;
    loop {
        let unsettled = match children::status(first).await {
            Ok(status) => settled::what_is_missing(&status, plan.nodes.len(), first.devices.len()),
            // A leadership may just change.
            Err(error) => Some(error.to_string()),
        };
        let Some(what) = unsettled else { return Ok(()) };
        if tokio::time::Instant::now() >= deadline {
            tell(&format!("the cluster serves, but {what}; `skep status` shows when that is done"));
            return Ok(());
        }
        tokio::time::sleep(SETTLE_PAUSE).await;
    }
}

fn write_cluster_file(dir: &Path, plan: &Plan, children: &Children) -> Result<(), DevError> {
    let mut nodes = Vec::with_capacity(plan.nodes.len());
    for node in &plan.nodes {
        let identity = require_member(&node.data_folder).map_err(|error| DevError::Refused(error.to_string()))?;
        nodes.push(ClusterNode {
            id: identity.node.0,
            name: &node.name,
            api: node.api_url(),
            rpc: format!("127.0.0.1:{}", node.rpc_port),
            pid: children.pid_of(&node.name).unwrap_or_default(),
            config: &node.config_file,
            data: node.devices.iter().map(PathBuf::as_path).collect(),
        });
    }
    let file = ClusterFile { nodes, admin: Admin { login: "admin", password: &plan.admin_password } };
    let text = serde_json::to_vec_pretty(&file).map_err(|error| DevError::Refused(error.to_string()))?;
    Ok(durable_file::write(&dir.join(CLUSTER_FILE), &text, MODE_SECRET)?)
}

/// Tells of nodes that end, until this process is told to.
async fn watch(children: &mut Children, ending: &mut Ending, tell: Tell<'_>) {
    loop {
        tokio::select! {
            () = ending.told() => return,
            ended = children.next_ended() => tell(&format!("{}; start it again with: skep node --config {}", ended.sentence(), ended.config_file.display())),
        }
    }
}
