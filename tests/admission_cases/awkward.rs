//! Awkward values in every field: what `check` passes, the API server takes, and what it plans as well.

use std::collections::BTreeMap;

use concordat_api::{
    AgreementSignature, DataProduct, DataSharingAgreement, ObjectRef, PartnerOrg, PlaceFootprint,
};
use concordat_core::evaluate::Judgement;
use concordat_core::finding::{Code, Severity};
use concordat_core::plan::PlannedObject;
use concordat_core::sign::{SignatureRequest, signature};
use concordat_core::snapshot::{Snapshot, Sourced};
use concordat_core::validate::shape;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::{Server, admission_cases, support};

/// What people may put into a text, and what is put there by accident.
fn texts() -> Vec<Value> {
    let texts = [
        "",
        " ",
        "\u{a0}",
        "\u{2003}\t",
        "a",
        "A",
        "a-",
        "-a",
        "a.b",
        "a..b",
        "a/b",
        "a_b",
        "é",
        "日本",
        "GB",
        "*",
        "null",
        "true",
        "1",
        "2026-04-01",
        "2026-04-01T00:00:00Z",
        "2026-04-01t00:00:00z",
        "2026-04-01T00:00:00.123456789+23:59",
        "2026-02-30T00:00:00Z",
        "2026-04-01T24:00:00Z",
        "2026-12-31T23:59:60Z",
        "2026-04-01 00:00:00Z",
        "0000-01-01T00:00:00Z",
        "9999-11-30T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "2026-04-01T00:00:00-00:00",
        "203.0.113.0/28",
        "203.0.113.1/28",
        "010.0.0.0/8",
        "10.0.0.0/33",
        "2001:db8::/32",
        "2001:DB8::/32",
        "2001:db8:0::/32",
        "::ffff:10.0.0.0/104",
        "::/8",
        "::1.2.3.4/128",
        "fe80::%eth0/64",
        "10.0.0.0/08",
        "sha256:00",
        "6(1)(e)",
        "1.0.0",
        "1.0",
        "a@b.c",
        "https://a.example/b c",
        "Europe/London",
    ];
    let long = [
        "a".repeat(63),
        "a".repeat(64),
        "a".repeat(253),
        "a".repeat(254),
        "a".repeat(257),
        format!("{}/a", "a".repeat(253)),
    ];
    let odd = [json!(null), json!(true), json!(7), json!(-1), json!(1.5), json!([]), json!({})];
    texts.into_iter().map(Value::from).chain(long.into_iter().map(Value::from)).chain(odd).collect()
}

fn numbers() -> Vec<Value> {
    vec![
        json!(-1),
        json!(0),
        json!(1),
        json!(65_535),
        json!(65_536),
        json!(1_000_000_007),
        json!(i64::MAX),
        json!(1.5),
        json!("1"),
        json!(null),
    ]
}

/// Metadata beside the name.
fn metadata() -> Vec<Value> {
    let long = "a".repeat(64);
    let owner = |uid: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": uid});
    vec![
        json!({"labels": {"app.kubernetes.io/name": "A_b.c", "e": ""}}),
        json!({"labels": {"a b": "c"}}),
        json!({"labels": {"a": "b c"}}),
        json!({"labels": {"a": long.clone()}}),
        json!({"labels": {long.clone(): "a"}}),
        json!({"labels": {"A.example/a": "a"}}),
        json!({"labels": {"a..b/a": "a"}}),
        json!({"labels": {"a/b/c": "a"}}),
        json!({"labels": {"a": "-"}}),
        json!({"annotations": {"A.Example/b": "anything, é\n"}}),
        json!({"annotations": {"a b": ""}}),
        json!({"annotations": {"a": "x".repeat(262_144 - 1)}}),
        json!({"annotations": {"a": "x".repeat(262_144)}}),
        json!({"finalizers": ["example.org/keep"]}),
        json!({"finalizers": ["not a name"]}),
        json!({"finalizers": ["keep"]}),
        json!({"finalizers": ["orphan", "foregroundDeletion"]}),
        json!({"generateName": "stem-"}),
        json!({"generateName": "Stem-"}),
        json!({"generateName": "-"}),
        json!({"ownerReferences": [owner("1")]}),
        json!({"ownerReferences": [owner("")]}),
        json!({"ownerReferences": [{"apiVersion": "a/b/c", "kind": "K", "name": "n", "uid": "1"}]}),
        json!({"ownerReferences": [{"apiVersion": "v1", "kind": "Event", "name": "n", "uid": "1"}]}),
        json!({"labels": {"a": 1}}),
        json!({"annotations": {"a": true}}),
    ]
}

