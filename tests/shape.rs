//! Offline, files are held to the very rules that the API server applies: what it refuses, `check` refuses.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail loudly, its helpers too"
)]

mod admission_cases;

use concordat::core::validate::shape;
use serde_json::{Value, json};

fn refusals(kind: &str, object: &Value) -> Vec<String> {
    let problems = shape::problems(kind, object);
    problems.iter().map(|problem| format!("{}: {}", problem.field, problem.message)).collect()
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
