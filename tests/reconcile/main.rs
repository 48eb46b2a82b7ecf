//! The operator against a real API server: what opens, what closes, and that nothing else is written.
//!
//! An operator sees its whole cluster, so there is one for all tests of this binary. Each test has a world of its
//! own: namespaces, organisations and an agreement under names that no one else has.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly, its helpers too"
)]

mod resisting;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use concordat_api::{
    AgreementSignature, DataAccessGrant, DataProduct, DataSharingAgreement, ObjectRef, PartnerOrg, Phase,
};
use concordat_core::evaluate::Judgement;
use concordat_core::plan::{PART, Plan, PlannedObject};
use concordat_core::snapshot::Unreadable;
use concordat_operator::Options;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicySpec};
use kube::api::DeleteParams;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use support::world::{SOON, World, connect};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// How long a cluster in which nothing changes is watched for writes.
const SILENCE: Duration = Duration::from_secs(4);

// ---- the tests ----

#[test]
fn nothing_opens_before_the_last_party_signs_and_then_exactly_the_plan_does() {
    let world = world("signs");
    world.apply_all();
    world.phase(Phase::AwaitingSignatures);
    world.sign("council");
    world.sign("pcn");
    world.until("one party is missing", || {
        world.message("Signed").is_some_and(|it| it.contains(&world.org("charity")))
    });
    assert_eq!(world.parts(), BTreeMap::from([("isolation".to_owned(), 3)]));
    assert_eq!(world.grants(), []);

    let signed = Instant::now();
    world.sign("charity");
    world.until("every policy is there", || world.parts().get("ingress") == Some(&2));
    eprintln!("from the last signature to the last ingress policy: {:?}", signed.elapsed());
    world.ready();
    eprintln!("from the last signature to ready: {:?}", signed.elapsed());

    world.is_as_planned(&world.offline_plan());
    let parts =
        [("egress", 1), ("ingress", 2), ("isolation", 3)].map(|(part, count)| (part.to_owned(), count));
    assert_eq!(world.parts(), BTreeMap::from(parts));

    // each ingress policy goes with its grant, whoever deletes that
    for policy in world.policies().iter().filter(|it| it.labels().get(PART).is_some_and(|it| it == "ingress"))
    {
        let grant = world.get::<DataAccessGrant>(&policy.namespace().unwrap(), &policy.name_any()).unwrap();
        assert_eq!(policy.owner_references()[0].uid, grant.uid().unwrap());
        world.until("the grant is ready", || {
            let grant =
                world.get::<DataAccessGrant>(&policy.namespace().unwrap(), &policy.name_any()).unwrap();
            grant.status.is_some_and(|it| {
                it.conditions.iter().any(|it| it.type_ == "Ready" && it.reason == "Written")
            })
        });
    }

    // and the world was told once
    world.until("its event is there", || world.events().iter().any(|(reason, _)| reason == "Active"));
    let events = world.events();
    assert_eq!(events.iter().filter(|(reason, _)| reason == "Active").count(), 1, "{events:?}");
}

#[test]
fn what_denies_is_written_first_even_when_everybody_has_signed_already() {
    let world = world("first");
    Operator::pause(|| {
        world.apply_all();
        world.sign_all();
    });
    world.ready();
    // etcd counts its writes, and none of these has been written twice
    let written = |parts: &[&str]| -> Vec<u64> {
        let policies = world.policies().into_iter().filter(|it| parts.contains(&it.labels()[PART].as_str()));
        policies.map(|it| it.resource_version().unwrap().parse().unwrap()).collect()
    };
    let (denying, allowing) = (written(&["isolation"]), written(&["ingress", "egress"]));
    assert_eq!((denying.len(), allowing.len()), (3, 3));
    assert!(denying.iter().max() < allowing.iter().min(), "{denying:?} {allowing:?}");
}

