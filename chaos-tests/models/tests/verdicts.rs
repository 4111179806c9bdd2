//! Every run finds what its name promises: "repaired" holds, "text" and "planted" fail. Run with `--release`.
//!
//! By default the quick runs, under two minutes on two cores; with `SKEP_LONG=1` all of them, ten minutes and 4 GiB of memory.

use skep_models::runs;
use std::time::Duration;

/// A search that takes longer is not finished, and an unfinished search is a failure.
const LIMIT: Duration = Duration::from_secs(30 * 60);

fn check(protocol: &str) {
    let long = std::env::var("SKEP_LONG").is_ok_and(|value| value == "1");
    let prefix = format!("{protocol}/");
    let mut count = 0;
    for run in runs().into_iter().filter(|run| run.name.starts_with(&prefix) && (long || !run.long)) {
        let (name, expected) = (run.name.clone(), run.expected());
        let verdict = run.verdict(LIMIT);
        assert!(verdict.is(expected), "{name}: expected {expected:?}, found {verdict:?}");
        count += 1;
    }
    assert!(count > 0, "no run is named {prefix}");
}

#[test]
fn collection() {
    check("collection");
}

#[test]
fn pg_move() {
    check("pg_move");
}

#[test]
fn segment_log() {
    check("segment_log");
}

#[test]
fn write_rule() {
    check("write_rule");
}

#[test]
fn sessions() {
    check("sessions");
}

#[test]
fn the_long_runs_are_named_right() {
    let mut named: Vec<String> = runs().into_iter().filter(|run| run.long).map(|run| run.name).collect();
    named.sort();
    assert_eq!(named.len(), 5, "a run in LONG was renamed: only {named:?} are left");
}
