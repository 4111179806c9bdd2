//! All rows, and which of them a run measures.

use super::{Across, Aim, Family, Row, Setting, Work};
use crate::fault::Fault;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const SIZES: [u64; 4] = [4 * KIB, 16 * KIB, 100 * KIB, MIB];
const CLIENTS: [usize; 4] = [1, 16, 64, 256];
/// Folders that are listed as they were: how many entries, and how many in a hundred have changed since. A folder of which all have takes 21 times its entries to make.
const PAST_FOLDERS: [(u64, u64); 7] = [(10_000, 0), (10_000, 5), (2_000, 100), (10_000, 100), (100_000, 0), (100_000, 5), (100_000, 100)];
/// Entries of the largest folder.
const MANY: u64 = 1_000_000;
/// Large files: how many bytes, by how many clients.
const LARGE: [(u64, usize); 2] = [(GIB, 1), (64 * MIB, 16)];

const fn setting(nodes: usize, one_dead: bool) -> Setting {
    Setting { nodes, one_dead }
}

const SETTINGS: [Setting; 5] = [setting(3, false), setting(3, true), setting(1, false), setting(6, false), setting(6, true)];

/// What the default run measures where it does not measure everything; the setting's name and the rest of the row's.
const DEFAULT_ELSEWHERE: [(&str, &[&str]); 4] = [
    ("3n-1", &["put/4k/c64", "get/4k/c64", "put/1m/c16", "get/1m/c16", "put-if/16k/c16", "feed/4k/c1", "mixed/16k/c64"]),
    ("1n", &["put/4k/c64", "get/4k/c64", "put/64m/c16", "get/64m/c16"]),
    ("6n", &["put/4k/c64", "get/4k/c64", "put/64m/c16", "get/64m/c16"]),
    ("6n-1", &[]),
];
/// What it leaves out on three nodes.
const LEFT_OUT: [&str; 26] = [
    "put/4k/c16",
    "get/4k/c16",
    "put/16k/c1",
    "get/16k/c1",
    "put/16k/c16",
    "get/16k/c16",
    "put/16k/c256",
    "get/16k/c256",
    "put/100k/c1",
    "get/100k/c1",
    "put/100k/c16",
    "get/100k/c16",
    "put/100k/c256",
    "get/100k/c256",
    "put/1m/c1",
    "get/1m/c1",
    "put/1m/c64",
    "get/1m/c64",
    "put/1m/c256",
    "get/1m/c256",
    "cold-get/16k/c16",
    "cold-get/1m/c16",
    "cold-get/64m/c16",
    "range/4k-of-64m/c16",
    "feed/4k/c16",
    "move-across/64m/c1",
];

/// Every row there is; those of one setting stand together.
pub fn all() -> Vec<Row> {
    let mut rows = Vec::new();
    for setting in SETTINGS {
        rows.extend(of_setting(setting));
    }
    rows
}

fn of_setting(setting: Setting) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut row = |family, work, clients, aim| {
        let mut row = Row { setting, family, work, clients, aim, is_long: false };
        row.is_long = is_long(&row);
        rows.push(row);
    };
    if setting.one_dead {
        row(Family::Node, Work::TakeOver, 1, Some(Aim::Below(10.0)));
    } else {
        row(Family::Node, Work::IdleMemory, 1, Some(Aim::Below(64.0 * 1_048_576.0)));
    }
    for size in SIZES {
        for clients in CLIENTS {
            row(Family::Put, Work::Put(size), clients, put_aim(setting, size, clients));
        }
        for clients in CLIENTS {
            row(Family::Get, Work::Get { size, cold: false }, clients, get_aim(setting, size, clients));
        }
        row(Family::Parts, Work::Get { size, cold: true }, 16, None);
    }
    for work in [Work::Range { size: 64 * MIB, length: 64 * KIB }, Work::Range { size: 64 * MIB, length: 4 * KIB }] {
        row(Family::Parts, work, 16, None);
    }
    row(Family::Tree, Work::CreateFiles(1), 64, aim_on_three(setting, Aim::RateAtLeast(5_000.0)));
    row(Family::Tree, Work::CreateFiles(100), 16, aim_on_three(setting, Aim::RateAtLeast(20_000.0)));
    row(Family::Tree, Work::CreateFolder, 64, aim_on_three(setting, Aim::PerLogSyncAbove(8.0)));
    row(Family::Tree, Work::Stat, 1, None);
    row(Family::Tree, Work::Stat, 64, aim_on_three(setting, Aim::RateAtLeast(15_000.0)));
    for (work, clients, aim) in folder_of(10_000, setting) {
        row(Family::Tree, work, clients, aim);
    }
    row(Family::Tree, Work::RenameFile, 16, None);
    row(Family::Tree, Work::Delete, 16, None);
    row(Family::Tree, Work::Copy(16 * KIB), 16, None);
    for (work, clients, aim) in history(setting) {
        row(Family::History, work, clients, aim);
    }
    row(Family::Mixed, Work::Mixed(16 * KIB), 64, None);
    for (size, clients) in LARGE {
        row(Family::Large, Work::Put(size), clients, Some(Aim::PercentOfLimit(50.0)));
        row(Family::Large, Work::Get { size, cold: false }, clients, Some(Aim::PercentOfLimit(50.0)));
    }
    row(Family::Parts, Work::Get { size: 64 * MIB, cold: true }, 16, None);
    if !setting.one_dead {
        // So late because what it has written is still being compacted after it.
        row(Family::History, Work::Restore { entries: 10_000 }, 1, None);
        row(Family::History, Work::Restore { entries: 100_000 }, 1, aim_on_three(setting, Aim::Below(5.0)));
    }
    if !setting.one_dead {
        row(Family::Node, Work::MemoryWith { entries: MANY }, 1, Some(Aim::Below(1_024.0 * 1_048_576.0)));
    }
    for (work, clients, aim) in folder_of(MANY, setting) {
        row(Family::Tree, work, clients, aim);
    }
    // What comes after a node was started again would begin with another one dead, and of the limit with two.
    if setting.one_dead {
        row(Family::Node, Work::Restart { entries: 0 }, 1, Some(Aim::Below(10.0)));
    } else {
        if setting.nodes > 1 {
            row(Family::Node, Work::Restart { entries: MANY }, 1, Some(Aim::Below(10.0)));
        }
        row(Family::Node, Work::LoadedMemory, 1, Some(Aim::Below(512.0 * 1_048_576.0)));
    }
    rows
}

