//! What scripts say about versions, the past, quotas, batches and upkeep.

use super::group::{Group, path, tree};
use super::pair::ask;
use super::script::{Words, change as change_of, list, outcome, show, stat};
use skep_raft::wire::meta::v1::{
    Absence, BatchStep, Command, ContentQuery, CurrentRecord, DeleteVersion, DescribeVersion, DiffQuery, Done, EmptyBins, HoldsStill,
    Idempotency, KeepPeriod, PruneHistory, PruneQuery, PruneVersions, QueuePruning, QuotaLimit, ReapEntries, SetDatasourceQuota, TreeBatch,
    UseVersion, VersioningPolicyRecord, VersionsQuery, answer, batch_step, query, tree_command,
};

/// Plays a line that is no single change of the tree.
pub(crate) fn run(group: &mut Group, verb: &str, words: &Words<'_>, line: &str) -> Option<String> {
    let seconds = || words.number(0);
    Some(match verb {
        "batch" => batch(group, line.strip_prefix("batch").unwrap()),
        "limited" => limited(group, words, line),
        "again" => again(group, words, line),
        "at" => at(group, words),
        "diff" => diff(group, words),
        "preview" => preview(group, words),
        "forget" => repeat(group, |_| tree_command::What::PruneHistory(PruneHistory { retention_seconds: seconds(), limit: 2 })),
        "reap" => repeat(group, |_| tree_command::What::ReapEntries(ReapEntries { policy: policy(words), limit: 2 })),
        "prune" => {
            let queued = QueuePruning { limit: 1_000, ..QueuePruning::default() };
            group.tree(tree_command::What::QueuePruning(queued)).unwrap();
            repeat(group, |_| tree_command::What::PruneVersions(PruneVersions { policy: policy(words), limit: 2 }))
        }
        "empty-bins" => {
            let (seconds, bytes) = (words.valued("seconds"), words.valued("bytes"));
            repeat(group, |after| tree_command::What::EmptyBins(EmptyBins { seconds, bytes, limit: 2, after }))
        }
        _ => return None,
    })
}

/// A change of a file's versions, or of the datasource's limits.
pub(crate) fn change(group: &mut Group, verb: &str, words: &Words<'_>) -> tree_command::What {
    let version = |group: &Group| {
        let asked = VersionsQuery { path: path(words.word(0)), before: 0, limit: 0 };
        let found = match group.query(query::What::Versions(asked)) {
            answer::What::Versions(page) => page.versions.into_iter().find(|version| version.number == words.number(1)),
            _ => None,
        };
        found.map_or_else(|| vec![9; 16].into(), |version| version.version)
    };
    match verb {
        "revert" => {
            let answer =
                group.query(query::What::Stat(skep_raft::wire::meta::v1::StatQuery { path: path(words.word(0)), ..Default::default() }));
            let answer::What::Entry(entry) = answer else { panic!("{} is not there", words.word(0)) };
            tree_command::What::UseVersion(UseVersion {
                path: path(words.value("to").unwrap_or_else(|| words.word(0))),
                entry: group.id(),
                version: group.id(),
                of_entry: entry.entry,
                of_version: version(group),
                condition: words.condition(),
                keep_mtime: words.has("keep"),
                mtime: words.valued("mtime"),
                ..UseVersion::default()
            })
        }
        "describe" => {
            let description = words.word(2).to_owned();
            tree_command::What::DescribeVersion(DescribeVersion { path: path(words.word(0)), version: version(group), description })
        }
        "drop" => tree_command::What::DeleteVersion(DeleteVersion { path: path(words.word(0)), version: version(group) }),
        "quota" => {
            let (stored_bytes_max, entries_max) = (words.valued("stored"), words.valued("entries"));
            tree_command::What::SetDatasourceQuota(SetDatasourceQuota { stored_bytes_max, entries_max })
        }
        other => panic!("no command {other:?}"),
    }
}

/// `batch CHANGE ; CHANGE ; …`
fn batch(group: &mut Group, lines: &str) -> String {
    let steps = lines.split(';').map(str::trim).filter(|line| !line.is_empty()).map(|line| BatchStep { what: Some(step(group, line)) });
    let steps = steps.collect();
    let result = group.tree(tree_command::What::Batch(TreeBatch { steps }));
    let steps = result.as_ref().map(|done| done.steps.clone()).unwrap_or_default();
    let shown: String = steps.into_iter().map(|done: Done| format!("  {}", outcome(Ok(done)))).collect();
    outcome(result) + &shown
}

fn step(group: &mut Group, line: &str) -> batch_step::What {
    if let Some(rest) = line.strip_prefix("holds ") {
        let words = Words::of(rest.split_whitespace());
        return batch_step::What::HoldsStill(HoldsStill {
            path: path(words.word(0)),
            condition: words.condition(),
            ..HoldsStill::default()
        });
    }
    match change_of(group, line) {
        tree_command::What::CreateFolder(command) => batch_step::What::CreateFolder(command),
        tree_command::What::PutFile(command) => batch_step::What::PutFile(command),
        tree_command::What::MoveEntry(command) => batch_step::What::MoveEntry(command),
        tree_command::What::DeleteEntry(command) => batch_step::What::DeleteEntry(command),
        tree_command::What::SetMeta(command) => batch_step::What::SetMeta(command),
        tree_command::What::SetTimes(command) => batch_step::What::SetTimes(command),
        tree_command::What::UseVersion(command) => batch_step::What::UseVersion(command),
        other => panic!("{other:?} is no step of a batch"),
    }
}

