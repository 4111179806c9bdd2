//! `counter/which`: ids that a group gives out, each the next to give.

use bytes::BytesMut;

use super::{KeyPart, Reader, state_key};

/// What is counted. The numbers are frozen: they lie on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counter {
    /// Contents and uploads of a datasource.
    Content = 1,
    /// Sessions.
    Session = 2,
    /// Users that are administrators and not disabled (how many, not an id).
    Administrators = 3,
    /// Fencing numbers of locks.
    Fence = 4,
}

impl KeyPart for Counter {
    fn write(&self, bytes: &mut BytesMut) {
        (*self as u8).write(bytes);
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        match u8::read(reader)? {
            1 => Some(Counter::Content),
            2 => Some(Counter::Session),
            3 => Some(Counter::Administrators),
            4 => Some(Counter::Fence),
            _ => None,
        }
    }
}

state_key!(
    /// A counter.
    CounterKey {
        /// Which.
        which: Counter,
    } in Meta, Counter holds u64
);
