//! What rows about the past, tags, quotas and other datasources read: made once for each side, before the row that needs it.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Value, json};

use super::data::{Known, all, fresh_seed, make_folders, write_set};
use crate::content::Content;
use crate::fault::Fault;
use crate::protocol::skep::{changes, space};
use crate::protocol::{Operation, PastFiles, Protocol, file_of};
use crate::row::{Across, Work};
use crate::side::Side;

/// The file with so many versions.
pub(super) const VERSIONED: &str = "versioned";
/// Its versions.
pub(super) const VERSIONS: u64 = 20;
/// Changes of one batch.
const BATCH: usize = 2_000;
/// Files that have changed since an instant, for rows that look at one by one.
const PAST_FILES: u64 = 500;
/// Bytes of those that are only looked at.
pub(super) const STAT_BYTES: u64 = 4 << 10;
/// Files with a tag each.
const TAGGED: usize = 500;
/// The workspace with a quota, and its folder.
pub(super) const QUOTA_SPACE: &str = "bench-quota";
pub(super) const QUOTA_FOLDER: &str = "with-quota";
/// Far from reached: an exbibyte, and as many entries as no run makes.
const QUOTA_BYTES: u64 = 1 << 60;
const QUOTA_ENTRIES: u64 = 1 << 40;
/// What the files of a folder that changes hold before.
const BEFORE: &str = "before";

/// What lies on one side.
#[derive(Debug, Default)]
pub(super) struct HistoryData {
    /// Folders of so many files of which so many percent have changed since an instant.
    changed: BTreeMap<(u64, u64), PastFiles>,
    /// By bytes: files as they were at an instant, and the instant.
    past: BTreeMap<u64, (Vec<Known>, PastFiles)>,
    /// A file with 20 versions is there.
    versioned: bool,
    /// The begin of the change feed.
    feed: Option<String>,
    /// Files and their tags.
    tagged: Vec<(String, String)>,
    /// The workspace with a quota is there.
    quota: bool,
    /// What goes to another datasource.
    across: BTreeMap<Across, Vec<Known>>,
}

impl HistoryData {
    /// The instant before a folder was changed.
    pub(super) fn folder_at(&self, entries: u64, changed: u64) -> PastFiles {
        self.changed.get(&(entries, changed)).cloned().unwrap_or_default()
    }

    /// Files of a size as they were at an instant.
    pub(super) fn files_at(&self, size: u64) -> (Vec<Known>, PastFiles) {
        self.past.get(&size).cloned().unwrap_or_default()
    }

    /// The begin of the change feed.
    pub(super) fn feed(&self) -> String {
        self.feed.clone().unwrap_or_default()
    }

    /// Files and their tags.
    pub(super) fn tagged(&self) -> Vec<(String, String)> {
        self.tagged.clone()
    }

    /// The files that go to another datasource.
    pub(super) fn across(&self, what: Across) -> Vec<Known> {
        self.across.get(&what).cloned().unwrap_or_default()
    }
}

/// The folder of which so many percent have changed.
pub(super) fn changed_folder(entries: u64, changed: u64) -> String {
    format!("changed-{changed}-of-{entries}")
}

/// How many names are left in it: half of them where all have changed.
pub(super) fn live_entries(entries: u64, changed: u64) -> u64 {
    if changed < 100 { entries } else { entries / 2 }
}

/// What goes to another datasource: its folder, or the one file.
pub(super) fn across_name(what: Across) -> String {
    format!("across-{what}")
}

/// Makes what some work reads, unless it is there.
pub(super) async fn prepare(side: &Side, work: Work, data: &mut HistoryData) -> Result<(), Fault> {
    match work {
        Work::ListAt { entries, changed, .. } | Work::ListNow { entries, changed, .. } => {
            prepare_changed(side, (entries, changed), data).await
        }
        Work::StatAt => prepare_past(side, STAT_BYTES, data).await,
        Work::GetAt(size) => prepare_past(side, size, data).await,
        Work::Versions if !data.versioned => {
            data.versioned = true;
            let version = |number: u64| Operation::Batch(vec![(VERSIONED.to_owned(), number.to_string())]);
            all_in_order(side, (0..VERSIONS).map(version).collect()).await
        }
        Work::Changes(page) if data.feed.is_none() => prepare_feed(side, page, data).await,
        Work::FindTag if data.tagged.is_empty() => prepare_tags(side, data).await,
        Work::PutInQuota(_) if !data.quota => {
            data.quota = true;
            prepare_quota(side).await
        }
        Work::CopyAcross(what) | Work::MoveAcross(what) => prepare_across(side, what, data).await,
        _makes_its_own => Ok(()),
    }
}

/// Writes the files of a folder, in batches.
pub(crate) async fn write_files(side: &Side, folder: &str, numbers: Vec<u64>, text: &str) -> Result<(), Fault> {
    let file = |number: &u64| (format!("{folder}/{}", file_of(*number)), text.to_owned());
    all_in_order(side, numbers.chunks(BATCH).map(|numbers| Operation::Batch(numbers.iter().map(file).collect())).collect()).await
}

