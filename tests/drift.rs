//! What is generated and committed equals what the types give, and the types keep their promises.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail loudly, its helpers too"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use concordat_api::{crd_file_name, custom_resource_definitions};
use concordat_cli::crd_yaml;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;

const REGENERATE: &str =
    "write them again with `UPDATE=1 cargo test --test offline drift` and read the difference";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("crds")
}

fn generated() -> BTreeMap<String, String> {
    let entry =
        |definition| (crd_file_name(&definition), crd_yaml(&definition).expect("a definition is YAML"));
    custom_resource_definitions().into_iter().map(entry).collect()
}

fn committed() -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(folder()).expect("crds/ is there");
    let read = |path: PathBuf| (file_name(&path), std::fs::read_to_string(&path).expect("crds/ holds text"));
    entries.map(|entry| entry.expect("crds/ is readable").path()).map(read).collect()
}

fn file_name(path: &Path) -> String {
    path.file_name().and_then(|name| name.to_str()).expect("a file has a name").to_owned()
}

#[test]
fn the_crds_folder_holds_what_the_types_give() {
    let generated = generated();
    if std::env::var_os("UPDATE").is_some() {
        for name in committed().keys().filter(|name| !generated.contains_key(*name)) {
            std::fs::remove_file(folder().join(name)).expect("a stale file can be removed");
        }
        for (name, yaml) in &generated {
            std::fs::write(folder().join(name), yaml).expect("crds/ can be written");
        }
    }
    let committed = committed();
    let names = |files: &BTreeMap<String, String>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        names(&committed),
        names(&generated),
        "crds/ holds other files than there are kinds: {REGENERATE}"
    );
    for (name, yaml) in generated {
        assert!(committed.get(&name) == Some(&yaml), "crds/{name} is out of date: {REGENERATE}");
    }
}

#[test]
fn the_reference_of_the_command_is_what_its_help_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md");
    let generated = concordat_cli::reference();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().expect("docs/ is a folder")).expect("docs/ can be made");
        std::fs::write(&path, &generated).expect("docs/ can be written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == generated, "docs/cli.md is out of date: {REGENERATE}");
}

/// A definition as the chart has it: with the chart's labels, and kept when the release goes, unless told otherwise.
fn chart_template(definition: &CustomResourceDefinition) -> String {
    let yaml = crd_yaml(definition).expect("a definition is YAML");
    // Helm would take these for its own
    assert!(!yaml.contains("{{"), "{} holds a template's brackets", crd_file_name(definition));
    let name = definition.metadata.name.as_deref().expect("a definition has a name");
    let (before, after) = (format!("metadata:\n  name: {name}\n"), "spec:\n");
    let include = "  {{- include \"concordat-crds.metadata\" . | nindent 2 }}\n";
    let found = format!("{before}{after}");
    assert_eq!(yaml.matches(&found).count(), 1, "{name} begins otherwise");
    yaml.replace(&found, &format!("{before}{include}{after}"))
}

#[test]
fn the_chart_of_the_definitions_holds_what_the_types_give() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/concordat-crds/templates");
    let generated: BTreeMap<String, String> = custom_resource_definitions()
        .iter()
        .map(|definition| (crd_file_name(definition), chart_template(definition)))
        .collect();
    let committed = || -> BTreeMap<String, String> {
        let entries = std::fs::read_dir(&folder).expect("the chart has templates");
        let paths = entries.map(|entry| entry.expect("the folder is readable").path());
        let definitions = paths.filter(|path| file_name(path).ends_with(".yaml"));
        definitions
            .map(|path| (file_name(&path), std::fs::read_to_string(&path).expect("templates are text")))
            .collect()
    };
    if std::env::var_os("UPDATE").is_some() {
        for name in committed().keys().filter(|name| !generated.contains_key(*name)) {
            std::fs::remove_file(folder.join(name)).expect("a stale file can be removed");
        }
        for (name, yaml) in &generated {
            std::fs::write(folder.join(name), yaml).expect("the chart can be written");
        }
    }
    let committed = committed();
    assert!(
        committed.keys().eq(generated.keys()),
        "the chart holds other definitions than there are kinds: {REGENERATE}"
    );
    for (name, yaml) in generated {
        assert!(committed.get(&name) == Some(&yaml), "{}/{name}: {REGENERATE}", folder.display());
    }
}

