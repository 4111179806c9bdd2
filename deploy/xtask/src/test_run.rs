//! `cargo xtask test`: every check there is, one after the other, and one line at the end that says how it went.
//!
//! A step that fails does not keep the next ones from running. Formatting, lints and tidiness come before the build, for they are quick.

mod counts;
mod steps;

use crate::cli::TestOptions;
use crate::duration_text::duration;
use crate::fault::Fault;
use crate::instructions::{self, Checked};
use crate::{output, packages, target, tidy};
use counts::Counts;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use steps::{Step, Work};

/// How one step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed,
    /// It cannot run here; why.
    Skipped(String),
}

impl Verdict {
    fn of(passed: bool) -> Self {
        if passed { Verdict::Passed } else { Verdict::Failed }
    }
}

/// How one step went.
#[derive(Debug)]
struct Outcome {
    title: &'static str,
    verdict: Verdict,
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
    let verdict = match &step.work {
        Work::Tidy => Verdict::of(tidy::run().map_or_else(|fault| said(&fault), |code| code == ExitCode::SUCCESS)),
        Work::Instructions => match instructions::check() {
            Ok(Checked::Compared { held, broken }) => {
                counts = Counts { passed: held, failed: broken, skipped: 0 };
                Verdict::of(broken == 0)
            }
            Ok(Checked::Skipped(why)) => {
                counts.skipped = 1;
                Verdict::Skipped(why)
            }
            Err(fault) => Verdict::of(said(&fault)),
        },
        Work::Cargo(arguments) => Verdict::of(steps::cargo(arguments, options, skipped_log, &mut counts)?),
    };
    let took = start.elapsed();
    let line = format!("{} ({})", step.title, duration(took));
    match &verdict {
        Verdict::Passed => output::good(&line),
        Verdict::Failed => output::bad(&line),
        Verdict::Skipped(why) => output::warning(&skipped_line(step.title, why)),
    }
    Ok(Outcome { title: step.title, verdict, counts, took })
}

/// Says why a step could not be carried out; it has not passed.
fn said(fault: &Fault) -> bool {
    output::bad(&fault.to_string());
    false
}

/// As the tests say it.
fn skipped_line(title: &str, why: &str) -> String {
    format!("SKIPPED: {title}: {why}")
}

/// What tests wrote that cannot run on this machine.
fn skipped_lines(log: &Path) -> Vec<String> {
    fs::read_to_string(log).unwrap_or_default().lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()
}

fn summarize(outcomes: &[Outcome], skipped: &[String]) -> ExitCode {
    output::heading("Summary");
    let row = |outcome: &Outcome| {
        let tests = if outcome.counts == Counts::default() { String::new() } else { outcome.counts.to_string() };
        let result = match outcome.verdict {
            Verdict::Passed => "ok",
            Verdict::Failed => "FAILED",
            Verdict::Skipped(_) => "SKIPPED",
        };
        vec![outcome.title.to_owned(), result.to_owned(), duration(outcome.took), tests]
    };
    output::table(&["step", "result", "time", "tests"], &outcomes.iter().map(row).collect::<Vec<_>>());
    output::line("");
    for line in skipped {
        output::line(line);
    }
    for outcome in outcomes {
        if let Verdict::Skipped(why) = &outcome.verdict {
            output::line(&skipped_line(outcome.title, why));
        }
    }
    output::line(&total(outcomes, skipped.len()).to_string());
    if outcomes.iter().all(|outcome| outcome.verdict != Verdict::Failed) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The sum of all steps. A step that failed without a failed test (lints, a build, a crash) counts as one failure, and a test that
/// said it cannot run here counts as skipped, though its runner calls it passed.
fn total(outcomes: &[Outcome], skipped: usize) -> Counts {
    let mut sum = Counts::default();
    for outcome in outcomes {
        sum += outcome.counts;
        if outcome.verdict == Verdict::Failed && outcome.counts.failed == 0 {
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
        Outcome { title: "x", verdict: Verdict::of(passed), counts, took: Duration::ZERO }
    }

    #[test]
    fn red_is_never_nothing_failed() {
        let good = outcome(true, Counts { passed: 10, failed: 0, skipped: 1 });
        let lints = outcome(false, Counts::default());
        let tests = outcome(false, Counts { passed: 3, failed: 2, skipped: 0 });
        assert_eq!(total(&[good, lints, tests], 4).to_string(), "9 passed, 3 failed, 5 skipped");
    }

    #[test]
    fn a_step_that_cannot_run_is_counted_and_fails_nothing() {
        let skipped = Counts { passed: 0, failed: 0, skipped: 1 };
        let step = Outcome { title: "x", verdict: Verdict::Skipped("no valgrind".into()), counts: skipped, took: Duration::ZERO };
        let good = outcome(true, Counts { passed: 10, failed: 0, skipped: 0 });
        assert_eq!(total(&[good, step], 2).to_string(), "8 passed, 0 failed, 3 skipped");
        let step = Outcome { title: "x", verdict: Verdict::Skipped("no valgrind".into()), counts: skipped, took: Duration::ZERO };
        assert_eq!(summarize(&[step], &[]), ExitCode::SUCCESS);
    }

    #[test]
    fn a_failed_step_fails_the_command() {
        assert_eq!(summarize(&[outcome(true, Counts::default())], &[]), ExitCode::SUCCESS);
        assert_eq!(summarize(&[outcome(true, Counts::default()), outcome(false, Counts::default())], &[]), ExitCode::FAILURE);
    }
}
