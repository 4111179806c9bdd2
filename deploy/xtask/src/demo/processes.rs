//! Finding and ending processes of a demo, and only those: a `skep` that was called with a path in the demo's folder.

use crate::fault::Fault;
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// How long a process may take to end after SIGTERM; longer than a node's own drain.
const END_LIMIT: Duration = Duration::from_secs(45);
const POLL: Duration = Duration::from_millis(50);

/// The words a running process was called with; none if it does not run (a zombie has no words).
fn words(pid: i32) -> Option<Vec<OsString>> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<OsString> =
        bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty()).map(|word| OsString::from_vec(word.to_vec())).collect();
    (!words.is_empty()).then_some(words)
}

/// Whether the process is a `skep` that works in this folder.
pub(crate) fn belongs_to(pid: i32, folder: &Path) -> bool {
    words(pid).is_some_and(|words| {
        let is_skep = Path::new(&words[0]).file_name().is_some_and(|name| name == "skep");
        is_skep && words[1..].iter().any(|word| Path::new(word).starts_with(folder))
    })
}

/// All processes that work in this folder.
pub(crate) fn of_folder(folder: &Path) -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| belongs_to(*pid, folder)).collect()
}

/// Asks these processes to end, waits, and kills those that do not; returns when none of them runs.
pub(crate) fn end(pids: &[i32], folder: &Path) -> Result<(), Fault> {
    for signal in [Signal::TERM, Signal::KILL] {
        for pid in pids.iter().copied().filter(|pid| belongs_to(*pid, folder)) {
            let target = Pid::from_raw(pid).ok_or_else(|| Fault::new(format!("{pid} is no process id")))?;
            match kill_process(target, signal) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(cause) => return Err(Fault::new(format!("cannot end process {pid}: {cause}"))),
            }
        }
        let deadline = Instant::now() + END_LIMIT;
        while Instant::now() < deadline {
            if !pids.iter().any(|pid| belongs_to(*pid, folder)) {
                return Ok(());
            }
            thread::sleep(POLL);
        }
    }
    let left: Vec<PathBuf> = pids.iter().filter(|pid| belongs_to(**pid, folder)).map(|pid| PathBuf::from(format!("/proc/{pid}"))).collect();
    Err(Fault::new(format!("these processes do not end: {left:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::process::{Child, Command, Stdio};

    fn called_skep(folder: &Path) -> Child {
        let program = folder.join("skep");
        // A shell under the name that is looked for; it waits for its standard input to end.
        symlink("/bin/sh", &program).expect("the folder is writable");
        let script = folder.join("script");
        fs::write(&script, "trap 'exit 0' TERM; while :; do sleep 0.05; done\n").expect("the folder is writable");
        Command::new(program).arg(script).stdin(Stdio::null()).spawn().expect("a shell starts")
    }

    #[test]
    fn only_processes_of_the_folder_are_found_and_they_end() {
        let ours = tempfile::tempdir().expect("a temporary folder can be made");
        let other = tempfile::tempdir().expect("a temporary folder can be made");
        let mut child = called_skep(ours.path());
        let pid = i32::try_from(child.id()).expect("process ids are small");
        let started = Instant::now();
        // Between fork and exec what the shell starts looks like the shell.
        while of_folder(ours.path()) != [pid] && started.elapsed() < Duration::from_secs(10) {
            thread::sleep(POLL);
        }
        assert_eq!(of_folder(ours.path()), [pid]);
        assert!(of_folder(other.path()).is_empty());
        assert!(!belongs_to(i32::try_from(std::process::id()).expect("small"), ours.path()));
        let reaper = thread::spawn(move || child.wait());
        end(&[pid], ours.path()).expect("it ends");
        reaper.join().expect("no panic").expect("the child was ours");
        assert!(of_folder(ours.path()).is_empty());
    }
}
