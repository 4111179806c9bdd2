//! Counting with valgrind's callgrind: one process a case, which counts within one function only.
//!
//! The process has no environment, so that neither the size of one nor a setting of the user's moves a count.

use super::binaries::Binary;
use crate::fault::Fault;
use crate::packages;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The function of `bench/micro` that a case runs in; callgrind counts from its entry to its return.
const FUNCTION: &str = "counted_by_callgrind";

/// The installed valgrind.
#[derive(Clone, Debug)]
pub(crate) struct Callgrind {
    program: PathBuf,
}

impl Callgrind {
    /// Looks on the path.
    pub(crate) fn find() -> Option<Self> {
        packages::on_path("valgrind").map(|program| Callgrind { program })
    }

    /// Instructions of one run of a case.
    pub(crate) fn count(&self, binary: &Binary, case: &str) -> Result<u64, Fault> {
        let mut command = Command::new(&self.program);
        command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(format!("--toggle-collect=*{FUNCTION}*"));
        command.arg(&binary.path).args(["--count", case]).env_clear().stdin(Stdio::null());
        let output = command.output().map_err(|cause| Fault::at("run", &self.program, cause))?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            return Err(Fault::new(format!("the case {case} fails under valgrind ({}):\n{}", output.status, said.trim())));
        }
        match collected(&said) {
            Some(count) if count > 0 => Ok(count),
            Some(_) => Err(Fault::new(format!("the case {case}: valgrind saw no call of `{FUNCTION}` in {}", binary.path.display()))),
            None => Err(Fault::new(format!("the case {case}: valgrind gave no count:\n{}", said.trim()))),
        }
    }
}

/// Reads `==123== Collected : 4252443`.
fn collected(said: &str) -> Option<u64> {
    said.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_read() {
        let said = "==7== Callgrind, a call-graph generating cache profiler\n==7== Events    : Ir\n==7== Collected : 4252443\n==7==\n";
        assert_eq!(collected(said), Some(4_252_443));
        for other in ["", "==7== Collected : many\n", "==7== Events    : Ir\n"] {
            assert_eq!(collected(other), None, "{other}");
        }
    }

    /// Callgrind finds the function by its name only.
    #[test]
    fn the_function_is_there_and_stays_one() {
        let source = include_str!("../../../../bench/micro/src/run.rs");
        assert!(source.contains(&format!("#[inline(never)]\nfn {FUNCTION}(")), "bench/micro has no function {FUNCTION}");
    }
}
