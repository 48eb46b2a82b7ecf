//! The world of the framework's own tests, for unit tests here: its files are plain, and are read plainly.

use std::fs;
use std::path::Path;

use kube::Resource;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::snapshot::{Snapshot, Sourced};

pub(super) fn england() -> Snapshot {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies/tests/england/world");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut snapshot = Snapshot::default();
    for file in files {
        for document in fs::read_to_string(file).unwrap().split("\n---\n") {
            add(&mut snapshot, serde_saphyr::from_str(document).unwrap());
        }
    }
    snapshot
}

fn add(snapshot: &mut Snapshot, document: Value) {
    match document["kind"].as_str().unwrap() {
        "FrameworkException" => snapshot.exceptions.push(object(document)),
        "PlaceFootprint" => snapshot.footprints.push(object(document)),
        "PartnerOrg" => snapshot.orgs.push(object(document)),
        "DataProduct" => snapshot.products.push(object(document)),
        "DataSharingAgreement" => snapshot.agreements.push(object(document)),
        "AgreementSignature" => snapshot.signatures.push(object(document)),
        "LocalPolicy" => snapshot.policies.push(object(document)),
        kind => panic!("the world has a {kind}, which is not read here"),
    }
}

fn object<K: Resource<DynamicType = ()> + DeserializeOwned>(document: Value) -> Sourced<K> {
    Sourced::live(serde_json::from_value(document).unwrap())
}
