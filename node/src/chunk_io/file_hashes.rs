//! The hashes of a whole file, computed while it streams through: always its BLAKE3, its MD5 only where a client needs it.
//!
//! MD5 protects nothing; it is what `Content-MD5` compares. The only file that names it.

use bytes::Bytes;
use md5::{Digest, Md5};
use skep_placement::chunk::FileHasher;

use super::encoded::heavy;

/// Both hashes of the bytes taken so far.
#[derive(Clone, Debug)]
pub(super) struct FileHashes {
    blake3: FileHasher,
    md5: Option<Md5>,
}

impl FileHashes {
    /// Begins an empty file.
    pub(super) fn new(want_md5: bool) -> Self {
        Self { blake3: FileHasher::new(), md5: want_md5.then(Md5::new) }
    }

    /// Takes the next bytes, where that holds up no other request.
    pub(super) async fn update(&mut self, bytes: &Bytes) {
        let (mut hashes, bytes) = (self.clone(), bytes.clone());
        *self = heavy(bytes.len(), move || {
            hashes.blake3.update(&bytes);
            if let Some(md5) = &mut hashes.md5 {
                md5.update(&bytes);
            }
            hashes
        })
        .await;
    }

    /// The BLAKE3 of all bytes taken so far.
    pub(super) fn blake3(&self) -> [u8; 32] {
        self.blake3.hash()
    }

    /// Their MD5, if it was asked for.
    pub(super) fn md5(&self) -> Option<[u8; 16]> {
        self.md5.clone().map(|md5| md5.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pieces_give_the_hash_of_the_whole() {
        let whole: Bytes = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut hashes = FileHashes::new(true);
        for piece in [0..0, 0..3, 3..100_000, 100_000..whole.len()] {
            hashes.update(&whole.slice(piece)).await;
        }
        assert_eq!(hashes.blake3(), skep_placement::chunk::hash(&whole), "of both lengths, here and on a blocking thread");
        assert_eq!(hashes.md5(), Some(Md5::digest(&whole).into()));
    }

    #[tokio::test]
    async fn md5_is_computed_where_it_is_asked_for() {
        let mut hashes = FileHashes::new(false);
        hashes.update(&Bytes::from_static(b"hello world")).await;
        assert_eq!(hashes.md5(), None);
        let mut hashes = FileHashes::new(true);
        assert_eq!(hashes.md5().map(|md5| md5[..2].to_vec()), Some(vec![0xd4, 0x1d]), "of no byte (RFC 1321, A.5)");
        hashes.update(&Bytes::from_static(b"abc")).await;
        let of_abc = [0x90, 0x01, 0x50, 0x98, 0x3c, 0xd2, 0x4f, 0xb0, 0xd6, 0x96, 0x3f, 0x7d, 0x28, 0xe1, 0x7f, 0x72];
        assert_eq!(hashes.md5(), Some(of_abc), "as RFC 1321 has it");
    }
}
