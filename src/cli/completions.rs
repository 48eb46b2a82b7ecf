//! `concordat completions`: a script that completes commands in a shell.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::Exit;
use super::output::Printer;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The shell.
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments, printer: &mut Printer) -> Exit {
    let Arguments { shell } = arguments;
    let mut script = Vec::new();
    clap_complete::generate(*shell, &mut super::Arguments::command(), "concordat", &mut script);
    printer.stdout(String::from_utf8_lossy(&script).trim_end());
    Exit::Yes
}