#[test]
fn a_second_reconcile_writes_nothing() {
    let world = open("silent");
    let before = world.versions();
    // wakes the loop, and changes nothing that matters
    world.annotate("touched", "yes");
    std::thread::sleep(SILENCE);
    let mut after = world.versions();
    let agreement = format!("DataSharingAgreement {}", world.agreement());
    assert_ne!(before.get(&agreement), after.get(&agreement), "the touch itself is a write");
    after.insert(agreement.clone(), before[&agreement].clone());
    assert_eq!(before, after);
    let managers = |it: &DataSharingAgreement| {
        let fields = it.managed_fields().iter().filter(|it| it.manager.as_deref() == Some("concordat"));
        fields.map(|it| (it.subresource.clone(), it.time.clone().map(|it| it.0))).collect::<Vec<_>>()
    };
    let touched = Timestamp::now() - SignedDuration::try_from(SILENCE).unwrap();
    assert!(managers(&world.get_agreement()).iter().all(|(_, at)| at.is_some_and(|at| at <= touched)));
}

#[test]
fn withdrawing_closes_and_the_isolation_stays() {
    let world = open("withdraws");
    world.withdraw("charity");
    world.until("the charity's flow is closed", || world.open_to() == ["pcn", "pcn"]);
    // the others carry on: their parties stand signed
    world.ready();
    world.withdraw("council");
    world.until("everything is closed", || world.open_to().is_empty());
    world.closed();
}

#[test]
fn a_signature_that_is_deleted_closes_the_whole_agreement() {
    let world = open("unsigns");
    let name = world.sign("charity");
    world.delete::<AgreementSignature>(&world.ns("charity"), &name);
    world.closed();
    world.phase(Phase::AwaitingSignatures);
    world.not_ready();
}

#[test]
fn a_signature_that_cannot_be_read_closes_what_it_may_be_about_and_nothing_else() {
    let world = World::new("unreadable");
    let mut all = world.manifests(json!({}));
    let snapshot = world.snapshot_of(&all);
    for of in ["council", "pcn", "charity"] {
        all.push(world.signature(&snapshot, of, false));
    }
    let grants = |namespace: &str, agreement: Option<&str>, party: Option<&str>| {
        let mut snapshot = world.snapshot_of(&all);
        let meta = json!({"name": "from-the-future", "namespace": namespace});
        snapshot.unreadable.push(Unreadable {
            kind: "AgreementSignature".to_owned(),
            meta: serde_json::from_value(meta).unwrap(),
            error: "a field from the future".to_owned(),
            spec: json!({
                "agreement": agreement.map(|name| ObjectRef { name: name.to_owned(), ..world.agreement() }),
                "party": party,
            }),
            source: std::sync::Arc::default(),
        });
        let plan = Judgement::new(&snapshot, Timestamp::now()).plan();
        let granted = plan.objects.iter().map(|it| match it {
            PlannedObject::Grant(grant) => grant.spec.recipients.len(),
            PlannedObject::Isolation(_) | PlannedObject::Allow { .. } => 0,
        });
        granted.sum::<usize>()
    };
    let (home, charity) = (world.ns("charity"), world.org("charity"));
    assert_eq!(grants("elsewhere", None, None), 3, "no one signs there");
    assert_eq!(grants(&home, None, None), 0);
    assert_eq!(grants(&home, Some("sharing"), Some(&charity)), 0);
    assert_eq!(grants(&home, Some("another"), None), 3, "it is about another agreement");
    assert_eq!(grants(&home, None, Some(&world.org("pcn"))), 3, "no one speaks for another party there");
}

#[test]
fn every_list_entry_that_is_taken_out_closes_what_it_opened() {
    let world = open("removes");
    // a purpose, and with it the only way to the contacts
    let remaining = json!([world.purposes()[0].clone()]);
    world.change(json!({"purposes": remaining}));
    world.sign_all();
    world.until("the contacts are closed", || world.open_to() == ["charity", "pcn"]);
    world.ready();
    // a recipient of a purpose
    let mut purpose = world.purposes()[0].clone();
    purpose["recipients"] = json!([{"org": world.org("pcn"), "function": "care-team"}]);
    world.change(json!({"purposes": [purpose]}));
    world.sign_all();
    world.until("the charity is closed", || world.open_to() == ["pcn"]);
    world.ready();
    world.is_as_planned(&world.offline_plan());
}

