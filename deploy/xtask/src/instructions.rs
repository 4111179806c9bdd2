//! `cargo xtask instructions`: how many instructions the cases of the microbenchmarks execute, against the counts in the repository.
//!
//! A count does not depend on what else the machine does, so it tells a loop too many where a clock cannot. It does depend on the compiler: the counts
//! name theirs, and with another one they are not compared. The code is that of a release, without the assertions of the tests.

mod baseline;
mod binaries;
mod callgrind;
mod compare;

use crate::cli::InstructionsOptions;
use crate::fault::Fault;
use crate::{output, packages};
use baseline::Baseline;
use callgrind::Callgrind;
use compare::Comparison;
use std::process::ExitCode;

/// What a check came to.
#[derive(Debug)]
pub(crate) enum Checked {
    /// So many cases were compared, and so many of them broke their bound.
    Compared { held: usize, broken: usize },
    /// Nothing was compared; why.
    Skipped(String),
}

/// Runs the command.
pub(crate) fn run(options: &InstructionsOptions) -> Result<ExitCode, Fault> {
    packages::ensure(&packages::TO_BUILD)?;
    if options.update {
        return update();
    }
    match check()? {
        Checked::Compared { broken: 0, .. } => Ok(ExitCode::SUCCESS),
        Checked::Compared { .. } => Ok(ExitCode::FAILURE),
        Checked::Skipped(why) => Err(Fault::new(format!("nothing was compared: {why}"))),
    }
}

/// Counts all cases and compares them with what is stored, where that says something: with valgrind, on the platform and compiler of the stored counts.
pub(crate) fn check() -> Result<Checked, Fault> {
    let callgrind = match Callgrind::find() {
        Some(callgrind) => callgrind,
        None => return Ok(Checked::Skipped("valgrind is not installed (sudo apt-get install valgrind)".to_owned())),
    };
    let baseline = Baseline::read(&Baseline::path())?;
    let compiler = binaries::compiler()?;
    if baseline.compiler != compiler {
        let stored = &baseline.compiler;
        return Ok(Checked::Skipped(format!(
            "the stored counts are of {stored}, this is {compiler}: check out a commit that is known to be good and store its counts with `cargo xtask \
             instructions --update`"
        )));
    }
    let counted = binaries::count_all(&callgrind)?;
    let comparisons = compare::compare(&baseline.instructions, &counted);
    show(&comparisons);
    advise(&comparisons);
    let broken = comparisons.iter().filter(|comparison| comparison.verdict.is_broken()).count();
    Ok(Checked::Compared { held: comparisons.len() - broken, broken })
}

fn update() -> Result<ExitCode, Fault> {
    let callgrind =
        Callgrind::find().ok_or_else(|| Fault::new("valgrind counts instructions, and is not installed: sudo apt-get install valgrind"))?;
    let path = Baseline::path();
    let before = if path.exists() { Baseline::read(&path)?.instructions } else { Default::default() };
    let baseline = Baseline { compiler: binaries::compiler()?, instructions: binaries::count_all(&callgrind)? };
    show(&compare::compare(&before, &baseline.instructions));
    baseline.write(&path)?;
    output::good(&format!("{} counts written to {}", baseline.instructions.len(), path.display()));
    Ok(ExitCode::SUCCESS)
}

fn show(comparisons: &[Comparison]) {
    let number = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), |count| count.to_string());
    let row = |comparison: &Comparison| {
        let ratio = comparison.ratio().map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"));
        vec![comparison.case.clone(), number(comparison.stored), number(comparison.counted), ratio, comparison.verdict.word().to_owned()]
    };
    output::table(&["case", "stored", "counted", "ratio", ""], &comparisons.iter().map(row).collect::<Vec<_>>());
}

fn advise(comparisons: &[Comparison]) {
    for comparison in comparisons {
        match comparison.verdict.advice() {
            Some(advice) if comparison.verdict.is_broken() => output::bad(&format!("{}: {advice}", comparison.case)),
            Some(advice) => output::warning(&format!("{}: {advice}", comparison.case)),
            None => {}
        }
    }
}
