//! Offline, files are held to the very rules that the API server applies: what it refuses, `check` refuses.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail loudly, its helpers too"
)]

use crate::admission_cases;

use std::collections::BTreeSet;

use admission_cases::Cases;
use concordat_api::{custom_resource_definitions, policy_test_schema};
use concordat_core::validate::shape::{self, ShapeProblem};
use serde_json::{Value, json};

fn refusals(kind: &str, object: &Value) -> Vec<String> {
    let told = |problem: &ShapeProblem| {
        let help = problem.help.as_deref().expect("each says what would work");
        format!("{}: {}: {help}", problem.field, problem.message)
    };
    shape::problems(kind, object).iter().map(told).collect()
}

#[test]
fn good_objects_of_every_kind_pass() {
    let cases = admission_cases::all();
    assert_eq!(cases.len(), 9, "every kind has a file of cases");
    for cases in cases {
        for object in cases.admitted() {
            assert_eq!(refusals(cases.kind(), &object), [""; 0], "{}", cases.kind());
        }
    }
}

#[test]
fn each_broken_rule_is_refused_and_named() {
    let mut wrong = Vec::new();
    for cases in admission_cases::all() {
        for case in &cases.refused {
            let refusal = refusals(cases.kind(), &case.applied_to(&cases.good)).join("\n");
            wrong.extend(case.missing_from(&refusal).map(|wrong| format!("{} with {wrong}", cases.kind())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn a_rule_broken_alone_is_refused_once() {
    for cases in admission_cases::all() {
        for case in cases.refused.iter().filter(|case| case.says.is_some()) {
            let refusals = refusals(cases.kind(), &case.applied_to(&cases.good));
            assert_eq!(refusals.len(), 1, "{} with {}: {refusals:#?}", cases.kind(), case.case);
        }
    }
}

#[test]
fn a_field_with_nothing_behind_it_is_refused_because_left_out_may_mean_everybody() {
    let object = admission_cases::all().into_iter().find(|cases| cases.kind() == "AgreementSignature");
    let mut object = object.expect("signatures have cases").good;
    object["spec"]["purposes"] = json!(null);
    let refusals = refusals("AgreementSignature", &object).join("\n");
    assert!(refusals.starts_with("spec.purposes: "), "{refusals}");
}

/// The lists in which the schema lets a thing stand twice, and why.
const NOT_SETS: [(&str, &str, &str); 8] = [
    (
        "DataSharingAgreement",
        "spec.purposes[].recipients",
        "CON414 refuses it: too many to compare in CEL, and no key in each",
    ),
    ("DataSharingAgreement", "spec.outcomeMeasures[].reported", "CON414 refuses it, likewise"),
    (
        "PartnerOrg",
        "spec.functions[].workloads",
        "CON212 refuses it: too many to compare in CEL, and no key in each",
    ),
    (
        "PartnerOrg",
        "spec.functions[].workloads[].podSelector.matchExpressions",
        "a requirement twice is that requirement",
    ),
    ("DataProduct", "spec.endpoint.podSelector.matchExpressions", "a requirement twice is that requirement"),
    (
        "DataSharingAgreement",
        "spec.parties",
        "CON403 refuses it: 2,048 rows are too many to compare in CEL, and as a set server-side apply would merge them",
    ),
    (
        "PlaceFootprint",
        "spec.geographies",
        "CON803 refuses it, but for codes that end and come back; 2,048 of them",
    ),
    (
        "LocalPolicy",
        "spec.tests[].request.context.roles",
        "a question is answered, not refused: a role twice is that role",
    ),
];

/// Every list of a schema, as `spec.purposes[].products`.
fn lists(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    if schema["type"] == "array" {
        found.insert(path.to_owned());
        lists(&schema["items"], &format!("{path}[]"), found);
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        lists(field, &format!("{path}.{name}"), found);
    }
    if schema["additionalProperties"].is_object() {
        lists(&schema["additionalProperties"], &format!("{path}.*"), found);
    }
}

/// What is at a path, in the first item of a list that has it.
fn at<'v>(value: &'v mut Value, path: &str) -> Option<&'v mut Value> {
    let Some((step, rest)) = path.split_once(['.', '[']) else {
        return if path.is_empty() { Some(value) } else { value.get_mut(path) };
    };
    if let Some(rest) = rest.strip_prefix(']') {
        let list = if step.is_empty() { Some(value) } else { value.get_mut(step) };
        let rest = rest.trim_start_matches('.');
        return list?.as_array_mut()?.iter_mut().find_map(|item| at(item, rest));
    }
    at(value.get_mut(step)?, rest)
}

fn schema_of(kind: &str) -> Value {
    let definitions = custom_resource_definitions();
    let definition = definitions.iter().find(|it| it.spec.names.kind == kind).expect("a kind of ours");
    let schema = definition.spec.versions[0].schema.as_ref().expect("a schema");
    json!(schema.open_api_v3_schema)["properties"]["spec"].clone()
}

/// The kinds that people write, each with an object in which every field is filled in.
fn written() -> Vec<(Cases, Value)> {
    let all = admission_cases::all().into_iter().filter(|cases| cases.kind() != "DataAccessGrant");
    let full = |cases: Cases| {
        let full = cases.admitted().pop().expect("a good object");
        (cases, full)
    };
    all.map(full).collect()
}

#[test]
fn no_list_holds_a_thing_twice() {
    let mut seen = 0;
    for (cases, full) in written() {
        let kind = cases.kind();
        let mut found = BTreeSet::new();
        lists(&schema_of(kind), "spec", &mut found);
        for path in found {
            let mut object = full.clone();
            let list = at(&mut object, &path).unwrap_or_else(|| panic!("{kind}: no case fills in {path}"));
            let items = list.as_array_mut().expect("a list");
            let first = items.first().unwrap_or_else(|| panic!("{kind}: {path} is empty")).clone();
            items.push(first);
            let refusals = refusals(kind, &object);
            let is_set = NOT_SETS.iter().all(|(of, list, _)| (*of, *list) != (kind, path.as_str()));
            let told = refusals.iter().any(|it| it.contains("twice") || it.contains("two entries"));
            assert_eq!(told, is_set, "{kind}: {path}: {refusals:?}");
            seen += 1;
        }
    }
    assert!(seen >= 40, "only {seen} lists");
}

#[test]
fn tests_in_files_have_names_of_their_own() {
    let test = |name: &str| {
        json!({
            "name": name,
            "at": "2026-11-22T09:00:00Z",
            "request": {
                "subject": {"type": "OrgFunction", "id": "a/b"},
                "action": {"name": "extract"},
                "resource": {"type": "DataProduct", "id": "a/b"},
            },
            "expect": {"decision": false},
        })
    };
    let file =
        |tests: Value| json!({ "kind": "PolicyTest", "metadata": {"name": "t"}, "spec": { "tests": tests } });
    assert_eq!(refusals("PolicyTest", &file(json!([test("one"), test("two")]))), [""; 0]);
    let told = refusals("PolicyTest", &file(json!([test("one"), test("two"), test("one")])));
    assert_eq!(told, ["spec.tests[2]: `one` is listed twice: keep one: this list holds nothing twice"]);
    let mut found = BTreeSet::new();
    lists(&policy_test_schema()["properties"]["spec"], "spec", &mut found);
    let known = ["spec.tests", "spec.tests[].expect.fires", "spec.tests[].request.context.roles"];
    assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), known);
}

/// Every text of a value, by its path; the keys of maps are not told apart from fields.
fn texts(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::String(_) => found.push(path.to_owned()),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| texts(item, &format!("{path}/{index}"), found));
        }
        Value::Object(fields) => fields.iter().for_each(|(name, field)| {
            texts(field, &format!("{path}/{}", name.replace('~', "~0").replace('/', "~1")), found);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[test]
fn no_text_is_blank() {
    // an empty label is a value too, and a question is answered, not refused
    let may_be_empty = ["/matchLabels/", "/values/"];
    let mut seen = 0;
    for (cases, full) in written() {
        let mut found = Vec::new();
        texts(&full["spec"], "/spec", &mut found);
        for path in found.into_iter().filter(|path| !path.contains("/request/")) {
            for blank in [
                "",
                " ",
                "\t\n",
                "\u{a0}",
                "\u{2003}\u{3000}",
                "\u{85}\u{2028}",
                "\u{2800}\u{3164}",
                "\u{34f}\u{fe0f}\u{e0041}",
            ] {
                let mut object = full.clone();
                *object.pointer_mut(&path).expect("it was found there") = json!(blank);
                let fine = blank.is_empty() && may_be_empty.iter().any(|part| path.contains(part));
                let refusals = refusals(cases.kind(), &object);
                assert_eq!(refusals.is_empty(), fine, "{} {path} {blank:?}: {refusals:?}", cases.kind());
                seen += 1;
            }
        }
    }
    assert!(seen >= 600, "only {seen} blanks");
}

#[test]
fn each_timestamp_that_people_write_has_a_form_that_every_reader_knows() {
    let cases = written().into_iter().find(|(cases, _)| cases.kind() == "FrameworkException");
    let (_, full) = cases.expect("exceptions have cases");
    let told = |text: &str| {
        let mut object = full.clone();
        object["spec"]["until"] = json!(text);
        refusals("FrameworkException", &object)
    };
    for good in ["2026-12-31T00:00:00Z", "2026-12-31T00:00:00.125Z", "2026-12-31T00:00:00.500000+01:00"] {
        assert_eq!(told(good), [""; 0], "{good}");
    }
    for (bad, right) in [
        ("2026-12-31", "write it as `2026-12-31T00:00:00Z`"),
        ("31/12/2026", "write it as `2026-12-31T00:00:00Z`"),
        ("2026-12-31t00:00:00z", "write it as `2026-12-31T00:00:00Z`"),
        ("2026-12-31T00:00:00.0001Z", "finer than the milliseconds that parties sign"),
        ("9999-12-31T23:59:59Z", "years go from 1000 to 9999"),
        ("0001-01-01T00:00:00Z", "years go from 1000 to 9999"),
    ] {
        let refusals = told(bad);
        assert_eq!(refusals.len(), 1, "{bad}: {refusals:?}");
        assert!(refusals[0].contains(right), "{bad}: {refusals:?}");
    }
}
