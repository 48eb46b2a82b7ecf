//! The national framework `england`, held to its cases: `policies/tests/england`.
//!
//! Every case goes the whole way: manifests to a snapshot, a model, the agreement gate, a decision.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use concordat::api::{ObjectRef, Phase, PolicyTestCase};
use concordat::core::finding::Finding;
use concordat::core::judge::Judgement;
use concordat::core::policy::{built_in, run_test};
use concordat::core::sign::{SignatureRequest, signature};
use concordat::core::snapshot::{Snapshot, Source, Sourced};
use concordat::source::files;
use jiff::Timestamp;
use kube::ResourceExt as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

const ZEROS: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// The world as it is written: nobody has signed but those who speak for themselves.
static WRITTEN: LazyLock<Snapshot> = LazyLock::new(|| {
    let local = std::fs::read_dir("policies/local").unwrap().map(|entry| entry.unwrap().path());
    let paths: Vec<PathBuf> = std::iter::once(PathBuf::from("policies/tests/england/world"))
        .chain(local.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")))
        .collect();
    let (snapshot, findings, _) = files::read(&paths);
    assert_eq!(findings, Vec::<Finding>::new());
    snapshot
});

static SIGNED: LazyLock<Snapshot> = LazyLock::new(|| signed(WRITTEN.clone()));

/// Signs every agreement for every party that does not speak for itself.
fn signed(mut snapshot: Snapshot) -> Snapshot {
    let mut spoken = BTreeSet::new();
    for index in 0..snapshot.signatures.len() {
        let spec = snapshot.signatures[index].object.spec.clone();
        spoken.insert((spec.agreement.clone(), spec.party.clone()));
        if spec.terms_hash == ZEROS {
            let right = sign(&snapshot, &spec.agreement, &spec.party).object.spec.terms_hash;
            snapshot.signatures[index].object.spec.terms_hash = right;
        }
    }
    let parties: BTreeSet<(ObjectRef, String)> = snapshot
        .agreements
        .iter()
        .flat_map(|agreement| {
            let reference = ObjectRef {
                namespace: agreement.object.namespace().unwrap(),
                name: agreement.object.name_any(),
            };
            agreement.object.spec.parties.iter().map(move |party| (reference.clone(), party.org.clone()))
        })
        .collect();
    let signatures: Vec<_> = parties
        .iter()
        .filter(|slot| !spoken.contains(*slot))
        .map(|(agreement, party)| sign(&snapshot, agreement, party))
        .collect();
    snapshot.signatures.extend(signatures);
    snapshot
}

fn sign(
    snapshot: &Snapshot,
    agreement: &ObjectRef,
    party: &str,
) -> Sourced<concordat::api::AgreementSignature> {
    let request = SignatureRequest {
        agreement: agreement.clone(),
        party: party.to_owned(),
        purposes: None,
        withdraw: false,
        acting_role: None,
        signed_on: None,
    };
    Sourced { object: signature(snapshot, &request).unwrap(), source: Arc::new(Source::default()) }
}

fn yaml<T: DeserializeOwned>(path: &str) -> T {
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn access_cases() -> Vec<PolicyTestCase> {
    let (snapshot, findings, _) = files::read(&[PathBuf::from("policies/tests/england/access.yaml")]);
    assert_eq!(findings, Vec::<Finding>::new());
    snapshot.tests.into_iter().flat_map(|file| file.spec.tests).collect()
}

/// Judgements by moment: cases mostly share one.
#[derive(Default)]
struct Judgements(BTreeMap<Timestamp, Judgement>);

impl Judgements {
    fn at(&mut self, at: Timestamp) -> &Judgement {
        self.0.entry(at).or_insert_with(|| Judgement::new(&SIGNED, at))
    }
}

#[test]
fn every_request_gets_the_expected_answer() {
    let mut judgements = Judgements::default();
    let cases = access_cases();
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let outcome = run_test(judgements.at(case.at.expect("every case has a moment")), case);
            let context = &outcome.answer.context;
            (!outcome.passed).then(|| {
                format!("{}: {:?} {:?} {}", case.name, outcome.mismatches, context.rules, context.reason)
            })
        })
        .collect();
    assert_eq!(wrong, Vec::<String>::new());
    assert!(cases.len() >= 63, "there are {} cases", cases.len());
}

#[derive(Deserialize)]
struct Alone {
    test: String,
    rule: String,
}

#[test]
fn every_guardrail_has_a_request_that_it_alone_denies() {
    let mut judgements = Judgements::default();
    let cases: BTreeMap<String, PolicyTestCase> =
        access_cases().into_iter().map(|case| (case.name.clone(), case)).collect();
    let mut covered = BTreeSet::new();
    for Alone { test, rule } in yaml::<Vec<Alone>>("policies/tests/england/alone.yaml") {
        let case = cases.get(&test).unwrap_or_else(|| panic!("access.yaml has no case `{test}`"));
        let answer = judgements.at(case.at.unwrap()).decide(&case.request).answer;
        assert_eq!(answer.context.rules, std::slice::from_ref(&rule), "{test}");
        covered.insert(rule);
    }
    let guardrails: BTreeSet<String> = built_in()
        .national
        .policies()
        .filter(|policy| policy.effect() == cedar_policy::Effect::Forbid)
        .map(|policy| policy.id().to_string())
        .collect();
    assert_eq!(covered, guardrails);
}

