//! Golden scripts: `> command` lines with what they print. `UPDATE_GOLDEN=1` writes what is printed now.

use super::group::{Group, id, path};
use super::script_past;
use prost::Message;
use skep_raft::keys::{GoneKey, HistoryKey, StateKey};
use skep_raft::wire::meta::v1::{
    CopyEntry, CreateFolder, DeleteEntry, Done, Entry, EntryKind, HistoryRecord, ListQuery, MoveEntry, Precondition, PutFile, Rejection,
    RejectionCode, SetMeta, SetTimes, StatQuery, VersionsQuery, answer, new_content, query, tree_command,
};
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

#[test]
fn scripts_print_what_they_printed() {
    replay("state", Group::datasource, |group, command| {
        let printed = run(group, command);
        group.check();
        printed
    });
}

/// Plays all scripts of a folder, each on a group of its own, and compares what they print.
pub(crate) fn replay(folder: &str, group: impl Fn() -> Group, run: impl Fn(&mut Group, &str) -> String) {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testscripts").join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(&dir).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "no scripts in {}", dir.display());
    for file in files {
        let script = fs::read_to_string(&file).unwrap();
        let printed = play(&script, &mut group(), &run);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&file, printed).unwrap();
        } else {
            assert_eq!(printed, script, "{}: run with UPDATE_GOLDEN=1 if this is right", file.display());
        }
    }
}

/// The script with what its commands print.
fn play(script: &str, group: &mut Group, run: impl Fn(&mut Group, &str) -> String) -> String {
    let mut printed = String::new();
    for line in script.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            writeln!(printed, "{line}").unwrap();
            printed.push_str(&run(group, command));
        } else if line.is_empty() || line.starts_with('#') {
            writeln!(printed, "{line}").unwrap();
        }
    }
    printed
}

/// What follows a command's name: words without a value, and `name=value`.
pub(crate) struct Words<'a> {
    words: Vec<&'a str>,
}

impl<'a> Words<'a> {
    pub(crate) fn of(words: impl Iterator<Item = &'a str>) -> Self {
        Self { words: words.collect() }
    }

    pub(crate) fn has(&self, word: &str) -> bool {
        self.words.contains(&word)
    }

    pub(crate) fn value(&self, name: &str) -> Option<&'a str> {
        self.words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }

    /// The number of `name=number`; 0 if it is not there.
    pub(crate) fn valued(&self, name: &str) -> u64 {
        self.value(name).map_or(0, |value| value.parse().unwrap())
    }

    /// The word at a place; empty behind the last.
    pub(crate) fn word(&self, place: usize) -> &'a str {
        self.words.get(place).copied().unwrap_or("")
    }

    pub(crate) fn number(&self, place: usize) -> u64 {
        self.word(place).parse().unwrap_or_else(|_| panic!("no number at place {place} of {:?}", self.words))
    }

    pub(crate) fn condition(&self) -> Option<Precondition> {
        let list = |name| self.value(name).map(|value| value.split(',').map(str::to_owned).collect()).unwrap_or_default();
        Some(Precondition {
            must_exist: self.has("exists"),
            must_not_exist: self.has("new"),
            etags_any: list("if"),
            etags_none: list("unless"),
            unmodified_since: self.valued("unmodified"),
            fence: self.valued("fence"),
        })
    }
}

fn run(group: &mut Group, command: &str) -> String {
    let mut words = command.split_whitespace();
    let verb = words.next().unwrap();
    let words = Words::of(words);
    match verb {
        "ls" => list(group, words.word(0), &words),
        "stat" => stat(group, words.word(0), 0),
        "versions" => versions(group, words.word(0)),
        "history" => history(group),
        "totals" => totals(group),
        "clock" => {
            group.clock = words.number(0);
            String::new()
        }
        _ => script_past::run(group, verb, &words, command).unwrap_or_else(|| {
            let what = change(group, command);
            outcome(group.tree(what))
        }),
    }
}

/// The change of a tree that a line asks for.
pub(crate) fn change(group: &mut Group, line: &str) -> tree_command::What {
    let mut words = line.split_whitespace();
    let (verb, words) = (words.next().unwrap(), Words::of(words));
    let (first, second) = (words.word(0), words.word(1));
    match verb {
        "put" => {
            let bytes = vec![b'x'; second.parse().unwrap()];
            let from = new_content::From::Inlined(bytes.clone().into());
            let put = super::group::put_of(first, group.id(), group.id(), bytes.len() as u64, from);
            let parents = (0..5).map(|_| group.id()).collect();
            let (condition, recursive, mtime) = (words.condition(), words.has("-p"), words.valued("mtime"));
            tree_command::What::PutFile(PutFile { condition, recursive, parents, mtime, ..put })
        }
        "mkdir" => tree_command::What::CreateFolder(CreateFolder {
            path: path(first),
            entry: group.id(),
            recursive: words.has("-p"),
            parents: (0..3).map(|_| group.id()).collect(),
            existing_ok: words.has("ok"),
            mtime: 0,
        }),
        "mv" => tree_command::What::MoveEntry(MoveEntry {
            from: path(first),
            to: path(second),
            overwrite: words.has("over"),
            condition: words.condition(),
            recycle_root: words.value("recycle").and_then(path),
            bin: group.id(),
            expected: words.value("expected").map_or_else(bytes::Bytes::new, |number| id(number.parse().unwrap())),
            restore: words.has("restore"),
            ..MoveEntry::default()
        }),
        "cp" => tree_command::What::CopyEntry(CopyEntry {
            from: path(first),
            to: path(second),
            overwrite: words.has("over"),
            shallow: words.has("shallow"),
            seed: group.id(),
            ..CopyEntry::default()
        }),
        "rm" => tree_command::What::DeleteEntry(DeleteEntry {
            path: path(first),
            permanently: words.has("forever"),
            recycle_root: path(words.value("root").unwrap_or("/")),
            bin: group.id(),
            recycle_note_json: format!("{{\"from\":\"{first}\"}}"),
            condition: words.condition(),
            recursive_forbidden: words.has("empty"),
        }),
        "note" => tree_command::What::SetMeta(SetMeta {
            path: path(first),
            namespace: second.to_owned(),
            json: words.word(2).to_owned(),
            ..SetMeta::default()
        }),
        "touch" => tree_command::What::SetTimes(SetTimes { path: path(first), mtime: second.parse().unwrap() }),
        other => script_past::change(group, other, &words),
    }
}

