//! The national framework `england`, held to its cases: `policies/tests/england`.
//!
//! Every case goes the whole way: manifests to a snapshot, a model, the agreement gate, a decision.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::type_complexity,
    reason = "a test may fail loudly"
)]

#[path = "framework/caledonia.rs"]
mod caledonia;
#[path = "framework/forbids.rs"]
mod forbids;
#[path = "framework/local_policies.rs"]
mod local_policies;
#[path = "framework/near_misses.rs"]
mod near_misses;
#[path = "framework/versions.rs"]
mod versions;
#[path = "framework/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};

use concordat_api::{DsptStatus, ObjectRef, Phase, PolicyTestCase};
use concordat_core::evaluate::Judgement;
use concordat_core::policy::{RuleText, built_in, run_test};
use concordat_core::snapshot::{Snapshot, Sourced};
use jiff::Timestamp;
use kube::ResourceExt as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use world::{Judgements, SIGNED, WRITTEN, access_cases, at, merge, only, signed, yaml};

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
        sourced.object = serde_json::from_value::<T>(value).unwrap().into();
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
fn every_national_rule_says_why_whence_and_what_would_help() {
    for (id, text) in &built_in().rules {
        let RuleText { reason, source, help, field, .. } = text;
        assert!(reason.len() > 20 && !reason.ends_with('.'), "{id}: {reason}");
        if id.starts_with("NF-") {
            assert!(!source.is_empty() && help.len() > 15 && !help.ends_with('.'), "{id}: {source} {help}");
            let gate = built_in().gate.policies().any(|policy| policy.id().to_string() == *id);
            assert_eq!(gate, !field.is_empty(), "{id}: a rule of the gate has a field to fix: {field}");
        }
    }
}

#[test]
fn a_flow_ends_with_the_assurance_that_counts() {
    let end = |change: &dyn Fn(&mut concordat_api::PartnerOrgSpec)| {
        let mut snapshot = only(&SIGNED, &["discharge"], &[]);
        let org = snapshot.orgs.iter_mut().find(|org| org.object.name_any() == "example-hospice").unwrap();
        change(&mut org.object.spec);
        let judgement = Judgement::new(&snapshot, at());
        let reference =
            ObjectRef { namespace: "tameside-and-glossop".to_owned(), name: "discharge".to_owned() };
        let flows = &judgement.assessments.agreements[&reference].flows;
        let flow = flows.iter().find(|flow| flow.recipient.org == "example-hospice");
        flow.map(|flow| flow.not_after.to_string())
    };
    let equivalent = Some("2027-01-15T00:00:00Z".to_owned());
    assert_eq!(end(&|_| ()), equivalent);
    let dspt = |status: DsptStatus, until: &str| {
        let until: Timestamp = until.parse().unwrap();
        move |spec: &mut concordat_api::PartnerOrgSpec| {
            let assurance = spec.assurance.as_mut().unwrap();
            let dspt = assurance.dspt.as_mut().unwrap();
            (dspt.status, dspt.valid_until) = (status, Some(until));
        }
    };
    // a DSPT that is not met bounds nothing, however long it is valid
    for status in [DsptStatus::ApproachingStandards, DsptStatus::StandardsNotMet, DsptStatus::NotPublished] {
        assert_eq!(end(&dspt(status, "2027-02-15T00:00:00Z")), equivalent, "{status:?}");
    }
    let met = end(&dspt(DsptStatus::StandardsMet, "2027-02-15T00:00:00Z"));
    assert_eq!(met, Some("2027-02-15T00:00:00Z".to_owned()), "either serves, and the later one bounds");
    assert_eq!(end(&dspt(DsptStatus::StandardsMet, "2026-12-15T00:00:00Z")), equivalent);
}