#[test]
fn every_kind_has_a_short_name_a_category_a_status_and_columns_that_point_somewhere() {
    let mut short_names = Vec::new();
    for definition in custom_resource_definitions() {
        let kind = &definition.spec.names.kind;
        assert_eq!(definition.spec.names.categories, Some(vec!["concordat".to_owned()]), "{kind}");
        short_names.extend(definition.spec.names.short_names.clone().unwrap_or_default());
        let version = definition.spec.versions.first().expect("a version");
        assert_eq!(
            (version.name.as_str(), version.served, version.storage),
            ("v1alpha1", true, true),
            "{kind}"
        );
        assert!(
            version.subresources.as_ref().is_some_and(|subresources| subresources.status.is_some()),
            "{kind}"
        );
        let schema = schema_of(&definition);
        let columns = version.additional_printer_columns.clone().unwrap_or_default();
        assert!(!columns.is_empty(), "{kind} shows nothing in `kubectl get`");
        for column in columns {
            assert!(column_exists(&schema, &column.json_path), "{kind}: no field at {}", column.json_path);
        }
    }
    assert_eq!(short_names, ["pfw", "pfx", "place", "porg", "dprod", "dsa", "dsasig", "lpol", "dag"]);
}

#[test]
fn no_schema_has_a_default_because_a_default_would_be_signed_unseen() {
    each_node(|path, node| assert!(node.get("default").is_none(), "{path} has a `default:`"));
}

#[test]
fn no_field_takes_null_because_a_null_list_would_mean_everybody() {
    each_node(|path, node| assert!(node.get("nullable").is_none(), "{path} is nullable"));
}

#[test]
fn every_node_of_every_schema_says_what_it_is() {
    each_node(|path, node| {
        let description = node.get("description").and_then(Value::as_str).unwrap_or_default();
        assert!(!description.trim().is_empty(), "{path} has no description");
        assert!(!description.contains("Auto-generated"), "{path}: {description}");
    });
}

#[test]
fn every_value_of_every_enumeration_is_explained() {
    each_node(|path, node| {
        let description = node.get("description").and_then(Value::as_str).unwrap_or_default();
        for value in node.get("enum").and_then(Value::as_array).into_iter().flatten() {
            let value = value.as_str().expect("enumerations are of texts");
            assert!(description.contains(&format!("\n- `{value}`: ")), "{path} does not explain `{value}`");
        }
    });
}

#[test]
fn every_list_text_map_and_number_of_every_schema_is_bounded() {
    each_node(|path, node| {
        let has = |key: &str| assert!(node.get(key).is_some_and(Value::is_number), "{path} has no `{key}`");
        match node.get("type").and_then(Value::as_str) {
            Some("array") => has("maxItems"),
            // A date has a form, and an enumeration its values.
            Some("string")
                if node.get("enum").is_none() && node.get("format") != Some(&"date-time".into()) =>
            {
                has("maxLength");
            }
            Some("object") if node.get("additionalProperties").is_some() => has("maxProperties"),
            // What the cluster counts is bounded by its type alone.
            Some("integer") if path.contains(".status") || path.ends_with(".generation") => has("minimum"),
            Some("integer") => ["minimum", "maximum"].into_iter().for_each(has),
            Some("string" | "object" | "boolean") => {}
            other => panic!("{path} has type {other:?}"),
        }
    });
}

