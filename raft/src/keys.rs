//! The keys of a group's state. One file a kind; the first byte of every key is its kind's number.
//!
//! Parts follow without separators: numbers big-endian, ids as their bytes, stamps and version numbers that are to be read newest first as
//! their complement, a name as the rest of its key or ended by NUL (no name holds NUL). Invariants: a key reads back as the value it was
//! made of; keys of one kind sort as the tuples of their parts; kind numbers and families never change.

mod answer;
mod audit;
mod by_id;
mod change;
mod chunk;
mod cluster;
mod condemned;
mod content;
mod counter;
mod current;
mod datasource;
mod delete;
mod device;
mod entry_meta;
mod gone;
mod grant;
mod group;
mod history;
mod idempotent;
mod inline;
mod job;
mod join_token;
mod lock;
mod manifest;
mod meta_value;
mod namespace;
mod node;
mod note_index;
mod note_user;
mod part;
mod pg;
mod policy;
mod pool;
mod prune_due;
mod reap;
mod recycled;
mod repair;
mod session;
mod singleton;
mod sums;
mod token;
mod upload_expiry;
mod user;
mod user_note;
#[cfg(test)]
mod vectors;
mod version;
mod workspace;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

use crate::store::{Family, StateError};

pub use answer::AnswerKey;
pub use audit::AuditKey;
pub use by_id::ByIdKey;
pub use change::ChangeKey;
pub use chunk::ChunkKey;
pub use cluster::ClusterKey;
pub use condemned::CondemnedKey;
pub use content::ContentKey;
pub use counter::{Counter, CounterKey};
pub use current::CurrentKey;
pub use datasource::{DatasourceByNameKey, DatasourceKey};
pub use delete::DeleteKey;
pub use device::{DeviceKey, DeviceNonceKey};
pub use entry_meta::EntryMetaKey;
pub use gone::GoneKey;
pub use grant::{GrantByWorkspaceKey, GrantKey};
pub use group::GroupKey;
pub use history::HistoryKey;
pub use idempotent::{IdempotentExpiryKey, IdempotentKey};
pub use inline::inline;
pub use job::{JobByStateKey, JobKey};
pub use join_token::JoinTokenKey;
pub use lock::{LockBelowKey, LockExpiryKey, LockKey};
pub use manifest::ManifestKey;
pub use meta_value::MetaValueKey;
pub use namespace::NamespaceKey;
pub use node::NodeKey;
pub use note_index::NoteIndexKey;
pub use note_user::NoteUserKey;
pub use part::{Descending, KeyPart, NameRest, NameThen};
pub use pg::PgKey;
pub use policy::PolicyKey;
pub use pool::PoolKey;
pub use prune_due::PruneDueKey;
pub use reap::ReapKey;
pub use recycled::RecycledKey;
pub use repair::RepairKey;
pub use session::SessionKey;
pub use singleton::{
    AppliedIndexKey, FeedBeginKey, FormatKey, HistoryHorizonKey, HorizonKey, LimitsKey, RightsIndexKey, StampKey, TotalsKey, applied,
};
pub use sums::SumsKey;
pub use token::{TokenByIdKey, TokenByUserKey, TokenExpiryKey, TokenKey};
pub use upload_expiry::UploadExpiryKey;
pub use user::{UserByLoginKey, UserKey};
pub use user_note::UserNoteKey;
pub use version::{VersionByIdKey, VersionKey};
pub use workspace::{WorkspaceBySlugKey, WorkspaceKey};

pub(crate) use part::Reader;

