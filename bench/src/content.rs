//! File contents made from a seed, sent and checked without being kept.
//!
//! All contents are windows of one random buffer, with a stamp of (seed, block) at the start of each mebibyte. So no two files share a chunk,
//! nothing compresses, sending copies nothing, and a check compares every byte.

use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};

/// Between two stamps.
const BLOCK_BYTES: usize = 1 << 20;
const STAMP_BYTES: usize = 16;
/// The buffer; a window starts in its first half.
const BASE_BYTES: usize = 4 << 20;

fn base() -> &'static Bytes {
    static BASE: OnceLock<Bytes> = OnceLock::new();
    BASE.get_or_init(|| {
        let mut bytes = vec![0; BASE_BYTES];
        StdRng::seed_from_u64(0x5ee9).fill_bytes(&mut bytes);
        bytes.into()
    })
}

/// The content of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// Tells it from all others.
    pub seed: u64,
    /// Bytes.
    pub length: u64,
}

impl Content {
    /// The longest piece that begins at an offset and lies in one place of memory; empty at the end.
    fn piece(self, offset: u64) -> Bytes {
        let left = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        if left == 0 {
            return Bytes::new();
        }
        let block_bytes = u64::try_from(BLOCK_BYTES).expect("1 MiB");
        let (block, within) = (offset / block_bytes, usize::try_from(offset % block_bytes).expect("below 1 MiB"));
        if within < STAMP_BYTES {
            let mut stamp = [0; STAMP_BYTES];
            stamp[..8].copy_from_slice(&self.seed.to_le_bytes());
            stamp[8..].copy_from_slice(&block.to_be_bytes());
            let end = STAMP_BYTES.min(within.saturating_add(left));
            return Bytes::copy_from_slice(&stamp[within..end]);
        }
        let half = u64::try_from(BASE_BYTES / 2).expect("2 MiB");
        let mixed = self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(block.wrapping_mul(0xbf58_476d_1ce4_e5b9)) >> 20;
        let start = usize::try_from(mixed % half).expect("below 2 MiB") & !63;
        let length = (BLOCK_BYTES - within).min(left);
        base().slice(start + within..start + within + length)
    }

    /// As the body of a request.
    pub fn body(self) -> ContentBody {
        ContentBody { content: self, offset: 0 }
    }

    /// All bytes, for small ones.
    #[cfg(test)]
    fn bytes(self) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < usize::try_from(self.length).unwrap() {
            all.extend_from_slice(&self.piece(all.len().try_into().unwrap()));
        }
        all
    }
}

/// A content that is being sent.
#[derive(Debug)]
pub struct ContentBody {
    content: Content,
    offset: u64,
}

impl Body for ContentBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let piece = self.content.piece(self.offset);
        if piece.is_empty() {
            return Poll::Ready(None);
        }
        self.offset += u64::try_from(piece.len()).expect("usize fits u64");
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.offset >= self.content.length
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.content.length.saturating_sub(self.offset))
    }
}

/// Compares what arrives with what a content has from an offset on.
#[derive(Debug)]
pub struct Check {
    content: Content,
    offset: u64,
    end: u64,
    wrong_at: Option<u64>,
}

impl Check {
    /// Expects `length` bytes from `offset` on.
    pub fn range(content: Content, offset: u64, length: u64) -> Self {
        Self { content, offset, end: offset.saturating_add(length).min(content.length), wrong_at: None }
    }

    /// Takes the next bytes.
    ///
    /// # Panics
    /// Never: lengths fit 64 bits.
    pub fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let expected = self.content.piece(self.offset);
            let length = expected.len().min(bytes.len());
            if length == 0 || bytes[..length] != expected[..length] {
                self.wrong_at.get_or_insert(self.offset);
                return;
            }
            self.offset += u64::try_from(length).expect("usize fits u64");
            bytes = &bytes[length..];
        }
    }

    /// Whether all bytes came and were right.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn verdict(&self) -> Result<(), String> {
        match self.wrong_at {
            Some(at) => Err(format!("WRONG BYTES in the block at {at}")),
            None if self.offset != self.end => Err(format!("it ends at byte {} instead of {}", self.offset, self.end)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Check, Content};

    #[test]
    fn contents_differ_in_every_mebibyte() {
        let length = (2 << 20) + 7;
        let (one, other) = (Content { seed: 1, length }.bytes(), Content { seed: 2, length }.bytes());
        assert_eq!(one.len(), usize::try_from(length).unwrap());
        for block in 0..3 {
            let start = block << 20;
            assert_ne!(one[start..start + 7], other[start..start + 7], "seeds are in the stamp");
        }
        assert_ne!(one[..64], one[1 << 20..(1 << 20) + 64]);
    }

    #[test]
    fn right_bytes_pass_and_every_fault_is_found() {
        let content = Content { seed: 9, length: 3_000_000 };
        let bytes = content.bytes();
        let check = |offset: usize, bytes: &[u8], length: u64| {
            let mut check = Check::range(content, offset.try_into().unwrap(), length);
            bytes.chunks(1_000).for_each(|piece| check.take(piece));
            check.verdict()
        };
        assert_eq!(check(0, &bytes, 3_000_000), Ok(()));
        assert_eq!(check(1_048_570, &bytes[1_048_570..1_049_000], 430), Ok(()));
        assert!(check(0, &bytes[..2_999_999], 3_000_000).unwrap_err().contains("ends at"));
        let mut damaged = bytes.clone();
        damaged[2_000_000] ^= 1;
        assert!(check(0, &damaged, 3_000_000).unwrap_err().contains("WRONG BYTES"));
        let mut longer = bytes;
        longer.push(0);
        assert!(check(0, &longer, 3_000_000).is_err());
    }
}
