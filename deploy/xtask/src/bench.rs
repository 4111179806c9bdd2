//! `cargo xtask bench`: builds Skep and the benchmark, and runs it.
//!
//! `--compare COMMIT` builds that commit too and has both measured round by round in turn, on the same machine in the same minutes: figures that an
//! older run stored would compare two days of a machine as well. It builds into the same target folder, where RocksDB is compiled already.
//! `--micro` times the microbenchmarks of the crates instead.

mod options;

use crate::fault::Fault;
use crate::interrupt::Interrupt;
use crate::{build, output, packages, target};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

pub(crate) use options::BenchOptions;

/// Runs the command.
pub(crate) fn run(options: &BenchOptions) -> Result<ExitCode, Fault> {
    if let Some(filter) = &options.micro {
        return run_micro(filter);
    }
    let root = target::workspace_root();
    let folder = match &options.dir {
        Some(chosen) => std::path::absolute(chosen).map_err(|cause| Fault::new(format!("--dir is no path: {cause}")))?,
        None => target::cache_dir()?.join("bench"),
    };
    fs::create_dir_all(&folder).map_err(|cause| Fault::at("make", &folder, cause))?;
    let bench = build_bench()?;
    let mut command = Command::new(bench);
    command.args(options.passed_on()).arg("--dir").arg(&folder).args(["--parent", &std::process::id().to_string()]);
    if !options.list {
        output::heading("Building");
        packages::ensure(&packages::TO_BUILD)?;
        // A copy: the next build replaces the file, and a benchmark lasts.
        let ours = copy(&build::skep()?, &folder.join("skep-measured"))?;
        command.arg("--skep").arg(ours).args(["--commit", &described(&root)?]);
        if let Some(commit) = &options.compare {
            let before = build_commit(&root, commit, &folder)?;
            command.arg("--before").arg(before).args(["--before-name", commit]);
        }
        output::heading("Measuring");
    }
    if options.is_whole() {
        command.arg("--results").arg(root.join("bench"));
    }
    // Ctrl-C reaches the benchmark too, which ends what it started; this process waits for that.
    let _interrupt = Interrupt::install()?;
    let status = command.stdin(Stdio::null()).status().map_err(|cause| Fault::new(format!("the benchmark cannot be run: {cause}")))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the bench targets of the crates; criterion itself compares with what it measured in the same target folder before.
fn run_micro(filter: &str) -> Result<ExitCode, Fault> {
    packages::ensure(&packages::TO_BUILD)?;
    let mut command = target::cargo()?;
    // The profile by name, so that all dependencies are those that are compiled already.
    command.args(["bench", "--profile", "release", "--workspace", "--bench", "micro"]);
    if !filter.is_empty() {
        command.args(["--", filter]);
    }
    succeed(&mut command, "the microbenchmarks have failed")?;
    Ok(ExitCode::SUCCESS)
}

/// Builds the generator and the limit program: seconds, for RocksDB is none of theirs.
fn build_bench() -> Result<PathBuf, Fault> {
    let mut command = target::cargo()?;
    command.args(["build", "--release", "--quiet", "--package", "skep-bench"]);
    succeed(&mut command, "the benchmark cannot be built")?;
    Ok(target::target_dir()?.join("release/skep-bench"))
}

/// Builds `skep` of a commit in a worktree that is taken away again.
fn build_commit(root: &Path, commit: &str, folder: &Path) -> Result<PathBuf, Fault> {
    let id = git(root, &["rev-parse", "--verify", "--quiet", &format!("{commit}^{{commit}}")])
        .map_err(|_unknown| Fault::new(format!("--compare {commit}: git knows no such commit")))?;
    let tree = folder.join(format!("worktree-{}", std::process::id()));
    let tree_text = tree.display().to_string();
    git(root, &["worktree", "add", "--detach", "--force", &tree_text, &id])?;
    output::line(&format!("building {commit} ({}) in {tree_text}", id.get(..12).unwrap_or(&id)));
    let mut command = target::cargo()?;
    command.current_dir(&tree).args(["build", "--release", "--quiet", "--package", "skep"]);
    let built = succeed(&mut command, &format!("{commit} cannot be built"));
    let copied = built.and_then(|()| copy(&target::target_dir()?.join("release/skep"), &folder.join("skep-compared")));
    git(root, &["worktree", "remove", "--force", &tree_text])?;
    copied
}

fn copy(from: &Path, to: &Path) -> Result<PathBuf, Fault> {
    // Unlinked first: a binary that still runs cannot be written to.
    fs::remove_file(to)
        .or_else(|cause| if cause.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(cause) })
        .map_err(|cause| Fault::at("replace", to, cause))?;
    fs::copy(from, to).map_err(|cause| Fault::at("copy to", to, cause))?;
    Ok(to.to_path_buf())
}

/// The commit, and whether the files are others than its own. The results themselves do not count.
fn described(root: &Path) -> Result<String, Fault> {
    let commit = git(root, &["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(root, &["status", "--porcelain", "--", ".", ":!bench/RESULTS.md", ":!bench/RESULTS.json", ":!bench/results"])?;
    Ok(if changed.is_empty() { commit } else { format!("{commit} with changes") })
}

fn git(root: &Path, arguments: &[&str]) -> Result<String, Fault> {
    let output = Command::new("git").current_dir(root).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|cause| Fault::new(format!("git cannot be run: {cause}")))?;
    if !output.status.success() {
        return Err(Fault::new(format!("git {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn succeed(command: &mut Command, otherwise: &str) -> Result<(), Fault> {
    let status = command.stdin(Stdio::null()).status().map_err(|cause| Fault::new(format!("cargo cannot be run: {cause}")))?;
    if status.success() { Ok(()) } else { Err(Fault::new(format!("{otherwise}: cargo said why above"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_replaces_what_is_there() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let (from, to) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&from, "new").expect("the folder is writable");
        fs::write(&to, "old").expect("the folder is writable");
        copy(&from, &to).expect("it can be copied");
        assert_eq!(fs::read_to_string(&to).expect("it is there"), "new");
    }

    #[test]
    fn an_unknown_commit_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let fault = build_commit(folder.path(), "no-such-commit", folder.path()).expect_err("there is none").to_string();
        assert!(fault.contains("no-such-commit"), "{fault}");
    }
}
