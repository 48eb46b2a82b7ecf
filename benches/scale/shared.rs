//! A shared care record as one agreement: how many objects it comes to, and what one party's withdrawal costs. Without a
//! cluster.

use std::time::Instant;

use concordat_api::SignatureState;
use concordat_core::plan::{Act, Judge, Observed, PlannedObject, Stage, report, steps};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::process::{median, memory, rounded};
use crate::round::{Settled, settle};
use crate::world::World;
use crate::world::shared::Members;

pub fn measure(members: Members, at: Timestamp, runs: usize) -> Value {
    let judge = Judge::default();
    let snapshot = World::shared_care_record(members, at).snapshot().expect("objects");
    let began = Instant::now();
    let plan = judge.plan(&snapshot, at);
    let first = began.elapsed().as_secs_f64();
    let paths: usize = plan
        .objects
        .iter()
        .map(|object| match object {
            PlannedObject::Grant(grant) => grant.spec.recipients.len(),
            PlannedObject::Isolation(_) | PlannedObject::Allow { .. } => 0,
        })
        .sum();
    let bytes = plan.objects.iter().map(|object| json!(object).to_string().len());
    let largest = bytes.max().unwrap_or_default();
    let Settled { snapshot, policies, grants } = settle(&judge, snapshot, at);
    let withdrawal = |party: &str| {
        let (mut judged, mut planned, mut closing) = (Vec::new(), Vec::new(), 0);
        for _ in 0..runs {
            let mut changed = snapshot.clone();
            let signature = changed.signatures.iter_mut().find(|it| it.object.spec.party == party);
            let signature = &mut signature.expect("a signature").object;
            signature.spec.state = Some(SignatureState::Withdrawn);
            signature.metadata.resource_version = Some("2".to_owned());
            judge.plan(&snapshot, at);
            let began = Instant::now();
            let plan = judge.plan(&changed, at);
            judged.push(began.elapsed().as_secs_f64());
            let observed = Observed::new(&changed, policies.clone(), grants.clone());
            let began = Instant::now();
            let due = steps(&plan, &observed);
            let statuses = report(&plan, &observed, &Default::default());
            planned.push(began.elapsed().as_secs_f64());
            drop(statuses);
            closing = due.iter().filter(|step| step.stage == Stage::Close).count();
            assert!(due.iter().all(|it| !matches!(it.stage, Stage::Isolate | Stage::Open)), "{due:?}");
            assert!(due.iter().any(|it| matches!(it.act, Act::Delete { .. } | Act::ApplyGrant(_))));
        }
        json!({
            "judge": rounded(median(judged)), "stepsAndReport": rounded(median(planned)), "closingWrites": closing,
        })
    };
    json!({
        "practices": members.practices, "recipients": members.recipients, "paths": paths,
        "objects": plan.objects.len(), "largestBytes": largest, "firstJudgement": rounded(first),
        "practiceWithdraws": withdrawal("practice-0001"), "recipientWithdraws": withdrawal("trust-0001"),
        "peakMiB": memory(std::process::id(), "VmHWM"),
    })
}
