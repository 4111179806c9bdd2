//! The parts that keys are made of, and how each is written so that byte order is the order of values.

use bytes::{BufMut, BytesMut};
use skep_placement::ids::{
    BootNumber, ChunkId, ContentId, DatasourceId, DeviceId, EntryId, GroupId, InstanceId, NodeId, PoolId, RecordId, Stamp, VersionId,
    WriteId,
};

use super::Kind;

/// A value that can be a part of a key.
pub trait KeyPart {
    /// Writes it behind what is there.
    fn write(&self, bytes: &mut BytesMut);

    /// Reads it; `None` if the bytes are no such value.
    fn read(reader: &mut Reader<'_>) -> Option<Self>
    where
        Self: Sized;
}

/// What is left of a key.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn begin(kind: Kind, bytes: &'a [u8]) -> Option<Self> {
        let (first, rest) = bytes.split_first()?;
        (*first == kind.number()).then_some(Self { rest })
    }

    pub(crate) fn finish(&mut self) -> bool {
        self.rest.is_empty()
    }

    fn take<const LENGTH: usize>(&mut self) -> Option<[u8; LENGTH]> {
        let (taken, rest) = self.rest.split_first_chunk::<LENGTH>()?;
        self.rest = rest;
        Some(*taken)
    }
}

impl KeyPart for u8 {
    fn write(&self, bytes: &mut BytesMut) {
        bytes.put_u8(*self);
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        reader.take::<1>().map(|[byte]| byte)
    }
}

impl KeyPart for u32 {
    fn write(&self, bytes: &mut BytesMut) {
        bytes.put_u32(*self);
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        reader.take().map(u32::from_be_bytes)
    }
}

impl KeyPart for u64 {
    fn write(&self, bytes: &mut BytesMut) {
        bytes.put_u64(*self);
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        reader.take().map(u64::from_be_bytes)
    }
}

/// A number whose greater values sort first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Descending(pub u64);

impl Ord for Descending {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.0.cmp(&self.0)
    }
}

impl PartialOrd for Descending {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl KeyPart for Descending {
    fn write(&self, bytes: &mut BytesMut) {
        bytes.put_u64(!self.0);
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        u64::read(reader).map(|number| Self(!number))
    }
}

impl<const LENGTH: usize> KeyPart for [u8; LENGTH] {
    fn write(&self, bytes: &mut BytesMut) {
        bytes.put_slice(self);
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        reader.take()
    }
}

/// A name that is the last part of its key.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct NameRest(pub String);

impl KeyPart for NameRest {
    fn write(&self, bytes: &mut BytesMut) {
        bytes.put_slice(self.0.as_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let name = std::str::from_utf8(std::mem::take(&mut reader.rest)).ok()?;
        Some(Self(name.to_owned()))
    }
}

/// A name that other parts follow. It holds no NUL.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct NameThen(pub String);

impl KeyPart for NameThen {
    fn write(&self, bytes: &mut BytesMut) {
        assert!(!self.0.as_bytes().contains(&0), "a name with NUL reached the keys: it would end early");
        bytes.put_slice(self.0.as_bytes());
        bytes.put_u8(0);
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let end = reader.rest.iter().position(|byte| *byte == 0)?;
        let (name, rest) = reader.rest.split_at_checked(end)?;
        let name = std::str::from_utf8(name).ok()?;
        reader.rest = rest.get(1..)?;
        Some(Self(name.to_owned()))
    }
}

/// Ids that are written as what they wrap.
macro_rules! wrapped {
    ($($name:ident),*) => {
        $(impl KeyPart for $name {
            fn write(&self, bytes: &mut BytesMut) {
                self.0.write(bytes);
            }

            fn read(reader: &mut Reader<'_>) -> Option<Self> {
                KeyPart::read(reader).map(Self)
            }
        })*
    };
}
wrapped!(BootNumber, ChunkId, ContentId, DatasourceId, DeviceId, EntryId, GroupId, NodeId, PoolId, RecordId, Stamp, VersionId);

impl KeyPart for WriteId {
    fn write(&self, bytes: &mut BytesMut) {
        self.node.write(bytes);
        self.boot.write(bytes);
        self.counter.write(bytes);
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self { node: KeyPart::read(reader)?, boot: KeyPart::read(reader)?, counter: KeyPart::read(reader)? })
    }
}

impl KeyPart for InstanceId {
    fn write(&self, bytes: &mut BytesMut) {
        self.chunk.write(bytes);
        self.write.write(bytes);
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self { chunk: KeyPart::read(reader)?, write: KeyPart::read(reader)? })
    }
}
