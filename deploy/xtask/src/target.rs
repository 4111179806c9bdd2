//! Where things are: the workspace, the build's output, the cache folder; and how cargo is called.
//!
//! RocksDB takes twenty minutes to compile, so everything builds into one folder: `$CARGO_TARGET_DIR` or, where that is not set,
//! a folder in the user's cache that outlives a checkout.

use crate::fault::Fault;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The root of the workspace.
pub(crate) fn workspace_root() -> PathBuf {
    let manifest = env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest.ancestors().nth(2).map_or_else(|| manifest.clone(), Path::to_path_buf)
}

/// `~/.cache/skep`.
pub(crate) fn cache_dir() -> Result<PathBuf, Fault> {
    let home = env::var_os("HOME").filter(|value| !value.is_empty());
    let home = home.ok_or_else(|| Fault::new("HOME is not set: say where to build with CARGO_TARGET_DIR and where to store with --dir"))?;
    Ok(PathBuf::from(home).join(".cache/skep"))
}

/// The one folder everything is built into.
pub(crate) fn target_dir() -> Result<PathBuf, Fault> {
    match env::var_os("CARGO_TARGET_DIR").filter(|value| !value.is_empty()) {
        Some(chosen) => {
            std::path::absolute(PathBuf::from(chosen)).map_err(|cause| Fault::new(format!("CARGO_TARGET_DIR is no path: {cause}")))
        }
        None => Ok(cache_dir()?.join("target")),
    }
}

/// Cargo, run in the workspace with the one target folder.
pub(crate) fn cargo() -> Result<Command, Fault> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace_root()).env("CARGO_TARGET_DIR", target_dir()?);
    // Set by the cargo that runs xtask, and meant for xtask only.
    command.env_remove("CARGO_MANIFEST_DIR").env_remove("CARGO_MANIFEST_PATH");
    for (name, _value) in env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_")) {
            command.env_remove(name);
        }
    }
    Ok(command)
}

/// Whether RocksDB was compiled in this target folder before: its build script left an archive.
pub(crate) fn rocksdb_is_built(target: &Path) -> bool {
    let Ok(entries) = fs::read_dir(target.join("release/build")) else {
        return false;
    };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("librocksdb-sys-"))
        .any(|entry| entry.path().join("out/librocksdb.a").is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_holds_the_workspace() {
        let manifest = fs::read_to_string(workspace_root().join("Cargo.toml")).expect("the workspace has a manifest");
        assert!(manifest.contains("[workspace]"), "{manifest}");
    }
}
