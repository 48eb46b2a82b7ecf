//! Pages whose transcripts are run: what a page shows after a `$` is what the command prints.
//!
//! In a fenced block of `console`, a line that begins with `$ ` is a command, with the lines that follow a `\` at its
//! end or belong to its here-document. What follows is its output, standard error included. `…` stands for any text
//! within a line and, on a line of its own, for any lines. The commands of a page run in one shell, one after
//! another, in a folder that holds copies of `examples/`, `policies/` and `charts/`. A comment `<!-- run: COMMAND -->`
//! runs a command that is not shown. `UPDATE=1` writes into the page what its commands print.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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

/// Runs a page, and fails where it does not tell the truth.
pub fn holds(page: &str, environment: &[(&str, String)]) {
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
    let outputs = run(&steps, folder.path(), environment);
    let mut wrong = String::new();
    let mut mended: Vec<String> = Vec::new();
    let mut copied = 0;
    for (step, printed) in steps.iter().zip(&outputs) {
        let Some(output) = &step.output else { continue };
        let expected: Vec<&str> = lines[output.clone()].to_vec();
        let printed: Vec<&str> = printed.trim_end_matches('\n').lines().map(str::trim_end).collect();
        mended.extend(lines[copied..output.start].iter().map(ToString::to_string));
        copied = output.end;
        if matches(trimmed(&expected), trimmed(&printed)) {
            mended.extend(expected.iter().map(ToString::to_string));
        } else {
            writeln!(wrong, "\n$ {}", step.command).expect("a text can be written to");
            for line in &printed {
                writeln!(wrong, "{line}").expect("likewise");
            }
            mended.extend(printed.iter().map(ToString::to_string));
            // the empty line before the next command stays
            if expected.last().is_some_and(|line| line.is_empty()) {
                mended.push(String::new());
            }
        }
    }
    mended.extend(lines[copied..].iter().map(ToString::to_string));
    if !wrong.is_empty() && std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, mended.join("\n") + "\n").expect("the page can be written");
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
fn run(steps: &[Step], folder: &Path, environment: &[(&str, String)]) -> Vec<String> {
    let mut script = String::from("exec 2>&1\n");
    for step in steps {
        writeln!(script, "printf '\\001'\n{}", step.command).expect("a text can be written to");
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
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null());
    let output = command.output().expect("sh runs");
    let text = String::from_utf8(output.stdout).expect("commands print text");
    let outputs: Vec<String> = text.split(MARK).skip(1).map(str::to_owned).collect();
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
