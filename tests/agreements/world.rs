//! A hospital, two practices and a board with an agreement, what happens to them, and what is open then.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::LazyLock;

use concordat_api::{AccessRequest, AgreementSignature, NearMiss, ObjectRef, Phase, SignatureState};
use concordat_core::evaluate::Judgement;
use concordat_core::finding::{Code, Finding};
use concordat_core::shared::Shared;
use concordat_core::sign::{SignatureRequest, signature};
use concordat_core::snapshot::{Snapshot, Sourced, Unreadable};
use concordat_source::files;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub static WRITTEN: LazyLock<Snapshot> = LazyLock::new(|| {
    let (snapshot, findings, _) = files::read(&[PathBuf::from("tests/agreements/world.yaml")]);
    assert_eq!(findings, Vec::<Finding>::new());
    snapshot
});

pub const NOW: &str = "2026-11-22T09:00:00Z";
pub const EVERYBODY: [&str; 4] = ["ash-practice", "birch-practice", "board", "hospital"];

/// All that the agreement lists, as `open` tells it.
pub const ALL: [&str; 4] = [
    "ash-practice/record -> board/analysts: Planning",
    "ash-practice/record -> hospital/emergency: DirectCare",
    "birch-practice/record -> board/analysts: Planning",
    "birch-practice/record -> hospital/emergency: DirectCare",
];

pub fn moment(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub fn just_before(moment: Timestamp) -> Timestamp {
    moment - SignedDuration::from_millis(1)
}

pub fn care() -> ObjectRef {
    ObjectRef { namespace: "board".to_owned(), name: "care".to_owned() }
}

/// Sets a field of an object by its JSON pointer, or takes it out with null.
pub fn set<T: Serialize + DeserializeOwned>(object: &mut Shared<T>, pointer: &str, value: Value) {
    let mut json = serde_json::to_value(&**object).unwrap();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = json.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent}"));
    match (parent, value) {
        (Value::Object(fields), Value::Null) => {
            fields.remove(name);
        }
        (Value::Object(fields), value) => {
            fields.insert(name.to_owned(), value);
        }
        (Value::Array(items), Value::Null) => {
            items.remove(name.parse().unwrap());
        }
        (Value::Array(items), value) => items.push(value),
        (other, _) => panic!("{other} holds nothing"),
    }
    let read: Result<T, _> = serde_json::from_value(json);
    *object = read.unwrap_or_else(|error| panic!("{pointer}: {error}")).into();
}

/// A world, changed step by step.
#[derive(Clone)]
pub struct World(pub Snapshot);

impl World {
    /// No one has signed.
    pub fn written() -> Self {
        Self(WRITTEN.clone())
    }

    /// An emergency, which no one has signed.
    pub fn emergency() -> Self {
        Self::written()
            .with("/spec/emergency", json!({ "reason": "flood", "expires": "2026-12-10T00:00:00Z" }))
            .with("/spec/term/start", json!("2026-11-20T00:00:00Z"))
    }

    /// Everybody has signed.
    pub fn signed() -> Self {
        Self::written().signed_by(&EVERYBODY)
    }

    pub fn with(mut self, pointer: &str, value: Value) -> Self {
        set(&mut self.0.agreements[0].object, pointer, value);
        self
    }

    pub fn with_org(mut self, org: &str, pointer: &str, value: Value) -> Self {
        let found = self.0.orgs.iter_mut().find(|it| it.object.name_any() == org).unwrap();
        set(&mut found.object, pointer, value);
        self
    }

    pub fn with_product(mut self, namespace: &str, pointer: &str, value: Value) -> Self {
        let found = self
            .0
            .products
            .iter_mut()
            .find(|it| it.object.namespace().as_deref() == Some(namespace))
            .unwrap();
        set(&mut found.object, pointer, value);
        self
    }

    pub fn signature(&self, agreement: &ObjectRef, party: &str) -> AgreementSignature {
        let request = SignatureRequest::new(agreement.clone(), party.to_owned());
        signature(&self.0, &request).unwrap()
    }

    /// Puts a signature in, in place of an earlier one of the same name.
    pub fn putting(mut self, signature: AgreementSignature) -> Self {
        let same = |other: &AgreementSignature| {
            (other.namespace(), other.name_any()) == (signature.namespace(), signature.name_any())
        };
        self.0.signatures.retain(|other| !same(&other.object));
        self.0.signatures.push(Sourced::live(signature));
        self
    }

    /// A signature more, whatever there is.
    pub fn putting_beside(mut self, signature: AgreementSignature) -> Self {
        self.0.signatures.push(Sourced::live(signature));
        self
    }

    pub fn signed_by(self, parties: &[&str]) -> Self {
        self.signed_on(&care(), parties)
    }

    pub fn signed_on(self, agreement: &ObjectRef, parties: &[&str]) -> Self {
        parties.iter().fold(self, |world, party| {
            let signature = world.signature(agreement, party);
            world.putting(signature)
        })
    }