/// Every text and number of a value, as JSON pointers.
fn leaves(value: &Value, path: &str, found: &mut Vec<(String, bool)>) {
    match value {
        Value::String(_) => found.push((path.to_owned(), true)),
        Value::Number(_) => found.push((path.to_owned(), false)),
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, item)| leaves(item, &format!("{path}/{index}"), found));
        }
        Value::Object(fields) => fields.iter().for_each(|(name, field)| {
            leaves(field, &format!("{path}/{}", name.replace('~', "~0").replace('/', "~1")), found);
        }),
        Value::Null | Value::Bool(_) => {}
    }
}

/// What is refused offline, but for what only Concordat refuses.
fn refused(kind: &str, object: &Value) -> Vec<String> {
    let own = [Code::NhsNumber, Code::UnsafeText, Code::TooLarge];
    let problems = shape::problems(kind, object).into_iter();
    let problems = problems.filter(|it| it.code.severity() == Severity::Error && !own.contains(&it.code));
    problems.map(|it| format!("{}: {}", it.field, it.message)).collect()
}

/// Every seventh variant, so that each field has its share of the values; all of them take minutes.
fn step() -> usize {
    if std::env::var("CONCORDAT_STRESS").is_ok_and(|length| length == "long") { 1 } else { 7 }
}

