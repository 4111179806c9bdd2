//! A tree and its versions as a map of paths: what the state machine is compared with.

use super::group::id;
use super::steps::{Place, Step};
use bytes::Bytes;
use std::collections::BTreeMap;

pub(crate) const BIN: &str = "recycle_bin";

/// An entry under a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    /// Who it is, wherever it hangs.
    pub(crate) token: u64,
    pub(crate) mtime: u64,
    /// Number of the current version; a folder has none.
    pub(crate) number: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) number: u64,
    pub(crate) bytes: Vec<u8>,
    /// Versions that share a content have the same.
    pub(crate) content: u64,
    pub(crate) created_at: u64,
    pub(crate) superseded_at: Option<u64>,
    pub(crate) mtime: u64,
    pub(crate) description: String,
}

/// The root is not among the nodes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) nodes: BTreeMap<Place, Node>,
    /// By entry, the oldest first, of what was deleted too.
    pub(crate) versions: BTreeMap<u64, Vec<Version>>,
    /// When an entry, or a folder above it, was deleted for good.
    pub(crate) unlinked: BTreeMap<u64, u64>,
    /// When what lies in a recycle bin came into it.
    pub(crate) recycled: BTreeMap<u64, u64>,
    /// Ids of entries; those of copies are learned.
    pub(crate) entries: BTreeMap<u64, Bytes>,
    pub(crate) version_ids: BTreeMap<(u64, u64), Bytes>,
    /// The stamp of the step under way.
    pub(crate) stamp: u64,
    /// Recycle bins that the step under way has made.
    pub(crate) bins_made: u64,
    tokens: u64,
    contents: u64,
}

impl Model {
    pub(crate) fn is_folder(&self, at: &[String]) -> bool {
        at.is_empty() || self.nodes.get(at).is_some_and(|node| node.number.is_none())
    }

    pub(crate) fn exists(&self, at: &[String]) -> bool {
        at.is_empty() || self.nodes.contains_key(at)
    }

    fn parent_is_folder(&self, at: &[String]) -> bool {
        at.split_last().is_some_and(|(_, parent)| self.is_folder(parent))
    }

    pub(crate) fn version(&self, token: u64, number: u64) -> Option<&Version> {
        self.versions.get(&token)?.iter().find(|version| version.number == number)
    }

    /// Bytes and entries below a folder.
    pub(crate) fn below(&self, at: &[String]) -> (u64, u64) {
        let inside = self.nodes.iter().filter(|(path, _)| path.len() > at.len() && path.starts_with(at));
        inside.fold((0, 0), |(bytes, entries), (_, node)| {
            let size = node.number.map_or(0, |number| self.version(node.token, number).unwrap().bytes.len() as u64);
            (bytes + size, entries + 1)
        })
    }

    /// Bytes of all contents, each once.
    pub(crate) fn stored(&self) -> u64 {
        let contents: BTreeMap<u64, u64> =
            self.versions.values().flatten().map(|version| (version.content, version.bytes.len() as u64)).collect();
        contents.values().sum()
    }

    fn subtree(&self, at: &[String]) -> Vec<(Place, Node)> {
        self.nodes.iter().filter(|(path, _)| path.starts_with(at)).map(|(path, node)| (path[at.len()..].to_vec(), node.clone())).collect()
    }

    fn take_away(&mut self, at: &[String]) {
        self.nodes.retain(|path, _| !path.starts_with(at));
    }

    fn remove(&mut self, at: &[String]) {
        for (_, node) in self.subtree(at) {
            self.unlinked.insert(node.token, self.stamp);
        }
        self.take_away(at);
    }

    fn insert(&mut self, at: &[String], below: Vec<(Place, Node)>) {
        for (rest, node) in below {
            self.nodes.insert(at.iter().cloned().chain(rest).collect(), node);
        }
    }

    fn new_token(&mut self, entry: Option<Bytes>) -> u64 {
        self.tokens += 1;
        self.entries.extend(entry.map(|entry| (self.tokens, entry)));
        self.tokens
    }