#[test]
fn a_list_whose_absence_means_all_cannot_be_emptied() {
    let mut found = Vec::new();
    each_node(|path, node| {
        let all = node.get("description").and_then(Value::as_str).is_some_and(means_all);
        if all && node.get("type") == Some(&"array".into()) && !path.contains(".status") {
            assert_eq!(node.get("minItems"), Some(&1.into()), "{path} can be emptied, which would widen it");
            found.push(path.to_owned());
        }
    });
    assert_eq!(
        found,
        [
            "PartnerOrg.spec.functions[].workloads[].serviceAccounts",
            "DataProduct.spec.pep.serviceAccounts",
            "DataSharingAgreement.spec.purposes[].recipients",
            "DataSharingAgreement.spec.purposes[].roles",
            "AgreementSignature.spec.purposes",
            "DataAccessGrant.spec.recipients[].purposes[].roles",
        ]
    );
}

#[test]
fn every_rule_has_a_message_in_the_house_style() {
    each_node(|path, node| {
        for rule in node.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
            let message = rule.get("message").and_then(Value::as_str).unwrap_or_default();
            assert!(message.starts_with('`'), "{path}: a message names its field first: {message}");
            assert!(!message.ends_with('.'), "{path}: a message ends without a full stop: {message}");
        }
    });
}

fn means_all(description: &str) -> bool {
    ["Left out, all", "Left out, any", "Left out, every"].iter().any(|words| description.contains(words))
}

fn schema_of(definition: &CustomResourceDefinition) -> Value {
    let version = definition.spec.versions.first().expect("a version");
    let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
    serde_json::to_value(schema.expect("a schema")).expect("a schema is JSON")
}

/// Calls `look` with every node of every kind's schema and its path, parents first.
fn each_node(mut look: impl FnMut(&str, &Value)) {
    for definition in custom_resource_definitions() {
        walk(&definition.spec.names.kind, &schema_of(&definition), &mut look);
    }
}

fn walk(path: &str, node: &Value, look: &mut impl FnMut(&str, &Value)) {
    look(path, node);
    for (name, property) in node.get("properties").and_then(Value::as_object).into_iter().flatten() {
        walk(&format!("{path}.{name}"), property, look);
    }
    if let Some(items) = node.get("items") {
        walk(&format!("{path}[]"), items, look);
    }
    if let Some(values) = node.get("additionalProperties").filter(|values| values.is_object()) {
        walk(&format!("{path}{{}}"), values, look);
    }
}

/// Whether a printer column's path leads to a field; a filter on conditions counts as the condition's field.
fn column_exists(schema: &Value, path: &str) -> bool {
    let (path, rest) = path.split_once("[?(").map_or((path, None), |(path, rest)| (path, Some(rest)));
    let field = |node: &Value, name: &str| match name.strip_suffix("[*]") {
        Some(list) => node.pointer(&format!("/properties/{list}/items")).cloned(),
        None => node.pointer(&format!("/properties/{name}")).cloned(),
    };
    let found =
        path.trim_start_matches('.').split('.').try_fold(schema.clone(), |node, name| field(&node, name));
    match (found, rest) {
        (Some(_), None) => true,
        (Some(list), Some(rest)) => {
            let name = rest.rsplit('.').next().unwrap_or_default();
            list.get("items").is_some_and(|items| field(items, name).is_some())
        }
        (None, _) => false,
    }
}

/// The built-in framework as a manifest, which a cluster or a folder may hold.
fn framework() -> concordat_api::PolicyFramework {
    let spec = concordat_core::policy::built_in_spec();
    concordat_api::PolicyFramework::new(&format!("{}-{}", spec.name, spec.version), spec.clone())
}

#[test]
fn the_manifest_of_the_built_in_framework_holds_its_text() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/england-1.0.0.yaml");
    let yaml = serde_saphyr::to_string(&framework()).expect("a framework is YAML");
    let text = format!("# Generated from policies/national/. {REGENERATE}.\n{yaml}");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text).expect("policies/ can be written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == text, "policies/england-1.0.0.yaml differs: {REGENERATE}");
    let read: concordat_api::PolicyFramework =
        serde_saphyr::from_str(&text).expect("what is written can be read");
    assert_eq!(read, framework());
}

#[test]
fn the_built_in_framework_fits_its_own_schema() {
    let value = serde_json::to_value(framework()).expect("a framework is JSON");
    assert_eq!(concordat_core::validate::shape::problems("PolicyFramework", &value), []);
}
