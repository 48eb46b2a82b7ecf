//! The scenarios of `examples/`, offline: nothing is wrong in them, what must be allowed is, what must be refused is,
//! and the plan is the committed one. `UPDATE=1` writes the plans anew. `folders/mod.rs` says what a folder may hold.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

#[path = "folders/tables.rs"]
mod tables;

use crate::folders;

use std::collections::BTreeMap;

use concordat_api::{DecisionTier, OrgState, PolicyTestCase};
use concordat_core::evaluate::Judgement;
use concordat_core::plan::{Plan, PlannedObject};
use concordat_core::policy::run_test;
use concordat_core::snapshot::Snapshot;
use folders::today::{Today, moved};
use folders::{State, scenarios};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use serde_json::Value;

fn states() -> impl Iterator<Item = State> {
    scenarios().into_iter().flat_map(|scenario| scenario.states)
}

/// How many paths grants open.
fn paths(plan: &Plan) -> usize {
    let each = plan.objects.iter().map(|object| match object {
        PlannedObject::Grant(grant) => grant.spec.recipients.len(),
        PlannedObject::Isolation(_) | PlannedObject::Allow { .. } => 0,
    });
    each.sum()
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
                assert_eq!(case.expect.decision, Some(expected), "{told}");
                // a refusal that does not say what refuses would pass for any reason
                let names = (case.expect.tier, case.expect.rule.as_deref());
                assert!(
                    matches!(
                        names,
                        (Some(DecisionTier::None | DecisionTier::Error), None) | (Some(_), Some(_))
                    ),
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
            "{} differs from the plan: run `UPDATE=1 cargo test --test offline scenarios` and read what changed",
            path.display()
        );
    }
}

/// Each by another number of days, over several years. Every number would do: what a rule counts in months is, in the
/// examples, no longer than the shortest such months, which the last lines see to.
#[test]
fn with_its_dates_moved_a_scenario_comes_to_the_same_plan_moved() {
    let days = |from: Timestamp, to: Timestamp| to.duration_since(from).as_hours() / 24;
    for (index, scenario) in scenarios().into_iter().enumerate() {
        let by = 400 + 97 * i64::try_from(index).unwrap();
        let later = Today::moved(&scenario, by);
        for (state, copy) in scenario.states.iter().zip(&later.scenario.states) {
            assert_eq!(days(state.at(), copy.at()), by);
            let snapshot = copy.read();
            let plan = Judgement::new(&snapshot, copy.at()).plan();
            let text = serde_json::to_string_pretty(&plan).unwrap();
            let committed = std::fs::read_to_string(state.folder.join("expected/plan.json")).unwrap();
            assert!(later.back(&text) == committed.trim_end(), "{} by {by} days", state.folder.display());
            for agreement in &snapshot.agreements {
                let term = &agreement.object.spec.term;
                assert!(days(term.start, term.end) <= 3 * 365, "{}", agreement.key());
                assert!(days(term.start, term.review_by) <= 365, "{}", agreement.key());
            }
            for policy in &snapshot.policies {
                assert!(days(copy.at(), policy.object.spec.review_by) <= 365, "{}", policy.key());
            }
        }
    }
}

#[test]
fn today_is_the_day_on_which_the_copy_is_judged() {
    let scenario = folders::scenario("examples/s01-chorley-assisted-bins".into());
    let today = Today::of(&scenario).scenario.states[0].at();
    let since = Timestamp::now().duration_since(today);
    assert!(SignedDuration::ZERO <= since && since < SignedDuration::from_hours(25), "{since:?}");
}

#[test]
fn moving_dates_moves_whole_timestamps_and_nothing_else() {
    for (text, wanted) in [
        ("end: 2027-12-31T00:00:00Z # or so", "end: 2028-01-01T00:00:00Z # or so"),
        (
            "2028-02-28T23:59:59.250Z, 2026-01-01T00:00:00+01:00",
            "2028-02-29T23:59:59.250Z, 2026-01-02T00:00:00+01:00",
        ),
        (
            "2027-03-01, 12027-03-01T00:00:00Z, 2027-03-01T00:00:001Z",
            "2027-03-01, 12027-03-01T00:00:00Z, 2027-03-01T00:00:001Z",
        ),
        ("2027-02-30T00:00:00Z – 2027-03-01T00:00", "2027-02-30T00:00:00Z – 2027-03-01T00:00"),
    ] {
        assert_eq!(moved(text, 1), wanted);
        assert_eq!(moved(&moved(text, 900), -900), text);
    }
}

/// So that moving the timestamps in the text of a manifest moves its dates, all of them and nothing else.
#[test]
fn a_timestamp_in_an_example_is_a_field_of_its_own() {
    fn texts(value: &Value, all: &mut Vec<String>) {
        match value {
            Value::String(text) => all.push(text.clone()),
            Value::Array(items) => items.iter().for_each(|item| texts(item, all)),
            Value::Object(fields) => fields.values().for_each(|item| texts(item, all)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let mut dates = 0;
    for entry in walkdir::WalkDir::new("examples") {
        let entry = entry.unwrap();
        if entry.path().extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(entry.path()).unwrap();
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        let mut all = Vec::new();
        documents.iter().for_each(|document| texts(document, &mut all));
        for text in all {
            assert!(!text.contains("datetime("), "{}: a date in a policy: {text}", entry.path().display());
            if text.parse::<Timestamp>().is_ok() {
                assert_ne!(moved(&text, 1), text, "{}", entry.path().display());
                dates += 1;
            } else {
                assert_eq!(moved(&text, 1), text, "{}", entry.path().display());
            }
        }
    }
    assert!(dates > 500, "{dates}");
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
        let before = paths(&Judgement::new(&snapshot, state.at()).plan());
        closing.act.apply(&mut snapshot);
        let after = paths(&Judgement::new(&snapshot, state.at()).plan());
        assert!(after < before, "{}: {before} paths, and then {after}", state.folder.display());
        assert_eq!(after, closing.paths_left, "{}", state.folder.display());
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
            paths(&Judgement::new(&state.read(), folders::AT.parse().unwrap()).plan())
        })
        .sum();
    assert_eq!(paths(&together), alone);
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
    assert_eq!(paths(&wanted), 0);
}
