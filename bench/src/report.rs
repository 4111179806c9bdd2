//! `RESULTS.md`, `RESULTS.json` and the plots: written only by a run that measured.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::fault::Fault;
use crate::results::{Results, RowResult, tally};
use crate::row::Family;
use crate::{svg, table};

/// How the columns are to be read; the README of the bench in brief.
const LEGEND: &str = "\
Each row is measured in rounds in turn: Skep, the limit, Skep, the limit … on clusters of real processes on one machine that also runs the \
load generator. `rate` is the median of the rounds, `±` half the distance between the slowest and the fastest. Latencies are those of all rounds. \
`└ limit` is the same work by the simplest program: the same HTTP hop, the same hops by rustls, hash and codec, the same bytes with fdatasync. \
`└ base` is the ordinary work on the same cluster, in turn too. `CPU s` are the servers' seconds in all rounds, `gen s` the generator's, `MiB` the peak memory of the largest node, `syncs` calls of fdatasync, `disk ×` \
bytes sent to devices for each byte of content. `3n` is three nodes, `3n-1` three of which one was killed, `c64` 64 clients. Every byte of every GET \
is compared with what was written; a request that fails fails its row.
";

/// The whole report.
pub fn markdown(results: &Results) -> String {
    let (met, missed, failed) = tally(&results.rows);
    let mut out = format!(
        "# Results\n\nCommit {}, {}, {} rounds of {} s.\n{}.\n\nAims: {met} met, {missed} missed; {failed} rows failed.\n\n{LEGEND}\n",
        results.commit,
        results.date,
        results.rounds,
        results.seconds,
        results.machine.line()
    );
    for family in Family::ALL {
        let rows: Vec<&RowResult> = results.rows.iter().filter(|row| row.family == family).collect();
        if rows.is_empty() {
            continue;
        }
        let _infallible = writeln!(out, "## {}\n", family.title());
        if svg::plot(family, &rows).is_some() {
            let _infallible = writeln!(out, "![{}](results/{}.svg)\n", family.title(), family.word());
        }
        out.push_str(&table::markdown(&rows));
        out.push('\n');
        for (id, why) in remarks(&rows) {
            let _infallible = writeln!(out, "- `{id}`: {why}");
        }
    }
    out
}

/// What there is to say of rows without figures.
pub fn remarks<'a>(rows: &[&'a RowResult]) -> Vec<(&'a str, &'a str)> {
    let why = |row: &&'a RowResult| row.fault.as_deref().or(row.skipped.as_deref()).map(|why| (row.id.as_str(), why));
    rows.iter().filter_map(why).collect()
}

/// Writes everything into a folder.
///
/// # Errors
/// If a file cannot be written.
pub fn write(results: &Results, folder: &Path) -> Result<(), Fault> {
    let plots = folder.join("results");
    let put = |path: &Path, text: &str| fs::write(path, text).map_err(|error| Fault::io("write", path.display(), error));
    fs::create_dir_all(&plots).map_err(|error| Fault::io("make", plots.display(), error))?;
    put(&folder.join("RESULTS.md"), &markdown(results))?;
    let json = serde_json::to_string_pretty(results).map_err(|error| Fault::new(error.to_string()))?;
    put(&folder.join("RESULTS.json"), &(json + "\n"))?;
    for family in Family::ALL {
        let rows: Vec<&RowResult> = results.rows.iter().filter(|row| row.family == family).collect();
        let path = plots.join(format!("{}.svg", family.word()));
        match svg::plot(family, &rows) {
            Some(text) => put(&path, &text)?,
            None => drop(fs::remove_file(&path)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{markdown, write};
    use crate::machine::Machine;
    use crate::results::tests::result;
    use crate::results::{Results, RowResult};

    fn results() -> Results {
        let machine = Machine { cpu: "C".into(), cores: 2, memory_gib: 8.0, kernel: "6".into(), file_system: "ext4".into(), sync_ms: 0.5 };
        let failed = RowResult { id: "3n/stat/c1".into(), fault: Some("GET answered 503".into()), ..result(1.0, 1.0) };
        let rows = vec![result(500.0, 1_000.0), failed];
        Results { commit: "abc".into(), date: "today".into(), machine, seconds: 2.0, rounds: 3, rows }
    }

    #[test]
    fn the_report_names_commit_machine_and_failures() {
        let text = markdown(&results());
        for part in ["Commit abc", "2 cores of C", "1 rows failed", "results/put.svg", "500/s", "`3n/stat/c1`: GET answered 503"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        write(&results(), folder.path()).unwrap();
        let text = std::fs::read_to_string(folder.path().join("RESULTS.json")).unwrap();
        let read: Results = serde_json::from_str(&text).unwrap();
        assert_eq!((read.rows.len(), read.commit.as_str()), (2, "abc"));
        assert!(folder.path().join("results/put.svg").exists() && !folder.path().join("results/tree.svg").exists());
    }
}
