//! `concordat check --live` on a real API server: what the operator has yet to write, what others have edited, and
//! what other people's network policies let through.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::folders::today::Today;
use crate::support::Process;
use crate::support::scenario::{documents, eventually, namespaces};
use crate::{SOON, shared_cluster};

/// The findings about some namespaces, or about what has none: code, object and field.
struct Found {
    code: Option<i32>,
    findings: Vec<Value>,
}

fn check(kubeconfig: &Path) -> Found {
    let output = Command::new(env!("CARGO_BIN_EXE_concordat"))
        .args(["check", "--live", "--format=json", "--kubeconfig"])
        .arg(kubeconfig)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let answer: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {text}"));
    Found { code: output.status.code(), findings: answer["findings"].as_array().unwrap().clone() }
}

impl Found {
    /// How often each code was found in some namespaces.
    fn in_places(&self, places: &BTreeSet<String>) -> BTreeMap<String, usize> {
        let mut codes = BTreeMap::new();
        for finding in &self.findings {
            let namespace = finding["origin"]["object"]["namespace"].as_str();
            if namespace.is_some_and(|namespace| places.contains(namespace)) {
                *codes.entry(finding["code"].as_str().unwrap().to_owned()).or_default() += 1;
            }
        }
        codes
    }

    fn of(&self, code: &str, name: &str) -> Vec<&Value> {
        let is_it = |it: &&Value| it["code"] == code && it["origin"]["object"]["name"] == name;
        self.findings.iter().filter(is_it).collect()
    }
}

fn network_policy(namespace: &str, name: &str, labels: Value, spec: Value) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"namespace": namespace, "name": name, "labels": labels}, "spec": spec,
    })
}

/// Asks each command that reads manifests about the files, and about the cluster that they were applied to.
fn every_command_says_of_the_cluster_what_it_says_of_the_files(folder: &Path, kubeconfig: &Path) {
    let request = json!({
        "subject": {"type": "OrgFunction", "id": "northvale-pcn/care-team"},
        "action": {"name": "readRecord"},
        "resource": {"type": "DataProduct", "id": "chorley-council/assisted-bin-collections"},
        "context": {"purpose": "ProactiveCare", "roles": ["CareCoordinator"]},
    });
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("request.json");
    std::fs::write(&file, request.to_string()).unwrap();
    let (file, agreement) = (file.to_str().unwrap(), "--agreement=chorley-council/assisted-bins");
    let at = format!("--at={}", jiff::Timestamp::now());
    let run = |command: &[&str], of: &[&str]| {
        let concordat = Path::new(env!("CARGO_BIN_EXE_concordat"));
        Command::new(concordat).args(command).args(of).args(["--quiet"]).output().unwrap()
    };
    let signed = format!("--signed-on={}", jiff::Timestamp::now());
    let commands: [&[&str]; 5] = [
        &["explain", "--request", file, "-o=json", &at],
        &["explain", agreement, "-o=json", &at],
        &["who-can", agreement, "-o=json", &at],
        &["sign", agreement, "--party=northvale-pcn", "--withdraw", &signed],
        &["sign", agreement, "--party=northvale-pcn", &signed],
    ];
    for command in commands {
        let of_files = run(command, &[folder.to_str().unwrap()]);
        let of_cluster = run(command, &["--kubeconfig", kubeconfig.to_str().unwrap()]);
        let said = String::from_utf8_lossy(&of_cluster.stderr).into_owned();
        assert!(!of_files.stdout.is_empty(), "{command:?}");
        assert_eq!(of_cluster.status.code(), of_files.status.code(), "{command:?}: {said}");
        let answer = |output: &std::process::Output| String::from_utf8(output.stdout.clone()).unwrap();
        // what has become of it is known to the cluster alone
        let observed =
            |condition: &Value| ["Enforced", "Ready"].contains(&condition["type"].as_str().unwrap());
        let told = |output: &std::process::Output| {
            let mut told: Value = serde_json::from_slice(&output.stdout).unwrap();
            let conditions = told["conditions"].as_array_mut().unwrap();
            let (seen, rest) = std::mem::take(conditions).into_iter().partition(&observed);
            *conditions = rest;
            (told, seen.iter().map(|it: &Value| it["reason"].clone()).collect::<Vec<_>>())
        };
        if command[..2] == ["explain", agreement] {
            let ((here, seen), (there, unseen)) = (told(&of_cluster), told(&of_files));
            assert_eq!((here, seen), (there, vec![json!("Written"); 2]), "{command:?}: {said}");
            assert_eq!(unseen, ["NotObserved", "NotObserved"]);
        } else {
            assert_eq!(answer(&of_cluster), answer(&of_files), "{command:?}: {said}");
        }
    }
    let plan = |of: &[&str]| -> Value {
        serde_json::from_slice(&run(&["plan", "-o=json", &at], of).stdout).unwrap()
    };
    let places = namespaces(folder).unwrap();
    let objects = |plan: Value| -> BTreeSet<String> {
        let name = |object: &Value| {
            let meta = &object["metadata"];
            let is_here = places.contains(meta["namespace"].as_str().unwrap());
            is_here.then(|| format!("{} {}/{}", object["kind"], meta["namespace"], meta["name"]))
        };
        plan["objects"].as_array().unwrap().iter().filter_map(name).collect()
    };
    let of_files = objects(plan(&[folder.to_str().unwrap()]));
    assert!(!of_files.is_empty());
    assert_eq!(objects(plan(&["--kubeconfig", kubeconfig.to_str().unwrap()])), of_files);
}

