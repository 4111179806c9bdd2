//! What must hold in a datasource group's state, recounted from the raw keys. For tests and for checking a live replica; reads everything.

mod upkeep;

use std::collections::BTreeMap;

use skep_placement::ids::{ChunkId, ContentId, EntryId, InstanceId, Stamp, WriteId};

use crate::command::by_value;
use crate::keys::{
    ByIdKey, ChangeKey, ChunkKey, CondemnedKey, ContentKey, CurrentKey, DeleteKey, EntryMetaKey, GoneKey, HistoryKey, LockBelowKey,
    LockExpiryKey, LockKey, ManifestKey, MetaValueKey, NameRest, NoteIndexKey, NoteUserKey, PruneDueKey, RepairKey, StampKey, StateKey,
    SumsKey, TotalsKey, UploadExpiryKey, UserNoteKey, VersionByIdKey, VersionKey,
};
use crate::state::{chunk, lock, path, read};
use crate::store::{Direction, Family, ReadState, StateError};
use crate::wire::meta::v1::{ByIdRecord, ContentRecord, CurrentRecord, EntryKind, FolderSums, GroupTotals};
use std::ops::Bound;

/// Recounts everything and lists what does not hold; nothing listed: all holds.
///
/// # Errors
/// The state cannot be read, or holds a key or record that cannot be read.
pub fn violations(state: &dyn ReadState) -> Result<Vec<String>, StateError> {
    let mut check = Check { state, found: Vec::new(), totals: GroupTotals::default() };
    check.tree()?;
    check.locks()?;
    check.contents()?;
    check.chunks()?;
    check.notes()?;
    check.upkeep()?;
    let stored = read::get(state, &TotalsKey {})?.unwrap_or_default();
    if stored != check.totals {
        check.found.push(format!("totals are {stored:?}, recounted {:?}", check.totals));
    }
    Ok(check.found)
}

/// Recounts the counters of a group from the raw keys.
///
/// # Errors
/// As for [`violations`].
pub fn recount(state: &dyn ReadState) -> Result<GroupTotals, StateError> {
    let mut check = Check { state, found: Vec::new(), totals: GroupTotals::default() };
    check.tree()?;
    check.locks()?;
    check.contents()?;
    check.chunks()?;
    Ok(check.totals)
}

struct Check<'a> {
    state: &'a dyn ReadState,
    found: Vec<String>,
    totals: GroupTotals,
}

