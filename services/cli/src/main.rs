//! `decant`: the operators' and engineers' command.

use std::process::ExitCode;

fn main() -> ExitCode {
    decant_cli::run(std::env::args_os())
}
