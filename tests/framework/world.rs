//! The world of `policies/tests/england`, signed, and what is asked of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::LazyLock;

use concordat_api::{ObjectRef, PolicyTestCase};
use concordat_core::evaluate::Judgement;
use concordat_core::finding::{Finding, ObjectKey};
use concordat_core::sign::{SignatureRequest, signature};
use concordat_core::snapshot::{Snapshot, Sourced};
use concordat_source::files;
use jiff::Timestamp;
use kube::ResourceExt as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub const ZEROS: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// The world as it is written: no one has signed but those who speak for themselves.
pub static WRITTEN: LazyLock<Snapshot> = LazyLock::new(|| {
    let local = std::fs::read_dir("policies/local").unwrap().map(|entry| entry.unwrap().path());
    let paths: Vec<PathBuf> = std::iter::once(PathBuf::from("policies/tests/england/world"))
        .chain(local.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")))
        .collect();
    let (snapshot, findings, _) = files::read(&paths);
    assert_eq!(findings, Vec::<Finding>::new());
    snapshot
});

pub static SIGNED: LazyLock<Snapshot> = LazyLock::new(|| signed(WRITTEN.clone()));

/// Signs every agreement for every party that does not speak for itself.
pub fn signed(mut snapshot: Snapshot) -> Snapshot {
    let mut spoken = BTreeSet::new();
    for index in 0..snapshot.signatures.len() {
        let spec = snapshot.signatures[index].object.spec.clone();
        spoken.insert((spec.agreement.clone(), spec.party.clone()));
        if spec.terms_hash == ZEROS {
            let right = sign(&snapshot, &spec.agreement, &spec.party).object.spec.terms_hash.clone();
            snapshot.signatures[index].object.spec.terms_hash = right;
        }
    }
    let parties: BTreeSet<(ObjectRef, String)> = snapshot
        .agreements
        .iter()
        .flat_map(|agreement| {
            let reference = ObjectRef {
                namespace: agreement.object.namespace().unwrap(),
                name: agreement.object.name_any(),
            };
            agreement.object.spec.parties.iter().map(move |party| (reference.clone(), party.org.clone()))
        })
        .collect();
    let signatures: Vec<_> = parties
        .iter()
        .filter(|slot| !spoken.contains(*slot))
        .map(|(agreement, party)| sign(&snapshot, agreement, party))
        .collect();
    snapshot.signatures.extend(signatures);
    snapshot
}

pub fn sign(
    snapshot: &Snapshot,
    agreement: &ObjectRef,
    party: &str,
) -> Sourced<concordat_api::AgreementSignature> {
    let request = SignatureRequest::new(agreement.clone(), party.to_owned());
    Sourced::live(signature(snapshot, &request).unwrap())
}

pub fn yaml<T: DeserializeOwned>(path: &str) -> T {
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

pub fn access_cases() -> Vec<PolicyTestCase> {
    let (snapshot, findings, _) = files::read(&[PathBuf::from("policies/tests/england/access.yaml")]);
    assert_eq!(findings, Vec::<Finding>::new());
    snapshot.tests.into_iter().flat_map(|file| file.spec.tests).collect()
}

/// Judgements by moment: cases mostly share one.
#[derive(Default)]
pub struct Judgements(pub BTreeMap<Timestamp, Judgement>);

impl Judgements {
    pub fn at(&mut self, at: Timestamp) -> &Judgement {
        self.0.entry(at).or_insert_with(|| Judgement::new(&SIGNED, at))
    }
}

/// RFC 7386.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let into = target.as_object_mut().unwrap();
    for (key, value) in fields {
        if value.is_null() {
            into.remove(key);
        } else {
            merge(into.entry(key).or_insert(Value::Null), value);
        }
    }
}

pub const AT: &str = "2026-11-22T09:00:00Z";

pub fn at() -> Timestamp {
    AT.parse().unwrap()
}

/// A part of a world, as judging all of it takes its time.
pub fn only(world: &Snapshot, agreements: &[&str], policies: &[&str]) -> Snapshot {
    let mut snapshot = world.clone();
    snapshot.agreements.retain(|it| agreements.contains(&it.object.name_any().as_str()));
    snapshot.signatures.retain(|it| agreements.contains(&it.object.spec.agreement.name.as_str()));
    snapshot.policies.retain(|it| policies.contains(&it.object.name_any().as_str()));
    snapshot
}

/// What is said of an object, as code and message.
pub fn said(judgement: &Judgement, key: &ObjectKey) -> Vec<(&'static str, String)> {
    let about = judgement.findings.iter().filter(|finding| finding.origin.object.as_ref() == Some(key));
    about.map(|finding| (finding.code.as_str(), finding.message.clone())).collect()
}

/// The world with the text of one accepted policy changed, and what is then said of it.
pub fn with_text(name: &str, text: &str, tests: bool) -> (Judgement, Vec<(&'static str, String)>) {
    let mut snapshot = only(&SIGNED, &["assisted-bins", "insights", "ward-activity"], &[name]);
    let policy = &mut snapshot.policies[0];
    policy.object.spec.cedar = text.to_owned();
    if !tests {
        policy.object.spec.tests.clear();
    }
    let key = policy.key();
    let judgement = Judgement::new(&snapshot, at());
    let said = said(&judgement, &key);
    (judgement, said)
}

pub const BINS: &str = r#"context.agreement == Concordat::Agreement::"chorley-council/assisted-bins""#;

pub fn permit(id: &str, condition: &str) -> String {
    format!(
        "@id(\"{id}\")\n@reason(\"a test\")\npermit (principal, action in Concordat::Action::\"useData\", resource)\nwhen \
         {{ {condition} }};\n"
    )
}
