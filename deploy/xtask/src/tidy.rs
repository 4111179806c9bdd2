//! `cargo xtask tidy`: the rules of the house that no compiler checks.
//!
//! Each rule is a pure function from texts to findings and has tests with planted faults; only this file reads the disk and asks cargo.

mod crate_edges;
mod crate_names;
mod file_shape;
mod licences;
mod proofs;
mod words;

use crate::fault::Fault;
use crate::{build, output, target};
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::{ExitCode, Stdio};

/// Folders that hold nothing of ours.
const SKIPPED_FOLDERS: [&str; 3] = ["target", ".git", "node_modules"];
/// Longer files are data, not text to be read.
const TEXT_BYTES_MAX: u64 = 1 << 20;

/// A text file of the project.
#[derive(Clone, Debug)]
pub(crate) struct SourceFile {
    /// From the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl SourceFile {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

/// A rule that is broken, or nearly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    path: String,
    /// 0 if it is about the file as a whole.
    line: usize,
    what: String,
    only_a_warning: bool,
}

impl Finding {
    fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Finding { path: path.to_owned(), line, what: what.into(), only_a_warning: false }
    }

    fn warning(path: &str, what: impl Into<String>) -> Self {
        Finding { path: path.to_owned(), line: 0, what: what.into(), only_a_warning: true }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        write!(f, ": {}", self.what)
    }
}

/// Checks every rule and prints what is broken.
pub(crate) fn run() -> Result<ExitCode, Fault> {
    let root = target::workspace_root();
    let mut files = Vec::new();
    collect(&root, "", &mut files)?;
    let mut findings = check_texts(&files);
    findings.extend(check_licences(&root, &files)?);
    let broken = findings.iter().filter(|finding| !finding.only_a_warning).count();
    for finding in &findings {
        if finding.only_a_warning {
            output::warning(&finding.to_string());
        } else {
            output::bad(&finding.to_string());
        }
    }
    if broken == 0 {
        output::good(&format!("tidy: {} files keep the rules", files.len()));
        return Ok(ExitCode::SUCCESS);
    }
    output::bad(&format!("tidy: {broken} faults"));
    Ok(ExitCode::FAILURE)
}

fn check_texts(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = crate_edges::check(files);
    for file in files {
        findings.extend(crate_names::check(file));
        findings.extend(file_shape::check(file));
        findings.extend(words::check(file));
        findings.extend(proofs::check(file));
    }
    findings
}

fn check_licences(root: &Path, files: &[SourceFile]) -> Result<Vec<Finding>, Fault> {
    let text_of = |path: &str| files.iter().find(|file| file.path == path).map(|file| file.text.as_str());
    let policy = licences::Policy::parse(text_of("deny.toml").ok_or_else(|| Fault::new("deny.toml is missing"))?)?;
    let mut findings = Vec::new();
    for lock in files.iter().filter(|file| file.path.ends_with("Cargo.lock")) {
        let names = licences::locked_names(&lock.text).map_err(|cause| Fault::new(format!("{}: {cause}", lock.path)))?;
        findings.extend(licences::check_bans(&lock.path, &names, &policy));
        let manifest = root.join(&lock.path).with_file_name("Cargo.toml");
        let packages = licences::parse_metadata(&metadata(&manifest)?)?;
        if packages.len() < names.len() {
            let left = names.len() - packages.len();
            output::line(&format!(
                "{}: {left} crates are for other platforms and not on this machine; their licences are not looked at",
                lock.path
            ));
        }
        findings.extend(licences::check(&lock.path, &packages, &policy));
    }
    Ok(findings)
}

/// Asks cargo about the crates of a lock file: offline if what is downloaded is enough, if need be for this platform only.
fn metadata(manifest: &Path) -> Result<Vec<u8>, Fault> {
    let host = build::host_triple().ok_or_else(|| Fault::new("cargo does not say what platform this is"))?;
    let filter = ["--filter-platform", host.as_str()];
    let ways: [&[&str]; 3] = [&["--offline"], &["--offline", filter[0], filter[1]], &filter];
    let mut words = String::new();
    for way in ways {
        let mut command = target::cargo()?;
        command.args(["metadata", "--format-version", "1", "--locked", "--manifest-path"]).arg(manifest).args(way).stdin(Stdio::null());
        let output = command.output().map_err(|cause| Fault::new(format!("cannot run cargo: {cause}")))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        words = String::from_utf8_lossy(&output.stderr).into_owned();
    }
    Err(Fault::new(format!("cargo metadata fails for {}: {}", manifest.display(), words.trim())))
}

fn collect(folder: &Path, prefix: &str, files: &mut Vec<SourceFile>) -> Result<(), Fault> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut entries = entries.map_err(|cause| Fault::at("read the folder", folder, cause))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let metadata = fs::symlink_metadata(&path).map_err(|cause| Fault::at("look at", &path, cause))?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let relative = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
        if metadata.is_dir() && !SKIPPED_FOLDERS.contains(&name.as_str()) {
            collect(&path, &relative, files)?;
        } else if metadata.is_file() && metadata.len() <= TEXT_BYTES_MAX {
            let bytes = fs::read(&path).map_err(|cause| Fault::at("read", &path, cause))?;
            // What is not UTF-8 is a picture or an archive.
            if let Ok(text) = String::from_utf8(bytes) {
                files.push(SourceFile { path: relative, text });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) fn file(path: &str, text: &str) -> SourceFile {
    SourceFile { path: path.to_owned(), text: text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_read_like_the_compilers() {
        assert_eq!(Finding::new("a/b.rs", 7, "no").to_string(), "a/b.rs:7: no");
        assert_eq!(Finding::new("a/b.rs", 0, "no").to_string(), "a/b.rs: no");
    }

    #[test]
    fn build_output_is_not_looked_at() {
        let root = tempfile::tempdir().expect("a temporary folder can be made");
        for path in ["target/x.rs", "src/a.rs", ".git/config", "src/deep/b.rs"] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("it has one")).expect("the folder is writable");
            fs::write(path, "").expect("the folder is writable");
        }
        fs::write(root.path().join("picture"), [0xff, 0xfe]).expect("the folder is writable");
        let mut files = Vec::new();
        collect(root.path(), "", &mut files).expect("it can be read");
        assert_eq!(files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["src/a.rs", "src/deep/b.rs"]);
    }
}
