//! Folders of manifests to a snapshot, with the file, line and column of every field.
//!
//! Whatever a file holds, reading it ends: text that cannot be read, or is not of its kind's shape, becomes a finding
//! and stays out of the snapshot, which remembers that it is there (`unreadable`, `unknown_texts`). What is not ours is
//! counted and left alone, whatever it is: files and documents in which our group does not occur never decide how a
//! command ends. Which forms of text are refused, and why, `documents` lists. Nothing here judges what an object means;
//! that is `core::validate`.

mod bytes;
mod characters;
mod documents;
mod foreign;
mod json;
mod node;
mod objects;
mod scalar;
mod walk;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;

use bytes::Bytes;
use documents::Document;
use node::{Node, Problem};
pub use walk::STDIN;

use serde_json::Value;

use concordat_api::{AccessRequest, GROUP};
use concordat_core::finding::{self, Code, Finding, Origin};
use concordat_core::snapshot::Snapshot;
use concordat_core::text::{NhsNumber, nhs_numbers};
use concordat_core::validate::shape;
use concordat_core::{parallel, placing};

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
    /// Other files that are not YAML or JSON, or too large, and do not speak of our group.
    pub foreign: usize,
    /// Files that `.concordatignore` left out.
    pub ignored: usize,
    /// Documents for Kustomize.
    pub kustomizations: usize,
    /// Documents encrypted with SOPS that do not speak of our group.
    pub encrypted: usize,
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
    for File { loader: read, left_out, stdin } in parallel::map(&entries, file) {
        loader.absorb(read);
        match left_out {
            Some(LeftOut::Template) => report.templates += 1,
            Some(LeftOut::Foreign) => report.foreign += 1,
            Some(LeftOut::Ignored) => report.ignored += 1,
            None => {}
        }
        report.stdin = report.stdin.or(stdin);
    }
    let objects::Loader { mut snapshot, mut findings, objects, skipped, kustomizations, encrypted } = loader;
    // whatever was not read may hold a no, and nothing is allowed beside it
    for finding in findings.iter().filter(|it| is_left_out(it)) {
        if !snapshot.unknown_texts.contains(&finding.origin) {
            snapshot.unknown_texts.push(finding.origin.clone());
        }
    }
    placing::place(&mut snapshot);
    finding::sort(&mut findings);
    (snapshot, findings, FilesReport { objects, skipped, kustomizations, encrypted, ..report })
}

/// Whether a finding says that something was not read at all, so that not even the object is known.
pub fn is_left_out(finding: &Finding) -> bool {
    finding.origin.object.is_none()
        && matches!(
            finding.code,
            Code::UnreadableFile
                | Code::InvalidYaml
                | Code::TooLarge
                | Code::OtherMeaning
                | Code::WrappedObject
                | Code::Encrypted
        )
}

/// What one file holds.
#[derive(Default)]
struct File {
    loader: objects::Loader,
    left_out: Option<LeftOut>,
    stdin: Option<String>,
}

/// Why a file, or a part of it, was not read.
#[derive(Clone, Copy)]
enum LeftOut {
    Template,
    Foreign,
    Ignored,
}