    fn make_folder(&mut self, at: &[String], entry: Bytes) {
        let token = self.new_token(Some(entry));
        self.nodes.insert(at.to_vec(), Node { token, mtime: self.stamp, number: None });
    }

    /// Whether something at `from` can be put at `to`.
    fn can_put(&self, from: &[String], to: &[String], overwrite: bool) -> bool {
        self.exists(from)
            && !from.is_empty()
            && !to.is_empty()
            && self.parent_is_folder(to)
            && !to.starts_with(from)
            && !from.starts_with(to)
            && (overwrite || !self.exists(to))
    }

    /// The step with what it draws.
    pub(crate) fn drawn(&self, step: &Step) -> Step {
        let number = |at: &Place, pick: usize| {
            let versions = self.nodes.get(at).and_then(|node| self.versions.get(&node.token)).map_or(&[][..], Vec::as_slice);
            if versions.is_empty() { 0 } else { versions[pick % versions.len()].number }
        };
        match step.clone() {
            Step::UseVersion { to, pick, keep_mtime, .. } => {
                let all: Vec<_> = self.versions.iter().flat_map(|(token, list)| list.iter().map(|one| (*token, one.number))).collect();
                let of = if all.is_empty() { None } else { Some(all[pick % all.len()]) };
                Step::UseVersion { to, pick, of, keep_mtime }
            }
            Step::Describe { at, pick, .. } => Step::Describe { number: number(&at, pick), at, pick },
            Step::DeleteVersion { at, pick, .. } => Step::DeleteVersion { number: number(&at, pick), at, pick },
            Step::Batch { steps } => Step::Batch { steps: steps.iter().map(|step| self.drawn(step)).collect() },
            other => other,
        }
    }

    /// Does what the state machine should do under the ids from `first` on. Whether it takes the step; else what is left here counts for nothing.
    pub(crate) fn take(&mut self, step: &Step, first: u64) -> bool {
        match step {
            Step::MakeFolder { at, recursive } => self.make_folders(at, *recursive, first),
            Step::Put { at, bytes } => {
                self.contents += 1;
                let version = Version { bytes: bytes.clone(), ..self.version_of(self.contents, self.stamp) };
                self.put(at, version, first)
            }
            Step::Move { from, to, .. } if from == to && !from.is_empty() && self.exists(from) => true,
            Step::Move { from, to, overwrite } => {
                let can = self.can_put(from, to, *overwrite);
                if can {
                    self.recycled.remove(&self.nodes[from].token);
                    let moved = self.subtree(from);
                    self.take_away(from);
                    self.remove(to);
                    self.insert(to, moved);
                }
                can
            }
            Step::Copy { from, to, overwrite } => self.can_put(from, to, *overwrite) && self.copy(from, to),
            Step::Delete { at } => {
                let there = !at.is_empty() && self.exists(at);
                if there {
                    self.remove(at);
                }
                there
            }
            Step::Recycle { at } => self.recycle(at, first),
            Step::SetTimes { at, mtime } => self.nodes.get_mut(at).map(|node| node.mtime = *mtime).is_some(),
            Step::UseVersion { to, of, keep_mtime, .. } => {
                let Some(used) = of.and_then(|(token, number)| self.version(token, number)).cloned() else { return false };
                let mtime = if *keep_mtime { used.mtime } else { self.stamp };
                self.put(to, Version { bytes: used.bytes, ..self.version_of(used.content, mtime) }, first)
            }
            Step::Describe { at, number, .. } => {
                let token = self.nodes.get(at).map(|node| node.token);
                let versions = token.and_then(|token| self.versions.get_mut(&token));
                let version = versions.and_then(|versions| versions.iter_mut().find(|version| version.number == *number));
                version.map(|version| version.description = format!("described at {first}")).is_some()
            }
            Step::DeleteVersion { at, number, .. } => {
                let Some((token, current)) = self.nodes.get(at).and_then(|node| Some((node.token, node.number?))) else { return false };
                self.versions.get_mut(&token).unwrap().retain(|version| version.number != *number);
                current != *number
            }
            Step::Batch { steps } => (first + 10..).step_by(10).zip(steps).all(|(first, step)| self.take(step, first)),
        }
    }

