//! The twelve wishes of `policies/local` on a real API server: the operator loads and refuses what files say, and says so.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use concordat_core::evaluate::Judgement;
use concordat_source::files;
use jiff::Timestamp;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::support::Process;
use crate::support::scenario::{documents, eventually};
use crate::{SOON, shared_cluster};

/// The world that the wishes are for, and the wishes.
const FOLDERS: [&str; 3] = ["policies/tests/england/world", "policies/local", "policies/local/refused"];

/// Whether a policy is valid, why not, and whether its text is loaded.
fn outcome(status: &Value) -> Value {
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let valid = conditions.iter().find(|it| it["type"] == "Valid");
    // the message says where in a file the mistake stands, where there is one
    let valid = valid.map(|it| json!([it["status"], it["reason"]]));
    json!({ "valid": valid, "loaded": status["loaded"] })
}

#[test]
fn a_cluster_loads_and_refuses_the_twelve_wishes_as_files_do() {
    let (_turn, kubeconfig, mut cluster) = shared_cluster();
    let mut namespaces = BTreeSet::new();
    for folder in FOLDERS {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.extension().is_some_and(|it| it == "yaml") {
                let documents = documents(&entry).unwrap();
                namespaces.extend(
                    documents.iter().filter_map(|it| Some(it["metadata"]["namespace"].as_str()?.to_owned())),
                );
            }
        }
    }
    for name in &namespaces {
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        cluster.apply(namespace).unwrap();
    }
    let operator = Process::operator(env!("CARGO_BIN_EXE_concordat"), kubeconfig).unwrap();
    for folder in FOLDERS {
        cluster.apply_folder(Path::new(folder)).unwrap();
    }

    // `policies/local` holds `refused` as well
    let (snapshot, _, _) = files::read(&[FOLDERS[0].into(), FOLDERS[1].into()]);
    let wishes: Vec<(String, String)> = snapshot
        .policies
        .iter()
        .map(|it| (it.object.namespace().unwrap(), it.object.name_any()))
        .filter(|(_, name)| name.starts_with("lv-"))
        .collect();
    assert_eq!(wishes.len(), 12);
    let plan = json!(Judgement::new(&snapshot, Timestamp::now()).plan());
    let statuses = plan["statuses"].as_array().unwrap().iter().filter(|it| it["kind"] == "LocalPolicy");
    let planned: BTreeMap<&str, Value> =
        statuses.map(|it| (it["name"].as_str().unwrap(), outcome(&it["status"]))).collect();
    for (namespace, name) in &wishes {
        let seen = || outcome(&json!(cluster.local_policy(namespace, name).unwrap().status));
        let wanted = &planned[name.as_str()];
        eventually(name, SOON, || (seen() == *wanted).then_some(())).unwrap_or_else(|error| {
            panic!("{error}\nwanted: {wanted:#}\nfound: {:#}\n{}", seen(), operator.tail())
        });
        let is_refused = Path::new("policies/local/refused").join(format!("{name}.yaml")).is_file();
        // what its own tests refuse is loaded all the same, without its permits: a forbid is never lost
        let is_valid = wanted["valid"][0] == "True";
        assert_eq!(is_valid, !is_refused, "{name}: {wanted:#}");
    }
    cluster.clean_up().unwrap();
}
