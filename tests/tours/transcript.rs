//! Pages whose transcripts are run: what a page shows after a `$` is what the command prints.
//!
//! In a fenced block of `console`, a line that begins with `$ ` is a command, with the lines that follow a `\` at its
//! end or belong to its here-document. What follows is its output, standard error included. `…` stands for any text
//! within a line and, on a line of its own, for any lines. The commands of a page run in one shell, one after
//! another, in a folder that holds copies of `examples/`, `policies/`, `charts/` and `crds/`. A comment
//! `<!-- run: COMMAND -->` runs a command that is not shown. `UPDATE=1` writes into the page what its commands print.
//!
//! What differs from run to run is told to [`Bed`], and nowhere else: dates that are moved to today, and ages.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::folders::today::{Today, moved};

/// Separates the outputs of commands.
const MARK: char = '\u{1}';

/// One command of a page, and what the page says that it prints.
#[derive(Debug)]
struct Step {
    /// As the shell gets it.
    command: String,
    /// The lines of the page that hold the output; none for a command that is not shown.
    output: Option<std::ops::Range<usize>>,
}

/// Where a page is run.
#[derive(Default)]
pub struct Bed<'a> {
    /// Variables of the shell.
    pub environment: Vec<(&'static str, String)>,
    /// Puts more into the folder before the commands run in it.
    pub prepare: Option<&'a dyn Fn(&Path)>,
    /// The examples of the folder, where their dates are moved: so are those in commands, and back in what is printed.
    pub today: Option<&'a Today>,
}

impl std::fmt::Debug for Bed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bed").field("environment", &self.environment).finish_non_exhaustive()
    }
}

impl Bed<'_> {
    /// A command as it is run.
    fn command(&self, shown: &str) -> String {
        self.today.map_or_else(|| shown.to_owned(), |today| moved(shown, today.days))
    }

    /// What a command printed, as a page has it.
    fn printed(&self, text: &str) -> String {
        let text = self.today.map_or_else(|| text.to_owned(), |today| today.back(text));
        ageless(&text)
    }
}

