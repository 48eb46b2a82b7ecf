//! Nothing but the place's own change of a rule takes a forbid away, and what cannot be loaded may forbid.

use std::sync::Arc;

use concordat_api::{DecisionTier, Expectation, LocalPolicy, ObjectRef, PolicyFramework, PolicyTestCase};
use concordat_core::evaluate::Judgement;
use concordat_core::policy::built_in_spec;
use concordat_core::snapshot::{Snapshot, Sourced, Unreadable};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use serde_json::json;

use super::world::{SIGNED, access_cases, at, only, said};

/// A part of the world with a policy that forbids, and everything that is asked of it.
fn world() -> (Snapshot, Vec<PolicyTestCase>) {
    let snapshot = only(&SIGNED, &["mdt", "ward-activity"], &["lv-03"]);
    let products: Vec<String> = snapshot
        .agreements
        .iter()
        .flat_map(|agreement| &agreement.object.spec.purposes)
        .flat_map(|purpose| &purpose.products)
        .map(ToString::to_string)
        .collect();
    let mut cases = access_cases();
    cases.retain(|case| case.at == Some(at()) && products.contains(&case.request.resource.id));
    (snapshot, cases)
}

fn answers(snapshot: &Snapshot, cases: &[PolicyTestCase]) -> Vec<(bool, DecisionTier)> {
    let judgement = Judgement::new(snapshot, at());
    let ask = |case: &PolicyTestCase| {
        let answer = judgement.decide(&case.request).answer;
        (answer.decision, answer.context.tier)
    };
    cases.iter().map(ask).collect()
}

fn policy(snapshot: &mut Snapshot) -> &mut LocalPolicy {
    let sourced = &mut snapshot.policies[0];
    sourced.source = Arc::default();
    &mut sourced.object
}

fn unreadable(of: &Sourced<LocalPolicy>, spec: serde_json::Value) -> Unreadable {
    Unreadable {
        kind: "LocalPolicy".to_owned(),
        meta: of.object.metadata.clone(),
        error: "it cannot be read".to_owned(),
        spec,
        source: Arc::default(),
    }
}

/// A framework that no agreement names, with the ids of a policy among its rules.
fn unused_framework() -> Sourced<PolicyFramework> {
    let mut spec = built_in_spec().clone();
    spec.name = "elsewhere".to_owned();
    let rule = "@id(\"smallest-count-ten\") @tier(\"Ceiling\") @reason(\"a test\") forbid (principal, action == \
                Concordat::Action::\"extract\", resource) when { context.breakGlass };";
    spec.policies.insert("more.cedar".to_owned(), rule.to_owned());
    let mut framework = PolicyFramework::new(&format!("elsewhere-{}", spec.version), spec);
    framework.metadata.resource_version = Some("1".to_owned());
    Sourced::live(framework)
}

type Change = fn(&mut Snapshot);

/// What may happen to a policy and around it.
const CHANGES: [(&str, Change); 16] = [
    ("a test of its own fails", |world| {
        let expect = &mut policy(world).spec.tests[0].expect;
        expect.decision = expect.decision.map(|decision| !decision);
    }),
    ("a test is about nothing", |world| {
        policy(world).spec.tests[0].request.resource.id = "nowhere/nothing".to_owned();
    }),
    ("a test expects nothing", |world| {
        policy(world).spec.tests[0].expect =
            Expectation { decision: None, tier: None, rule: None, agreement: None, fires: None };
    }),
    ("its review is over", |world| policy(world).spec.review_by = "2020-01-01T00:00:00Z".parse().unwrap()),
    ("its review is far ahead", |world| {
        policy(world).spec.review_by = "2030-01-01T00:00:00Z".parse().unwrap()
    }),
    ("it is being deleted", |world| policy(world).metadata.deletion_timestamp = Some(Time(at()))),
    ("its reason has a hidden character", |world| policy(world).spec.reason = "a\u{202e}b".to_owned()),
    ("its footprint is misspelt", |world| policy(world).spec.footprint = "islingtn".to_owned()),
    ("it names what is not there", |world| {
        policy(world).spec.cedar.push_str(
            "@id(\"other\") @reason(\"a test\") forbid (principal == Concordat::OrgFunction::\"nobody/nothing\", action \
             in Concordat::Action::\"useData\", resource);",
        );
    }),
    ("it has a misspelt word", |world| {
        policy(world).spec.cedar.push_str(
            "@id(\"other\") @reason(\"a test\") forbid (principal, action in Concordat::Action::\"useData\", resource) \
             when { context.purpose == \"Plannning\" };",
        );
    }),
    ("a rule of it is called like a national one", |world| {
        policy(world).spec.cedar.push_str(
            "@id(\"NF-99\") @reason(\"a test\") forbid (principal, action in Concordat::Action::\"useData\", resource) \
             when { context.breakGlass };",
        );
    }),
    ("it is there twice", |world| {
        let copy = world.policies[0].clone();
        world.policies.push(copy);
    }),
    ("a copy of it says something else", |world| {
        let mut copy = world.policies[0].clone();
        copy.object.spec.cedar = copy.object.spec.cedar.replace("forbid", "permit");
        world.policies.insert(0, copy);
    }),
    ("it cannot be read", |world| {
        let gone = world.policies.remove(0);
        world.unreadable.push(unreadable(&gone, json!({ "footprint": "islington" })));
    }),
    ("nothing of it can be read", |world| {
        let gone = world.policies.remove(0);
        world.unreadable.push(unreadable(&gone, serde_json::Value::Null));
    }),
    ("there is a framework that no one uses", |world| world.frameworks.push(unused_framework())),
];

