//! Withdrawing is never refused: what `concordat sign` prints can be applied over whatever signature is there, by
//! client-side and by server-side apply, whoever else has written it before.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::{shared_cluster, support};

const AGREEMENT: &str = "chorley-council/assisted-bins";
const FOLDER: &str = "examples/s01-chorley-assisted-bins";

struct Kubectl<'a> {
    kubeconfig: &'a Path,
}

impl Kubectl<'_> {
    fn run(&self, arguments: &[&str], stdin: &str) -> Output {
        let mut child = Command::new(support::kubectl::program().unwrap())
            .args(arguments)
            .env("KUBECONFIG", self.kubeconfig)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    fn ok(&self, arguments: &[&str], stdin: &str) -> String {
        let output = self.run(arguments, stdin);
        assert!(
            output.status.success(),
            "{arguments:?}: {}\n{stdin}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }
}

/// What `concordat sign` prints.
fn sign(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_concordat"))
        .args(["sign", FOLDER, "--agreement", AGREEMENT, "--party", "northvale-pcn"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_sign_prints_is_taken_over_whatever_is_there() {
    let (_turn, kubeconfig, mut cluster) = shared_cluster();
    let kubectl = Kubectl { kubeconfig };
    let namespace =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "northvale-pcn" } });
    cluster.apply(namespace).unwrap();
    let whole = sign(&[]);
    let mut object: Value = serde_saphyr::from_str(&whole).unwrap();
    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
    // what somebody else may have written
    let mut before: Vec<Value> = Vec::new();
    for change in [
        json!({}),
        json!({ "state": "Signed" }),
        json!({ "state": "Signed", "purposes": ["ProactiveCare"] }),
        json!({ "purposes": ["ProactiveCare"] }),
        json!({ "state": "Withdrawn", "purposes": ["ProactiveCare"] }),
        json!({ "ends": [{ "on": "2027-01-01T00:00:00Z" }] }),
        json!({ "state": "Declined" }),
    ] {
        let spec = object["spec"].as_object_mut().unwrap();
        for field in ["state", "purposes", "ends"] {
            spec.remove(field);
        }
        spec.extend(change.as_object().unwrap().clone());
        before.push(object.clone());
    }
    const APPLY: [&[&str]; 2] = [
        &["apply", "-f", "-"],
        &["apply", "--server-side", "--force-conflicts", "--field-manager", "the-party", "-f", "-"],
    ];
    const OTHERS: [&[&str]; 2] =
        [&["apply", "-f", "-"], &["apply", "--server-side", "--field-manager", "a-pipeline", "-f", "-"]];
    for earlier in &before {
        for first in OTHERS {
            for then in APPLY {
                for (arguments, state) in [(&["--withdraw"][..], "Withdrawn"), (&[][..], "Signed")] {
                    let told = format!("{} by {first:?}, then {arguments:?} by {then:?}", earlier["spec"]);
                    kubectl
                        .run(&["delete", "dsasig", &name, "-n", "northvale-pcn", "--ignore-not-found"], "");
                    kubectl.ok(first, &earlier.to_string());
                    kubectl.ok(then, &sign(arguments));
                    let now = kubectl.ok(&["get", "dsasig", &name, "-n", "northvale-pcn", "-o", "json"], "");
                    let now: Value = serde_json::from_str(&now).unwrap();
                    assert_eq!(now["spec"]["state"], state, "{told}");
                    if state == "Signed" {
                        let purposes = now["spec"]["purposes"].as_array();
                        let covers = purposes.is_none_or(|all| *all == [json!("ProactiveCare")]);
                        assert!(covers, "{told}: {now:#}");
                        let ends = now["spec"]["ends"].as_array();
                        assert!(ends.is_none_or(Vec::is_empty), "{told}: an old end is left: {now:#}");
                    }
                }
            }
        }
    }
    cluster.clean_up().unwrap();
}
