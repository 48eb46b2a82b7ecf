//! The charts: what they give, that an API server takes it, who may then do what, and that the operator can work with
//! no more than that.
//!
//! One operator and its policies rule a whole cluster, so the tests that install the chart run one after another.

#![cfg(all(feature = "cli", feature = "controller"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly, its helpers too"
)]

mod folders;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use concordat::api::{AgreementSignature, DataAccessGrant, DataSharingAgreement, Phase, SignatureState};
use concordat::core::plan::{FIELD_MANAGER, FINALIZER};
use folders::today::Today;
use futures::StreamExt as _;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenRequest};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::discovery::Scope;
use kube::{Api, Client, Config, Discovery, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use support::Process;
use support::helm::{definitions_chart, helm, operator_chart, template};
use support::scenario::{Cluster, documents, effect, effects, eventually, namespaces, signature};
use tokio::runtime::Runtime;

const SOON: Duration = Duration::from_secs(60);
const OPERATOR: &str = "concordat-operator";
const IMAGE: [&str; 2] = ["--set", "image.repository=registry.example/concordat"];
/// A cluster administrator, whom no role binds.
const ROOT: (&str, &str) = ("root@example.org", "system:masters");

// ---- what the charts give ----

#[test]
fn helm_is_at_hand() {
    assert!(helm(["version"]).unwrap().contains("Version"));
}

#[test]
fn helm_finds_nothing_wrong_with_the_charts_whatever_the_values() {
    for chart in [operator_chart(), definitions_chart()] {
        let path = chart.display().to_string();
        for values in value_files(&chart) {
            helm(["lint", "--strict", &path, "--values", &values]).unwrap();
            assert!(!template(&chart, "concordat-system", &["--values", &values]).unwrap().is_empty());
        }
    }
    helm(["lint", "--strict", &definitions_chart().display().to_string()]).unwrap();
}

#[test]
fn without_an_image_the_chart_says_what_is_missing() {
    let refusal = template(&operator_chart(), "concordat-system", &[]).unwrap_err();
    assert!(refusal.contains("`image.repository` is required: no image is published yet"), "{refusal}");
}

#[test]
fn a_wrong_value_is_refused_by_name() {
    for (set, words) in [
        ("replicaCount=2", vec!["additional properties 'replicaCount' not allowed"]),
        ("replicas=two", vec!["/replicas", "got string, want integer"]),
        ("replicas=0.5", vec!["/replicas", "want integer"]),
        ("leaderElection.enabled=false", vec!["/replicas", "maximum"]),
        ("image.repository=Registry/Concordat", vec!["/image/repository", "does not match pattern"]),
        ("image.digest=latest", vec!["/image/digest", "does not match pattern"]),
        ("image.pullPolicy=Sometimes", vec!["/image/pullPolicy", "'Always', 'IfNotPresent', 'Never'"]),
        ("image.name=x", vec!["/image", "additional properties 'name' not allowed"]),
        ("cluster=North West", vec!["/cluster", "does not match pattern"]),
        ("log.format=json", vec!["/log/format", "'Human', 'Json'"]),
        ("health.port=80", vec!["/health/port", "minimum"]),
        ("resources.limits.memory=lots", vec!["/resources/limits/memory", "does not match pattern"]),
        ("resources.claims=x", vec!["/resources", "'claims' not allowed"]),
        ("podLabels.app\\.kubernetes\\.io/name=x", vec!["invalid propertyName 'app.kubernetes.io/name'"]),
        ("networkPolicy.apiServer.ports=[]", vec!["/networkPolicy/apiServer/ports", "minItems"]),
        ("networkPolicy.apiServer.cidrs={10.0.0.1}", vec!["/networkPolicy/apiServer/cidrs/0", "pattern"]),
        ("admissionPolicy.caretakers=[]", vec!["/admissionPolicy/caretakers", "minItems"]),
        // it would end the text in the rule
        ("admissionPolicy.caretakers={a'b}", vec!["/admissionPolicy/caretakers/0", "pattern"]),
        ("admissionPolicy.enabled=yes", vec!["/admissionPolicy/enabled", "want boolean"]),
    ] {
        // `--set` knows no empty list
        let flag = if set.ends_with("=[]") { "--set-json" } else { "--set" };
        let more = [IMAGE[0], IMAGE[1], flag, set];
        let refusal = template(&operator_chart(), "concordat-system", &more).expect_err(set);
        assert!(words.iter().all(|words| refusal.contains(words)), "{set}: {refusal}");
    }
    let refusal = template(&definitions_chart(), "x", &["--set", "keep=maybe"]).unwrap_err();
    assert!(refusal.contains("/keep") && refusal.contains("want boolean"), "{refusal}");
}

#[test]
fn no_rule_of_any_role_has_a_wildcard_and_nothing_that_writes_is_aggregated() {
    let objects = template(&operator_chart(), "concordat-system", &IMAGE).unwrap();
    let roles: Vec<&Value> =
        objects.iter().filter(|it| ["Role", "ClusterRole"].contains(&it["kind"].as_str().unwrap())).collect();
    assert_eq!(roles.len(), 10);
    for role in roles {
        let name = role["metadata"]["name"].as_str().unwrap();
        assert!(!role["rules"].to_string().contains('*'), "{name}");
        let verbs = |role: &Value| -> BTreeSet<String> {
            let verbs = role["rules"].as_array().unwrap().iter().flat_map(|it| texts(&it["verbs"]));
            verbs.collect()
        };
        let aggregated = role["metadata"]["labels"].to_string().contains("aggregate-to-");
        assert_eq!(aggregated, name == "concordat-viewer", "{name}");
        if aggregated {
            assert_eq!(verbs(role), ["get", "list", "watch"].map(str::to_owned).into(), "{name}");
        }
        // a signature goes by name, never by the dozen
        assert!(!verbs(role).contains("deletecollection"), "{name}");
    }
}

#[test]
fn every_value_is_in_the_readme_with_its_default() {
    for chart in [operator_chart(), definitions_chart()] {
        let readme = chart.join("README.md");
        let text = std::fs::read_to_string(&readme).unwrap_or_default();
        let table = values_table(&chart);
        let (begin, end) = ("<!-- values, generated -->\n", "<!-- end of values -->");
        let (before, rest) = text.split_once(begin).expect("the README has a place for the values");
        let (old, after) = rest.split_once(end).expect("the place ends");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&readme, format!("{before}{begin}{table}{end}{after}")).unwrap();
            continue;
        }
        assert!(
            old == table,
            "{}: write it again with `UPDATE=1 cargo test --test charts readme`",
            readme.display()
        );
    }
}

