//! Building the `skep` binary, with a bar that moves.
//!
//! Cargo says which crates it starts (on stderr) and which units it has finished (as JSON on stdout); how many units there will be is
//! estimated from the dependency graph: one a crate, and two more for each that has a build script.

use crate::duration_text;
use crate::fault::Fault;
use crate::{output, target};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// What is shown while the slowest crate compiles.
const ROCKSDB: &str = "RocksDB: about twenty minutes on two cores, the first time only";

/// Builds `skep` and returns where it is.
pub(crate) fn skep() -> Result<PathBuf, Fault> {
    let target = target::target_dir()?;
    if !target::rocksdb_is_built(&target) {
        output::warning(&format!("{ROCKSDB}; the result stays in {}", target.display()));
    }
    let start = Instant::now();
    let bar = ProgressBar::new(estimated_units().unwrap_or(400));
    bar.set_style(style("{spinner} building skep [{bar:30}] {pos}/{len} {elapsed} {wide_msg}"));
    bar.enable_steady_tick(Duration::from_millis(200));
    let outcome = compile(&bar);
    bar.finish_and_clear();
    outcome?;
    let binary = target.join("release/skep");
    if !binary.is_file() {
        return Err(Fault::new(format!("cargo built no {}", binary.display())));
    }
    output::good(&format!("built {} in {}", binary.display(), duration_text::duration(start.elapsed())));
    Ok(binary)
}

/// A style from a template of ours.
pub(crate) fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates are constants that tests parse").progress_chars("=> ")
}

fn compile(bar: &ProgressBar) -> Result<(), Fault> {
    let mut command = target::cargo()?;
    command.args(["build", "--release", "--package", "skep", "--message-format=json-render-diagnostics"]);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|cause| Fault::new(format!("cannot run cargo: {cause}")))?;
    let stdout = child.stdout.take().expect("stdout was asked for as a pipe");
    let stderr = child.stderr.take().expect("stderr was asked for as a pipe");
    let compiling = Mutex::new(Compiling::default());
    let said = thread::scope(|scope| {
        let words = scope.spawn(|| follow_words(stderr, bar, &compiling));
        follow_units(stdout, bar, &compiling);
        words.join().expect("following cargo's words does not panic")
    });
    let status = child.wait().map_err(|cause| Fault::new(format!("lost sight of cargo: {cause}")))?;
    if status.success() { Ok(()) } else { Err(Fault::new(format!("the build failed:\n{}", said.join("\n")))) }
}

/// Crates that have begun and not finished, in the order of their beginning.
#[derive(Debug, Default)]
struct Compiling(Vec<String>);

impl Compiling {
    fn message(&self) -> String {
        if self.0.iter().any(|name| name == "librocksdb-sys") {
            return ROCKSDB.to_owned();
        }
        self.0.last().cloned().unwrap_or_default()
    }
}

fn follow_words(stderr: impl Read, bar: &ProgressBar, compiling: &Mutex<Compiling>) -> Vec<String> {
    let mut rest = Vec::new();
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        match line.trim_start().strip_prefix("Compiling ").and_then(|crate_name| crate_name.split(' ').next()) {
            Some(name) => {
                let mut compiling = compiling.lock().expect("nobody panics while holding it");
                compiling.0.push(name.to_owned());
                bar.set_message(compiling.message());
            }
            None => rest.push(line),
        }
    }
    rest
}

#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    package_id: String,
    #[serde(default)]
    target: Option<MessageTarget>,
}

#[derive(Deserialize)]
struct MessageTarget {
    #[serde(default)]
    kind: Vec<String>,
}

fn follow_units(stdout: impl Read, bar: &ProgressBar, compiling: &Mutex<Compiling>) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        let Ok(message) = serde_json::from_str::<Message>(&line) else {
            continue;
        };
        if !matches!(message.reason.as_str(), "compiler-artifact" | "build-script-executed") {
            continue;
        }
        bar.inc(1);
        if bar.length().is_some_and(|length| bar.position() > length) {
            bar.inc_length(1);
        }
        let is_crate_itself = message.target.is_some_and(|target| !target.kind.iter().any(|kind| kind == "custom-build"));
        if is_crate_itself {
            let mut compiling = compiling.lock().expect("nobody panics while holding it");
            let name = package_name(&message.package_id);
            compiling.0.retain(|running| running != name);
            bar.set_message(compiling.message());
        }
    }
}