#[test]
fn nothing_but_the_places_own_change_takes_a_forbid_away() {
    let (snapshot, cases) = world();
    let before = answers(&snapshot, &cases);
    assert!(before.contains(&(false, DecisionTier::Local)), "{before:?}");
    assert!(before.contains(&(true, DecisionTier::Agreement)), "{before:?}");
    for (name, change) in CHANGES {
        let mut changed = snapshot.clone();
        change(&mut changed);
        for ((was, is), case) in before.iter().zip(answers(&changed, &cases)).zip(&cases) {
            assert!(was.0 || !is.0, "{name}: `{}` was {was:?} and is {is:?}", case.name);
            let stays =
                was.1 == DecisionTier::Local && !matches!(is.1, DecisionTier::Local | DecisionTier::Error);
            assert!(!stays, "{name}: `{}` was {was:?} and is {is:?}", case.name);
        }
    }
}

#[test]
fn a_policy_that_cannot_be_loaded_denies_what_it_could_forbid() {
    let (mut snapshot, _) = world();
    let tests = snapshot.policies[0].object.spec.tests.clone();
    let ask = |snapshot: &Snapshot| {
        let judgement = Judgement::new(snapshot, at());
        tests.iter().map(|test| judgement.decide(&test.request).answer.context).collect::<Vec<_>>()
    };
    let tiers = |snapshot: &Snapshot| ask(snapshot).iter().map(|context| context.tier).collect::<Vec<_>>();
    use DecisionTier::{Agreement, Error, Local};
    assert_eq!(tiers(&snapshot), [Local, Agreement, Agreement]);
    policy(&mut snapshot).spec.cedar = "forbid (".to_owned();
    // the third is about Dorset's data, and asked by a charity that is in both places
    assert_eq!(tiers(&snapshot), [Error, Error, Agreement]);
    let reason = ask(&snapshot)[1].reason.clone();
    assert!(reason.contains("local policy `islington-council/lv-03` cannot be loaded"), "{reason}");
}

#[test]
fn a_text_of_permits_alone_that_is_not_loaded_denies_nothing() {
    let (mut snapshot, cases) = world();
    let policies = std::mem::take(&mut snapshot.policies);
    let before = answers(&snapshot, &cases);
    let impossible =
        "action == Concordat::Action::\"extract\" && action == Concordat::Action::\"readRecord\"";
    for (text, is_held) in [
        (
            format!(
                "@id(\"one\") @reason(\"r\") permit (principal, action, resource) when {{ {impossible} }};"
            ),
            false,
        ),
        (
            format!(
                "@id(\"one\") @reason(\"r\") forbid (principal, action, resource) when {{ {impossible} }};"
            ),
            true,
        ),
        ("permit (principal, action, resource) when {".to_owned(), true),
    ] {
        let mut policy = policies[0].clone();
        policy.object.spec.cedar.clone_from(&text);
        let mut changed = snapshot.clone();
        changed.policies.push(policy);
        let held = Judgement::new(&changed, at()).model.policies_in_doubt.len();
        assert_eq!(held, usize::from(is_held), "{text}");
        if !is_held {
            assert_eq!(answers(&changed, &cases), before, "{text}");
        }
    }
}

#[test]
fn a_policy_outside_the_namespaces_of_its_place_closes_nothing() {
    let (snapshot, cases) = world();
    let before = answers(&snapshot, &cases);
    let mut stranger = snapshot.policies[0].clone();
    stranger.object.metadata.namespace = Some("a-stranger".to_owned());
    stranger.object.spec.cedar = "forbid (".to_owned();
    let mut broken = snapshot.clone();
    broken.policies.push(stranger.clone());
    let mut other = unreadable(&stranger, json!({ "footprint": stranger.object.spec.footprint }));
    other.meta.name = Some("another".to_owned());
    broken.unreadable.push(other);
    assert_eq!(answers(&broken, &cases), before);
    let codes: Vec<&str> =
        said(&Judgement::new(&broken, at()), &stranger.key()).iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, ["CON701"]);
}

#[test]
fn an_earlier_text_forbids_until_the_new_one_loads() {
    let (mut snapshot, _) = world();
    let policy = policy(&mut snapshot);
    policy.status = serde_json::from_value(json!({ "loaded": policy.spec.cedar })).unwrap();
    policy.spec.cedar = "forbid (".to_owned();
    let reference = ObjectRef { namespace: policy.namespace().unwrap(), name: policy.name_any() };
    let judgement = Judgement::new(&snapshot, at());
    assert!(!judgement.model.policies[&reference].rules.is_empty());
    assert_eq!(judgement.model.policies_in_doubt.len(), 1);
    // and where it bound, whatever place the new one names
    let before = judgement.model.policies[&reference].footprints.clone();
    let mut elsewhere = snapshot.footprints[0].clone();
    elsewhere.object.metadata.name = Some("elsewhere".to_owned());
    for namespaces in [vec![], vec![reference.namespace.clone()]] {
        elsewhere.object.spec.policy_namespaces = namespaces;
        let mut moved = snapshot.clone();
        moved.footprints.push(elsewhere.clone());
        self::policy(&mut moved).spec.footprint = "elsewhere".to_owned();
        let judgement = Judgement::new(&moved, at());
        let kept = &judgement.model.policies[&reference];
        assert!(before.iter().all(|place| kept.footprints.contains(place)), "{:?}", kept.footprints);
    }
}
