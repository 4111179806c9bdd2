//! Finding entries: names below a base, and the folders above an entry.
//!
//! Invariant: what is found hangs on a root through linked entries only; below a permanently deleted folder nothing is found.

use skep_placement::ids::EntryId;

use crate::keys::{ByIdKey, CurrentKey};
use crate::state::rejection::{Stop, id, invalid, refuse_at, required};
use crate::state::{limits, read};
use crate::store::{ReadState, StateError};
use crate::wire::meta::v1::{ByIdRecord, CurrentRecord, EntryKind, EntryPath, RejectionCode};

/// An entry and where it hangs.
#[derive(Clone, Debug)]
pub(crate) struct Located {
    pub(crate) entry: EntryId,
    pub(crate) kind: EntryKind,
    /// Folder and name; a root has none.
    pub(crate) place: Option<(EntryId, String)>,
    /// Its record; of a root one made up.
    pub(crate) current: CurrentRecord,
    /// The folders from the root of its tree to its parent; empty for a root.
    pub(crate) chain: Vec<EntryId>,
}

impl Located {
    fn root(entry: EntryId, created_at: u64) -> Self {
        let current = CurrentRecord {
            entry: entry.0.to_vec().into(),
            kind: EntryKind::Folder.into(),
            mtime: created_at,
            changed_at: created_at,
            ..CurrentRecord::default()
        };
        Self { entry, kind: EntryKind::Folder, place: None, current, chain: Vec::new() }
    }

    pub(crate) fn linked(parent: EntryId, name: &str, current: CurrentRecord, chain: Vec<EntryId>) -> Result<Self, StateError> {
        let entry = read::stored_id(&current.entry, "an entry id")?;
        let kind = EntryKind::try_from(current.kind).unwrap_or_default();
        if kind == EntryKind::Unspecified {
            return Err(StateError::corrupt(format!("entry {entry} is neither file nor folder")));
        }
        Ok(Self { entry, kind, place: Some((parent, name.to_owned())), current, chain })
    }

    pub(crate) fn is_folder(&self) -> bool {
        self.kind == EntryKind::Folder
    }

    /// The folders from the root of its tree to itself.
    pub(crate) fn chain_with_self(&self) -> Vec<EntryId> {
        let mut chain = self.chain.clone();
        chain.push(self.entry);
        chain
    }

    /// Whether it is the entry or lies below it.
    pub(crate) fn is_within(&self, entry: EntryId) -> bool {
        self.entry == entry || self.chain.contains(&entry)
    }
}

/// What a path leads to.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// The entry.
    Found(Located),
    /// The folder reached has no entry of the name at this place of the path.
    Missing {
        /// The place of the name that is missing.
        at: usize,
        /// The folder that was reached.
        folder: Located,
    },
    /// The base itself is not there, or is deleted.
    NoBase,
    /// The name at this place is a file, and names follow.
    NotAFolder {
        /// The place of the file.
        at: usize,
    },
}

/// Follows names from a base.
pub(crate) fn look_up(state: &dyn ReadState, base: EntryId, names: &[String]) -> Result<Lookup, StateError> {
    let Some(mut here) = locate(state, base)? else { return Ok(Lookup::NoBase) };
    for (at, name) in names.iter().enumerate() {
        if !here.is_folder() {
            // A base that is a file has no place of its own in the path.
            return Ok(Lookup::NotAFolder { at: at.saturating_sub(1) });
        }
        let Some(current) = read::get(state, &CurrentKey::new(here.entry, name))? else { return Ok(Lookup::Missing { at, folder: here }) };
        let chain = here.chain_with_self();
        here = Located::linked(here.entry, name, current, chain)?;
    }
    Ok(Lookup::Found(here))
}

/// Where an entry hangs; `None` if there is none or it or a folder above it was deleted.
pub(crate) fn locate(state: &dyn ReadState, entry: EntryId) -> Result<Option<Located>, StateError> {
    if entry == EntryId::ROOT {
        return Ok(Some(Located::root(entry, 0)));
    }
    let Some(record) = linked_record(state, entry)? else { return Ok(None) };
    if record.parent.is_empty() {
        return Ok(Some(Located::root(entry, record.created_at)));
    }
    let parent = read::stored_id(&record.parent, "a parent id")?;
    let Some(chain) = chain_of(state, parent)? else { return Ok(None) };
    let current = read::expect(state, &CurrentKey::new(parent, &record.name))?;
    if current.entry.as_ref() != entry.0.as_slice() {
        return Err(StateError::corrupt(format!("entry {entry} hangs at a name that another entry has")));
    }
    Located::linked(parent, &record.name, current, chain).map(Some)
}

