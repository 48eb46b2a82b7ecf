//! Metadata as the API server has it: what it would refuse of labels, annotations, finalizers and owners.
//!
//! Names and namespaces are the reader's business, as a file may leave them out and a cluster cannot.

use serde_json::{Map, Value};

use super::shape_problem::ShapeProblem;
use crate::finding::Code;
use crate::names::{LABEL_VALUE, QUALIFIED, is_label_value, is_qualified, is_subdomain};

/// The most bytes that keys and values of all annotations may have.
const MOST_ANNOTATIONS: usize = 256 * 1024;

/// Everything that the API server would refuse of an object's metadata.
pub(super) fn problems(object: &Value) -> Vec<ShapeProblem> {
    let Some(metadata) = object.get("metadata").and_then(Value::as_object) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    labels(metadata, &mut found);
    annotations(metadata, &mut found);
    generate_name(metadata, &mut found);
    finalizers(metadata, &mut found);
    owners(metadata, &mut found);
    found
}

fn problem(field: &str, message: String, help: &str) -> ShapeProblem {
    ShapeProblem::new(Code::InvalidField, format!("metadata.{field}"), message).help(help)
}

/// The entries of a map of texts. What is no map of texts is reported, and left out.
fn texts<'m>(
    metadata: &'m Map<String, Value>,
    field: &str,
    found: &mut Vec<ShapeProblem>,
) -> Vec<(&'m str, &'m str)> {
    let mut texts = Vec::new();
    match metadata.get(field) {
        None | Some(Value::Null) => {}
        Some(Value::Object(entries)) => {
            for (key, value) in entries {
                match value {
                    Value::String(text) => texts.push((key.as_str(), text.as_str())),
                    other => found.push(problem(
                        &format!("{field}.{key}"),
                        format!("`{other}` is no text, and the values of `{field}` are texts"),
                        "put it into quotes",
                    )),
                }
            }
        }
        Some(other) => found.push(problem(
            field,
            format!("`{other}` is of the wrong type"),
            "write each entry on a line below it, further in, as `key: value`",
        )),
    }
    texts
}

fn labels(metadata: &Map<String, Value>, found: &mut Vec<ShapeProblem>) {
    for (key, value) in texts(metadata, "labels", found) {
        let field = format!("labels.{key}");
        if !is_qualified(key) {
            found.push(problem(&field, format!("`{key}` is no key of a label"), QUALIFIED));
        }
        if !is_label_value(value) {
            found.push(problem(
                &field,
                format!("`{value}` is no value of a label"),
                &format!("{LABEL_VALUE}; longer texts belong into `annotations`"),
            ));
        }
    }
}

fn annotations(metadata: &Map<String, Value>, found: &mut Vec<ShapeProblem>) {
    let annotations = texts(metadata, "annotations", found);
    for (key, _) in &annotations {
        // the API server compares the keys of annotations in small letters, domain and all
        if !is_qualified(&key.to_ascii_lowercase()) {
            let message = format!("`{key}` is no key of an annotation");
            found.push(problem(&format!("annotations.{key}"), message, QUALIFIED));
        }
    }
    let size: usize = annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
    if size > MOST_ANNOTATIONS {
        found.push(problem(
            "annotations",
            format!("the annotations have {size} bytes, and the API server takes {MOST_ANNOTATIONS} in all"),
            "shorten them, or keep long texts elsewhere and name their address",
        ));
    }
}

fn generate_name(metadata: &Map<String, Value>, found: &mut Vec<ShapeProblem>) {
    let Some(value) = metadata.get("generateName").filter(|value| !value.is_null()) else {
        return;
    };
    // a hyphen at its end is followed by what is generated
    let stem = value.as_str().map(|text| match text.strip_suffix('-') {
        Some(stem) if !stem.is_empty() => format!("{stem}a"),
        _ => text.to_owned(),
    });
    if !stem.is_some_and(|stem| stem.is_empty() || is_subdomain(&stem)) {
        found.push(problem(
            "generateName",
            format!("{value} is no start of a name"),
            "leave it out: objects here have names of their own, and `metadata.name` says which",
        ));
    }
}

fn finalizers(metadata: &Map<String, Value>, found: &mut Vec<ShapeProblem>) {
    let names = match metadata.get("finalizers") {
        None | Some(Value::Null) => return,
        Some(Value::Array(names)) => names,
        Some(other) => {
            found.push(problem(
                "finalizers",
                format!("`{other}` is of the wrong type"),
                "this field is a list: write each entry on a line that starts with `- `",
            ));
            return;
        }
    };
    for (index, name) in names.iter().enumerate() {
        if !name.as_str().is_some_and(is_qualified) {
            found.push(problem(
                &format!("finalizers[{index}]"),
                format!("{name} is no name of a finalizer"),
                "leave finalizers to the controllers that remove them again; the operator writes its own",
            ));
        }
    }
    let has = |wanted: &str| names.iter().any(|name| name.as_str() == Some(wanted));
    if has("orphan") && has("foregroundDeletion") {
        found.push(problem(
            "finalizers",
            "finalizers `orphan` and `foregroundDeletion` contradict each other".to_owned(),
            "keep one, or better none",
        ));
    }
}

