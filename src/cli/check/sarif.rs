//! Findings as SARIF 2.1.0, for code scanning services.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use serde_json::{Value, json};

use crate::core::finding::{Code, Finding, ObjectKey, Origin, Severity};
use crate::source::files::STDIN;

/// One run, with the rules that its results name.
pub(super) fn document(findings: &[Finding], told: bool) -> Value {
    let codes: BTreeSet<Code> = findings.iter().map(|finding| finding.code).collect();
    let rules: BTreeMap<Code, usize> =
        codes.into_iter().enumerate().map(|(index, code)| (code, index)).collect();
    let results: Vec<Value> = findings.iter().map(|finding| result(finding, &rules)).collect();
    let rules: Vec<Value> = rules.keys().map(|code| rule(*code)).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {
                "driver": {
                    "name": "concordat",
                    "informationUri": env!("CARGO_PKG_REPOSITORY"),
                    "semanticVersion": env!("CARGO_PKG_VERSION"),
                    "rules": rules,
                }
            },
            "columnKind": "unicodeCodePoints",
            "invocations": [{ "executionSuccessful": told }],
            "results": results,
        }],
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn rule(code: Code) -> Value {
    json!({
        "id": code.as_str(),
        "name": code.reason(),
        "shortDescription": { "text": code.title() },
        "help": { "text": format!("{}; each result says what would work", code.title()) },
        "defaultConfiguration": { "level": level(code.severity()) },
    })
}

fn result(finding: &Finding, rules: &BTreeMap<Code, usize>) -> Value {
    let Finding { code, severity, message, help, origin, missing: _ } = finding;
    let help = help.as_ref().map(|help| format!("\nhelp: {help}")).unwrap_or_default();
    let mut result = json!({
        "ruleId": code.as_str(),
        "ruleIndex": rules.get(code),
        "level": level(*severity),
        "message": { "text": format!("{message}{help}") },
    });
    if let (Some(location), Some(fields)) = (location(origin), result.as_object_mut()) {
        fields.insert("locations".to_owned(), json!([location]));
    }
    result
}

/// The place in a file, and the object and field by name; a cluster has no files.
fn location(origin: &Origin) -> Option<Value> {
    let Origin { file, line, column, object, field } = origin;
    let mut location = serde_json::Map::new();
    if let Some(file) = file.as_ref().filter(|file| *file != STDIN) {
        let mut place = json!({ "artifactLocation": { "uri": uri(file) } });
        if let (Some(line), Some(fields)) = (line, place.as_object_mut()) {
            let region = match column {
                Some(column) => json!({ "startLine": line, "startColumn": column }),
                None => json!({ "startLine": line }),
            };
            fields.insert("region".to_owned(), region);
        }
        location.insert("physicalLocation".to_owned(), place);
    }
    if let Some(object) = object {
        let ObjectKey { kind, namespace: _, name } = object;
        let field = field.as_ref().map(|field| format!(" {field}")).unwrap_or_default();
        let logical = json!([{
            "name": name,
            "fullyQualifiedName": format!("{object}{field}"),
            "kind": kind,
        }]);
        location.insert("logicalLocations".to_owned(), logical);
    }
    (!location.is_empty()).then_some(Value::Object(location))
}

/// A path as a URI reference: relative to the folder that the command ran in, wherever it lies in it.
fn uri(file: &str) -> String {
    let path = Path::new(file);
    let here = std::env::current_dir().ok();
    let relative = here.as_deref().and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path);
    let mut parts = Vec::new();
    for component in relative.components() {
        match component {
            Component::Normal(part) => parts.push(escaped(&part.to_string_lossy())),
            Component::ParentDir => parts.push("..".to_owned()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    let path = parts.join("/");
    if relative.is_absolute() { format!("file:///{path}") } else { path }
}

/// Percent-encodes all but the unreserved characters of RFC 3986.
fn escaped(part: &str) -> String {
    let mut text = String::new();
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_becomes_a_uri_that_is_relative_where_it_can_be() {
        let here = std::env::current_dir().unwrap();
        let inside = here.join("a b/c.yaml").to_string_lossy().into_owned();
        for (file, wanted) in [
            ("./a/b.yaml", "a/b.yaml"),
            ("../x/é#?.yaml", "../x/%C3%A9%23%3F.yaml"),
            ("/nowhere/a.yaml", "file:///nowhere/a.yaml"),
            (inside.as_str(), "a%20b/c.yaml"),
        ] {
            assert_eq!(uri(file), wanted);
        }
    }
}
