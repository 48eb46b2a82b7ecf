//! The scenarios of `examples/` on a real cluster, with the real binary as the operator: after each signature the same
//! effects as offline, in the end those of the committed plan, then a closing act, and nothing is left.
//!
//! A folder that is dropped into `examples/` is run; `folders/mod.rs` says what it may hold. The operator goes by the
//! real clock, and so it is run with its dates moved to today (`folders/today.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use concordat_api::AgreementSignature;
use concordat_core::evaluate::Judgement;
use concordat_core::snapshot::Snapshot;
use jiff::Timestamp;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::folders::today::Today;
use crate::folders::{Act, Scenario, State};
use crate::support::Process;
use crate::support::scenario::{Cluster, effect, effects, eventually, namespaces};
use crate::{SOON, folders, shared_cluster, support};

/// What is compared: grants and policies by kind, namespace and name, and of each agreement phase and signatures.
type World = BTreeMap<String, Value>;

/// What a plan, as JSON, says that there will be.
fn planned(plan: &Value) -> World {
    let objects = plan["objects"].as_array().unwrap().iter();
    let objects = objects.map(|object| effect(object["kind"].as_str().unwrap(), object));
    let statuses = plan["statuses"].as_array().unwrap().iter();
    let agreements = statuses.filter(|it| it["kind"] == "DataSharingAgreement").map(|it| {
        let status = &it["status"];
        let what = json!({ "phase": status["phase"], "parties": status["parties"] });
        (format!("status of {}/{}", text(&it["namespace"]), text(&it["name"])), what)
    });
    objects.chain(agreements).collect()
}

/// What a snapshot comes to, now.
fn judged(snapshot: &Snapshot) -> World {
    planned(&json!(Judgement::new(snapshot, Timestamp::now()).plan()))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// How many paths grants open.
fn paths(world: &World) -> usize {
    let grants = world.iter().filter(|(key, _)| key.starts_with("DataAccessGrant "));
    grants.map(|(_, grant)| grant["spec"]["recipients"].as_array().unwrap().len()).sum()
}

/// One scenario on its way through the cluster.
struct Run<'a> {
    cluster: &'a mut Cluster,
    operator: &'a Process,
    name: String,
    namespaces: BTreeSet<String>,
    agreements: BTreeSet<(String, String)>,
}

