//! Local policies: what a place may write, what is said of it, and what stays of a policy that is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use concordat_api::{
    AccessRequest, CrossBoundary, DecisionTier, Expectation, ObjectRef, PlaceFootprint, PlaceFootprintSpec,
    PolicyTestCase,
};
use concordat_core::evaluate::Judgement;
use concordat_core::finding::Finding;
use concordat_core::policy::{Filter, run_test, who_can};
use concordat_core::snapshot::{Snapshot, Sourced};
use concordat_source::files;
use jiff::SignedDuration;
use kube::ResourceExt as _;

use super::world::{BINS, SIGNED, WRITTEN, access_cases, at, only, permit, said, signed, with_text};

#[test]
fn local_policies_that_a_place_may_not_have_are_refused() {
    // what refuses each, and the guardrails that answer its own request
    let expected = BTreeMap::from([
        ("lv-07", ("CON704", vec!["NF-14b", "NF-18"])),
        ("lv-08", ("CON704", vec!["NF-14b", "NF-18", "NF-19b"])),
        ("lv-09", ("CON709", vec![])),
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
            let permits =
                judgement.model.policies.get(&reference).is_some_and(|it| it.permits_disabled.is_none());
            assert!(!permits, "the permits of {key} count");
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
                    // the text does not load, and may have forbidden what the agreement lists
                    "lv-09" => assert_eq!(context.tier, DecisionTier::Error),
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
        assert!(judgement.model.policies[&lv_01].permits_disabled.is_some());
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
        case.request.resource.id == "uh-dorset/ward-activity"
            && case.expect.decision == Some(true)
            && case.at == Some(at())
    });
    let request = case.unwrap().request;
    let tier = |policy: &str| with_text(policy, forbid, false).0.decide(&request).answer.context.tier;
    assert_eq!((tier("lv-01"), tier("lv-02")), (DecisionTier::Agreement, DecisionTier::Local));
}

/// A request about Chorley's bins that the agreement allows.
fn allowed_by_the_agreement() -> AccessRequest {
    let cases =
        access_cases().into_iter().filter(|case| case.at == Some(at()) && case.expect.decision == Some(true));
    let about = |case: &PolicyTestCase| {
        case.expect.tier == Some(DecisionTier::Agreement)
            && case.expect.agreement.as_deref() == Some("chorley-council/assisted-bins")
    };
    cases.into_iter().find(about).unwrap().request
}

#[test]
fn a_rule_that_can_fail_is_refused_before_it_does() {
    let forbid = |condition: &str| {
        format!(
            "@id(\"x\") @reason(\"a test\") forbid (principal, action in Concordat::Action::\"useData\", resource) when \
             {{ {condition} }};"
        )
    };
    for condition in [
        "context.minCellCount * 9223372036854775807 < 0",
        "context.minCellCount + 1 < 0",
        "context.localMinute - context.weekday < 0",
        "-context.minCellCount < 0",
        "context.now.offset(duration(\"1d\")) > datetime(\"2027-01-01\")",
        "context.now.durationSince(datetime(\"2027-01-01\")) > duration(\"1d\")",
        "Concordat::PartnerOrg::\"chorley-council\".sector == \"Police\" && context.breakGlass",
        "(if context.breakGlass then Concordat::Footprint::\"chorley\" else Concordat::Footprint::\"dorset\").tier == \"Place\"",
    ] {
        let (judgement, said) = with_text("lv-01", &forbid(condition), false);
        assert!(said.iter().any(|(code, _)| *code == "CON712"), "{condition}: {said:?}");
        // and what it could forbid is denied
        assert_eq!(judgement.decide(&allowed_by_the_agreement()).answer.context.tier, DecisionTier::Error);
    }
    for condition in [
        "context.now > datetime(\"2027-01-01T00:00:00Z\")",
        "context.localMinute < 480 || context.weekday >= 6",
        "principal.org.state != \"Active\"",
        "{offset: context.minCellCount}.offset > 5",
        "context has onwardTo && context.onwardTo.state == \"Suspended\"",
    ] {
        assert_eq!(with_text("lv-01", &forbid(condition), false).1, [], "{condition}");
    }
}

