//! Notes at entries: by their exact value, of one user, or of entries that are named.

use skep_placement::ids::{EntryId, RecordId};

use super::{Found, absent, look_up_folder, page};
use crate::command::by_value;
use crate::keys::{ByIdKey, EntryMetaKey, MetaValueKey, NameRest, NameThen, UserNoteKey};
use crate::state::path::{self, Located};
use crate::state::{entry, read};
use crate::store::{Direction, ReadState, StateError};
use crate::wire::meta::v1::{EntryMetaRecord, FoundMeta, MetaPage, MetaQuery};

pub(super) fn meta(state: &dyn ReadState, query: &MetaQuery) -> Result<Found, StateError> {
    let within = match &query.within {
        None => EntryId::ROOT,
        Some(path) => match look_up_folder(state, Some(path))? {
            Ok(folder) => folder.entry,
            Err(absence) => return Ok(Found::Absence(absence)),
        },
    };
    let mut finding = Finding { state, within, page: MetaPage::default() };
    if !query.entries.is_empty() {
        finding.of_entries(query)?;
    } else if let Ok(user) = RecordId::try_from(query.user.as_ref()) {
        finding.of_user(query, user)?;
    } else if query.namespace.is_empty() {
        return Ok(absent(0));
    } else if query.json.is_empty() {
        finding.of_namespace(query)?;
    } else {
        finding.by_value(query)?;
    }
    Ok(Found::Meta(finding.page))
}

struct Finding<'a> {
    state: &'a dyn ReadState,
    within: EntryId,
    page: MetaPage,
}

impl Finding<'_> {
    /// All notes, or those of a namespace, of entries that are named.
    fn of_entries(&mut self, query: &MetaQuery) -> Result<(), StateError> {
        for wanted in query.entries.iter().take(page(query.limit)) {
            let Ok(entry) = EntryId::try_from(wanted.as_ref()) else { continue };
            let mut notes = Vec::new();
            if query.namespace.is_empty() {
                for row in read::rows::<EntryMetaKey>(self.state, &[&entry], Direction::Forward) {
                    let (key, record) = row?;
                    notes.push((key.namespace.0, record, RecordId::default()));
                }
            } else {
                let key = EntryMetaKey { entry, namespace: NameRest(query.namespace.clone()) };
                notes.extend(read::get(self.state, &key)?.map(|record| (query.namespace.clone(), record, RecordId::default())));
            }
            if let Ok(user) = RecordId::try_from(query.user.as_ref()) {
                let key = UserNoteKey { user, namespace: NameThen(query.namespace.clone()), entry };
                notes.extend(read::get(self.state, &key)?.map(|record| (query.namespace.clone(), record, user)));
            }
            // Most entries have no note: where they hang is not asked.
            if notes.is_empty() {
                continue;
            }
            let Some(located) = self.seen(entry)? else { continue };
            for (namespace, record, user) in notes {
                if query.json.is_empty() || record.json == query.json {
                    self.found(&located, namespace, record, user)?;
                }
            }
        }
        Ok(())
    }

    /// What a user alone has noted under a namespace.
    fn of_user(&mut self, query: &MetaQuery, user: RecordId) -> Result<(), StateError> {
        let namespace = NameThen(query.namespace.clone());
        let after = EntryId::try_from(query.after.as_ref()).ok();
        let limit = page(query.limit);
        let state = self.state;
        let first = UserNoteKey { user, namespace: namespace.clone(), entry: after.unwrap_or(EntryId([0; 16])) };
        let rows = read::rows_from::<UserNoteKey>(state, &[&user, &namespace], &first);
        let rows = rows.filter(|row| row.as_ref().map_or(true, |(key, _)| Some(key.entry) != after));
        for (count, row) in rows.enumerate() {
            let (key, record) = row?;
            if (query.json.is_empty() || record.json == query.json)
                && let Some(located) = self.seen(key.entry)?
            {
                self.found(&located, query.namespace.clone(), record, user)?;
            }
            if count + 1 == limit {
                self.page.cursor = key.entry.0.to_vec().into();
                break;
            }
        }
        Ok(())
    }

    /// Entries whose note has exactly this value.
    fn by_value(&mut self, query: &MetaQuery) -> Result<(), StateError> {
        let after = EntryId::try_from(query.after.as_ref()).ok();
        let first = by_value(after.unwrap_or(EntryId([0; 16])), &query.namespace, &query.json);
        let limit = page(query.limit);
        let rows = read::rows_from::<MetaValueKey>(self.state, &[&first.namespace, &first.hash], &first);
        let rows = rows.filter(|row| row.as_ref().map_or(true, |(key, ())| Some(key.entry) != after));
        for (count, row) in rows.enumerate() {
            let (key, ()) = row?;
            let note = EntryMetaKey { entry: key.entry, namespace: NameRest(query.namespace.clone()) };
            let record = read::get(self.state, &note)?.filter(|record| record.json == query.json);
            if let (Some(record), Some(located)) = (record, self.seen(key.entry)?) {
                self.found(&located, query.namespace.clone(), record, RecordId::default())?;
            }
            if count + 1 == limit {
                self.page.cursor = key.entry.0.to_vec().into();
                break;
            }
        }
        Ok(())
    }

    /// Entries with any value of a namespace, as far as they are searchable. The cursor is a hash and an entry.
    fn of_namespace(&mut self, query: &MetaQuery) -> Result<(), StateError> {
        let namespace = NameThen(query.namespace.clone());
        let after = query.after.split_first_chunk::<16>();
        let after = after.and_then(|(hash, entry)| Some((*hash, EntryId::try_from(entry).ok()?)));
        let (hash, entry) = after.unwrap_or_default();
        let first = MetaValueKey { namespace: namespace.clone(), hash, entry };
        let limit = page(query.limit);
        let rows = read::rows_from::<MetaValueKey>(self.state, &[&namespace], &first);
        let rows = rows.filter(|row| row.as_ref().map_or(true, |(key, ())| Some((key.hash, key.entry)) != after));
        for (count, row) in rows.enumerate() {
            let (key, ()) = row?;
            let note = EntryMetaKey { entry: key.entry, namespace: NameRest(query.namespace.clone()) };
            if let (Some(record), Some(located)) = (read::get(self.state, &note)?, self.seen(key.entry)?) {
                self.found(&located, query.namespace.clone(), record, RecordId::default())?;
            }
            if count + 1 == limit {
                self.page.cursor = [key.hash, key.entry.0].concat().into();
                break;
            }
        }
        Ok(())
    }

    /// An entry that is linked below the folder asked about.
    fn seen(&self, entry: EntryId) -> Result<Option<Located>, StateError> {
        Ok(path::locate(self.state, entry)?.filter(|located| located.is_within(self.within)))
    }

    fn found(&mut self, located: &Located, namespace: String, record: EntryMetaRecord, user: RecordId) -> Result<(), StateError> {
        let at = located.chain.iter().position(|folder| *folder == self.within).map_or(located.chain.len(), |at| at + 1);
        let mut names = Vec::new();
        for folder in located.chain.iter().skip(at) {
            names.push(read::expect(self.state, &ByIdKey { entry: *folder })?.name);
        }
        if located.entry != self.within {
            names.extend(located.place.as_ref().map(|(_, name)| name.clone()));
        }
        let user = if user == RecordId::default() { bytes::Bytes::new() } else { user.0.to_vec().into() };
        let shown = Some(entry::show(self.state, located, false)?);
        let entry = located.entry.0.to_vec().into();
        self.page.found.push(FoundMeta { entry, namespace, record: Some(record), user, shown, names });
        Ok(())
    }
}