/// What is asked of a folder of so many entries.
fn folder_of(entries: u64, setting: Setting) -> [(Work, usize, Option<Aim>); 2] {
    let list = Work::List { entries, page: 1_000 };
    [(list, 16, aim_on_three(setting, Aim::RateAtLeast(200_000.0))), (Work::RenameFolder { entries }, 1, Some(Aim::P99Below(10.0)))]
}

/// What was, many changes at once, and who meets whom.
fn history(setting: Setting) -> Vec<(Work, usize, Option<Aim>)> {
    let mut rows = vec![
        (Work::PutIf(16 * KIB), 16, None),
        (Work::LockedPut(4 * KIB), 16, None),
        (Work::SetTag, 16, None),
        (Work::FindTag, 16, None),
        (Work::Recycle, 16, None),
        (Work::Revert, 16, None),
        (Work::Versions, 16, None),
        (Work::StatAt, 64, None),
        (Work::GetAt(16 * KIB), 64, None),
    ];
    for (entries, changed) in PAST_FOLDERS {
        let aim = (changed == 5).then_some(Aim::TimesOfBase(1.5));
        rows.push((Work::ListAt { entries, page: 1_000, changed }, 16, aim));
    }
    rows.extend([(Work::Batch(1_000), 4, None), (Work::Changes(1_000), 16, None)]);
    if setting.nodes > 1 {
        rows.push((Work::Feed(4 * KIB), 1, None));
        rows.push((Work::Feed(4 * KIB), 16, None));
    }
    for what in [Across { files: 200, size: 4 * KIB }, Across { files: 1, size: 64 * MIB }] {
        rows.push((Work::CopyAcross(what), 1, None));
        rows.push((Work::MoveAcross(what), 1, None));
    }
    // At the end, for it leaves a workspace more.
    rows.push((Work::PutInQuota(4 * KIB), 64, None));
    rows
}

fn is_long(row: &Row) -> bool {
    let id = row.id();
    let (setting, rest) = id.split_once('/').unwrap_or_default();
    let is_rare = match row.work {
        Work::ListAt { entries, changed, .. } => entries >= 100_000 || (changed == 100 && entries >= 10_000),
        Work::Restore { entries } => entries < 100_000,
        _usual => false,
    };
    match DEFAULT_ELSEWHERE.iter().find(|(name, _)| *name == setting) {
        Some((_, wanted)) => is_rare || !(wanted.contains(&rest) || (setting == "3n-1" && row.family == Family::Node)),
        None => is_rare || LEFT_OUT.contains(&rest),
    }
}

/// Aims in requests a second are those of three whole nodes.
fn aim_on_three(setting: Setting, aim: Aim) -> Option<Aim> {
    (setting == SETTINGS[0]).then_some(aim)
}

fn put_aim(setting: Setting, size: u64, clients: usize) -> Option<Aim> {
    match (size, clients) {
        (4096, 64) => aim_on_three(setting, Aim::RateAtLeast(3_000.0)),
        (16_384, 64) => aim_on_three(setting, Aim::RateAtLeast(2_000.0)),
        _no_aim => None,
    }
}

