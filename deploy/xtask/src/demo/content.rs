//! What is loaded: files of this machine, and files of random bytes that are drawn again at each reading instead of being kept.

use crate::fault::Fault;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

/// Where the bytes of one loaded file come from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// A file of this machine.
    File(PathBuf),
    /// Bytes that follow from the seed.
    Random { seed: u64, length: u64 },
}

/// One file to load.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// Its path in the demo's workspace, without a slash in front.
    pub(crate) path: String,
    /// Its length when the load was planned.
    pub(crate) length: u64,
    pub(crate) source: Source,
}

impl Source {
    /// Opens it: exactly as many bytes as are returned beside, unless a file shrinks meanwhile.
    pub(crate) fn open(&self) -> Result<(u64, Box<dyn Read>), Fault> {
        match self {
            Source::File(path) => {
                let file = File::open(path).map_err(|cause| Fault::at("read", path, cause))?;
                let length = file.metadata().map_err(|cause| Fault::at("read", path, cause))?.len();
                Ok((length, Box::new(file.take(length))))
            }
            Source::Random { seed, length } => Ok((*length, Box::new(RandomBytes::new(*seed).take(*length)))),
        }
    }
}

/// A size class of the store: how it keeps a file depends on its length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SizeClass {
    pub(crate) name: &'static str,
    bytes_min: u64,
    bytes_max: u64,
}

/// To 4 KiB with the metadata; to 128 KiB as whole copies; above erasure-coded.
pub(crate) const SIZE_CLASSES: [SizeClass; 3] = [
    SizeClass { name: "inline", bytes_min: 1, bytes_max: 4 << 10 },
    SizeClass { name: "copied", bytes_min: (4 << 10) + 1, bytes_max: 128 << 10 },
    SizeClass { name: "coded", bytes_min: 200 << 10, bytes_max: 600 << 10 },
];

/// Files a folder, so that none grows long to look at.
const PER_FOLDER: u64 = 250;

/// `count` files of each size class, and one of `large_bytes` if that is not 0, below `folder`.
pub(crate) fn random_items(folder: &str, count: u64, large_bytes: u64) -> Vec<Item> {
    let mut items = Vec::new();
    // First, so that it runs beside the small ones and not after them.
    if large_bytes > 0 {
        let source = Source::Random { seed: u64::MAX, length: large_bytes };
        items.push(Item { path: format!("{folder}/large.bin"), length: large_bytes, source });
    }
    for (class, class_seed) in SIZE_CLASSES.iter().zip(1u64..) {
        for number in 0..count {
            let seed = (class_seed << 32) + number;
            let span = class.bytes_max - class.bytes_min + 1;
            let length = class.bytes_min + RandomBytes::new(!seed).next() % span;
            let path = format!("{folder}/{}/{:02}/{number:04}.bin", class.name, number / PER_FOLDER);
            items.push(Item { path, length, source: Source::Random { seed, length } });
        }
    }
    items
}

/// The SplitMix64 sequence of Steele, Lea and Flood: fast, and nothing that a compressor or a deduplicator finds anything in.
#[derive(Debug)]
struct RandomBytes {
    state: u64,
    pending: [u8; 8],
    pending_used: usize,
}

impl RandomBytes {
    fn new(seed: u64) -> Self {
        RandomBytes { state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03, pending: [0; 8], pending_used: 8 }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

impl Read for RandomBytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            if self.pending_used == self.pending.len() {
                self.pending = self.next().to_le_bytes();
                self.pending_used = 0;
            }
            let length = (buffer.len() - filled).min(self.pending.len() - self.pending_used);
            buffer[filled..filled + length].copy_from_slice(&self.pending[self.pending_used..self.pending_used + length]);
            filled += length;
            self.pending_used += length;
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn classes_keep_to_their_sizes_and_paths_differ() {
        let items = random_items("r", 300, 1 << 30);
        assert_eq!(items.len(), 901);
        assert_eq!(items.iter().map(|item| &item.path).collect::<BTreeSet<_>>().len(), 901);
        for class in SIZE_CLASSES {
            let of_class = items.iter().filter(|item| item.path.starts_with(&format!("r/{}/", class.name)));
            assert!(of_class.clone().all(|item| (class.bytes_min..=class.bytes_max).contains(&item.length)));
            assert_eq!(of_class.count(), 300);
        }
    }

    #[test]
    fn random_bytes_repeat_whatever_the_pieces() {
        let source = Source::Random { seed: 7, length: 1000 };
        let mut whole = Vec::new();
        source.open().expect("nothing to fail").1.read_to_end(&mut whole).expect("nothing to fail");
        assert_eq!(whole.len(), 1000);
        let mut pieces = Vec::new();
        let (_, mut reader) = source.open().expect("nothing to fail");
        let mut piece = [0; 13];
        while let Ok(length @ 1..) = reader.read(&mut piece) {
            pieces.extend_from_slice(&piece[..length]);
        }
        assert_eq!(whole, pieces);
        let mut other = Vec::new();
        Source::Random { seed: 8, length: 1000 }.open().expect("nothing to fail").1.read_to_end(&mut other).expect("nothing to fail");
        assert_ne!(whole, other);
    }
}
