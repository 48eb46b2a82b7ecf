//! Which files are read: folders to their files, in a stable order, each file once.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ignore::gitignore::Gitignore;
use walkdir::{DirEntry, WalkDir};

use concordat_api::GROUP;
use concordat_core::finding::{Code, Finding, Origin, Severity};
use concordat_core::text::in_one_line;

/// The name under which standard input shows in messages.
pub const STDIN: &str = "<stdin>";

/// The file at the root of a path that says what under it is not ours.
const IGNORE_FILE: &str = ".concordatignore";

/// A file to be read.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) path: PathBuf,
    /// As it shows in messages, with `/` between its parts.
    pub(super) name: String,
    /// Whether the user named this very file, so that it has to be one of ours.
    pub(super) named: bool,
    /// Whether `.concordatignore` leaves it out, if it has nothing to do with us.
    pub(super) ignored: bool,
}

/// The files under some paths, and what is wrong with the paths.
#[derive(Debug, Default)]
pub(super) struct Walk {
    pub(super) entries: Vec<Entry>,
    pub(super) findings: Vec<Finding>,
    /// Symbolic links that were not followed.
    pub(super) links: usize,
}

/// Finds the files. `-` is standard input.
pub(super) fn walk(paths: &[PathBuf]) -> Walk {
    let mut walk = Walk::default();
    let mut seen = BTreeSet::new();
    for path in paths {
        if path.as_os_str() == "-" {
            walk.add(
                Entry { path: path.clone(), name: STDIN.to_owned(), named: true, ignored: false },
                path.clone(),
                &mut seen,
            );
            continue;
        }
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => walk.folder(path, &mut seen),
            Ok(_) => {
                let entry = Entry { path: path.clone(), name: name(path), named: true, ignored: false };
                walk.add(entry, identity(path), &mut seen);
            }
            Err(error) => walk.findings.push(unreadable(&name(path), &error)),
        }
    }
    walk
}

impl Walk {
    fn folder(&mut self, root: &Path, seen: &mut BTreeSet<PathBuf>) {
        // no link below it is followed, so that what it is itself says what every file in it is
        let real = identity(root);
        let ignore = self.ignore_file(root);
        // what Git keeps for itself; kubectl reads every other folder, hidden ones too
        let is_git =
            |entry: &DirEntry| entry.depth() > 0 && entry.file_type().is_dir() && entry.file_name() == ".git";
        for entry in WalkDir::new(root).sort_by_file_name().into_iter().filter_entry(|entry| !is_git(entry)) {
            match entry {
                // kubectl reads a file behind a link, and follows none to a folder
                Ok(entry)
                    if entry.path_is_symlink() && entry.depth() > 0 && !is_linked_file(entry.path()) =>
                {
                    match fs::metadata(entry.path()) {
                        // kubectl refuses the folder
                        Err(error) if is_manifest(entry.path()) => {
                            let name = name(entry.path());
                            let mut finding = unreadable(&name, &error);
                            finding.message =
                                format!("`{name}` is a link that leads nowhere: kubectl refuses the folder");
                            self.findings.push(finding.help("fix the link, or take it out"));
                        }
                        _ if is_manifest(entry.path()) || entry.path().is_dir() => self.links += 1,
                        _ => {}
                    }
                }
                Ok(entry)
                    if (entry.file_type().is_file() || entry.path_is_symlink())
                        && is_manifest(entry.path()) =>
                {
                    let is_link = entry.path_is_symlink();
                    let path = entry.into_path();
                    let identity = match path.strip_prefix(root) {
                        Ok(within) if !is_link => real.join(within),
                        _ => identity(&path),
                    };
                    let ignored = ignore
                        .as_ref()
                        .is_some_and(|ignore| ignore.matched_path_or_any_parents(&path, false).is_ignore());
                    self.add(Entry { name: name(&path), path, named: false, ignored }, identity, seen);
                }
                Ok(entry) => {
                    if entry.file_type().is_file() && is_put_aside(entry.path()) {
                        self.findings.push(put_aside(&name(entry.path())));
                    }
                }
                Err(error) => {
                    let name = error.path().map_or_else(|| name(root), name);
                    let error = error
                        .into_io_error()
                        .unwrap_or_else(|| io::Error::other("the folder contains itself"));
                    self.findings.push(unreadable(&name, &error));
                }
            }
        }
    }