async fn prepare_changed(side: &Side, (entries, changed): (u64, u64), data: &mut HistoryData) -> Result<(), Fault> {
    if data.changed.contains_key(&(entries, changed)) {
        return Ok(());
    }
    if matches!(side.speaker.protocol(), Protocol::Limit) {
        data.changed.insert((entries, changed), PastFiles::default());
        return Ok(());
    }
    let folder = changed_folder(entries, changed);
    make_folders(side, vec![folder.clone()]).await?;
    write_files(side, &folder, (0..entries).collect(), BEFORE).await?;
    let at = instant_now().await;
    data.changed.insert((entries, changed), PastFiles { at, length: u64::try_from(BEFORE.len()).unwrap_or(0) });
    let numbers: Vec<u64> = (0..entries).collect();
    if changed < 100 {
        return write_files(side, &folder, numbers.into_iter().filter(|number| number % 100 < changed).collect(), "since").await;
    }
    for version in 0..VERSIONS {
        write_files(side, &folder, numbers.clone(), &version.to_string()).await?;
    }
    let half: Vec<String> =
        numbers.iter().filter(|number| *number % 2 == 0).map(|number| format!("{folder}/{}", file_of(*number))).collect();
    all_in_order(side, half.chunks(BATCH).map(|names| Operation::BatchDelete(names.to_vec())).collect()).await
}

/// Now, with a gap on both sides that no clock of this machine closes.
pub(crate) async fn instant_now() -> String {
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    format!("{}.{:06}", now.as_secs(), now.subsec_micros())
}

/// Files that all have other bytes, and another number of them, since an instant. The limit program has them as they were.
async fn prepare_past(side: &Side, size: u64, data: &mut HistoryData) -> Result<(), Fault> {
    if data.past.contains_key(&size) {
        return Ok(());
    }
    let files = write_set(side, &format!("past-{size}"), PAST_FILES, size).await?;
    let at = instant_now().await;
    if matches!(side.speaker.protocol(), Protocol::Skep) {
        let since = || Content { seed: fresh_seed(), length: size - 1 };
        all(side, files.iter().map(|(name, _then)| Operation::Put(name.clone(), since())).collect()).await?;
    }
    data.past.insert(size, (files, PastFiles { at, length: size }));
    Ok(())
}

async fn prepare_feed(side: &Side, page: u64, data: &mut HistoryData) -> Result<(), Fault> {
    if matches!(side.speaker.protocol(), Protocol::Limit) {
        data.feed = Some(String::new());
        return Ok(());
    }
    let told = side.get(0, &changes()).await?;
    let told: Value = serde_json::from_str(&told).map_err(|error| Fault::new(format!("the change feed: {error}: {told}")))?;
    data.feed = told["Position"].as_str().map(str::to_owned);
    make_folders(side, vec!["feed".to_owned()]).await?;
    write_files(side, "feed", (0..page).collect(), "told").await
}

async fn prepare_tags(side: &Side, data: &mut HistoryData) -> Result<(), Fault> {
    let files = write_set(side, "tagged", u64::try_from(TAGGED).unwrap_or(0), 1).await?;
    data.tagged = files.into_iter().enumerate().map(|(number, (name, _content))| (name, format!("found-{number}"))).collect();
    all(side, data.tagged.iter().map(|(name, tag)| Operation::SetTag(name.clone(), tag.clone())).collect()).await
}

/// A workspace over a folder of the workspace that the bench writes to.
async fn prepare_quota(side: &Side) -> Result<(), Fault> {
    if !matches!(side.speaker.protocol(), Protocol::Skep) {
        return Ok(());
    }
    let spaces = side.send(Method::POST, "/a/workspace", &json!({})).await?;
    let own = spaces["Workspaces"].as_array().and_then(|all| all.iter().find(|one| one["Slug"] == space()));
    let root = own.and_then(|own| own["RootUUIDs"][0].as_str()?.strip_prefix("DATASOURCE:"));
    let root = root.ok_or_else(|| Fault::new(format!("the workspace {} names no datasource: {spaces}", space())))?;
    let attributes = json!({"QUOTA": QUOTA_BYTES.to_string(), "QUOTA_ENTRIES": QUOTA_ENTRIES.to_string(), "DEFAULT_RIGHTS": "rw"});
    let path = format!("{root}/{QUOTA_FOLDER}");
    let body = json!({"Label": QUOTA_SPACE, "Attributes": attributes.to_string(), "RootNodes": {"root": {"Path": path}}});
    side.send(Method::PUT, &format!("/a/workspace/{QUOTA_SPACE}"), &body).await.map(|_workspace| ())
}

async fn prepare_across(side: &Side, what: Across, data: &mut HistoryData) -> Result<(), Fault> {
    if data.across.contains_key(&what) {
        return Ok(());
    }
    let name = across_name(what);
    let files = if what.files > 1 {
        write_set(side, &name, what.files, what.size).await?
    } else {
        let content = Content { seed: fresh_seed(), length: what.size };
        all(side, vec![Operation::Put(name.clone(), content)]).await?;
        vec![(name, content)]
    };
    data.across.insert(what, files);
    Ok(())
}

/// Carries out operations one after the other.
async fn all_in_order(side: &Side, operations: Vec<Operation>) -> Result<(), Fault> {
    let mut connection = side.connection(0);
    for operation in operations {
        side.speaker.perform(&mut connection, &operation).await.map_err(|fault| fault.at("while preparing"))?;
    }
    Ok(())
}