    fn version_of(&self, content: u64, mtime: u64) -> Version {
        let (created_at, description) = (self.stamp, String::new());
        Version { number: 1, bytes: Vec::new(), content, created_at, superseded_at: None, mtime, description }
    }

    fn make_folders(&mut self, at: &[String], recursive: bool, first: u64) -> bool {
        let way_is_free = (1..at.len()).all(|length| self.is_folder(&at[..length]) || (recursive && !self.exists(&at[..length])));
        if at.is_empty() || self.exists(at) || !way_is_free {
            return false;
        }
        let missing: Vec<usize> = (1..at.len()).filter(|length| !self.exists(&at[..*length])).collect();
        for (length, number) in missing.into_iter().zip(first + 1..) {
            self.make_folder(&at[..length], id(number));
        }
        self.make_folder(at, id(first));
        true
    }

    fn put(&mut self, at: &[String], mut version: Version, first: u64) -> bool {
        if at.is_empty() || !self.parent_is_folder(at) || self.is_folder(at) {
            return false;
        }
        let token = match self.nodes.get(at) {
            Some(node) => node.token,
            None => self.new_token(Some(id(first))),
        };
        let versions = self.versions.entry(token).or_default();
        if let Some(last) = versions.last_mut() {
            version.number = last.number + 1;
            last.superseded_at = Some(self.stamp);
        }
        self.version_ids.insert((token, version.number), id(first + 1));
        self.nodes.insert(at.to_vec(), Node { token, mtime: version.mtime, number: Some(version.number) });
        versions.push(version);
        true
    }

    fn copy(&mut self, from: &[String], to: &[String]) -> bool {
        let mut copies = self.subtree(from);
        self.remove(to);
        for (_, node) in &mut copies {
            let token = self.new_token(None);
            if let Some(number) = node.number {
                let copied = self.version(node.token, number).unwrap().clone();
                let version = Version { number: 1, created_at: self.stamp, superseded_at: None, mtime: node.mtime, ..copied };
                self.versions.insert(token, vec![version]);
                node.number = Some(1);
            }
            node.token = token;
        }
        self.insert(to, copies);
        true
    }

    fn recycle(&mut self, at: &[String], first: u64) -> bool {
        let bin = vec![BIN.to_owned()];
        if at.is_empty() || !self.exists(at) {
            return false;
        }
        if self.is_folder(&bin) && at.starts_with(&bin) {
            self.remove(at);
            return true;
        }
        if self.exists(&bin) && !self.is_folder(&bin) {
            return false;
        }
        if !self.exists(&bin) {
            self.bins_made += 1;
            self.make_folder(&bin, id(first));
        }
        let name = at.last().unwrap();
        let names = std::iter::once(name.clone()).chain((2..).map(|number| format!("{name} ({number})")));
        let free = names.map(|name| vec![BIN.to_owned(), name]).find(|path| !self.exists(path)).unwrap();
        self.recycled.insert(self.nodes[at].token, self.stamp);
        let moved = self.subtree(at);
        self.take_away(at);
        self.insert(&free, moved);
        true
    }

    /// Deletes what has lain in bins for so long, then the oldest of bins that hold more than so many bytes. How many.
    pub(crate) fn empty_bins(&mut self, seconds: u64, bytes: u64) -> u64 {
        let order: BTreeMap<(u64, Bytes), u64> =
            self.recycled.iter().map(|(token, since)| ((*since, self.entries[token].clone()), *token)).collect();
        let mut count = 0;
        for ((since, _), token) in order {
            let lies_at = self.nodes.iter().find(|(_, node)| node.token == token).map(|(at, _)| at.clone());
            let Some((at, bin)) = lies_at.and_then(|at| Some((at.clone(), at.split_last()?.1.to_vec()))) else { continue };
            let is_old = seconds != 0 && since + seconds * 1_000_000 <= self.stamp;
            if bin.last().is_some_and(|name| name == BIN) && (is_old || (bytes != 0 && self.below(&bin).0 > bytes)) {
                self.remove(&at);
                count += 1;
            }
        }
        count
    }
}
