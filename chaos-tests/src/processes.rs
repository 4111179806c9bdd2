//! The binary under test and its processes: only those that were started here are signalled, by their ids.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// The binary under test.
///
/// # Panics
/// If it was not built: `cargo xtask test` builds it first.
pub fn skep_binary() -> PathBuf {
    if let Some(named) = std::env::var_os("SKEP_BIN") {
        return PathBuf::from(named);
    }
    let own = std::env::current_exe().expect("a process knows its file");
    let release = own.parent().and_then(Path::parent).expect("tests lie in target/release/deps");
    let binary = release.join("skep");
    assert!(binary.exists(), "{} is missing: run it by `cargo xtask test`, which builds it", binary.display());
    binary
}

/// What a command said when it ended.
#[derive(Clone, Debug)]
pub struct Said {
    /// It ended with 0.
    pub is_success: bool,
    /// On standard output.
    pub out: String,
    /// On standard error.
    pub err: String,
}

impl Said {
    /// Standard output of a command that has to succeed.
    ///
    /// # Errors
    /// What it said, if it did not.
    pub fn good(self) -> Result<String, String> {
        if self.is_success { Ok(self.out) } else { Err(format!("{}{}", self.out, self.err)) }
    }
}

/// Runs `skep` with these arguments to its end.
pub fn skep(arguments: &[&str]) -> Said {
    let output = Command::new(skep_binary()).args(arguments).stdin(Stdio::null()).output().expect("the binary starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { is_success: output.status.success(), out: text(&output.stdout), err: text(&output.stderr) }
}

/// Runs `skep` for a node, by its configuration.
pub fn skep_for(config: &Path, arguments: &[&str]) -> Said {
    let config = config.display().to_string();
    skep(&[arguments, &["--config", &config]].concat())
}

/// The failpoints of the binary's write path, of repair and of recovery; none if it was built without.
///
/// # Panics
/// If the binary does not answer.
pub fn failpoints() -> Vec<String> {
    let said = skep(&["debug", "failpoints"]).good().expect("the binary answers");
    said.lines().map(str::to_owned).collect()
}

/// So many ports in a row that nobody listens on.
pub fn free_ports(count: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = 20_000 + u16::try_from(std::process::id() % 200).expect("below 200") * 100;
    loop {
        let port = start + NEXT.fetch_add(count + 1, Ordering::Relaxed) % 20_000;
        if (port..port + count).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return port;
        }
    }
}

/// Waits until processes have given up their ports, files and locks, which a killed one does a moment after it was killed.
pub fn wait_until_gone(pids: &[i32], limit: Duration) {
    let begun = Instant::now();
    while pids.iter().any(|pid| is_running(*pid)) && begun.elapsed() < limit {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a process has not ended altogether. One that is ending has no command line any more and holds its files still; one that has ended and
/// was not waited for has no other thread left.
pub fn is_running(pid: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let has_ended = stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['Z', 'X']));
    if has_ended && fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count) <= 1 {
        return false;
    }
    // Somebody else may have been given the number since.
    fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.is_empty() || line.contains("skep"))
}

/// Guards against a process id that was given to somebody else since.
pub fn is_skep(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("skep"))
}

/// Signals a process that was started here.
pub fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _already_dead = kill_process(pid, signal);
    }
}
