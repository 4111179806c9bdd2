//! Files and folders that rows read: made once for each side of a cluster, before the row that needs them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::try_join_all;

use crate::content::Content;
use crate::fault::Fault;
use crate::protocol::{Operation, Protocol};
use crate::row::{Row, Work};
use crate::side::Side;

/// Clients that prepare.
const CLIENTS: usize = 24;
/// So much of each size is read in turn.
const SET_BYTES: u64 = 128 << 20;
const SET_FILES_MAX: u64 = 2_000;
/// Sets of files that 16 clients read at once have as many.
const SET_FILES_MIN: u64 = 16;
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
    /// Folders of so many files of which so many percent have changed since an instant.
    changed: BTreeMap<(u64, u64), String>,
    /// A file with 20 versions is there.
    versioned: bool,
    /// The begin of the change feed.
    feed: Option<String>,
    rounds: u64,
}

impl Data {
    /// The name of the folder of the next round.
    pub(super) fn next_round(&mut self) -> String {
        self.rounds += 1;
        format!("round-{}", self.rounds)
    }

    /// The instant before a folder was changed.
    pub(super) fn instant(&self, entries: u64, changed: u64) -> String {
        self.changed.get(&(entries, changed)).cloned().unwrap_or_default()
    }

    /// The begin of the change feed.
    pub(super) fn feed(&self) -> String {
        self.feed.clone().unwrap_or_default()
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

/// The folder of which so many percent have changed.
pub(super) fn changed_folder(entries: u64, changed: u64) -> String {
    format!("changed-{changed}-of-{entries}")
}

/// The file with so many versions.
pub(super) const VERSIONED: &str = "versioned";
/// Its versions.
pub(super) const VERSIONS: u64 = 20;

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
        Work::List { entries, .. } | Work::RenameFolder { entries } => prepare_folder(side, entries, data).await,
        Work::ListAt { entries, changed, .. } => prepare_changed(side, (entries, changed), data).await,
        Work::Versions if !data.versioned => {
            data.versioned = true;
            all_in_order(side, (0..VERSIONS).map(|number| Operation::Batch(vec![(VERSIONED.to_owned(), number.to_string())])).collect())
                .await
        }
        Work::Changes(page) if data.feed.is_none() => prepare_feed(side, page, data).await,
        _makes_its_own => Ok(()),
    }
}

async fn prepare_set(side: &Side, size: u64, data: &mut Data) -> Result<(), Fault> {
    if data.sets.contains_key(&size) {
        return Ok(());
    }
    let count = if size >= 1 << 30 { 1 } else { (SET_BYTES / size).clamp(SET_FILES_MIN, SET_FILES_MAX) };
    let folder = format!("set-{size}");
    make_folders(side, vec![folder.clone()]).await?;
    let files: Vec<Known> =
        (0..count).map(|index| (format!("{folder}/f{index:07}"), Content { seed: fresh_seed(), length: size })).collect();
    let puts = files.iter().map(|(name, content)| Operation::Put(name.clone(), *content)).collect();
    all(side, puts).await?;
    data.sets.insert(size, files);
    Ok(())
}

async fn prepare_folder(side: &Side, entries: u64, data: &mut Data) -> Result<(), Fault> {
    if data.folders.insert(entries) && !matches!(side.speaker.protocol(), Protocol::Limit) {
        let folder = folder_of(entries);
        make_folders(side, vec![folder.clone()]).await?;
        make_files(side, (0..entries).map(|index| format!("{folder}/f{index:07}")).collect()).await?;
    }
    Ok(())
}

/// Files of one batch.
const BATCH: usize = 2_000;

/// Writes the files of a folder, in batches.
pub(crate) async fn write_files(side: &Side, folder: &str, numbers: Vec<u64>, text: &str) -> Result<(), Fault> {
    let file = |number: &u64| (format!("{folder}/f{number:07}"), text.to_owned());
    all_in_order(side, numbers.chunks(BATCH).map(|numbers| Operation::Batch(numbers.iter().map(file).collect())).collect()).await
}

async fn prepare_changed(side: &Side, (entries, changed): (u64, u64), data: &mut Data) -> Result<(), Fault> {
    if data.changed.contains_key(&(entries, changed)) {
        return Ok(());
    }
    let folder = changed_folder(entries, changed);
    if matches!(side.speaker.protocol(), Protocol::Limit) {
        data.changed.insert((entries, changed), String::new());
        return Ok(());
    }
    make_folders(side, vec![folder.clone()]).await?;
    write_files(side, &folder, (0..entries).collect(), "before").await?;
    data.changed.insert((entries, changed), instant_now().await);
    let all: Vec<u64> = (0..entries).collect();
    if changed < 100 {
        return write_files(side, &folder, all.into_iter().filter(|number| number % 100 < changed).collect(), "after").await;
    }
    for version in 0..VERSIONS {
        write_files(side, &folder, all.clone(), &version.to_string()).await?;
    }
    let half: Vec<String> = all.iter().filter(|number| *number % 2 == 0).map(|number| format!("{folder}/f{number:07}")).collect();
    all_in_order(side, half.chunks(BATCH).map(|names| Operation::BatchDelete(names.to_vec())).collect()).await
}

/// Now, with a gap on both sides that no clock of this machine closes.
pub(crate) async fn instant_now() -> String {
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    format!("{}.{:06}", now.as_secs(), now.subsec_micros())
}

async fn prepare_feed(side: &Side, page: u64, data: &mut Data) -> Result<(), Fault> {
    if matches!(side.speaker.protocol(), Protocol::Limit) {
        data.feed = Some(String::new());
        return Ok(());
    }
    let told = side.get(0, &crate::protocol::skep::changes()).await?;
    let told: serde_json::Value = serde_json::from_str(&told).map_err(|error| Fault::new(format!("the change feed: {error}: {told}")))?;
    data.feed = told["Position"].as_str().map(str::to_owned);
    make_folders(side, vec!["feed".to_owned()]).await?;
    write_files(side, "feed", (0..page).collect(), "told").await
}

/// Carries out operations one after the other.
async fn all_in_order(side: &Side, operations: Vec<Operation>) -> Result<(), Fault> {
    let mut connection = side.connection(0);
    for operation in operations {
        side.speaker.perform(&mut connection, &operation).await.map_err(|fault| fault.at("while preparing"))?;
    }
    Ok(())
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
