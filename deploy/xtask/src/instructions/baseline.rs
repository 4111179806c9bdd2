//! The stored counts: `bench/instructions.toml`, with the compiler that they hold for.

use crate::fault::Fault;
use crate::target;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const HEAD: &str = "# Instructions that each case of the microbenchmarks executes. Written by `cargo xtask instructions --update`; bench/README.md says how they are counted.\n";

/// Counts of all cases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Baseline {
    /// The compiler and its platform, as [`compiler`](super::binaries::compiler) names them.
    pub(crate) compiler: String,
    /// By case.
    pub(crate) instructions: BTreeMap<String, u64>,
}

impl Baseline {
    /// Where it is.
    pub(crate) fn path() -> PathBuf {
        target::workspace_root().join("bench/instructions.toml")
    }

    pub(crate) fn read(path: &Path) -> Result<Self, Fault> {
        let text = fs::read_to_string(path).map_err(|cause| Fault::at("read", path, cause))?;
        toml::from_str(&text).map_err(|cause| Fault::new(format!("{} is no list of counts: {cause}", path.display())))
    }

    pub(crate) fn write(&self, path: &Path) -> Result<(), Fault> {
        let body = toml::to_string(self).map_err(|cause| Fault::at("write", path, cause))?;
        fs::write(path, format!("{HEAD}{body}")).map_err(|cause| Fault::at("write", path, cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().join("instructions.toml");
        let instructions = BTreeMap::from([("codec/encode-4+2".to_owned(), 4_252_443), ("log/append".to_owned(), 1)]);
        let baseline = Baseline { compiler: "rustc 1.0.0 (abc 2026-01-01) for x".to_owned(), instructions };
        baseline.write(&path).expect("the folder is writable");
        assert_eq!(Baseline::read(&path).expect("it was written"), baseline);
        assert!(fs::read_to_string(&path).expect("it was written").starts_with('#'), "it says who wrote it");
    }

    #[test]
    fn the_stored_counts_can_be_read() {
        let baseline = Baseline::read(&Baseline::path()).expect("the repository holds counts");
        assert!(baseline.compiler.starts_with("rustc "), "{}", baseline.compiler);
        for group in ["apply/", "checksum/", "chunk/", "codec/", "frames/", "keys/", "log/"] {
            assert!(baseline.instructions.keys().any(|case| case.starts_with(group)), "{group} has no count");
        }
        assert!(baseline.instructions.values().all(|count| *count > 1_000), "a count of next to nothing guards nothing: {baseline:?}");
    }

    #[test]
    fn what_is_no_baseline_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().join("instructions.toml");
        assert!(Baseline::read(&path).expect_err("it is not there").to_string().contains("instructions.toml"));
        fs::write(&path, "compiler = 7\n").expect("the folder is writable");
        assert!(Baseline::read(&path).expect_err("a number is no compiler").to_string().contains("instructions.toml"));
    }
}
