//! The three nodes: started by `skep dev`, found again by a later run, ended together.

use super::folder::DemoFolder;
use super::{NODES, client, processes};
use crate::fault::Fault;
use crate::interrupt::Interrupt;
use crate::{build, output};
use indicatif::ProgressBar;
use serde::Deserialize;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// How long the nodes may take from the first process to ready.
const START_LIMIT: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(100);

/// What `skep dev` writes about its cluster.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ClusterFile {
    pub(crate) nodes: Vec<NodeEntry>,
    pub(crate) admin: Admin,
}

/// One node of it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct NodeEntry {
    pub(crate) name: String,
    pub(crate) api: String,
    pub(crate) pid: i32,
    pub(crate) config: PathBuf,
}

/// The first administrator.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Admin {
    pub(crate) login: String,
    pub(crate) password: String,
}

impl ClusterFile {
    /// Reads it from a demo's folder.
    pub(crate) fn read(folder: &DemoFolder) -> Result<Self, Fault> {
        let path = folder.cluster_file();
        let text = fs::read_to_string(&path).map_err(|cause| Fault::at("read", &path, cause))?;
        let file: ClusterFile = serde_json::from_str(&text).map_err(|cause| Fault::at("understand", &path, cause))?;
        if file.nodes.is_empty() {
            return Err(Fault::at("use", &path, "it names no node"));
        }
        Ok(file)
    }

    /// The API addresses of all nodes.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.api.trim_end_matches('/').to_owned()).collect()
    }
}

/// A running cluster, ended by [`Cluster::stop`] and left alone by [`Cluster::leave_running`].
#[derive(Debug)]
pub(crate) struct Cluster {
    folder: DemoFolder,
    file: ClusterFile,
    binary: PathBuf,
    pid: i32,
    /// None if an earlier run started it.
    child: Mutex<Option<Child>>,
}

/// The process id of this demo's `skep dev`, if it runs.
pub(crate) fn running(folder: &DemoFolder) -> Option<i32> {
    let pid = fs::read_to_string(folder.pid_file()).ok()?.trim().parse().ok()?;
    processes::belongs_to(pid, folder.path()).then_some(pid)
}

/// Ends whatever works in this folder and returns how many processes that were: first the parent, which ends its nodes in order.
pub(crate) fn stop_all(folder: &DemoFolder) -> Result<usize, Fault> {
    let all = processes::of_folder(folder.path());
    if let Some(parent) = running(folder) {
        processes::end(&[parent], folder.path())?;
    }
    processes::end(&processes::of_folder(folder.path()), folder.path())?;
    match fs::remove_file(folder.pid_file()) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => Err(Fault::at("remove", &folder.pid_file(), cause)),
        _ => Ok(all.len()),
    }
}

/// Starts the nodes, or takes over those of this folder that run.
pub(crate) fn start(folder: &DemoFolder, binary: &Path, port: u16, interrupt: &Interrupt) -> Result<Cluster, Fault> {
    if let Some(pid) = running(folder) {
        let file = ClusterFile::read(folder)?;
        output::good(&format!("already running (process {pid})"));
        return Ok(Cluster { folder: folder.clone(), file, binary: binary.to_path_buf(), pid, child: Mutex::new(None) });
    }
    let began = Instant::now();
    let before = modified(&folder.cluster_file());
    let mut child = spawn(folder, binary, port)?;
    let ready = record(folder, &child).and_then(|pid| await_ready(folder, before, &mut child, interrupt).map(|file| (pid, file)));
    match ready {
        Ok((pid, file)) => {
            output::good(&format!("{} nodes are ready after {}", file.nodes.len(), crate::duration_text::duration(began.elapsed())));
            Ok(Cluster { folder: folder.clone(), file, binary: binary.to_path_buf(), pid, child: Mutex::new(Some(child)) })
        }
        Err(fault) => {
            end_child(folder, child)?;
            Err(fault)
        }
    }
}

impl Cluster {
    pub(crate) fn file(&self) -> &ClusterFile {
        &self.file
    }

