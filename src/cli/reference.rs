//! The reference of the command, written from the same definitions as its help, so that the two cannot differ.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory as _};

/// `docs/cli.md`: every command with its arguments.
pub fn reference() -> String {
    let mut whole = super::Arguments::command();
    whole.build();
    let mut page = String::from(
        "# The command\n\n\
         Written from the command's own definitions: `UPDATE=1 cargo test --test offline drift` writes it again.\n\n\
         The answer goes to stdout, the talk to stderr. Exit codes: 0 yes, 1 no, 2 it is not known.\n",
    );
    let shared: Vec<&Arg> = whole.get_arguments().filter(|arg| arg.is_global_set()).collect();
    section(&mut page, "Every command takes", &shared);
    for command in whole.get_subcommands().filter(|command| command.get_name() != "help") {
        describe(&mut page, command);
    }
    page
}

fn describe(page: &mut String, command: &Command) {
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    // writing to a string does not fail
    let _ = write!(page, "\n## concordat {}\n\n{}.\n", command.get_name(), about.trim_end_matches('.'));
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim().trim_start_matches("Usage: ");
    let _ = write!(page, "\n```text\n{usage}\n```\n");
    if let Some(after) = command.get_after_long_help().or(command.get_after_help()) {
        let _ = write!(page, "\n{}\n", after.to_string().trim());
    }
    let own: Vec<&Arg> = command
        .get_arguments()
        .filter(|arg| !arg.is_global_set() && !matches!(arg.get_id().as_str(), "help" | "version"))
        .collect();
    section(page, "", &own);
}

fn section(page: &mut String, title: &str, arguments: &[&Arg]) {
    if arguments.is_empty() {
        return;
    }
    if !title.is_empty() {
        let _ = write!(page, "\n{title}:\n");
    }
    let _ = write!(page, "\n| Argument | What it says |\n|---|---|\n");
    for argument in arguments.iter().filter(|argument| !argument.is_hide_set()) {
        let _ = writeln!(page, "| {} | {} |", name(argument), cell(&meaning(argument)));
    }
}

/// `-o`, `--output <FORMAT>`.
fn name(argument: &Arg) -> String {
    let values: Vec<String> =
        argument.get_value_names().unwrap_or_default().iter().map(|name| format!("<{name}>")).collect();
    let takes = argument.get_action().takes_values();
    let values = if takes { values.join(" ") } else { String::new() };
    if argument.is_positional() {
        let many = argument.get_num_args().is_some_and(|range| range.max_values() > 1);
        return format!("`{values}{}`", if many { "…" } else { "" });
    }
    let optional = argument.get_num_args().is_some_and(|range| range.min_values() == 0) && takes;
    let values = match (values.is_empty(), optional, argument.is_require_equals_set()) {
        (true, _, _) => String::new(),
        (false, true, true) => format!("[={values}]"),
        (false, true, false) => format!(" [{values}]"),
        (false, false, true) => format!("={values}"),
        (false, false, false) => format!(" {values}"),
    };
    let short = argument.get_short().map(|short| format!("`-{short}`, ")).unwrap_or_default();
    let long = argument.get_long().unwrap_or_default();
    format!("{short}`--{long}{values}`")
}

fn meaning(argument: &Arg) -> String {
    let help = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut text = format!("{}.", help.trim_end().trim_end_matches('.'));
    let values: Vec<String> = argument
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set() && argument.get_action().takes_values())
        .map(|value| match value.get_help() {
            Some(help) => format!("`{}`: {help}", value.get_name()),
            None => format!("`{}`", value.get_name()),
        })
        .collect();
    if !values.is_empty() && !argument.is_hide_possible_values_set() {
        let _ = write!(text, " One of {}.", values.join("; "));
    }
    let defaults: Vec<String> =
        argument.get_default_values().iter().map(|value| format!("`{}`", value.to_string_lossy())).collect();
    if !defaults.is_empty() && argument.get_action().takes_values() {
        let _ = write!(text, " Default: {}.", defaults.join(", "));
    }
    if argument.is_required_set() {
        text.push_str(" Required.");
    }
    text
}

/// Text that stays in its cell.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
