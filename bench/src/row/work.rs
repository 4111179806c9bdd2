//! What the clients of a row do, and what it is called.

use std::fmt;

use super::Unit;

/// What a client asks for again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// New files of so many bytes.
    Put(u64),
    /// Files of so many bytes; cold: each once, after the page cache was dropped.
    Get {
        /// Bytes of each file.
        size: u64,
        /// Not from the page cache.
        cold: bool,
    },
    /// Parts at random places of files.
    Range {
        /// Bytes of each file.
        size: u64,
        /// Bytes of a part.
        length: u64,
    },
    /// Empty files, so many in one request.
    CreateFiles(usize),
    /// Folders, one in a request.
    CreateFolder,
    /// A file's entry.
    Stat,
    /// A page of a folder.
    List {
        /// Entries of the folder.
        entries: u64,
        /// Entries of a page.
        page: u64,
    },
    /// Files of a few bytes, so many in one batch.
    Batch(usize),
    /// A page of a folder as it was, of whose entries so many percent have changed since.
    ListAt {
        /// Entries of the folder.
        entries: u64,
        /// Entries of a page.
        page: u64,
        /// Entries changed since, in hundredths; 100: all, 20 times each, and half of them deleted.
        changed: u64,
    },
    /// A page of the same folder as it is now.
    ListNow {
        /// Entries that the folder had.
        entries: u64,
        /// Entries of a page.
        page: u64,
        /// As of [`Work::ListAt`].
        changed: u64,
    },
    /// A file's entry as it was before it changed.
    StatAt,
    /// Files of so many bytes as they were before they changed.
    GetAt(u64),
    /// The 20 versions of a file.
    Versions,
    /// A file goes back to one of its two first versions.
    Revert,
    /// A page of the change feed.
    Changes(u64),
    /// From the answer of a PUT of so many bytes at one node until the event of it is at who follows the feed at another.
    Feed(u64),
    /// From the answer of a PUT of so many bytes at one node until another has answered a look at the file.
    SeenElsewhere(u64),
    /// From the request to bring a folder back of which a tenth has changed until it is done.
    Restore {
        /// Entries of the folder.
        entries: u64,
    },
    /// New versions of files of so many bytes, on the condition that the current one is what this client wrote last.
    PutIf(u64),
    /// A lock, a PUT of so many bytes under it, the lock given back.
    LockedPut(u64),
    /// New files of so many bytes where a quota is far from reached.
    PutInQuota(u64),
    /// A tag at a file.
    SetTag,
    /// The file with a tag, by its exact value.
    FindTag,
    /// A file into the recycle bin, and out of it to its old place.
    Recycle,
    /// A job that copies to another datasource.
    CopyAcross(Across),
    /// A job that moves to another datasource, the next one back.
    MoveAcross(Across),
    /// A file's name.
    RenameFile,
    /// A folder's name.
    RenameFolder {
        /// Entries of the folder.
        entries: u64,
    },
    /// Empty files, for good.
    Delete,
    /// Copies of a file of so many bytes.
    Copy(u64),
    /// 70 % GET, 20 % PUT, 10 % stat of files of so many bytes.
    Mixed(u64),
    /// Resident memory of a node that nobody asks anything.
    IdleMemory,
    /// Peak memory of a node over all rows of its cluster.
    LoadedMemory,
    /// From the kill of a node until all others have written and read.
    TakeOver,
    /// Peak memory of a node while a folder of so many files is there and read once; if it is made for this row, also while it is made.
    MemoryWith {
        /// Entries of the folder.
        entries: u64,
    },
    /// From the new start of a killed node until it is ready.
    Restart {
        /// Entries of a folder that is there; 0: only what other rows have made.
        entries: u64,
    },
}

/// What goes from one datasource to another: a folder of files, or one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Across {
    /// How many files; 1: no folder.
    pub files: u64,
    /// Bytes of each.
    pub size: u64,
}

/// Large enough to count bytes.
const LARGE_BYTES: u64 = 1 << 20;
/// Clients that write what a job copies file by file, for comparison.
const WRITERS: usize = 16;

impl Work {
    /// What a rate counts.
    pub fn unit(self) -> Unit {
        match self {
            Self::Put(size) | Self::Get { size, .. } if size >= LARGE_BYTES => Unit::Bytes,
            Self::CopyAcross(Across { size, .. }) | Self::MoveAcross(Across { size, .. }) if size >= LARGE_BYTES => Unit::Bytes,
            Self::Range { .. } => Unit::Bytes,
            Self::CreateFiles(_) | Self::Batch(_) | Self::Changes(_) | Self::CopyAcross(_) | Self::MoveAcross(_) => Unit::Entries,
            Self::List { .. } | Self::ListAt { .. } | Self::ListNow { .. } => Unit::Entries,
            Self::IdleMemory | Self::LoadedMemory | Self::MemoryWith { .. } => Unit::Memory,
            Self::TakeOver | Self::Restart { .. } | Self::Restore { .. } => Unit::Seconds,
            _each_request => Unit::Requests,
        }
    }

    /// The ordinary work that stands beside this one in its row, and by how many clients it is done.
    pub fn base(self, clients: usize) -> Option<(Self, usize)> {
        match self {
            Self::PutIf(size) | Self::PutInQuota(size) => Some((Self::Put(size), clients)),
            Self::StatAt => Some((Self::Stat, clients)),
            Self::GetAt(size) => Some((Self::Get { size, cold: false }, clients)),
            Self::ListAt { entries, page, changed } => Some((Self::ListNow { entries, page, changed }, clients)),
            Self::Feed(size) => Some((Self::SeenElsewhere(size), clients)),
            Self::CopyAcross(Across { files: 1, size }) | Self::MoveAcross(Across { files: 1, size }) => Some((Self::Put(size), 1)),
            Self::CopyAcross(Across { size, .. }) | Self::MoveAcross(Across { size, .. }) => Some((Self::Put(size), WRITERS)),
            _alone => None,
        }
    }

