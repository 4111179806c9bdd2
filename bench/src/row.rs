//! What is measured: one row is one kind of request at one size and number of clients on one kind of cluster.

mod catalog;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use catalog::{all, select};

/// Rows that are plotted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Gigabytes.
    Large,
    /// Small files written.
    Put,
    /// Files read, the page cache warm.
    Get,
    /// Files read after the page cache was dropped, and parts of files.
    Parts,
    /// Requests about the tree.
    Tree,
    /// What was, and many changes at once.
    History,
    /// A bit of everything.
    Mixed,
    /// Memory and time until a node serves again.
    Node,
}

impl Family {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 8] = [Self::Large, Self::Put, Self::Get, Self::Parts, Self::Tree, Self::History, Self::Mixed, Self::Node];

    /// In file names.
    pub fn word(self) -> &'static str {
        match self {
            Self::Large => "large",
            Self::Put => "put",
            Self::Get => "get",
            Self::Parts => "parts",
            Self::Tree => "tree",
            Self::History => "history",
            Self::Mixed => "mixed",
            Self::Node => "node",
        }
    }

    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Large => "Large files",
            Self::Put => "Small files written",
            Self::Get => "Small files read, warm",
            Self::Parts => "Cold reads and ranges",
            Self::Tree => "The tree",
            Self::History => "History and batches",
            Self::Mixed => "Mixed: 70 % GET, 20 % PUT, 10 % stat of 16 KiB files",
            Self::Node => "Memory and recovery",
        }
    }
}

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
    /// The 20 versions of a file.
    Versions,
    /// A page of the change feed.
    Changes(u64),
    /// From the request to bring a folder back of which a tenth has changed until it is done.
    Restore {
        /// Entries of the folder.
        entries: u64,
    },
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
    /// From the new start of a killed node until it is ready.
    Restart,
}

/// What a rate counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Requests a second.
    Requests,
    /// Bytes of content a second.
    Bytes,
    /// Entries a second.
    Entries,
    /// No rate: bytes of memory.
    Memory,
    /// No rate: a time.
    Seconds,
}

/// What a row must reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Aim {
    /// Of the limit's rate, in hundredths.
    PercentOfLimit(f64),
    /// Units a second.
    RateAtLeast(f64),
    /// Milliseconds at the 99th percentile.
    P99Below(f64),
    /// Bytes or seconds.
    Below(f64),
}

/// The cluster a row runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Setting {
    /// Nodes that were started.
    pub nodes: usize,
    /// One of them was killed.
    pub one_dead: bool,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}n{}", self.nodes, if self.one_dead { "-1" } else { "" })
    }
}

/// One row.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which cluster.
    pub setting: Setting,
    /// Which table.
    pub family: Family,
    /// What is done.
    pub work: Work,
    /// By how many clients at once.
    pub clients: usize,
    /// What must be reached, where there is an aim.
    pub aim: Option<Aim>,
    /// Only with `--long`, or when it is named.
    pub is_long: bool,
}

impl Row {
    /// What the rate counts.
    pub fn unit(&self) -> Unit {
        match self.work {
            Work::Put(size) | Work::Get { size, .. } if size >= 1 << 20 => Unit::Bytes,
            Work::Range { .. } => Unit::Bytes,
            Work::CreateFiles(_) | Work::Batch(_) | Work::List { .. } | Work::ListAt { .. } | Work::Changes(_) => Unit::Entries,
            Work::IdleMemory | Work::LoadedMemory => Unit::Memory,
            Work::TakeOver | Work::Restart | Work::Restore { .. } => Unit::Seconds,
            _each_request => Unit::Requests,
        }
    }

    /// Its name, as `--rows` looks at it.
    pub fn id(&self) -> String {
        let Self { setting, clients, .. } = self;
        match self.work {
            Work::IdleMemory => format!("{setting}/memory/idle"),
            Work::LoadedMemory => format!("{setting}/memory/loaded"),
            Work::TakeOver => format!("{setting}/recovery/take-over"),
            Work::Restart => format!("{setting}/recovery/restart"),
            Work::Restore { .. } => format!("{setting}/{}", self.work),
            _requests => format!("{setting}/{}/c{clients}", self.work),
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
            Self::Versions => f.write_str("versions/20"),
            Self::Changes(page) => write!(f, "changes/{page}"),
            Self::Restore { entries } => write!(f, "restore/tenth-of-{entries}"),
            Self::RenameFile => f.write_str("rename/file"),
            Self::RenameFolder { entries } => write!(f, "rename/folder-of-{entries}"),
            Self::Delete => f.write_str("delete"),
            Self::Copy(size) => write!(f, "copy/{}", size_word(*size)),
            Self::Mixed(size) => write!(f, "mixed/{}", size_word(*size)),
            Self::IdleMemory => f.write_str("memory/idle"),
            Self::LoadedMemory => f.write_str("memory/loaded"),
            Self::TakeOver => f.write_str("recovery/take-over"),
            Self::Restart => f.write_str("recovery/restart"),
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