// ---- what an API server says to that ----

#[test]
fn an_api_server_takes_every_object_of_every_set_of_values() {
    let world = World::new(&[]);
    // not where the chart is installed: there, an apply would be laid over what stands
    let place = world.place("rendered", json!({}));
    let mut seen = BTreeSet::new();
    for chart in [operator_chart(), definitions_chart()] {
        for values in value_files(&chart) {
            for object in template(&chart, &place, &["--values", &values]).unwrap() {
                seen.insert(object["kind"].as_str().unwrap().to_owned());
                let params = PatchParams { dry_run: true, ..PatchParams::apply("rendered").force() };
                let answer = world.patch(&world.admin(), &object, &params.validation_strict());
                answer.unwrap_or_else(|error| panic!("{values}: {error}\n{object}"));
            }
        }
    }
    let all = [
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "Deployment",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Role",
        "RoleBinding",
        "ServiceAccount",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    ];
    assert_eq!(seen, all.map(str::to_owned).into());
}

#[test]
fn the_pods_fit_a_namespace_that_enforces_the_restricted_standard() {
    let world = World::new(&[]);
    let place = world.place("restricted", json!({"pod-security.kubernetes.io/enforce": "restricted"}));
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": OPERATOR, "namespace": place}});
    world.apply(&world.admin(), &account).unwrap();
    for values in value_files(&operator_chart()) {
        let mut pod = deployment(&template(&operator_chart(), &place, &["--values", &values]).unwrap());
        pod = json!({
            "apiVersion": "v1", "kind": "Pod", "spec": pod["spec"]["template"]["spec"],
            "metadata": {"name": "operator", "namespace": place},
        });
        let dry = PatchParams { dry_run: true, ..PatchParams::apply("rendered").force() };
        world.patch(&world.admin(), &pod, &dry).unwrap_or_else(|error| panic!("{values}: {error}"));
        // the namespace does look
        pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = json!(true);
        let refusal = world.patch(&world.admin(), &pod, &dry).unwrap_err();
        assert!(refusal.contains("PodSecurity"), "{refusal}");
    }
}

