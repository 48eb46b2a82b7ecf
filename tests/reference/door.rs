//! The door of the library: manifests to a snapshot, and its answers in the reference's words.

use std::collections::{BTreeMap, BTreeSet};

use concordat::api::AccessRequest;
use concordat::core::judge::Judgement;
use concordat::core::snapshot::{ClusterView, Snapshot};
use concordat::source::cluster::{Incoming, Store, Stores};
use jiff::Timestamp;
use kube::Resource;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::access::{Answer, Tier};
use super::force::FlowKey;
use super::model::{Model, Recipient};
use super::terms;
use super::world::{Ref, World};

/// The snapshot that a cluster with these objects gives.
pub fn snapshot(manifests: &[Value]) -> Snapshot {
    fn put<K>(store: &Store<K>, manifests: &[Value])
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned,
    {
        let own = manifests.iter().filter(|it| it["kind"] == *K::kind(&()));
        store.replace(own.map(|it| serde_json::from_value::<Incoming<K>>(it.clone()).unwrap()).collect());
    }
    let stores = Stores::default();
    put(&stores.frameworks, manifests);
    put(&stores.exceptions, manifests);
    put(&stores.footprints, manifests);
    put(&stores.orgs, manifests);
    put(&stores.products, manifests);
    put(&stores.agreements, manifests);
    put(&stores.signatures, manifests);
    put(&stores.policies, manifests);
    put(&stores.grants, manifests);
    put(&stores.network_policies, manifests);
    let (snapshot, _) = stores.read(ClusterView::default()).unwrap();
    snapshot
}

/// The manifests with the hashes that the library takes over terms in place of the reference's.
///
/// The design page says what is hashed, not in which layout; that the two agree on which terms are the same is a law of
/// its own.
pub fn translated(manifests: &[Value], model: &Model<'_>, at: Timestamp) -> Vec<Value> {
    let hashes = hashes(manifests, model, at);
    let mut translated = manifests.to_vec();
    for signature in translated.iter_mut().filter(|it| it["kind"] == "AgreementSignature") {
        let Some(hash) = signature["spec"]["termsHash"].as_str() else { continue };
        if let Some(theirs) = hashes.get(hash) {
            signature["spec"]["termsHash"] = json!(theirs);
        }
    }
    translated
}

/// The library's hash of terms, by the reference's.
pub fn hashes(manifests: &[Value], model: &Model<'_>, at: Timestamp) -> BTreeMap<String, String> {
    let unsigned: Vec<Value> = manifests
        .iter()
        .filter(|it| it["kind"] != "AgreementSignature" && it["kind"] != "LocalPolicy")
        .cloned()
        .collect();
    let judgement = Judgement::new(&snapshot(&unsigned), at);
    let mut hashes = BTreeMap::new();
    for (key, assessment) in &judgement.assessments.agreements {
        let ours = model
            .world
            .agreements
            .iter()
            .find(|it| it.key.namespace == key.namespace && it.key.name == key.name);
        for (org, party) in &assessment.parties {
            let ours = ours.and_then(|it| {
                terms::hash(it, org, &|product| model.products.get(product).map(|it| (*it).clone()))
            });
            if let Some(ours) = ours {
                hashes.insert(ours, party.terms_hash.clone());
            }
        }
    }
    hashes
}

/// Phases by agreement.
pub fn phases(judgement: &Judgement) -> BTreeMap<Ref, String> {
    let all = judgement.assessments.agreements.iter();
    all.map(|(key, it)| (reference(key), it.phase.as_str().to_owned())).collect()
}

/// How parties stand: agreement, organisation, standing, purposes.
pub fn standings(judgement: &Judgement) -> BTreeMap<(Ref, String), (String, BTreeSet<String>)> {
    let mut standings = BTreeMap::new();
    for (key, assessment) in &judgement.assessments.agreements {
        for (org, party) in &assessment.parties {
            let kind = format!("{:?}", party.standing);
            standings.insert((reference(key), org.clone()), (kind, party.purposes.clone()));
        }
    }
    standings
}

/// Everything that is open, and until when.
pub fn open(judgement: &Judgement) -> BTreeMap<(Ref, FlowKey), Timestamp> {
    let mut open = BTreeMap::new();
    for (key, assessment) in &judgement.assessments.agreements {
        for flow in &assessment.flows {
            for purpose in &flow.purposes {
                let flow = FlowKey {
                    product: reference(&flow.product),
                    recipient: Recipient {
                        org: flow.recipient.org.clone(),
                        function: flow.recipient.function.clone(),
                    },
                    purpose: purpose.code.clone(),
                };
                open.insert((reference(key), flow), purpose.not_after);
            }
        }
    }
    open
}

fn reference(key: &concordat::api::ObjectRef) -> Ref {
    Ref { namespace: key.namespace.clone(), name: key.name.clone() }
}

/// The library's answer to a request.
pub fn decide(judgement: &Judgement, request: &Value) -> Answer {
    let request: AccessRequest = serde_json::from_value(request.clone()).expect("a request of the generator");
    let answer = judgement.decide(&request).answer;
    let tier = match answer.context.tier.as_str() {
        "Ceiling" => Tier::Ceiling,
        "Floor" => Tier::Floor,
        "Local" => Tier::Local,
        "Agreement" => Tier::Agreement,
        "Error" => Tier::Error,
        _ => Tier::None,
    };
    Answer {
        decision: answer.decision,
        tier,
        rule: answer.context.rule,
        rules: answer.context.rules,
        agreement: answer.context.agreement,
    }
}

/// The reference's view of manifests.
pub fn world(manifests: &[Value]) -> World {
    World::read(manifests)
}
