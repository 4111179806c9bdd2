//! Prints a line for each run of the models: `skep-models [--long] [NAME]`, NAME a part of a run's name.
//!
//! Without `--long` only the quick runs are made, unless NAME picks a long one. Ends with 1 if a verdict is not the expected one.

use skep_models::{Expected, Run, Verdict, runs};
use std::process::ExitCode;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30 * 60);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let long = arguments.iter().any(|argument| argument == "--long");
    let filter = arguments.iter().find(|argument| !argument.starts_with("--"));
    let mut as_expected = true;
    for run in runs() {
        let chosen = match filter {
            Some(part) => run.name.contains(part.as_str()),
            None => long || !run.long,
        };
        if chosen {
            as_expected &= show(run);
        }
    }
    if as_expected { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Makes one run and prints what it found; false if that is not what was expected.
fn show(run: Run) -> bool {
    let (name, expected) = (run.name.clone(), run.expected());
    let verdict = run.verdict(LIMIT);
    println!("{name}: {}, {} states, depth {}, {:.1} s", word(&verdict), verdict.states, verdict.depth, verdict.seconds);
    for (property, actions) in &verdict.violations {
        println!("    {property}: {}", actions.join(" > "));
    }
    if !verdict.unreached.is_empty() && verdict.violations.is_empty() {
        println!("    never reached: {:?}", verdict.unreached);
    }
    let as_expected = verdict.is(expected);
    if !as_expected {
        println!("    NOT AS EXPECTED: it should have {}", if expected == Expected::Holds { "held" } else { "found the fault" });
    }
    as_expected
}

fn word(verdict: &Verdict) -> &'static str {
    if verdict.holds() {
        "HOLDS"
    } else if !verdict.violations.is_empty() {
        "VIOLATED"
    } else if !verdict.exhausted {
        "UNFINISHED"
    } else {
        "VACUOUS"
    }
}
