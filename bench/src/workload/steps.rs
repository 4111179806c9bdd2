//! What each client asks for next.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::as_f64;
use super::data::{Data, Known, folder_of, fresh_seed, make_files, make_folders};
use super::history_data::{QUOTA_FOLDER, QUOTA_SPACE, STAT_BYTES, VERSIONED, VERSIONS, changed_folder, live_entries};
use super::own_files::OwnFiles;
use crate::content::Content;
use crate::fault::Fault;
use crate::protocol::{Operation, Page, PastFiles, Protocol};
use crate::row::Work;
use crate::side::Side;

/// Files that a round of deletions finds; the round ends when they are gone.
const DELETABLE: usize = 2_000;

/// What is timed as one: a request, or several that belong together; and what they count.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) operations: Vec<Operation>,
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

    /// Several, in their order.
    pub(super) fn of(operations: Vec<Operation>, units: f64) -> Self {
        let is_put = |operation: &Operation| matches!(operation, Operation::Put(..) | Operation::PutIf(..) | Operation::PutLocked(..));
        Self { writes: operations.iter().any(is_put), operations, units: Some(units) }
    }

    /// One that counts one.
    pub(super) fn one(operation: Operation) -> Self {
        Self::counting(operation, 1.0)
    }

    fn counting(operation: Operation, units: f64) -> Self {
        Self::of(vec![operation], units)
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
    /// Before files changed.
    past: PastFiles,
    /// The begin of the change feed.
    feed: String,
    /// Files and their tags.
    tagged: Vec<(String, String)>,
    own: OwnFiles,
}

/// Where one client is.
#[derive(Debug)]
pub(super) struct ClientState {
    pub(super) client: usize,
    count: usize,
    random: SmallRng,
    /// What the last answer gave that the next request may send.
    pub(super) held: String,
    /// The client's own file as its last request left it.
    pub(super) left: Option<Known>,
}

impl Steps {
    pub(super) fn new(work: Work, clients: usize, folder: String, data: &Data) -> Self {
        let (set, past) = match work {
            Work::Get { size, .. } | Work::Range { size, .. } | Work::Copy(size) | Work::Mixed(size) => {
                (data.set(size), PastFiles::default())
            }
            Work::Stat => (data.set(4 << 10), PastFiles::default()),
            Work::StatAt => data.history.files_at(STAT_BYTES),
            Work::GetAt(size) => data.history.files_at(size),
            Work::ListAt { entries, changed, .. } => (Vec::new(), data.history.folder_at(entries, changed)),
            _none => Default::default(),
        };
        let feed = if let Work::Changes(_) = work { data.history.feed() } else { String::new() };
        let tagged = if work == Work::FindTag { data.history.tagged() } else { Vec::new() };
        Self { work, clients, folder, set, past, feed, tagged, own: OwnFiles::default() }
    }

    pub(super) fn clients(&self) -> usize {
        self.clients
    }

    /// Whether the page cache is to be dropped before.
    pub(super) fn are_cold(&self) -> bool {
        matches!(self.work, Work::Get { cold: true, .. })
    }

    pub(super) fn client(&self, client: usize) -> ClientState {
        let seed = u64::try_from(client).unwrap_or(0);
        ClientState { client, count: 0, random: SmallRng::seed_from_u64(seed), held: String::new(), left: None }
    }

    /// Makes what only this round uses.
    pub(super) async fn set_up(&mut self, side: &Side) -> Result<(), Fault> {
        let makes_names = !matches!(
            self.work,
            Work::Get { .. }
                | Work::Range { .. }
                | Work::Stat
                | Work::List { .. }
                | Work::ListAt { .. }
                | Work::ListNow { .. }
                | Work::StatAt
                | Work::GetAt(_)
                | Work::FindTag
                | Work::Versions
                | Work::Changes(_)
        );
        if matches!(self.work, Work::PutInQuota(_)) {
            return make_folders(side, vec![format!("{QUOTA_FOLDER}/{}", self.folder)]).await;
        }
        if makes_names {
            make_folders(side, vec![self.folder.clone()]).await?;
        }
        if OwnFiles::are_used_by(self.work) {
            self.own = OwnFiles::make(side, (self.work, self.clients), &self.folder).await?;
        }
        match self.work {
            Work::RenameFile => make_files(side, (0..self.clients).map(|client| self.renamed(client, 0)).collect()).await,
            Work::Delete => make_files(side, (0..DELETABLE).map(|file| self.deletable(file)).collect()).await,
            _nothing_more => Ok(()),
        }
    }

