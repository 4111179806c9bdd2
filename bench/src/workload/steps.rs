//! What each client asks for next.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::as_f64;
use super::data::{Data, Known, VERSIONED, VERSIONS, changed_folder, folder_of, fresh_seed, make_files, make_folders};
use crate::content::Content;
use crate::fault::Fault;
use crate::protocol::{Operation, Page};
use crate::row::Work;
use crate::side::Side;

/// Files that a round of deletions finds; the round ends when they are gone.
const DELETABLE: usize = 2_000;

/// One request, and what it counts.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) operation: Operation,
    /// `None`: the bytes that went through.
    units: Option<f64>,
    writes: bool,
}

impl Step {
    pub(super) fn units(&self, bytes: u64) -> f64 {
        self.units.unwrap_or_else(|| as_f64(bytes))
    }

    pub(super) fn written(&self, bytes: u64) -> f64 {
        if self.writes { as_f64(bytes) } else { 0.0 }
    }

    fn counting(operation: Operation, units: f64) -> Self {
        Self { writes: matches!(operation, Operation::Put(..)), operation, units: Some(units) }
    }

    /// Counts bytes if files are large, else requests.
    fn of_content(operation: Operation, size: u64) -> Self {
        let step = Self::counting(operation, 1.0);
        if size >= 1 << 20 { Self { units: None, ..step } } else { step }
    }
}

/// The requests of one round.
#[derive(Debug)]
pub(super) struct Steps {
    work: Work,
    clients: usize,
    folder: String,
    set: Vec<Known>,
    /// Of a folder that has changed since, or the begin of the change feed.
    instant: String,
}

/// Where one client is.
#[derive(Debug)]
pub(super) struct ClientState {
    client: usize,
    count: usize,
    random: SmallRng,
}

impl Steps {
    pub(super) fn new(work: Work, clients: usize, folder: String, data: &Data) -> Self {
        let set = match work {
            Work::Get { size, .. } | Work::Range { size, .. } | Work::Copy(size) | Work::Mixed(size) => data.set(size),
            Work::Stat => data.set(4 << 10),
            _none => Vec::new(),
        };
        let instant = match work {
            Work::ListAt { entries, changed, .. } => data.instant(entries, changed),
            Work::Changes(_) => data.feed(),
            _none => String::new(),
        };
        Self { work, clients, folder, set, instant }
    }

    pub(super) fn clients(&self) -> usize {
        self.clients
    }

    pub(super) fn client(&self, client: usize) -> ClientState {
        let seed = u64::try_from(client).unwrap_or(0);
        ClientState { client, count: 0, random: SmallRng::seed_from_u64(seed) }
    }

    /// Makes what only this round uses.
    pub(super) async fn set_up(&self, side: &Side) -> Result<(), Fault> {
        let makes_names = !matches!(
            self.work,
            Work::Get { .. }
                | Work::Range { .. }
                | Work::Stat
                | Work::List { .. }
                | Work::ListAt { .. }
                | Work::Versions
                | Work::Changes(_)
        );
        if makes_names {
            make_folders(side, vec![self.folder.clone()]).await?;
        }
        match self.work {
            Work::RenameFile => make_files(side, (0..self.clients).map(|client| self.renamed(client, 0)).collect()).await,
            Work::Delete => make_files(side, (0..DELETABLE).map(|file| self.deletable(file)).collect()).await,
            _nothing_more => Ok(()),
        }
    }

    /// Puts back what the round has moved away by its last request.
    pub(super) async fn tear_down(&self, side: &Side, requests: u64) -> Result<(), Fault> {
        match self.work {
            Work::RenameFolder { entries } if requests % 2 == 1 => {
                side.speaker.perform(&mut side.connection(0), &Operation::Rename(self.away(), folder_of(entries))).await.map(|_bytes| ())
            }
            _nothing => Ok(()),
        }
    }

    fn away(&self) -> String {
        format!("{}/moved", self.folder)
    }

    fn renamed(&self, client: usize, count: usize) -> String {
        format!("{}/c{client}-{}", self.folder, ["a", "b"][count % 2])
    }

    fn deletable(&self, file: usize) -> String {
        format!("{}/f{file}", self.folder)
    }

