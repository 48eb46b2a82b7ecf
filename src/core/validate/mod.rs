//! Validation: wire objects to the model, and everything that is wrong as findings. One function for the command,
//! the operator and the webhook.
//!
//! An object with an error is not used; what refers to it says so. Nothing is dropped without a finding.

mod agreements;
mod check;
mod clusters;
mod contradictions;
mod dates;
mod frameworks;
mod metadata;
mod orgs;
mod overlaps;
mod places;
mod policies;
mod products;
mod rules;
mod selectors;
pub mod shape;
mod shape_problem;
mod signatures;
mod stores;

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde_json::{Value, json};

use check::{Check, Guesses};
pub(crate) use contradictions::moments;

use self::shape_problem::ShapeProblem;
use super::finding::{Code, Finding, ObjectKey, Severity};
use super::model::{Model, ObjectRecord, Remembered};
use super::parallel;
use super::snapshot::{Snapshot, Sourced, Unreadable, reference};
use concordat_api::API_VERSION;

/// Validates a snapshot as it is at `now`. Local policies are loaded in a second step, as their tests need the
/// rest of the model.
pub fn validate(snapshot: &Snapshot, now: Timestamp) -> (Model, Vec<Finding>) {
    examine(snapshot, now, None)
}

/// Validates a snapshot as [`validate`] does, in less time: what an earlier model knows of an object or of an
/// agreement's terms is not worked out again where neither has changed.
pub fn revalidate(snapshot: &Snapshot, now: Timestamp, earlier: &Model) -> (Model, Vec<Finding>) {
    examine(snapshot, now, Some(earlier))
}

fn examine(snapshot: &Snapshot, now: Timestamp, earlier: Option<&Model>) -> (Model, Vec<Finding>) {
    let guesses = Guesses::default();
    let mut checked = Checked { earlier, model: Model::default(), findings: Vec::new(), guesses };
    checked.model.cluster = snapshot.cluster.clone();
    checked.model.unknown_texts =
        snapshot.unknown_texts.iter().filter_map(|origin| origin.file.clone()).collect();
    checked.look_at_all(snapshot);
    places::check(snapshot, &mut checked);
    frameworks::check(snapshot, &mut checked);
    orgs::check(snapshot, &mut checked);
    products::check(snapshot, &mut checked);
    let signed = signatures::collect(snapshot, now, &mut checked);
    checked.findings.extend(clusters::check(snapshot));
    agreements::check(snapshot, now, &mut checked);
    contradictions::doubles(snapshot, &mut checked);
    signatures::check(snapshot, &signed, now, &mut checked);
    policies::check(snapshot, &mut checked);
    overlaps::check(snapshot, &mut checked);
    contradictions::check(snapshot, now, &mut checked);
    let Checked { earlier: _, mut model, mut findings, guesses: _ } = checked;
    let going =
        model.objects.iter().filter(|(key, object)| object.deleting && is_gone_when_deleted(&key.kind));
    check::name_what_exists(&mut findings, &snapshot.unreadable, going.map(|(key, _)| key));
    let refused: BTreeSet<&ObjectKey> = findings
        .iter()
        .filter(|finding| finding.refuses())
        .filter_map(|finding| finding.origin.object.as_ref())
        .collect();
    for (key, looked) in &mut model.objects {
        looked.accepted = !refused.contains(key);
    }
    (model, findings)
}

/// Whether an object of a kind counts as gone from the moment at which it is being deleted: what a finalizer holds is as
/// good as gone where it could give access (CVE-2023-34091). Of an agreement there is something to take away, of a local
/// policy there are forbids to keep, and of a signature a no, so that they are looked at all the same.
fn is_gone_when_deleted(kind: &str) -> bool {
    !["AgreementSignature", "DataSharingAgreement", "LocalPolicy"].contains(&kind)
}

/// The model as far as it has been built, with the findings so far.
#[derive(Debug)]
struct Checked<'e> {
    earlier: Option<&'e Model>,
    model: Model,
    findings: Vec<Finding>,
    guesses: Guesses,
}

/// The spec of an object in a cluster, and what is wrong with its shape.
#[derive(Default)]
struct Shape {
    spec: Value,
    problems: Vec<ShapeProblem>,
}

