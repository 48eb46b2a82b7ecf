//! The command: one file for each of its commands, and what they share.
//!
//! stdout is the answer and stderr the talk. No command decides anything by itself: each reads a snapshot, asks the
//! core, and shows what it said.

mod arguments;
mod check;
mod completions;
mod crds;
mod explain;
mod live;
mod load;
mod man;
mod output;
mod plan;
mod reference;
mod run;
mod sign;
mod test;
mod who_can;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use arguments::Input;
pub use crds::crd_yaml;
use output::{ColorChoice, Printer};
pub use reference::reference;

/// Data sharing agreements between health and care organisations, enforced.
#[derive(Debug, Parser)]
#[command(name = "concordat", version, styles = STYLES, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,

    /// When to use colour: auto, always or never.
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        hide_possible_values = true,
        value_name = "WHEN"
    )]
    color: ColorChoice,

    /// Say nothing but the answer, and errors.
    #[arg(long, short, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Find everything that is wrong, in a folder of manifests or in a live cluster.
    Check(check::Arguments),
    /// Show what would exist: grants, network policies, statuses, and who is waited for.
    Plan(plan::Arguments),
    /// Say whether a request is allowed or an agreement in force, why, and what would change it.
    Explain(explain::Arguments),
    /// Say who may do what to which product, for what, and until when.
    WhoCan(who_can::Arguments),
    /// Run the policy tests of a folder, and say which rules they cover.
    Test(test::Arguments),
    /// Print the signature of a party on an agreement, ready to be applied.
    Sign(sign::Arguments),
    /// Print the CustomResourceDefinitions, or check that those in a folder are up to date.
    Crds(crds::Arguments),
    /// Print a script that completes commands in a shell.
    Completions(completions::Arguments),
    /// Print the manual page of a command, or write all of them into a folder.
    Man(man::Arguments),
    /// Run the operator.
    Run(run::Arguments),
}

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// How a command ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Exit {
    /// All is well: no errors, allowed, passed.
    Yes,
    /// It is not: errors, refused, failed.
    No,
    /// It could not be found out.
    Unknown,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Yes => Self::SUCCESS,
            Exit::No => Self::from(1),
            Exit::Unknown => Self::from(2),
        }
    }
}

impl Command {
    /// What the command reads, where it reads manifests.
    fn input(&mut self) -> Option<&mut Input> {
        match self {
            Self::Check(check::Arguments { input, .. })
            | Self::Plan(plan::Arguments { input, .. })
            | Self::Explain(explain::Arguments { input, .. })
            | Self::WhoCan(who_can::Arguments { input, .. })
            | Self::Test(test::Arguments { input, .. })
            | Self::Sign(sign::Arguments { input, .. }) => Some(input),
            Self::Crds(_) | Self::Completions(_) | Self::Man(_) | Self::Run(_) => None,
        }
    }
}

/// The name of the program as a plugin of kubectl, which runs it for `kubectl concordat`.
const PLUGIN: &str = "kubectl-concordat";

/// What the process was started with. As a plugin of kubectl it reads the current context, where no path is named.
fn arguments() -> Arguments {
    let program = std::env::args_os().next().map(PathBuf::from);
    let is_plugin = program.as_deref().and_then(Path::file_stem).is_some_and(|name| name == PLUGIN);
    if !is_plugin {
        return Arguments::parse();
    }
    let matches = Arguments::command().bin_name("kubectl concordat").get_matches();
    let mut arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    if let Some(input) = arguments.command.input() {
        input.default_to_live();
    }
    arguments
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let Arguments { command, color, quiet } = arguments();
    let mut printer = Printer::new(color, quiet);
    let exit = match &command {
        Command::Check(arguments) => check::run(arguments, &mut printer),
        Command::Plan(arguments) => plan::run(arguments, &mut printer),
        Command::Explain(arguments) => explain::run(arguments, &mut printer),
        Command::Test(arguments) => test::run(arguments, &mut printer),
        Command::Sign(arguments) => sign::run(arguments, &mut printer),
        Command::WhoCan(arguments) => who_can::run(arguments, &mut printer),
        Command::Crds(arguments) => crds::run(arguments, &mut printer),
        Command::Completions(arguments) => completions::run(arguments, &mut printer),
        Command::Man(arguments) => man::run(arguments, &mut printer),
        Command::Run(arguments) => run::run(arguments, &mut printer),
    };
    if printer.finish() { exit.into() } else { Exit::Unknown.into() }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_hold_together() {
        super::Arguments::command().debug_assert();
    }
}
