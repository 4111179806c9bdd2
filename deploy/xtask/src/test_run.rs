//! `cargo xtask test`: every check there is, one after the other, and one line at the end that says how it went.
//!
//! A step that fails does not keep the next ones from running. Formatting, lints and tidiness come before the build, for they are quick.

mod counts;
mod steps;

use crate::cli::TestOptions;
use crate::duration_text::duration;
use crate::fault::Fault;
use crate::{output, packages, target, tidy};
use counts::Counts;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use steps::{Step, Work};

/// How one step went.
#[derive(Debug)]
struct Outcome {
    title: &'static str,
    passed: bool,
    counts: Counts,
    took: Duration,
}

/// Runs the command.
pub(crate) fn run(options: &TestOptions) -> Result<ExitCode, Fault> {
    output::heading("Checking the machine");
    packages::ensure(&packages::TO_BUILD)?;
    packages::ensure_if_possible(&packages::TO_TEST);
    let target = target::target_dir()?;
    fs::create_dir_all(&target).map_err(|cause| Fault::at("make", &target, cause))?;
    output::good(&format!("building into {}", target.display()));
    if !target::rocksdb_is_built(&target) {
        output::warning("RocksDB is compiled now, about twenty minutes on two cores; the next run finds it there");
    }
    let skipped_log = target.join(format!("skipped-{}.log", std::process::id()));
    let outcomes: Result<Vec<Outcome>, Fault> = steps::of(options).iter().map(|step| run_step(step, options, &skipped_log)).collect();
    let skipped = skipped_lines(&skipped_log);
    // Absent if nothing was skipped.
    fs::remove_file(&skipped_log).ok();
    Ok(summarize(&outcomes?, &skipped))
}

fn run_step(step: &Step, options: &TestOptions, skipped_log: &Path) -> Result<Outcome, Fault> {
    output::heading(step.title);
    let start = Instant::now();
    let mut counts = Counts::default();
    let passed = match &step.work {
        Work::Tidy => match tidy::run() {
            Ok(code) => code == ExitCode::SUCCESS,
            Err(fault) => {
                output::bad(&fault.to_string());
                false
            }
        },
        Work::Cargo(arguments) => steps::cargo(arguments, options, skipped_log, &mut counts)?,
    };
    let took = start.elapsed();
    let verdict = format!("{} ({})", step.title, duration(took));
    if passed {
        output::good(&verdict);
    } else {
        output::bad(&verdict);
    }
    Ok(Outcome { title: step.title, passed, counts, took })
}

/// What tests wrote that cannot run on this machine.
fn skipped_lines(log: &Path) -> Vec<String> {
    fs::read_to_string(log).unwrap_or_default().lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()
}

fn summarize(outcomes: &[Outcome], skipped: &[String]) -> ExitCode {
    output::heading("Summary");
    let row = |outcome: &Outcome| {
        let tests = if outcome.counts == Counts::default() { String::new() } else { outcome.counts.to_string() };
        vec![outcome.title.to_owned(), if outcome.passed { "ok" } else { "FAILED" }.to_owned(), duration(outcome.took), tests]
    };
    output::table(&["step", "result", "time", "tests"], &outcomes.iter().map(row).collect::<Vec<_>>());
    output::line("");
    for line in skipped {
        output::line(line);
    }
    output::line(&total(outcomes, skipped.len()).to_string());
    if outcomes.iter().all(|outcome| outcome.passed) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The sum of all steps. A step that failed without a failed test (lints, a build, a crash) counts as one failure, and a test that
/// said it cannot run here counts as skipped, though its runner calls it passed.
fn total(outcomes: &[Outcome], skipped: usize) -> Counts {
    let mut sum = Counts::default();
    for outcome in outcomes {
        sum += outcome.counts;
        if !outcome.passed && outcome.counts.failed == 0 {
            sum.failed += 1;
        }
    }
    sum.passed = sum.passed.saturating_sub(skipped);
    sum.skipped += skipped;
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(passed: bool, counts: Counts) -> Outcome {
        Outcome { title: "x", passed, counts, took: Duration::ZERO }
    }

    #[test]
    fn red_is_never_nothing_failed() {
        let good = outcome(true, Counts { passed: 10, failed: 0, skipped: 1 });
        let lints = outcome(false, Counts::default());
        let tests = outcome(false, Counts { passed: 3, failed: 2, skipped: 0 });
        assert_eq!(total(&[good, lints, tests], 4).to_string(), "9 passed, 3 failed, 5 skipped");
    }

    #[test]
    fn a_failed_step_fails_the_command() {
        assert_eq!(summarize(&[outcome(true, Counts::default())], &[]), ExitCode::SUCCESS);
        assert_eq!(summarize(&[outcome(true, Counts::default()), outcome(false, Counts::default())], &[]), ExitCode::FAILURE);
    }
}