#[test]
fn a_party_that_is_taken_out_loses_its_flows() {
    let world = open("parties");
    let mut purposes = world.purposes();
    purposes[0]["recipients"] = json!([{"org": world.org("pcn"), "function": "care-team"}]);
    let parties: Vec<Value> =
        world.parties().into_iter().filter(|party| party["org"] != json!(world.org("charity"))).collect();
    world.change(json!({"parties": parties, "purposes": purposes}));
    world.sign("council");
    world.sign("pcn");
    world.until("the charity is closed", || world.open_to() == ["pcn", "pcn"]);
    world.ready();
    world.is_as_planned(&world.offline_plan());
}

#[test]
fn a_product_that_is_taken_out_of_a_purpose_closes() {
    let world = open("products");
    let mut purposes = world.purposes();
    purposes[1]["products"] = purposes[0]["products"].clone();
    world.change(json!({"purposes": purposes}));
    world.sign_all();
    world.until("the contacts are closed", || world.open_to() == ["charity", "pcn"]);
    world.ready();
    world.is_as_planned(&world.offline_plan());
}

#[test]
fn suspending_closes_and_resuming_opens_again() {
    let world = open("suspends");
    world.change(json!({"suspend": true}));
    let told = Instant::now();
    world.until_parts(&[("isolation", 3)]);
    eprintln!("from the kill switch to the last policy gone: {:?}", told.elapsed());
    world.closed();
    world.phase(Phase::Suspended);
    world.not_ready();
    world.change(json!({"suspend": false}));
    world.ready();
    world.is_as_planned(&world.offline_plan());
}

/// What the operator answers on a path: the code, and the lines.
fn answer(path: &str) -> (String, Vec<String>) {
    let mut stream = TcpStream::connect(health_addr()).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let code = head.split(' ').nth(1).unwrap().to_owned();
    (code, body.lines().map(str::to_owned).collect())
}

#[test]
fn deleting_the_agreement_closes_first_and_then_lets_it_go() {
    let world = open("deletes");
    assert!(world.get_agreement().finalizers().contains(&"concordat.dev/grants".to_owned()));
    world.delete::<DataSharingAgreement>(&world.ns("council"), "sharing");
    world.until("the agreement is gone", || {
        world.get::<DataSharingAgreement>(&world.ns("council"), "sharing").is_none()
    });
    assert_eq!(world.parts(), BTreeMap::from([("isolation".to_owned(), 3)]));
    assert_eq!(world.grants(), []);
}

#[test]
fn what_is_deleted_or_edited_by_hand_is_restored() {
    let world = open("restores");
    let plan = world.offline_plan();
    for part in ["isolation", "ingress", "egress"] {
        let policies = world.policies();
        let policy = policies.iter().find(|it| it.labels().get(PART).is_some_and(|it| it == part)).unwrap();
        let (namespace, name) = (policy.namespace().unwrap(), policy.name_any());
        let gone = policy.uid();

        world.delete::<NetworkPolicy>(&namespace, &name);
        world.until("the policy is back", || {
            world.get::<NetworkPolicy>(&namespace, &name).is_some_and(|it| it.uid() != gone)
        });

        let everybody =
            json!({"spec": {"policyTypes": ["Ingress", "Egress"], "ingress": [{}], "egress": [{}]}});
        world.patch::<NetworkPolicy>(&namespace, &name, &everybody);
        world.until("the edit is undone", || {
            world
                .get::<NetworkPolicy>(&namespace, &name)
                .is_some_and(|it| spec_of(&plan, &namespace, &name) == it.spec)
        });

        let unlabelled = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null}}});
        world.patch::<NetworkPolicy>(&namespace, &name, &unlabelled);
        world.until("the label is back", || {
            world.get::<NetworkPolicy>(&namespace, &name).is_some_and(|it| it.labels().len() == 2)
        });
    }
    // who owns it could have it collected, past all that keeps others from deleting it
    for policy in world.policies() {
        let (namespace, name) = (policy.namespace().unwrap(), policy.name_any());
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": namespace, "name": name}});
        world.apply::<ConfigMap>(map);
        let uid = world.get::<ConfigMap>(&namespace, &name).unwrap().uid();
        let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid});
        let before = policy.owner_references();
        let owners: Vec<Value> = before.iter().map(|it| json!(it)).chain([owner]).collect();
        world.patch::<NetworkPolicy>(&namespace, &name, &json!({"metadata": {"ownerReferences": owners}}));
        world.until("the owner is taken off", || {
            world.get::<NetworkPolicy>(&namespace, &name).is_some_and(|it| it.owner_references() == before)
        });
    }
    let grant = world.grants().remove(0);
    world.delete::<DataAccessGrant>(&grant.namespace, &grant.name);
    world
        .until("the grant is back", || world.get::<DataAccessGrant>(&grant.namespace, &grant.name).is_some());
    world.until("its policy belongs to the new grant", || {
        let owner = world.get::<DataAccessGrant>(&grant.namespace, &grant.name).and_then(|it| it.uid());
        let policy = world.get::<NetworkPolicy>(&grant.namespace, &grant.name);
        policy.is_some_and(|it| it.owner_references().first().map(|it| it.uid.clone()) == owner)
    });
    world.ready();
    world.is_as_planned(&plan);
}

