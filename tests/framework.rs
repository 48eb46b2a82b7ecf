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

use concordat::api::{
    AccessRequest, DecisionTier, DsptStatus, FrameworkException, FrameworkExceptionSpec, ObjectRef, Phase,
    PolicyFramework, PolicyTestCase,
};
use concordat::core::finding::{Finding, ObjectKey};
use concordat::core::judge::Judgement;
use concordat::core::policy::{RuleText, built_in, built_in_spec, run_test};
use concordat::core::sign::{SignatureRequest, signature};
use concordat::core::snapshot::{Snapshot, Sourced};
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
            let right = sign(&snapshot, &spec.agreement, &spec.party).object.spec.terms_hash.clone();
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
    Sourced::live(signature(snapshot, &request).unwrap())
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

const AT: &str = "2026-11-22T09:00:00Z";

fn at() -> Timestamp {
    AT.parse().unwrap()
}

/// A part of a world, as judging all of it takes its time.
fn only(world: &Snapshot, agreements: &[&str], policies: &[&str]) -> Snapshot {
    let mut snapshot = world.clone();
    snapshot.agreements.retain(|it| agreements.contains(&it.object.name_any().as_str()));
    snapshot.signatures.retain(|it| agreements.contains(&it.object.spec.agreement.name.as_str()));
    snapshot.policies.retain(|it| policies.contains(&it.object.name_any().as_str()));
    snapshot
}

/// What is said of an object, as code and message.
fn said(judgement: &Judgement, key: &ObjectKey) -> Vec<(&'static str, String)> {
    let about = judgement.findings.iter().filter(|finding| finding.origin.object.as_ref() == Some(key));
    about.map(|finding| (finding.code.as_str(), finding.message.clone())).collect()
}

#[test]
fn local_policies_that_a_place_may_not_have_are_refused() {
    // what refuses each, and the guardrails that answer its own request
    let expected = BTreeMap::from([
        ("lv-07", ("CON704", vec!["NF-14b", "NF-18"])),
        ("lv-08", ("CON704", vec!["NF-14b", "NF-18", "NF-19b"])),
        ("lv-09", ("CON709", vec!["agreement-permit"])),
        ("lv-10", ("CON704", vec![])),
        ("lv-11", ("CON704", vec!["NF-15"])),
        ("lv-12", ("CON704", vec!["NF-16"])),
    ]);
    let mut seen = BTreeSet::new();
    for entry in std::fs::read_dir("policies/local/refused").unwrap() {
        let path = entry.unwrap().path();
        let (refused, findings, _) = files::read(std::slice::from_ref(&path));
        assert_eq!(findings, Vec::<Finding>::new(), "{}", path.display());
        let mut snapshot = SIGNED.clone();
        snapshot.policies.clone_from(&refused.policies);
        let judgement = Judgement::new(&snapshot, at());
        for policy in &refused.policies {
            let key = policy.key();
            let (code, rules) = &expected[key.name.as_str()];
            let codes: Vec<&str> = said(&judgement, &key).iter().map(|(code, _)| *code).collect();
            assert!(!codes.is_empty() && codes.iter().all(|found| found == code), "{key}: {codes:?}");
            let reference = ObjectRef { namespace: key.namespace.clone().unwrap(), name: key.name.clone() };
            assert!(!judgement.model.policies.contains_key(&reference), "{key} is loaded");
            let comment = std::fs::read_to_string(&path).unwrap();
            for case in &policy.object.spec.tests {
                let context = judgement.decide(&case.request).answer.context;
                assert_eq!(&context.rules, rules, "{key}");
                for rule in rules.iter().filter(|rule| rule.starts_with("NF-")) {
                    assert!(comment.contains(rule), "{} does not say {rule}", path.display());
                }
                match key.name.as_str() {
                    "lv-10" => {
                        let near_miss = context.near_miss.unwrap();
                        assert_eq!((context.tier, near_miss.saw.as_str()), (DecisionTier::None, "`Expired`"));
                    }
                    // without the policy the alliance of charities reads what the agreement lists
                    "lv-09" => assert_eq!(context.tier, DecisionTier::Agreement),
                    _ => assert_eq!(context.tier, DecisionTier::Ceiling),
                }
            }
            seen.insert(key.name);
        }
    }
    assert_eq!(
        seen.iter().map(String::as_str).collect::<Vec<_>>(),
        expected.keys().copied().collect::<Vec<_>>()
    );
}