/// The kinds of keys. The numbers are frozen: they lie on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[expect(missing_docs, reason = "each kind is described in its file")]
pub enum Kind {
    Applied = 1,
    AppliedIndex = 2,
    Stamp = 3,
    Totals = 4,
    Horizon = 5,
    Counter = 6,
    RightsIndex = 7,
    Session = 8,
    Answer = 9,
    Format = 10,
    Idempotent = 11,
    IdempotentExpiry = 12,
    HistoryHorizon = 13,
    Limits = 14,
    Audit = 15,
    Current = 16,
    History = 17,
    Gone = 18,
    ById = 19,
    Sums = 20,
    EntryMeta = 21,
    Change = 22,
    Lock = 23,
    LockExpiry = 24,
    Reap = 25,
    MetaValue = 26,
    UserNote = 27,
    FeedBegin = 28,
    Recycled = 29,
    NoteUser = 31,
    LockBelow = 30,
    Version = 32,
    VersionById = 33,
    Content = 34,
    Manifest = 35,
    Chunk = 36,
    Repair = 37,
    Delete = 38,
    Condemned = 39,
    UploadExpiry = 40,
    PruneDue = 41,
    NoteIndex = 42,
    Inline = 48,
    Cluster = 64,
    Node = 65,
    Device = 66,
    DeviceNonce = 67,
    Group = 68,
    Pool = 69,
    Pg = 70,
    Datasource = 71,
    DatasourceByName = 72,
    User = 73,
    UserByLogin = 74,
    Grant = 75,
    GrantByWorkspace = 76,
    Token = 77,
    TokenById = 78,
    TokenByUser = 79,
    TokenExpiry = 80,
    JoinToken = 81,
    Workspace = 82,
    WorkspaceBySlug = 83,
    Job = 84,
    JobByState = 85,
    Policy = 86,
    Namespace = 87,
}

impl Kind {
    /// The first byte of the kind's keys.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// A kind of key: what it is made of, where it lies and what is stored there.
pub trait StateKey: Sized {
    /// What is stored under it.
    type Record: Message + Default;
    /// Its kind.
    const KIND: Kind;
    /// Where it lies.
    const FAMILY: Family;

    /// Writes the key as it is on disk behind what is there.
    fn write(&self, bytes: &mut BytesMut);

    /// The key on disk.
    fn to_bytes(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(KEY_BYTES_MOSTLY);
        self.write(&mut bytes);
        bytes.freeze()
    }

    /// Reads a key.
    ///
    /// # Errors
    /// [`StateError::Corrupt`] if the bytes are no key of this kind.
    fn from_bytes(bytes: &[u8]) -> Result<Self, StateError>;
}

/// Most keys are not longer.
pub(crate) const KEY_BYTES_MOSTLY: usize = 64;

/// The beginning of all keys of a kind that have these first parts.
pub fn prefix<K: StateKey>(parts: &[&dyn KeyPart]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(KEY_BYTES_MOSTLY);
    bytes.put_u8(K::KIND.number());
    parts.iter().for_each(|part| part.write(&mut bytes));
    bytes.freeze()
}

/// The least byte string that is greater than every one with this prefix.
///
/// # Panics
/// If the prefix is empty or all bytes are 255; no key begins so.
#[must_use]
pub fn after_prefix(prefix: &[u8]) -> Bytes {
    let kept = prefix.iter().rposition(|byte| *byte != u8::MAX).expect("a key's first byte is a kind's number, none is 255");
    let mut end: Vec<u8> = prefix.iter().take(kept + 1).copied().collect();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    Bytes::from(end)
}

pub(crate) fn malformed(kind: Kind, bytes: &[u8]) -> StateError {
    StateError::corrupt(format!("no key of kind {kind:?}: {bytes:02x?}"))
}

/// Defines a kind of key as a struct of its parts.
macro_rules! state_key {
    ($(#[$meta:meta])* $name:ident { $($(#[$part_meta:meta])* $part:ident: $part_type:ty),* $(,)? } in $family:ident, $kind:ident holds $record:ty) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name {
            $($(#[$part_meta])* pub $part: $part_type,)*
        }

        impl $crate::keys::StateKey for $name {
            type Record = $record;
            const KIND: $crate::keys::Kind = $crate::keys::Kind::$kind;
            const FAMILY: $crate::store::Family = $crate::store::Family::$family;

            fn write(&self, bytes: &mut bytes::BytesMut) {
                bytes::BufMut::put_u8(bytes, $crate::keys::Kind::$kind.number());
                $($crate::keys::KeyPart::write(&self.$part, bytes);)*
            }

            fn from_bytes(bytes: &[u8]) -> Result<Self, $crate::store::StateError> {
                let malformed = || $crate::keys::malformed(Self::KIND, bytes);
                let mut reader = $crate::keys::Reader::begin(Self::KIND, bytes).ok_or_else(malformed)?;
                let key = Self { $($part: $crate::keys::KeyPart::read(&mut reader).ok_or_else(malformed)?,)* };
                if reader.finish() { Ok(key) } else { Err(malformed()) }
            }
        }
    };
}
pub(crate) use state_key;
