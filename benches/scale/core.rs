//! The core alone, step by step: what judging and planning cost without files and without a cluster.

use std::time::Instant;

use concordat_core::evaluate::Judgement;
use concordat_core::plan::{Observed, steps};
use concordat_core::policy::{self, EntityStore, Signing};
use concordat_core::validate;
use concordat_source::files;
use serde_json::{Value, json};
use std::sync::Arc;

use crate::process::{median, rounded};
use crate::world::{Size, World};

pub fn measure(size: Size, runs: usize) -> Value {
    let world = World::new(size);
    let folder = tempfile::tempdir().expect("a folder");
    world.write(folder.path()).expect("the folder is written");
    let mut times: Vec<(&str, Vec<f64>)> = Vec::new();
    let mut lap = |name: &'static str, began: Instant| {
        let seconds = began.elapsed().as_secs_f64();
        match times.iter_mut().find(|(known, _)| *known == name) {
            Some((_, all)) => all.push(seconds),
            None => times.push((name, vec![seconds])),
        }
    };
    for round in 0..=runs {
        let mut lap = |name, began| {
            if round > 0 {
                lap(name, began)
            }
        };
        let began = Instant::now();
        let (snapshot, findings, _) = files::read(&[folder.path().to_owned()]);
        lap("read", began);
        assert!(findings.is_empty(), "{findings:?}");

        let began = Instant::now();
        let (mut model, mut findings) = validate::validate(&snapshot, size.at);
        lap("validate", began);
        let began = Instant::now();
        let store = Arc::new(EntityStore::new(&model, size.at));
        lap("entities", began);
        let began = Instant::now();
        policy::load_local_policies(&mut model, &store, &snapshot, size.at, &mut findings);
        lap("localPolicies", began);
        let began = Instant::now();
        let assessments = policy::assess(&model, &store, size.at, Signing::AsSigned);
        lap("assess", began);
        drop((assessments, model));

        let began = Instant::now();
        let judgement = Judgement::new(&snapshot, size.at);
        lap("judge", began);
        // one agreement changes
        let mut changed = snapshot.clone();
        changed.agreements[size.agreements / 2].object.spec.suspend ^= true;
        let began = Instant::now();
        let again = judgement.again(&changed, size.at);
        lap("judgeAgain", began);
        drop((again, changed));

        let began = Instant::now();
        let plan = judgement.plan();
        lap("plan", began);
        let began = Instant::now();
        let observed = Observed::new(&snapshot, Vec::new(), Vec::new());
        lap("observed", began);
        let began = Instant::now();
        let first = steps(&plan, &observed);
        lap("steps", began);
        let began = Instant::now();
        let written = concordat_core::plan::report(&plan, &observed, &Default::default());
        lap("report", began);
        let began = Instant::now();
        let text = serde_json::to_string_pretty(&plan).expect("JSON");
        lap("planJson", began);
        let began = Instant::now();
        drop((plan, observed, first, written, text));
        lap("dropPlan", began);
        let began = Instant::now();
        drop((judgement, snapshot));
        lap("dropJudgement", began);
    }
    let mut answer = json!({ "agreements": size.agreements, "runs": runs });
    for (name, seconds) in times {
        answer[name] = json!(rounded(median(seconds)));
    }
    answer
}
