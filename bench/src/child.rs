//! Processes that end with this one, however it ends.
//!
//! A program is started by way of this very binary, which has the kernel end it with its parent and then becomes the program. Must be called
//! on the main thread: the kernel looks at the thread that started it.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal};

use crate::fault::Fault;

/// The hidden subcommand of this binary that [`become_guarded`] serves.
pub const GUARD: &str = "guard";
/// How long killed processes may take to be gone.
const GONE_MAX: Duration = Duration::from_secs(10);

/// Starts a program that ends with this process; its output goes to a file.
///
/// # Errors
/// If it cannot be started.
pub fn start(program: &Path, arguments: &[String], log: &Path) -> Result<Child, Fault> {
    let own = std::env::current_exe().map_err(|error| Fault::io("find", "this program", error))?;
    let file = File::options().append(true).create(true).open(log).map_err(|error| Fault::io("open", log.display(), error))?;
    let copy = file.try_clone().map_err(|error| Fault::io("open", log.display(), error))?;
    let mut command = Command::new(own);
    command.arg(GUARD).arg(std::process::id().to_string()).arg(program).args(arguments);
    let child = command.stdin(Stdio::null()).stdout(file).stderr(copy).spawn();
    child.map_err(|error| Fault::io("start", program.display(), error))
}

/// What the guard does: `PARENT PROGRAM ARGUMENTS…`. Returns only if that fails.
pub fn become_guarded(arguments: &[String]) -> Fault {
    let [parent, program, rest @ ..] = arguments else { return Fault::new("guard: say PARENT PROGRAM ARGUMENTS") };
    if let Err(fault) = parent.parse().map_err(|error| Fault::io("understand", parent, error)).and_then(end_with) {
        return fault;
    }
    Fault::io("become", program, Command::new(program).args(rest).exec())
}

/// Has the kernel tell this process to end when its parent does.
///
/// # Errors
/// If the parent has ended already.
pub fn end_with(parent: u32) -> Result<(), Fault> {
    set_parent_process_death_signal(Some(Signal::TERM)).map_err(|error| Fault::io("end with", "the parent", error))?;
    let is_child = getppid().is_some_and(|pid| u32::try_from(pid.as_raw_nonzero().get()) == Ok(parent));
    if is_child { Ok(()) } else { Err(Fault::new("the parent has ended already")) }
}

/// Ends a process without warning, if it is still the program that it was.
pub fn kill(pid: u32, program: &Path) {
    if runs(pid, program)
        && let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw)
    {
        let _already_gone = kill_process(pid, Signal::KILL);
    }
}

/// Waits until a killed process is gone.
pub fn wait_gone(pid: u32, program: &Path) {
    let begun = Instant::now();
    while runs(pid, program) && begun.elapsed() < GONE_MAX {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether a process runs this program; guards against an id that was given to somebody else.
fn runs(pid: u32, program: &Path) -> bool {
    let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let first = line.split(|byte| *byte == 0).next().unwrap_or_default();
    let name = |path: &Path| path.file_name().map(|name| name.as_encoded_bytes().to_vec());
    !first.is_empty() && name(Path::new(&String::from_utf8_lossy(first).into_owned())) == name(program)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn only_the_program_itself_is_taken_for_it() {
        let own = std::env::current_exe().unwrap();
        assert!(super::runs(std::process::id(), &own));
        assert!(!super::runs(std::process::id(), Path::new("/usr/bin/another")));
        assert!(!super::runs(u32::MAX, &own));
    }
}