#[test]
fn words_in_cedar_are_held_to_the_vocabulary_and_to_what_there_is() {
    let forbid = |condition: &str| {
        let text = format!(
            "@id(\"x\") @reason(\"a test\") forbid (principal, action in Concordat::Action::\"useData\", resource) when \
             {{ {condition} }};"
        );
        let judgement = with_text("lv-01", &text, false).0;
        let found = judgement.findings.iter().filter(|it| it.code.as_str() == "CON711");
        let found: Vec<_> = found.map(|it| (it.is_error(), it.help.clone().unwrap_or_default())).collect();
        // whatever is said of it, it forbids
        assert_eq!(judgement.model.policies.values().map(|policy| policy.rules.len()).sum::<usize>(), 1);
        found
    };
    for (condition, meant) in [
        ("context.purpose == \"ProactivCare\"", "ProactiveCare"),
        ("\"proactiveCare\" != context.purpose", "ProactiveCare"),
        ("[\"Planing\", \"Research\"].contains(context.purpose)", "Planning"),
        ("context.roles.containsAny([\"CareCordinator\"])", "CareCoordinator"),
        ("context.agreement.hasTag(\"DirectCar\")", "DirectCare"),
        (
            "principal.org.assurance.dspt.status == \"StandardMet\" && context.identifiability >= 2",
            "StandardsMet",
        ),
        ("context.agreement.confidentiality.basis == \"Sectoin251\"", "Section251"),
        ("principal.org.state == \"Actve\"", "Active"),
        ("context.purpose == \"Planning\" && context.region == \"UK\"", "GB"),
        ("principal.org == Concordat::PartnerOrg::\"chorley-counsil\"", "chorley-council"),
        (
            "resource == Concordat::DataProduct::\"chorley-council/asisted-bin-collections\"",
            "chorley-council/assisted-bin-collections",
        ),
        (
            "principal.function == Concordat::OrgFunction::\"chorley-central-pcn/mian\"",
            "chorley-central-pcn/main",
        ),
    ] {
        let found = forbid(condition);
        assert_eq!(found, [(true, format!("did you mean `{meant}`?"))], "{condition}");
    }
    let unlike = forbid("context.roles.contains(\"Beekeeper\")");
    assert_eq!(unlike.iter().map(|(error, _)| *error).collect::<Vec<_>>(), [false]);
    assert_eq!(forbid("context.purpose == \"Planning\" && context.region != \"GB\""), []);
}

#[test]
fn what_fires_can_be_tested_whoever_decides() {
    let (mut snapshot, rule) =
        (only(&SIGNED, &["mdt", "ward-activity"], &["lv-03"]), "islington-council/lv-03#smallest-count-ten");
    let run = |snapshot: &Snapshot| said(&Judgement::new(snapshot, at()), &snapshot.policies[0].key());
    let test = &mut snapshot.policies[0].object.spec.tests[0];
    // a count that the framework hides too: the ceiling decides, and the rule matches
    test.request.context.min_cell_count = Some(5);
    test.expect = Expectation {
        decision: None,
        tier: Some(DecisionTier::Ceiling),
        rule: None,
        agreement: None,
        fires: Some(vec![rule.to_owned()]),
    };
    assert_eq!(run(&snapshot), []);
    snapshot.policies[0].object.spec.tests[0].expect.fires = Some(Vec::new());
    let message = format!("test `a count of nine is hidden` fails: `fires` is `{rule}`, expected `nothing`");
    assert_eq!(run(&snapshot), [("CON704", message)]);
    // and a rule that none makes fire is said
    snapshot.policies[0].object.spec.tests.remove(0);
    assert_eq!(run(&snapshot), [("CON713", "rule `smallest-count-ten`: no test makes it fire".to_owned())]);
}

#[test]
fn a_test_about_nothing_does_not_pass() {
    let changes: [(fn(&mut PolicyTestCase), &str); 4] = [
        (
            |case| case.request.resource.id = "whittington-health/mdt-activty".to_owned(),
            "there is no data product `whittington-health/mdt-activty`; did you mean `whittington-health/mdt-activity`?",
        ),
        (
            |case| case.request.context.purpose = Some("Planing".to_owned()),
            "there is no purpose `Planing`; did you mean `Planning`?",
        ),
        (
            |case| case.request.action.name = "extrakt".to_owned(),
            "there is no action `extrakt`; did you mean `extract`?",
        ),
        (
            |case| case.request.subject.id = "local/nowhere/app".to_owned(),
            "there is no workload `local/nowhere/app`",
        ),
    ];
    for (change, why) in changes {
        let mut snapshot = only(&SIGNED, &["mdt", "ward-activity"], &["lv-03"]);
        let test = &mut snapshot.policies[0].object.spec.tests[0];
        test.expect =
            Expectation { decision: Some(false), tier: None, rule: None, agreement: None, fires: None };
        change(test);
        let judgement = Judgement::new(&snapshot, at());
        let said = said(&judgement, &snapshot.policies[0].key());
        assert_eq!(said, [("CON704", format!("test `a count of nine is hidden` fails: {why}"))]);
        // nor as a test in a file
        let outcome = run_test(&judgement, &snapshot.policies[0].object.spec.tests[0]);
        assert_eq!((outcome.passed, outcome.shows_nothing), (false, vec![why.to_owned()]));
    }
}