#[test]
fn a_live_cluster_is_held_against_its_plan_and_other_policies_against_the_agreements() {
    let (_turn, kubeconfig, mut cluster) = shared_cluster();
    let today = Today::of_folder(Path::new("examples/s01-chorley-assisted-bins"));
    let folder = today.folder();
    let places = namespaces(folder).unwrap();
    cluster.apply_folder(folder).unwrap();
    for signature in ["chorley-council", "northvale-pcn"] {
        for object in documents(&folder.join(format!("signatures/{signature}.yaml"))).unwrap() {
            cluster.apply(object).unwrap();
        }
    }

    // no one has written anything yet
    let before = check(kubeconfig);
    assert_eq!(before.code, Some(1), "{:#?}", before.findings);
    let codes = before.in_places(&places);
    for code in ["CON903", "CON904", "CON907"] {
        assert!(codes.contains_key(code), "{code}: {codes:?}");
    }
    assert!(before.findings.iter().any(|it| it["code"] == "CON908"), "there is no network plugin here");

    let running = Process::operator(env!("CARGO_BIN_EXE_concordat"), kubeconfig).unwrap();
    let nothing = BTreeMap::new();
    let quiet = eventually("a cluster that is as planned", SOON, || {
        (check(kubeconfig).in_places(&places) == nothing).then_some(())
    });
    assert!(quiet.is_ok(), "{:?}\n{}", check(kubeconfig).in_places(&places), running.tail());

    every_command_says_of_the_cluster_what_it_says_of_the_files(folder, kubeconfig);

    // other people's policies: one that opens nothing new, one that opens to everybody
    let all_pods = json!({});
    let peer = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-public"}}});
    let deny = json!({"podSelector": all_pods, "policyTypes": ["Ingress"]});
    let open = json!({"podSelector": all_pods, "ingress": [{"from": [peer]}]});
    cluster.apply(network_policy("chorley-council", "deny-all", json!({}), deny)).unwrap();
    cluster.apply(network_policy("chorley-council", "let-in", json!({}), open)).unwrap();
    let wide = check(kubeconfig);
    assert_eq!(wide.code, Some(1));
    assert_eq!(wide.of("CON906", "deny-all").len(), 0);
    let found = wide.of("CON906", "let-in");
    assert!(!found.is_empty(), "{:#?}", wide.findings);
    for finding in &found {
        assert_eq!(finding["severity"], "Error");
        assert_eq!(finding["origin"]["field"], "spec.ingress[0].from[0]");
        assert!(
            finding["message"].as_str().unwrap().contains("every pod of namespace `kube-public`"),
            "{finding}"
        );
    }

    // our own, edited and made by others, with no one there to put it right
    drop(running);
    let ours = cluster.policies(&places).unwrap();
    let allow =
        ours.iter().find(|it| it.metadata.labels.as_ref().unwrap()["concordat.dev/part"] == "ingress");
    let allow = allow.unwrap();
    let name = allow.metadata.name.clone().unwrap();
    let namespace = allow.metadata.namespace.clone().unwrap();
    let mut spec = serde_json::to_value(allow.spec.as_ref().unwrap()).unwrap();
    spec["ingress"] = json!([{"from": [peer]}]);
    let labels = json!(allow.metadata.labels);
    cluster.apply(network_policy(&namespace, &name, labels.clone(), spec)).unwrap();
    let orphan = json!({"podSelector": {"matchLabels": {"app": "left"}}, "policyTypes": ["Ingress"], "ingress": [{"from": [peer]}]});
    cluster.apply(network_policy(&namespace, "left-over", labels, orphan)).unwrap();
    let edited = check(kubeconfig);
    assert_eq!(edited.code, Some(1));
    assert_eq!(edited.of("CON904", &name).len(), 1, "{:#?}", edited.findings);
    assert_eq!(edited.of("CON905", "left-over").len(), 1, "{:#?}", edited.findings);

    // it takes its finalizer off what is deleted
    let _running = Process::operator(env!("CARGO_BIN_EXE_concordat"), kubeconfig).unwrap();
    cluster.clean_up().unwrap();
}
