//! The scenarios of `examples/`, as their folders say: a folder that is dropped in is found and run.
//!
//! | In a scenario's folder | What it is |
//! |---|---|
//! | `*.yaml` | what `kubectl apply -f FOLDER` brings, signatures excepted |
//! | `signatures/` | one file for each signature, in the order in which they are given |
//! | `tests/allowed.yaml`, `tests/refused.yaml` | policy tests |
//! | `tests/closing.yaml` | how the run on a cluster ends; left out, every party withdraws |
//! | `requests/` | for `explain` |
//! | `expected/plan.json` | the plan; its `at` is the moment that the folder is judged at |
//! | `expected/findings.txt` | the findings, where there are some: a line for each, `CODE message` |
//!
//! A world that changes has `base/` and, beside it, a folder of the same layout for each state, in the order of their
//! names. A state is `base/` and its own folder read together. What differs between states is in the states' folders;
//! a later one adds and replaces, so that applying it over an earlier one gives the later.

#![allow(dead_code, unused_imports, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail loudly")]

pub mod today;

use std::path::{Path, PathBuf};

use concordat_api::{AgreementSignature, DataSharingAgreement, SignatureState};
use concordat_core::finding::Finding;
use concordat_core::snapshot::Snapshot;
use concordat_source::files;
use jiff::Timestamp;
use kube::ResourceExt as _;
use serde::Deserialize;
use serde_json::Value;

/// When a folder is judged whose plan does not say: the moment of a plan that is written for the first time.
pub const AT: &str = "2026-11-22T09:00:00Z";

/// A folder of `examples/`.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub folder: PathBuf,
    /// Never empty; most have one.
    pub states: Vec<State>,
}

/// A world of a scenario.
#[derive(Clone, Debug)]
pub struct State {
    /// What is read: the base, where there is one, and the state's own folder.
    pub paths: Vec<PathBuf>,
    /// Its own folder.
    pub folder: PathBuf,
}

/// What somebody does in the end, and what that leaves.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Closing {
    /// For the reader.
    pub because: String,
    pub act: Act,
    /// How many paths grants open afterwards.
    pub paths_left: usize,
}

/// One thing that closes something.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Act {
    /// A party leaves.
    Withdraw { agreement: String, party: String },
    /// A party stays for some purposes only.
    Narrow { agreement: String, party: String, purposes: Vec<String> },
    /// The kill switch of an agreement.
    Suspend { agreement: String },
}

/// Every scenario, in the order of their names.
pub fn scenarios() -> Vec<Scenario> {
    let scenarios: Vec<Scenario> = folders(Path::new("examples")).into_iter().map(scenario).collect();
    assert!(scenarios.len() >= 2);
    scenarios
}

/// The scenario of a folder.
pub fn scenario(folder: PathBuf) -> Scenario {
    let base = folder.join("base");
    let states = if base.is_dir() {
        let own = folders(&folder).into_iter().filter(|it| *it != base);
        own.map(|own| State { paths: vec![base.clone(), own.clone()], folder: own }).collect()
    } else {
        vec![State { paths: vec![folder.clone()], folder: folder.clone() }]
    };
    assert!(!states.is_empty(), "{} has a base and no state", folder.display());
    Scenario { folder, states }
}

fn folders(within: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(within).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

/// What there is in the first state of every scenario, all in one world.
pub fn one_world() -> Snapshot {
    world_of(|_| true)
}

/// What there is in the first state of some scenarios, chosen by the names of their folders.
pub fn world_of(chosen: impl Fn(&str) -> bool) -> Snapshot {
    let name = |scenario: &Scenario| scenario.folder.file_name().unwrap().to_string_lossy().into_owned();
    let first = scenarios()
        .into_iter()
        .filter(|scenario| chosen(&name(scenario)))
        .filter_map(|scenario| scenario.states.into_iter().next());
    read(&first.flat_map(|state| state.paths).collect::<Vec<_>>())
}

/// Reads folders in which every file must be right.
pub fn read(paths: &[PathBuf]) -> Snapshot {
    let (snapshot, findings, _) = files::read(paths);
    assert_eq!(findings, Vec::<Finding>::new(), "{paths:?}");
    snapshot
}

impl State {
    pub fn read(&self) -> Snapshot {
        read(&self.paths)
    }

    /// The committed plan, where there is one.
    pub fn plan(&self) -> Option<Value> {
        let text = std::fs::read_to_string(self.folder.join("expected/plan.json")).ok()?;
        Some(serde_json::from_str(&text).unwrap())
    }

    /// The moment that the state is judged at.
    pub fn at(&self) -> Timestamp {
        let plan = self.plan();
        plan.as_ref().and_then(|plan| plan["at"].as_str()).unwrap_or(AT).parse().unwrap()
    }

    /// The findings that are meant to be there.
    pub fn findings(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.join("expected/findings.txt"));
        text.unwrap_or_default().lines().map(str::to_owned).collect()
    }

    pub fn closing(&self) -> Option<Closing> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct File {
            closing: Closing,
        }
        let path = self.folder.join("tests/closing.yaml");
        let text = std::fs::read_to_string(&path).ok()?;
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let [document] = documents.as_slice() else {
            panic!("{} holds {} documents", path.display(), documents.len());
        };
        let file: File = serde_json::from_value(document.clone())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Some(file.closing)
    }
}

impl Act {
    /// Does it to a world in memory. Whom or what it names must be there.
    pub fn apply(&self, snapshot: &mut Snapshot) {
        match self {
            Self::Withdraw { agreement, party } => {
                let spec = &mut signature_of(snapshot, agreement, party).spec;
                spec.state = Some(SignatureState::Withdrawn);
                spec.purposes = None;
            }
            Self::Narrow { agreement, party, purposes } => {
                signature_of(snapshot, agreement, party).spec.purposes = Some(purposes.clone());
            }
            Self::Suspend { agreement } => {
                agreement_mut(snapshot, agreement).spec.suspend = true;
            }
        }
    }
}

/// The agreement of a name, `namespace/name`.
pub fn agreement_mut<'a>(snapshot: &'a mut Snapshot, agreement: &str) -> &'a mut DataSharingAgreement {
    let mut agreements = snapshot.agreements.iter_mut().map(|it| &mut it.object);
    let found = agreements
        .find(|it| format!("{}/{}", it.namespace().unwrap_or_default(), it.name_any()) == agreement);
    found.unwrap_or_else(|| panic!("there is no agreement `{agreement}`"))
}

/// The signature of a party on an agreement.
pub fn signature_of<'a>(
    snapshot: &'a mut Snapshot,
    agreement: &str,
    party: &str,
) -> &'a mut AgreementSignature {
    let mut signatures = snapshot.signatures.iter_mut().map(|it| &mut it.object);
    let found = signatures.find(|it| it.spec.agreement.to_string() == agreement && it.spec.party == party);
    found.unwrap_or_else(|| panic!("`{party}` has not signed `{agreement}`"))
}