#[test]
fn an_uninstalled_operator_takes_its_policies_along_and_leaves_the_definitions() {
    let world = World::new(&[]);
    let place = world.place("left", json!({}));
    world.apply(&world.operator(), &owned_policy(&place, "left")).unwrap();
    let root = world.acting(ROOT.0, &[ROOT.1]);
    world.denied("concordat-network-policies", || {
        world.delete_dry::<NetworkPolicy>(&root, &place, "left-abcdefabcd")
    });

    // an upgrade may change what it likes
    world.upgrade(&["--set", "cluster=north", "--set", "replicas=3"]).unwrap();
    let deployment = world.get("apps/v1", "Deployment", Some(&world.namespace), OPERATOR).unwrap();
    assert_eq!(deployment["spec"]["replicas"], 3);
    assert!(
        texts(&deployment["spec"]["template"]["spec"]["containers"][0]["args"])
            .any(|it| it == "--cluster=north")
    );

    world.uninstall().unwrap();
    let policies = "admissionregistration.k8s.io/v1";
    assert_eq!(world.get(policies, "ValidatingAdmissionPolicy", None, "concordat-grants"), None);
    eventually("the policies to be forgotten", SOON, || {
        world.delete_dry::<NetworkPolicy>(&root, &place, "left-abcdefabcd").ok()
    })
    .unwrap();

    world.helm(&["uninstall", "concordat-crds", "--namespace", "default"]).unwrap();
    let name = "agreementsignatures.concordat.dev";
    assert!(world.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", None, name).is_some(), "{name}");
    world.install_definitions();
}

// ---- who may do what ----

#[test]
fn the_operators_account_may_do_what_the_plan_needs_and_nothing_else() {
    let world = World::new(&[]);
    let ours = |plurals: &[&str], verbs: &[&str]| -> Vec<String> {
        let one = |plural: &&str| {
            verbs.iter().map(move |verb| format!("{verb} concordat.dev/{plural}")).collect::<Vec<_>>()
        };
        plurals.iter().flat_map(one).collect()
    };
    let read = [
        "agreementsignatures",
        "dataproducts",
        "datasharingagreements",
        "frameworkexceptions",
        "localpolicies",
        "partnerorgs",
        "placefootprints",
        "policyframeworks",
    ];
    let told = read.iter().chain(&["dataaccessgrants"]);
    let statuses: Vec<String> = told.map(|plural| format!("{plural}/status")).collect();
    let statuses: Vec<&str> = statuses.iter().map(String::as_str).collect();
    let own = ["create", "delete", "list", "patch", "update", "watch"];
    let mut expected: BTreeSet<String> = BTreeSet::new();
    expected.extend(ours(&read, &["list", "watch"]));
    expected.extend(ours(&statuses, &["patch"]));
    expected.extend(ours(&["datasharingagreements"], &["patch"]));
    expected.extend(ours(&["dataaccessgrants"], &own));
    expected.extend(own.map(|verb| format!("{verb} networking.k8s.io/networkpolicies")));
    expected.extend(["create", "patch"].map(|verb| format!("{verb} events.k8s.io/events")));
    // what every account may: ask about itself
    let itself = ["selfsubjectaccessreviews", "selfsubjectrulesreviews"];
    expected.extend(itself.map(|plural| format!("create authorization.k8s.io/{plural}")));
    expected.insert("create authentication.k8s.io/selfsubjectreviews".to_owned());
    assert_eq!(world.everything_allowed("elsewhere"), expected);

    let mut at_home = expected;
    at_home.insert("create coordination.k8s.io/leases".to_owned());
    assert_eq!(world.everything_allowed(&world.namespace), at_home);
    for (name, verb, allowed) in [
        (OPERATOR, "get", true),
        (OPERATOR, "update", true),
        (OPERATOR, "delete", false),
        ("another", "get", false),
        ("another", "update", false),
    ] {
        let may = world.may(&world.namespace, "coordination.k8s.io", "leases", Some(name), verb);
        assert_eq!(may, allowed, "{verb} the lease {name}");
    }
}

#[test]
fn what_rbac_cannot_tell_the_operator_is_kept_to_by_admission() {
    let world = World::new(&[]);
    let (operator, admin) = (world.operator(), world.admin());
    let place = world.place("kept", json!({}));
    let allow = |world: &World, what: &str, object: &Value| {
        world.apply(&operator, object).unwrap_or_else(|error| panic!("{what}: {error}"));
    };
    let policies = "concordat-operator-network-policies";

    // its own, and letting go of it
    allow(&world, "a policy of its own", &owned_policy(&place, "own"));
    let emptied = changed(&owned_policy(&place, "own"), &json!({"spec": {"ingress": []}}));
    allow(&world, "emptying it", &emptied);
    allow(&world, "and filling it again", &owned_policy(&place, "own"));

    // somebody else's
    world.apply(&admin, &their_policy(&place, "theirs")).unwrap();
    let looser = json!({"spec": {"ingress": []}});
    world.denied(policies, || world.merge_dry::<NetworkPolicy>(&operator, &place, "theirs", &looser));
    world.denied(policies, || world.delete_dry::<NetworkPolicy>(&operator, &place, "theirs"));
    world.denied(policies, || world.apply_dry(&operator, &their_policy(&place, "new")));

    // more than it ever plans
    for (what, spec) in [
        ("a rule without peers", json!({"ingress": [{"ports": [{"port": 443}]}]})),
        ("a rule without ports", json!({"ingress": [{"from": [their_peer()]}]})),
        ("a rule with nothing", json!({"ingress": [{}]})),
        (
            "every namespace",
            json!({"ingress": [{"from": [{"namespaceSelector": {}}], "ports": [{"port": 443}]}]}),
        ),
        (
            "namespaces by a label that tenants can write",
            json!({"ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"team": "x"}}}], "ports": [{"port": 443}]}]}),
        ),
        (
            "pods of this namespace",
            json!({"ingress": [{"from": [{"podSelector": {}}], "ports": [{"port": 443}]}]}),
        ),
        ("everything out", json!({"policyTypes": ["Egress"], "ingress": null, "egress": [{}]})),
    ] {
        let wide = changed(&owned_policy(&place, "own"), &json!({ "spec": spec }));
        let refusal = world.denied(policies, || world.apply_dry(&operator, &wide));
        assert!(refusal.contains("names its") || refusal.contains("or names"), "{what}: {refusal}");
    }

    // taking its label off, with a change or without
    let off = json!({"app.kubernetes.io/managed-by": null, "concordat.dev/part": null});
    let sly = json!({"metadata": {"labels": off}, "spec": {"ingress": []}});
    world.denied(policies, || world.merge_dry::<NetworkPolicy>(&operator, &place, "own-abcdefabcd", &sly));
    let off = json!({"metadata": {"labels": off}});
    world.merge::<NetworkPolicy>(&operator, &place, "own-abcdefabcd", &off).unwrap();

    // an agreement: its finalizer, and nothing else
    let agreement = &documents(Path::new("examples/s01-chorley-assisted-bins/agreement.yaml")).unwrap()[0];
    let agreement = changed(agreement, &json!({"metadata": {"namespace": place}}));
    let name = agreement["metadata"]["name"].as_str().unwrap().to_owned();
    world.apply(&admin, &agreement).unwrap();
    let ours = "concordat-operator-agreements";
    for change in [
        json!({"spec": {"suspend": true}}),
        json!({"spec": {"title": "Another"}}),
        json!({"metadata": {"labels": {"a": "b"}}}),
        json!({"metadata": {"annotations": {"a": "b"}}}),
        json!({"metadata": {"finalizers": ["example.org/other"]}}),
        json!({"metadata": {"finalizers": [FINALIZER]}, "spec": {"suspend": true}}),
    ] {
        world.denied(ours, || world.merge_dry::<DataSharingAgreement>(&operator, &place, &name, &change));
    }
    for finalizers in [json!([FINALIZER]), json!([])] {
        let change = json!({"metadata": {"finalizers": finalizers}});
        world.merge::<DataSharingAgreement>(&operator, &place, &name, &change).unwrap();
    }

    // a grant that nobody would find
    let grant = changed(&grant(&place), &json!({"metadata": {"labels": null}}));
    world.denied("concordat-operator-grants", || world.apply_dry(&operator, &grant));
}

#[test]
fn nobody_else_writes_what_the_operator_writes() {
    let world = World::new(&[]);
    let (operator, admin) = (world.operator(), world.admin());
    let place = world.place("shared", json!({}));
    world.bind(&place, "edit", "editor@example.org");
    let editor = world.acting("editor@example.org", &[]);
    let root = world.acting(ROOT.0, &[ROOT.1]);
    let name = "own-abcdefabcd";
    let off =
        json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null, "concordat.dev/part": null}}});
    world.apply(&operator, &owned_policy(&place, "own")).unwrap();
    world.apply(&operator, &grant(&place)).unwrap();

    // a namespace's editor may write network policies, and an administrator anything: not ours
    let policies = "concordat-network-policies";
    for somebody in [&editor, &root] {
        world.apply(somebody, &their_policy(&place, "theirs")).unwrap();
        let on = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "concordat"}}});
        for change in [
            json!({"spec": {"ingress": [{}]}}),
            json!({"metadata": {"annotations": {"a": "b"}}}),
            off.clone(),
        ] {
            let refusal =
                world.denied(policies, || world.merge_dry::<NetworkPolicy>(somebody, &place, name, &change));
            assert!(
                refusal.contains("only the operator writes network policies with the label"),
                "{refusal}"
            );
        }
        world.denied(policies, || world.apply_dry(somebody, &owned_policy(&place, "own")));
        world.denied(policies, || world.apply_dry(somebody, &owned_policy(&place, "forged")));
        world.denied(policies, || world.merge_dry::<NetworkPolicy>(somebody, &place, "theirs", &on));
        world.denied(policies, || world.delete_dry::<NetworkPolicy>(somebody, &place, name));
        // their own are theirs
        world.merge::<NetworkPolicy>(somebody, &place, "theirs", &json!({"spec": {"ingress": []}})).unwrap();
        world.delete::<NetworkPolicy>(somebody, &place, "theirs").unwrap();
    }
    // grants: an editor by RBAC, an administrator by admission
    let rank = json!({"spec": {"notAfter": "2099-01-01T00:00:00Z"}});
    let refusal = world.merge_dry::<DataAccessGrant>(&editor, &place, "grant", &rank).unwrap_err();
    assert!(refusal.contains("cannot patch resource"), "{refusal}");
    let grants = "concordat-grants";
    let refusal = world.denied(grants, || world.merge_dry::<DataAccessGrant>(&root, &place, "grant", &rank));
    assert!(refusal.contains("only the operator writes data access grants"), "{refusal}");
    world.denied(grants, || world.delete_dry::<DataAccessGrant>(&root, &place, "grant"));
    let another = changed(&grant(&place), &json!({"metadata": {"name": "forged"}}));
    world.denied(grants, || world.apply_dry(&root, &another));
    // each object of a collection is asked about
    world.denied(policies, || world.delete_all::<NetworkPolicy>(&editor, &place));
    world.denied(grants, || world.delete_all::<DataAccessGrant>(&root, &place));
    for list in [world.list::<NetworkPolicy>(&admin, &place), world.list::<DataAccessGrant>(&admin, &place)] {
        assert_eq!(list.len(), 1, "all of it still stands: {list:?}");
    }

    // statuses
    let agreement = &documents(Path::new("examples/s01-chorley-assisted-bins/agreement.yaml")).unwrap()[0];
    let agreement = changed(agreement, &json!({"metadata": {"namespace": place}}));
    world.apply(&admin, &agreement).unwrap();
    let status = json!({"status": {"phase": "Superseded"}});
    let bins = agreement["metadata"]["name"].as_str().unwrap();
    world.denied("concordat-statuses", || {
        world.status_dry::<DataSharingAgreement>(&root, &place, bins, &status)
    });
    world.status_dry::<DataSharingAgreement>(&operator, &place, bins, &status).unwrap();

    // those who clean up delete, and do no more
    let collector =
        world.acting("system:serviceaccount:kube-system:generic-garbage-collector", &["system:masters"]);
    world.denied(grants, || world.merge_dry::<DataAccessGrant>(&collector, &place, "grant", &rank));
    world.denied(policies, || world.merge_dry::<NetworkPolicy>(&collector, &place, name, &off));
    let orphaned = json!({"metadata": {"ownerReferences": [], "finalizers": []}});
    world.merge_dry::<NetworkPolicy>(&collector, &place, name, &orphaned).unwrap();
    world.delete_dry::<NetworkPolicy>(&collector, &place, name).unwrap();
    world.delete_dry::<DataAccessGrant>(&collector, &place, "grant").unwrap();

    // what the operator has let go of is the namespace's own
    world.merge::<NetworkPolicy>(&operator, &place, name, &off).unwrap();
    world.delete::<NetworkPolicy>(&editor, &place, name).unwrap();
}