#[test]
fn what_carries_our_label_and_is_not_planned_is_swept() {
    let world = open("sweeps");
    let namespace = world.ns("council");
    let everybody = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {
            "namespace": namespace, "name": "orphan",
            "labels": {"app.kubernetes.io/managed-by": "concordat", "concordat.dev/part": "ingress"},
        },
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]},
    });
    world.apply::<NetworkPolicy>(everybody);
    world.until("the orphan is gone", || world.get::<NetworkPolicy>(&namespace, "orphan").is_none());
    world.is_as_planned(&world.offline_plan());
}

#[test]
fn a_dissolved_organisation_closes() {
    let world = open("dissolves");
    world.patch_cluster::<PartnerOrg>(&world.org("charity"), &json!({"spec": {"state": "Dissolved"}}));
    world.until("the charity is closed", || !world.open_to().contains(&"charity"));
}

#[test]
fn the_clock_opens_and_closes() {
    let world = world("expires");
    let now = Timestamp::now();
    let (start, end) = (now + SignedDuration::from_secs(12), now + SignedDuration::from_secs(30));
    world.apply_all_with(json!({"term": {"start": start, "end": end, "reviewBy": end}}));
    world.sign_all();
    world.phase(Phase::Scheduled);
    assert_eq!(world.grants(), []);
    world.until("it has begun", || world.open_to().len() == 3);
    let late = Timestamp::now().duration_since(start);
    world.ready();
    world.until("it has ended", || world.grants().is_empty());
    let over = Timestamp::now().duration_since(end);
    eprintln!("seen open {late:#} after the start, and closed {over:#} after the end");
    // not before; how soon after depends on the machine
    assert!(SignedDuration::ZERO <= late && SignedDuration::ZERO <= over);
    world.until_parts(&[("isolation", 3)]);
    world.phase(Phase::Expired);
    world.not_ready();
}

#[test]
fn an_operator_that_was_away_makes_up_for_what_it_missed() {
    let world = open("restarts");
    let plan = world.offline_plan();
    Operator::pause(|| {
        world.withdraw("charity");
        world.delete::<NetworkPolicy>(&world.ns("council"), &isolation_of(&plan, &world.ns("council")));
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(world.parts().get("isolation"), Some(&2));
    });
    world.until("the charity is closed", || world.open_to() == ["pcn", "pcn"]);
    world.until("the isolation is back", || world.parts().get("isolation") == Some(&3));
    world.is_as_planned(&world.offline_plan());
}

#[test]
fn a_product_that_is_deleted_leaves_its_isolation_to_the_namespace() {
    let world = open("leaves");
    let isolation = isolation_of_product(&world.offline_plan(), &format!("{}/contacts", world.ns("council")));
    world.delete::<DataProduct>(&world.ns("council"), "contacts");
    world.until("the isolation is let go", || {
        let policy = world.get::<NetworkPolicy>(&world.ns("council"), &isolation);
        policy.is_some_and(|it| it.labels().is_empty())
    });
    let policy = world.get::<NetworkPolicy>(&world.ns("council"), &isolation).unwrap();
    let NetworkPolicySpec { ingress, policy_types, .. } = policy.spec.unwrap();
    assert_eq!((ingress, policy_types), (None, Some(vec!["Ingress".to_owned()])));
    // it is theirs now
    world.delete::<NetworkPolicy>(&world.ns("council"), &isolation);
    std::thread::sleep(Duration::from_secs(1));
    assert!(world.get::<NetworkPolicy>(&world.ns("council"), &isolation).is_none());
}