    /// The `skep` that runs.
    pub(crate) fn binary(&self) -> &Path {
        &self.binary
    }

    /// Ends all nodes.
    pub(crate) fn stop(&self) -> Result<(), Fault> {
        let child = self.child.lock().expect("nobody panics while holding it").take();
        match child {
            Some(child) => end_child(&self.folder, child),
            None => stop_all(&self.folder).map(|_count| ()),
        }
    }

    /// Waits until the person at the terminal has had enough, then ends all nodes.
    pub(crate) fn run_until(&self, interrupt: &Interrupt) -> Result<(), Fault> {
        while !interrupt.requested() {
            if !processes::belongs_to(self.pid, self.folder.path()) {
                self.stop()?;
                return Err(Fault::new(format!("the cluster ended by itself; the last it said:\n{}", log_tail(&self.folder))));
            }
            thread::sleep(POLL);
        }
        output::line("");
        output::line("stopping …");
        self.stop()?;
        output::good("nothing is left running; start again with the same command, the files are kept");
        Ok(())
    }

    /// Forgets the processes, which go on.
    pub(crate) fn leave_running(self) {
        output::line("");
        output::line(&format!("The cluster goes on running (process {}).", self.pid));
    }
}

fn spawn(folder: &DemoFolder, binary: &Path, port: u16) -> Result<Child, Fault> {
    let log =
        File::options().create(true).append(true).open(folder.log_file()).map_err(|cause| Fault::at("write", &folder.log_file(), cause))?;
    let also = log.try_clone().map_err(|cause| Fault::at("write", &folder.log_file(), cause))?;
    let mut command = Command::new(binary);
    command.arg("dev").args(["--nodes", &NODES.to_string(), "--profile", "2+1", "--port", &port.to_string()]);
    command.arg("--dir").arg(folder.path()).args(["--admin-password", &folder.admin_password()?]);
    // A process group of its own: Ctrl-C comes here first, and the nodes are ended in order.
    command.stdin(Stdio::null()).stdout(log).stderr(also).process_group(0);
    command.spawn().map_err(|cause| Fault::at("run", binary, cause))
}

fn record(folder: &DemoFolder, child: &Child) -> Result<i32, Fault> {
    let pid = i32::try_from(child.id()).map_err(|cause| Fault::new(format!("a strange process id: {cause}")))?;
    fs::write(folder.pid_file(), format!("{pid}\n")).map_err(|cause| Fault::at("write", &folder.pid_file(), cause))?;
    Ok(pid)
}

/// Waits for a `cluster.json` of this start, then for every node to say that it is ready.
fn await_ready(folder: &DemoFolder, before: Option<SystemTime>, child: &mut Child, interrupt: &Interrupt) -> Result<ClusterFile, Fault> {
    let spinner = ProgressBar::new_spinner().with_style(build::style("{spinner} {msg} {elapsed}"));
    spinner.enable_steady_tick(Duration::from_millis(200));
    let deadline = Instant::now() + START_LIMIT;
    let mut waiting_for = "the nodes to find each other".to_owned();
    while Instant::now() < deadline {
        spinner.set_message(format!("waiting for {waiting_for}"));
        interrupt.check()?;
        if let Some(status) = child.try_wait().map_err(|cause| Fault::new(format!("lost sight of skep dev: {cause}")))? {
            return Err(Fault::new(format!("skep dev ended ({status}); the last it said:\n{}", log_tail(folder))));
        }
        let now = modified(&folder.cluster_file());
        if now.is_some() && now != before {
            let file = ClusterFile::read(folder)?;
            match file.addresses().iter().find(|address| !client::is_ready(address)) {
                None => return Ok(file),
                Some(address) => waiting_for = format!("{address} to be ready"),
            }
        }
        thread::sleep(POLL);
    }
    let seconds = START_LIMIT.as_secs();
    Err(Fault::new(format!("after {seconds} s still waiting for {waiting_for}; the last skep dev said:\n{}", log_tail(folder))))
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

fn end_child(folder: &DemoFolder, mut child: Child) -> Result<(), Fault> {
    // Reaped beside, for a process that ended but was not waited for would count as running.
    let reaper = thread::spawn(move || child.wait());
    stop_all(folder)?;
    reaper.join().expect("waiting does not panic").map_err(|cause| Fault::new(format!("lost sight of skep dev: {cause}")))?;
    Ok(())
}

fn log_tail(folder: &DemoFolder) -> String {
    const LINES: usize = 20;
    let bytes = fs::read(folder.log_file()).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_file_is_understood() {
        let outer = tempfile::tempdir().expect("a temporary folder can be made");
        let folder = DemoFolder::at(outer.path().to_path_buf());
        let text = r#"{"nodes":[{"id":1,"name":"n1","api":"http://127.0.0.1:7000/","rpc":"127.0.0.1:7100","pid":4,"config":"/x/n1.toml",
            "data":["/x/d1"]}],"admin":{"login":"admin","password":"p"}}"#;
        fs::write(folder.cluster_file(), text).expect("the folder is writable");
        let file = ClusterFile::read(&folder).expect("it is as skep dev writes it");
        assert_eq!(file.addresses(), ["http://127.0.0.1:7000"]);
        fs::write(folder.cluster_file(), r#"{"nodes":[],"admin":{"login":"admin","password":"p"}}"#).expect("the folder is writable");
        assert!(ClusterFile::read(&folder).is_err());
    }

    /// Stands for `skep dev`: says where its only node is, and ends when it is asked to.
    const STAND_IN: &str = r#"#!/bin/bash