#[test]
fn who_deploys_in_a_namespace_cannot_sign_for_the_party() {
    let world = World::new(&[]);
    let place = world.place("home", json!({}));
    let signed =
        signature(Path::new("examples/s01-chorley-assisted-bins/signatures/northvale-pcn.yaml")).unwrap();
    let signed = changed(&json!(signed), &json!({"metadata": {"namespace": place}}));
    for role in ["view", "edit", "admin"] {
        let user = format!("{role}@example.org");
        world.bind(&place, role, &user);
        let acting = world.acting(&user, &[]);
        // the aggregation takes a moment
        eventually("our kinds to be readable", SOON, || {
            world.try_list::<AgreementSignature>(&acting, &place).ok()
        })
        .unwrap();
        let refusal = world.apply_dry(&acting, &signed).unwrap_err();
        assert!(refusal.contains("cannot patch resource \"agreementsignatures\""), "{role}: {refusal}");
        // nor take the role that may
        let binding = role_binding(&place, "concordat-ig-lead", &user);
        let refusal = world.apply_dry(&acting, &binding).unwrap_err();
        assert!(refusal.contains("forbidden") || refusal.contains("cannot"), "{role}: {refusal}");
    }
    // this is why the role is for people and groups, and never for an account of the namespace
    let may = |user: &str, verb: &str| {
        let attributes = attributes(&place, "", "serviceaccounts", None, verb);
        world.review(user, &[], attributes)
    };
    assert!(may("edit@example.org", "impersonate"), "if this is no longer so, the README may say less");

    world.bind(&place, "concordat-ig-lead", "lead@example.org");
    let lead = world.acting("lead@example.org", &[]);
    world.apply(&lead, &signed).unwrap();
    let elsewhere = world.place("elsewhere", json!({}));
    let there = changed(&signed, &json!({"metadata": {"namespace": elsewhere}}));
    assert!(world.apply_dry(&lead, &there).unwrap_err().contains("cannot patch resource"));
    // nor write the terms that are signed
    let terms = documents(Path::new("examples/s01-chorley-assisted-bins/agreement.yaml")).unwrap().remove(0);
    let terms = changed(&terms, &json!({"metadata": {"namespace": place}}));
    assert!(world.apply_dry(&lead, &terms).unwrap_err().contains("cannot patch resource"));
    world.delete::<AgreementSignature>(&lead, &place, signed["metadata"]["name"].as_str().unwrap()).unwrap();
}

// ---- the operator with just that ----