#[derive(Deserialize)]
struct GateCase {
    name: String,
    agreement: String,
    at: Timestamp,
    party: Option<String>,
    patch: Vec<Patch>,
    expect: String,
    rules: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Patch {
    object: String,
    merge: Value,
}

/// RFC 7386.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let into = target.as_object_mut().unwrap();
    for (key, value) in fields {
        if value.is_null() {
            into.remove(key);
        } else {
            merge(into.entry(key).or_insert(Value::Null), value);
        }
    }
}

/// Patches the object if it is one of these.
fn patch_in<T>(objects: &mut [Sourced<T>], patch: &Patch) -> bool
where
    T: kube::Resource<DynamicType = ()> + serde::Serialize + DeserializeOwned,
{
    let found = objects.iter_mut().find(|sourced| {
        let key = sourced.key();
        let namespace = key.namespace.map(|namespace| format!("{namespace}/")).unwrap_or_default();
        format!("{}/{namespace}{}", key.kind, key.name) == patch.object
    });
    found.is_some_and(|sourced| {
        let mut value = serde_json::to_value(&sourced.object).unwrap();
        merge(&mut value, &patch.merge);
        sourced.object = serde_json::from_value(value).unwrap();
        true
    })
}

/// The world with one agreement, patched. The gate asks each by itself; the others would only take time.
fn patched(patches: &[Patch], agreement: &ObjectRef) -> Snapshot {
    let mut snapshot = WRITTEN.clone();
    snapshot.policies.clear();
    snapshot.agreements.retain(|it| {
        it.object.namespace().as_ref() == Some(&agreement.namespace) && it.object.name_any() == agreement.name
    });
    snapshot.signatures.retain(|it| it.object.spec.agreement == *agreement);
    for patch in patches {
        let done = patch_in(&mut snapshot.agreements, patch)
            || patch_in(&mut snapshot.orgs, patch)
            || patch_in(&mut snapshot.products, patch)
            || patch_in(&mut snapshot.footprints, patch)
            || patch_in(&mut snapshot.exceptions, patch);
        assert!(done, "there is no {}", patch.object);
    }
    signed(snapshot)
}

#[test]
fn every_rule_of_the_agreement_gate_refuses_what_it_should_and_nothing_else() {
    let mut alone = BTreeSet::new();
    let cases: Vec<GateCase> = yaml("policies/tests/england/gate.yaml");
    for case in &cases {
        let (namespace, name) = case.agreement.split_once('/').unwrap();
        let reference = ObjectRef { namespace: namespace.to_owned(), name: name.to_owned() };
        let judgement = Judgement::new(&patched(&case.patch, &reference), case.at);
        let findings: Vec<String> = judgement
            .findings
            .iter()
            .filter(|finding| finding.is_error() && !finding.message.starts_with("NF-"))
            .map(|finding| format!("{} {}", finding.origin, finding.message))
            .collect();
        let assessment = judgement
            .assessments
            .agreements
            .get(&reference)
            .unwrap_or_else(|| panic!("{}: {reference} cannot be used: {findings:?}", case.name));
        let broken: BTreeSet<String> = assessment
            .broken
            .iter()
            .map(|broken| broken.rule.clone())
            .chain(assessment.parties.values().flat_map(|party| party.broken.clone()))
            .collect();
        assert_eq!(broken, case.rules, "{}: {:?}", case.name, assessment.broken);
        let refused = assessment.phase == Phase::Refused;
        match case.expect.as_str() {
            "Refused" => assert!(!assessment.broken.is_empty(), "{}: {:?}", case.name, assessment.phase),
            "Allowed" => {
                assert!(!refused && assessment.broken.is_empty(), "{}: {:?}", case.name, assessment.broken)
            }
            other => panic!("{}: `{other}` is neither Refused nor Allowed", case.name),
        }
        if let (Some(party), false) = (&case.party, case.rules.is_empty()) {
            let about_all = assessment.broken.iter().all(|broken| broken.org.is_none());
            let hit =
                about_all || assessment.parties.get(party).is_some_and(|party| !party.broken.is_empty());
            let named = assessment.broken.iter().any(|broken| broken.org.as_ref() == Some(party));
            assert!(hit || named, "{}: {:?}", case.name, assessment.broken);
        }
        if let [rule] = case.rules.iter().collect::<Vec<_>>()[..] {
            alone.insert(rule.clone());
        }
    }
    let gate: BTreeSet<String> = built_in()
        .gate
        .policies()
        .filter(|policy| policy.effect() == cedar_policy::Effect::Forbid)
        .map(|policy| policy.id().to_string())
        .collect();
    assert_eq!(alone, gate, "every rule has a case in which it alone refuses");
}

#[test]
fn local_policies_that_a_place_may_not_have_are_refused() {
    for entry in std::fs::read_dir("policies/local/refused").unwrap() {
        let path = entry.unwrap().path();
        let (refused, findings, _) = files::read(std::slice::from_ref(&path));
        assert_eq!(findings, Vec::<Finding>::new(), "{}", path.display());
        let mut snapshot = SIGNED.clone();
        snapshot.policies.extend(refused.policies.iter().cloned());
        let judgement = Judgement::new(&snapshot, "2026-11-22T09:00:00Z".parse().unwrap());
        for policy in &refused.policies {
            let key = policy.key();
            let errors: Vec<&str> = judgement
                .findings
                .iter()
                .filter(|finding| finding.is_error() && finding.origin.object.as_ref() == Some(&key))
                .map(|finding| finding.message.as_str())
                .collect();
            let lint_of_a_later_issue = path.ends_with("lv-09.yaml");
            assert!(!errors.is_empty() || lint_of_a_later_issue, "{key} was loaded");
        }
    }
}
