//! Records that the commands of an entry read and change over and over: decoded once, and encoded once when the entry ends.
//!
//! Invariant: after [`Decoded::roll_back`] every record is what it was at the last [`Decoded::mark`].

use std::collections::BTreeMap;

/// A record, and whether it differs from what lies below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held<V> {
    record: V,
    is_changed: bool,
}

/// Records of one kind by what tells them apart.
#[derive(Debug)]
pub(crate) struct Decoded<K, V> {
    held: BTreeMap<K, Held<V>>,
    undo: Vec<(K, Option<Held<V>>)>,
}

impl<K, V> Default for Decoded<K, V> {
    fn default() -> Self {
        Self { held: BTreeMap::new(), undo: Vec::new() }
    }
}

impl<K: Ord + Copy, V: Copy> Decoded<K, V> {
    pub(crate) fn get(&self, key: K) -> Option<V> {
        self.held.get(&key).map(|held| held.record)
    }

    /// Holds what lies below, so that it is not decoded again.
    pub(crate) fn hold(&mut self, key: K, record: V) {
        self.held.entry(key).or_insert(Held { record, is_changed: false });
    }

    pub(crate) fn set(&mut self, key: K, record: V) {
        let before = self.held.insert(key, Held { record, is_changed: true });
        self.undo.push((key, before));
    }

    /// No longer knows a record: what lies below counts.
    pub(crate) fn forget(&mut self, key: K) {
        if let Some(before) = self.held.remove(&key) {
            self.undo.push((key, Some(before)));
        }
    }

    /// What is changed so far stays.
    pub(crate) fn mark(&mut self) {
        self.undo.clear();
    }

    /// Takes back what was changed since the mark.
    pub(crate) fn roll_back(&mut self) {
        while let Some((key, before)) = self.undo.pop() {
            match before {
                Some(before) => self.held.insert(key, before),
                None => self.held.remove(&key),
            };
        }
    }

    /// The records that were changed, in the order of their keys.
    pub(crate) fn changed(&self) -> impl Iterator<Item = (K, V)> {
        self.held.iter().filter(|(_, held)| held.is_changed).map(|(key, held)| (*key, held.record))
    }
}

#[cfg(test)]
mod tests {
    use super::Decoded;

    #[test]
    fn what_is_taken_back_is_as_it_was() {
        let mut decoded: Decoded<u8, u8> = Decoded::default();
        decoded.hold(1, 10);
        decoded.hold(1, 99);
        decoded.set(2, 20);
        decoded.mark();
        decoded.set(1, 11);
        decoded.set(1, 12);
        decoded.set(3, 30);
        decoded.forget(2);
        decoded.forget(4);
        assert_eq!((decoded.get(1), decoded.get(2), decoded.get(3)), (Some(12), None, Some(30)));
        decoded.roll_back();
        assert_eq!((decoded.get(1), decoded.get(2), decoded.get(3)), (Some(10), Some(20), None));
        assert_eq!(decoded.changed().collect::<Vec<_>>(), [(2, 20)], "what is only held is not written");
        decoded.forget(2);
        decoded.mark();
        decoded.roll_back();
        assert_eq!(decoded.changed().count(), 0);
    }
}