/// Both ways: what `check` passes is taken, and what it refuses is refused, so that no good manifest is called bad.
#[tokio::test]
async fn what_check_passes_the_server_takes_and_nothing_else() {
    let server = Server::start().await;
    let (mut wrong, mut taken, mut seen) = (Vec::new(), 0, 0);
    for cases in admission_cases::all() {
        let kind = cases.kind().to_owned();
        let full = cases.admitted().pop().expect("a good object");
        let mut variants: Vec<(String, Value)> = Vec::new();
        let mut found = Vec::new();
        leaves(&full["spec"], "/spec", &mut found);
        for (path, is_text) in found {
            for value in if is_text { texts() } else { numbers() } {
                let mut object = full.clone();
                *object.pointer_mut(&path).expect("it was found there") = value.clone();
                variants.push((format!("{path} = {value:.80}"), object));
            }
        }
        let mut variants: Vec<_> = variants.into_iter().step_by(step()).collect();
        for more in metadata() {
            let told = format!("metadata {more:.80}");
            variants.push((told, admission_cases::patched(&full, &json!({ "metadata": more }))));
        }
        for (told, object) in variants {
            let (offline, online) = (refused(&kind, &object), server.apply(&object, true).await);
            seen += 1;
            taken += usize::from(online.is_ok());
            if offline.is_empty() != online.is_ok() {
                wrong.push(format!("{kind} {told}: check says {offline:?}, the server {online:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {seen}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(seen > 2_000 && taken > 100, "{seen} tried and {taken} taken");
    server.stop().await;
}

fn sourced<K: kube::Resource<DynamicType = ()> + serde::de::DeserializeOwned>(object: Value) -> Sourced<K> {
    Sourced::live(serde_json::from_value(object).expect("an object of its kind"))
}

/// A world in which every name is as long or as odd as it may be.
fn world(namespaces: &[String; 2], long: &str) -> (Snapshot, ObjectRef) {
    let head = |kind: &str, namespace: Option<&str>, name: &str, spec: Value| {
        let mut object = json!({"apiVersion": "concordat.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
        if let Some(namespace) = namespace {
            object["metadata"]["namespace"] = json!(namespace);
        }
        object
    };
    let [ours, theirs] = namespaces;
    let key = format!("{}.{}/{}", "a".repeat(63), "b".repeat(63), "K".repeat(63));
    let selector = json!({
        "matchLabels": {key: "V".repeat(63), "e": ""},
        "matchExpressions": [
            {"key": "a.b_C-d", "operator": "In", "values": ["x", ""]},
            {"key": "a.b_C-d", "operator": "NotIn", "values": ["y"]},
            {"key": "debug", "operator": "DoesNotExist"},
        ],
    });
    let org = |name: &str, home: &str, function: &str| {
        let spec = json!({
            "displayName": "Org", "sector": "Nhs", "identifiers": [{"scheme": "OrgId", "value": format!("GB-TEST-{}", home.chars().take(40).collect::<String>())}],
            "publicAuthority": false, "homeNamespace": home, "state": "Active", "footprints": [long],
            "functions": [{"name": function, "providesCare": true, "egress": "Managed", "workloads": [
                {"cluster": "north", "namespace": home, "podSelector": selector},
                {"cluster": "South_1.x", "namespace": home},
            ]}],
            "gateways": [
                {"cluster": "South_1.x", "cidrs": ["2001:db8::/32", "203.0.113.77/32", "10.0.0.0/8"]},
            ],
            "assurance": {"dspt": {"status": "StandardsMet", "validUntil": "2030-01-01T00:00:00Z"}},
            "ico": {"status": "Registered", "validUntil": "2030-01-01T00:00:00Z"},
            "people": {"siro": "a@b.example", "caldicottGuardian": "a@b.example", "dpo": "a@b.example", "igLead": "a@b.example"},
        });
        sourced::<PartnerOrg>(head("PartnerOrg", None, name, spec))
    };
    let (council, network) = (format!("a{}", &long[1..]), format!("b{}", &long[1..]));
    let function = "f".repeat(63);
    let product = json!({
        "controller": council, "title": "t", "personalData": true, "specialCategory": false, "confidentialPatientInfo": false,
        "legallyRestricted": false, "childrensData": false, "identifiability": "Identifiable",
        "dataItems": [{"name": "i", "justification": "j"}], "cluster": "north",
        "endpoint": {"podSelector": selector, "ports": [
            {"port": 1}, {"port": 65_535, "protocol": "UDP"}, {"port": 443, "protocol": "SCTP"},
        ]},
    });
    let party = |org: &str, role: &str| json!({"org": org, "role": role, "article6": "6(1)(e)", "article9": "9(2)(h)"});
    let agreement = json!({
        "title": "t", "reference": "AWKWARD-2026-00001", "framework": {"name": "england", "version": "1.0.0"},
        "footprint": long, "controllerModel": "Independent",
        "parties": [party(&council, "Controller"), party(&network, "Recipient")],
        "confidentiality": {"basis": "ExplicitConsent", "validUntil": "2027-10-01T00:00:00.123456789Z"},
        "purposes": [{"code": "DirectCare", "justification": "j", "products": [{"namespace": ours, "name": long}],
            "actions": ["readRecord"], "maxIdentifiability": "Identifiable"}],
        "term": {"start": "2026-10-01T00:00:00+01:00", "end": "2027-10-01T00:00:00Z", "reviewBy": "2027-10-01T00:00:00Z"},
        "dpia": {"reference": "d", "approvedOn": "2026-09-01T00:00:00Z", "reviewBy": "2027-10-01T00:00:00Z"},
        "retention": {"days": 1, "method": "Destroy"}, "onwardSharing": {"allowed": false},
        "privacyNotice": "https://a.example/p", "register": {"publish": true},
        "publicInvolvement": [{"who": "w", "method": "m", "date": "2026-09-01T00:00:00Z", "changed": "c"}],
        "outcomeMeasures": [{"name": "n", "baseline": "1", "target": "2", "reviewOn": "2027-01-01T00:00:00Z"}],
    });
    let place = json!({"tier": "Place", "leadOrg": council});
    let reference = ObjectRef { namespace: ours.clone(), name: long.to_owned() };
    let mut snapshot = Snapshot {
        footprints: vec![sourced::<PlaceFootprint>(head("PlaceFootprint", None, long, place))],
        orgs: vec![org(&council, ours, &function), org(&network, theirs, &function)],
        products: vec![sourced::<DataProduct>(head("DataProduct", Some(ours), long, product))],
        agreements: vec![sourced::<DataSharingAgreement>(head(
            "DataSharingAgreement",
            Some(ours),
            long,
            agreement,
        ))],
        cluster: concordat_core::snapshot::ClusterView::Named("north".to_owned()),
        ..Snapshot::default()
    };
    let parties = [council, network];
    let signatures: Vec<Sourced<AgreementSignature>> = parties
        .into_iter()
        .map(|party| {
            signature(&snapshot, &SignatureRequest::new(reference.clone(), party)).expect("it can be signed")
        })
        .map(Sourced::live)
        .collect();
    snapshot.signatures = signatures;
    (snapshot, reference)
}

#[tokio::test]
async fn every_object_that_is_planned_for_a_world_of_awkward_names_is_taken() {
    let server = Server::start().await;
    let namespaces = ["ours", "theirs"].map(|stem| {
        let name = support::unique(stem);
        format!("{name}-{}", "n".repeat(62 - name.len()))
    });
    let all: Api<Namespace> = Api::all(server.client.clone());
    let apply = PatchParams::apply("admission-test");
    for name in &namespaces {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        all.patch(name, &apply, &Patch::Apply(object)).await.expect("a namespace can be made");
    }
    let long = format!("{0}.{0}.{0}.{1}", "x".repeat(63), "y".repeat(61));
    let (snapshot, _) = world(&namespaces, &long);
    let at: Timestamp = "2026-11-28T12:00:00Z".parse().expect("a moment");
    let plan = Judgement::new(&snapshot, at).plan();
    let errors: Vec<_> = plan.findings.iter().filter(|finding| finding.is_error()).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    let mut parts: BTreeMap<&str, usize> = BTreeMap::new();
    for object in &plan.objects {
        let (part, namespaced) = match object {
            PlannedObject::Isolation(_) => ("isolation", object.key()),
            PlannedObject::Grant(_) => ("grant", object.key()),
            PlannedObject::Allow { .. } => ("allow", object.key()),
        };
        *parts.entry(part).or_default() += 1;
        let namespace = namespaced.namespace.expect("a namespace");
        let mut value = json!(object);
        let params = PatchParams { dry_run: true, ..apply.clone().validation_strict() };
        let answer = if matches!(object, PlannedObject::Grant(_)) {
            value["apiVersion"] = json!("concordat.dev/v1alpha1");
            let grants: Api<concordat_api::DataAccessGrant> =
                Api::namespaced(server.client.clone(), &namespace);
            grants.patch(&namespaced.name, &params, &Patch::Apply(&value)).await.map(drop)
        } else {
            let policies: Api<NetworkPolicy> = Api::namespaced(server.client.clone(), &namespace);
            policies.patch(&namespaced.name, &params, &Patch::Apply(&value)).await.map(drop)
        };
        assert!(answer.is_ok(), "{answer:?}: {value:#}");
    }
    assert!(["isolation", "grant", "allow"].iter().all(|part| parts.contains_key(part)), "{parts:?}");
    for name in &namespaces {
        all.delete(name, &DeleteParams::background()).await.expect("a namespace can be deleted");
    }
    server.stop().await;
}
