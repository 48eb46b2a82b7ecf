//! The scenarios of `examples/`, offline: nothing is wrong in them, what must be allowed is, what must be refused is,
//! and the plan is the committed one. `UPDATE=1` writes the plans anew.

#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use concordat::api::PolicyTestCase;
use concordat::core::finding::Finding;
use concordat::core::judge::Judgement;
use concordat::core::policy::run_test;
use concordat::core::snapshot::Snapshot;
use concordat::source::files;
use jiff::Timestamp;

/// The moment of the committed plans.
const AT: &str = "2026-11-22T09:00:00Z";

fn scenarios() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir("examples")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    assert!(folders.len() >= 2);
    folders
}

fn read(folder: &Path) -> Snapshot {
    let (snapshot, findings, _) = files::read(&[folder.to_owned()]);
    assert_eq!(findings, Vec::<Finding>::new(), "{}", folder.display());
    snapshot
}

fn at(moment: &str) -> Timestamp {
    moment.parse().unwrap()
}

#[test]
fn nothing_is_wrong_in_a_scenario() {
    for folder in scenarios() {
        let judgement = Judgement::new(&read(&folder), at(AT));
        let findings: Vec<String> = judgement
            .findings
            .iter()
            .map(|it| format!("{} {}: {}", it.code, it.origin, it.message))
            .collect();
        assert_eq!(findings, Vec::<String>::new(), "{}", folder.display());
    }
}

#[test]
fn what_must_be_allowed_is_allowed_and_what_must_be_refused_is_refused() {
    for folder in scenarios() {
        let snapshot = read(&folder);
        let mut judgements: BTreeMap<Timestamp, Judgement> = BTreeMap::new();
        let mut seen = BTreeMap::new();
        for (file, case) in
            snapshot.tests.iter().flat_map(|file| file.spec.tests.iter().map(move |case| (file, case)))
        {
            let case: &PolicyTestCase = case;
            let moment = case.at.unwrap();
            let judgement = judgements.entry(moment).or_insert_with(|| Judgement::new(&snapshot, moment));
            let outcome = run_test(judgement, case);
            assert!(outcome.passed, "{} `{}`: {:?}", folder.display(), case.name, outcome.mismatches);
            // a file called refused.yaml holds refusals
            let expected = file.source.file.as_deref().unwrap().ends_with("allowed.yaml");
            assert_eq!(case.expect.decision, expected, "{} `{}`", folder.display(), case.name);
            *seen.entry(expected).or_insert(0) += 1;
        }
        assert!(
            seen.get(&true) >= Some(&5) && seen.get(&false) >= Some(&5),
            "{}: {seen:?}",
            folder.display()
        );
    }
}

#[test]
fn the_plan_is_the_committed_one() {
    for folder in scenarios() {
        let plan = Judgement::new(&read(&folder), at(AT)).plan();
        let mut text = serde_json::to_string_pretty(&plan).unwrap();
        text.push('\n');
        let path = folder.join("expected/plan.json");
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
fn a_plan_is_the_same_whatever_the_order_of_objects() {
    for folder in scenarios() {
        let snapshot = read(&folder);
        let plan = Judgement::new(&snapshot, at(AT)).plan();
        let mut turned = snapshot;
        turned.footprints.reverse();
        turned.orgs.reverse();
        turned.products.reverse();
        turned.agreements.reverse();
        turned.signatures.reverse();
        turned.policies.reverse();
        assert_eq!(plan, Judgement::new(&turned, at(AT)).plan(), "{}", folder.display());
    }
}

#[test]
fn one_practice_that_withdraws_planning_closes_its_own_planning_and_nothing_else() {
    let mut snapshot = read(Path::new("examples/s25-shared-care-record"));
    let flows = |snapshot: &Snapshot| -> Vec<String> {
        let judgement = Judgement::new(snapshot, at(AT));
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
