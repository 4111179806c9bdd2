//! Decides what is still to be loaded: what was asked for, without what an earlier start has finished.

use super::content::{Item, random_items};
use super::folder::DemoFolder;
use super::tree::{self, Bounds, Tree};
use crate::cli::DemoOptions;
use crate::duration_text::bytes;
use crate::fault::Fault;
use crate::output;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const SOURCES: Bounds = Bounds { files: 20_000, bytes: 500 << 20 };
const SOURCES_SMALL: Bounds = Bounds { files: 200, bytes: 5 << 20 };
const RANDOM_FILES: u64 = 2_000;
const RANDOM_FILES_SMALL: u64 = 50;
const LARGE_BYTES: u64 = 1 << 30;
/// Fewer files than this make a poor tree if another folder has more.
const TREE_FILES_GOOD: usize = 2_000;
/// Logs, indexes and state of three nodes.
const NODE_ROOM_BYTES: u64 = 3 << 30;
const NODE_ROOM_BYTES_SMALL: u64 = 1 << 30;

/// A load as `loads.json` remembers it.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub(crate) struct LoadRecord {
    /// What it is: `sources`, `random`, their small forms, or `tree` and a path.
    pub(crate) name: String,
    /// The folder it goes to.
    pub(crate) folder: String,
    /// Every file of it is in the manifest.
    pub(crate) done: bool,
}

/// A load to be done now.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) record: LoadRecord,
    /// For people: where the files come from.
    pub(crate) title: String,
    pub(crate) items: Vec<Item>,
    /// Parents first.
    pub(crate) folders: Vec<String>,
}

/// All that is to be done now, and what was done before.
#[derive(Debug)]
pub(crate) struct Loads {
    pub(crate) todo: Vec<Load>,
    pub(crate) known: Vec<LoadRecord>,
    small: bool,
}

impl Loads {
    /// Room that nodes need for these: twice the bytes (three halves at 2+1, the log beside), and their own.
    pub(crate) fn room_bytes(&self) -> u64 {
        let loaded: u64 = self.todo.iter().flat_map(|load| &load.items).map(|item| item.length).sum();
        loaded.saturating_mul(2).saturating_add(if self.small || self.todo.is_empty() { NODE_ROOM_BYTES_SMALL } else { NODE_ROOM_BYTES })
    }
}

/// Reads what is known and walks what is wanted.
pub(crate) fn decide(options: &DemoOptions, folder: &DemoFolder) -> Result<Loads, Fault> {
    let known = read_records(folder)?;
    let mut todo = Vec::new();
    if let Some(load) = tree_load(options, folder, &known)? {
        todo.push(load);
    }
    if let Some(record) = wanted(&known, "random", options.small) {
        let (count, large) = if options.small { (RANDOM_FILES_SMALL, 0) } else { (RANDOM_FILES, LARGE_BYTES) };
        let items = random_items(&record.folder, count, large);
        let title = format!("{count} files of random bytes in each size class{}", if large > 0 { " and one of 1 GiB" } else { "" });
        todo.push(Load { folders: folders_of(&items), record, title, items });
    }
    Ok(Loads { todo, known, small: options.small })
}

/// Remembers the state of the loads.
pub(crate) fn write_records(folder: &DemoFolder, records: &[LoadRecord]) -> Result<(), Fault> {
    let path = folder.loads_file();
    let text = serde_json::to_string_pretty(records).expect("records are plain texts");
    fs::write(&path, text).map_err(|cause| Fault::at("write", &path, cause))
}

fn read_records(folder: &DemoFolder) -> Result<Vec<LoadRecord>, Fault> {
    let path = folder.loads_file();
    match fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text).map_err(|cause| Fault::at("understand", &path, cause)),
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(cause) => Err(Fault::at("read", &path, cause)),
    }
}

/// The record of a standard load, unless it or (where the small form is asked for) its full form is done.
fn wanted(known: &[LoadRecord], kind: &str, small: bool) -> Option<LoadRecord> {
    let name = if small { format!("{kind}, small") } else { kind.to_owned() };
    if known.iter().any(|record| record.done && (record.name == name || record.name == kind)) {
        return None;
    }
    Some(record_of(known, &name, &name.replace(", ", "-")))
}

fn tree_load(options: &DemoOptions, folder: &DemoFolder, known: &[LoadRecord]) -> Result<Option<Load>, Fault> {
    if let Some(chosen) = &options.load {
        let root = fs::canonicalize(chosen).map_err(|cause| Fault::at("load", chosen, cause))?;
        let name = format!("tree {}", root.display());
        if known.iter().any(|record| record.done && record.name == name) {
            return Ok(None);
        }
        let base = root.file_name().and_then(|name| name.to_str()).unwrap_or("tree");
        let record = record_of(known, &name, &format!("trees/{base}"));
        let tree = tree::walk(&root, &record.folder, folder.path(), Bounds::NONE)?;
        return Ok(Some(load_of(record, &root, tree)));
    }
    // A tree that was chosen by hand stands for the sources: the next start need not name it again.
    if known.iter().any(|record| record.done && record.name.starts_with("tree ")) {
        return Ok(None);
    }
    let Some(record) = wanted(known, "sources", options.small) else {
        return Ok(None);
    };
    let bounds = if options.small { SOURCES_SMALL } else { SOURCES };
    match best_sources(&record.folder, folder, bounds) {
        Some((root, tree)) => Ok(Some(load_of(record, &root, tree))),
        None => {
            output::warning("no sources found on this machine: name a folder with --load");
            Ok(None)
        }
    }
}

