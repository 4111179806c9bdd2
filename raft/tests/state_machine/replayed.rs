//! Entries as the feed tells them, by one who sees every change: each must fit what was told before.

use std::collections::BTreeMap;

use bytes::Bytes;
use skep_raft::wire::meta::v1::{ChangeKind, Entry, EntryKind, EntryPlace, FeedChange, WalkPage};

/// What is known of an entry. The size of a folder is none of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) parent: Bytes,
    pub(crate) name: String,
    pub(crate) kind: i32,
    pub(crate) version: Bytes,
    pub(crate) number: u64,
    pub(crate) size: u64,
    pub(crate) mtime: u64,
}

impl Known {
    /// By a change.
    pub(crate) fn told(shown: &FeedChange) -> Self {
        let change = shown.change.clone().expect("what is shown is a change");
        let to = change.to.unwrap_or_default();
        let (kind, version, number) = (change.entry_kind, change.version, change.version_number);
        Self { parent: to.parent, name: to.name, kind, version, number, size: change.size, mtime: change.mtime }
    }

    fn walked(entry: Entry) -> Self {
        let size = if entry.kind == i32::from(EntryKind::File) { entry.size } else { 0 };
        let (kind, version, number) = (entry.kind, entry.version, entry.version_number);
        Self { parent: entry.parent, name: entry.name, kind, version, number, size, mtime: entry.mtime }
    }
}

/// Entries by their ids; what hangs nowhere has no parent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Replayed {
    pub(crate) entries: BTreeMap<Bytes, Known>,
}

impl Replayed {
    /// Takes over a page of a walk. Where the next one begins.
    pub(crate) fn add_walked(&mut self, page: WalkPage) -> Option<Vec<String>> {
        let after = page.entries.last().map(|walked| walked.names.clone()).filter(|_| page.more);
        let entries = page.entries.into_iter().map(|walked| walked.entry.expect("a walk shows entries"));
        self.entries.extend(entries.map(|entry| (entry.entry.clone(), Known::walked(entry))));
        after
    }

    fn place(&self, entry: &Bytes) -> Option<(Bytes, String)> {
        self.entries.get(entry).filter(|known| !known.parent.is_empty()).map(|known| (known.parent.clone(), known.name.clone()))
    }

    /// Takes over a change by one who sees all of them: it must fit what is known.
    pub(crate) fn take(&mut self, shown: &FeedChange) {
        let change = shown.change.as_ref().expect("what is shown is a change");
        let (to, from) = (place_of(change.to.as_ref()), place_of(change.from.as_ref()));
        let known = Known::told(shown);
        match change.kind() {
            ChangeKind::Created => {
                assert!(!self.entries.contains_key(&change.entry), "made twice: {shown:?}");
                self.entries.insert(change.entry.clone(), known);
            }
            ChangeKind::NewVersion | ChangeKind::Times => {
                assert_eq!(self.place(&change.entry), to, "it stays where it is: {shown:?}");
                self.entries.insert(change.entry.clone(), known);
            }
            ChangeKind::Moved => {
                assert_eq!(self.place(&change.entry), from, "it comes from where it was: {shown:?}");
                self.entries.insert(change.entry.clone(), known);
            }
            ChangeKind::Deleted => {
                assert_eq!(self.place(&change.entry), from, "it goes from where it was: {shown:?}");
                self.remove(&change.entry);
            }
            ChangeKind::Meta | ChangeKind::Lock => {
                assert_eq!(self.entries.get(&change.entry), Some(&known), "nothing else has changed: {shown:?}");
            }
            ChangeKind::Unspecified => panic!("a change of no kind: {shown:?}"),
        }
    }

    pub(crate) fn remove(&mut self, entry: &Bytes) {
        self.entries.remove(entry);
        let below: Vec<Bytes> = self.entries.iter().filter(|(_, known)| known.parent == entry).map(|(below, _)| below.clone()).collect();
        for below in below {
            self.remove(&below);
        }
    }

    /// What hangs on a root.
    pub(crate) fn below(&self, root: &Bytes) -> Self {
        let hangs = |mut at: Bytes| {
            while let Some(known) = self.entries.get(&at) {
                at = known.parent.clone();
            }
            at == root
        };
        Self { entries: self.entries.iter().filter(|(entry, _)| hangs((*entry).clone())).map(|(e, k)| (e.clone(), k.clone())).collect() }
    }
}

fn place_of(place: Option<&EntryPlace>) -> Option<(Bytes, String)> {
    place.map(|place| (place.parent.clone(), place.name.clone()))
}
