//! Typed reading of a state: a record by its key, rows of one kind in order.

use std::ops::Bound;

use bytes::{Bytes, BytesMut};
use prost::Message;

use crate::keys::{self, KeyPart, StateKey};
use crate::store::{Direction, ReadState, StateError};

/// A key with its record.
type TypedRow<K> = Result<(K, <K as StateKey>::Record), StateError>;

/// The record of a key.
pub(crate) fn get<K: StateKey>(state: &dyn ReadState, key: &K) -> Result<Option<K::Record>, StateError> {
    let mut bytes = BytesMut::with_capacity(keys::KEY_BYTES_MOSTLY);
    key.write(&mut bytes);
    let Some(value) = state.get(K::FAMILY, &bytes)? else { return Ok(None) };
    decode::<K>(&bytes, value).map(Some)
}

/// The record of a key that another record promises.
pub(crate) fn expect<K: StateKey>(state: &dyn ReadState, key: &K) -> Result<K::Record, StateError> {
    get(state, key)?.ok_or_else(|| StateError::corrupt(format!("no record where one must be: {:?} {:02x?}", K::KIND, key.to_bytes())))
}

/// The rows of a kind whose keys begin with these parts.
pub(crate) fn rows<'a, K: StateKey + 'a>(
    state: &'a dyn ReadState,
    parts: &[&dyn KeyPart],
    direction: Direction,
) -> impl Iterator<Item = Result<(K, K::Record), StateError>> + use<'a, K> {
    let prefix = keys::prefix::<K>(parts);
    let end = keys::after_prefix(&prefix);
    range::<K>(state, Bound::Included(prefix), Bound::Excluded(end), direction)
}

/// The rows of a kind behind `after` whose keys begin with these parts, forward.
pub(crate) fn rows_after<'a, K: StateKey + 'a>(
    state: &'a dyn ReadState,
    parts: &[&dyn KeyPart],
    after: &K,
) -> impl Iterator<Item = Result<(K, K::Record), StateError>> + use<'a, K> {
    let end = keys::after_prefix(&keys::prefix::<K>(parts));
    range::<K>(state, Bound::Excluded(after.to_bytes()), Bound::Excluded(end), Direction::Forward)
}

/// The rows of a kind from `from` on whose keys begin with these parts, forward.
pub(crate) fn rows_from<'a, K: StateKey + 'a>(
    state: &'a dyn ReadState,
    parts: &[&dyn KeyPart],
    from: &K,
) -> impl Iterator<Item = Result<(K, K::Record), StateError>> + use<'a, K> {
    let end = keys::after_prefix(&keys::prefix::<K>(parts));
    range::<K>(state, Bound::Included(from.to_bytes()), Bound::Excluded(end), Direction::Forward)
}

/// The rows of a kind behind `after` whose keys begin with these parts, forward, but for the first ones, which are passed over unread. The key of every so many
/// of these is given first.
pub(crate) fn rows_after_skipping<'a, K: StateKey + 'a>(
    state: &'a dyn ReadState,
    parts: &[&dyn KeyPart],
    after: &K,
    (passed, marked_every): (usize, usize),
) -> Result<(Vec<K>, impl Iterator<Item = TypedRow<K>> + use<'a, K>), StateError> {
    let end = keys::after_prefix(&keys::prefix::<K>(parts));
    let (start, end) = (Bound::Excluded(after.to_bytes()), Bound::Excluded(end));
    let mut rows = state.scan(K::FAMILY, start.as_ref().map(Bytes::as_ref), end.as_ref().map(Bytes::as_ref), Direction::Forward);
    let mut marks = Vec::new();
    for _ in 0..passed / marked_every {
        let Some(row) = rows.nth(marked_every - 1) else { break };
        marks.push(K::from_bytes(&row?.0)?);
    }
    let first = rows.nth(passed % marked_every);
    let rows = first.into_iter().chain(rows).map(|row| {
        let (key, value) = row?;
        Ok((K::from_bytes(&key)?, decode::<K>(&key, value)?))
    });
    Ok((marks, rows))
}

/// How many rows of a kind have keys that begin with these parts.
pub(crate) fn count<K: StateKey>(state: &dyn ReadState, parts: &[&dyn KeyPart]) -> Result<u64, StateError> {
    let prefix = keys::prefix::<K>(parts);
    let end = keys::after_prefix(&prefix);
    state.count(K::FAMILY, Bound::Included(&prefix), Bound::Excluded(&end))
}

fn range<'a, K: StateKey + 'a>(
    state: &'a dyn ReadState,
    start: Bound<Bytes>,
    end: Bound<Bytes>,
    direction: Direction,
) -> impl Iterator<Item = Result<(K, K::Record), StateError>> + use<'a, K> {
    state.scan(K::FAMILY, start.as_ref().map(Bytes::as_ref), end.as_ref().map(Bytes::as_ref), direction).map(|row| {
        let (key, value) = row?;
        Ok((K::from_bytes(&key)?, decode::<K>(&key, value)?))
    })
}

fn decode<K: StateKey>(key: &[u8], value: Bytes) -> Result<K::Record, StateError> {
    K::Record::decode(value).map_err(|error| StateError::corrupt(format!("the record of {:?} {key:02x?}: {error}", K::KIND)))
}

/// An id that lies in a record.
pub(crate) fn stored_id<'a, T: TryFrom<&'a [u8]>>(bytes: &'a [u8], what: &str) -> Result<T, StateError> {
    T::try_from(bytes).map_err(|_wrong_length| StateError::corrupt(format!("{what} of {} bytes", bytes.len())))
}