pub(crate) fn outcome(result: Result<Done, Rejection>) -> String {
    match result {
        Ok(done) => {
            let mut line = done.entry.as_ref().map_or_else(|| "done".to_owned(), show);
            if done.created {
                line.push_str(" created");
            }
            if done.count > 0 {
                write!(line, " count={}", done.count).unwrap();
            }
            if !done.final_path.is_empty() {
                write!(line, " at {:?}", done.final_path).unwrap();
            }
            line + "\n"
        }
        Err(rejection) => {
            let code = RejectionCode::try_from(rejection.code).unwrap().as_str_name().trim_start_matches("REJECTION_CODE_");
            format!("refused {code} at {}: {}\n", rejection.place, rejection.detail)
        }
    }
}

pub(crate) fn show(entry: &Entry) -> String {
    let number = entry.entry.last().copied().unwrap_or(0);
    let mut line = if entry.kind == i32::from(EntryKind::Folder) {
        let sums = entry.sums.unwrap_or_default();
        format!("folder {:?} {} bytes {} files {} folders", entry.name, sums.bytes, sums.files, sums.folders)
    } else {
        format!("file {:?} {} bytes version {}", entry.name, entry.size, entry.version_number)
    };
    // Ids of copies are hashes; the others count up.
    if entry.entry.iter().take(8).all(|byte| *byte == 0) {
        write!(line, " #{number}").unwrap();
    }
    write!(line, " changed={} mtime={} etag={}", entry.changed_at, entry.mtime, entry.etag).unwrap();
    for meta in &entry.meta {
        write!(line, " {}={}", meta.namespace, meta.json).unwrap();
    }
    line
}

pub(crate) fn list(group: &Group, folder: &str, words: &Words<'_>) -> String {
    let number = |name| u32::try_from(words.valued(name)).unwrap();
    let asked = ListQuery {
        path: path(folder),
        after: words.value("after").unwrap_or("").to_owned(),
        limit: number("limit"),
        skip: number("skip"),
        count_total: words.has("count"),
        at: words.valued("at"),
        ..ListQuery::default()
    };
    match group.query(query::What::List(asked)) {
        answer::What::List(page) => {
            let mut lines: String = page.entries.iter().map(|entry| format!("  {}\n", show(entry))).collect();
            if page.more {
                lines.push_str("  more\n");
            }
            if page.total > 0 {
                writeln!(lines, "  of {}", page.total).unwrap();
            }
            lines
        }
        other => format!("  {other:?}\n"),
    }
}

pub(crate) fn stat(group: &Group, at: &str, instant: u64) -> String {
    let asked = StatQuery { path: path(at), at: instant, ..StatQuery::default() };
    match group.query(query::What::Stat(StatQuery { with_meta: true, ..asked })) {
        answer::What::Entry(entry) => format!("  {}\n", show(&entry)),
        other => format!("  {other:?}\n"),
    }
}

fn versions(group: &Group, at: &str) -> String {
    match group.query(query::What::Versions(VersionsQuery { path: path(at), before: 0, limit: 0 })) {
        answer::What::Versions(page) => page
            .versions
            .iter()
            .map(|version| {
                let said = if version.description.is_empty() { String::new() } else { format!(", {:?}", version.description) };
                format!("  {} of {} bytes, content {}{said}\n", version.number, version.size, version.content)
            })
            .collect(),
        other => format!("  {other:?}\n"),
    }
}

/// What stood where, from the raw keys, and which names are gone.
fn history(group: &Group) -> String {
    let mut lines = String::new();
    for (_, key, value) in group.rows() {
        if let Ok(key) = HistoryKey::from_bytes(&key) {
            let record = HistoryRecord::decode(value.as_slice()).unwrap();
            let was = record.was.clone().unwrap();
            let why = record.why().as_str_name().trim_start_matches("CHANGE_").to_lowercase();
            let parent = key.parent.0[15];
            writeln!(lines, "  in #{parent} {:?} until {}: #{} of {} bytes, {why}", key.name.0, key.until.0, was.entry[15], was.size)
                .unwrap();
        } else if let Ok(key) = GoneKey::from_bytes(&key) {
            writeln!(lines, "  in #{} {:?} is gone", key.parent.0[15], key.name.0).unwrap();
        }
    }
    lines
}

fn totals(group: &Group) -> String {
    match group.query(query::What::Totals(Default::default())) {
        answer::What::Totals(totals) => format!(
            "  {} entries {} bytes {} versions {} unlinked bytes {} ever\n",
            totals.entries, totals.logical_bytes, totals.versions, totals.unlinked_bytes, totals.entries_ever
        ),
        other => format!("  {other:?}\n"),
    }
}
