//! Findings as SARIF 2.1.0, for code scanning services. What GitHub asks for beyond the standard is here too: a whole
//! place for each result, a fingerprint that outlives moved lines, and no more results than are taken.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::repository::Repository;
use crate::output::report::Texts;
use concordat_core::finding::{Code, Finding, ObjectKey, Origin, Severity};
use concordat_core::terms;
use concordat_core::text::visible;
use concordat_source::files::STDIN;

/// GitHub takes no more in one run.
const MOST_RESULTS: usize = 25_000;

/// What paths are relative to. Whoever reads the document knows where the repository is.
const ROOT: &str = "%SRCROOT%";

/// One run, with the rules that its results name.
pub(super) fn document(
    findings: &[Finding],
    texts: &mut Texts,
    repository: &Repository,
    complete: bool,
) -> Value {
    // a code says what its worst finding is
    let mut worst: BTreeMap<Code, Severity> = BTreeMap::new();
    for finding in findings {
        let known = worst.entry(finding.code).or_insert(finding.severity);
        if finding.is_error() {
            *known = finding.severity;
        }
    }
    let rules: BTreeMap<Code, usize> = worst.keys().enumerate().map(|(index, code)| (*code, index)).collect();
    let mut prints = Fingerprints::default();
    let shown = shown(findings);
    let results: Vec<Value> =
        shown.iter().map(|finding| result(finding, &rules, prints.of(finding), texts, repository)).collect();
    let rules: Vec<Value> = worst.iter().map(|(code, severity)| rule(*code, *severity)).collect();
    let left_out = findings.len() - shown.len();
    let notifications: Vec<Value> = (left_out > 0)
        .then(|| {
            let text = format!(
                "{left_out} of {} results are left out, warnings first; `concordat check` without a format shows all",
                findings.len()
            );
            json!({ "level": "warning", "message": { "text": text } })
        })
        .into_iter()
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {
                "driver": {
                    "name": "concordat",
                    "fullName": concat!("concordat ", env!("CARGO_PKG_VERSION")),
                    "informationUri": env!("CARGO_PKG_REPOSITORY"),
                    "semanticVersion": env!("CARGO_PKG_VERSION"),
                    "rules": rules,
                }
            },
            "automationDetails": { "id": "concordat/" },
            "columnKind": "unicodeCodePoints",
            "originalUriBaseIds": { ROOT: { "description": { "text": "The root of the repository." } } },
            "invocations": [{ "executionSuccessful": complete, "toolExecutionNotifications": notifications }],
            "results": results,
        }],
    })
}

