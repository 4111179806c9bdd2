//! The steps of a test run, and cargo as their runner.
//!
//! One profile for all of them: only our own crates are compiled once more for tests, with debug assertions, so RocksDB is not.

use super::counts::Counts;
use crate::cli::TestOptions;
use crate::fault::Fault;
use crate::{output, target};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

/// Crates whose debug assertions are on in tests.
const ASSERTING: [&str; 5] = ["skep-placement", "skep-raft", "skep-api", "skep-frames", "skep"];
/// Compiled in for tests: without their variable set they do nothing.
const TEST_FEATURES: &str = "skep/failpoints";
const MODELS: &str = "chaos-tests/models/Cargo.toml";

/// A part of the run that passes or fails.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) title: &'static str,
    pub(crate) work: Work,
}

/// What a step does.
#[derive(Debug)]
pub(crate) enum Work {
    /// The rules of the house, in this process.
    Tidy,
    /// The instruction counts of the microbenchmarks.
    Instructions,
    /// Cargo with these arguments.
    Cargo(Vec<String>),
}

/// The steps that these options ask for.
pub(crate) fn of(options: &TestOptions) -> Vec<Step> {
    let cargo = |title, words: &str| Step { title, work: Work::Cargo(words.split(' ').map(str::to_owned).collect()) };
    let mut steps = Vec::new();
    if options.filter.is_none() {
        steps.push(cargo("Formatting", "fmt --all --check"));
        steps.push(cargo("Formatting of the models", &format!("fmt --manifest-path {MODELS} --check")));
        steps.push(cargo("Lints", &format!("clippy --release --workspace --all-targets --features {TEST_FEATURES} -- -D warnings")));
        steps.push(cargo("Lints of the models", &format!("clippy --release --manifest-path {MODELS} --all-targets -- -D warnings")));
        steps.push(Step { title: "Tidy", work: Work::Tidy });
        if options.long {
            steps.push(cargo("Documentation", "doc --release --workspace --no-deps --document-private-items"));
        }
    }
    // The tests that start real processes use the binary that cargo builds for the tests of the package `skep`.
    let mut tests = with_assertions("test --release --workspace --no-fail-fast");
    let mut models: Vec<String> = ["test", "--release", "--no-fail-fast", "--manifest-path", MODELS].map(str::to_owned).into();
    for arguments in [&mut tests, &mut models] {
        arguments.extend(options.filter.clone());
    }
    steps.push(Step { title: "Tests", work: Work::Cargo(tests) });
    steps.push(Step { title: "Models", work: Work::Cargo(models) });
    if options.filter.is_none() {
        steps.push(Step { title: "Instruction counts", work: Work::Instructions });
    }
    steps
}

fn with_assertions(words: &str) -> Vec<String> {
    let mut arguments: Vec<String> = words.split(' ').map(str::to_owned).collect();
    arguments.extend(["--features".to_owned(), TEST_FEATURES.to_owned()]);
    for name in ASSERTING {
        // They are compiled anew for the assertions anyway; at a low level and in many pieces that takes a third of the time.
        for setting in ["debug-assertions=true", "opt-level=1", "codegen-units=16"] {
            arguments.extend(["--config".to_owned(), format!("profile.release.package.{name}.{setting}")]);
        }
    }
    arguments
}

/// Runs cargo, passes on what it prints, counts the tests in it; true if it succeeded.
pub(crate) fn cargo(arguments: &[String], options: &TestOptions, skipped_log: &Path, counts: &mut Counts) -> Result<bool, Fault> {
    let mut command = target::cargo()?;
    command.args(arguments).env("SKEP_SKIPPED_LOG", skipped_log).env("SKEP_BIN", target::target_dir()?.join("release/skep"));
    if options.long {
        command.env("SKEP_LONG", "1");
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|cause| Fault::new(format!("cannot run cargo {}: {cause}", arguments.join(" "))))?;
    let stdout = child.stdout.take().expect("stdout was asked for as a pipe");
    let mut lines = BufReader::new(stdout);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        let text = String::from_utf8_lossy(&line);
        output::line(text.trim_end_matches(['\n', '\r']));
        *counts += Counts::of_line(&text).unwrap_or_default();
        line.clear();
    }
    let status = child.wait().map_err(|cause| Fault::new(format!("lost sight of cargo: {cause}")))?;
    Ok(status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(options: &TestOptions) -> Vec<&'static str> {
        of(options).iter().map(|step| step.title).collect()
    }

    #[test]
    fn a_filter_leaves_only_tests() {
        let options = TestOptions { long: false, filter: Some("tree".into()) };
        assert_eq!(titles(&options), ["Tests", "Models"]);
        let steps = of(&options);
        let Work::Cargo(arguments) = &steps[0].work else { panic!("tests are cargo's work") };
        assert_eq!(arguments.last().map(String::as_str), Some("tree"));
    }

    #[test]
    fn everything_is_checked_without_one() {
        let all = titles(&TestOptions { long: true, filter: None });
        for title in ["Formatting", "Lints", "Tidy", "Documentation", "Tests", "Models", "Instruction counts"] {
            assert!(all.contains(&title), "{title}");
        }
    }

    /// Code that only tests compile is read by the lints too.
    #[test]
    fn lints_see_what_the_tests_compile() {
        for step in of(&TestOptions { long: false, filter: None }) {
            if let Work::Cargo(arguments) = step.work
                && matches!(step.title, "Lints" | "Tests")
            {
                assert!(arguments.iter().any(|argument| argument == TEST_FEATURES), "{}: {arguments:?}", step.title);
            }
        }
    }

    #[test]
    fn every_build_uses_the_one_profile() {
        for step in of(&TestOptions { long: true, filter: None }) {
            if let Work::Cargo(arguments) = step.work {
                assert!(arguments[0] == "fmt" || arguments.iter().any(|argument| argument == "--release"), "{arguments:?}");
            }
        }
    }
}
