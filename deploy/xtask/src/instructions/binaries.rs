//! The binaries whose cases are counted: built as a release is, and asked for their cases.
//!
//! Only crates that do without RocksDB are built, so that counting never waits for it.

use super::callgrind::Callgrind;
use crate::fault::Fault;
use crate::{build, target};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::{env, thread};

/// The name of the bench target of each of these crates.
const BENCH: &str = "micro";
const PACKAGES: [&str; 3] = ["skep-placement", "skep-raft", "skep-frames"];

/// A bench binary.
#[derive(Clone, Debug)]
pub(crate) struct Binary {
    pub(crate) path: PathBuf,
}

/// The compiler and the platform it builds for: counts of one say nothing about those of another.
pub(crate) fn compiler() -> Result<String, Fault> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(&rustc).arg("--version").stdin(Stdio::null()).output();
    let output = output.map_err(|cause| Fault::new(format!("cannot run {}: {cause}", rustc.display())))?;
    let host = build::host_triple().ok_or_else(|| Fault::new("cargo does not say what platform this is"))?;
    Ok(format!("{} for {host}", String::from_utf8_lossy(&output.stdout).trim()))
}

/// Builds the binaries and counts all their cases, as many at once as there are processors.
pub(crate) fn count_all(callgrind: &Callgrind) -> Result<BTreeMap<String, u64>, Fault> {
    let mut waiting = Vec::new();
    for binary in build()? {
        waiting.extend(binary.cases()?.into_iter().map(|case| (binary.clone(), case)));
    }
    let waiting = Mutex::new(waiting);
    let counted = Mutex::new(Ok(BTreeMap::new()));
    let take = || waiting.lock().expect("nobody panics while holding it").pop();
    let work = || {
        while let Some((binary, case)) = take() {
            let count = callgrind.count(&binary, &case);
            note(&mut counted.lock().expect("nobody panics while holding it"), case, count);
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    counted.into_inner().expect("nobody panics while holding it")
}

/// Adds a count; the first failure stays.
fn note(counted: &mut Result<BTreeMap<String, u64>, Fault>, case: String, count: Result<u64, Fault>) {
    let Ok(counts) = counted else { return };
    match count {
        Ok(count) => {
            if counts.insert(case.clone(), count).is_some() {
                *counted = Err(Fault::new(format!("two cases are called {case}: their counts cannot be told apart")));
            }
        }
        Err(fault) => *counted = Err(fault),
    }
}

impl Binary {
    fn cases(&self) -> Result<Vec<String>, Fault> {
        let output = Command::new(&self.path).arg("--cases").stdin(Stdio::null()).output();
        let output = output.map_err(|cause| Fault::at("run", &self.path, cause))?;
        let cases: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
        if !output.status.success() || cases.is_empty() {
            return Err(Fault::new(format!("{} --cases names no case ({})", self.path.display(), output.status)));
        }
        Ok(cases)
    }
}

fn build() -> Result<Vec<Binary>, Fault> {
    let mut command = target::cargo()?;
    command.args(["build", "--release", "--no-default-features", "--bench", BENCH, "--message-format=json-render-diagnostics"]);
    command.args(PACKAGES.iter().flat_map(|name| ["--package", name]));
    // Either would make other code of the same source.
    command.env("CARGO_INCREMENTAL", "0").env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|cause| Fault::new(format!("cargo cannot be run: {cause}")))?;
    if !output.status.success() {
        return Err(Fault::new("the microbenchmarks cannot be built: cargo said why above"));
    }
    let binaries = executables(&String::from_utf8_lossy(&output.stdout));
    if binaries.len() != PACKAGES.len() {
        return Err(Fault::new(format!("cargo built {} benches called {BENCH} where {} were asked for", binaries.len(), PACKAGES.len())));
    }
    Ok(binaries)
}

/// The bench binaries in cargo's messages.
fn executables(messages: &str) -> Vec<Binary> {
    #[derive(Deserialize)]
    struct Message {
        target: Target,
        executable: Option<PathBuf>,
    }
    #[derive(Deserialize)]
    struct Target {
        kind: Vec<String>,
        name: String,
    }
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    let benches = messages.filter(|message| message.target.name == BENCH && message.target.kind.iter().any(|kind| kind == "bench"));
    benches.filter_map(|message| message.executable).map(|path| Binary { path }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_benches_are_taken() {
        let messages = [
            r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"skep_micro"},"executable":null}"#,
            r#"{"reason":"compiler-artifact","target":{"kind":["bench"],"name":"micro"},"executable":"/t/micro-1"}"#,
            r#"{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"micro"},"executable":"/t/other"}"#,
            r#"{"reason":"build-finished","success":true}"#,
            "no message",
            r#"{"reason":"compiler-artifact","target":{"kind":["bench"],"name":"micro"},"executable":"/t/micro-2"}"#,
        ];
        let paths: Vec<PathBuf> = executables(&messages.join("\n")).into_iter().map(|binary| binary.path).collect();
        assert_eq!(paths, [PathBuf::from("/t/micro-1"), PathBuf::from("/t/micro-2")]);
    }

    #[test]
    fn the_first_failure_stays() {
        let mut counted = Ok(BTreeMap::new());
        note(&mut counted, "a".to_owned(), Ok(1));
        note(&mut counted, "b".to_owned(), Err(Fault::new("it fails")));
        note(&mut counted, "c".to_owned(), Ok(3));
        assert_eq!(counted.expect_err("one failed").to_string(), "it fails");
    }

    #[test]
    fn cases_of_one_name_are_refused() {
        let mut counted = Ok(BTreeMap::new());
        note(&mut counted, "a".to_owned(), Ok(1));
        note(&mut counted, "a".to_owned(), Ok(1));
        assert!(counted.expect_err("there are two").to_string().contains("two cases are called a"));
    }
}