impl Checked<'_> {
    /// Starts the checks of an object; none where an earlier step has refused it, or where it counts as gone.
    fn start<'a, T>(&self, sourced: &'a Sourced<T>) -> Option<Check<'a, T>>
    where
        T: Resource<DynamicType = ()>,
    {
        let key = sourced.key();
        let gone = sourced.object.meta().deletion_timestamp.is_some() && is_gone_when_deleted(&key.kind);
        (!gone && self.model.accepted(&key)).then(|| Check::guessing(sourced, self.guesses.clone()))
    }

    /// Keeps a check's findings, and tells whether the object can be used.
    fn finish<T>(&mut self, check: Check<'_, T>) -> bool
    where
        T: Resource<DynamicType = ()>,
    {
        let (accepted, findings) = check.done();
        self.findings.extend(findings);
        accepted
    }

    fn look_at_all(&mut self, snapshot: &Snapshot) {
        let Snapshot {
            cluster: _,
            frameworks,
            exceptions,
            footprints,
            orgs,
            products,
            agreements,
            signatures,
            policies,
            tests: _,
            unreadable,
            unknown_texts: _,
        } = snapshot;
        self.model.unreadable = unreadable.iter().map(Unreadable::key).collect();
        self.look_at(frameworks, unreadable);
        self.look_at(exceptions, unreadable);
        self.look_at(footprints, unreadable);
        self.look_at(orgs, unreadable);
        self.look_at(products, unreadable);
        self.look_at(agreements, unreadable);
        self.look_at(signatures, unreadable);
        self.look_at(policies, unreadable);
        for it in agreements {
            self.remember(&it.key(), Remembered::of(it.object.status.as_ref()));
        }
        for (key, status) in policies.iter().filter_map(|it| Some((it.key(), it.object.status.as_ref()?))) {
            self.remember(&key, Remembered { loaded: status.loaded.clone(), ..Remembered::default() });
        }
    }

    fn remember(&mut self, key: &ObjectKey, remembered: Remembered) {
        if let Some(looked) = self.model.objects.get_mut(key) {
            looked.remembered = remembered;
        }
    }

    /// What is wrong with the shapes of a kind's objects. Files were held to the whole shape as they were read, and a version
    /// of an object does not change; what a cluster holds may have been stored under another definition.
    fn shapes<T>(&self, objects: &[Sourced<T>]) -> Vec<Shape>
    where
        T: Resource<DynamicType = ()> + Serialize + Send + Sync,
    {
        parallel::map(objects, |sourced| {
            let (key, meta) = (sourced.key(), sourced.object.meta());
            let version = meta.uid.clone().zip(meta.resource_version.clone());
            let before = self.earlier.and_then(|earlier| earlier.objects.get(&key)?.clean.as_ref());
            if sourced.source.file.is_some() || (version.is_some() && before == version.as_ref()) {
                return Shape::default();
            }
            let mut whole = serde_json::to_value(&sourced.object).unwrap_or_default();
            let spec = whole.get_mut("spec").map(Value::take).unwrap_or_default();
            let object = json!({
                "apiVersion": API_VERSION, "kind": key.kind,
                "metadata": { "name": key.name, "namespace": key.namespace }, "spec": &spec,
            });
            Shape { problems: shape::problems(&key.kind, &object), spec }
        })
    }

    /// Remembers every object of a kind, and refuses those that are there twice or hold what no text may hold.
    fn look_at<T>(&mut self, objects: &[Sourced<T>], unreadable: &[Unreadable])
    where
        T: Resource<DynamicType = ()> + Serialize + Send + Sync,
    {
        let keys: Vec<ObjectKey> = objects.iter().map(Sourced::key).collect();
        let mut seen = BTreeSet::new();
        let twice = keys.iter().filter(|key| !seen.insert(*key)).cloned();
        // a copy that cannot be read voids like one that can
        let copies = unreadable.iter().filter(|it| it.kind == T::kind(&())).map(Unreadable::key);
        let twice: BTreeSet<ObjectKey> = twice.chain(copies).collect();
        let shapes = self.shapes(objects);
        for ((sourced, key), shape) in objects.iter().zip(keys).zip(shapes) {
            let mut check = Check::new(sourced);
            if twice.contains(&key) {
                check
                    .finding(
                        Code::DuplicateObject,
                        "metadata.name",
                        format!("`{key}` is there more than once"),
                    )
                    .help("keep one of them; until then none is used");
            }
            let meta = sourced.object.meta();
            let version = meta.uid.clone().zip(meta.resource_version.clone());
            let Shape { spec, problems } = shape;
            let is_clean = problems.iter().all(|problem| problem.code.severity() != Severity::Error);
            for problem in problems {
                let found = check.finding(problem.code, &problem.field, problem.message);
                if let Some(help) = problem.help {
                    found.help(help);
                }
            }
            if !is_clean {
                let unreadable = Unreadable {
                    kind: key.kind.clone(),
                    meta: meta.clone(),
                    error: "it does not have the shape of its kind".to_owned(),
                    spec,
                    source: Arc::clone(&sourced.source),
                };
                self.model.misshapen.insert(key.clone(), unreadable);
            }
            let looked = ObjectRecord {
                generation: meta.generation,
                accepted: true,
                deleting: meta.deletion_timestamp.is_some(),
                clean: version.filter(|_| is_clean),
                remembered: Remembered::default(),
            };
            let accepted = self.finish(check);
            self.model.objects.insert(key, ObjectRecord { accepted, ..looked });
        }
    }
}

/// The namespace of a namespaced object; files have been refused where it is missing.
fn namespace(object: &impl ResourceExt) -> String {
    object.namespace().unwrap_or_default()
}

/// Names in backticks, with commas. The first stand for all where there are many: of a thousand objects that share one
/// name, each would list the others.
fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const MOST: usize = 20;
    let names: BTreeSet<&str> = names.into_iter().collect();
    if names.is_empty() {
        return "none".to_owned();
    }
    let mut listed: Vec<String> = names.iter().take(MOST).map(|name| format!("`{name}`")).collect();
    if names.len() > MOST {
        listed.push(format!("and {} more", names.len() - MOST));
    }
    listed.join(", ")
}