fn get_aim(setting: Setting, size: u64, clients: usize) -> Option<Aim> {
    if (size, clients) == (4096, 64) { aim_on_three(setting, Aim::RateAtLeast(10_000.0)) } else { None }
}

/// The rows of a run: those that a filter names, else all or the default ones.
///
/// A filter is a list of words with commas between; a word names every row whose name contains it.
///
/// # Errors
/// If a word names no row.
pub fn select(rows: Vec<Row>, filter: Option<&str>, long: bool) -> Result<Vec<Row>, Fault> {
    let Some(filter) = filter else {
        return Ok(rows.into_iter().filter(|row| long || !row.is_long).collect());
    };
    let words: Vec<&str> = filter.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
    for word in &words {
        if !rows.iter().any(|row| row.id().contains(word)) {
            return Err(Fault::new(format!("no row is called like `{word}`")).advise("`cargo xtask bench --list` names them all"));
        }
    }
    let named =
        |row: &Row| words.iter().any(|word| row.id().contains(word)) && (long || !row.is_long || words.contains(&row.id().as_str()));
    let selected: Vec<Row> = rows.iter().filter(|row| named(row)).cloned().collect();
    // A word that names only long rows means them.
    if selected.is_empty() {
        Ok(rows.into_iter().filter(|row| words.iter().any(|word| row.id().contains(word))).collect())
    } else {
        Ok(selected)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{DEFAULT_ELSEWHERE, LEFT_OUT, SETTINGS, all, select};

    fn ids(filter: Option<&str>, long: bool) -> Vec<String> {
        select(all(), filter, long).unwrap().iter().map(super::Row::id).collect()
    }

    #[test]
    fn names_are_unique_and_settings_stand_together() {
        let names = ids(None, true);
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        let mut settings: Vec<String> = names.iter().map(|name| name.split('/').next().unwrap().to_owned()).collect();
        settings.dedup();
        assert_eq!(settings, ["3n", "3n-1", "1n", "6n", "6n-1"]);
        for setting in ["3n-1/", "6n-1/"] {
            let last = names.iter().rfind(|name| name.starts_with(setting)).unwrap();
            assert!(last.ends_with("recovery/restart"), "{last} would run with a second node dead");
        }
    }

    #[test]
    fn the_lists_of_the_default_run_name_rows_that_are_there() {
        let names: BTreeSet<String> = ids(None, true).into_iter().collect();
        for rest in LEFT_OUT {
            assert!(names.contains(&format!("3n/{rest}")), "{rest}");
        }
        for (setting, wanted) in DEFAULT_ELSEWHERE {
            assert!(wanted.iter().all(|rest| names.contains(&format!("{setting}/{rest}"))), "{setting}");
        }
    }

    #[test]
    fn the_default_run_has_every_kind_of_request_and_every_aim() {
        let names = ids(None, false);
        for part in [
            "3n/put/4k/c64",
            "get/1g",
            "range/",
            "cold-get/",
            "create/100",
            "stat",
            "list/",
            "rename/folder",
            "delete",
            "copy",
            "mixed",
            "list-at/",
            "restore/",
            "batch/",
            "put-if/",
            "lock-put-unlock/",
            "put-in-quota/",
            "tag/set",
            "tag/find",
            "feed/",
            "copy-across/64m",
            "copy-across/200-files",
            "move-across/",
            "recycle-restore",
            "revert",
            "versions/",
            "stat-at",
            "get-at/",
            "of-2000-changed-100",
        ] {
            assert!(names.iter().any(|name| name.contains(part)), "{part}");
        }
        let judged = all().into_iter().filter(|row| row.setting == SETTINGS[0] && row.aim.is_some());
        let left_out: Vec<String> = judged.map(|row| row.id()).filter(|id| !names.contains(id)).collect();
        assert_eq!(left_out, ["3n/list-at/1000-of-100000-changed-5/c16"], "of three nodes, these would not be judged");
        assert!(names.contains(&"3n-1/recovery/restart".to_owned()) && names.contains(&"6n/put/4k/c64".to_owned()));
        assert!(names.len() < 74, "{} rows take more than a quarter of an hour", names.len());
    }

    #[test]
    fn filters_name_rows() {
        assert_eq!(ids(Some("3n/put/4k/c64"), false), ["3n/put/4k/c64"]);
        assert_eq!(ids(Some("3n/put/4k/c16,3n/stat/c1"), false), ["3n/put/4k/c16", "3n/stat/c1"], "a long row named whole is meant");
        assert_eq!(ids(Some("3n/list/1000-of-1000000"), false), ["3n/list/1000-of-1000000/c16"]);
        assert!(select(all(), Some("nothing-like-it"), false).unwrap_err().to_string().contains("--list"));
    }
}
