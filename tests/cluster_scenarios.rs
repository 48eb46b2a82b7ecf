//! The scenarios of `examples/` on a real cluster, with the real binary as the operator: the same effects as offline,
//! opened by the last signature, closed by a withdrawal, and gone in the end.

#![cfg(all(feature = "cli", feature = "controller"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use concordat::api::{Phase, SignatureState};
use serde_json::Value;
use support::Process;
use support::scenario::{Cluster, effect, effects, eventually, namespaces, signature};

const SOON: Duration = Duration::from_secs(60);

/// The effects that the committed plan of a scenario names.
fn planned(folder: &Path) -> BTreeMap<String, Value> {
    let text = std::fs::read_to_string(folder.join("expected/plan.json")).unwrap();
    let plan: Value = serde_json::from_str(&text).unwrap();
    let objects = plan["objects"].as_array().unwrap();
    objects.iter().map(|object| effect(object["kind"].as_str().unwrap(), object)).collect()
}

fn only_isolation(effects: &BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let isolates = |value: &Value| value["labels"]["concordat.dev/part"] == "isolation";
    effects
        .iter()
        .filter(|(_, value)| isolates(value))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn operator(kubeconfig: &Path) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_concordat"));
    command.arg("run").arg("--kubeconfig").arg(kubeconfig).args(["--health-addr", "127.0.0.1:0"]);
    Process::start("operator", &mut command).unwrap()
}

#[test]
fn scenarios_open_with_the_last_signature_and_close_with_a_withdrawal() {
    let kubeconfig = support::kubeconfig().unwrap();
    let mut cluster = Cluster::connect(kubeconfig).unwrap();
    cluster.install_definitions().unwrap();
    let operator = operator(kubeconfig);

    // S01: two parties
    let folder = Path::new("examples/s01-chorley-assisted-bins");
    let (places, expected) = (namespaces(folder).unwrap(), planned(folder));
    let seen = |cluster: &Cluster, places| {
        effects(&cluster.grants(places).unwrap(), &cluster.policies(places).unwrap())
    };
    let is_eventually = |cluster: &Cluster, places, wanted: &BTreeMap<String, Value>, what: &str| {
        let found = eventually(what, SOON, || (seen(cluster, places) == *wanted).then_some(()));
        assert!(found.is_ok(), "{what}\n{}", operator.tail());
    };
    cluster.apply_folder(folder).unwrap();
    is_eventually(&cluster, &places, &only_isolation(&expected), "isolation, and nothing else");
    for party in ["chorley-council", "northvale-pcn"] {
        cluster.make_signer(party).unwrap();
    }
    let council = signature(&folder.join("signatures/chorley-council.yaml")).unwrap();
    let pcn = signature(&folder.join("signatures/northvale-pcn.yaml")).unwrap();
    let refused = cluster.sign_as("chorley-council", &pcn).unwrap_err();
    assert!(refused.contains("forbidden"), "{refused}");
    cluster.sign_as("chorley-council", &council).unwrap();
    eventually("one of two signatures to be seen", SOON, || {
        let status = cluster.agreement("chorley-council", "assisted-bins").unwrap().status?;
        (status.phase == Some(Phase::AwaitingSignatures) && status.parties.as_deref() == Some("1/2"))
            .then_some(())
    })
    .unwrap();
    assert_eq!(seen(&cluster, &places), only_isolation(&expected));
    cluster.sign_as("northvale-pcn", &pcn).unwrap();
    is_eventually(&cluster, &places, &expected, "the effects of the committed plan");
    eventually("Ready", SOON, || {
        let status = cluster.agreement("chorley-council", "assisted-bins").unwrap().status?;
        let ready = status.conditions.iter().find(|it| it.type_ == "Ready")?;
        (ready.status == concordat::api::ConditionStatus::True).then_some(())
    })
    .unwrap();
    let mut withdrawn = pcn.clone();
    withdrawn.spec.state = Some(SignatureState::Withdrawn);
    cluster.sign_as("northvale-pcn", &withdrawn).unwrap();
    is_eventually(&cluster, &places, &only_isolation(&expected), "isolation alone after the withdrawal");

    // S25: one practice withdraws one purpose
    let folder = Path::new("examples/s25-shared-care-record");
    let (places, expected) = (namespaces(folder).unwrap(), planned(folder));
    cluster.apply_folder(folder).unwrap();
    let mut narrowed = None;
    let mut files: Vec<_> =
        std::fs::read_dir(folder.join("signatures")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files {
        let mut signed = signature(&file).unwrap();
        let home = kube::ResourceExt::namespace(&signed).unwrap();
        cluster.make_signer(&home).unwrap();
        if signed.spec.purposes.is_some() {
            narrowed = Some(signed.clone());
            signed.spec.purposes = None;
        }
        cluster.sign_as(&home, &signed).unwrap();
    }
    eventually("six grants", SOON, || (cluster.grants(&places).unwrap().len() == 6).then_some(())).unwrap();
    eventually("six ways in, with everything else", SOON, || {
        (cluster.policies(&places).unwrap().len()
            == expected.keys().filter(|key| key.starts_with("NetworkPolicy")).count() + 2)
            .then_some(())
    })
    .unwrap();
    let versions = |cluster: &Cluster| -> BTreeMap<String, Option<String>> {
        let policies = cluster.policies(&places).unwrap();
        policies.into_iter().map(|it| (it.metadata.name.unwrap(), it.metadata.resource_version)).collect()
    };
    let before = versions(&cluster);
    cluster
        .sign_as("beckside-practice", &narrowed.expect("one practice has narrowed its signature"))
        .unwrap();
    is_eventually(&cluster, &places, &expected, "five grants: the practice's planning is closed");
    let after = versions(&cluster);
    let gone: Vec<&String> = before.keys().filter(|name| !after.contains_key(*name)).collect();
    assert_eq!(gone.len(), 2, "one way in and one way out: {gone:?}");
    assert!(
        after.iter().all(|(name, version)| before.get(name) == Some(version)),
        "nobody else's paths are touched"
    );

    cluster.clean_up().unwrap();
}
