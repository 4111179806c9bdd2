//! The checksums of all that was loaded, in the form of `sha256sum`, so that a mounted workspace can be checked without Skep's help.

use crate::fault::Fault;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The SHA-256 of a file, in hexadecimal.
pub(crate) type Checksum = String;

/// A manifest that grows by whole lines.
#[derive(Debug)]
pub(crate) struct ManifestWriter {
    path: PathBuf,
    file: Mutex<File>,
}

impl ManifestWriter {
    /// Opens it at its end; half a line that a crash left is cut off.
    pub(crate) fn open(path: &Path) -> Result<Self, Fault> {
        let whole = match fs::read(path) {
            Ok(bytes) => bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1),
            Err(cause) if cause.kind() == ErrorKind::NotFound => 0,
            Err(cause) => return Err(Fault::at("read", path, cause)),
        };
        let opened = File::options().create(true).append(true).open(path);
        let length = u64::try_from(whole).expect("a file in memory is shorter than 2^64");
        let file = opened.and_then(|file| file.set_len(length).map(|()| file)).map_err(|cause| Fault::at("write", path, cause))?;
        Ok(ManifestWriter { path: path.to_path_buf(), file: Mutex::new(file) })
    }

    /// Adds a file that was acknowledged.
    pub(crate) fn add(&self, path: &str, checksum: &Checksum) -> Result<(), Fault> {
        let line = line(path, checksum);
        let mut file = self.file.lock().expect("nobody panics while holding it");
        file.write_all(line.as_bytes()).map_err(|cause| Fault::at("write", &self.path, cause))
    }
}

/// Reads path and checksum of each file; a path that was loaded twice counts with its last checksum.
pub(crate) fn read(path: &Path) -> Result<BTreeMap<String, Checksum>, Fault> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(cause) => return Err(Fault::at("read", path, cause)),
    };
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .split('\n')
        .filter(|line| !line.is_empty())
        .map(|line| entry(line).ok_or_else(|| Fault::at("understand", path, format!("the line {line:?}"))))
        .collect()
}

fn line(path: &str, checksum: &str) -> String {
    if path.contains(['\\', '\n', '\r']) {
        let escaped = path.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
        return format!("\\{checksum}  {escaped}\n");
    }
    format!("{checksum}  {path}\n")
}

fn entry(line: &str) -> Option<(String, Checksum)> {
    let (escaped, line) = line.strip_prefix('\\').map_or((false, line), |rest| (true, rest));
    let (checksum, path) = line.split_once("  ")?;
    if checksum.len() != 64 {
        return None;
    }
    let path = if escaped { unescaped(path)? } else { path.to_owned() };
    Some((path, checksum.to_owned()))
}

fn unescaped(text: &str) -> Option<String> {
    let mut plain = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        plain.push(match letter {
            '\\' => match letters.next()? {
                'n' => '\n',
                'r' => '\r',
                '\\' => '\\',
                _ => return None,
            },
            other => other,
        });
    }
    Some(plain)
}

/// Passes bytes on, hashes them and tells how many went by.
pub(crate) struct HashingReader<R, F> {
    inner: R,
    hasher: Sha256,
    length: u64,
    seen: F,
}

impl<R: Read, F: FnMut(u64)> HashingReader<R, F> {
    pub(crate) fn new(inner: R, seen: F) -> Self {
        HashingReader { inner, hasher: Sha256::new(), length: 0, seen }
    }

    /// Bytes so far.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// The checksum of all bytes that went by.
    pub(crate) fn finish(self) -> Checksum {
        hex(&self.hasher.finalize())
    }
}

impl<R: Read, F: FnMut(u64)> Read for HashingReader<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..length]);
        let count = u64::try_from(length).expect("a buffer is shorter than 2^64");
        self.length += count;
        (self.seen)(count);
        Ok(length)
    }
}

/// One checksum of a whole manifest: of its lines in the order of paths.
pub(crate) fn of_all(entries: &BTreeMap<String, Checksum>) -> Checksum {
    let mut hasher = Sha256::new();
    for (path, checksum) in entries {
        hasher.update(line(path, checksum));
    }
    hex(&hasher.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string does not fail");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn lines_are_those_of_sha256sum_and_come_back() {
        assert_eq!(line("a b", EMPTY), format!("{EMPTY}  a b\n"));
        for path in ["plain", "two  spaces", "back\\slash", "new\nline", "\\", "r\r"] {
            let text = line(path, EMPTY);
            assert_eq!(entry(text.trim_end_matches('\n')), Some((path.to_owned(), EMPTY.to_owned())));
        }
        assert_eq!(entry("short  path"), None);
    }

    #[test]
    fn half_a_line_is_cut_off() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().join("manifest.txt");
        fs::write(&path, format!("{EMPTY}  one\n{}", &EMPTY[..10])).expect("the folder is writable");
        assert_eq!(read(&path).expect("whole lines are read").len(), 1);
        let writer = ManifestWriter::open(&path).expect("it opens");
        writer.add("two", &EMPTY.to_owned()).expect("the folder is writable");
        let entries = read(&path).expect("it is whole again");
        assert_eq!(entries.keys().collect::<Vec<_>>(), ["one", "two"]);
    }

    #[test]
    fn hashing_passes_everything_on() {
        let mut seen = 0;
        let mut reader = HashingReader::new(&b"abc"[..], |count| seen += count);
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("memory does not fail");
        assert_eq!((text.as_str(), reader.length()), ("abc", 3));
        assert_eq!(reader.finish(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(seen, 3);
    }
}