    /// Whether the limit program has this work. It has no feed, no jobs and one store.
    pub fn has_limit(self) -> bool {
        !matches!(self, Self::Feed(_) | Self::SeenElsewhere(_) | Self::CopyAcross(_) | Self::MoveAcross(_))
    }
}

impl fmt::Display for Across {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.files {
            1 => write!(f, "{}", size_word(self.size)),
            many => write!(f, "{many}-files-of-{}", size_word(self.size)),
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put(size) => write!(f, "put/{}", size_word(*size)),
            Self::Get { size, cold: false } => write!(f, "get/{}", size_word(*size)),
            Self::Get { size, cold: true } => write!(f, "cold-get/{}", size_word(*size)),
            Self::Range { size, length } => write!(f, "range/{}-of-{}", size_word(*length), size_word(*size)),
            Self::CreateFiles(1) => f.write_str("create/file"),
            Self::CreateFiles(many) => write!(f, "create/{many}-files"),
            Self::CreateFolder => f.write_str("create/folder"),
            Self::Stat => f.write_str("stat"),
            Self::List { entries, page } => write!(f, "list/{page}-of-{entries}"),
            Self::Batch(many) => write!(f, "batch/{many}-files"),
            Self::ListAt { entries, page, changed } => write!(f, "list-at/{page}-of-{entries}-changed-{changed}"),
            Self::ListNow { entries, page, changed } => write!(f, "list-now/{page}-of-{entries}-changed-{changed}"),
            Self::StatAt => f.write_str("stat-at"),
            Self::GetAt(size) => write!(f, "get-at/{}", size_word(*size)),
            Self::Versions => f.write_str("versions/20"),
            Self::Revert => f.write_str("revert"),
            Self::Changes(page) => write!(f, "changes/{page}"),
            Self::Feed(size) => write!(f, "feed/{}", size_word(*size)),
            Self::SeenElsewhere(size) => write!(f, "seen-elsewhere/{}", size_word(*size)),
            Self::PutIf(size) => write!(f, "put-if/{}", size_word(*size)),
            Self::LockedPut(size) => write!(f, "lock-put-unlock/{}", size_word(*size)),
            Self::PutInQuota(size) => write!(f, "put-in-quota/{}", size_word(*size)),
            Self::SetTag => f.write_str("tag/set"),
            Self::FindTag => f.write_str("tag/find"),
            Self::Recycle => f.write_str("recycle-restore"),
            Self::CopyAcross(what) => write!(f, "copy-across/{what}"),
            Self::MoveAcross(what) => write!(f, "move-across/{what}"),
            Self::Restore { entries } => write!(f, "restore/tenth-of-{entries}-files"),
            Self::RenameFile => f.write_str("rename/file"),
            Self::RenameFolder { entries } => write!(f, "rename/folder-of-{entries}"),
            Self::Delete => f.write_str("delete"),
            Self::Copy(size) => write!(f, "copy/{}", size_word(*size)),
            Self::Mixed(size) => write!(f, "mixed/{}", size_word(*size)),
            Self::IdleMemory => f.write_str("memory/idle"),
            Self::LoadedMemory => f.write_str("memory/loaded"),
            Self::TakeOver => f.write_str("recovery/take-over"),
            Self::MemoryWith { entries } => write!(f, "memory/of-{entries}-files"),
            Self::Restart { entries: 0 } => f.write_str("recovery/restart"),
            Self::Restart { entries } => write!(f, "recovery/restart-of-{entries}-files"),
        }
    }
}

/// `4k`, `64m`, `1g`.
fn size_word(bytes: u64) -> String {
    match bytes {
        _ if bytes >= 1 << 30 => format!("{}g", bytes >> 30),
        _ if bytes >= 1 << 20 => format!("{}m", bytes >> 20),
        _kibibytes => format!("{}k", bytes >> 10),
    }
}

#[cfg(test)]
mod tests {
    use super::{Across, Work};

    #[test]
    fn the_base_is_the_same_without_what_the_row_is_about() {
        let base = |work: Work, clients| work.base(clients).map(|(base, clients)| format!("{base}/c{clients}"));
        assert_eq!(base(Work::PutInQuota(4 << 10), 64).as_deref(), Some("put/4k/c64"));
        assert_eq!(base(Work::StatAt, 64).as_deref(), Some("stat/c64"));
        let at = Work::ListAt { entries: 10_000, page: 1_000, changed: 5 };
        assert_eq!(base(at, 16).as_deref(), Some("list-now/1000-of-10000-changed-5/c16"));
        for (files, size, expected) in [(200, 4 << 10, "put/4k/c16"), (1, 64 << 20, "put/64m/c1")] {
            assert_eq!(base(Work::MoveAcross(Across { files, size }), 1).as_deref(), Some(expected));
        }
        assert_eq!(base(Work::Put(4 << 10), 64), None);
    }

    #[test]
    fn a_base_is_counted_in_the_same_unit_or_by_files() {
        let at = Work::ListAt { entries: 10_000, page: 1_000, changed: 5 };
        for work in [Work::PutIf(16 << 10), Work::StatAt, Work::GetAt(4 << 10), at, Work::CopyAcross(Across { files: 1, size: 64 << 20 })] {
            assert_eq!(work.base(1).map(|(base, _)| base.unit()), Some(work.unit()), "{work}");
        }
    }
}