/// As many findings as are taken, in their order: every error before a warning.
fn shown(findings: &[Finding]) -> Vec<&Finding> {
    let errors = findings.iter().filter(|finding| finding.is_error()).count();
    let (mut errors, mut warnings) = (errors.min(MOST_RESULTS), MOST_RESULTS.saturating_sub(errors));
    let mut room = |finding: &Finding| {
        let left = if finding.is_error() { &mut errors } else { &mut warnings };
        let fits = *left > 0;
        *left = left.saturating_sub(1);
        fits
    };
    findings.iter().filter(|finding| room(finding)).collect()
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn rule(code: Code, severity: Severity) -> Value {
    let title = sentence(code.title());
    let does = match severity {
        Severity::Error => "It is an error: what it is about is not used until it is put right.",
        Severity::Warning => "It is a warning: what it is about is used all the same.",
    };
    let page = format!(
        "{}/blob/main/docs/finding-codes.md#{}",
        env!("CARGO_PKG_REPOSITORY"),
        code.as_str().to_lowercase()
    );
    json!({
        "id": code.as_str(),
        "name": code.reason(),
        "shortDescription": { "text": title },
        "fullDescription": { "text": format!("{title} {does}") },
        "help": {
            "text": format!("{title} {does} Each result says what would work."),
            "markdown": format!("{title} {does} Each result says what would work. See [{code}]({page})."),
        },
        "helpUri": page,
        "defaultConfiguration": { "level": level(severity) },
        "properties": { "tags": ["concordat"], "problem.severity": level(severity) },
    })
}

/// A message as SARIF wants it: whole sentences.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}

fn result(
    finding: &Finding,
    rules: &BTreeMap<Code, usize>,
    fingerprint: String,
    texts: &mut Texts,
    repository: &Repository,
) -> Value {
    let Finding { code, severity, message, help, origin, missing: _ } = finding;
    let help = help.as_ref().map(|help| format!(" {}", sentence(help))).unwrap_or_default();
    json!({
        "ruleId": code.as_str(),
        "ruleIndex": rules.get(code),
        "level": level(*severity),
        "message": { "text": visible(&format!("{}{help}", sentence(message))) },
        "locations": [location(origin, texts, repository)],
        "partialFingerprints": { "primaryLocationLineHash": fingerprint },
    })
}

/// The place in a file, and the object and field by name. What is in no file has a place by what it is: a service
/// takes no result without one.
fn location(origin: &Origin, texts: &mut Texts, repository: &Repository) -> Value {
    let Origin { file, line, column, object, field } = origin;
    let artifact = match (file.as_deref(), object) {
        (Some(STDIN), _) => json!({ "uri": "stdin.yaml", "uriBaseId": ROOT }),
        (Some(file), _) => match repository.relative(file) {
            Some(parts) => json!({ "uri": uri(&parts), "uriBaseId": ROOT }),
            None => json!({ "uri": format!("file:///{}", uri(&repository.absolute(file))) }),
        },
        (None, Some(ObjectKey { kind, namespace, name })) => {
            let parts = ["cluster".to_owned()].into_iter().chain(namespace.clone());
            let parts: Vec<String> = parts.chain([kind.to_lowercase(), name.clone()]).collect();
            json!({ "uri": uri(&parts), "uriBaseId": ROOT })
        }
        (None, None) => json!({ "uri": "cluster", "uriBaseId": ROOT }),
    };
    let (line, column) = (line.unwrap_or(1), column.unwrap_or(1));
    let width = file.as_deref().and_then(|file| texts.width(file, line, column)).unwrap_or_default();
    let mut location = json!({
        "physicalLocation": {
            "artifactLocation": artifact,
            "region": {
                "startLine": line,
                "startColumn": column,
                "endLine": line,
                "endColumn": column.saturating_add(width),
            },
        },
    });
    if let (Some(object), Some(fields)) = (object, location.as_object_mut()) {
        let field = field.as_ref().map(|field| format!(" {field}")).unwrap_or_default();
        let logical = json!([{
            "name": object.name,
            "fullyQualifiedName": visible(&format!("{object}{field}")),
            "kind": object.kind,
        }]);
        fields.insert("logicalLocations".to_owned(), logical);
    }
    location
}

/// What tells a finding from others and stays when lines move: what is wrong, with which object and field.
#[derive(Debug, Default)]
struct Fingerprints {
    seen: BTreeMap<String, usize>,
}

impl Fingerprints {
    fn of(&mut self, finding: &Finding) -> String {
        let Finding { code, severity: _, message, help: _, origin, missing: _ } = finding;
        let Origin { file, line: _, column: _, object, field } = origin;
        let place = object.as_ref().map_or_else(|| file.clone(), |object| Some(object.to_string()));
        let digest = terms::text_digest(&json!([code, message, place, field]).to_string());
        let short: String = digest.trim_start_matches("sha256:").chars().take(16).collect();
        let number = self.seen.entry(short.clone()).or_default();
        *number += 1;
        format!("{short}:{number}")
    }
}

/// The parts of a path as a URI reference.
fn uri(parts: &[String]) -> String {
    parts.iter().map(|part| utf8_percent_encode(part, RESERVED).to_string()).collect::<Vec<_>>().join("/")
}

/// All but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn finding(code: Code, number: usize) -> Finding {
        let origin = Origin { file: Some("a b/é#?.yaml".to_owned()), line: Some(3), ..Origin::default() };
        Finding::new(code, origin, format!("number {number}"))
    }

    fn run(findings: &[Finding]) -> Value {
        let repository = Repository::at("/repository");
        document(findings, &mut Texts::default(), &repository, true)["runs"][0].clone()
    }

    #[test]
    fn a_path_is_written_as_a_uri() {
        let run = run(&[finding(Code::UnlistedRole, 1)]);
        let place = &run["results"][0]["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"], json!({ "uri": "a%20b/%C3%A9%23%3F.yaml", "uriBaseId": ROOT }));
        assert_eq!(
            place["region"],
            json!({ "startLine": 3, "startColumn": 1, "endLine": 3, "endColumn": 1 })
        );
    }

    #[test]
    fn past_the_most_that_is_taken_warnings_are_left_out_first_and_that_is_said() {
        let mut findings: Vec<Finding> =
            (0..MOST_RESULTS).map(|number| finding(Code::UnlistedRole, number)).collect();
        assert_eq!(run(&findings)["invocations"][0]["toolExecutionNotifications"], json!([]));
        findings.extend((0..3).map(|number| finding(Code::OrgNotFound, number)));
        let run = run(&findings);
        let results = run["results"].as_array().unwrap();
        assert_eq!(results.len(), MOST_RESULTS);
        assert_eq!(results.iter().filter(|result| result["level"] == "error").count(), 3);
        let said = &run["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"];
        assert!(said.as_str().unwrap().starts_with("3 of 25003 results"), "{said}");
    }

    #[test]
    fn a_fingerprint_stays_when_lines_move_and_tells_findings_apart() {
        let print = |run: &Value, index: usize| {
            run["results"][index]["partialFingerprints"]["primaryLocationLineHash"].clone()
        };
        let one = finding(Code::UnlistedRole, 1);
        let mut moved = one.clone();
        moved.origin.line = Some(70);
        assert_eq!(print(&run(std::slice::from_ref(&one)), 0), print(&run(std::slice::from_ref(&moved)), 0));
        let both = run(&[one, moved, finding(Code::UnlistedRole, 2)]);
        let prints: BTreeSet<String> = (0..3).map(|index| print(&both, index).to_string()).collect();
        assert_eq!(prints.len(), 3);
    }
}