fn file(entry: &walk::Entry) -> File {
    let mut file = File::default();
    let text = match bytes::read(entry) {
        Bytes::Text(text) => text,
        Bytes::Not { finding, mentions } => {
            if mentions {
                file.loader.snapshot.unknown_texts.push(finding.origin.clone());
            }
            if mentions || entry.named {
                file.loader.findings.push(*finding);
            } else {
                file.left_out = Some(if entry.ignored { LeftOut::Ignored } else { LeftOut::Foreign });
            }
            return file;
        }
    };
    let mentions = bytes::mentions_group(text.as_bytes());
    if entry.ignored {
        // an escape or a tag can spell our group another way
        let may_hide = text.contains(['\\', '!']);
        let hides = || {
            let documents = documents::parse(&text, is_json(&entry.name));
            documents.iter().filter_map(|it| it.root.as_deref()).any(foreign::holds_ours)
        };
        if !(mentions || may_hide && hides()) {
            file.left_out = Some(LeftOut::Ignored);
            return file;
        }
        let message =
            format!("`.concordatignore` names this file, in which `{GROUP}` occurs: it is read all the same");
        file.loader.findings.push(
            Finding::new(Code::IgnoredManifest, walk::file(&entry.name), message)
                .help("move it out of the folder, or name the folders that hold manifests"),
        );
    }
    if !entry.named && !walk::kubectl_reads(&entry.name) {
        if !mentions {
            file.left_out = Some(LeftOut::Foreign);
            return file;
        }
        let origin = walk::file(&entry.name);
        let message = "kubectl passes over this file of the folder: its ending is in capitals";
        file.loader.findings.push(
            Finding::new(Code::OtherMeaning, origin, message)
                .help("let it end in `.yaml`, `.yml` or `.json`"),
        );
        return file;
    }
    let documents = documents::parse(&text, is_json(&entry.name));
    for document in &documents {
        if document.root.is_some() {
            file.loader.document(&entry.name, document, mentions);
        } else if mentions || entry.named {
            let findings =
                document.problems.iter().map(|problem| objects::finding(&entry.name, problem, None));
            file.loader.findings.extend(findings);
            if let Some(problem) = document.problems.last().filter(|_| mentions) {
                file.loader.snapshot.unknown_texts.push(objects::finding(&entry.name, problem, None).origin);
            }
        } else {
            let template = foreign::is_template(&text);
            file.left_out = Some(if template { LeftOut::Template } else { LeftOut::Foreign });
        }
    }
    foreign::name_template(&mut file.loader.findings, &text);
    if file.loader.objects > 0 {
        file.loader.findings.extend(beside(&entry.name, &text, &documents));
        let roots = documents.iter().filter_map(|it| it.root.as_ref());
        let kindless = roots.filter(|it| foreign::says_no_kind(it) && !foreign::may_be_ours(it));
        for root in kindless.filter(|it| !foreign::is_request(it)) {
            let (line, column) = root.at;
            let origin = Origin { line: Some(line), column: Some(column), ..walk::file(&entry.name) };
            file.loader.findings.push(
                Finding::new(Code::OtherMeaning, origin, NO_KIND_HERE).help(
                    "if it belongs to the object above, take out the line `---` or `...` between them; else move it to a \
                     file of its own",
                ),
            );
        }
    }
    file.stdin = (entry.name == STDIN).then_some(text);
    file
}

/// A part of an object that a stray `---` has cut off must not be taken for something foreign.
const NO_KIND_HERE: &str =
    "beside an object of ours there is a document without a `kind`, and kubectl refuses the file";

fn is_json(name: &str) -> bool {
    name.ends_with(".json")
}

/// The documents of a text as JSON, in order, and what in it is refused as text. Without findings they are what kubectl
/// would send.
pub fn values(name: &str, text: &str) -> (Vec<Value>, Vec<Finding>) {
    let documents = documents::parse(text, is_json(name));
    let values = documents.iter().filter_map(|it| it.root.as_ref()).map(|root| root.value());
    let findings = documents
        .iter()
        .flat_map(|it| it.problems.iter().map(|problem| objects::finding(name, problem, None)));
    (values.filter(|value| !value.is_null()).collect(), findings.collect())
}

/// A request, and what is worth saying of members that it has and that are ignored.
#[derive(Debug)]
pub struct ReadRequest {
    pub request: AccessRequest,
    /// Members that are nearly called like one that is known.
    pub notes: Vec<String>,
}

