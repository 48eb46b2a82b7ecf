//! A world as files, and what is seen of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use concordat_core::endings::endings;
use concordat_core::evaluate::Judgement;
use concordat_core::finding::{self, Finding};
use concordat_core::plan::PlannedObject;
use concordat_core::snapshot::Snapshot;
use concordat_source::files;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Files by their names.
#[derive(Clone)]
pub struct World {
    files: BTreeMap<String, Vec<u8>>,
}

/// What is seen of a world at a moment.
pub struct Seen {
    pub findings: Vec<Finding>,
    /// Everything that is open: each permission of each flow, each path of each network policy.
    pub access: BTreeSet<String>,
    /// What denies.
    pub isolation: BTreeSet<String>,
    judgement: Judgement,
}

impl World {
    /// The examples, one beside the other.
    pub fn good() -> Self {
        let mut files = BTreeMap::new();
        for (name, folder) in [
            ("chorley", "examples/s01-chorley-assisted-bins"),
            ("yorkshire", "examples/s25-shared-care-record"),
        ] {
            for part in ["agreement", "local-policy", "organisations", "places", "products"] {
                let path = Path::new(folder).join(format!("{part}.yaml"));
                if path.exists() {
                    files.insert(format!("{name}/{part}.yaml"), fs::read(path).unwrap());
                }
            }
            for entry in fs::read_dir(Path::new(folder).join("signatures")).unwrap() {
                let path = entry.unwrap().path();
                let file = path.file_name().unwrap().to_string_lossy().into_owned();
                files.insert(format!("{name}/signatures/{file}"), fs::read(path).unwrap());
            }
        }
        Self { files }
    }

    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.files.keys()
    }

    pub fn text(&self, file: &str) -> &str {
        let bytes = self.files.get(file).unwrap_or_else(|| panic!("there is no file {file}"));
        std::str::from_utf8(bytes).unwrap()
    }

    pub fn put(&mut self, file: &str, bytes: impl Into<Vec<u8>>) {
        self.files.insert(file.to_owned(), bytes.into());
    }

    /// Puts something else in the place of what stands in a file once, at least.
    pub fn swap(&mut self, file: &str, swaps: &[(String, String)]) {
        for (from, to) in swaps {
            let text = self.text(file);
            assert!(text.contains(from), "{file} does not hold {from:?}");
            let text = text.replacen(from, to, 1);
            self.put(file, text);
        }
    }

    /// The same world with every signature that held in another one on the terms as they are here.
    pub fn signed_as(mut self, good: &Seen, at: Timestamp) -> Self {
        let hashes = |seen: &Seen| -> BTreeMap<(String, String), String> {
            let agreements = seen.judgement.model.agreements.iter();
            agreements
                .flat_map(|(reference, agreement)| {
                    let signers = agreement.signers.iter();
                    signers
                        .map(move |(org, it)| ((reference.to_string(), org.clone()), it.terms_hash.clone()))
                })
                .collect()
        };
        let (old, new) = (hashes(good), hashes(&self.seen(at)));
        let changed: Vec<(&String, &String)> = old
            .iter()
            .filter_map(|(who, old)| Some((old, new.get(who)?)))
            .filter(|(old, new)| old != new)
            .collect();
        for (file, bytes) in &mut self.files {
            if file.contains("/signatures/") {
                let mut text = String::from_utf8(bytes.clone()).unwrap();
                for (old, new) in &changed {
                    text = text.replace(*old, new);
                }
                *bytes = text.into_bytes();
            }
        }
        self
    }

    /// What it is for whoever judges it.
    pub fn snapshot(&self) -> Snapshot {
        self.read().0
    }

    fn read(&self) -> (Snapshot, Vec<Finding>, Vec<String>) {
        let mut snapshot = Snapshot::default();
        let (mut findings, mut roots) = (Vec::new(), Vec::new());
        for (file, bytes) in &self.files {
            let read = Read::of(file, bytes);
            let part = read.snapshot.clone();
            snapshot.frameworks.extend(part.frameworks);
            snapshot.exceptions.extend(part.exceptions);
            snapshot.footprints.extend(part.footprints);
            snapshot.orgs.extend(part.orgs);
            snapshot.products.extend(part.products);
            snapshot.agreements.extend(part.agreements);
            snapshot.signatures.extend(part.signatures);
            snapshot.policies.extend(part.policies);
            findings.extend(read.findings.clone());
            roots.push(read.root.clone());
        }
        (snapshot, findings, roots)
    }

    pub fn seen(&self, at: Timestamp) -> Seen {
        let (snapshot, mut findings, roots) = self.read();
        let judgement = Judgement::new(&snapshot, at);
        let plan = judgement.plan();
        findings.extend(plan.findings.clone());
        findings.extend(endings(&snapshot, &judgement, 90));
        for finding in &mut findings {
            for root in &roots {
                finding.origin.file = finding.origin.file.as_ref().map(|file| file.replace(root, ""));
                finding.message = finding.message.replace(root, "");
                finding.help = finding.help.as_ref().map(|help| help.replace(root, ""));
            }
        }
        finding::sort(&mut findings);
        let mut access = permissions(&judgement);
        let mut isolation = BTreeSet::new();
        for object in &plan.objects {
            match object {
                PlannedObject::Isolation(_) => {
                    isolation.insert(object.key().to_string());
                }
                PlannedObject::Allow { .. } => access.extend(paths(&json!(object))),
                PlannedObject::Grant(_) => {}
            }
        }
        // the grants say the same as the flows
        let granted = plan.objects.iter().filter_map(|it| match it {
            PlannedObject::Grant(grant) => Some(grant.spec.recipients.len()),
            PlannedObject::Isolation(_) | PlannedObject::Allow { .. } => None,
        });
        let flows = judgement.assessments.agreements.values().map(|it| it.flows.len()).sum::<usize>();
        assert_eq!(granted.sum::<usize>(), flows);
        Seen { findings, access, isolation, judgement }
    }
}

