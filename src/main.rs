//! The `concordat` command: arguments in, exit code out. What it does is in `src/cli`.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Judging makes and drops many small values, on all processors.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    concordat_cli::main()
}
