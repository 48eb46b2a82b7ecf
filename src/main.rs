//! The `concordat` command: arguments in, exit code out. What it does is in the library's `cli` module.

use std::process::ExitCode;

fn main() -> ExitCode {
    concordat::cli::main()
}