fn owners(metadata: &Map<String, Value>, found: &mut Vec<ShapeProblem>) {
    const HELP: &str = "leave `ownerReferences` out of files: only a cluster knows the `uid` of an owner";
    let owners = match metadata.get("ownerReferences") {
        None | Some(Value::Null) => return,
        Some(Value::Array(owners)) => owners,
        Some(other) => {
            found.push(problem("ownerReferences", format!("`{other}` is of the wrong type"), HELP));
            return;
        }
    };
    for (index, owner) in owners.iter().enumerate() {
        let field = format!("ownerReferences[{index}]");
        let text = |name: &str| owner.get(name).and_then(Value::as_str).unwrap_or_default();
        for name in ["apiVersion", "kind", "name", "uid"] {
            if text(name).is_empty() {
                found.push(problem(&format!("{field}.{name}"), format!("an owner has no `{name}`"), HELP));
            }
        }
        if text("apiVersion").matches('/').count() > 1 {
            let message = format!("`{}` is no `apiVersion`", text("apiVersion"));
            found.push(problem(&format!("{field}.apiVersion"), message, HELP));
        }
        if text("kind") == "Event" && text("apiVersion") == "v1" {
            found.push(problem(&format!("{field}.kind"), "an `Event` owns nothing".to_owned(), HELP));
        }
        for name in ["controller", "blockOwnerDeletion"] {
            if owner.get(name).is_some_and(|value| !value.is_boolean() && !value.is_null()) {
                let message = format!("`{name}` is neither `true` nor `false`");
                found.push(problem(&format!("{field}.{name}"), message, HELP));
            }
        }
    }
    let controllers = owners.iter().filter(|owner| owner.get("controller") == Some(&Value::Bool(true)));
    if controllers.count() > 1 {
        found.push(problem("ownerReferences", "more than one owner is the `controller`".to_owned(), HELP));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(metadata: Value) -> Vec<String> {
        problems(&json!({ "metadata": metadata })).into_iter().map(|problem| problem.field).collect()
    }

    #[test]
    fn what_the_api_server_takes_passes() {
        let owner = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "a", "uid": "1", "controller": true});
        let good = json!({
            "name": "a", "generateName": "a-",
            "labels": {"app.kubernetes.io/name": "A_b.c", "empty": ""},
            "annotations": {"Example.ORG/Note": "any text at all, é"},
            "finalizers": ["example.org/keep", "orphan"],
            "ownerReferences": [owner],
        });
        assert_eq!(fields(good), [""; 0]);
        assert_eq!(fields(json!({"labels": null, "annotations": null, "finalizers": null})), [""; 0]);
    }

    #[test]
    fn each_thing_that_the_api_server_refuses_is_named() {
        for (metadata, field) in [
            (json!({"labels": {"a b": "c"}}), "metadata.labels.a b"),
            (json!({"labels": {"a": "not a value"}}), "metadata.labels.a"),
            (json!({"labels": {"a": 1}}), "metadata.labels.a"),
            (json!({"labels": ["a"]}), "metadata.labels"),
            (json!({"annotations": {"/a": "c"}}), "metadata.annotations./a"),
            (json!({"annotations": {"a": true}}), "metadata.annotations.a"),
            (json!({"annotations": {"a": "x".repeat(MOST_ANNOTATIONS)}}), "metadata.annotations"),
            (json!({"generateName": "A-"}), "metadata.generateName"),
            (json!({"generateName": "-"}), "metadata.generateName"),
            (json!({"finalizers": "x"}), "metadata.finalizers"),
            (json!({"finalizers": ["no name"]}), "metadata.finalizers[0]"),
            (json!({"finalizers": ["orphan", "foregroundDeletion"]}), "metadata.finalizers"),
            (json!({"ownerReferences": {}}), "metadata.ownerReferences"),
            (
                json!({"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "a"}]}),
                "metadata.ownerReferences[0].uid",
            ),
        ] {
            assert_eq!(fields(metadata.clone()), [field], "{metadata}");
        }
        let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "1", "controller": true});
        assert_eq!(fields(json!({"ownerReferences": [owner, owner]})), ["metadata.ownerReferences"]);
    }
}