#[test]
fn with_the_charts_account_and_arguments_the_operator_opens_and_closes_a_scenario() {
    let world = World::new(&[]);
    let today = Today::of_folder(Path::new("examples/s01-chorley-assisted-bins"));
    let folder = today.folder();
    let places = namespaces(folder).unwrap();
    let expected = planned(folder);
    let mut cluster = Cluster::connect(&world.kubeconfig).unwrap();
    let operator = world.start_operator();
    let until = |cluster: &Cluster, wanted: &BTreeMap<String, Value>, what: &str| {
        let seen = || effects(&cluster.grants(&places).unwrap(), &cluster.policies(&places).unwrap());
        let found = eventually(what, SOON, || (seen() == *wanted).then_some(()));
        assert!(found.is_ok(), "{what}\n{}", operator.tail());
    };
    cluster.apply_folder(folder).unwrap();
    let isolation: BTreeMap<String, Value> = expected
        .iter()
        .filter(|(_, value)| value["labels"]["concordat.dev/part"] == "isolation")
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    until(&cluster, &isolation, "isolation, and nothing else");

    let mut signatures = Vec::new();
    for party in ["chorley-council", "northvale-pcn"] {
        cluster.make_signer(party).unwrap();
        let signed = signature(&folder.join(format!("signatures/{party}.yaml"))).unwrap();
        cluster.sign_as(party, &signed).unwrap();
        signatures.push(signed);
    }
    until(&cluster, &expected, "the effects of the committed plan");
    eventually("Active", SOON, || {
        let status = cluster.agreement("chorley-council", "assisted-bins").unwrap().status?;
        (status.phase == Some(Phase::Active)).then_some(())
    })
    .unwrap();
    // people are told
    let events = world.objects("events.k8s.io/v1", "Event", "chorley-council");
    assert!(events.iter().any(|it| it["reportingController"] == FIELD_MANAGER), "{events:?}");

    for (party, signed) in ["chorley-council", "northvale-pcn"].iter().zip(&mut signatures) {
        signed.spec.state = Some(SignatureState::Withdrawn);
        cluster.sign_as(party, signed).unwrap();
    }
    until(&cluster, &isolation, "isolation alone after the withdrawals");

    // a product that goes leaves its isolation to the namespace; an agreement goes
    let product = "DataProduct chorley-council/assisted-bin-collections";
    world
        .delete::<concordat::api::DataProduct>(&world.admin(), "chorley-council", "assisted-bin-collections")
        .unwrap();
    eventually("the isolation to be let go", SOON, || {
        let policies = cluster.policies(&places).unwrap();
        let of = |it: &NetworkPolicy| it.annotations().get("concordat.dev/product").cloned();
        (!policies.iter().any(|it| of(it).as_deref() == Some("chorley-council/assisted-bin-collections")))
            .then_some(())
    })
    .unwrap_or_else(|error| panic!("{product}: {error}\n{}", operator.tail()));
    assert!(!operator.tail().contains("may not"), "{}", operator.tail());
    cluster.clean_up().unwrap();
}

