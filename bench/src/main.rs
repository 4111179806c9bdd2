//! The binary `skep-bench`; `cargo xtask bench` builds it and calls it with the path of the `skep` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    skep_bench::run()
}
