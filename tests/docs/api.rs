//! The API reference: every field of every kind, from the CustomResourceDefinitions.

use concordat_api::shape::VISIBLE;
use std::fmt::Write as _;

use concordat_api::custom_resource_definitions;
use serde_json::Value;

/// The page, as Markdown.
pub fn page() -> String {
    let mut page = String::from(
        "# API reference\n\n\
         <!-- Generated from the types under src/api: UPDATE=1 cargo test --test offline docs -->\n\n\
         API group `concordat.dev`, version `v1alpha1`. `kubectl explain dsa.spec --recursive` shows the same on a \
         cluster.\n\
         A field that is not required may be left out, and then means false, none or, where its text says so, all.\n\
         Dates are RFC 3339 timestamps. No text may hold an NHS number.\n\n",
    );
    let definitions = custom_resource_definitions();
    page.push_str("| Kind | Short name | Scope |\n|---|---|---|\n");
    for definition in &definitions {
        let names = &definition.spec.names;
        let short = names.short_names.iter().flatten().map(|name| format!("`{name}`")).collect::<Vec<_>>();
        let anchor = names.kind.to_lowercase();
        writeln!(
            page,
            "| [`{}`](#{anchor}) | {} | {} |",
            names.kind,
            short.join(", "),
            definition.spec.scope
        )
        .expect("a text can be written to");
    }
    for definition in &definitions {
        let version = definition.spec.versions.first().expect("a version");
        let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
        let schema = serde_json::to_value(schema.expect("a schema")).expect("a schema is JSON");
        writeln!(page, "\n## {}\n\n{}", definition.spec.names.kind, text(&schema)).expect("likewise");
        for part in ["spec", "status"] {
            let Some(node) = schema["properties"].get(part) else { continue };
            writeln!(page, "\n### {}.{part}\n\n{}\n", definition.spec.names.kind, text(node))
                .expect("likewise");
            rules(&mut page, node);
            page.push_str("| Field | Type | Meaning |\n|---|---|---|\n");
            fields(&mut page, "", node);
        }
    }
    page
}

/// One row for each field below a node, parents first.
fn fields(page: &mut String, above: &str, node: &Value) {
    let required: Vec<&str> = strings(&node["required"]);
    for (name, field) in node["properties"].as_object().into_iter().flatten() {
        let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        let must = if required.contains(&name.as_str()) { ", required" } else { "" };
        let mut meaning = cell(&text(field));
        for rule in field["x-kubernetes-validations"].as_array().into_iter().flatten() {
            let message = rule["message"].as_str().unwrap_or_default();
            write!(meaning, "<br>Rule: {}.", cell(message)).expect("a text can be written to");
        }
        writeln!(page, "| `{path}` | {}{must} | {meaning} |", kind(field)).expect("likewise");
        let (below, node) = inside(&path, field);
        fields(page, &below, node);
    }
}

/// The node whose properties are a field's: its own, its items' or its values'.
fn inside<'a>(path: &str, field: &'a Value) -> (String, &'a Value) {
    match field["type"].as_str() {
        Some("array") => (format!("{path}[]"), &field["items"]),
        Some("object") if field["additionalProperties"].is_object() => {
            (format!("{path}{{}}"), &field["additionalProperties"])
        }
        _ => (path.to_owned(), field),
    }
}

/// The type of a field, with its bounds.
fn kind(field: &Value) -> String {
    let bound = |name: &str| field[name].as_f64().map(|bound| bound.to_string());
    match field["type"].as_str() {
        Some("array") => {
            let most = bound("maxItems").map(|most| format!(", at most {most}")).unwrap_or_default();
            let least = bound("minItems").map(|least| format!(", at least {least}")).unwrap_or_default();
            format!("list of {}{least}{most}", kind(&field["items"]))
        }
        Some("string") if field["enum"].is_array() => "enumeration".to_owned(),
        Some("string") if field["format"] == "date-time" => "date".to_owned(),
        Some("string") => {
            let most =
                bound("maxLength").map(|most| format!(", at most {most} characters")).unwrap_or_default();
            let pattern = match field["pattern"].as_str() {
                None => String::new(),
                Some(VISIBLE) => ", not blank".to_owned(),
                Some(pattern) => format!(", `{}`", cell(pattern)),
            };
            format!("text{most}{pattern}")
        }
        Some("integer") => match (bound("minimum"), bound("maximum")) {
            (Some(least), Some(most)) => format!("integer, {least} to {most}"),
            (Some(least), None) => format!("integer, {least} or more"),
            _ => "integer".to_owned(),
        },
        Some("object") if field["additionalProperties"].is_object() => {
            format!("map of {}", kind(&field["additionalProperties"]))
        }
        Some(other) => other.to_owned(),
        None => "any".to_owned(),
    }
}

fn rules(page: &mut String, node: &Value) {
    let mut any = false;
    for rule in node["x-kubernetes-validations"].as_array().into_iter().flatten() {
        writeln!(page, "- Rule: {}.", rule["message"].as_str().unwrap_or_default()).expect("likewise");
        any = true;
    }
    if any {
        page.push('\n');
    }
}

fn text(node: &Value) -> String {
    node["description"].as_str().unwrap_or_default().trim().to_owned()
}

/// A text as one cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace("\n\n", "<br>").replace('\n', "<br>")
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}
