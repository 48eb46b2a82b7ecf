//! `concordat man`: the manual pages.

use std::fs;
use std::io;
use std::path::PathBuf;

use clap::CommandFactory as _;
use clap_mangen::Man;

use super::Exit;
use super::output::Printer;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The command whose page is printed [default: the page of `concordat` itself].
    #[arg(value_name = "COMMAND", conflicts_with = "write")]
    command: Option<String>,

    /// Write the page of every command into a folder.
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, printer: &mut Printer) -> Exit {
    let Arguments { command, write } = arguments;
    let pages = match pages() {
        Ok(pages) => pages,
        Err(error) => {
            printer.error(format!("the manual pages cannot be written out: {error}"), None);
            return Exit::Unknown;
        }
    };
    let Some(folder) = write else {
        let wanted =
            command.as_ref().map_or_else(|| "concordat".to_owned(), |name| format!("concordat-{name}"));
        let Some((_, page)) = pages.iter().find(|(name, _)| *name == wanted) else {
            let names: Vec<&str> =
                pages.iter().filter_map(|(name, _)| name.strip_prefix("concordat-")).collect();
            let help = format!("the commands are {}", names.join(", "));
            printer.error(
                format!("there is no command `{}`", command.as_deref().unwrap_or_default()),
                Some(&help),
            );
            return Exit::Unknown;
        };
        printer.stdout(page.trim_end());
        return Exit::Yes;
    };
    if let Err(error) = fs::create_dir_all(folder) {
        printer.error(format!("`{}`: {error}", folder.display()), None);
        return Exit::Unknown;
    }
    for (name, page) in &pages {
        let path = folder.join(format!("{name}.1"));
        if let Err(error) = fs::write(&path, page) {
            printer.error(format!("`{}`: {error}", path.display()), None);
            return Exit::Unknown;
        }
        printer.stdout(path.display());
    }
    Exit::Yes
}

/// Each page's name and text.
fn pages() -> io::Result<Vec<(String, String)>> {
    let mut whole = super::Arguments::command();
    whole.build();
    let mut commands = vec![("concordat".to_owned(), whole.clone())];
    for command in whole.get_subcommands().filter(|command| command.get_name() != "help") {
        commands.push((format!("concordat-{}", command.get_name()), command.clone()));
    }
    commands
        .into_iter()
        .map(|(name, command)| {
            let mut page = Vec::new();
            Man::new(command).render(&mut page)?;
            Ok((name, String::from_utf8_lossy(&page).into_owned()))
        })
        .collect()
}