/// The name in a package id: `registry+…#name@1.2.3`, or `path+…/folder#1.2.3` where the folder is called as the crate.
fn package_name(id: &str) -> &str {
    let (place, fragment) = id.rsplit_once('#').unwrap_or(("", id));
    match fragment.split_once('@') {
        Some((name, _version)) => name,
        None => place.rsplit('/').next().unwrap_or(place),
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<MetadataPackage>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct MetadataPackage {
    id: String,
    name: String,
    targets: Vec<MessageTarget>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    kind: Option<String>,
}

fn estimated_units() -> Option<u64> {
    let host = host_triple()?;
    let output = target::cargo()
        .ok()?
        .args(["metadata", "--format-version", "1", "--filter-platform", &host])
        .stderr(Stdio::null())
        .output()
        .ok()?;
    units_of(&serde_json::from_slice(&output.stdout).ok()?)
}

/// The platform that cargo builds for here.
pub(crate) fn host_triple() -> Option<String> {
    let output = target::cargo().ok()?.arg("-vV").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned)
}

fn units_of(metadata: &Metadata) -> Option<u64> {
    let nodes: BTreeMap<&str, &Node> = metadata.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
    let root = metadata.packages.iter().find(|package| package.name == "skep")?;
    let mut reached = BTreeSet::new();
    let mut waiting = vec![root.id.as_str()];
    while let Some(id) = waiting.pop() {
        if reached.insert(id) {
            let built = |dependency: &&Dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.as_deref() != Some("dev"));
            waiting.extend(nodes.get(id)?.deps.iter().filter(built).map(|dependency| dependency.pkg.as_str()));
        }
    }
    let units = |package: &MetadataPackage| {
        let scripted = package.targets.iter().any(|target| target.kind.iter().any(|kind| kind == "custom-build"));
        if scripted { 3 } else { 1 }
    };
    Some(metadata.packages.iter().filter(|package| reached.contains(package.id.as_str())).map(units).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_ids_give_names() {
        assert_eq!(package_name("registry+https://example.org/index#librocksdb-sys@0.20.0+11.1"), "librocksdb-sys");
        assert_eq!(package_name("path+file:///src/placement#skep-placement@0.1.0"), "skep-placement");
        assert_eq!(package_name("path+file:///src/xtask#0.1.0"), "xtask");
    }

    #[test]
    fn units_leave_out_dev_dependencies() {
        let metadata = serde_json::json!({
            "packages": [
                {"id": "s", "name": "skep", "targets": [{"kind": ["bin"]}]},
                {"id": "a", "name": "a", "targets": [{"kind": ["lib"]}, {"kind": ["custom-build"]}]},
                {"id": "t", "name": "t", "targets": [{"kind": ["lib"]}]},
            ],
            "resolve": {"nodes": [
                {"id": "s", "deps": [{"pkg": "a", "dep_kinds": [{"kind": null}]}, {"pkg": "t", "dep_kinds": [{"kind": "dev"}]}]},
                {"id": "a", "deps": []},
                {"id": "t", "deps": []},
            ]},
        });
        let metadata: Metadata = serde_json::from_value(metadata).expect("the shape is right");
        assert_eq!(units_of(&metadata), Some(4));
    }

    #[test]
    fn the_message_names_rocksdb_as_long_as_it_compiles() {
        let compiling = Compiling(vec!["librocksdb-sys".into(), "tokio".into()]);
        assert_eq!(compiling.message(), ROCKSDB);
        assert_eq!(Compiling(vec!["tokio".into()]).message(), "tokio");
    }

    #[test]
    fn units_move_the_bar() {
        let bar = ProgressBar::hidden();
        bar.set_length(1);
        let compiling = Mutex::new(Compiling(vec!["a".into()]));
        let lines = "{\"reason\":\"compiler-artifact\",\"package_id\":\"x#a@1.0.0\",\"target\":{\"kind\":[\"lib\"]}}\nnot json\n\
                     {\"reason\":\"build-script-executed\",\"package_id\":\"x#b@1.0.0\"}\n{\"reason\":\"build-finished\",\"success\":true}\n";
        follow_units(lines.as_bytes(), &bar, &compiling);
        assert_eq!((bar.position(), bar.length()), (2, Some(2)));
        assert!(compiling.into_inner().expect("nobody panicked").0.is_empty());
    }
}
