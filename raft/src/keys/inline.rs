//! `inline/content`: the bytes of an inline content as they are, not a record.

use bytes::{BufMut, Bytes, BytesMut};
use skep_placement::ids::ContentId;

use super::{KeyPart, Kind};

/// The key of a content's bytes in the family for inline contents.
#[must_use]
pub fn inline(content: ContentId) -> Bytes {
    let mut bytes = BytesMut::with_capacity(9);
    bytes.put_u8(Kind::Inline.number());
    content.write(&mut bytes);
    bytes.freeze()
}
