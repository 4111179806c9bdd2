//! The `skep` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    skep::allocator::limit_arenas();
    skep::cli::run()
}
