//! Microbenchmarks of the replicated metadata: stored keys, the state machine on the store in memory, the log over simulated files.
//!
//! None needs RocksDB or a disk. Ids, clocks and salts are counted up, so that every run does the same.

mod apply;
mod group;
mod keys;
mod log;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut cases = keys::cases();
    cases.extend(apply::cases());
    cases.extend(log::cases());
    skep_micro::run(&cases)
}