exec -a "$0" bash -c '
while [ $# -gt 0 ]; do case "$1" in --dir) dir="$2";; --admin-password) password="$2";; esac; shift; done
trap "exit 0" TERM
printf "{\"nodes\":[{\"id\":1,\"name\":\"n1\",\"api\":\"ADDRESS\",\"rpc\":\"\",\"pid\":%d,\"config\":\"x\",\"data\":[]}],
\"admin\":{\"login\":\"admin\",\"password\":\"%s\"}}" $$ "$password" > "$dir/new.json"
mv "$dir/new.json" "$dir/cluster.json"
while :; do sleep 0.05; done' "$0" "$@"
"#;

    #[test]
    fn a_cluster_is_started_once_found_again_and_ended() {
        let server = super::super::test_server::TestServer::start();
        let outer = tempfile::tempdir().expect("a temporary folder can be made");
        let folder = DemoFolder::at(outer.path().join("demo"));
        folder.create().expect("a new folder is made");
        let program = outer.path().join("skep");
        fs::write(&program, STAND_IN.replace("ADDRESS", &server.address())).expect("the folder is writable");
        fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("it is ours");
        for _ in 0..2 {
            let cluster = start(&folder, &program, 7000, &Interrupt::default()).expect("it gets ready");
            assert_eq!(cluster.file().addresses(), [server.address()]);
            assert_eq!(cluster.file().admin.password, folder.admin_password().expect("it was drawn"));
            let pid = running(&folder).expect("it runs");
            let again = start(&folder, &program, 7000, &Interrupt::default()).expect("it is found");
            assert_eq!(running(&folder), Some(pid), "no second one was started");
            again.leave_running();
            cluster.stop().expect("it ends");
            assert_eq!(running(&folder), None);
            assert!(processes::of_folder(folder.path()).is_empty());
        }
    }

    #[test]
    fn a_cluster_that_ends_at_once_is_reported_with_its_words() {
        let outer = tempfile::tempdir().expect("a temporary folder can be made");
        let folder = DemoFolder::at(outer.path().join("demo"));
        folder.create().expect("a new folder is made");
        let program = outer.path().join("skep");
        let script = "#!/bin/sh\necho no quorum today\nexit 3\n";
        fs::write(&program, script).expect("the folder is writable");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&program, mode).expect("it is ours");
        let fault = start(&folder, &program, 7000, &Interrupt::default()).expect_err("it ended").to_string();
        assert!(fault.contains("no quorum today"), "{fault}");
        assert!(running(&folder).is_none());
    }
}