#[test]
fn a_function_that_is_managed_no_longer_loses_its_isolation() {
    let world = open("unmanages");
    let mut functions = json!(world.get_cluster::<PartnerOrg>(&world.org("pcn")).unwrap().spec.functions);
    functions[0]["egress"] = json!("Unmanaged");
    world.patch_cluster::<PartnerOrg>(&world.org("pcn"), &json!({"spec": {"functions": functions}}));
    world.until_parts(&[("ingress", 2), ("isolation", 2)]);
}

#[test]
fn a_function_stays_isolated_when_its_organisation_becomes_invalid() {
    let world = open("invalid");
    let names = json!({"spec": {"footprints": [world.org("nowhere")]}});
    world.patch_cluster::<PartnerOrg>(&world.org("pcn"), &names);
    world.until("the network's flows are closed", || !world.open_to().contains(&"pcn"));
    std::thread::sleep(Duration::from_secs(1));
    let egress = world.policies().into_iter().filter(|it| it.namespace() == Some(world.ns("pcn")));
    let parts: Vec<String> = egress.map(|it| it.labels()[PART].clone()).collect();
    assert_eq!(parts, ["isolation"]);
}

#[test]
fn a_namespace_that_is_missing_is_said_and_holds_up_nobody_else() {
    let world = world("missing");
    let elsewhere = support::unique("missing-elsewhere");
    world.apply_all();
    let mut functions = json!(world.get_cluster::<PartnerOrg>(&world.org("pcn")).unwrap().spec.functions);
    functions[0]["workloads"][0]["namespace"] = json!(elsewhere);
    world.patch_cluster::<PartnerOrg>(&world.org("pcn"), &json!({"spec": {"functions": functions}}));
    world.sign_all();
    world.until("the missing namespace is named", || {
        world.message("Enforced").is_some_and(|it| it.contains("its namespace does not exist"))
    });
    world.not_ready();
    assert_eq!(world.condition("Stalled").map(|(status, _)| status), Some("True".to_owned()));
    // the controller's own side is open, and so is another agreement
    world.until("ingress is there", || world.parts().get("ingress") == Some(&2));
    open("missing-other");

    world.namespace(&elsewhere);
    world.ready();
    let namespaces = Api::<Namespace>::all(world.client.clone());
    world.block(namespaces.delete(&elsewhere, &DeleteParams::default())).unwrap();
}

#[test]
fn other_finalizers_and_labels_are_left_alone() {
    let world = world("others");
    world.apply_all();
    let theirs = json!({"metadata": {"finalizers": ["example.org/theirs"], "labels": {"team": "theirs"}}});
    world.patch::<DataSharingAgreement>(&world.ns("council"), "sharing", &theirs);
    world.sign_all();
    world.ready();
    assert_eq!(world.get_agreement().finalizers(), ["example.org/theirs", "concordat.dev/grants"]);
    world.delete::<DataSharingAgreement>(&world.ns("council"), "sharing");
    world.until("only theirs is left", || world.get_agreement().finalizers() == ["example.org/theirs"]);
    assert_eq!(world.grants(), []);
    assert_eq!(world.get_agreement().labels().get("team").map(String::as_str), Some("theirs"));
    world.phase(Phase::Terminating);
    let none = json!({"metadata": {"finalizers": []}});
    world.patch::<DataSharingAgreement>(&world.ns("council"), "sharing", &none);
}