    /// What is to be left out under a folder.
    fn ignore_file(&mut self, root: &Path) -> Option<Gitignore> {
        let path = root.join(IGNORE_FILE);
        if fs::symlink_metadata(&path).is_err() {
            return None;
        }
        let (ignore, error) = Gitignore::new(&path);
        if let Some(error) = error {
            let message = format!("`{IGNORE_FILE}` cannot be used as it is: {error}");
            self.findings.push(Finding::new(Code::IgnorePattern, file(&name(&path)), message).help(
                "write one pattern a line, in the syntax of `.gitignore`; what it does not name is read",
            ));
        }
        Some(ignore)
    }

    fn add(&mut self, entry: Entry, identity: PathBuf, seen: &mut BTreeSet<PathBuf>) {
        if seen.insert(identity) {
            self.entries.push(entry);
        }
    }
}

/// A path that is the same however it was reached.
fn identity(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// The line and column after a text.
pub(super) fn end_of(text: &str) -> (u32, u32) {
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    let line = text.matches('\n').count() + 1;
    let column = text.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    (number(line), number(column))
}

/// The origin of a finding about a whole file.
pub(super) fn file(name: &str) -> Origin {
    Origin { file: Some(name.to_owned()), ..Origin::default() }
}

pub(super) fn unreadable(name: &str, error: &io::Error) -> Finding {
    let message = match error.kind() {
        io::ErrorKind::NotFound => format!("there is no file or folder `{name}`"),
        io::ErrorKind::PermissionDenied => format!("`{name}` cannot be read: permission denied"),
        _ => format!("`{name}` cannot be read: {error}"),
    };
    let help = match error.kind() {
        io::ErrorKind::NotFound => "check its spelling, and the folder that the command runs in",
        io::ErrorKind::PermissionDenied => "let the account that runs the command read it",
        _ => "make it a file or folder that can be read, or leave it out",
    };
    Finding::new(Code::UnreadableFile, file(name), message).help(help)
}

/// Whether a file that kubectl passes over for its ending holds a manifest of ours: as an editor or a download leaves one
/// behind, as a template, or under another name for YAML and JSON. Documents and sources show manifests, and hold none.
fn is_put_aside(path: &Path) -> bool {
    const SHOW: [&str; 24] = [
        "adoc",
        "c",
        "cc",
        "cedar",
        "cedarschema",
        "cpp",
        "go",
        "htm",
        "html",
        "java",
        "js",
        "kt",
        "log",
        "lua",
        "md",
        "markdown",
        "mdx",
        "py",
        "rb",
        "rs",
        "rst",
        "sh",
        "snap",
        "ts",
    ];
    const MOST: u64 = 1 << 20;
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    if SHOW.contains(&ending) || fs::metadata(path).map_or(true, |it| it.len() > MOST) {
        return false;
    }
    let is_ours = |line: &str| {
        line.trim_start_matches(['-', ' ', '\t', '{', '"', '\''])
            .strip_prefix("apiVersion")
            .and_then(|rest| rest.trim_start_matches(['"', '\'']).trim_start().strip_prefix(':'))
            .is_some_and(|version| version.trim_start_matches([' ', '"', '\'']).starts_with(GROUP))
    };
    fs::read_to_string(path).is_ok_and(|text| text.lines().any(is_ours))
}

fn put_aside(name: &str) -> Finding {
    let message = "this file holds a manifest of ours, and is passed over for its ending, as kubectl does";
    let mut finding = Finding::new(Code::OtherMeaning, file(name), message)
        .help("let it end in `.yaml` if it is meant to count, or move it out of the folder");
    finding.severity = Severity::Warning;
    finding
}

/// Whether a link leads to a file.
fn is_linked_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|it| it.is_file())
}

/// Whether kubectl reads a file that it finds in a folder: it tells endings in capitals apart.
pub(super) fn kubectl_reads(name: &str) -> bool {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    ENDINGS.contains(&ending)
}

const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

fn is_manifest(path: &Path) -> bool {
    path.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| ENDINGS.iter().any(|known| extension.eq_ignore_ascii_case(known)))
}

/// A path as it shows in messages: whoever names a file does not start a line of what is said.
fn name(path: &Path) -> String {
    let path = path.strip_prefix(".").ok().filter(|rest| !rest.as_os_str().is_empty()).unwrap_or(path);
    in_one_line(&path.to_string_lossy().replace('\\', "/")).into_owned()
}