#[test]
fn a_text_of_blanks_is_left_out() {
    let mut request = allowed_by_the_agreement();
    let judgement = Judgement::new(&only(&SIGNED, &["assisted-bins"], &[]), at());
    assert!(judgement.decide(&request).answer.decision);
    for blank in ["", " ", "\u{a0}", "\u{3000}\t", "\u{200b}", "\u{2800}"] {
        request.context.region = Some(blank.to_owned());
        assert!(!judgement.decide(&request).answer.decision, "{blank:?}");
    }
    request.context.region = Some("GB".to_owned());
    request.context.purpose = Some("\u{2003}".to_owned());
    assert!(judgement.decide(&request).answer.context.reason.contains("left out"));
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
        of("lv-04", &format!("{insights} && context.purpose == \"DirectCare\"")),
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
        let expected: &[&str] = if key.name == "others-data" { &["CON710", "CON713"] } else { &[] };
        let codes: Vec<&str> = said(&judgement, &key).iter().map(|(code, _)| *code).collect();
        assert_eq!(codes, expected, "{key}");
    }
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
fn a_test_at_a_moment_at_which_its_agreement_does_not_comply_fails_and_says_so() {
    let mut snapshot = only(&SIGNED, &["assisted-bins"], &["lv-01"]);
    let asked = snapshot.policies[0].object.spec.tests.iter().filter_map(|test| test.at).max().unwrap();
    // approved again, as every year
    let dpia = snapshot.agreements[0].object.spec.dpia.as_mut().unwrap();
    dpia.approved_on = asked + SignedDuration::from_hours(1);
    let hours = SignedDuration::from_hours;
    let judge_it = |snapshot: &Snapshot, moment| {
        let snapshot = signed(snapshot.clone());
        said(&Judgement::new(&snapshot, moment), &snapshot.policies[0].key())
    };
    let judge = |moment| judge_it(&snapshot, moment);
    let complies = judge(asked + hours(2));
    let name = &snapshot.policies[0].object.spec.tests[0].name;
    let why = format!(
        "test `{name}` fails: `chorley-council/assisted-bins`, which it asks about, is refused at {asked}, by NF-05"
    );
    assert!(complies.contains(&("CON704", why)), "{complies:?}");
    // or a moment that lies ahead, at which its review is due
    let mut lapses = only(&SIGNED, &["assisted-bins"], &["lv-01"]);
    lapses.agreements[0].object.spec.term.review_by = asked - hours(1);
    let lapses = judge_it(&lapses, asked - hours(2));
    let is_told = |(code, told): &(&str, String)| *code == "CON704" && told.ends_with("by NF-02");
    assert!(lapses.iter().any(is_told), "{lapses:?}");
    // as long as it is refused, the agreement is what has to be fixed
    let refused = judge(asked);
    assert!(refused.iter().all(|(code, _)| *code == "CON705") && !refused.is_empty(), "{refused:?}");
}

#[test]
fn an_agreement_lies_in_each_place_that_it_is_for() {
    let mut snapshot = only(&SIGNED, &["assisted-bins"], &["lv-01"]);
    let place = |parents: &[&str]| PlaceFootprintSpec {
        parents: parents.iter().map(|it| (*it).to_owned()).collect(),
        ..snapshot.footprints[0].object.spec.clone()
    };
    let added = [("elsewhere", place(&["over-it"])), ("over-it", place(&[]))];
    snapshot.footprints.extend(added.map(|(name, spec)| Sourced::live(PlaceFootprint::new(name, spec))));
    let across = CrossBoundary { reason: "people move".to_owned(), footprints: vec!["elsewhere".to_owned()] };
    snapshot.agreements[0].object.spec.cross_boundary = Some(across);
    snapshot.signatures.clear();
    let snapshot = signed(snapshot);
    let denied_in = |place: &str| {
        let mut snapshot = snapshot.clone();
        let policy = &mut snapshot.policies[0].object;
        policy.spec.tests.clear();
        policy.spec.cedar = format!(
            "@id(\"r\") @reason(\"a test\") forbid (principal, action in Concordat::Action::\"useData\", resource)\nwhen {{ \
             context.agreement in Concordat::Footprint::\"{place}\" }};"
        );
        let judgement = Judgement::new(&snapshot, at());
        answer(&judgement, PERMITTED).0 == DecisionTier::Local
    };
    let own = snapshot.agreements[0].object.spec.footprint.clone();
    for place in [own.as_str(), "elsewhere", "over-it"] {
        assert!(denied_in(place), "{place}");
    }
}

#[test]
fn a_permit_ends_when_the_review_of_its_policy_is_due() {
    let snapshot = only(&SIGNED, &["assisted-bins"], &["lv-01"]);
    let judgement = Judgement::new(&snapshot, at());
    let review = snapshot.policies[0].object.spec.review_by;
    let (tier, rule) = answer(&judgement, PERMITTED);
    assert_eq!((tier, judgement.permit_ends(&rule.unwrap())), (DecisionTier::Local, Some(review)));
    assert_eq!(judgement.permit_ends("agreement-permit"), None);
    let may = who_can(&judgement, &Filter::default()).unwrap();
    let words: BTreeSet<_> = may.grants.iter().flat_map(|it| &it.may_add).map(|it| it.until).collect();
    assert_eq!(words, BTreeSet::from([Some(review)]));
}

#[test]
fn a_policy_whose_agreement_has_been_superseded_waits_and_keeps_its_forbids() {
    let snapshot = followed(true);
    let judgement = Judgement::new(&snapshot, at());
    let why = "`chorley-council/assisted-bins`, which its tests ask about, is superseded";
    assert_eq!(said(&judgement, &snapshot.policies[0].key()), [("CON705", why.to_owned())]);
    assert_eq!(judgement.model.policies.len(), 1);
}
