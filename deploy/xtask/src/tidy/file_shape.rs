//! How files are called, begin, and how long they are.

use super::{Finding, SourceFile};

/// A file with more lines usually holds two things.
const LINES_MAX: usize = 500;
/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 9] = ["util", "utils", "common", "helper", "helpers", "manager", "managers", "misc", "utilities"];

/// Checks one file.
pub(crate) fn check(file: &SourceFile) -> Vec<Finding> {
    if !file.is_rust() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let folders: Vec<&str> = file.path.trim_end_matches(".rs").split('/').collect();
    if folders.last() == Some(&"mod") {
        findings.push(Finding::new(&file.path, 0, "no mod.rs: `foo.rs` stands beside `foo/`"));
    }
    for name in folders.iter().filter(|name| EMPTY_NAMES.contains(name)) {
        findings.push(Finding::new(&file.path, 0, format!("`{name}` says nothing: what is in it belongs to its owner")));
    }
    if !file.text.lines().any(|line| line.starts_with("//!")) {
        findings.push(Finding::new(&file.path, 1, "the file does not open with `//!`: what it is, and the invariant it keeps"));
    }
    let lines = file.text.lines().count();
    if lines > LINES_MAX {
        findings.push(Finding::warning(&file.path, format!("{lines} lines: it usually holds two things")));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn a_good_file_passes() {
        assert_eq!(check(&file("raft/src/log/segment.rs", "//! A segment.\n")), []);
        assert_eq!(check(&file("raft/src/model.rs", "//! A model.\n")), []);
        assert_eq!(check(&file("docs/util.md", "no Rust\n")), []);
    }

    #[test]
    fn planted_faults_are_found() {
        for path in ["raft/src/log/mod.rs", "raft/src/util.rs", "node/src/common/paths.rs", "api/src/helpers.rs"] {
            assert_eq!(check(&file(path, "//! x\n")).len(), 1, "{path}");
        }
        assert_eq!(check(&file("raft/src/x.rs", "fn x() {}\n")).len(), 1);
    }

    #[test]
    fn a_long_file_is_a_warning() {
        let findings = check(&file("raft/src/x.rs", &"//! x\n".repeat(LINES_MAX + 1)));
        assert!(findings.len() == 1 && findings[0].only_a_warning, "{findings:?}");
    }
}
