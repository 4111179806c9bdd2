//! What differs below a folder between an instant and now. Folders below which nothing has changed since are not entered.

use skep_placement::ids::{EntryId, VersionId};

use super::past::{self, Row};
use super::{Found, absent, look_up_folder};
use crate::keys::{CurrentKey, SumsKey, VersionByIdKey};
use crate::state::{entry, path, read};
use crate::store::{ReadState, StateError};
use crate::wire::meta::v1::{CurrentRecord, DiffPage, DiffQuery, Difference, EntryKind, EntryPath};

/// Differences that one answer lists.
const LISTED_MAX: usize = 10_000;

pub(super) fn diff(state: &dyn ReadState, query: &DiffQuery) -> Result<Found, StateError> {
    if let Some(absence) = past::reaches(state, query.at)? {
        return Ok(Found::Absence(absence));
    }
    let Some(path) = &query.path else { return Ok(absent(0)) };
    let limit = match usize::try_from(query.limit) {
        Ok(limit @ 1..=LISTED_MAX) => limit,
        Ok(_) | Err(_) => LISTED_MAX,
    };
    let mut walk = Walk {
        state,
        at: query.at,
        root: EntryId::ROOT,
        moves: query.moves,
        shallow: query.shallow,
        limit,
        page: DiffPage::default(),
        names: Vec::new(),
    };
    let Some((name, way)) = path.names.split_last() else {
        let base = match look_up_folder(state, query.path.as_ref())? {
            Ok(base) => base,
            Err(absence) => return Ok(Found::Absence(absence)),
        };
        walk.root = base.entry;
        walk.page.folder = Some(entry::show(state, &base, false)?);
        walk.compare(base.entry)?;
        return Ok(Found::Diff(walk.page));
    };
    let parent = EntryPath { base: path.base.clone(), names: way.to_vec() };
    let parent = match look_up_folder(state, Some(&parent))? {
        Ok(parent) => parent,
        Err(absence) => return Ok(Found::Absence(absence)),
    };
    let is = read::get(state, &CurrentKey::new(parent.entry, name))?;
    let was = past::member(state, parent.entry, name, query.at)?;
    if was.is_none() && is.is_none() {
        return Ok(absent(way.len()));
    }
    if let Some(is) = &is {
        walk.root = read::stored_id(&is.entry, "an entry id")?;
        walk.page.folder = Some(entry::show_record(state, Some((parent.entry, name)), is, false)?);
    } else {
        // What was there hangs elsewhere now, where it may be anybody's: nothing has moved within.
        walk.moves = false;
    }
    walk.pair(was, is)?;
    Ok(Found::Diff(walk.page))
}

struct Walk<'a> {
    state: &'a dyn ReadState,
    at: u64,
    root: EntryId,
    moves: bool,
    shallow: bool,
    limit: usize,
    page: DiffPage,
    /// Names from the root to where the walk is.
    names: Vec<String>,
}

impl Walk<'_> {
    /// Compares the members of a folder that was there and is there.
    fn compare(&mut self, folder: EntryId) -> Result<(), StateError> {
        let state = self.state;
        for row in past::names(state, folder, "") {
            let (name, row) = row?;
            self.page.looked_at += 1;
            let is = match row {
                Row::Gone(gone) if gone.since <= self.at => continue,
                Row::Gone(_) => None,
                Row::Current(current) => Some(current),
            };
            let unchanged = is.as_ref().is_some_and(|is| is.changed_at <= self.at);
            let was = if unchanged { is.clone() } else { past::member(state, folder, &name, self.at)? };
            self.names.push(name);
            self.pair(was, is)?;
            self.names.pop();
        }
        Ok(())
    }

    fn pair(&mut self, was: Option<CurrentRecord>, is: Option<CurrentRecord>) -> Result<(), StateError> {
        match (was, is) {
            (None, None) => Ok(()),
            (Some(was), Some(is)) if was.entry == is.entry && is_folder(&is) => {
                let folder = read::stored_id(&is.entry, "an entry id")?;
                let sums = read::get(self.state, &SumsKey { folder })?.unwrap_or_default();
                let changed_below = sums.changed_at > self.at;
                let stays_outside = self.stays_outside();
                if was.mtime != is.mtime || (stays_outside && changed_below) {
                    self.tell(Some(was), Some(is), false)?;
                }
                if changed_below && !stays_outside { self.compare(folder) } else { Ok(()) }
            }
            (Some(was), Some(is)) if was.version == is.version && was.mtime == is.mtime && !is_folder(&was) => Ok(()),
            (was, is) => self.differs(was, is),
        }
    }

    fn differs(&mut self, was: Option<CurrentRecord>, is: Option<CurrentRecord>) -> Result<(), StateError> {
        let folder = match was.as_ref().filter(|was| is_folder(was)) {
            Some(was) => Some(read::stored_id::<EntryId>(&was.entry, "an entry id")?),
            None => None,
        };
        let moved = match &was {
            Some(was) if self.moves => self.was_moved(was)?,
            Some(_) | None => false,
        };
        self.tell(was, is, moved)?;
        match folder {
            Some(_) if self.stays_outside() => Ok(()),
            Some(folder) if moved => self.compare(folder),
            Some(folder) => self.all_below(folder),
            None => Ok(()),
        }
    }

    /// Whether a folder at the walk's place is told of as one thing.
    fn stays_outside(&self) -> bool {
        self.shallow && !self.names.is_empty()
    }

    /// Tells of everything that was in a folder that is not there any more.
    fn all_below(&mut self, folder: EntryId) -> Result<(), StateError> {
        let state = self.state;
        for row in past::members(state, folder, "", self.at) {
            let (name, was) = row?;
            self.page.looked_at += 1;
            self.names.push(name);
            self.differs(Some(was), None)?;
            self.names.pop();
        }
        Ok(())
    }

    /// Whether an entry is linked elsewhere below the folder that is compared; a file as it was.
    fn was_moved(&self, was: &CurrentRecord) -> Result<bool, StateError> {
        let entry = read::stored_id(&was.entry, "an entry id")?;
        let located = path::locate(self.state, entry)?.filter(|located| located.chain.contains(&self.root));
        Ok(located.is_some_and(|located| is_folder(was) || located.current.version == was.version))
    }

    fn tell(&mut self, was: Option<CurrentRecord>, is: Option<CurrentRecord>, moved: bool) -> Result<(), StateError> {
        self.page.total += 1;
        if self.page.differences.len() >= self.limit {
            return Ok(());
        }
        let pruned = match &was {
            Some(was) if !is_folder(was) => {
                let version: VersionId = read::stored_id(&was.version, "a version id")?;
                let entry = read::stored_id(&was.entry, "an entry id")?;
                read::get(self.state, &VersionByIdKey { entry, version })?.is_none()
            }
            Some(_) | None => false,
        };
        self.page.differences.push(Difference { names: self.names.clone(), was, is, pruned, moved });
        Ok(())
    }
}

fn is_folder(record: &CurrentRecord) -> bool {
    record.kind == i32::from(EntryKind::Folder)
}
