//! Files and folders that rows read: made once for each side of a cluster, before the row that needs them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::try_join_all;

use super::history_data::{self, HistoryData};
use crate::content::Content;
use crate::fault::Fault;
use crate::protocol::{Operation, Page, Protocol, file_of};
use crate::row::{Row, Work};
use crate::side::Side;

/// Clients that prepare.
const CLIENTS: usize = 24;
/// So much of each size is read in turn.
const SET_BYTES: u64 = 128 << 20;
const SET_FILES_MAX: u64 = 2_000;
/// Sets of files that 16 clients read at once have as many.
const SET_FILES_MIN: u64 = 16;
/// Entries listed in one request.
const PAGE: u64 = 1_000;
/// Entries made in one request.
const ENTRIES_PER_REQUEST: usize = 100;

/// A file and what is in it.
pub(super) type Known = (String, Content);

/// What lies on one side.
#[derive(Debug, Default)]
pub struct Data {
    /// By size in bytes.
    sets: BTreeMap<u64, Vec<Known>>,
    /// Folders of so many empty files.
    folders: BTreeSet<u64>,
    pub(super) history: HistoryData,
    rounds: u64,
}

impl Data {
    /// The name of the folder of the next round.
    pub(super) fn next_round(&mut self) -> String {
        self.rounds += 1;
        format!("round-{}", self.rounds)
    }

    /// Files of a size; empty if none were prepared.
    pub(super) fn set(&self, size: u64) -> Vec<Known> {
        self.sets.get(&size).cloned().unwrap_or_default()
    }
}

/// The folder of so many empty files.
pub(super) fn folder_of(entries: u64) -> String {
    format!("folder-of-{entries}")
}

/// A seed that no other content of this process has.
pub(super) fn fresh_seed() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1_000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Makes what a row reads, unless it is there.
///
/// # Errors
/// The first request that failed.
pub async fn prepare(side: &Side, row: &Row, data: &mut Data) -> Result<(), Fault> {
    match row.work {
        Work::Get { size, .. } | Work::Range { size, .. } | Work::Copy(size) | Work::Mixed(size) => prepare_set(side, size, data).await,
        Work::Stat => prepare_set(side, 4 << 10, data).await,
        Work::List { entries, .. } | Work::RenameFolder { entries } | Work::MemoryWith { entries } => {
            prepare_folder(side, entries, data).await
        }
        Work::Restart { entries: 0 } => Ok(()),
        Work::Restart { entries } => prepare_folder(side, entries, data).await,
        _others => history_data::prepare(side, row.work, &mut data.history).await,
    }
}

async fn prepare_set(side: &Side, size: u64, data: &mut Data) -> Result<(), Fault> {
    if data.sets.contains_key(&size) {
        return Ok(());
    }
    let count = if size >= 1 << 30 { 1 } else { (SET_BYTES / size).clamp(SET_FILES_MIN, SET_FILES_MAX) };
    let files = write_set(side, &format!("set-{size}"), count, size).await?;
    data.sets.insert(size, files);
    Ok(())
}

/// Writes files of a size into a new folder.
pub(super) async fn write_set(side: &Side, folder: &str, count: u64, size: u64) -> Result<Vec<Known>, Fault> {
    make_folders(side, vec![folder.to_owned()]).await?;
    let content = || Content { seed: fresh_seed(), length: size };
    let files: Vec<Known> = (0..count).map(|number| (format!("{folder}/{}", file_of(number)), content())).collect();
    all(side, files.iter().map(|(name, content)| Operation::Put(name.clone(), *content)).collect()).await?;
    Ok(files)
}

async fn prepare_folder(side: &Side, entries: u64, data: &mut Data) -> Result<(), Fault> {
    if data.folders.insert(entries) && !matches!(side.speaker.protocol(), Protocol::Limit) {
        let folder = folder_of(entries);
        make_folders(side, vec![folder.clone()]).await?;
        make_files(side, (0..entries).map(|number| format!("{folder}/{}", file_of(number))).collect()).await?;
    }
    Ok(())
}

/// Lists a folder of so many files from its first page to its last.
///
/// # Errors
/// The first request that failed.
pub async fn list_whole(side: &Side, entries: u64) -> Result<(), Fault> {
    let page = |offset| Page { offset, limit: PAGE.min(entries - offset), step: 1 };
    let pages = (0..entries).step_by(usize::try_from(PAGE).unwrap_or(usize::MAX));
    all(side, pages.map(|offset| Operation::List(folder_of(entries), page(offset))).collect()).await
}

/// Makes empty files.
pub(super) async fn make_files(side: &Side, names: Vec<String>) -> Result<(), Fault> {
    let takes_many = side.speaker.can(&Operation::CreateFiles(vec!["a".into(), "b".into()]));
    let each = if takes_many { ENTRIES_PER_REQUEST } else { 1 };
    all(side, names.chunks(each).map(|names| Operation::CreateFiles(names.to_vec())).collect()).await
}

/// Makes folders where the server has some.
pub(crate) async fn make_folders(side: &Side, names: Vec<String>) -> Result<(), Fault> {
    if !side.speaker.can(&Operation::CreateFolders(vec!["a".into()])) {
        return Ok(());
    }
    let takes_many = side.speaker.can(&Operation::CreateFolders(vec!["a".into(), "b".into()]));
    let each = if takes_many { ENTRIES_PER_REQUEST } else { 1 };
    all(side, names.chunks(each).map(|names| Operation::CreateFolders(names.to_vec())).collect()).await
}

/// Carries out operations by some clients at once, in no order.
pub(super) async fn all(side: &Side, operations: Vec<Operation>) -> Result<(), Fault> {
    let next = AtomicU64::new(0);
    let (next, operations) = (&next, &operations);
    let clients = (0..CLIENTS.min(operations.len())).map(|client| async move {
        let mut connection = side.connection(client);
        while let Some(operation) = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).ok().and_then(|place| operations.get(place)) {
            side.speaker.perform(&mut connection, operation).await.map_err(|fault| fault.at("while preparing"))?;
        }
        Ok::<_, Fault>(())
    });
    try_join_all(clients).await.map(|_done| ())
}