    pub fn signed_for(self, party: &str, purposes: &[&str]) -> Self {
        let mut signature = self.signature(&care(), party);
        signature.spec.purposes = Some(purposes.iter().map(ToString::to_string).collect());
        self.putting(signature)
    }

    pub fn withdrawn(self, party: &str) -> Self {
        let mut signature = self.signature(&care(), party);
        signature.spec.state = Some(SignatureState::Withdrawn);
        self.putting(signature)
    }

    pub fn without_signature_of(mut self, party: &str) -> Self {
        self.0.signatures.retain(|it| it.object.spec.party != party);
        self
    }

    /// A signature of one party that stands in another namespace.
    pub fn signed_in(self, party: &str, namespace: &str) -> Self {
        let mut signature = self.signature(&care(), party);
        signature.metadata.namespace = Some(namespace.to_owned());
        self.without_signature_of(party).putting(signature)
    }

    /// A later agreement with the same terms that takes the place of the first.
    pub fn followed_from(mut self, start: &str) -> Self {
        let mut next = self.0.agreements[0].clone();
        next.object.metadata.name = Some("care-2".to_owned());
        set(&mut next.object, "/spec/reference", json!("VALE-2026-002"));
        set(&mut next.object, "/spec/supersedes", json!({ "namespace": "board", "name": "care" }));
        set(&mut next.object, "/spec/term/start", json!(start));
        self.0.agreements.push(next);
        self
    }

    pub fn followed_and_signed_from(self, start: &str) -> Self {
        self.followed_from(start).signed_on(&care_2(), &EVERYBODY)
    }

    pub fn with_next(mut self, pointer: &str, value: Value) -> Self {
        set(&mut self.0.agreements[1].object, pointer, value);
        self
    }

    pub fn at(&self, at: &str) -> Judged {
        self.at_moment(moment(at))
    }

    pub fn at_moment(&self, at: Timestamp) -> Judged {
        Judged(Judgement::new(&self.0, at))
    }

    pub fn now(&self) -> Judged {
        self.at(NOW)
    }
}

pub fn care_2() -> ObjectRef {
    ObjectRef { name: "care-2".to_owned(), ..care() }
}

pub struct Judged(pub Judgement);

impl Judged {
    pub fn phase(&self) -> Phase {
        self.phase_of(&care())
    }

    pub fn phase_of(&self, agreement: &ObjectRef) -> Phase {
        self.0.assessments.agreements[agreement].phase
    }

    pub fn next(&self) -> Option<Timestamp> {
        self.0.assessments.agreements[&care()].next
    }

    /// What is open, whichever agreement opens it.
    pub fn open(&self) -> Vec<String> {
        let agreements = self.0.assessments.agreements.values();
        let flows: BTreeSet<String> = agreements
            .flat_map(|assessment| &assessment.flows)
            .map(|flow| {
                let purposes: Vec<&str> = flow.purposes.iter().map(|purpose| purpose.code.as_str()).collect();
                format!("{} -> {}: {}", flow.product, flow.recipient, purposes.join(", "))
            })
            .collect();
        flows.into_iter().collect()
    }

    /// Codes of findings, each once.
    pub fn codes(&self) -> Vec<Code> {
        let codes: BTreeSet<Code> = self.0.findings.iter().map(|finding| finding.code).collect();
        codes.into_iter().collect()
    }

    /// What is said under a code, with what would help.
    pub fn told(&self, code: Code) -> String {
        let found = self.0.findings.iter().find(|finding| finding.code == code).unwrap();
        format!("{}; {}", found.message, found.help.as_deref().unwrap_or_default())
    }

    /// What would help the hospital to read a record in an emergency department, which is denied.
    pub fn near_miss(&self) -> NearMiss {
        let request: AccessRequest = serde_json::from_value(json!({
            "subject": { "type": "OrgFunction", "id": "hospital/emergency" },
            "action": { "name": "readRecord" },
            "resource": { "type": "DataProduct", "id": "ash-practice/record" },
            "context": {
                "purpose": "DirectCare", "roles": ["Clinician"], "legitimateRelationship": true, "region": "GB",
            },
        }))
        .unwrap();
        let answer = self.0.explain(&request).answer;
        assert!(!answer.decision);
        answer.context.near_miss.unwrap()
    }

    /// What the status says that a party still has to do.
    pub fn needed(&self, party: &str) -> Option<String> {
        let plan = self.0.plan();
        let status = plan.statuses.iter().find(|it| it.object.name == "care").unwrap();
        let status = serde_json::to_value(&status.status).unwrap();
        let standings = status["standings"].as_array().unwrap();
        let standing = standings.iter().find(|it| it["org"] == party).unwrap();
        standing["needed"].as_str().map(str::to_owned)
    }
}

/// An object that is there and cannot be read.
pub fn unreadable(kind: &str, metadata: Value, spec: Value) -> Unreadable {
    Unreadable {
        kind: kind.to_owned(),
        meta: serde_json::from_value(metadata).unwrap(),
        error: "`spec.title` is missing".to_owned(),
        spec,
        source: std::sync::Arc::default(),
    }
}

pub fn nothing() -> Vec<String> {
    Vec::new()
}
