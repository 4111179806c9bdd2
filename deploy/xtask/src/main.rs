//! The project's own commands: `cargo xtask demo`, `cargo xtask test`, `cargo xtask tidy`, `cargo xtask bench`,
//! `cargo xtask instructions`.
//!
//! Not part of the product and not depended on by anything. It starts on a machine with nothing but a Rust toolchain, so no crate
//! it uses needs a C compiler.

mod bench;
mod build;
mod cli;
mod demo;
mod duration_text;
mod fault;
mod instructions;
mod interrupt;
mod licence;
mod machine;
mod output;
mod packages;
mod source_text;
mod target;
mod test_run;
mod tidy;

use clap::Parser;
use cli::{Cli, Command};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Demo(options) => demo::run(&options),
        Command::Test(options) => test_run::run(&options),
        Command::Tidy => tidy::run(),
        Command::Bench(options) => bench::run(&options),
        Command::Instructions(options) => instructions::run(&options),
    };
    match result {
        Ok(code) => code,
        Err(fault) => {
            output::error(&fault.to_string());
            ExitCode::FAILURE
        }
    }
}