/// A table whose last column is the age of things, with no ages in it.
fn ageless(text: &str) -> String {
    let mut within = false;
    let lines = text.lines().map(|line| {
        let line = line.trim_end();
        within = line.ends_with(" AGE") || within && !line.is_empty();
        match line.rsplit_once(' ') {
            Some((rest, age)) if within && is_age(age) => format!("{rest} …"),
            _ => line.to_owned(),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn is_age(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.ends_with(['s', 'm', 'h', 'd'])
        && text.chars().all(|c| c.is_ascii_digit() || "smhd".contains(c))
}

/// Runs a page, and fails where it does not tell the truth.
pub fn holds(page: &str, bed: &Bed<'_>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join(page);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{page}: {error}"));
    let lines: Vec<&str> = text.lines().collect();
    let steps = steps(&lines);
    assert!(steps.iter().any(|step| step.output.is_some()), "{page} shows no command");
    let folder = tempfile::tempdir().expect("a folder of its own");
    for part in ["examples", "policies", "charts", "crds"] {
        if root.join(part).exists() {
            copy(&root.join(part), &folder.path().join(part));
        }
    }
    if let Some(today) = bed.today {
        let name = today.folder().file_name().expect("a scenario has a name");
        let example = folder.path().join("examples").join(name);
        std::fs::remove_dir_all(&example).expect("the copy can be replaced");
        copy(today.folder(), &example);
    }
    if let Some(prepare) = bed.prepare {
        prepare(folder.path());
    }
    let outputs = run(&steps, folder.path(), bed);
    let mut wrong = String::new();
    let mut fixed: Vec<String> = Vec::new();
    let mut copied = 0;
    for (step, printed) in steps.iter().zip(&outputs) {
        let Some(output) = &step.output else { continue };
        let expected: Vec<&str> = lines[output.clone()].to_vec();
        let printed: Vec<&str> = printed.trim_end_matches('\n').lines().map(str::trim_end).collect();
        fixed.extend(lines[copied..output.start].iter().map(ToString::to_string));
        copied = output.end;
        if matches(trimmed(&expected), trimmed(&printed)) {
            fixed.extend(expected.iter().map(ToString::to_string));
        } else {
            writeln!(wrong, "\n$ {}", step.command).expect("a text can be written to");
            for line in &printed {
                writeln!(wrong, "{line}").expect("likewise");
            }
            fixed.extend(printed.iter().map(ToString::to_string));
            // the empty line before the next command stays
            if expected.last().is_some_and(|line| line.is_empty()) {
                fixed.push(String::new());
            }
        }
    }
    fixed.extend(lines[copied..].iter().map(ToString::to_string));
    if !wrong.is_empty() && std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, fixed.join("\n") + "\n").expect("the page can be written");
        return;
    }
    assert!(wrong.is_empty(), "{page} does not show what its commands print, which is:\n{wrong}");
}

/// The commands of a page, in order.
fn steps(lines: &[&str]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut index = 0;
    let mut inside = false;
    while let Some(line) = lines.get(index) {
        index += 1;
        if let Some(command) = line.strip_prefix("<!-- run: ").and_then(|rest| rest.strip_suffix(" -->")) {
            steps.push(Step { command: command.to_owned(), output: None });
        } else if line.trim_start().starts_with("```") {
            inside = !inside && line.trim_start() == "```console";
        } else if let Some(first) = line.strip_prefix("$ ").filter(|_| inside) {
            let mut command = first.to_owned();
            let end_of_document = first.split_once("<<'").and_then(|(_, rest)| rest.split_once('\''));
            while let Some(next) = lines.get(index) {
                let open = match end_of_document {
                    Some((end, _)) => !command.lines().skip(1).any(|line| line == end),
                    None => command.ends_with('\\'),
                };
                if !open {
                    break;
                }
                command.push('\n');
                command.push_str(next);
                index += 1;
            }
            let start = index;
            while lines.get(index).is_some_and(|next| !next.starts_with("$ ") && !next.starts_with("```")) {
                index += 1;
            }
            steps.push(Step { command, output: Some(start..index) });
        }
    }
    steps
}

/// Runs the commands in one shell, and gives what each printed.
fn run(steps: &[Step], folder: &Path, bed: &Bed<'_>) -> Vec<String> {
    let mut script = String::from("exec 2>&1\n");
    for step in steps {
        writeln!(script, "printf '\\001'\n{}", bed.command(&step.command)).expect("a text can be written to");
    }
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_concordat"));
    let binaries = binary.parent().expect("a binary stands in a folder");
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("sh");
    command
        .args(["-c", &script])
        .current_dir(folder)
        .env("PATH", format!("{}:{path}", binaries.display()))
        .env("HOME", folder)
        .env("NO_COLOR", "1")
        .env_remove("KUBECONFIG")
        .envs(bed.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null());
    let output = command.output().expect("sh runs");
    let text = String::from_utf8(output.stdout).expect("commands print text");
    let outputs: Vec<String> = text.split(MARK).skip(1).map(|text| bed.printed(text)).collect();
    assert_eq!(outputs.len(), steps.len(), "the shell stopped early: {text}");
    outputs
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder can be made");
    for entry in std::fs::read_dir(from).expect("the folder is there") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a file can be copied");
        }
    }
}

/// Without the empty lines at the end.
fn trimmed<'a, 'b>(lines: &'b [&'a str]) -> &'b [&'a str] {
    let end = lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
    &lines[..end]
}

/// Whether lines are as expected, where `…` stands for any.
fn matches(expected: &[&str], printed: &[&str]) -> bool {
    match expected.split_first() {
        None => printed.is_empty(),
        Some((first, rest)) if first.trim() == "…" => {
            (0..=printed.len()).any(|skipped| matches(rest, &printed[skipped..]))
        }
        Some((first, rest)) => printed
            .split_first()
            .is_some_and(|(line, printed)| line_matches(first.trim_end(), line) && matches(rest, printed)),
    }
}

fn line_matches(expected: &str, line: &str) -> bool {
    let Some((before, after)) = expected.split_once('…') else {
        return expected == line;
    };
    let Some(rest) = line.strip_prefix(before) else {
        return false;
    };
    rest.char_indices()
        .map(|(index, _)| index)
        .chain([rest.len()])
        .any(|skipped| line_matches(after, &rest[skipped..]))
}
