//! What must hold of the rows by which the past ends: of the feed and the audit, of what is to be taken apart, of what lies in
//! bins, and of requests that may be repeated.

use std::collections::{BTreeMap, BTreeSet};

use skep_placement::ids::EntryId;

use super::Check;
use crate::keys::{
    AppliedIndexKey, AuditKey, ByIdKey, ChangeKey, CurrentKey, FeedBeginKey, GoneKey, HistoryHorizonKey, HistoryKey, IdempotentExpiryKey,
    IdempotentKey, ReapKey, RecycledKey, StampKey, SumsKey,
};
use crate::state::read;
use crate::store::StateError;
use crate::wire::meta::v1::{ByIdRecord, ChangeKind, EntryKind, IdempotentRecord};

/// The step that stands for a repeatable request itself.
const REQUEST: [u8; 32] = [0; 32];

impl Check<'_> {
    pub(super) fn upkeep(&mut self) -> Result<(), StateError> {
        let by_id: BTreeMap<EntryId, ByIdRecord> = self.all::<ByIdKey>()?.into_iter().map(|(key, record)| (key.entry, record)).collect();
        let stamp = read::get(self.state, &StampKey {})?.unwrap_or(0);
        self.reaping(&by_id)?;
        self.bins(&by_id)?;
        self.feed(stamp)?;
        self.gone_names()?;
        self.audit(stamp)?;
        self.repeatable(stamp)
    }

    /// What was deleted for good waits to be taken apart, and nothing that is linked does.
    fn reaping(&mut self, by_id: &BTreeMap<EntryId, ByIdRecord>) -> Result<(), StateError> {
        let mut waiting = BTreeMap::new();
        for (key, _) in self.all::<ReapKey>()? {
            let again = waiting.insert(key.entry, key.since.0).is_some();
            self.hold(!again, || format!("entry {} waits twice to be taken apart", key.entry));
            // What is forgotten already is only passed over.
            let unlinked_at = by_id.get(&key.entry).map_or(key.since.0, |record| record.unlinked_at);
            self.hold(unlinked_at == key.since.0, || {
                format!("entry {} is to be taken apart as deleted at {}, its record says {unlinked_at}", key.entry, key.since.0)
            });
        }
        for (entry, record) in by_id.iter().filter(|(_, record)| record.unlinked_at != 0) {
            let is_whole = record.kind == i32::from(EntryKind::Folder) || !record.reaped;
            self.hold(!is_whole || waiting.contains_key(entry), || format!("entry {entry} was deleted and is never taken apart"));
        }
        Ok(())
    }

    /// What lies in a recycle bin waits there, and nothing else does.
    fn bins(&mut self, by_id: &BTreeMap<EntryId, ByIdRecord>) -> Result<(), StateError> {
        let rows = self.all::<RecycledKey>()?;
        let count = rows.len();
        for (key, ()) in rows {
            let lies_there = by_id.get(&key.entry).is_some_and(|record| record.recycled_at == key.since.0);
            self.hold(lies_there, || format!("entry {} waits in a recycle bin since {}, but does not lie there", key.entry, key.since));
        }
        let known = by_id.values().filter(|record| record.recycled_at != 0).count();
        self.hold(count == known, || format!("{count} entries wait in recycle bins, {known} lie there"));
        Ok(())
    }

    /// The feed goes on behind its beginning, in the order of stamps, up to what was applied, and tells how everything came to be as it is.
    fn feed(&mut self, stamp: u64) -> Result<(), StateError> {
        let begin = read::get(self.state, &FeedBeginKey {})?.unwrap_or_default();
        let applied = read::get(self.state, &AppliedIndexKey {})?.unwrap_or(0);
        let horizon = read::get(self.state, &HistoryHorizonKey {})?.unwrap_or(0);
        self.hold(horizon <= stamp, || format!("history reaches back to {horizon} only, after the last stamp {stamp}"));
        self.hold(begin.index <= applied, || format!("the feed begins at {}, only {applied} was applied", begin.index));
        let mut last = 0;
        let mut told = BTreeSet::new();
        for (key, change) in self.all::<ChangeKey>()? {
            told.insert((change.entry.clone(), change.stamp));
            let kept = (key.index, key.sub) > (begin.index, begin.sub) && key.index <= applied;
            self.hold(kept, || format!("change {}.{} lies outside of the feed", key.index, key.sub));
            let in_order = change.stamp >= last && change.stamp <= stamp;
            self.hold(in_order, || format!("change {}.{} has the stamp {} behind {last}", key.index, key.sub, change.stamp));
            last = change.stamp;
        }
        for (key, current) in self.all::<CurrentKey>()? {
            let is_told = current.changed_at <= horizon || told.contains(&(current.entry, current.changed_at));
            self.hold(is_told, || format!("{}/{} changed at {}, which no change tells", key.parent, key.name.0, current.changed_at));
        }
        Ok(())
    }

    /// A name is gone as long as the feed tells how it went, and its folder knows that one is; a name with history is there or gone.
    fn gone_names(&mut self) -> Result<(), StateError> {
        let mut left = BTreeSet::new();
        for (_, change) in self.all::<ChangeKey>()? {
            let leaves = matches!(change.kind(), ChangeKind::Moved | ChangeKind::Deleted);
            if let Some(place) = change.from.as_ref().filter(|_| leaves) {
                left.insert((read::stored_id::<EntryId>(&place.parent, "a parent id")?, place.name.clone(), change.stamp));
            }
        }
        for (key, record) in self.all::<GoneKey>()? {
            let is_told = left.contains(&(key.parent, key.name.0.clone(), record.since));
            self.hold(is_told, || format!("{}/{} is gone since {}, which no change tells", key.parent, key.name.0, record.since));
            let is_denied = read::get(self.state, &SumsKey { folder: key.parent })?.is_some_and(|sums| sums.no_name_gone);
            self.hold(!is_denied, || format!("{}/{} is gone, and the folder says that no name is", key.parent, key.name.0));
        }
        for (key, _) in self.all::<HistoryKey>()? {
            let is_there = read::get(self.state, &CurrentKey::new(key.parent, &key.name.0))?.is_some();
            let is_gone = read::get(self.state, &GoneKey::new(key.parent, &key.name.0))?.is_some();
            self.hold(is_there || is_gone, || format!("{}/{} has history and is neither there nor gone", key.parent, key.name.0));
        }
        Ok(())
    }

    /// Lines of the audit lie in the order of their stamps.
    fn audit(&mut self, stamp: u64) -> Result<(), StateError> {
        let applied = read::get(self.state, &AppliedIndexKey {})?.unwrap_or(0);
        let mut last = 0;
        for (key, line) in self.all::<AuditKey>()? {
            let in_order = line.stamp >= last && line.stamp <= stamp && key.index <= applied;
            self.hold(in_order, || format!("line {}.{} of the audit has the stamp {} behind {last}", key.index, key.sub, line.stamp));
            last = line.stamp;
        }
        Ok(())
    }

    /// A repeatable request is forgotten with all its steps, from its first stamp on.
    fn repeatable(&mut self, stamp: u64) -> Result<(), StateError> {
        let mut requests: BTreeMap<[u8; 32], IdempotentRecord> = BTreeMap::new();
        for (key, record) in self.all::<IdempotentKey>()? {
            // The request sorts before its steps.
            if key.step == REQUEST {
                self.hold(record.stamp <= stamp, || format!("a repeatable request was sent at {}, after the last stamp", record.stamp));
                requests.insert(key.key, record);
                continue;
            }
            let belongs = requests.get(&key.key).is_some_and(|first| first.request == record.request && first.stamp <= record.stamp);
            self.hold(belongs, || format!("a step of {:02x?} belongs to no request", key.key));
        }
        let mut ending = 0;
        for (key, ()) in self.all::<IdempotentExpiryKey>()? {
            ending += 1;
            let is_its = requests.get(&key.key).is_some_and(|first| first.stamp == key.since.0);
            self.hold(is_its, || format!("the request {:02x?} is to be forgotten from another stamp on than its own", key.key));
        }
        self.hold(ending == requests.len(), || format!("{ending} repeatable requests are to be forgotten, {} are kept", requests.len()));
        Ok(())
    }
}