/// The rest of a line behind so many words.
fn behind(line: &str, words: usize) -> &str {
    line.splitn(words + 1, ' ').nth(words).unwrap()
}

/// `limited ROOT BYTES ENTRIES CHANGE`
fn limited(group: &mut Group, words: &Words<'_>, line: &str) -> String {
    let what = Some(tree(change_of(group, behind(line, 4))));
    let (bytes_max, entries_max) = (words.number(1), words.number(2));
    let quota = QuotaLimit { root: path(words.word(0)), bytes_max, entries_max, name: "the workspace".to_owned() };
    outcome(ask(group, Command { quotas: vec![quota], what, ..Command::default() }))
}

/// `again KEY REQUEST CHANGE`
fn again(group: &mut Group, words: &Words<'_>, line: &str) -> String {
    let hash = |number: u64| vec![u8::try_from(number).unwrap(); 32].into();
    let idempotency = Some(Idempotency { key: hash(words.number(0)), request: hash(words.number(1)), step: hash(1) });
    let what = Some(tree(change_of(group, behind(line, 3))));
    let result = ask(group, Command { idempotency, what, ..Command::default() });
    let replayed = if result.as_ref().is_ok_and(|done| done.replayed) { "  the answer of before\n" } else { "" };
    outcome(result) + replayed
}

/// `at STAMP ls|stat|cat PATH`
fn at(group: &Group, words: &Words<'_>) -> String {
    let (instant, place) = (words.number(0), words.word(2));
    match words.word(1) {
        "ls" => list(group, place, &Words::of([format!("at={instant}").as_str()].into_iter())),
        "stat" => stat(group, place, instant),
        "cat" => match group.query(query::What::Content(ContentQuery { path: path(place), at: instant, ..ContentQuery::default() })) {
            answer::What::Content(content) => format!("  {} bytes\n", content.inlined.len()),
            answer::What::Absence(Absence { pruned: true, .. }) => "  pruned\n".to_owned(),
            other => format!("  {other:?}\n"),
        },
        other => panic!("nothing is asked by {other:?}"),
    }
}

fn diff(group: &Group, words: &Words<'_>) -> String {
    let asked =
        DiffQuery { path: path(words.word(0)), at: words.number(1), limit: 0, moves: words.has("moves"), shallow: words.has("shallow") };
    let answer::What::Diff(page) = group.query(query::What::Diff(asked)) else { return "  absent\n".to_owned() };
    let side = |record: &Option<CurrentRecord>| match record {
        Some(record) if record.version.is_empty() => "folder".to_owned(),
        Some(record) => format!("version {}", record.version_number),
        None => "nothing".to_owned(),
    };
    let lines = page.differences.iter().map(|one| {
        let marks = format!("{}{}", if one.moved { ", moved" } else { "" }, if one.pruned { ", pruned" } else { "" });
        format!("  {:?} was {}, is {}{marks}\n", one.names.join("/"), side(&one.was), side(&one.is))
    });
    lines.collect::<String>() + &page.folder.as_ref().map_or_else(String::new, |folder| format!("  in {}\n", show(folder)))
}

/// `keep=SECONDS most=COUNT`
fn policy(words: &Words<'_>) -> Option<VersioningPolicyRecord> {
    let max_number = words.value("most").map_or(-1, |most| most.parse().unwrap());
    Some(VersioningPolicyRecord {
        keep_all_seconds: words.valued("keep"),
        max_total_size: -1,
        max_size_per_file: -1,
        ignore_files_greater_than: -1,
        keep_periods: vec![KeepPeriod { interval_start: "0".to_owned(), max_number }],
        node_deleted: i32::try_from(words.valued("deleted")).unwrap(),
        ..VersioningPolicyRecord::default()
    })
}

fn preview(group: &Group, words: &Words<'_>) -> String {
    let asked = PruneQuery { policy: policy(words), after: bytes::Bytes::new(), limit: 100, at: group.clock };
    let answer::What::Prune(preview) = group.query(query::What::Prune(asked)) else { return "  none\n".to_owned() };
    let (files, versions, bytes, freed) = (preview.files, preview.versions, preview.bytes, preview.bytes_freed);
    format!("  of {files} files {versions} versions with {bytes} bytes, which frees {freed}\n")
}

/// Proposes until there is nothing left to do.
fn repeat(group: &mut Group, command: impl Fn(bytes::Bytes) -> tree_command::What) -> String {
    let (mut count, mut after, mut steps) = (0, bytes::Bytes::new(), 0);
    loop {
        steps += 1;
        match group.tree(command(after)) {
            Ok(done) => (count, after) = (count + done.count, done.cursor),
            Err(rejection) => return outcome(Err(rejection)),
        }
        if after.is_empty() {
            return format!("{count} in {steps} steps\n");
        }
    }
}