#[test]
fn it_says_that_it_is_alive_and_ready() {
    let _world = open("health");
    let all: Vec<String> = [
        "AgreementSignature",
        "DataAccessGrant",
        "DataProduct",
        "DataSharingAgreement",
        "FrameworkException",
        "LocalPolicy",
        "NetworkPolicy",
        "PartnerOrg",
        "PlaceFootprint",
        "PolicyFramework",
        "judging",
        "loop",
    ]
    .map(|name| format!("{name}: ok"))
    .to_vec();
    // another test may be restarting it right now
    let began = Instant::now();
    while answer("/readyz").0 != "200" && began.elapsed() < SOON {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(answer("/readyz"), ("200".to_owned(), all.clone()));
    assert_eq!(answer("/livez"), ("200".to_owned(), all));
}

/// The command does what the library does, and ends in order when it is told to.
#[cfg(unix)]
#[test]
fn the_command_ends_when_it_is_told_to() {
    let _world = open("command");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_concordat"));
    command.args(["run", "--health-addr", "127.0.0.1:0", "--log-format", "json", "--kubeconfig"]);
    command.arg(support::kubeconfig().unwrap()).env_remove("RUST_LOG").stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(|line| {
        let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
        line["message"].as_str().unwrap().to_owned()
    });
    assert!(lines.any(|line| line == "every kind is read"));
    let told = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(told.success());
    let rest: Vec<String> = lines.collect();
    assert_eq!(rest.last().map(String::as_str), Some("ended"), "{rest:?}");
    assert!(child.wait().unwrap().success());
}

// ---- the operator ----

/// The one operator of this binary, in a thread and a runtime of its own, as in a process of its own.
struct Operator {
    end: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// Where the operator of this binary answers health checks: a port that was free a moment ago.
fn health_addr() -> SocketAddr {
    static ADDR: OnceLock<SocketAddr> = OnceLock::new();
    *ADDR.get_or_init(|| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap())
}

static OPERATOR: Mutex<Option<Operator>> = Mutex::new(None);

impl Operator {
    fn start() -> Self {
        let (end, ended) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = Runtime::new().unwrap();
            runtime.block_on(async {
                let client = connect().await;
                let end = async {
                    let _ = ended.await;
                };
                let options = Options { health_addr: Some(health_addr()), ..Options::default() };
                concordat_operator::run_until(client, options, end).await.unwrap();
            });
        });
        Self { end, thread }
    }

    /// Starts it, unless it runs.
    fn ensure() {
        OPERATOR.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Self::start);
    }

    /// Ends it, does something, and starts another.
    fn pause(meanwhile: impl FnOnce()) {
        let mut operator = OPERATOR.lock().unwrap_or_else(PoisonError::into_inner);
        let Self { end, thread } = operator.take().unwrap();
        end.send(()).unwrap();
        thread.join().unwrap();
        meanwhile();
        *operator = Some(Self::start());
    }
}

/// A world of one's own, watched by the operator.
fn world(stem: &str) -> World {
    let world = World::new(stem);
    Operator::ensure();
    world
}

/// A world in which everybody has signed and everything is open.
fn open(stem: &str) -> World {
    world(stem).opened()
}

fn spec_of(plan: &Plan, namespace: &str, name: &str) -> Option<NetworkPolicySpec> {
    plan.objects.iter().find_map(|object| match object {
        PlannedObject::Isolation(policy) | PlannedObject::Allow { policy, .. } => {
            let here = policy.namespace().as_deref() == Some(namespace) && policy.name_any() == name;
            if here { policy.spec.clone() } else { None }
        }
        PlannedObject::Grant(_) => None,
    })
}

fn isolation_of(plan: &Plan, namespace: &str) -> String {
    let found = plan.objects.iter().find_map(|object| match object {
        PlannedObject::Isolation(policy) if policy.namespace().as_deref() == Some(namespace) => {
            Some(policy.name_any())
        }
        _ => None,
    });
    found.unwrap()
}

fn isolation_of_product(plan: &Plan, product: &str) -> String {
    let found = plan.objects.iter().find_map(|object| match object {
        PlannedObject::Isolation(policy) => {
            let annotation = policy.annotations().get("concordat.dev/product");
            annotation.is_some_and(|it| it == product).then(|| policy.name_any())
        }
        _ => None,
    });
    found.unwrap()
}
