//! The door of the library: manifests to a snapshot, and its answers in the reference's words.

use std::collections::{BTreeMap, BTreeSet};

use concordat_api::{AccessAnswer, AccessRequest, AnswerContext, DataSharingAgreement, DecisionTier};
use concordat_core::evaluate::Judgement;
use concordat_core::policy::CandidateVerdict;
use concordat_core::snapshot::{ClusterView, Snapshot};
use concordat_core::terms::terms_hash;
use concordat_source::cluster::{Incoming, Store, Stores};
use concordat_source::files;
use jiff::Timestamp;
use kube::{Resource, ResourceExt as _};
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

/// The snapshot that a folder with these objects gives.
pub fn folder(manifests: &[Value]) -> Snapshot {
    let folder = tempfile::tempdir().unwrap();
    let documents: Vec<String> = manifests.iter().map(Value::to_string).collect();
    std::fs::write(folder.path().join("world.yaml"), documents.join("\n---\n")).unwrap();
    files::read(&[folder.path().to_owned()]).0
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
    let unsigned = snapshot(&unsigned);
    let judged = Judgement::new(&unsigned, at).model;
    let products = judged.products.iter().map(|(at, product)| (at.clone(), &product.spec)).collect();
    let mut hashes = BTreeMap::new();
    // of agreements that cannot be used, too, and of who has no row in them
    for ours in &model.world.agreements {
        let is_it = |it: &DataSharingAgreement| {
            it.namespace().as_deref() == Some(&ours.key.namespace) && it.name_any() == ours.key.name
        };
        let Some(theirs) = unsigned.agreements.iter().find(|it| is_it(&it.object)) else { continue };
        let orgs = model.world.orgs.iter().map(|it| it.key.name.as_str());
        for org in orgs.chain(ours.spec.parties.iter().map(|it| it.org.as_str())) {
            let hash = terms::hash(ours, org, &|product| model.products.get(product).map(|it| (*it).clone()));
            if let (Some(hash), Ok(theirs)) = (hash, terms_hash(&theirs.object.spec, &products, org)) {
                hashes.insert(hash, theirs);
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

fn reference(key: &concordat_api::ObjectRef) -> Ref {
    Ref { namespace: key.namespace.clone(), name: key.name.clone() }
}

/// The library's answer to a request.
pub fn decide(judgement: &Judgement, request: &Value) -> Answer {
    let AccessAnswer { decision, context } = judgement.decide(&read(request)).answer;
    let AnswerContext { tier, rule, rules, agreement, .. } = context;
    Answer { decision, tier: self::tier(tier), rule, rules, agreement }
}

/// What one agreement says to a request; nothing where it is no candidate.
pub fn decide_by(judgement: &Judgement, request: &Value, agreement: &str) -> Answer {
    let candidates = judgement.decide(&read(request)).candidates;
    let Some(candidate) = candidates.into_iter().find(|it| it.agreement == agreement) else {
        return Answer::nothing();
    };
    let CandidateVerdict { agreement, decision, tier, rule, rules, .. } = candidate;
    Answer { decision, tier: self::tier(tier), rule, rules, agreement: Some(agreement) }
}

fn read(request: &Value) -> AccessRequest {
    serde_json::from_value(request.clone()).expect("a request of the generator")
}

fn tier(tier: DecisionTier) -> Tier {
    match tier {
        DecisionTier::Ceiling => Tier::Ceiling,
        DecisionTier::Floor => Tier::Floor,
        DecisionTier::Local => Tier::Local,
        DecisionTier::Agreement => Tier::Agreement,
        DecisionTier::Error => Tier::Error,
        DecisionTier::None => Tier::None,
    }
}

/// The reference's view of manifests.
pub fn world(manifests: &[Value]) -> World {
    World::read(manifests)
}
