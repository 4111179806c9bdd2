//! The feed: every change of the tree in commit order, written with the change itself.
//!
//! Invariants: replayed from its beginning it gives the tree as it is; each row of history was written by exactly one change, which names its place
//! and carries its stamp, so that history expires with the feed.

use bytes::{BufMut, Bytes, BytesMut};
use skep_placement::ids::{EntryId, RecordId};

use crate::keys::ChangeKey;
use crate::state::path::Located;
use crate::state::transaction::Transaction;
use crate::state::tree::bytes_of;
use crate::wire::meta::v1::{ChangeKind, ChangeRecord, CurrentRecord, EntryKind, EntryPlace};

const ID_BYTES: usize = size_of::<EntryId>();

/// A change as the steps of a tree tell it.
pub(crate) struct Told<'a> {
    pub(crate) kind: ChangeKind,
    pub(crate) entry: EntryId,
    pub(crate) entry_kind: EntryKind,
    /// What the entry's record holds now.
    pub(crate) current: Option<&'a CurrentRecord>,
    /// Where it hangs now.
    pub(crate) to: Option<EntryPlace>,
    /// Where it hung until now, if elsewhere.
    pub(crate) from: Option<EntryPlace>,
    /// A history record was written.
    pub(crate) superseded: bool,
}

impl<'a> Told<'a> {
    /// A change of an entry that stays where it is.
    pub(crate) fn staying(kind: ChangeKind, located: &'a Located, superseded: bool) -> Self {
        Self {
            kind,
            entry: located.entry,
            entry_kind: located.kind,
            current: Some(&located.current),
            to: place_of(located),
            from: None,
            superseded,
        }
    }
}

/// Writes a change.
pub(crate) fn tell(transaction: &mut Transaction<'_>, told: Told<'_>) {
    tell_of(transaction, told, "");
}

/// Writes a change of a note that is everybody's.
pub(crate) fn tell_of(transaction: &mut Transaction<'_>, told: Told<'_>, namespace: &str) {
    write(transaction, told, namespace, Bytes::new());
}

/// Writes a change of a note that is one user's own; only this one is told of it.
pub(crate) fn tell_owner(transaction: &mut Transaction<'_>, told: Told<'_>, namespace: &str, owner: RecordId) {
    write(transaction, told, namespace, Bytes::copy_from_slice(&owner.0));
}

fn write(transaction: &mut Transaction<'_>, told: Told<'_>, namespace: &str, owner: Bytes) {
    let index = transaction.position().index;
    let sub = transaction.next_sub();
    let current = told.current;
    let record = ChangeRecord {
        stamp: transaction.stamp(),
        kind: told.kind.into(),
        entry: bytes_of(told.entry),
        entry_kind: told.entry_kind.into(),
        to: told.to,
        from: told.from,
        version: current.map(|current| current.version.clone()).unwrap_or_default(),
        version_number: current.map_or(0, |current| current.version_number),
        size: current.map_or(0, |current| current.size),
        mtime: current.map_or(0, |current| current.mtime),
        actor: Some(transaction.actor().clone()),
        request_id: transaction.request_id().to_owned(),
        namespace: namespace.to_owned(),
        superseded: told.superseded,
        owner,
    };
    transaction.put(&ChangeKey { index, sub }, &record);
}

/// Where an entry hangs; a root hangs nowhere.
pub(crate) fn place_of(located: &Located) -> Option<EntryPlace> {
    let (parent, name) = located.place.as_ref()?;
    // All ids lie in one piece of memory.
    let mut ids = BytesMut::with_capacity((1 + located.chain.len()) * ID_BYTES);
    std::iter::once(parent).chain(&located.chain).for_each(|id| ids.put_slice(&id.0));
    let mut ids = ids.freeze();
    let mut next = || ids.split_to(ID_BYTES);
    Some(EntryPlace { parent: next(), name: name.clone(), chain: located.chain.iter().map(|_folder| next()).collect() })
}
