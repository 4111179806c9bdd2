//! Walking a folder of this machine: which files can be loaded, in a fixed order, up to a bound.

use super::content::{Item, Source};
use crate::fault::Fault;
use std::fs::{self, DirEntry};
use std::path::{Path, PathBuf};

/// Where a walk ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) files: usize,
    pub(crate) bytes: u64,
}

impl Bounds {
    /// The whole tree.
    pub(crate) const NONE: Bounds = Bounds { files: usize::MAX, bytes: u64::MAX };
}

/// What a walk found.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) items: Vec<Item>,
    /// Paths of all folders, parents first.
    pub(crate) folders: Vec<String>,
    pub(crate) bytes: u64,
    /// Links, sockets and devices; unreadable folders; names that are not UTF-8.
    pub(crate) left_out: usize,
    /// There was more than the bounds allow.
    pub(crate) cut: bool,
}

/// Walks `root`, leaving out the folder `except`; paths begin with `prefix`.
pub(crate) fn walk(root: &Path, prefix: &str, except: &Path, bounds: Bounds) -> Result<Tree, Fault> {
    let mut tree = Tree::default();
    let first = sorted_entries(root).map_err(|cause| Fault::at("read the folder", root, cause))?;
    tree.folders.push(prefix.to_owned());
    let mut waiting: Vec<(DirEntry, String)> = first.into_iter().rev().map(|entry| (entry, prefix.to_owned())).collect();
    while let Some((entry, parent)) = waiting.pop() {
        if tree.items.len() >= bounds.files || tree.bytes >= bounds.bytes {
            tree.cut = true;
            break;
        }
        let (Ok(metadata), Ok(name)) = (entry.metadata(), entry.file_name().into_string()) else {
            tree.left_out += 1;
            continue;
        };
        let path = format!("{parent}/{name}");
        if metadata.is_file() {
            tree.bytes += metadata.len();
            tree.items.push(Item { path, length: metadata.len(), source: Source::File(entry.path()) });
        } else if metadata.is_dir() && entry.path() != except {
            match sorted_entries(&entry.path()) {
                Ok(entries) => waiting.extend(entries.into_iter().rev().map(|entry| (entry, path.clone()))),
                Err(_unreadable) => tree.left_out += 1,
            }
            tree.folders.push(path);
        } else {
            tree.left_out += 1;
        }
    }
    Ok(tree)
}

fn sorted_entries(folder: &Path) -> std::io::Result<Vec<DirEntry>> {
    let mut entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(DirEntry::file_name);
    Ok(entries)
}

/// Folders with sources that most machines have, best first.
pub(crate) fn usual_sources() -> Vec<PathBuf> {
    let cargo = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo = cargo.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let registry = cargo.map(|cargo| cargo.join("registry/src"));
    registry.into_iter().chain(["/usr/share/doc", "/usr/include"].map(PathBuf::from)).filter(|folder| folder.is_dir()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_fixed_and_links_are_left_out() {
        let root = tempfile::tempdir().expect("a temporary folder can be made");
        for path in ["b/two", "a/one", "a/deep/three", "zero", "skip/me"] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("it has one")).expect("the folder is writable");
            fs::write(path, "1234").expect("the folder is writable");
        }
        std::os::unix::fs::symlink("zero", root.path().join("link")).expect("the folder is writable");
        let tree = walk(root.path(), "p", &root.path().join("skip"), Bounds::NONE).expect("it can be read");
        let paths: Vec<&str> = tree.items.iter().map(|item| item.path.as_str()).collect();
        assert_eq!(paths, ["p/a/deep/three", "p/a/one", "p/b/two", "p/zero"]);
        assert_eq!(tree.folders, ["p", "p/a", "p/a/deep", "p/b"]);
        assert_eq!((tree.bytes, tree.left_out, tree.cut), (16, 2, false));

        let cut = walk(root.path(), "p", Path::new("/"), Bounds { files: 2, bytes: u64::MAX }).expect("it can be read");
        assert!(cut.cut && cut.items.len() == 2);
    }
}
