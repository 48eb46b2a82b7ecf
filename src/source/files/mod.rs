//! Folders of manifests to a snapshot, with the file, line and column of every field.
//!
//! Whatever a file holds, reading it ends: text that cannot be read, or is not of its kind's shape, becomes a finding
//! and stays out of the snapshot. Documents of other kinds are counted and left alone. Nothing here judges what an
//! object means; that is `core::validate`.

mod json;
mod objects;
mod scalar;
mod walk;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

pub use walk::STDIN;

use crate::api::{AccessRequest, GROUP};
use crate::core::finding::{self, Code, Finding, Origin};
use crate::core::parallel;
use crate::core::snapshot::Snapshot;
use crate::core::text::{NhsNumber, nhs_numbers};
use crate::core::validate::shape;

/// What was read, in numbers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct FilesReport {
    /// Files that were opened.
    pub files: usize,
    /// Objects of our kinds, good or bad.
    pub objects: usize,
    /// Documents that are not ours, by kind.
    pub skipped: BTreeMap<String, usize>,
    /// Files that are templates rather than YAML, and do not speak of our group.
    pub templates: usize,
    /// Symbolic links that were not followed.
    pub links: usize,
    /// The text of standard input, where it was read, for showing a line of it.
    pub stdin: Option<String>,
}

/// Reads every manifest under some files and folders. `-` is standard input.
pub fn read(paths: &[PathBuf]) -> (Snapshot, Vec<Finding>, FilesReport) {
    let walk::Walk { entries, findings, links } = walk::walk(paths);
    let mut loader = objects::Loader { findings, ..objects::Loader::default() };
    let mut report = FilesReport { files: entries.len(), links, ..FilesReport::default() };
    for File { loader: read, is_template, stdin } in parallel::map(&entries, file) {
        loader.absorb(read);
        report.templates += usize::from(is_template);
        report.stdin = report.stdin.or(stdin);
    }
    let objects::Loader { snapshot, mut findings, objects, skipped } = loader;
    finding::sort(&mut findings);
    (snapshot, findings, FilesReport { objects, skipped, ..report })
}

/// What one file holds.
#[derive(Default)]
struct File {
    loader: objects::Loader,
    is_template: bool,
    stdin: Option<String>,
}

fn file(entry: &walk::Entry) -> File {
    let mut file = File::default();
    let text = match walk::text(entry) {
        Ok(text) if entry.name.ends_with(".json") => json::join_surrogates(text),
        Ok(text) => text,
        Err(finding) => {
            file.loader.findings.push(*finding);
            return file;
        }
    };
    let yaml::Parsed { documents, stopped } = parse(&text);
    match stopped {
        Some(_) if !entry.named && is_template(&text) => file.is_template = true,
        Some(problem) => file.loader.findings.push(objects::finding(&entry.name, &problem, None)),
        None => {}
    }
    for document in &documents {
        file.loader.document(&entry.name, document);
    }
    if file.loader.objects > 0 {
        file.loader.findings.extend(beside(&entry.name, &text, &documents));
    }
    file.stdin = (entry.name == STDIN).then_some(text);
    file
}

/// Reads one request from a file, `-` being standard input. The findings' fields are those of the request.
pub fn read_request(path: &PathBuf) -> Result<AccessRequest, Vec<Finding>> {
    let walk::Walk { entries, findings, links: _ } = walk::walk(std::slice::from_ref(path));
    let Some(entry) = entries.first() else {
        return Err(findings);
    };
    let mut text = walk::text(entry).map_err(|finding| vec![*finding])?;
    if entry.name.ends_with(".json") {
        text = json::join_surrogates(text);
    }
    let yaml::Parsed { documents, stopped } = parse(&text);
    if let Some(problem) = stopped {
        return Err(vec![objects::finding(&entry.name, &problem, None)]);
    }
    let whole = |message: &str| {
        Finding::new(Code::InvalidField, walk::file(&entry.name), message)
            .help("a request has `subject`, `action`, `resource` and, mostly, `context`")
    };
    let document = match documents.as_slice() {
        [document] => document,
        [] => return Err(vec![whole("the file holds no request")]),
        _ => return Err(vec![whole("the file holds more than one request")]),
    };
    let source = crate::core::snapshot::Source {
        file: Some(entry.name.clone()),
        positions: document.root.positions(),
    };
    // a request has the same shape wherever it stands, so it is looked at as part of a test
    const WITHIN: &str = "spec.tests[0].request";
    let value = document.root.value();
    let test = serde_json::json!({
        "apiVersion": crate::api::API_VERSION,
        "kind": crate::api::POLICY_TEST_KIND,
        "metadata": { "name": "request" },
        "spec": { "tests": [{ "name": "request", "at": "2000-01-01T00:00:00Z", "request": value, "expect": { "decision": true } }] },
    });
    let mut findings: Vec<Finding> =
        document.problems.iter().map(|problem| objects::finding(&entry.name, problem, None)).collect();
    findings.extend(shape::problems(crate::api::POLICY_TEST_KIND, &test).into_iter().map(|problem| {
        let field = problem.field.strip_prefix(WITHIN).unwrap_or(&problem.field).trim_start_matches('.');
        let mut finding = Finding::new(problem.code, source.origin(None, field), problem.message);
        finding.help = problem.help;
        finding
    }));
    if findings.is_empty() {
        match serde_json::from_value(value) {
            Ok(request) => return Ok(request),
            Err(error) => findings.push(whole(&format!("the request cannot be read: {error}"))),
        }
    }
    finding::sort(&mut findings);
    Err(findings)
}

/// NHS numbers that stand in a file beside its values, such as in a comment. No object has them, and yet whoever can
/// read the file can read them.
fn beside(file: &str, text: &str, documents: &[yaml::Document]) -> Vec<Finding> {
    let mut written = nhs_numbers(text).peekable();
    if written.peek().is_none() {
        return Vec::new();
    }
    let mut held = BTreeSet::new();
    for document in documents {
        document.root.texts(&mut |text| held.extend(nhs_numbers(text).map(|it| it.number)));
    }
    written
        .filter(|it| !held.contains(&it.number))
        .map(|NhsNumber { digits, .. }| {
            let before = digits.first().and_then(|start| text.get(..*start)).unwrap_or_default();
            let (line, column) = walk::end_of(before);
            let origin = Origin { line: Some(line), column: Some(column), ..walk::file(file) };
            Finding::new(Code::NhsNumber, origin, "a comment holds a valid NHS number").help(
                "take it out, and out of the history of the repository: no file may name a patient, not even with a \
                 number of the test range",
            )
        })
        .collect()
}

fn parse(text: &str) -> yaml::Parsed {
    yaml::parse(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Whether a text that is not YAML is somebody's template, such as a Helm chart's, and has nothing to do with us.
fn is_template(text: &str) -> bool {
    text.contains("{{") && !text.contains(GROUP)
}

#[cfg(test)]
mod tests;
