//! The node processes: started from this very binary, told to end with it, never restarted.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::DevError;
use super::plan::{NodePlan, Plan};
use crate::durable_file::{self, FileError, MODE_SECRET};

/// A step of a first start takes so long at most.
const STEP_PATIENCE: Duration = Duration::from_secs(120);

/// The nodes that were started.
#[derive(Debug, Default)]
pub(super) struct Children {
    running: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    plan: NodePlan,
    pid: u32,
    /// `None` once it has ended.
    child: Option<Child>,
}

/// A node that ended.
#[derive(Debug)]
pub(super) struct Ended {
    name: String,
    pid: u32,
    status: Option<ExitStatus>,
    last_line: String,
    pub(super) config_file: PathBuf,
}

impl Ended {
    pub(super) fn sentence(&self) -> String {
        let how = self.status.map_or_else(|| "for an unknown reason".to_owned(), |status| format!("with {status}"));
        let said = if self.last_line.is_empty() { String::new() } else { format!(", its last line: {}", self.last_line) };
        format!("{} (process {}) has ended {how}{said}", self.name, self.pid)
    }
}

impl Node {
    fn ended(&self, status: Option<ExitStatus>) -> Ended {
        let log = std::fs::read_to_string(&self.plan.log_file).unwrap_or_default();
        let last_line = log.lines().last().unwrap_or_default().to_owned();
        Ended { name: self.plan.name.clone(), pid: self.pid, status, last_line, config_file: self.plan.config_file.clone() }
    }
}

impl Children {
    /// Starts a node.
    pub(super) fn start(&mut self, node: &NodePlan) -> Result<(), DevError> {
        let mut command = skep(&["node", "--config"])?;
        command.arg(&node.config_file).arg("--end-with").arg(std::process::id().to_string());
        let log = OpenOptions::new().append(true).create(true).open(&node.log_file).map_err(FileError::at("open", &node.log_file))?;
        let copy = log.try_clone().map_err(FileError::at("open", &node.log_file))?;
        let child = command.stdout(Stdio::from(log)).stderr(Stdio::from(copy)).spawn();
        let child = child.map_err(|error| DevError::Refused(format!("{} cannot be started: {error}", node.name)))?;
        let pid = child.id().unwrap_or_default();
        self.running.retain(|other| other.plan.name != node.name);
        self.running.push(Node { plan: node.clone(), pid, child: Some(child) });
        Ok(())
    }

    pub(super) fn pid_of(&self, name: &str) -> Option<u32> {
        self.running.iter().find(|node| node.plan.name == name).map(|node| node.pid)
    }

    /// A node that has ended by now, if there is one.
    pub(super) fn first_ended(&mut self) -> Option<Ended> {
        for node in &mut self.running {
            if let Some(Ok(Some(status))) = node.child.as_mut().map(Child::try_wait) {
                node.child = None;
                return Some(node.ended(Some(status)));
            }
        }
        None
    }

    /// Waits for the next node that ends.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn next_ended(&mut self) -> Ended {
        let mut waits: Vec<_> = Vec::new();
        for (place, node) in self.running.iter_mut().enumerate() {
            if let Some(child) = node.child.as_mut() {
                waits.push(Box::pin(async move { (place, child.wait().await.ok()) }));
            }
        }
        if waits.is_empty() {
            return std::future::pending().await;
        }
        let (first, _index, others) = futures_util::future::select_all(waits).await;
        drop(others);
        let (place, status) = first;
        self.running[place].child = None;
        self.running[place].ended(status)
    }

    /// Tells all nodes to end and waits; gives the names of those that had to be killed.
    pub(super) async fn stop(mut self, patience: Duration) -> Vec<String> {
        for node in &self.running {
            if node.child.is_some() {
                end(node.pid);
            }
        }
        let deadline = tokio::time::Instant::now() + patience;
        let mut killed = Vec::new();
        for node in &mut self.running {
            let Some(child) = node.child.as_mut() else { continue };
            if tokio::time::timeout_at(deadline, child.wait()).await.is_err() {
                killed.push(node.plan.name.clone());
                if let Err(error) = child.kill().await {
                    tracing::warn!(%error, "a node could not be killed");
                }
            }
        }
        killed
    }
}

/// Asks a process to end. It is a child that was not waited for, so its number is nobody else's.
fn end(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid
        && let Err(error) = kill_process(pid, Signal::TERM)
    {
        tracing::warn!(%error, "a node could not be told to end");
    }
}

/// This binary with arguments, without what the environment says of one node.
fn skep(arguments: &[&str]) -> Result<Command, DevError> {
    let binary = std::env::current_exe().map_err(|error| DevError::Refused(format!("the path of this program is not known: {error}")))?;
    let mut command = Command::new(binary);
    command.args(arguments).stdin(Stdio::null());
    for (name, _value) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if ["SKEP_NODE_", "SKEP_API_", "SKEP_RPC_", "SKEP_DEVICE", "SKEP_CONFIG"].iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    Ok(command)
}

/// Begins the cluster on its first node.
pub(super) async fn init(node: &NodePlan, plan: &Plan) -> Result<(), DevError> {
    let password_file = node.config_file.with_file_name("admin-password");
    durable_file::write(&password_file, plan.admin_password.as_bytes(), MODE_SECRET)?;
    let mut command = skep(&["init", "--config"])?;
    command.arg(&node.config_file).arg("--admin-password-file").arg(&password_file).args(["--profile", &plan.profile]);
    let done = finish(&node.name, command).await;
    std::fs::remove_file(&password_file).map_err(FileError::at("remove", &password_file))?;
    done.map(|_said| ())
}

/// Lets a node enter the cluster of another.
pub(super) async fn join(first: &NodePlan, node: &NodePlan) -> Result<(), DevError> {
    let mut make = skep(&["join-token", "--config"])?;
    make.arg(&first.config_file);
    let token = finish(&first.name, make).await?;
    let token_file = node.config_file.with_file_name("join-token");
    durable_file::write(&token_file, &token, MODE_SECRET)?;
    let mut command = skep(&["join", "--config"])?;
    command.arg(&node.config_file).arg("--token-file").arg(&token_file);
    let done = finish(&node.name, command).await;
    std::fs::remove_file(&token_file).map_err(FileError::at("remove", &token_file))?;
    done.map(|_said| ())
}

/// The state of the cluster as a node sees it, as JSON.
pub(super) async fn status(node: &NodePlan) -> Result<Vec<u8>, DevError> {
    let mut command = skep(&["status", "--json", "--config"])?;
    command.arg(&node.config_file);
    finish(&node.name, command).await
}

/// Runs a short command to its end; gives what it said on standard output.
async fn finish(name: &str, mut command: Command) -> Result<Vec<u8>, DevError> {
    let what = format!("{:?}", command.as_std().get_args().next().unwrap_or_default());
    let running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).output();
    let output = match tokio::time::timeout(STEP_PATIENCE, running).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(DevError::Refused(format!("{what} of {name} cannot be started: {error}"))),
        Err(_elapsed) => return Err(DevError::Refused(format!("{what} of {name} took longer than {STEP_PATIENCE:?}"))),
    };
    if output.status.success() {
        return Ok(output.stdout);
    }
    let mut said = Vec::new();
    // Both, as the reason may be in either.
    said.write_all(&output.stdout).and_then(|()| said.write_all(&output.stderr)).expect("writing to a vector cannot fail");
    Err(DevError::Refused(format!("{what} of {name} ended with {}: {}", output.status, String::from_utf8_lossy(&said).trim())))
}