/// The folders from the root to this one; `None` if one is deleted.
fn chain_of(state: &dyn ReadState, folder: EntryId) -> Result<Option<Vec<EntryId>>, StateError> {
    let mut chain = vec![folder];
    let mut here = folder;
    while here != EntryId::ROOT {
        let Some(record) = linked_record(state, here)? else { return Ok(None) };
        if record.parent.is_empty() {
            break;
        }
        here = read::stored_id(&record.parent, "a parent id")?;
        chain.push(here);
    }
    chain.reverse();
    Ok(Some(chain))
}

fn linked_record(state: &dyn ReadState, entry: EntryId) -> Result<Option<ByIdRecord>, StateError> {
    Ok(read::get(state, &ByIdKey { entry })?.filter(|record| record.unlinked_at == 0))
}

/// A path of a command, its names checked.
pub(crate) fn checked(path: Option<&EntryPath>) -> Result<(EntryId, &[String]), Stop> {
    let path = required(path, "path")?;
    let base = id(&path.base, "base of the path")?;
    if path.names.len() > limits::PATH_NAMES_MAX {
        return Err(invalid(format!("a path of {} names is deeper than {}", path.names.len(), limits::PATH_NAMES_MAX)));
    }
    for (at, name) in path.names.iter().enumerate() {
        if let Some(fault) = name_fault(name) {
            return Err(refuse_at(RejectionCode::NameInvalid, fault, at));
        }
    }
    Ok((base, &path.names))
}

/// Why a text cannot name an entry.
pub(crate) fn name_fault(name: &str) -> Option<String> {
    match name {
        "" => Some("a name is empty".to_owned()),
        "." | ".." => Some(format!("no entry can be named {name}")),
        _ if name.len() > limits::NAME_BYTES_MAX => Some(format!("a name has {} bytes, more than {}", name.len(), limits::NAME_BYTES_MAX)),
        _ if name.contains(['/', '\0']) => Some("a name holds a slash or a NUL character".to_owned()),
        _ => None,
    }
}

/// The entry that a command's path names.
pub(crate) fn existing(state: &dyn ReadState, path: Option<&EntryPath>) -> Result<Located, Stop> {
    let (base, names) = checked(path)?;
    match look_up(state, base, names)? {
        Lookup::Found(located) => Ok(located),
        Lookup::Missing { at, .. } => Err(missing(RejectionCode::NotFound, names, at)),
        Lookup::NoBase => Err(no_base(RejectionCode::NotFound, base)),
        Lookup::NotAFolder { at } => Err(not_a_folder(names, at)),
    }
}

/// The entry that a command's path names, if it is there; where a folder on the way is missing, it is not. A file on the way is refused.
pub(crate) fn find(state: &dyn ReadState, path: Option<&EntryPath>) -> Result<Option<Located>, Stop> {
    let (base, names) = checked(path)?;
    match look_up(state, base, names)? {
        Lookup::Found(located) => Ok(Some(located)),
        Lookup::Missing { .. } => Ok(None),
        Lookup::NoBase => Err(no_base(RejectionCode::NotFound, base)),
        Lookup::NotAFolder { at } => Err(not_a_folder(names, at)),
    }
}

/// The folder that a command's path names.
pub(crate) fn existing_folder(state: &dyn ReadState, path: Option<&EntryPath>) -> Result<Located, Stop> {
    let located = existing(state, path)?;
    if located.is_folder() { Ok(located) } else { Err(Stop::from_not_a_folder(path)) }
}

impl Stop {
    fn from_not_a_folder(path: Option<&EntryPath>) -> Self {
        let names = path.map_or(&[][..], |path| &path.names);
        not_a_folder(names, names.len().saturating_sub(1))
    }
}

pub(crate) fn missing(code: RejectionCode, names: &[String], at: usize) -> Stop {
    let name = names.get(at).map_or("", String::as_str);
    refuse_at(code, format!("there is no {name:?}"), at)
}

pub(crate) fn no_base(code: RejectionCode, base: EntryId) -> Stop {
    refuse_at(code, format!("there is no entry {base}"), 0)
}

pub(crate) fn not_a_folder(names: &[String], at: usize) -> Stop {
    let name = names.get(at).map_or("", String::as_str);
    refuse_at(RejectionCode::NotAFolder, format!("{name:?} is a file"), at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_any_text_but_a_few() {
        let long = "é".repeat(127) + "x";
        for name in ["a", " ", "...", "a\\b", "tab\there", "名前", long.as_str()] {
            assert_eq!(name_fault(name), None, "{name:?}");
        }
        for name in ["", ".", "..", "a/b", "/", "nul\0", &(long + "y")] {
            assert!(name_fault(name).is_some(), "{name:?}");
        }
    }
}