/// A file as it was read. Most files of most worlds are the same, and are read once.
struct Read {
    root: String,
    snapshot: Snapshot,
    findings: Vec<Finding>,
}

impl Read {
    fn of(file: &str, bytes: &[u8]) -> Arc<Self> {
        /// What has been read, by name and text.
        type Cache = BTreeMap<(String, Vec<u8>), Arc<Read>>;
        static CACHE: Mutex<Cache> = Mutex::new(BTreeMap::new());
        let cache = || CACHE.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (file.to_owned(), bytes.to_vec());
        if let Some(read) = cache().get(&key) {
            return Arc::clone(read);
        }
        let folder = tempfile::tempdir().unwrap();
        let path: PathBuf = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        let (snapshot, findings, _) = files::read(&[folder.path().to_owned()]);
        let read = Arc::new(Self { root: format!("{}/", folder.path().display()), snapshot, findings });
        cache().insert(key, Arc::clone(&read));
        read
    }
}

/// Each action, role and level of each purpose of each flow.
pub fn permissions(judgement: &Judgement) -> BTreeSet<String> {
    let mut permissions = BTreeSet::new();
    for flow in judgement.assessments.agreements.values().flat_map(|it| &it.flows) {
        for purpose in &flow.purposes {
            for action in &purpose.actions {
                let any = vec!["any role".to_owned()];
                for role in purpose.roles.as_ref().unwrap_or(&any) {
                    permissions.insert(format!(
                        "{} {} {} {action:?} {role} {:?}",
                        flow.product, flow.recipient, purpose.code, purpose.max_identifiability
                    ));
                }
            }
        }
    }
    permissions
}

/// Each path that a network policy opens: whose pods, which way, to whom, on what port.
fn paths(policy: &Value) -> Vec<String> {
    let namespace = &policy["metadata"]["namespace"];
    let spec = &policy["spec"];
    let mut paths = Vec::new();
    for (way, peers) in [("ingress", "from"), ("egress", "to")] {
        for rule in spec[way].as_array().into_iter().flatten() {
            for peer in rule[peers].as_array().expect("a rule names its peers") {
                for port in rule["ports"].as_array().expect("a rule names its ports") {
                    paths.push(json!([namespace, spec["podSelector"], way, peer, port]).to_string());
                }
            }
        }
    }
    paths
}
