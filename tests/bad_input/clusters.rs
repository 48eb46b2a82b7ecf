//! What no file can be wrong about: which cluster it is for, and what a cluster holds besides it. And what an API server
//! refuses before anybody sees it, should it not.

use concordat_api::{LocalPolicy, ObjectRef, PolicyFramework};
use concordat_core::endings::endings;
use concordat_core::evaluate::Judgement;
use concordat_core::finding::{self, Finding, ObjectKey};
use concordat_core::live::{Admission, ClusterContext, findings};
use concordat_core::plan::{Dns, Observed, PlannedObject};
use concordat_core::snapshot::{ClusterView, Snapshot, Sourced, Unreadable};
use concordat_source::files;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt as _;
use serde_json::json;

use super::at;
use super::world::World;

/// What it is, and what is said of it.
pub fn all() -> Vec<(&'static str, Vec<Finding>)> {
    let mut told = vec![
        ("an operator that was not told which cluster this is", unnamed()),
        ("an operator that was told, and objects that do not say", unsaid()),
        ("a path between two clusters of which one has no gateway", no_gateway()),
        ("a gateway that got past the API server", odd_gateway()),
        ("a framework that got past the API server under another name", odd_framework()),
        ("a framework of somebody's own that is not Cedar", odd_text()),
        ("an agreement that no one can read, and that says whose place it takes", unread_successor()),
        ("an agreement that says too soon that it has been replaced", replaced_too_soon()),
    ];
    told.extend(cluster());
    // what stands in a cluster stands in no file, and its order is not that of files
    for (_, findings) in &mut told {
        for finding in &mut *findings {
            (finding.origin.file, finding.origin.line, finding.origin.column) = (None, None, None);
        }
        finding::sort(findings);
    }
    let before = "2025-12-31T23:59:59Z".parse().unwrap();
    told.push(("a framework before its time", World::good().seen(before).findings));
    told.push(("a folder that is not there", files::read(&["elsewhere".into()]).1));
    told
}

fn judged(snapshot: &Snapshot) -> Vec<Finding> {
    Judgement::new(snapshot, at()).plan().findings
}

/// The good world, with `cluster: north` at the council and at its product.
fn in_north() -> Snapshot {
    let mut world = World::good();
    let swap = |from: &str, to: &str| vec![(from.to_owned(), to.to_owned())];
    world.swap(
        "chorley/organisations.yaml",
        &swap("- namespace: chorley-council\n", "- cluster: north\n          namespace: chorley-council\n"),
    );
    world.swap("chorley/products.yaml", &swap("  endpoint:", "  cluster: north\n  endpoint:"));
    world.snapshot()
}

fn unnamed() -> Vec<Finding> {
    judged(&Snapshot { cluster: ClusterView::Unnamed, ..in_north() })
}

fn unsaid() -> Vec<Finding> {
    judged(&Snapshot { cluster: ClusterView::Named("north".to_owned()), ..in_north() })
}

fn no_gateway() -> Vec<Finding> {
    let mut snapshot = World::good().snapshot();
    snapshot.cluster = ClusterView::Named("north".to_owned());
    for org in &mut snapshot.orgs {
        let of = if org.object.metadata.name.as_deref() == Some("northvale-pcn") { "south" } else { "north" };
        for workload in org.object.spec.functions.iter_mut().flat_map(|function| &mut function.workloads) {
            workload.cluster = Some(of.to_owned());
        }
    }
    for product in &mut snapshot.products {
        product.object.spec.cluster = Some("north".to_owned());
    }
    judged(&snapshot)
}

fn odd_gateway() -> Vec<Finding> {
    let mut snapshot = World::good().snapshot();
    let gateway = json!({ "cluster": "south", "cidrs": ["10.0.0.0/99"] });
    snapshot.orgs[0].object.spec.gateways = vec![serde_json::from_value(gateway).unwrap()];
    judged(&snapshot)
}

fn replaced_too_soon() -> Vec<Finding> {
    let mut snapshot = World::good().snapshot();
    let by = ObjectRef { namespace: "chorley-council".to_owned(), name: "assisted-bins-2".to_owned() };
    snapshot.agreements[0].object.spec.superseded_by = Some(by);
    endings(&snapshot, &Judgement::new(&snapshot, at()), 0)
}

