//! What is not ours, as far as it is worth a word: templates, kustomizations, encrypted files, and objects of ours
//! inside things that are not read.

use std::rc::Rc;

use serde_json::Value;

use super::node::{Content, Node};
use concordat_api::GROUP;
use concordat_core::finding::{Code, Finding};
use concordat_core::validate::shape;

/// Whether a text that is not YAML is a template of Helm or its kin.
pub(super) fn is_template(text: &str) -> bool {
    text.contains("{{")
}

/// Says of what cannot be read in a text that it is a template. One that happens to be YAML is caught at the lines that
/// hold a placeholder: it is read as a map.
pub(super) fn name_template(findings: &mut [Finding], text: &str) {
    let lines: Vec<&str> = text.lines().collect();
    let holds_placeholder = |finding: &Finding| {
        let line = finding.origin.line.and_then(|line| usize::try_from(line).ok()?.checked_sub(1));
        line.and_then(|line| lines.get(line)).is_some_and(|line| is_template(line))
    };
    let is_template = is_template(text);
    for finding in findings.iter_mut().filter(|it| it.is_error()) {
        if holds_placeholder(finding) || is_template && finding.code == Code::InvalidYaml {
            finding.help =
                Some("this is a template: render it with `helm template` first, and check that".to_owned());
        }
    }
}

/// Whether a document was encrypted with SOPS, which leaves its keys and puts what it needs beside them.
pub(super) fn is_encrypted(root: &Node) -> bool {
    root.get("sops").is_some_and(|sops| sops.get("mac").is_some() || sops.get("lastmodified").is_some())
}

/// Whether a document is for Kustomize, which makes manifests of it.
pub(super) fn is_kustomization(file: &str, root: &Node) -> bool {
    let version = root.get("apiVersion").and_then(|version| version.text()).unwrap_or_default();
    let name = file.rsplit('/').next().unwrap_or(file);
    version.starts_with("kustomize.config.k8s.io/")
        || matches!(name, "kustomization.yaml" | "kustomization.yml" | "Kustomization")
}

/// Whether a kustomization changes objects of a kind.
pub(super) fn patches(root: &Node, kind: &str) -> bool {
    const PATCHES: [&str; 4] = ["patches", "patchesStrategicMerge", "patchesJson6902", "replacements"];
    PATCHES.iter().filter_map(|field| root.get(field)).any(|patch| patch.value().to_string().contains(kind))
}

/// Whether an agreement that cannot be used may have said that it replaces another one, where its spec does not say so: the
/// field is elsewhere, or twice, or under another name, or the text has been cut off.
pub(super) fn may_hide_a_successor(root: &Node, value: &Value) -> bool {
    fn is_hidden(node: &Node) -> bool {
        match &node.content {
            Content::List(items) => items.iter().any(|item| is_hidden(item)),
            Content::Map(entries) => entries.iter().any(|(key, value)| {
                let key = key.text.to_lowercase();
                key == "<<" || strsim::osa_distance(&key, "supersedes") <= 2 || is_hidden(value)
            }),
            Content::Null | Content::Bool(_) | Content::Number(_) | Content::Text(_) => false,
        }
    }
    // what has another name is still what names an agreement, and no number or text
    let may_name = |field: &str| {
        let named = match field.strip_prefix("spec.") {
            Some(within) => root.get("spec").and_then(|spec| spec.get(within)),
            None => root.get(field),
        };
        named.is_some_and(|it| matches!(it.content, Content::Map(_) | Content::List(_) | Content::Null))
    };
    let problems = shape::problems("DataSharingAgreement", value);
    let hides = |it: &shape::ShapeProblem| match it.code {
        Code::UnknownField => may_name(&it.field),
        _ => it.is_missing,
    };
    is_hidden(root) || problems.iter().any(hides)
}

/// Whether a document says something, and not what kind of object it is.
pub(super) fn says_no_kind(root: &Node) -> bool {
    match &root.content {
        Content::Null => false,
        Content::Map(_) => {
            let kind = root.get("kind").and_then(|kind| kind.text());
            kind.is_none_or(|kind| kind.is_empty()) && !is_encrypted(root)
        }
        Content::List(_) | Content::Bool(_) | Content::Number(_) | Content::Text(_) => true,
    }
}

/// Whether a document is a request for data, such as those that a policy test asks: it has no kind, and is not for kubectl.
pub(super) fn is_request(root: &Node) -> bool {
    ["subject", "action", "resource"].iter().all(|member| root.get(member).is_some())
}

/// Whether something is written like an object of ours, whatever of it may be wrong.
pub(super) fn looks_like_ours(node: &Node) -> bool {
    let is_ours = node.get("apiVersion").and_then(|version| version.text()).is_some_and(is_our_version);
    is_ours && (node.get("spec").is_some() || node.get("metadata").is_some())
}

fn is_our_version(version: &str) -> bool {
    version.split('/').next().is_some_and(|group| group.trim().eq_ignore_ascii_case(GROUP))
}

/// Whether something is an object of ours, or holds one, whichever way our group is spelt.
pub(super) fn holds_ours(node: &Node) -> bool {
    looks_like_ours(node) || !wrapped(node).is_empty()
}

/// Every object of ours somewhere inside a value, but for the value itself.
pub(super) fn wrapped(node: &Node) -> Vec<&Rc<Node>> {
    let mut found = Vec::new();
    collect(node, &mut found);
    found
}

fn collect<'node>(node: &'node Node, found: &mut Vec<&'node Rc<Node>>) {
    let inner: Vec<&Rc<Node>> = match &node.content {
        Content::List(items) => items.iter().collect(),
        Content::Map(entries) => entries.iter().map(|(_, value)| value).collect(),
        Content::Null | Content::Bool(_) | Content::Number(_) | Content::Text(_) => return,
    };
    for value in inner {
        if looks_like_ours(value) {
            found.push(value);
        } else {
            collect(value, found);
        }
    }
}

/// Whether a mapping that does not say what it is may be an object of ours all the same, where our group is spoken of.
pub(super) fn may_be_ours(node: &Node) -> bool {
    let names_group = node
        .entries()
        .any(|(_, value)| value.text().is_some_and(|text| text.contains('/') && is_our_version(text)));
    names_group || (node.get("spec").is_some() && node.get("metadata").is_some())
}
