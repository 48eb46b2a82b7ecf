//! One round of the operator where everything stands as planned and one agreement has changed, without a cluster.

use std::collections::BTreeMap;
use std::time::Instant;

use concordat_api::DataAccessGrant;
use concordat_core::finding::ObjectKey;
use concordat_core::plan::Judge;
use concordat_core::plan::{
    Act, FINALIZER, Observed, Plan, PlannedObject, StatusBody, owner_reference, report, steps,
};
use concordat_core::shared::Shared;
use concordat_core::snapshot::{Snapshot, Sourced};
use jiff::Timestamp;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::{Resource, ResourceExt as _};
use serde_json::{Value, json};

use crate::process::{median, rounded};
use crate::world::{Size, World};

pub fn measure(size: Size, runs: usize) -> Value {
    let judge = Judge::default();
    let Settled { snapshot, policies, grants } =
        settle(&judge, World::new(size).snapshot().expect("objects"), size.at);
    let mut laps: [(&str, Vec<f64>); 5] =
        ["read", "judge", "steps", "report", "drop"].map(|name| (name, Vec::new()));
    for run in 0..=runs {
        let mut changed = snapshot.clone();
        // another one each time
        let agreement = &mut changed.agreements[(run * 37 + 5) % size.agreements].object;
        agreement.spec.suspend ^= true;
        agreement.metadata.resource_version = Some("2".to_owned());
        let mut lap = |name: &str, began: Instant| {
            let seconds = &mut laps.iter_mut().find(|it| it.0 == name).expect("a lap").1;
            if run > 0 {
                seconds.push(began.elapsed().as_secs_f64());
            }
        };
        let began = Instant::now();
        let read = changed.clone();
        let observed = Observed::new(&read, policies.clone(), grants.clone());
        lap("read", began);
        let began = Instant::now();
        let plan = judge.plan(&read, size.at);
        lap("judge", began);
        let began = Instant::now();
        let due = steps(&plan, &observed);
        lap("steps", began);
        let began = Instant::now();
        let statuses = report(&plan, &observed, &Default::default());
        lap("report", began);
        assert!(due.len() < 100 && statuses.len() < 100, "{} steps, {} statuses", due.len(), statuses.len());
        let began = Instant::now();
        drop((plan, read, observed, due, statuses));
        lap("drop", began);
        // back to where everything stands as planned
        judge.plan(&snapshot, size.at);
    }
    let mut answer = json!({ "agreements": size.agreements, "runs": runs });
    for (name, seconds) in laps {
        answer[name] = json!(rounded(median(seconds)));
    }
    answer
}

/// A cluster in which everything stands as planned.
pub struct Settled {
    pub snapshot: Snapshot,
    pub policies: Vec<Shared<NetworkPolicy>>,
    pub grants: Vec<Shared<DataAccessGrant>>,
}

pub fn settle(judge: &Judge, mut snapshot: Snapshot, at: Timestamp) -> Settled {
    store(&mut snapshot.footprints);
    store(&mut snapshot.orgs);
    store(&mut snapshot.products);
    store(&mut snapshot.agreements);
    store(&mut snapshot.signatures);
    store(&mut snapshot.policies);
    let plan = judge.plan(&snapshot, at);
    for Sourced { object, source: _ } in &mut snapshot.agreements {
        let held = plan.finalizers.iter().any(|it| {
            Some(&it.namespace) == object.metadata.namespace.as_ref() && it.name == object.name_any()
        });
        object.metadata.finalizers = held.then(|| vec![FINALIZER.to_owned()]);
    }
    let (policies, mut grants) = effects(&plan);
    let observed = Observed::new(&snapshot, policies.clone(), grants.clone());
    let reported = report(&plan, &observed, &Default::default()).into_iter();
    let mut statuses: BTreeMap<ObjectKey, StatusBody> = reported
        .filter_map(|step| match step.act {
            Act::SetStatus { object, status, .. } => Some((object, status)),
            _ => None,
        })
        .collect();
    let Snapshot { footprints, orgs, products, agreements, signatures, policies: local, .. } = &mut snapshot;
    let mut simple = |key: &ObjectKey| match statuses.remove(key) {
        Some(StatusBody::Simple(status)) => Some(status),
        _ => None,
    };
    footprints.iter_mut().for_each(|it| it.object.status = simple(&it.key()));
    orgs.iter_mut().for_each(|it| it.object.status = simple(&it.key()));
    products.iter_mut().for_each(|it| it.object.status = simple(&it.key()));
    signatures.iter_mut().for_each(|it| it.object.status = simple(&it.key()));
    for grant in &mut grants {
        let key = ObjectKey::new("DataAccessGrant", grant.namespace().as_deref(), &grant.name_any());
        grant.status = simple(&key);
    }
    for agreement in agreements {
        if let Some(StatusBody::Agreement(status)) = statuses.remove(&agreement.key()) {
            agreement.object.status = Some(*status);
        }
    }
    for policy in local {
        if let Some(StatusBody::Policy(status)) = statuses.remove(&policy.key()) {
            policy.object.status = Some(status);
        }
    }
    Settled { snapshot, policies, grants }
}

/// With what an API server adds to an object that it stores.
fn store<T: Resource<DynamicType = ()> + Clone>(objects: &mut [Sourced<T>]) {
    for sourced in objects {
        let key = sourced.key().to_string();
        let meta = sourced.object.meta_mut();
        (meta.uid, meta.generation, meta.resource_version) = (Some(key), Some(1), Some("1".to_owned()));
    }
}

/// What the operator would have written of a plan.
fn effects(plan: &Plan) -> (Vec<Shared<NetworkPolicy>>, Vec<Shared<DataAccessGrant>>) {
    let (mut policies, mut grants) = (Vec::new(), Vec::new());
    for object in &plan.objects {
        let uid = |name: &str| format!("uid-of-{name}");
        // copies, as they come over the wire
        match object {
            PlannedObject::Isolation(policy) => policies.push(Shared::from(NetworkPolicy::clone(policy))),
            PlannedObject::Allow { policy, grant, products: _ } => {
                let mut policy = NetworkPolicy::clone(policy);
                policy.metadata.owner_references =
                    grant.as_ref().map(|name| vec![owner_reference(name, &uid(name))]);
                policies.push(policy.into());
            }
            PlannedObject::Grant(grant) => {
                let mut grant = DataAccessGrant::clone(grant);
                grant.metadata.uid = Some(uid(&grant.name_any()));
                grant.metadata.generation = Some(1);
                grants.push(grant.into());
            }
        }
    }
    (policies, grants)
}