    /// Puts back what the round has moved away by its last request, and compares what clients have left.
    pub(super) async fn tear_down(&self, side: &Side, requests: u64, states: &[ClientState]) -> Result<(), Fault> {
        match self.work {
            work if OwnFiles::are_used_by(work) => self.own.compare(side, states).await,
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
            Work::Stat => Step::one(Operation::Stat(self.any(state)?.0)),
            Work::StatAt => Step::one(Operation::StatAt(self.any(state)?.0, self.past.clone())),
            Work::GetAt(size) => {
                let (name, content) = self.any(state)?;
                Step::of_content(Operation::GetAt(name, content, self.past.at.clone()), size)
            }
            Work::List { entries, page } => {
                Step::counting(Operation::List(folder_of(entries), any_page(state, entries, page)), as_f64(page))
            }
            Work::Batch(many) => {
                let files = (0..many).map(|index| (fresh(&format!("-{index}")), "a few bytes".to_owned())).collect();
                Step::counting(Operation::Batch(files), as_f64(u64::try_from(many).ok()?))
            }
            Work::ListAt { entries, page, changed } => {
                let operation = Operation::ListAt(changed_folder(entries, changed), any_page(state, entries, page), self.past.clone());
                Step::counting(operation, as_f64(page))
            }
            Work::ListNow { entries, page, changed } => {
                let live = live_entries(entries, changed);
                let asked = Page { step: entries / live, ..any_page(state, live, page) };
                Step::counting(Operation::List(changed_folder(entries, changed), asked), as_f64(page))
            }
            Work::Versions => Step::one(Operation::Versions(VERSIONED.to_owned(), VERSIONS)),
            Work::Changes(page) => Step::counting(Operation::Changes(self.feed.clone(), page), as_f64(page)),
            Work::PutInQuota(size) => Step::of_content(Operation::Put(format!("@{QUOTA_SPACE}/{}", fresh("")), content(size)), size),
            Work::FindTag => {
                let (name, tag) = self.tagged.get(state.random.random_range(0..self.tagged.len().max(1)))?.clone();
                Step::one(Operation::FindTag(tag, name))
            }
            work if OwnFiles::are_used_by(work) => self.own.next(work, state, count)?,
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
            _not_by_requests_alone => return None,
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

fn any_page(state: &mut ClientState, entries: u64, page: u64) -> Page {
    Page { offset: state.random.random_range(0..(entries / page).max(1)) * page, limit: page, step: 1 }
}

/// Whether a side's protocol has the requests of some work.
pub(super) fn can(side: &Side, work: Work) -> bool {
    let protocol = side.speaker.protocol();
    if !work.has_limit() {
        return matches!(protocol, Protocol::Skep);
    }
    let name = || "a".to_owned();
    let page = Page { offset: 0, limit: 1, step: 1 };
    let one = match work {
        Work::CreateFiles(many) => Operation::CreateFiles(vec![name(); many]),
        Work::CreateFolder => Operation::CreateFolders(vec![name()]),
        Work::List { .. } => Operation::List(name(), page),
        Work::ListAt { .. } => Operation::ListAt(name(), page, PastFiles::default()),
        Work::StatAt => Operation::StatAt(name(), PastFiles::default()),
        Work::GetAt(size) => Operation::GetAt(name(), content(size), name()),
        Work::PutIf(size) => Operation::PutIf(name(), content(size)),
        Work::LockedPut(_) => Operation::Lock(name()),
        // Quotas are set by no protocol of peers.
        Work::PutInQuota(_) => return matches!(protocol, Protocol::Skep | Protocol::Limit),
        Work::SetTag => Operation::SetTag(name(), name()),
        Work::FindTag => Operation::FindTag(name(), name()),
        Work::Recycle => Operation::Recycle(name()),
        Work::Revert => Operation::Revert { file: name(), version: name(), length: 0 },
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