#[test]
fn the_command_knows_every_argument_of_the_deployment() {
    for values in value_files(&operator_chart()) {
        let arguments =
            arguments(&template(&operator_chart(), "concordat-system", &["--values", &values]).unwrap());
        // it fails at the kubeconfig, after it has understood all the rest
        let output = Command::new(env!("CARGO_BIN_EXE_concordat"))
            .args(&arguments)
            .args(["--kubeconfig", "/nowhere"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            said.contains("kubeconfig") && !said.contains("unexpected argument"),
            "{arguments:?}: {said}"
        );
    }
}

// ---- helpers ----

/// A cluster with the charts installed. The operator's chart goes when this does.
struct World {
    runtime: Runtime,
    config: Config,
    kubeconfig: PathBuf,
    namespace: String,
    places: Mutex<Vec<String>>,
    /// One at a time.
    _turn: MutexGuard<'static, ()>,
}

impl World {
    fn new(more: &[&str]) -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        static DEFINED: OnceLock<()> = OnceLock::new();
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let kubeconfig = support::kubeconfig().unwrap().to_owned();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let config = runtime.block_on(async {
            let file = Kubeconfig::read_from(&kubeconfig).unwrap();
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap()
        });
        let namespace = support::unique("concordat-system");
        let world = Self { runtime, config, kubeconfig, namespace, places: Mutex::default(), _turn: turn };
        DEFINED.get_or_init(|| world.install_definitions());
        let chart = operator_chart().display().to_string();
        let caretakers = world.caretakers();
        let mut arguments =
            vec!["install", "concordat", &chart, "--namespace", &world.namespace, "--create-namespace"];
        arguments.extend(IMAGE);
        arguments.extend(["--set-json", &caretakers]);
        arguments.extend(more);
        world.helm(&arguments).unwrap();
        // for a moment the API server may go by the policies of a release that is gone, and so by its account
        let probe = owned_policy("default", "probe");
        eventually("the API server to know this release's account", SOON, || {
            world.apply_dry(&world.operator(), &probe).ok()
        })
        .unwrap();
        world
    }

    /// The usual ones, and whom this cluster's controllers run as: in our own control plane that is its administrator.
    fn caretakers(&self) -> String {
        let values = std::fs::read_to_string(operator_chart().join("values.yaml")).unwrap();
        let values: Value = serde_saphyr::from_str(&values).unwrap();
        let mut caretakers: Vec<String> = texts(&values["admissionPolicy"]["caretakers"]).collect();
        let api: Api<SelfSubjectReview> = Api::all(self.admin());
        let me = self.run(api.create(&PostParams::default(), &SelfSubjectReview::default())).unwrap();
        caretakers.push(me.status.unwrap().user_info.unwrap().username.unwrap());
        format!("admissionPolicy.caretakers={}", json!(caretakers))
    }

    fn install_definitions(&self) {
        let chart = definitions_chart().display().to_string();
        let release =
            ["upgrade", "--install", "concordat-crds", &chart, "--namespace", "default", "--take-ownership"];
        self.helm(&release).unwrap();
        let name = "datasharingagreements.concordat.dev";
        eventually("the definitions to be served", SOON, || {
            let read = self.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", None, name)?;
            assert_eq!(read["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
            let conditions = read["status"]["conditions"].as_array()?.clone();
            conditions.iter().find(|it| it["type"] == "Established" && it["status"] == "True").map(drop)
        })
        .unwrap();
    }

    fn helm(&self, arguments: &[&str]) -> Result<String, String> {
        let kubeconfig = self.kubeconfig.display().to_string();
        helm(arguments.iter().copied().chain(["--kubeconfig", &kubeconfig]))
    }

    fn upgrade(&self, more: &[&str]) -> Result<String, String> {
        let chart = operator_chart().display().to_string();
        let mut arguments =
            vec!["upgrade", "concordat", &chart, "--namespace", &self.namespace, "--reuse-values"];
        arguments.extend(more);
        self.helm(&arguments)
    }

    fn uninstall(&self) -> Result<String, String> {
        self.helm(&["uninstall", "concordat", "--namespace", &self.namespace, "--ignore-not-found"])
    }

    fn run<T>(&self, future: impl Future<Output = kube::Result<T>>) -> Result<T, String> {
        self.runtime.block_on(future).map_err(|error| error.to_string())
    }

    // who

    fn client(&self, change: impl FnOnce(&mut Config)) -> Client {
        let mut config = self.config.clone();
        change(&mut config);
        let _inside = self.runtime.enter();
        Client::try_from(config).unwrap()
    }

    fn admin(&self) -> Client {
        self.client(|_| {})
    }

    fn acting(&self, user: &str, groups: &[&str]) -> Client {
        self.client(|config| {
            config.auth_info.impersonate = Some(user.to_owned());
            let groups = groups.iter().copied().chain(["system:authenticated"]);
            config.auth_info.impersonate_groups = Some(groups.map(str::to_owned).collect());
        })
    }

    fn account(&self) -> String {
        format!("system:serviceaccount:{}:{OPERATOR}", self.namespace)
    }

    fn account_groups(&self) -> Vec<String> {
        let namespace = &self.namespace;
        vec![
            "system:serviceaccounts".into(),
            format!("system:serviceaccounts:{namespace}"),
            "system:authenticated".into(),
        ]
    }

    fn operator(&self) -> Client {
        let groups = self.account_groups();
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        self.acting(&self.account(), &groups)
    }

    /// Starts the real binary as the Deployment would, with a token of the chart's account.
    fn start_operator(&self) -> Process {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.admin(), &self.namespace);
        let request: TokenRequest = serde_json::from_value(json!({"spec": {"audiences": []}})).unwrap();
        let token =
            self.run(accounts.create_token_request(OPERATOR, &PostParams::default(), &request)).unwrap();
        let mut file: Value =
            serde_saphyr::from_str(&std::fs::read_to_string(&self.kubeconfig).unwrap()).unwrap();
        file["users"].as_array_mut().unwrap().iter_mut().for_each(|user| {
            user["user"] = json!({"token": token.status.as_ref().unwrap().token});
        });
        let path = self.kubeconfig.with_file_name(format!("{}.kubeconfig", self.namespace));
        std::fs::write(&path, file.to_string()).unwrap();

        let deployed = self.get("apps/v1", "Deployment", Some(&self.namespace), OPERATOR).unwrap();
        let arguments = arguments(&[deployed]);
        let mut command = Command::new(env!("CARGO_BIN_EXE_concordat"));
        // ours answers nobody
        command.args(arguments.iter().filter(|it| !it.starts_with("--health-addr")));
        command.args(["--health-addr=127.0.0.1:0", "--kubeconfig"]).arg(&path);
        Process::start("operator", &mut command).unwrap()
    }

    // what there is

    /// A namespace that goes with this world.
    fn place(&self, stem: &str, labels: Value) -> String {
        let name = support::unique(stem);
        let object =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        self.apply(&self.admin(), &object).unwrap();
        self.places.lock().unwrap().push(name.clone());
        name
    }

    fn bind(&self, place: &str, role: &str, user: &str) {
        self.apply(&self.admin(), &role_binding(place, role, user)).unwrap();
    }

    fn dynamic(&self, client: &Client, object: &Value) -> (Api<DynamicObject>, String) {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let api_version = text("/apiVersion").unwrap();
        let kind = text("/kind").unwrap();
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let kind = GroupVersionKind::gvk(group, version, kind);
        let (resource, capabilities) =
            self.runtime.block_on(kube::discovery::pinned_kind(&self.admin(), &kind)).unwrap();
        let namespace = text("/metadata/namespace").unwrap_or(&self.namespace);
        let api = match capabilities.scope {
            Scope::Cluster => Api::all_with(client.clone(), &resource),
            Scope::Namespaced => Api::namespaced_with(client.clone(), namespace, &resource),
        };
        (api, text("/metadata/name").unwrap_or_default().to_owned())
    }

    fn get(&self, api_version: &str, kind: &str, namespace: Option<&str>, name: &str) -> Option<Value> {
        let object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": namespace}});
        let (api, name) = self.dynamic(&self.admin(), &object);
        self.run(api.get_opt(&name)).unwrap().map(|found| json!(found))
    }

    fn objects(&self, api_version: &str, kind: &str, namespace: &str) -> Vec<Value> {
        let object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"namespace": namespace}});
        let (api, _) = self.dynamic(&self.admin(), &object);
        self.run(api.list(&ListParams::default())).unwrap().items.iter().map(|it| json!(it)).collect()
    }

    // doing

    fn patch(&self, client: &Client, object: &Value, params: &PatchParams) -> Result<(), String> {
        let (api, name) = self.dynamic(client, object);
        self.run(api.patch(&name, params, &Patch::Apply(object))).map(drop)
    }

    fn apply(&self, client: &Client, object: &Value) -> Result<(), String> {
        self.patch(client, object, &PatchParams::apply("charts-test").force())
    }

    fn apply_dry(&self, client: &Client, object: &Value) -> Result<(), String> {
        self.patch(
            client,
            object,
            &PatchParams { dry_run: true, ..PatchParams::apply("charts-test").force() },
        )
    }

    fn api<K: Kind>(&self, client: &Client, place: &str) -> Api<K> {
        Api::namespaced(client.clone(), place)
    }

    fn merge<K: Kind>(&self, client: &Client, place: &str, name: &str, change: &Value) -> Result<(), String> {
        let api: Api<K> = self.api(client, place);
        self.run(api.patch(name, &PatchParams::default(), &Patch::Merge(change))).map(drop)
    }

    fn merge_dry<K: Kind>(
        &self,
        client: &Client,
        place: &str,
        name: &str,
        change: &Value,
    ) -> Result<(), String> {
        let api: Api<K> = self.api(client, place);
        let params = PatchParams { dry_run: true, ..PatchParams::default() };
        self.run(api.patch(name, &params, &Patch::Merge(change))).map(drop)
    }

    fn status_dry<K: Kind>(
        &self,
        client: &Client,
        place: &str,
        name: &str,
        change: &Value,
    ) -> Result<(), String> {
        let api: Api<K> = self.api(client, place);
        let params = PatchParams { dry_run: true, ..PatchParams::default() };
        self.run(api.patch_status(name, &params, &Patch::Merge(change))).map(drop)
    }

    fn delete<K: Kind>(&self, client: &Client, place: &str, name: &str) -> Result<(), String> {
        let api: Api<K> = self.api(client, place);
        self.run(api.delete(name, &DeleteParams::default())).map(drop)
    }

    fn delete_dry<K: Kind>(&self, client: &Client, place: &str, name: &str) -> Result<(), String> {
        let api: Api<K> = self.api(client, place);
        self.run(api.delete(name, &DeleteParams { dry_run: true, ..DeleteParams::default() })).map(drop)
    }

    fn delete_all<K: Kind>(&self, client: &Client, place: &str) -> Result<(), String> {
        let api: Api<K> = self.api(client, place);
        self.run(api.delete_collection(&DeleteParams::default(), &ListParams::default())).map(drop)
    }

    fn try_list<K: Kind>(&self, client: &Client, place: &str) -> Result<Vec<String>, String> {
        let api: Api<K> = self.api(client, place);
        let list = self.run(api.list(&ListParams::default()))?;
        Ok(list.items.iter().map(kube::ResourceExt::name_any).collect())
    }

    fn list<K: Kind>(&self, client: &Client, place: &str) -> Vec<String> {
        self.try_list::<K>(client, place).unwrap()
    }

    /// Tries until a policy refuses, as a new one takes a moment to be known, and gives back what it said.
    fn denied(&self, policy: &str, attempt: impl Fn() -> Result<(), String>) -> String {
        let by = format!("ValidatingAdmissionPolicy '{policy}'");
        let mut last = String::new();
        let refused = eventually(&format!("`{policy}` to refuse"), Duration::from_secs(10), || {
            last = attempt().err().unwrap_or_else(|| "it was let through".to_owned());
            last.contains(&by).then_some(())
        });
        assert!(refused.is_ok(), "{policy}: {last}");
        last
    }

    // asking

    fn review(&self, user: &str, groups: &[String], attributes: ResourceAttributes) -> bool {
        self.runtime.block_on(reviewed(&self.admin(), user, groups, attributes))
    }

    fn may(&self, namespace: &str, group: &str, resource: &str, name: Option<&str>, verb: &str) -> bool {
        let attributes = attributes(namespace, group, resource, name, verb);
        self.review(&self.account(), &self.account_groups(), attributes)
    }

    /// All that the operator's account may do in a namespace, by asking about everything that the API server knows.
    fn everything_allowed(&self, namespace: &str) -> BTreeSet<String> {
        let client = self.admin();
        let (user, groups) = (self.account(), self.account_groups());
        let verbs = [
            "get",
            "list",
            "watch",
            "create",
            "update",
            "patch",
            "delete",
            "deletecollection",
            "impersonate",
            "bind",
            "escalate",
            "approve",
            "sign",
            "use",
        ];
        self.runtime.block_on(async {
            let discovery = Discovery::new(client.clone()).run().await.unwrap();
            let mut resources: BTreeSet<(String, String)> = BTreeSet::new();
            for group in discovery.groups() {
                for (ApiResource { group, plural, .. }, capabilities) in group.resources_by_stability() {
                    resources.insert((group.clone(), plural.clone()));
                    for (below, _) in capabilities.subresources {
                        resources.insert((group.clone(), format!("{plural}/{}", below.plural)));
                    }
                }
            }
            for virtual_one in ["users", "groups"] {
                resources.insert((String::new(), virtual_one.to_owned()));
            }
            assert!(resources.len() > 100, "{resources:?}");
            assert!(resources.contains(&(String::new(), "serviceaccounts/token".to_owned())));
            let questions =
                resources.iter().flat_map(|(group, resource)| verbs.map(|verb| (group, resource, verb)));
            let answers = futures::stream::iter(questions).map(|(group, resource, verb)| {
                let (client, user, groups) = (&client, &user, &groups);
                async move {
                    let attributes = attributes(namespace, group, resource, None, verb);
                    let may = reviewed(client, user, groups, attributes).await;
                    may.then(|| format!("{verb} {group}/{resource}"))
                }
            });
            answers.buffer_unordered(16).filter_map(|answer| async { answer }).collect().await
        })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // a test that has failed says so itself; what is left here would only confuse the next
        let _gone = self.uninstall();
        let api: Api<Namespace> = Api::all(self.admin());
        let places = std::mem::take(&mut *self.places.lock().unwrap_or_else(PoisonError::into_inner));
        for place in places.iter().chain([&self.namespace]) {
            let _gone = self.run(api.delete(place, &DeleteParams::background()));
        }
    }
}

trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned
{
}
impl<K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned> Kind
    for K
{
}

async fn reviewed(client: &Client, user: &str, groups: &[String], attributes: ResourceAttributes) -> bool {
    let spec = SubjectAccessReviewSpec {
        user: Some(user.to_owned()),
        groups: Some(groups.to_vec()),
        resource_attributes: Some(attributes),
        ..SubjectAccessReviewSpec::default()
    };
    let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    let api: Api<SubjectAccessReview> = Api::all(client.clone());
    api.create(&PostParams::default(), &review).await.unwrap().status.unwrap().allowed
}

fn attributes(
    namespace: &str,
    group: &str,
    resource: &str,
    name: Option<&str>,
    verb: &str,
) -> ResourceAttributes {
    let (resource, subresource) =
        resource.split_once('/').map_or((resource, None), |(of, it)| (of, Some(it)));
    ResourceAttributes {
        namespace: Some(namespace.to_owned()),
        group: Some(group.to_owned()),
        resource: Some(resource.to_owned()),
        subresource: subresource.map(str::to_owned),
        name: name.map(str::to_owned),
        verb: Some(verb.to_owned()),
        ..ResourceAttributes::default()
    }
}

/// A policy as the operator writes them.
fn owned_policy(place: &str, stem: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {
            "name": format!("{stem}-abcdefabcd"), "namespace": place,
            "labels": {"app.kubernetes.io/managed-by": "concordat", "concordat.dev/part": "ingress"},
        },
        "spec": {
            "podSelector": {"matchLabels": {"app": "x"}}, "policyTypes": ["Ingress"],
            "ingress": [{"from": [their_peer()], "ports": [{"port": 443, "protocol": "TCP"}]}],
        },
    })
}

