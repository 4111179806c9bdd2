//! Where pages of folders ended, so that the next page need not pass over all names before it.
//!
//! The invariant: a hint says only where to look first. The answer names the folder and the state it was read at; a hint of another one is not used.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use skep_raft::wire::meta::v1::{EntryPage, EntryPath};

use crate::limits;
use crate::service::place::Place;

/// Members between two marks of a page.
const MARKED_EVERY: u64 = 1_000;

/// Which page is meant: the folder, the instant, the kind of members, and how many come before it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PageKey {
    group: u64,
    base: Bytes,
    names: Vec<String>,
    at: u64,
    kind: i32,
    offset: u64,
}

/// Where a page begins, in one state of the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PageHint {
    /// The folder's id.
    folder: Bytes,
    /// Its last change at or below; 0 for an instant after which it has changed, and at which nothing changes any more.
    changed_at: u64,
    /// The name after which the page begins.
    pub(crate) after: String,
    /// Members that match.
    pub(crate) total: u64,
}

/// The hints of a node.
#[derive(Debug, Default)]
pub(crate) struct PageHints {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    hints: BTreeMap<PageKey, PageHint>,
    /// The oldest first.
    order: VecDeque<PageKey>,
}

impl PageKey {
    pub(crate) fn of(place: &Place, kind: i32, offset: u64) -> Self {
        let EntryPath { base, names } = place.entry();
        Self { group: place.group().0, base, names, at: place.instant(), kind, offset }
    }
}

impl PageHint {
    /// Of what follows a page.
    pub(crate) fn after(page: &EntryPage, total: u64) -> Option<Self> {
        let folder = page.folder.as_ref()?;
        Some(Self { folder: folder.entry.clone(), changed_at: state_of(page), after: page.entries.last()?.name.clone(), total })
    }

    /// How many members there are, of a folder at an instant.
    pub(crate) fn counted(page: &EntryPage, total: u64) -> Self {
        let folder = page.folder.as_ref().map(|folder| folder.entry.clone()).unwrap_or_default();
        Self { folder, changed_at: 0, after: String::new(), total }
    }

    /// Where further pages begin, as a page has marked them, with how many members before each; `first` come before what was marked.
    pub(crate) fn marked(page: &EntryPage, first: u64, total: u64) -> impl Iterator<Item = (u64, Self)> {
        let counted = Self { changed_at: state_of(page), ..Self::counted(page, total) };
        (1..).zip(&page.marks).map(move |(number, name)| (first + number * MARKED_EVERY, Self { after: name.clone(), ..counted.clone() }))
    }

    /// Whether a page was read of the folder and the state that the hint is about.
    pub(crate) fn holds_for(&self, page: &EntryPage) -> bool {
        page.folder.as_ref().is_some_and(|folder| folder.entry == self.folder) && state_of(page) == self.changed_at
    }

    /// Whether it is of an instant and no command can make it untrue.
    pub(crate) fn is_final(&self) -> bool {
        self.changed_at == 0
    }
}

/// The state of its folder that a page was read of.
fn state_of(page: &EntryPage) -> u64 {
    let sums = page.folder.as_ref().and_then(|folder| folder.sums);
    sums.map_or(page.as_now, |sums| sums.changed_at)
}

impl PageHints {
    pub(crate) fn get(&self, key: &PageKey) -> Option<PageHint> {
        self.kept().hints.get(key).cloned()
    }

    /// The hint of the page, or of the nearest one before it, and how many members come before that.
    pub(crate) fn nearest(&self, key: &PageKey) -> Option<(u64, PageHint)> {
        let first = PageKey { offset: 0, ..key.clone() };
        self.kept().hints.range(first..=key.clone()).next_back().map(|(of, hint)| (of.offset, hint.clone()))
    }

    /// Forgets all hints of a folder whose state was another.
    pub(crate) fn forget(&self, key: &PageKey) {
        let (first, last) = (PageKey { offset: 0, ..key.clone() }, PageKey { offset: u64::MAX, ..key.clone() });
        let mut kept = self.kept();
        let known: Vec<PageKey> = kept.hints.range(first..=last).map(|(key, _)| key.clone()).collect();
        for key in &known {
            kept.hints.remove(key);
        }
    }

