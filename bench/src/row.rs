//! What is measured: one row is one kind of request at one size and number of clients on one kind of cluster.

mod catalog;
mod work;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use catalog::{all, select};
pub use work::{Across, Work};

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
    /// So many times as long as the base at most.
    TimesOfBase(f64),
    /// Units a second.
    RateAtLeast(f64),
    /// Units for each sync of one node's log, more than.
    PerLogSyncAbove(f64),
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
        self.work.unit()
    }

    /// The row of the ordinary work that is measured beside it, if there is one.
    pub fn base(&self) -> Option<Self> {
        let (work, clients) = self.work.base(self.clients)?;
        Some(Self { work, clients, aim: None, ..self.clone() })
    }

    /// Its name, as `--rows` looks at it.
    pub fn id(&self) -> String {
        let Self { setting, clients, .. } = self;
        match self.work {
            Work::IdleMemory => format!("{setting}/memory/idle"),
            Work::LoadedMemory => format!("{setting}/memory/loaded"),
            Work::TakeOver => format!("{setting}/recovery/take-over"),
            Work::Restart { .. } | Work::MemoryWith { .. } => format!("{setting}/{}", self.work),
            Work::Restore { .. } => format!("{setting}/{}", self.work),
            _requests => format!("{setting}/{}/c{clients}", self.work),
        }
    }
}