/// Reads one request from a file, `-` being standard input. The findings' fields are those of the request. Members that
/// are not known are ignored, as AuthZEN asks.
pub fn read_request(path: &PathBuf) -> Result<ReadRequest, Vec<Finding>> {
    let walk::Walk { entries, findings, links: _ } = walk::walk(std::slice::from_ref(path));
    if path.is_dir() {
        let name = path.display().to_string();
        let message = format!("`{name}` is a folder, and a request is one file");
        return Err(vec![
            Finding::new(Code::UnreadableFile, walk::file(&name), message)
                .help("name one file of it, such as the one with the request that you mean to ask"),
        ]);
    }
    let Some(entry) = entries.first() else {
        return Err(findings);
    };
    let text = match bytes::read(entry) {
        Bytes::Text(text) => text,
        Bytes::Not { finding, mentions: _ } => return Err(vec![*finding]),
    };
    let documents = documents::parse(&text, is_json(&entry.name));
    let broken = documents.iter().filter(|document| document.root.is_none());
    let broken: Vec<Finding> = broken
        .flat_map(|document| {
            document.problems.iter().map(|problem| objects::finding(&entry.name, problem, None))
        })
        .collect();
    if !broken.is_empty() {
        return Err(broken);
    }
    let whole = |message: &str| {
        Finding::new(Code::InvalidField, walk::file(&entry.name), message)
            .help("a request has `subject`, `action`, `resource` and, mostly, `context`")
    };
    let read: Vec<(&Rc<Node>, &[Problem])> = documents
        .iter()
        .filter_map(|document| Some((document.root.as_ref()?, document.problems.as_slice())))
        .collect();
    let (root, problems) = match read.as_slice() {
        [document] => *document,
        [] => return Err(vec![whole("the file holds no request")]),
        _ => return Err(vec![whole("the file holds more than one request")]),
    };
    let source =
        concordat_core::snapshot::Source { file: Some(entry.name.clone()), positions: root.positions() };
    // a request has the same shape wherever it is, so it is looked at as part of a test
    const WITHIN: &str = "spec.tests[0].request";
    let value = root.value();
    let test = serde_json::json!({
        "apiVersion": concordat_api::API_VERSION,
        "kind": concordat_api::POLICY_TEST_KIND,
        "metadata": { "name": "request" },
        "spec": { "tests": [{ "name": "request", "at": "2000-01-01T00:00:00Z", "request": value, "expect": { "decision": true } }] },
    });
    let mut findings: Vec<Finding> =
        problems.iter().map(|problem| objects::finding(&entry.name, problem, None)).collect();
    findings.extend(shape::problems(concordat_api::POLICY_TEST_KIND, &test).into_iter().map(|problem| {
        let field = problem.field.strip_prefix(WITHIN).unwrap_or(&problem.field).trim_start_matches('.');
        let own = |text: String| text.replace(&format!("{WITHIN}."), "");
        let mut finding = Finding::new(problem.code, source.origin(None, field), own(problem.message));
        finding.help = problem.help.map(own);
        finding
    }));
    if findings.is_empty() {
        let notes = nearly_known(&value).into_iter();
        let notes = notes
            .map(|(field, near)| format!("`{field}` is not known and is ignored: did you mean `{near}`?"))
            .collect();
        match serde_json::from_value(value) {
            Ok(request) => return Ok(ReadRequest { request, notes }),
            Err(error) => findings.push(whole(&format!("the request cannot be read: {error}"))),
        }
    }
    finding::sort(&mut findings);
    Err(findings)
}

/// The members of a request that are ignored, and that are nearly called like one that is read; each with that one.
fn nearly_known(request: &serde_json::Value) -> Vec<(String, String)> {
    const MEMBERS: [&str; 4] = ["subject", "action", "resource", "context"];
    const CONTEXT: [&str; 11] = [
        "purpose",
        "identifiability",
        "roles",
        "legitimateRelationship",
        "explicitConsent",
        "optOutsApplied",
        "minCellCount",
        "caseReference",
        "breakGlass",
        "region",
        "onwardTo",
    ];
    let within = |object: Option<&serde_json::Value>, path: &str, known: &'static [&'static str]| {
        let keys = object.and_then(serde_json::Value::as_object).into_iter().flatten().map(|(key, _)| key);
        let unknown = keys.filter(|key| !known.contains(&key.as_str()));
        unknown
            .filter_map(|key| {
                let near = shape::nearest(key, known.iter().copied())?;
                Some((format!("{path}{key}"), format!("{path}{near}")))
            })
            .collect::<Vec<_>>()
    };
    let mut notes = within(Some(request), "", &MEMBERS);
    notes.extend(within(request.get("context"), "context.", &CONTEXT));
    notes
}

/// NHS numbers that are in a file beside its values, such as in a comment. No object has them, and yet whoever can
/// read the file can read them.
fn beside(file: &str, text: &str, documents: &[Document]) -> Vec<Finding> {
    let mut written = nhs_numbers(text).peekable();
    if written.peek().is_none() {
        return Vec::new();
    }
    let mut held = BTreeSet::new();
    for root in documents.iter().filter_map(|document| document.root.as_ref()) {
        root.texts(&mut |text| held.extend(nhs_numbers(text).map(|it| it.number)));
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

#[cfg(test)]
mod tests;