fn unread_successor() -> Vec<Finding> {
    let mut snapshot = World::good().snapshot();
    let old = snapshot.agreements[0].object.clone();
    let namespace = old.metadata.namespace.clone().unwrap();
    let new = ObjectRef { namespace: namespace.clone(), name: "later".to_owned() };
    let old = ObjectRef { namespace, name: old.name_any() };
    // everybody has signed that one too
    let mut signatures = snapshot.signatures.clone();
    signatures.retain(|it| it.object.spec.agreement == old);
    for signature in &mut signatures {
        signature.object.metadata.name = Some(format!("later.{}", signature.object.spec.party));
        signature.object.spec.agreement = new.clone();
    }
    assert!(!signatures.is_empty());
    snapshot.signatures.extend(signatures);
    let meta = json!({ "namespace": new.namespace, "name": new.name });
    snapshot.unreadable.push(Unreadable {
        kind: "DataSharingAgreement".to_owned(),
        meta: serde_json::from_value(meta).unwrap(),
        error: "a field from the future".to_owned(),
        spec: json!({ "supersedes": old }),
        source: std::sync::Arc::default(),
    });
    judged(&snapshot)
}

fn framework(change: impl Fn(&mut PolicyFramework)) -> Vec<Finding> {
    let mut snapshot = World::good().snapshot();
    let text = std::fs::read_to_string("policies/england-1.0.0.yaml").unwrap();
    let mut framework: PolicyFramework = serde_saphyr::from_str(&text).unwrap();
    change(&mut framework);
    snapshot.frameworks.push(Sourced::live(framework));
    judged(&snapshot)
}

fn odd_framework() -> Vec<Finding> {
    framework(|framework| {
        framework.spec.version = "1.1.0".to_owned();
        framework.metadata.name = Some("england".to_owned());
    })
}

fn odd_text() -> Vec<Finding> {
    framework(|framework| {
        framework.spec.version = "1.1.0".to_owned();
        framework.metadata.name = Some("england-1.1.0".to_owned());
        framework.spec.policies.insert("more.cedar".to_owned(), "forbid (principal, action);".to_owned());
    })
}

/// A cluster with the good world in it, and nothing of what there ought to be.
fn cluster() -> Vec<(&'static str, Vec<Finding>)> {
    let snapshot = World::good().snapshot();
    let judgement = Judgement::new(&snapshot, at());
    let with = |observed: &Observed, context: &ClusterContext| -> Vec<Finding> {
        findings(&judgement, &Dns::default(), observed, context)
    };
    let nothing = Observed::new(&snapshot, Vec::new(), Vec::new());
    let nowhere = ClusterContext::default();
    let left: NetworkPolicy = serde_json::from_value(json!({
        "metadata": {
            "namespace": "chorley-council", "name": "left-over",
            "labels": { "app.kubernetes.io/managed-by": "concordat", "concordat.dev/part": "ingress" },
        },
        "spec": { "podSelector": { "matchLabels": { "app": "left" } }, "policyTypes": ["Ingress"] },
    }))
    .unwrap();
    let isolation = judgement.plan().objects.into_iter().filter_map(|object| match object {
        PlannedObject::Isolation(policy) => Some(policy),
        PlannedObject::Allow { .. } | PlannedObject::Grant(_) => None,
    });
    let orphan = Observed::new(&snapshot, isolation.chain([left.into()]).collect(), Vec::new());
    let theirs: NetworkPolicy = serde_json::from_value(json!({
        "metadata": { "namespace": "chorley-council", "name": "let-in" },
        "spec": {
            "podSelector": {},
            "ingress": [{ "from": [{ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "kube-public" } } }] }],
        },
    }))
    .unwrap();
    let key = |kind: &str, namespace: Option<&str>, name: &str| ObjectKey::new(kind, namespace, name);
    vec![
        ("a cluster in which nothing has been written", with(&nothing, &nowhere)),
        ("a policy of the operator that no one planned", with(&orphan, &nowhere)),
        (
            "somebody else's policy that lets more in",
            with(
                &nothing,
                &ClusterContext { policies: Some(vec![theirs.into()]), ..ClusterContext::default() },
            ),
        ),
        (
            "namespaces that are not there",
            with(&nothing, &ClusterContext { namespaces: Some([].into()), ..ClusterContext::default() }),
        ),
        (
            "no network plugin",
            with(&nothing, &ClusterContext { groups: Some([].into()), ..ClusterContext::default() }),
        ),
        (
            "no admission policy",
            with(
                &nothing,
                &ClusterContext { admission: Some(Admission::default()), ..ClusterContext::default() },
            ),
        ),
        (
            "an object that cannot be decoded",
            with(
                &nothing,
                &ClusterContext {
                    undecodable: vec![(
                        key("LocalPolicy", Some("chorley-place"), "from-the-future"),
                        serde_json::from_value::<LocalPolicy>(
                            json!({ "metadata": {}, "spec": { "footprint": 1 } }),
                        )
                        .unwrap_err()
                        .to_string(),
                    )],
                    ..ClusterContext::default()
                },
            ),
        ),
    ]
}