impl Check<'_> {
    fn hold(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.found.push(what());
        }
    }

    fn all<K: StateKey>(&self) -> Result<Vec<(K, K::Record)>, StateError> {
        read::rows::<K>(self.state, &[], Direction::Forward).collect()
    }

    fn tree(&mut self) -> Result<(), StateError> {
        let by_id: BTreeMap<EntryId, ByIdRecord> = self.all::<ByIdKey>()?.into_iter().map(|(key, record)| (key.entry, record)).collect();
        let mut members: BTreeMap<EntryId, Vec<CurrentRecord>> = BTreeMap::new();
        for (key, current) in self.all::<CurrentKey>()? {
            let entry: EntryId = read::stored_id(&current.entry, "an entry id")?;
            let hangs = by_id.get(&entry).is_some_and(|record| {
                record.parent.as_ref() == key.parent.0.as_slice()
                    && record.name == key.name.0
                    && record.kind == current.kind
                    && record.unlinked_at == 0
            });
            self.hold(hangs, || format!("entry {entry} does not know its place {}/{}", key.parent, key.name.0));
            let gone = read::get(self.state, &GoneKey::new(key.parent, &key.name.0))?.is_some();
            self.hold(!gone, || format!("{}/{} is there and gone", key.parent, key.name.0));
            members.entry(key.parent).or_default().push(current);
        }
        let linked = members.values().map(Vec::len).sum::<usize>();
        let known = by_id.values().filter(|record| record.unlinked_at == 0 && !record.parent.is_empty()).count();
        self.hold(linked == known, || format!("{linked} current records for {known} linked entries"));
        let waiting: BTreeMap<EntryId, Stamp> = self.all::<PruneDueKey>()?.into_iter().map(|(key, ())| (key.entry, key.due)).collect();
        let rows = self.all::<PruneDueKey>()?.len();
        self.hold(rows == waiting.len(), || "a file waits twice for pruning".to_owned());
        for (entry, record) in &by_id {
            let due = waiting.get(entry).map_or(0, |due| due.0);
            self.hold(due == record.prune_due, || {
                format!("entry {entry} waits for pruning at {due}, its record says {}", record.prune_due)
            });
        }
        let known_waiting = waiting.keys().filter(|entry| by_id.contains_key(*entry)).count();
        self.hold(known_waiting == waiting.len(), || "a file that is forgotten waits for pruning".to_owned());
        self.history()?;
        let mut roots = vec![EntryId::ROOT];
        roots.extend(by_id.iter().filter(|(_, record)| record.parent.is_empty() || record.unlinked_at != 0).map(|(entry, _)| *entry));
        let mut seen = 0;
        for root in roots {
            seen += self.sums(root, &members)?;
        }
        self.hold(seen == linked, || format!("{seen} entries hang on a root, {linked} have a current record"));
        let root = read::get(self.state, &SumsKey { folder: EntryId::ROOT })?.unwrap_or_default();
        self.totals.entries = root.files + root.folders;
        self.totals.logical_bytes = root.bytes;
        self.totals.entries_ever = count(by_id.len());
        for (entry, record) in by_id.iter().filter(|(_, record)| record.unlinked_at != 0 && !record.reaped) {
            self.totals.unlinked_bytes += self.weight(*entry, record)?;
        }
        Ok(())
    }

    /// Each lock is on something linked, knows the folders above it, ends some time, and stands beside no other that it excludes.
    fn locks(&mut self) -> Result<(), StateError> {
        let stamp = read::get(self.state, &StampKey {})?.unwrap_or(0);
        let locks = self.all::<LockKey>()?;
        let (mut above, mut exclusive) = (0, BTreeMap::new());
        for (key, lock) in &locks {
            let chain = lock::chain(lock)?;
            let located = path::locate(self.state, key.entry)?;
            self.hold(located.is_some_and(|located| located.chain == chain), || format!("a lock on {} knows another place", key.entry));
            let ends = read::get(self.state, &lock::expiry(key, lock))?.is_some();
            self.hold(ends, || format!("a lock on {} never ends", key.entry));
            above += chain.len();
            for folder in chain {
                let known = read::get(self.state, &LockBelowKey { folder, entry: key.entry, token: key.token })?.is_some();
                self.hold(known, || format!("folder {folder} does not know of the lock on {}", key.entry));
            }
            if !lock.shared && lock::is_live(lock, stamp) {
                let alone = exclusive.insert((key.entry, lock.kind), lock.fence).is_none();
                self.hold(alone, || format!("two exclusive locks of one kind on {}", key.entry));
            }
        }
        let rows = (self.all::<LockExpiryKey>()?.len(), self.all::<LockBelowKey>()?.len());
        self.hold(rows == (locks.len(), above), || format!("{rows:?} rows for {} locks with {above} folders above", locks.len()));
        self.totals.locks = count(locks.len());
        Ok(())
    }

    /// Each row of history belongs to one change of the feed, and the other way round.
    fn history(&mut self) -> Result<(), StateError> {
        let mut told = std::collections::BTreeSet::new();
        for (key, change) in self.all::<ChangeKey>()? {
            let Some(place) = change.from.as_ref().or(change.to.as_ref()).filter(|_| change.superseded) else { continue };
            let parent: EntryId = read::stored_id(&place.parent, "a parent id")?;
            let is_new = told.insert((parent, place.name.clone(), change.stamp));
            self.hold(is_new, || format!("change {}.{} tells of a row of history that another told of", key.index, key.sub));
        }
        for (key, _) in self.all::<HistoryKey>()? {
            let is_told = told.remove(&(key.parent, key.name.0.clone(), key.until.0));
            self.hold(is_told, || format!("history of {}/{} until {} is told by no change", key.parent, key.name.0, key.until.0));
        }
        self.hold(told.is_empty(), || format!("changes tell of history that is not there: {told:?}"));
        Ok(())
    }

    /// Compares the sums of all folders of a tree; gives how many entries lie below its root.
    fn sums(&mut self, root: EntryId, members: &BTreeMap<EntryId, Vec<CurrentRecord>>) -> Result<usize, StateError> {
        let mut order = vec![root];
        let mut next = 0;
        let mut below = 0;
        while let Some(folder) = order.get(next).copied() {
            next += 1;
            for member in members.get(&folder).into_iter().flatten() {
                below += 1;
                if member.kind == i32::from(EntryKind::Folder) {
                    order.push(read::stored_id(&member.entry, "an entry id")?);
                }
            }
        }
        let mut counted: BTreeMap<EntryId, FolderSums> = BTreeMap::new();
        for folder in order.into_iter().rev() {
            let mut sums = FolderSums::default();
            for member in members.get(&folder).into_iter().flatten() {
                if member.kind == i32::from(EntryKind::Folder) {
                    let inner = counted.get(&read::stored_id(&member.entry, "an entry id")?).copied().unwrap_or_default();
                    sums.bytes += inner.bytes;
                    sums.files += inner.files;
                    sums.folders += inner.folders + 1;
                    sums.member_folders += 1;
                } else {
                    sums.bytes += member.size;
                    sums.files += 1;
                    sums.member_files += 1;
                }
            }
            let stored = read::get(self.state, &SumsKey { folder })?.unwrap_or_default();
            let has_members =
                !stored.members_counted || (stored.member_files, stored.member_folders) == (sums.member_files, sums.member_folders);
            let same = has_members && (stored.bytes, stored.files, stored.folders) == (sums.bytes, sums.files, sums.folders);
            self.hold(same, || format!("sums of {folder} are {stored:?}, recounted {sums:?}"));
            counted.insert(folder, sums);
        }
        Ok(below)
    }

    /// What is found by its value is noted, and what is noted is noted at an entry that is known.
    fn notes(&mut self) -> Result<(), StateError> {
        let known = |entry: EntryId| Ok::<bool, StateError>(entry == EntryId::ROOT || read::get(self.state, &ByIdKey { entry })?.is_some());
        let mut found = Vec::new();
        for (key, ()) in self.all::<MetaValueKey>()? {
            let note = EntryMetaKey { entry: key.entry, namespace: NameRest(key.namespace.0.clone()) };
            let has_value = read::get(self.state, &note)?.is_some_and(|note| by_value(key.entry, &key.namespace.0, &note.json) == key);
            if !has_value {
                found.push(format!("entry {} is found by a value of {} that it has not", key.entry, key.namespace.0));
            }
        }
        for (key, note) in self.all::<EntryMetaKey>()? {
            if note.json.is_empty() || !known(key.entry)? {
                found.push(format!("the note {} is empty or at an entry {} that is not there", key.namespace.0, key.entry));
            }
            if read::get(self.state, &ByIdKey { entry: key.entry })?.is_some_and(|record| record.unnoted) {
                found.push(format!("entry {} has the note {} and says that it never had one", key.entry, key.namespace.0));
            }
            let index = read::get(self.state, &NoteIndexKey { namespace: key.namespace.clone() })?;
            let is_found = read::get(self.state, &by_value(key.entry, &key.namespace.0, &note.json))?.is_some();
            if index.is_some_and(|index| index.complete) && !is_found {
                found.push(format!("entry {} is not found by its note {}, which is indexed", key.entry, key.namespace.0));
            }
        }
        let own = self.all::<UserNoteKey>()?;
        for (key, _) in &own {
            let of_entry = NoteUserKey { entry: key.entry, user: key.user, namespace: NameRest(key.namespace.0.clone()) };
            if read::get(self.state, &of_entry)?.is_none() || !known(key.entry)? {
                found.push(format!("a note {} of user {} would outlive entry {}", key.namespace.0, key.user, key.entry));
            }
        }
        let of_entries = self.all::<NoteUserKey>()?.len();
        if of_entries != own.len() {
            found.push(format!("{of_entries} notes of users by their entries, {} by users", own.len()));
        }
        self.found.extend(found);
        Ok(())
    }

    fn weight(&self, entry: EntryId, record: &ByIdRecord) -> Result<u64, StateError> {
        if record.kind == i32::from(EntryKind::Folder) {
            return Ok(read::get(self.state, &SumsKey { folder: entry })?.unwrap_or_default().bytes);
        }
        let number = crate::keys::Descending(record.last_version);
        Ok(read::expect(self.state, &VersionKey { entry, number })?.size)
    }

    fn contents(&mut self) -> Result<(), StateError> {
        let mut references: BTreeMap<ContentId, u64> = BTreeMap::new();
        for (key, version) in self.all::<VersionKey>()? {
            self.totals.versions += 1;
            *references.entry(ContentId(version.content)).or_default() += 1;
            let id = read::stored_id(&version.version, "a version id")?;
            let number = read::get(self.state, &VersionByIdKey { entry: key.entry, version: id })?;
            self.hold(number == Some(version.number) && key.number.0 == version.number, || {
                format!("version {id} does not know its number")
            });
        }
        let versions = self.totals.versions;
        let ids = count(self.all::<VersionByIdKey>()?.len());
        self.hold(ids == versions, || format!("{ids} version ids for {versions} versions"));
        for (key, record) in self.all::<ContentKey>()? {
            let named = references.remove(&key.content).unwrap_or(0) + u64::from(record.upload.is_some());
            self.hold(named == record.references && named > 0, || {
                format!("content {} counts {}, found {named}", key.content, record.references)
            });
            if let Some(upload) = &record.upload {
                self.totals.uploads_open += 1;
                let expiry = UploadExpiryKey { expires_at: Stamp(upload.expires_at), content: key.content };
                let expires = read::get(self.state, &expiry)?.is_some();
                self.hold(expires, || format!("upload {} never expires", key.content));
            }
            self.bytes_of(key.content, &record)?;
        }
        let open = count(self.all::<UploadExpiryKey>()?.len());
        let uploads = self.totals.uploads_open;
        self.hold(open == uploads, || format!("{open} uploads are to expire, {uploads} are open"));
        self.hold(references.is_empty(), || format!("versions refer to contents that are not there: {references:?}"));
        Ok(())
    }

    fn bytes_of(&mut self, content: ContentId, record: &ContentRecord) -> Result<(), StateError> {
        let inlined = self.state.get(Family::Inline, &crate::keys::inline(content))?;
        self.hold(inlined.is_some() == record.inlined, || format!("content {content} is inline or it is not"));
        if record.inlined {
            self.totals.inline_plain_bytes += record.size;
        }
        let (mut size, mut chunks) = (0, 0);
        for (part, row) in (0_u64..).zip(read::rows::<ManifestKey>(self.state, &[&content], Direction::Forward)) {
            let (key, manifest) = row?;
            let fits = key.part == part && manifest.offset == size && chunks == part * 1_024;
            if !fits {
                self.found.push(format!("part {part} of the manifest of content {content} does not fit"));
            }
            size += manifest.chunks.iter().map(|place| u64::from(place.length)).sum::<u64>();
            chunks += count(manifest.chunks.len());
        }
        let is_whole = chunks == record.chunks && (record.inlined || size == record.size);
        self.hold(is_whole, || format!("content {content} has {size} bytes in {chunks} chunks, its record {record:?}"));
        Ok(())
    }

    fn chunks(&mut self) -> Result<(), StateError> {
        let mut named: BTreeMap<ChunkId, u64> = BTreeMap::new();
        for (_, part) in self.all::<ManifestKey>()? {
            for place in part.chunks {
                *named.entry(read::stored_id(&place.chunk, "a chunk id")?).or_default() += 1;
            }
        }
        let mut live: BTreeMap<ChunkId, WriteId> = BTreeMap::new();
        for (key, record) in self.all::<ChunkKey>()? {
            live.insert(key.chunk, chunk::stored_write(&record)?);
            let contents = named.remove(&key.chunk).unwrap_or(0);
            self.hold(contents == record.contents, || format!("chunk {} counts {}, found {contents}", key.chunk, record.contents));
            self.hold((contents == 0) == (record.condemned_at != 0), || format!("chunk {} is condemned wrongly", key.chunk));
            if record.condemned_at == 0 {
                self.totals.chunks += 1;
                self.totals.chunk_bytes += u64::from(record.length);
                let stored = chunk::stored_bytes(&record)?;
                self.totals.stored_bytes += stored;
                if chunk::is_coded(&record) {
                    self.totals.coded_bytes += u64::from(record.length);
                    self.totals.coded_stored_bytes += stored;
                }
            } else {
                self.totals.condemned_chunks += 1;
                self.totals.condemned_bytes += u64::from(record.length);
                let condemned = CondemnedKey { since: Stamp(record.condemned_at), chunk: key.chunk };
                let listed = read::get(self.state, &condemned)?.is_some();
                self.hold(listed, || format!("chunk {} is condemned and not listed", key.chunk));
            }
            let wanted = record.missing != 0 || record.below_profile || !record.devices.is_empty();
            let queued = read::get(self.state, &RepairKey { chunk: key.chunk })?.is_some();
            self.hold(wanted == queued, || format!("chunk {} wants repair: {wanted}, is queued: {queued}", key.chunk));
        }
        self.hold(named.is_empty(), || format!("manifests name chunks without records: {named:?}"));
        self.queues(&live)
    }

    fn queues(&mut self, live: &BTreeMap<ChunkId, WriteId>) -> Result<(), StateError> {
        let condemned = count(self.all::<CondemnedKey>()?.len());
        let expected = self.totals.condemned_chunks;
        self.hold(condemned == expected, || format!("{condemned} chunks are listed as condemned, {expected} are"));
        self.totals.repair_queue = count(self.all::<RepairKey>()?.len());
        for (key, _) in self.all::<DeleteKey>()? {
            self.totals.delete_list += 1;
            let InstanceId { chunk, write } = key.instance;
            self.hold(live.get(&chunk) != Some(&write), || format!("instance {} is live and on the delete list", key.instance));
        }
        for row in self.state.scan(Family::Inline, Bound::Unbounded, Bound::Unbounded, Direction::Forward) {
            let length = count(row?.1.len());
            self.totals.inline_bytes += length;
            self.totals.stored_bytes += length;
        }
        Ok(())
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).expect("a length fits 64 bits")
}