/// The world with the text of one accepted policy changed, and what is then said of it.
fn with_text(name: &str, text: &str, tests: bool) -> (Judgement, Vec<(&'static str, String)>) {
    let mut snapshot = only(&SIGNED, &["assisted-bins", "insights", "ward-activity"], &[name]);
    let policy = &mut snapshot.policies[0];
    policy.object.spec.cedar = text.to_owned();
    if !tests {
        policy.object.spec.tests.clear();
    }
    let key = policy.key();
    let judgement = Judgement::new(&snapshot, at());
    let said = said(&judgement, &key);
    (judgement, said)
}

const BINS: &str = r#"context.agreement == Concordat::Agreement::"chorley-council/assisted-bins""#;

fn permit(id: &str, condition: &str) -> String {
    format!(
        "@id(\"{id}\")\n@reason(\"a test\")\npermit (principal, action in Concordat::Action::\"useData\", resource)\nwhen \
         {{ {condition} }};\n"
    )
}

#[test]
fn a_local_rule_does_not_go_by_the_name_of_a_national_one() {
    for id in
        ["NF-13", "nf-99", "NF-", "agreement-permit", "floor-direct-care", "gate-default", "Gate", "error"]
    {
        let (judgement, said) = with_text("lv-01", &permit(id, BINS), false);
        assert_eq!(said, [("CON707", format!("rule `{id}`: its `@id` reads like a national rule"))]);
        let found = judgement.findings.iter().find(|finding| finding.code.as_str() == "CON707").unwrap();
        let origin = (found.origin.file.as_deref(), found.origin.line, found.origin.column);
        assert_eq!(origin, (Some("policies/local/lv-01.yaml"), Some(14), Some(5)), "where the text begins");
        let lv_01 = ObjectRef { namespace: "chorley-council".to_owned(), name: "lv-01".to_owned() };
        assert!(!judgement.model.policies.contains_key(&lv_01));
    }
    for id in ["NFC-readers", "info", "nf13"] {
        assert_eq!(with_text("lv-01", &permit(id, BINS), false).1, [], "{id}");
    }
}

#[test]
fn a_local_permit_names_its_agreement_where_nothing_can_get_round_it() {
    let turned = r#"Concordat::Agreement::"chorley-council/assisted-bins" == context.agreement"#;
    let accepted = [
        BINS.to_owned(),
        turned.to_owned(),
        format!("context.breakGlass == false && ({BINS} && context.legitimateRelationship)"),
        format!("context.legitimateRelationship }} when {{ {BINS}"),
    ];
    for condition in accepted {
        assert_eq!(with_text("lv-01", &permit("x", &condition), false).1, [], "{condition}");
    }
    let refused = [
        "context.legitimateRelationship".to_owned(),
        format!("{BINS} || context.legitimateRelationship"),
        format!("!({BINS})"),
        format!("if context.legitimateRelationship then {BINS} else context.explicitConsent"),
        BINS.replace("==", "!="),
        BINS.replace("==", "in"),
        r#"context.agreement in Concordat::Footprint::"chorley""#.to_owned(),
        "context.agreement == context.agreement".to_owned(),
        format!("context.explicitConsent }} unless {{ {BINS}"),
    ];
    for condition in refused {
        let said = with_text("lv-01", &permit("x", &condition), false).1;
        assert_eq!(
            said.iter().map(|(code, _)| *code).collect::<Vec<_>>(),
            ["CON708"],
            "{condition}: {said:?}"
        );
    }
    // a forbid need not: it closes
    let forbid = permit("x", "context.breakGlass").replace("permit", "forbid");
    assert_eq!(with_text("lv-01", &forbid, false).1, []);
}

#[test]
fn every_problem_of_every_rule_of_a_local_policy_is_said() {
    let text = format!(
        "{}{}",
        permit("a", "context.legitimateRelationship"),
        permit("b", "principal.org.sector == \"Nhs\"")
    );
    let said = with_text("lv-01", &text, false).1;
    let rules: Vec<(&str, &str)> =
        said.iter().map(|(code, message)| (*code, message.split(':').next().unwrap())).collect();
    assert_eq!(
        rules,
        [("CON708", "rule `a`"), ("CON708", "rule `b`"), ("CON709", "rule `b`"), ("CON709", "rule `b`")]
    );
}

#[test]
fn a_local_rule_binds_in_its_own_place_without_saying_so() {
    // M-2: the same forbid, written in Chorley and in Dorset, on a request about Dorset's data
    let forbid = "@id(\"x\") @reason(\"a test\") forbid (principal, action in Concordat::Action::\"useData\", resource) \
                  when { context.minCellCount > 0 };";
    let case = access_cases().into_iter().find(|case| {
        case.request.resource.id == "uh-dorset/ward-activity" && case.expect.decision && case.at == Some(at())
    });
    let request = case.unwrap().request;
    let tier = |policy: &str| with_text(policy, forbid, false).0.decide(&request).answer.context.tier;
    assert_eq!((tier("lv-01"), tier("lv-02")), (DecisionTier::Agreement, DecisionTier::Local));
}

/// A request about Chorley's bins that the agreement allows.
fn allowed_by_the_agreement() -> AccessRequest {
    let cases = access_cases().into_iter().filter(|case| case.at == Some(at()) && case.expect.decision);
    let about = |case: &PolicyTestCase| {
        case.expect.tier == Some(DecisionTier::Agreement)
            && case.expect.agreement.as_deref() == Some("chorley-council/assisted-bins")
    };
    cases.into_iter().find(about).unwrap().request
}

#[test]
fn a_rule_that_cannot_be_evaluated_denies_whatever_the_others_say() {
    // both are valid, and a product of two and the largest number is more than a number can be
    let overflow = "context.minCellCount * 9223372036854775807 < 0";
    let permit = permit("x", &format!("{BINS} && {overflow}"));
    let forbid = format!(
        "@id(\"x\") @reason(\"a test\") forbid (principal, action in Concordat::Action::\"useData\", resource) when {{ {overflow} }};"
    );
    for text in [permit, forbid] {
        let (judgement, said) = with_text("lv-01", &text, false);
        assert_eq!(said, [], "{text}");
        let mut request = allowed_by_the_agreement();
        let tier = |request: &AccessRequest| {
            let answer = judgement.decide(request).answer;
            (answer.decision, answer.context.tier)
        };
        request.context.min_cell_count = Some(1);
        assert_eq!(tier(&request), (true, DecisionTier::Agreement), "{text}");
        request.context.min_cell_count = Some(2);
        assert_eq!(tier(&request), (false, DecisionTier::Error), "{text}");
    }
}

#[test]
fn what_stands_in_terms_and_requests_is_never_read_as_policy() {
    let injected = r#"Nobody" || true || "a" == ""#;
    // a role of the terms that reads like the end of a text
    let mut snapshot = only(&WRITTEN, &["assisted-bins"], &[]);
    for purpose in &mut snapshot.agreements[0].object.spec.purposes {
        purpose.roles = Some(vec![injected.to_owned()]);
    }
    let judgement = Judgement::new(&signed(snapshot), at());
    let mut request = allowed_by_the_agreement();
    let tier = |judgement: &Judgement, request: &AccessRequest| judgement.decide(request).answer.context.tier;
    assert_eq!(tier(&judgement, &request), DecisionTier::None);
    // it is a role like any other
    request.context.roles = vec![injected.to_owned()];
    assert_eq!(tier(&judgement, &request), DecisionTier::Agreement);
    // and so is what a request says
    let judgement = Judgement::new(&only(&SIGNED, &["assisted-bins"], &[]), at());
    assert_eq!(tier(&judgement, &request), DecisionTier::None);
    let mut request = allowed_by_the_agreement();
    request.context.region = Some(injected.to_owned());
    assert_eq!(tier(&judgement, &request), DecisionTier::Ceiling);
    request.context.purpose = Some(injected.to_owned());
    assert_eq!(tier(&judgement, &request), DecisionTier::None);
}

#[test]
fn a_permit_that_can_never_take_effect_is_a_warning_that_names_what_stops_it() {
    let place = "rule `x`: ";
    let of = |policy: &str, condition: &str| -> Vec<(&'static str, String)> {
        with_text(policy, &permit("x", condition), false)
            .1
            .into_iter()
            .map(|(code, message)| (code, message.strip_prefix(place).unwrap().to_owned()))
            .collect()
    };
    let insights = r#"context.agreement == Concordat::Agreement::"derby-and-derbyshire-icb/insights""#;
    assert_eq!(
        of(
            "lv-04",
            &format!(
                "{insights} && context.identifiability == 0 && context.minCellCount > 0 && context.minCellCount < 8"
            )
        ),
        [(
            "CON710",
            "whatever it permits under `derby-and-derbyshire-icb/insights` is denied by NF-16".to_owned()
        )]
    );
    assert_eq!(
        of("lv-04", &format!("{insights} && context.identifiability == 3")),
        [(
            "CON710",
            "whatever it permits under `derby-and-derbyshire-icb/insights` is denied by NF-14a".to_owned()
        )]
    );
    assert_eq!(
        of("lv-04", &format!("{insights} && context.purpose == \"Planing\"")),
        [("CON710", "it applies to nothing that `derby-and-derbyshire-icb/insights` lists".to_owned())]
    );
    assert_eq!(
        of("lv-01", &format!("{BINS} && {insights}")),
        [(
            "CON710",
            "it asks for the agreements `chorley-council/assisted-bins` and `derby-and-derbyshire-icb/insights` at once"
                .to_owned()
        )]
    );
    assert_eq!(
        of("lv-01", insights),
        [(
            "CON710",
            "no product of `derby-and-derbyshire-icb/insights` has its controller in `chorley`".to_owned()
        )]
    );
    // what can take effect, and what is not seen, is not spoken of
    for condition in [
        format!("{insights} && context.identifiability == 0 && context.minCellCount == 8"),
        format!("{insights} && !context.optOutsApplied && !context.legitimateRelationship"),
        format!("{insights} && context.now > datetime(\"2027-01-01\")"),
        format!("{insights} && context.caseReference like \"DER-*\""),
    ] {
        assert_eq!(of("lv-04", &condition), [], "{condition}");
    }
}

#[test]
fn a_permit_for_an_agreement_that_has_ended_is_a_warning() {
    let mut snapshot = only(&SIGNED, &["connected-care"], &[]);
    let (lv_10, ..) = files::read(&[PathBuf::from("policies/local/refused/lv-10.yaml")]);
    snapshot.policies = lv_10.policies;
    snapshot.policies[0].object.spec.tests.clear();
    let key = snapshot.policies[0].key();
    let said = said(&Judgement::new(&snapshot, at()), &key);
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(said[0].0, "CON710");
    assert!(said[0].1.contains("`frimley-health/connected-care` ended on 2026-"), "{}", said[0].1);
}

#[test]
fn the_accepted_local_policies_have_nothing_said_of_them() {
    let judgement = Judgement::new(&SIGNED, at());
    for policy in &SIGNED.policies {
        let key = policy.key();
        // written to show a permit that does not bind
        let expected: &[&str] = if key.name == "others-data" { &["CON710"] } else { &[] };
        let codes: Vec<&str> = said(&judgement, &key).iter().map(|(code, _)| *code).collect();
        assert_eq!(codes, expected, "{key}");
    }
}

#[test]
fn every_national_rule_says_why_whence_and_what_would_help() {
    for (id, text) in &built_in().rules {
        let RuleText { reason, source, help, field } = text;
        assert!(reason.len() > 20 && !reason.ends_with('.'), "{id}: {reason}");
        if id.starts_with("NF-") {
            assert!(!source.is_empty() && help.len() > 15 && !help.ends_with('.'), "{id}: {source} {help}");
            let gate = built_in().gate.policies().any(|policy| policy.id().to_string() == *id);
            assert_eq!(gate, !field.is_empty(), "{id}: a rule of the gate has a field to mend: {field}");
        }
    }
}

/// A stricter version: larger cells, shorter terms, no extracts.
fn stricter() -> PolicyFramework {
    let mut spec = built_in_spec().clone();
    spec.version = "1.1.0".to_owned();
    spec.limits.min_cell = Some(10);
    spec.limits.term_months = Some(12);
    spec.limits.local_policy_review_months = Some(3);
    let rule = "@id(\"NF-30\") @tier(\"Ceiling\") @reason(\"nothing is extracted\") @source(\"a test\")\n\
                forbid (principal, action == Concordat::Action::\"extract\", resource);\n\
                @id(\"NF-31\") @tier(\"Gate\") @reason(\"a test of one's own words\") @source(\"a test\")\n\
                @help(\"write a longer title\") @field(\"spec.title\")\n\
                forbid (principal, action == Concordat::Action::\"activateAgreement\", resource)\n\
                when { resource.retention.days > 700 };";
    spec.policies.insert("more.cedar".to_owned(), rule.to_owned());
    PolicyFramework::new("england-1.1.0", spec)
}

fn insights() -> ObjectRef {
    ObjectRef { namespace: "derby-and-derbyshire-icb".to_owned(), name: "insights".to_owned() }
}

/// The world, where one agreement has moved to a framework and `change` has been made to it.
fn moved(
    framework: PolicyFramework,
    change: impl Fn(&mut concordat::api::DataSharingAgreementSpec),
) -> Snapshot {
    let mut snapshot = only(&WRITTEN, &["assisted-bins", "insights", "mdt"], &["lv-01", "lv-04"]);
    let agreement = snapshot.agreements.iter_mut().find(|it| it.object.name_any() == "insights").unwrap();
    agreement.object.spec.framework.name.clone_from(&framework.spec.name);
    agreement.object.spec.framework.version.clone_from(&framework.spec.version);
    change(&mut agreement.object.spec);
    snapshot.frameworks.push(Sourced::live(framework));
    signed(snapshot)
}

fn ask(judgement: &Judgement, resource: &str, count: i64) -> (DecisionTier, Vec<String>) {
    let org = resource.split_once('/').unwrap().0;
    let request = serde_json::from_value(serde_json::json!({
        "subject": { "type": "OrgFunction", "id": format!("{org}/main") },
        "action": { "name": "queryAggregate" },
        "resource": { "type": "DataProduct", "id": resource },
        "context": { "purpose": "Planning", "identifiability": "AggregateSuppressed", "roles": ["Analyst"],
                     "minCellCount": count, "region": "GB" },
    }))
    .unwrap();
    let context = judgement.decide(&request).answer.context;
    (context.tier, context.rules)
}

#[test]
fn each_agreement_is_judged_by_the_framework_that_it_names() {
    let short = |spec: &mut concordat::api::DataSharingAgreementSpec| {
        spec.term.end = "2027-03-31T00:00:00Z".parse().unwrap();
        spec.term.review_by = "2027-03-30T00:00:00Z".parse().unwrap();
    };
    let judgement = Judgement::new(&moved(stricter(), short), at());
    let phase = |reference: &ObjectRef| judgement.assessments.agreements[reference].phase;
    assert_eq!(phase(&insights()), Phase::Active, "{:?}", judgement.findings);
    let library = "derby-and-derbyshire-icb/experience-library";
    assert_eq!(ask(&judgement, library, 9), (DecisionTier::Ceiling, vec!["NF-16".to_owned()]));
    // the others stay where they are: a term of 24 months is none of 1.1.0's business
    let before =
        Judgement::new(&only(&SIGNED, &["assisted-bins", "insights", "mdt"], &["lv-01", "lv-04"]), at());
    for (reference, assessment) in &before.assessments.agreements {
        assert_eq!((phase(reference), assessment.phase), (Phase::Active, Phase::Active), "{reference}");
    }
    assert_eq!(ask(&before, library, 9).0, DecisionTier::Agreement, "1.0.0 hides what is below 8");
    assert_eq!(
        ask(&judgement, "whittington-health/mdt-activity", 9).0,
        ask(&before, "whittington-health/mdt-activity", 9).0
    );
    // and with the term that 1.0.0 allows, 1.1.0 refuses it
    let judgement = Judgement::new(&moved(stricter(), |_| ()), at());
    let assessment = &judgement.assessments.agreements[&insights()];
    assert_eq!(assessment.phase, Phase::Refused);
    assert_eq!(assessment.broken.iter().map(|it| it.rule.as_str()).collect::<Vec<_>>(), ["NF-02"]);
}

#[test]
fn what_would_help_is_in_the_words_of_the_framework_that_judges() {
    let long = |spec: &mut concordat::api::DataSharingAgreementSpec| {
        spec.term.end = "2027-03-31T00:00:00Z".parse().unwrap();
        spec.retention.days = 800;
    };
    let judgement = Judgement::new(&moved(stricter(), long), at());
    let found: Vec<&Finding> = judgement.findings.iter().filter(|it| it.message.starts_with("NF-")).collect();
    let said: Vec<_> = found
        .iter()
        .filter(|it| it.origin.object.as_ref().is_some_and(|key| key.name == "insights"))
        .map(|it| (it.message.as_str(), it.help.as_deref(), it.origin.field.as_deref()))
        .collect();
    // a rule of which we know nothing is asked of each party by itself
    let mended = |message| (message, Some("write a longer title"), Some("spec.title"));
    assert_eq!(
        said,
        [
            mended("NF-31 for `derby-and-derbyshire-icb`: a test of one's own words"),
            mended("NF-31 for `joined-up-care-alliance`: a test of one's own words"),
        ]
    );
}

#[test]
fn a_local_policy_is_held_to_the_frameworks_in_use_in_its_footprint_and_no_others() {
    let judgement = Judgement::new(&moved(stricter(), |_| ()), at());
    let codes = |name: &str| -> Vec<String> {
        let policy = SIGNED.policies.iter().find(|policy| policy.object.name_any() == name).unwrap();
        said(&judgement, &policy.key())
            .into_iter()
            .map(|(code, message)| format!("{code} {message}"))
            .collect()
    };
    // its review in April is more than the three months ahead that 1.1.0 allows
    assert_eq!(codes("lv-04"), ["CON706 the review is more than 3 months ahead"]);
    assert_eq!(codes("lv-01"), Vec::<String>::new());
    // the ids of every framework are national
    let mut snapshot = moved(stricter(), |_| ());
    let policy = snapshot.policies.iter_mut().find(|policy| policy.object.name_any() == "lv-01").unwrap();
    policy.object.spec.cedar = permit("NF-30", BINS);
    policy.object.spec.tests.clear();
    let key = policy.key();
    assert_eq!(said(&Judgement::new(&snapshot, at()), &key)[0].0, "CON707");
}

#[test]
fn a_framework_before_its_time_or_past_it_refuses_every_agreement_that_names_it() {
    let date = |text: &str| text.parse::<Timestamp>().unwrap();
    let phase = |effective: &str, retires: Option<&str>| {
        let mut framework = stricter();
        framework.spec.limits = built_in_spec().limits.clone();
        framework.spec.effective_from = date(effective);
        framework.spec.retires_on = retires.map(date);
        let judgement = Judgement::new(&moved(framework, |_| ()), at());
        let assessment = &judgement.assessments.agreements[&insights()];
        let codes: Vec<&str> = judgement
            .findings
            .iter()
            .filter(|it| it.origin.object.as_ref().is_some_and(|key| key.name == "insights"))
            .map(|it| it.code.as_str())
            .collect();
        (assessment.phase, codes, assessment.next)
    };
    let refused = |next| (Phase::Refused, vec!["CON409"], next);
    assert_eq!(phase("2026-11-22T09:00:01Z", None), refused(Some(date("2026-11-22T09:00:01Z"))));
    let review = Some(date("2027-04-01T00:00:00Z"));
    assert_eq!(phase(AT, None), (Phase::Active, vec![], review));
    assert_eq!(phase("2026-01-01T00:00:00Z", Some(AT)), refused(review));
    let (active, codes, next) = phase("2026-01-01T00:00:00Z", Some("2026-11-22T09:00:01Z"));
    assert_eq!((active, codes, next), (Phase::Active, vec![], Some(date("2026-11-22T09:00:01Z"))));
}

#[test]
fn another_text_under_the_same_name_and_version_is_refused_with_all_that_names_it() {
    let mut framework = PolicyFramework::new("england-1.0.0", built_in_spec().clone());
    framework.spec.limits.min_cell = Some(1);
    let judgement = Judgement::new(&moved(framework, |_| ()), at());
    assert!(judgement.findings.iter().any(|finding| finding.code.as_str() == "CON603"));
    assert!(judgement.model.frameworks.is_empty());
    assert!(judgement.assessments.agreements.values().all(|assessment| !assessment.in_force()));
}

#[test]
fn a_framework_whose_policies_go_past_the_bounds_is_refused_and_nothing_aborts() {
    let deep = format!("{}true{}", "(".repeat(200), ")".repeat(200));
    let long = vec!["context.breakGlass"; 500].join(" && ");
    let ifs = format!("{}true", "if true then true else ".repeat(2_000));
    for condition in [deep, long, ifs, "\u{0}".to_owned(), "\u{202e}".to_owned()] {
        let mut framework = stricter();
        let text = permit("NF-32", &condition).replace("permit", "forbid");
        framework.spec.policies.insert("bad.cedar".to_owned(), text);
        let judgement = Judgement::new(&moved(framework, |_| ()), at());
        let key = ObjectKey::new("PolicyFramework", None, "england-1.1.0");
        let said = said(&judgement, &key);
        assert!(!said.is_empty() && !judgement.model.accepted(&key), "{said:?}");
        assert_ne!(judgement.assessments.agreements.get(&insights()).map(|it| it.phase), Some(Phase::Active));
    }
}

#[test]
fn an_exception_lifts_its_rule_in_its_place_between_its_dates_and_nowhere_else() {
    let outcome = |change: &dyn Fn(&mut FrameworkExceptionSpec)| {
        let mut snapshot = only(&WRITTEN, &["insights"], &[]);
        let agreement = &mut snapshot.agreements[0];
        agreement.object.spec.outcome_measures.clear();
        let mut exception = snapshot.exceptions[0].clone();
        let FrameworkException { metadata, spec, status: _ } = &mut *exception.object;
        metadata.name = Some("derby-measures".to_owned());
        spec.rule = "NF-10".to_owned();
        spec.footprint = "derby-and-derbyshire".to_owned();
        spec.approved_by = "NHS England, Director of Privacy".to_owned();
        change(spec);
        snapshot.exceptions.push(exception);
        let judgement = Judgement::new(&signed(snapshot), at());
        let key = ObjectKey::new("FrameworkException", None, "derby-measures");
        let codes: Vec<&str> = said(&judgement, &key).iter().map(|(code, _)| *code).collect();
        (judgement.assessments.agreements[&insights()].phase, codes)
    };
    let date = |text: &str| text.parse::<Timestamp>().unwrap();
    assert_eq!(outcome(&|_| ()), (Phase::Active, vec![]));
    assert_eq!(outcome(&|it| it.until = at()), (Phase::Refused, vec![]), "it has ended");
    assert_eq!(outcome(&|it| it.until = date("2026-11-22T09:00:01Z")), (Phase::Active, vec![]));
    assert_eq!(outcome(&|it| it.from = date("2026-11-22T09:00:01Z")), (Phase::Refused, vec![]), "not yet");
    assert_eq!(outcome(&|it| it.from = at()), (Phase::Active, vec![]));
    assert_eq!(outcome(&|it| it.footprint = "dorset".to_owned()), (Phase::Refused, vec![]), "elsewhere");
    assert_eq!(outcome(&|it| it.footprint = "nowhere".to_owned()), (Phase::Refused, vec!["CON104"]));
    for rule in
        ["NF-05", "NF-12", "NF-12b", "NF-14a", "NF-19c", "NF-21", "NF-01", "agreement-permit", "NF-99"]
    {
        assert_eq!(outcome(&|it| it.rule = rule.to_owned()), (Phase::Refused, vec!["CON604"]), "{rule}");
    }
    for own in ["derby-and-derbyshire-icb", "Joined-Up-Care-Alliance"] {
        assert_eq!(outcome(&|it| it.approved_by = own.to_owned()), (Phase::Refused, vec!["CON604"]), "{own}");
    }
}

#[test]
fn an_exception_without_an_end_is_refused_by_its_schema() {
    let mut value = serde_json::to_value(&WRITTEN.exceptions[0].object).unwrap();
    let missing =
        |value: &Value| concordat::core::validate::shape::problems("FrameworkException", value).len();
    assert_eq!(missing(&value), 0);
    value["spec"].as_object_mut().unwrap().remove("until");
    assert_eq!(missing(&value), 1);
}

/// The agreements that list a product.
fn world_agreements(snapshot: &Snapshot, product: &str) -> Vec<String> {
    let lists = |it: &&Sourced<concordat::api::DataSharingAgreement>| {
        let mut products = it.object.spec.purposes.iter().flat_map(|purpose| &purpose.products);
        products.any(|listed| listed.to_string() == product)
    };
    snapshot.agreements.iter().filter(lists).map(|it| it.object.name_any()).collect()
}

/// `rule: clause is saw, and has to be wants`, then who can change it.
fn near_miss(snapshot: &Snapshot, case: &str, context: Value) -> (String, String) {
    let mut request = access_cases().into_iter().find(|it| it.name == case).unwrap().request;
    let mut value = serde_json::to_value(&request.context).unwrap();
    merge(&mut value, &context);
    request.context = serde_json::from_value(value).unwrap();
    let agreements: Vec<String> = world_agreements(snapshot, &request.resource.id);
    let agreements: Vec<&str> = agreements.iter().map(String::as_str).collect();
    let policies: Vec<String> = snapshot.policies.iter().map(|it| it.object.name_any()).collect();
    let policies: Vec<&str> =
        if snapshot.policies.len() > 1 { Vec::new() } else { policies.iter().map(String::as_str).collect() };
    let snapshot = &only(snapshot, &agreements, &policies);
    let answer = Judgement::new(snapshot, at()).decide(&request).answer;
    assert!(!answer.decision);
    let near = answer.context.near_miss.unwrap();
    (
        format!(
            "{}: {} is {}, and has to be {}",
            near.rule.unwrap_or_default(),
            near.clause,
            near.saw,
            near.wants
        ),
        near.who,
    )
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

const CARE: &str = "LV-01: a care coordinator reads the council's list";
const ASKER: &str = "whoever asks: the enforcement point in front of the product";

#[test]
fn a_deny_says_which_permit_came_closest_and_what_it_lacked() {
    let world = only(&SIGNED, &["assisted-bins"], &["lv-01"]);
    let missing = r#"{"legitimateRelationship": false, "identifiability": "Pseudonymised"}"#;
    assert_eq!(
        near_miss(&world, CARE, json(missing)),
        (
            "chorley-council/lv-01#care-coordinators: context.legitimateRelationship is false, and has to be true"
                .to_owned(),
            format!("{ASKER}; or the place, in local policy `chorley-council/lv-01`")
        )
    );
    let roles = "agreement-permit: context.roles is `Analyst`, and has to be one of `Clinician`";
    let parties = "the parties, in `purposes[].roles`; or the place, with a local permit";
    assert_eq!(
        near_miss(&world, CARE, json(r#"{"roles": ["Analyst"]}"#)),
        (roles.to_owned(), parties.to_owned())
    );
    assert_eq!(
        near_miss(&world, CARE, json(r#"{"roles": null}"#)).0,
        "agreement-permit: context.roles is none, and has to be one of `Clinician`"
    );
}

#[test]
fn each_kind_of_clause_is_told_in_plain_words() {
    let nearest = |condition: &str| {
        let mut world = only(&SIGNED, &["assisted-bins"], &["lv-01"]);
        world.policies[0].object.spec.cedar = permit("x", &format!("{BINS} && {condition}"));
        world.policies[0].object.spec.tests.clear();
        let (text, _) = near_miss(&world, CARE, json("{}"));
        text.strip_prefix("chorley-council/lv-01#x: ").map(str::to_owned)
    };
    for (condition, text) in [
        ("context.explicitConsent", "context.explicitConsent is false, and has to be true"),
        ("!context.legitimateRelationship", "context.legitimateRelationship is true, and has to be false"),
        ("context.region == \"FR\"", "context.region is `GB`, and has to be `FR`"),
        (
            "context.identifiability > 2",
            "context.identifiability is `Pseudonymised`, and has to be at least `Identifiable`",
        ),
        (
            "3 <= context.identifiability",
            "context.identifiability is `Pseudonymised`, and has to be at least `Identifiable`",
        ),
        ("context.caseReference != \"\"", "context.caseReference is left out, and has to be given"),
        (
            "[\"A\", \"B\"].contains(context.caseReference)",
            "context.caseReference is left out, and has to be one of `A`, `B`",
        ),
        ("context.minCellCount >= 8", "context.minCellCount is 0, and has to be at least 8"),
        (
            "(context.breakGlass || context.explicitConsent)",
            "context.breakGlass is false, and has to be true, or context.explicitConsent (now false) true",
        ),
        (
            "(if context.breakGlass then true else false)",
            "`if context.breakGlass then true else false` is false, and has to be true",
        ),
    ] {
        let seen = nearest(condition);
        // what is said of something other than the request lies further off than another role
        if condition.starts_with("(if") {
            assert_eq!(seen, None, "{condition}");
        } else {
            assert_eq!(seen.as_deref(), Some(text), "{condition}");
        }
    }
}

#[test]
fn a_permit_for_another_agreement_is_not_close() {
    let mut world = only(&SIGNED, &["assisted-bins", "ward-activity"], &["lv-01"]);
    let other = r#"context.agreement == Concordat::Agreement::"uh-dorset/ward-activity""#;
    world.policies[0].object.spec.cedar = permit("x", other);
    world.policies[0].object.spec.tests.clear();
    let (text, _) = near_miss(&world, CARE, json("{}"));
    assert_eq!(
        text,
        "agreement-permit: context.roles is `CareCoordinator`, and has to be one of `Clinician`"
    );
}

#[test]
fn a_guardrail_that_denies_says_what_would_have_kept_it_silent() {
    assert_eq!(
        near_miss(&SIGNED, "NF-15: section 251 without opt-outs", json("{}")),
        (
            "NF-15: context.optOutsApplied is false, and has to be true, or context.explicitConsent (now false) true, \
             or context.identifiability (now `Identifiable`) at most `Pseudonymised`"
                .to_owned(),
            ASKER.to_owned()
        )
    );
    assert_eq!(
        near_miss(&SIGNED, "NF-12: a purpose that is not listed", json("{}")).0.split(" is ").next(),
        Some("NF-12: context.purpose")
    );
    assert_eq!(
        near_miss(&SIGNED, "LV-12: analysts do not get small counts", json("{}")).0,
        "NF-16: context.minCellCount is 5, and has to be at least 8, or at most 0, or context.identifiability (now \
         `AggregateSuppressed`) anything but `AggregateSuppressed`"
    );
}

#[test]
fn a_flow_ends_with_the_assurance_that_counts() {
    let end = |change: &dyn Fn(&mut concordat::api::PartnerOrgSpec)| {
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
        move |spec: &mut concordat::api::PartnerOrgSpec| {
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

fn answer(judgement: &Judgement, name: &str) -> (DecisionTier, Option<String>) {
    let case = access_cases().into_iter().find(|case| case.name == name).unwrap();
    let context = judgement.decide(&case.request).answer.context;
    (context.tier, context.rule)
}

const FORBIDDEN: &str = "LV-03: Islington's floor of ten refuses a count of nine";
const PERMITTED: &str = "LV-01: a care coordinator reads the council's list";

#[test]
fn a_policy_whose_review_is_too_far_ahead_keeps_its_forbids_and_loses_its_permits() {
    let mut snapshot = only(&SIGNED, &["mdt", "assisted-bins", "ward-activity"], &["lv-01", "lv-03"]);
    let forbidden = answer(&Judgement::new(&snapshot, at()), FORBIDDEN);
    assert_eq!(forbidden.0, DecisionTier::Local);
    for policy in &mut snapshot.policies {
        policy.object.spec.review_by = "2027-11-22T09:00:01Z".parse().unwrap();
    }
    let judgement = Judgement::new(&snapshot, at());
    assert_eq!(answer(&judgement, FORBIDDEN), forbidden);
    assert_eq!(answer(&judgement, PERMITTED).0, DecisionTier::None);
    let far: Vec<bool> =
        judgement.findings.iter().filter(|it| it.code.as_str() == "CON706").map(Finding::is_error).collect();
    assert_eq!(far, [true, true]);
}

#[test]
fn a_policy_that_is_being_deleted_keeps_its_forbids_and_loses_its_permits() {
    let mut snapshot = only(&SIGNED, &["mdt", "assisted-bins", "ward-activity"], &["lv-01", "lv-03"]);
    let before = Judgement::new(&snapshot, at());
    assert_eq!(answer(&before, PERMITTED).0, DecisionTier::Local);
    for policy in &mut snapshot.policies {
        policy.object.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at()));
    }
    let judgement = Judgement::new(&snapshot, at());
    assert_eq!(answer(&judgement, FORBIDDEN), answer(&before, FORBIDDEN));
    assert_eq!(answer(&judgement, PERMITTED).0, DecisionTier::None);
}

#[test]
fn a_policy_that_is_refused_for_something_beside_its_text_keeps_the_forbids_that_it_had() {
    let mut snapshot = only(&SIGNED, &["mdt"], &["lv-03"]);
    let policy = &mut snapshot.policies[0].object;
    policy.status = serde_json::from_value(serde_json::json!({ "loaded": policy.spec.cedar })).unwrap();
    policy.spec.reason = "a\u{202e}b".to_owned();
    snapshot.policies[0].source = Arc::default();
    let judgement = Judgement::new(&snapshot, at());
    assert_eq!(answer(&judgement, FORBIDDEN).0, DecisionTier::Local);
    assert!(judgement.findings.iter().any(|it| it.code.as_str() == "CON011"), "{:?}", judgement.findings);
}

/// The bins' agreement with one that would take its place.
fn followed(sign_it: bool) -> Snapshot {
    let mut snapshot = only(&SIGNED, &["assisted-bins"], &["lv-01"]);
    let mut next = snapshot.agreements[0].clone();
    let old = ObjectRef { namespace: next.object.namespace().unwrap(), name: next.object.name_any() };
    next.object.metadata.name = Some("bins-2".to_owned());
    next.object.spec.reference = "CHOR-2026-999".to_owned();
    next.object.spec.supersedes = Some(old);
    snapshot.agreements.push(next);
    if sign_it { signed(snapshot) } else { snapshot }
}

#[test]
fn a_draft_that_nobody_has_signed_changes_nothing_for_the_policies_of_the_old_agreement() {
    let snapshot = followed(false);
    let judgement = Judgement::new(&snapshot, at());
    assert_eq!(said(&judgement, &snapshot.policies[0].key()), []);
    assert_eq!(answer(&judgement, PERMITTED).0, DecisionTier::Local);
}

#[test]
fn a_policy_whose_agreement_has_been_superseded_waits_and_keeps_its_forbids() {
    let snapshot = followed(true);
    let judgement = Judgement::new(&snapshot, at());
    let why = "`chorley-council/assisted-bins`, which its tests ask about, is superseded";
    assert_eq!(said(&judgement, &snapshot.policies[0].key()), [("CON705", why.to_owned())]);
    assert_eq!(judgement.model.policies.len(), 1);
}
