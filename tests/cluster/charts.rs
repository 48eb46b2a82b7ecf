//! The charts: what they give, that an API server takes it, who may then do what, and that the operator can work with
//! no more than that.

mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use concordat_api::{AgreementSignature, DataAccessGrant, DataSharingAgreement, Phase, SignatureState};
use concordat_core::plan::{FIELD_MANAGER, FINALIZER};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt as _;
use kube::api::PatchParams;
use serde_json::{Value, json};
use world::{
    IMAGE, OPERATOR, ROOT, World, arguments, attributes, changed, deployment, grant, owned_policy, planned,
    role_binding, texts, their_peer, their_policy, value_files, values_table,
};

use crate::SOON;
use crate::folders::today::Today;
use crate::support::helm::{definitions_chart, helm, operator_chart, template};
use crate::support::scenario::{Cluster, documents, effects, eventually, namespaces, signature};

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
            "{}: write it again with `UPDATE=1 cargo test --test cluster charts::every_value`",
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
    let policies = own.iter().chain(&["get"]);
    expected.extend(policies.map(|verb| format!("{verb} networking.k8s.io/networkpolicies")));
    expected.insert("create events.k8s.io/events".to_owned());
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

    // a grant that no one would find
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

    // whoever has put a finalizer on what goes takes it off again, and does no more
    let finalizers = |list: Value| json!({"metadata": {"finalizers": list}});
    let (held, freed) = (finalizers(json!(["example.org/held"])), finalizers(json!([])));
    world.apply(&operator, &owned_policy(&place, "own")).unwrap();
    world.merge::<NetworkPolicy>(&operator, &place, name, &held).unwrap();
    world.denied(policies, || world.merge_dry::<NetworkPolicy>(&editor, &place, name, &freed));
    world.delete::<NetworkPolicy>(&operator, &place, name).unwrap();
    world.denied(policies, || world.merge_dry::<NetworkPolicy>(&editor, &place, name, &off));
    world.merge::<NetworkPolicy>(&editor, &place, name, &freed).unwrap();
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
        .delete::<concordat_api::DataProduct>(&world.admin(), "chorley-council", "assisted-bin-collections")
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