    pub(crate) fn put(&self, key: PageKey, hint: PageHint) {
        let mut kept = self.kept();
        if kept.hints.insert(key.clone(), hint).is_some() {
            return;
        }
        kept.order.push_back(key);
        if kept.order.len() > limits::PAGE_HINTS
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.hints.remove(&oldest);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use skep_raft::wire::meta::v1::{Entry, EntryPage, FolderSums};

    use super::{PageHint, PageHints, PageKey};
    use crate::auth::authenticator::SignedIn;
    use crate::limits;
    use crate::service::place::{Place, tests::workspace};

    fn key(offset: u64) -> PageKey {
        let path = "files/a".parse().expect("a path");
        PageKey::of(&Place::in_workspace(workspace("files", false), &SignedIn::operator(), path).expect("a place"), 0, offset)
    }

    fn page(folder: u8, changed_at: u64, names: &[&str]) -> EntryPage {
        let sums = FolderSums { changed_at, ..FolderSums::default() };
        let folder = Entry { entry: Bytes::copy_from_slice(&[folder; 16]), sums: Some(sums), ..Entry::default() };
        let entries = names.iter().map(|name| Entry { name: (*name).to_owned(), ..Entry::default() }).collect();
        EntryPage { folder: Some(folder), entries, ..EntryPage::default() }
    }

    #[test]
    fn a_hint_is_of_one_state_of_one_folder() {
        let hint = PageHint::after(&page(1, 7, &["a", "b"]), 9).expect("the page has members");
        assert_eq!((hint.after.as_str(), hint.total), ("b", 9));
        assert!(hint.holds_for(&page(1, 7, &["c"])));
        assert!(!hint.holds_for(&page(1, 8, &["c"])), "something has changed");
        assert!(!hint.holds_for(&page(2, 7, &["c"])), "another folder has the name");
        assert_eq!(PageHint::after(&page(1, 7, &[]), 9), None);
    }

    #[test]
    fn the_oldest_hints_go() {
        let hints = PageHints::default();
        let hint = PageHint::after(&page(1, 7, &["a"]), 1).expect("the page has a member");
        let most = u64::try_from(limits::PAGE_HINTS).expect("few");
        for offset in 0..=most {
            hints.put(key(offset), hint.clone());
            hints.put(key(offset), hint.clone());
        }
        assert_eq!(hints.get(&key(0)), None);
        assert_eq!(hints.get(&key(1)), Some(hint.clone()));
        assert_eq!(hints.get(&key(most)), Some(hint));
    }

    #[test]
    fn the_nearest_hint_before_a_page_is_found() {
        let hints = PageHints::default();
        assert_eq!(hints.nearest(&key(5)), None);
        let marked = EntryPage { marks: vec!["k".to_owned(), "s".to_owned()], ..page(1, 0, &[]) };
        PageHint::marked(&marked, 0, 2_500).for_each(|(offset, hint)| hints.put(key(offset), hint));
        let found = |offset: u64| hints.nearest(&key(offset)).map(|(offset, hint)| (offset, hint.after, hint.total));
        assert_eq!(found(999), None);
        assert_eq!(found(1_000), Some((1_000, "k".to_owned(), 2_500)));
        assert_eq!(found(1_999), Some((1_000, "k".to_owned(), 2_500)));
        assert_eq!(found(9_999), Some((2_000, "s".to_owned(), 2_500)));
        let other = PageKey { at: 7, ..key(9_999) };
        assert_eq!(hints.nearest(&other), None, "another instant");
        assert_eq!(hints.nearest(&PageKey { kind: 1, ..key(9_999) }), None, "another kind");
        PageHint::marked(&marked, 500, 2_500).for_each(|(offset, hint)| hints.put(key(offset), hint));
        assert_eq!(found(1_700), Some((1_500, "k".to_owned(), 2_500)));
        hints.put(other.clone(), PageHint::counted(&marked, 1));
        hints.forget(&key(0));
        assert_eq!((found(9_999), hints.nearest(&other).is_some()), (None, true), "the other instant's are kept");
    }
}