    /// The next request of a client; `None` when there is nothing left.
    pub(super) fn next(&self, state: &mut ClientState) -> Option<Step> {
        let (client, count) = (state.client, state.count);
        state.count += 1;
        let fresh = |suffix: &str| format!("{}/c{client}-{count}{suffix}", self.folder);
        let step = match self.work {
            Work::Put(size) => Step::of_content(Operation::Put(fresh(""), content(size)), size),
            Work::Get { size, cold } => {
                let place = if cold { count * self.clients + client } else { state.random.random_range(0..self.set.len().max(1)) };
                let (name, content) = self.set.get(place)?.clone();
                Step::of_content(Operation::Get(name, content, None), size)
            }
            Work::Range { size, length } => {
                let (name, content) = self.any(state)?;
                let offset = state.random.random_range(0..size / length) * length;
                Step { units: None, ..Step::counting(Operation::Get(name, content, Some((offset, length))), 1.0) }
            }
            Work::CreateFiles(many) => {
                let names = (0..many).map(|index| fresh(&format!("-{index}"))).collect();
                Step::counting(Operation::CreateFiles(names), as_f64(u64::try_from(many).ok()?))
            }
            Work::CreateFolder => Step::counting(Operation::CreateFolders(vec![fresh("")]), 1.0),
            Work::Stat => Step::counting(Operation::Stat(self.any(state)?.0), 1.0),
            Work::List { entries, page } => {
                let offset = state.random.random_range(0..entries / page) * page;
                Step::counting(Operation::List(folder_of(entries), Page { offset, limit: page }), as_f64(page))
            }
            Work::Batch(many) => {
                let files = (0..many).map(|index| (fresh(&format!("-{index}")), "a few bytes".to_owned())).collect();
                Step::counting(Operation::Batch(files), as_f64(u64::try_from(many).ok()?))
            }
            Work::ListAt { entries, page, changed } => {
                let offset = state.random.random_range(0..entries / page) * page;
                let page_asked = Page { offset, limit: page };
                Step::counting(Operation::ListAt(changed_folder(entries, changed), page_asked, self.instant.clone()), as_f64(page))
            }
            Work::Versions => Step::counting(Operation::Versions(VERSIONED.to_owned(), VERSIONS), 1.0),
            Work::Changes(page) => Step::counting(Operation::Changes(self.instant.clone(), page), as_f64(page)),
            Work::RenameFile => {
                let names = (self.renamed(client, count), self.renamed(client, count + 1));
                Step::counting(Operation::Rename(names.0, names.1), 1.0)
            }
            Work::RenameFolder { entries } => {
                let (there, away) = (folder_of(entries), self.away());
                let (from, to) = if count.is_multiple_of(2) { (there, away) } else { (away, there) };
                Step::counting(Operation::Rename(from, to), 1.0)
            }
            Work::Delete => {
                let file = count * self.clients + client;
                (file < DELETABLE).then(|| Step::counting(Operation::Delete(self.deletable(file)), 1.0))?
            }
            Work::Copy(_) => Step::counting(Operation::Copy(self.any(state)?.0, fresh("")), 1.0),
            Work::Mixed(size) => self.mixed(state, fresh(""), size)?,
            Work::IdleMemory | Work::LoadedMemory | Work::TakeOver | Work::Restart | Work::Restore { .. } => return None,
        };
        Some(step)
    }

    fn mixed(&self, state: &mut ClientState, fresh: String, size: u64) -> Option<Step> {
        let operation = match state.random.random_range(0..10) {
            0..7 => {
                let (name, content) = self.any(state)?;
                Operation::Get(name, content, None)
            }
            7..9 => Operation::Put(fresh, content(size)),
            _rest => Operation::Stat(self.any(state)?.0),
        };
        Some(Step::counting(operation, 1.0))
    }

    fn any(&self, state: &mut ClientState) -> Option<Known> {
        self.set.get(state.random.random_range(0..self.set.len().max(1))).cloned()
    }
}

/// Whether a side's protocol has the requests of some work.
pub(super) fn can(side: &Side, work: Work) -> bool {
    let name = || "a".to_owned();
    let one = match work {
        Work::CreateFiles(many) => Operation::CreateFiles(vec![name(); many]),
        Work::CreateFolder => Operation::CreateFolders(vec![name()]),
        Work::List { .. } => Operation::List(name(), Page { offset: 0, limit: 1 }),
        Work::ListAt { .. } => Operation::ListAt(name(), Page { offset: 0, limit: 1 }, name()),
        Work::Batch(_) => Operation::Batch(Vec::new()),
        Work::Versions => Operation::Versions(name(), 1),
        Work::Changes(_) => Operation::Changes(name(), 1),
        Work::RenameFile | Work::RenameFolder { .. } => Operation::Rename(name(), name()),
        Work::Copy(_) => Operation::Copy(name(), name()),
        _of_files => return true,
    };
    side.speaker.can(&one)
}

fn content(length: u64) -> Content {
    Content { seed: fresh_seed(), length }
}
