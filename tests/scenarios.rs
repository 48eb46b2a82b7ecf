//! The scenarios of `examples/`, offline: nothing is wrong in them, what must be allowed is, what must be refused is,
//! and the plan is the committed one. `UPDATE=1` writes the plans anew. `folders/mod.rs` says what a folder may hold.

#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

mod folders;

use std::collections::BTreeMap;

use concordat::api::{DecisionTier, OrgState, PolicyTestCase};
use concordat::core::judge::Judgement;
use concordat::core::plan::{Plan, PlannedObject};
use concordat::core::policy::run_test;
use concordat::core::snapshot::Snapshot;
use folders::{State, scenarios};
use jiff::Timestamp;
use kube::ResourceExt as _;

fn states() -> impl Iterator<Item = State> {
    scenarios().into_iter().flat_map(|scenario| scenario.states)
}

fn grants(plan: &Plan) -> usize {
    plan.objects.iter().filter(|object| matches!(object, PlannedObject::Grant(_))).count()
}

#[test]
fn nothing_is_wrong_in_a_scenario_but_what_it_says_itself() {
    for state in states() {
        let judgement = Judgement::new(&state.read(), state.at());
        let findings: Vec<String> =
            judgement.findings.iter().map(|it| format!("{} {}", it.code, it.message)).collect();
        assert_eq!(findings, state.findings(), "{}", state.folder.display());
    }
}

#[test]
fn what_must_be_allowed_is_allowed_and_what_must_be_refused_is_refused() {
    for scenario in scenarios() {
        let mut seen = BTreeMap::new();
        for state in &scenario.states {
            let snapshot = state.read();
            let mut judgements: BTreeMap<Timestamp, Judgement> = BTreeMap::new();
            for (file, case) in
                snapshot.tests.iter().flat_map(|file| file.spec.tests.iter().map(move |case| (file, case)))
            {
                let case: &PolicyTestCase = case;
                let told = format!("{} `{}`", state.folder.display(), case.name);
                let moment = case.at.unwrap();
                let judgement = judgements.entry(moment).or_insert_with(|| Judgement::new(&snapshot, moment));
                let outcome = run_test(judgement, case);
                assert!(outcome.passed, "{told}: {:?}", outcome.mismatches);
                // a file called refused.yaml holds refusals
                let expected = file.source.file.as_deref().unwrap().ends_with("allowed.yaml");
                assert_eq!(case.expect.decision, expected, "{told}");
                // a refusal that does not say what refuses would pass for any reason
                let names = (case.expect.tier, case.expect.rule.as_deref());
                assert!(
                    matches!(names, (Some(DecisionTier::None), None) | (Some(_), Some(_))),
                    "{told} names no tier, or no rule"
                );
                *seen.entry(expected).or_insert(0) += 1;
            }
        }
        assert!(
            seen.get(&true) >= Some(&5) && seen.get(&false) >= Some(&5),
            "{}: {seen:?}",
            scenario.folder.display()
        );
    }
}

#[test]
fn the_plan_is_the_committed_one() {
    for state in states() {
        let plan = Judgement::new(&state.read(), state.at()).plan();
        let mut text = serde_json::to_string_pretty(&plan).unwrap();
        text.push('\n');
        let path = state.folder.join("expected/plan.json");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == text,
            "{} differs from the plan: run `UPDATE=1 cargo test --test scenarios` and read what changed",
            path.display()
        );
    }
}

#[test]
fn the_closing_act_leaves_what_the_scenario_says() {
    let mut told = 0;
    for state in states() {
        let Some(closing) = state.closing() else {
            continue;
        };
        told += 1;
        let mut snapshot = state.read();
        let before = grants(&Judgement::new(&snapshot, state.at()).plan());
        closing.act.apply(&mut snapshot);
        let after = grants(&Judgement::new(&snapshot, state.at()).plan());
        assert!(after < before, "{}: {before} grants, and then {after}", state.folder.display());
        assert_eq!(after, closing.grants_left, "{}", state.folder.display());
    }
    assert!(told >= 2);
}

#[test]
fn a_plan_is_the_same_whatever_the_order_of_objects() {
    for state in states() {
        let snapshot = state.read();
        let plan = Judgement::new(&snapshot, state.at()).plan();
        let mut turned = snapshot;
        turned.footprints.reverse();
        turned.orgs.reverse();
        turned.products.reverse();
        turned.agreements.reverse();
        turned.signatures.reverse();
        turned.policies.reverse();
        assert_eq!(plan, Judgement::new(&turned, state.at()).plan(), "{}", state.folder.display());
    }
}

#[test]
fn scenarios_do_not_get_into_each_others_way() {
    let world = folders::one_world();
    let together = Judgement::new(&world, folders::AT.parse().unwrap()).plan();
    let alone: usize = scenarios()
        .iter()
        .map(|scenario| {
            let state = scenario.states.first().unwrap();
            grants(&Judgement::new(&state.read(), folders::AT.parse().unwrap()).plan())
        })
        .sum();
    assert_eq!(grants(&together), alone);
}

#[test]
fn one_practice_that_withdraws_planning_closes_its_own_planning_and_nothing_else() {
    let mut snapshot = folders::read(&["examples/s25-shared-care-record".into()]);
    let flows = |snapshot: &Snapshot| -> Vec<String> {
        let judgement = Judgement::new(snapshot, folders::AT.parse().unwrap());
        let assessments = judgement.assessments.agreements.values();
        assessments
            .flat_map(|it| &it.flows)
            .flat_map(|flow| {
                flow.purposes.iter().map(move |it| format!("{} {} {}", it.code, flow.product, flow.recipient))
            })
            .collect()
    };
    let after = flows(&snapshot);
    for signature in &mut snapshot.signatures {
        signature.object.spec.purposes = None;
    }
    let before = flows(&snapshot);
    let closed: Vec<&String> = before.iter().filter(|flow| !after.contains(flow)).collect();
    assert_eq!(closed, ["Planning beckside-practice/gp-record west-yorkshire-icb/analytics"]);
    assert!(after.iter().all(|flow| before.contains(flow)));
}

#[test]
fn one_field_of_one_organisation_closes_all_that_it_reads() {
    let folder = std::path::Path::new("examples/s10-north-london-cares");
    let read = |state: &str| folders::read(&[folder.join("base"), folder.join(state)]);
    let (mut before, dissolved) = (read("before"), read("dissolved"));
    let at = folders::AT.parse().unwrap();
    let wanted = Judgement::new(&dissolved, at).plan();
    let charity = before.orgs.iter_mut().find(|it| it.object.name_any() == "north-london-cares").unwrap();
    charity.object.spec.state = OrgState::Dissolved;
    assert_eq!(Judgement::new(&before, at).plan(), wanted);
    assert_eq!(grants(&wanted), 0);
}