impl Run<'_> {
    fn found(&self) -> World {
        let grants = self.cluster.grants(&self.namespaces).unwrap();
        let policies = self.cluster.policies(&self.namespaces).unwrap();
        let mut world = effects(&grants, &policies);
        for (namespace, name) in &self.agreements {
            let status = self.cluster.agreement(namespace, name).unwrap().status;
            let what = status.map(|status| json!({ "phase": status.phase, "parties": status.parties }));
            world.insert(format!("status of {namespace}/{name}"), what.unwrap_or_default());
        }
        world
    }

    fn becomes(&self, wanted: &World, what: &str) {
        let found = eventually(what, SOON, || (self.found() == *wanted).then_some(()));
        if found.is_err() {
            let found = self.found();
            let of = |one: &World, other: &World| -> Vec<String> {
                let differs = one.iter().filter(|(key, value)| other.get(*key) != Some(*value));
                differs.map(|(key, value)| format!("{key} {value}")).collect()
            };
            let (missing, surplus) = (of(wanted, &found), of(&found, wanted));
            panic!(
                "{}: {what}\nwanted: {missing:#?}\nfound: {surplus:#?}\n{}",
                self.name,
                self.operator.tail()
            );
        }
    }

    /// Takes up the namespaces and agreements of a state, and applies what it adds.
    fn enter(&mut self, folders: &[std::path::PathBuf], snapshot: &Snapshot) {
        for folder in folders {
            if folder.join("00-namespaces.yaml").is_file() {
                self.namespaces.extend(namespaces(folder).unwrap());
            }
            self.cluster.apply_folder(folder).unwrap();
        }
        self.agreements = snapshot
            .agreements
            .iter()
            .map(|it| (it.object.namespace().unwrap(), it.object.name_any()))
            .collect();
    }

    /// Signs as somebody of the namespace that the signature stands in; no one else could.
    fn sign(&mut self, signature: &AgreementSignature, somebody_else: Option<&String>) {
        let home = signature.namespace().unwrap();
        self.cluster.make_signer(&home).unwrap();
        if let Some(other) = somebody_else {
            self.cluster.make_signer(other).unwrap();
            let refused = self.cluster.sign_as(other, signature).unwrap_err();
            assert!(refused.contains("forbidden"), "{}: {refused}", self.name);
        }
        self.cluster.sign_as(&home, signature).unwrap();
    }

    /// A state from its manifests to its plan, signature by signature. Those of an earlier state stand.
    fn state(&mut self, state: &State, folders: &[std::path::PathBuf], signed: &mut BTreeSet<String>) {
        let mut snapshot = state.read();
        let all = std::mem::take(&mut snapshot.signatures);
        let (standing, to_come): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|it| signed.contains(&it.key().to_string()));
        snapshot.signatures = standing;
        self.enter(folders, &snapshot);
        self.becomes(&judged(&snapshot), "what stands before anybody has signed");
        let homes: BTreeSet<String> =
            to_come.iter().map(|signature| signature.object.namespace().unwrap()).collect();
        for signature in to_come {
            let own = signature.object.namespace().unwrap();
            let other = homes.iter().find(|home| **home != own);
            self.sign(&signature.object, other);
            signed.insert(signature.key().to_string());
            snapshot.signatures.push(signature);
            self.becomes(&judged(&snapshot), "what the signatures so far open");
        }
        self.becomes(&planned(&state.plan().unwrap()), "the committed plan");
        self.is_ready(&snapshot);
    }

    /// Active is Ready, once the effects were seen; nothing else ever is.
    fn is_ready(&self, snapshot: &Snapshot) {
        let judgement = Judgement::new(snapshot, Timestamp::now());
        for (reference, assessment) in &judgement.assessments.agreements {
            let wanted = if assessment.in_force() { "True" } else { "False" };
            eventually("the condition Ready", SOON, || {
                let status = self.cluster.agreement(&reference.namespace, &reference.name).unwrap().status?;
                let ready = status.conditions.into_iter().find(|it| it.type_ == "Ready")?;
                (json!(ready.status) == wanted).then_some(())
            })
            .unwrap_or_else(|error| panic!("{}: `{reference}` not {wanted}: {error}", self.name));
        }
    }

    /// How it ends: what goes is what has to, and what stays is not touched.
    fn close(&mut self, state: &State) {
        let mut snapshot = state.read();
        let before = self.found();
        let versions = self.versions();
        let closing = state.closing();
        let acts = match &closing {
            Some(closing) => vec![closing.act.clone()],
            None => every_party_withdraws(&snapshot),
        };
        for act in &acts {
            act.apply(&mut snapshot);
            match act {
                Act::Withdraw { agreement, party } | Act::Narrow { agreement, party, .. } => {
                    let signature = folders::signature_of(&mut snapshot, agreement, party).clone();
                    self.sign(&signature, None);
                }
                Act::Suspend { agreement } => {
                    let agreement = folders::agreement_mut(&mut snapshot, agreement).clone();
                    self.cluster.apply_typed(&agreement).unwrap();
                }
            }
        }
        let wanted = judged(&snapshot);
        self.becomes(&wanted, "what the closing act leaves");
        assert_eq!(paths(&wanted), closing.map_or(0, |it| it.paths_left), "{}", self.name);
        let after = self.versions();
        for (key, version) in versions {
            if wanted.get(&key) == before.get(&key) {
                assert_eq!(after.get(&key), Some(&version), "{}: {key} was written again", self.name);
            }
        }

        // without the agreements nothing is left but what isolates
        self.cluster.delete_agreements().unwrap();
        self.agreements.clear();
        snapshot.agreements.clear();
        let wanted = judged(&snapshot);
        assert!(wanted.values().all(|it| it["labels"]["concordat.dev/part"] == "isolation"), "{}", self.name);
        self.becomes(&wanted, "isolation alone");
        self.cluster.clear().unwrap();
        eventually("nothing to be left", SOON, || self.found().is_empty().then_some(()))
            .unwrap_or_else(|error| panic!("{}: {error}: {:?}", self.name, self.found().keys()));
    }

    fn versions(&self) -> BTreeMap<String, Option<String>> {
        let grants = self.cluster.grants(&self.namespaces).unwrap();
        let policies = self.cluster.policies(&self.namespaces).unwrap();
        let grants = grants.iter().map(|it| (effect("DataAccessGrant", &json!(it)).0, it.resource_version()));
        let policies =
            policies.iter().map(|it| (effect("NetworkPolicy", &json!(it)).0, it.resource_version()));
        grants.chain(policies).collect()
    }
}

fn every_party_withdraws(snapshot: &Snapshot) -> Vec<Act> {
    let signatures = snapshot.signatures.iter().map(|it| &it.object.spec);
    signatures
        .map(|spec| Act::Withdraw { agreement: spec.agreement.to_string(), party: spec.party.clone() })
        .collect()
}

/// The whole way of one scenario: its states one over the other, then the end.
fn run(cluster: &mut Cluster, operator: &Process, scenario: &Scenario) {
    let name = scenario.folder.file_name().unwrap().to_string_lossy().into_owned();
    let mut run = Run { cluster, operator, name, namespaces: BTreeSet::new(), agreements: BTreeSet::new() };
    let mut signed = BTreeSet::new();
    for (index, state) in scenario.states.iter().enumerate() {
        // what is common is there already
        let folders = if index == 0 { state.paths.clone() } else { vec![state.folder.clone()] };
        run.state(state, &folders, &mut signed);
    }
    run.close(scenario.states.last().unwrap());
}

#[test]
fn scenarios_open_with_their_signatures_and_close_with_their_closing_act() {
    let (_turn, kubeconfig, mut cluster) = shared_cluster();
    let operator = Process::operator(env!("CARGO_BIN_EXE_concordat"), kubeconfig).unwrap();
    for scenario in folders::scenarios() {
        let begun = Instant::now();
        run(&mut cluster, &operator, &Today::of(&scenario).scenario);
        support::note(&format!("{}: {:.1} s", scenario.folder.display(), begun.elapsed().as_secs_f64()));
    }
    cluster.clean_up().unwrap();
}