fn best_sources(prefix: &str, folder: &DemoFolder, bounds: Bounds) -> Option<(PathBuf, Tree)> {
    let mut best: Option<(PathBuf, Tree)> = None;
    for root in tree::usual_sources() {
        let Ok(tree) = tree::walk(&root, prefix, folder.path(), bounds) else {
            continue;
        };
        if tree.items.len() >= TREE_FILES_GOOD.min(bounds.files) {
            return Some((root, tree));
        }
        if best.as_ref().is_none_or(|(_, other)| other.items.len() < tree.items.len()) {
            best = Some((root, tree));
        }
    }
    best.filter(|(_, tree)| !tree.items.is_empty())
}

fn load_of(record: LoadRecord, root: &Path, tree: Tree) -> Load {
    let mut title = format!("{} files, {} of {}", tree.items.len(), bytes(tree.bytes), root.display());
    if tree.cut {
        title.push_str(" (a part of it)");
    }
    if tree.left_out > 0 {
        title.push_str(&format!("; {} links and unreadable entries are left out", tree.left_out));
    }
    let folders = parents_of(&record.folder).chain(tree.folders).collect();
    Load { record, title, items: tree.items, folders }
}

/// The record that is known by this name, or a new one with a folder that no other load uses.
fn record_of(known: &[LoadRecord], name: &str, base: &str) -> LoadRecord {
    if let Some(record) = known.iter().find(|record| record.name == name) {
        return record.clone();
    }
    let free = |folder: &String| !known.iter().any(|record| record.folder == *folder);
    let candidates = std::iter::once(format!("demo/{base}")).chain((2..).map(|number| format!("demo/{base}-{number}")));
    let folder = candidates.into_iter().find(free).unwrap_or_else(|| format!("demo/tree-{}", known.len()));
    LoadRecord { name: name.to_owned(), folder, done: false }
}

fn parents_of(path: &str) -> impl Iterator<Item = String> {
    path.match_indices('/').map(|(end, _)| path[..end].to_owned())
}

fn folders_of(items: &[Item]) -> Vec<String> {
    let mut folders = BTreeSet::new();
    for item in items {
        folders.extend(parents_of(&item.path));
    }
    // Text order puts a folder before what is in it.
    folders.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn options(words: &[&str]) -> DemoOptions {
        let cli = crate::cli::Cli::parse_from(["xtask", "demo"].iter().chain(words));
        match cli.command {
            crate::cli::Command::Demo(options) => options,
            other => panic!("asked for demo, got {other:?}"),
        }
    }

    fn done(name: &str, folder: &str) -> LoadRecord {
        LoadRecord { name: name.into(), folder: folder.into(), done: true }
    }

    #[test]
    fn what_is_done_is_not_done_again() {
        assert!(wanted(&[done("random", "demo/random")], "random", false).is_none());
        assert!(wanted(&[done("random", "demo/random")], "random", true).is_none());
        assert!(wanted(&[done("random, small", "demo/random-small")], "random", false).is_some());
        let begun = LoadRecord { done: false, ..done("random", "demo/random") };
        assert_eq!(wanted(std::slice::from_ref(&begun), "random", false), Some(begun));
    }

    #[test]
    fn two_trees_of_one_name_get_two_folders() {
        let outer = tempfile::tempdir().expect("a temporary folder can be made");
        let folder = DemoFolder::at(outer.path().join("demo"));
        folder.create().expect("a new folder is made");
        let tree = outer.path().join("x/photos");
        fs::create_dir_all(&tree).expect("the folder is writable");
        fs::write(tree.join("one.jpg"), "1").expect("the folder is writable");
        write_records(&folder, &[done("tree /elsewhere/photos", "demo/trees/photos"), done("random", "demo/random")])
            .expect("the folder is writable");
        let loads = decide(&options(&["--load", tree.to_str().expect("UTF-8")]), &folder).expect("it can be walked");
        assert_eq!(loads.todo.len(), 1);
        assert_eq!(loads.todo[0].items[0].path, "demo/trees/photos-2/one.jpg");
        assert!(decide(&options(&[]), &folder).expect("nothing to walk").todo.is_empty());
    }

    #[test]
    fn folders_come_parents_first() {
        let items = random_items("demo/random", 1, 1);
        assert_eq!(
            folders_of(&items),
            [
                "demo",
                "demo/random",
                "demo/random/coded",
                "demo/random/coded/00",
                "demo/random/copied",
                "demo/random/copied/00",
                "demo/random/inline",
                "demo/random/inline/00"
            ]
        );
    }
}
