//! What a bench binary does: `--cases` names its cases, `--count CASE` does one for callgrind, anything else is criterion's.

use crate::case::{Amount, Case, Left, Work};
use criterion::{BatchSize, Criterion, Throughput};
use std::hint::black_box;
use std::process::ExitCode;

/// Runs the cases as the command line says; what `main` of a bench returns.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the output of a bench binary")]
pub fn run(cases: &[Case]) -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--cases"] => cases.iter().for_each(|case| println!("{}", case.name)),
        ["--count", name] => {
            let Some(case) = cases.iter().find(|case| case.name == *name) else {
                eprintln!("there is no case {name:?} here; --cases names all");
                return ExitCode::FAILURE;
            };
            count(case);
        }
        _ => time(cases),
    }
    ExitCode::SUCCESS
}

fn time(cases: &[Case]) {
    let mut criterion = Criterion::default().configure_from_args();
    for case in cases {
        let (group, function) = case.name.split_once('/').unwrap_or((case.name, ""));
        let mut group = criterion.benchmark_group(group);
        group.throughput(match case.amount {
            Amount::Bytes(bytes) => Throughput::Bytes(bytes),
            Amount::Things(things) => Throughput::Elements(things),
        });
        group.bench_function(function, |bencher| {
            if case.is_used_up {
                bencher.iter_batched(|| case.prepare(), |mut work| work(), BatchSize::PerIteration);
            } else {
                bencher.iter(case.prepare());
            }
        });
        group.finish();
    }
    criterion.final_summary();
}

/// Does the work once so that what is made at first use is there, then once more where it is counted.
fn count(case: &Case) {
    let mut work = case.prepare();
    drop(work());
    if case.is_used_up {
        work = case.prepare();
    }
    drop(counted_by_callgrind(&mut work));
}

/// Callgrind is told to count in here only, by this name: it must stay a function of its own, and what it calls must return into it.
#[inline(never)]
fn counted_by_callgrind(work: &mut Work) -> Left {
    black_box(work())
}