fn their_peer() -> Value {
    json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "elsewhere"}}})
}

/// A policy as anybody may write it.
fn their_policy(place: &str, name: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": place, "labels": {"app.kubernetes.io/managed-by": "somebody"}},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": [{"podSelector": {}}]}]},
    })
}

fn grant(place: &str) -> Value {
    let hash = format!("sha256:{}", "0".repeat(64));
    json!({
        "apiVersion": "concordat.dev/v1alpha1", "kind": "DataAccessGrant",
        "metadata": {
            "name": "grant", "namespace": place,
            "labels": {"app.kubernetes.io/managed-by": "concordat", "concordat.dev/part": "grant"},
        },
        "spec": {
            "agreement": {"namespace": place, "name": "a", "uid": "u", "generation": 1, "termsHash": hash},
            "product": {"namespace": place, "name": "p"},
            "recipient": {"org": "o", "function": "f"},
            "purposes": [{"code": "DirectCare", "actions": ["readRecord"], "maxIdentifiability": "Identifiable"}],
            "notBefore": "2026-01-01T00:00:00Z", "notAfter": "2026-02-01T00:00:00Z",
            "framework": {"name": "england", "version": "1.0.0", "digest": hash},
        },
    })
}

fn role_binding(place: &str, role: &str, user: &str) -> Value {
    let group = "rbac.authorization.k8s.io";
    json!({
        "apiVersion": format!("{group}/v1"), "kind": "RoleBinding",
        "metadata": {"name": format!("{role}-for-{}", user.replace('@', "-at-")), "namespace": place},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
    })
}

/// An object with a merge patch applied.
fn changed(object: &Value, change: &Value) -> Value {
    match (object, change) {
        (Value::Object(object), Value::Object(change)) => {
            let mut merged = object.clone();
            for (key, change) in change {
                match change {
                    Value::Null => {
                        merged.remove(key);
                    }
                    _ => {
                        let value = changed(object.get(key).unwrap_or(&Value::Null), change);
                        merged.insert(key.clone(), value);
                    }
                }
            }
            Value::Object(merged)
        }
        _ => change.clone(),
    }
}

/// The effects that the committed plan of a scenario names.
fn planned(folder: &Path) -> BTreeMap<String, Value> {
    let text = std::fs::read_to_string(folder.join("expected/plan.json")).unwrap();
    let plan: Value = serde_json::from_str(&text).unwrap();
    let objects = plan["objects"].as_array().unwrap();
    objects.iter().map(|object| effect(object["kind"].as_str().unwrap(), object)).collect()
}

fn deployment(objects: &[Value]) -> Value {
    objects.iter().find(|it| it["kind"] == "Deployment").expect("a Deployment").clone()
}

fn arguments(objects: &[Value]) -> Vec<String> {
    texts(&deployment(objects)["spec"]["template"]["spec"]["containers"][0]["args"]).collect()
}

fn texts(list: &Value) -> impl Iterator<Item = String> {
    list.as_array().cloned().unwrap_or_default().into_iter().map(|it| it.as_str().expect("a text").to_owned())
}

/// The sets of values that a chart is tested with.
fn value_files(chart: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(chart.join("ci")).unwrap();
    let mut files: Vec<String> = entries.map(|entry| entry.unwrap().path().display().to_string()).collect();
    files.sort();
    assert!(!files.is_empty(), "{}", chart.display());
    files
}

/// Each value with its default and what the schema says of it.
fn values_table(chart: &Path) -> String {
    let values: Value =
        serde_saphyr::from_str(&std::fs::read_to_string(chart.join("values.yaml")).unwrap()).unwrap();
    let schema: Value =
        serde_json::from_str(&std::fs::read_to_string(chart.join("values.schema.json")).unwrap()).unwrap();
    let mut rows = String::from("| Value | Default | What it is |\n|---|---|---|\n");
    let mut fill = |path: &str, value: &Value, schema: &Value| {
        let description = schema["description"].as_str().unwrap_or_else(|| panic!("{path} is not described"));
        rows.push_str(&format!("| `{path}` | `{value}` | {description} |\n"));
    };
    fn walk(path: &str, values: &Value, schema: &Value, fill: &mut impl FnMut(&str, &Value, &Value)) {
        let properties = schema["properties"].as_object().cloned().unwrap_or_default();
        let named = values.as_object().cloned().unwrap_or_default();
        for name in named.keys() {
            assert!(properties.contains_key(name), "the schema does not know `{path}{name}`");
        }
        for (name, schema) in &properties {
            let path = format!("{path}{name}");
            match (name.as_str(), named.get(name)) {
                ("global", None) => {}
                (_, None) => panic!("`{path}` has no default"),
                (_, Some(value)) if schema["properties"].is_object() && name != "resources" => {
                    walk(&format!("{path}."), value, schema, fill);
                }
                (_, Some(value)) => fill(&path, value, schema),
            }
        }
    }
    walk("", &values, &schema, &mut fill);
    rows
}
