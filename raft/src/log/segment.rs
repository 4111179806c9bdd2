//! Segment files: their names, and how one comes to be.
//!
//! **A file under its final name has a good header**: it is written and synced under a temporary name, renamed, and the folder synced, before
//! anything relies on it.

use std::sync::Arc;

use super::batch::BatchBody;
use super::error::LogError;
use super::files::{LogFile, LogFiles};
use super::header::Header;

const PREFIX: &str = "segment-";
const SUFFIX: &str = ".log";
const TEMPORARY_SUFFIX: &str = ".new";
/// Digits of the number in a name.
const DIGITS: usize = 20;

/// The name of a segment.
pub(crate) fn name(number: u64) -> String {
    format!("{PREFIX}{number:0DIGITS$}{SUFFIX}")
}

/// The number in a segment's name; none if it is no such name.
pub(crate) fn number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    if digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

/// Whether a name is that of a segment which was never finished.
pub(crate) fn is_temporary(name: &str) -> bool {
    name.strip_suffix(TEMPORARY_SUFFIX).and_then(number).is_some()
}

/// The segment that is written to.
#[derive(Debug)]
pub(crate) struct OpenSegment {
    pub(crate) number: u64,
    pub(crate) file: Arc<dyn LogFile>,
    pub(crate) salt: u32,
    pub(crate) sector: u32,
    /// Where the first batch starts.
    pub(crate) start: u64,
    /// Where the next batch starts.
    pub(crate) end: u64,
}

/// Makes a segment durably, with a batch repeated in it if there is one to repeat.
///
/// # Errors
/// The file system refused a step; what is on the disk is then unknown.
pub(crate) fn create(files: &dyn LogFiles, header: &Header, repeat: Option<&BatchBody>) -> Result<OpenSegment, LogError> {
    let name = name(header.segment);
    let temporary = format!("{name}{TEMPORARY_SUFFIX}");
    let mut bytes = header.encode();
    let start = u64::try_from(bytes.len()).expect("a length fits into 64 bits");
    if let Some(body) = repeat {
        bytes.extend(body.frame(header.first, header.salt, header.sector));
    }
    let file = files.create(&temporary).map_err(|error| LogError::io("create", &temporary, error))?;
    file.write_at(&bytes, 0).map_err(|error| LogError::io("write", &temporary, error))?;
    fail::fail_point!("log-segment-written");
    file.sync_data().map_err(|error| LogError::io("sync", &temporary, error))?;
    fail::fail_point!("log-segment-synced");
    files.rename(&temporary, &name).map_err(|error| LogError::io("rename", &temporary, error))?;
    fail::fail_point!("log-segment-renamed");
    files.sync_folder().map_err(|error| LogError::io("sync the folder of", &name, error))?;
    let end = u64::try_from(bytes.len()).expect("a length fits into 64 bits");
    Ok(OpenSegment { number: header.segment, file, salt: header.salt, sector: header.sector, start, end })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_belong_together() {
        assert_eq!(name(7), "segment-00000000000000000007.log", "twenty digits sort as text");
        assert_eq!(number(&name(u64::MAX)), Some(u64::MAX), "the largest");
        assert!(is_temporary("segment-00000000000000000007.log.new"), "never finished");
        for other in ["LOCK", "segment-7.log", "segment-0000000000000000000x.log", "segment-00000000000000000007.log.new"] {
            assert_eq!(number(other), None, "{other}");
        }
    }
}
