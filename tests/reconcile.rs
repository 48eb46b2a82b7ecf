//! The operator against a real API server: what opens, what closes, and that nothing else is written.
//!
//! An operator sees its whole cluster, so there is one for all tests of this binary. Each test has a world of its
//! own: namespaces, organisations and an agreement under names that nobody else has.

#![cfg(feature = "controller")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly, its helpers too"
)]

mod support;

use std::collections::BTreeMap;
use std::future::Future;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use concordat::api::{
    AgreementSignature, DataAccessGrant, DataProduct, DataSharingAgreement, ObjectRef, PartnerOrg, Phase,
    PlaceFootprint, custom_resource_definitions,
};
use concordat::controller::{self, Options};
use concordat::core::judge::Judgement;
use concordat::core::plan::{PART, Plan, PlannedObject};
use concordat::core::sign::{SignatureRequest, signature};
use concordat::core::snapshot::{ClusterView, Snapshot, Sourced};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Event, Namespace};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicySpec};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Config, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// The longest that anything here may take; most take a tenth of a second.
const SOON: Duration = Duration::from_secs(30);
/// How long a cluster in which nothing changes is watched for writes.
const SILENCE: Duration = Duration::from_secs(4);

// ---- the tests ----

#[test]
fn nothing_opens_before_the_last_party_signs_and_then_exactly_the_plan_does() {
    let world = World::new("signs");
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
    world.until("every policy is there", || world.parts().get("ingress") == Some(&3));
    eprintln!("from the last signature to the last ingress policy: {:?}", signed.elapsed());
    world.ready();
    eprintln!("from the last signature to ready: {:?}", signed.elapsed());

    world.is_as_planned(&world.offline_plan());
    let parts =
        [("egress", 2), ("ingress", 3), ("isolation", 3)].map(|(part, count)| (part.to_owned(), count));
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
    let events = world.events();
    assert_eq!(events.iter().filter(|(reason, _)| reason == "Active").count(), 1, "{events:?}");
}

#[test]
fn what_denies_is_written_first_even_when_everybody_has_signed_already() {
    let world = World::new("first");
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
    assert_eq!((denying.len(), allowing.len()), (3, 5));
    assert!(denying.iter().max() < allowing.iter().min(), "{denying:?} {allowing:?}");
}

#[test]
fn a_second_reconcile_writes_nothing() {
    let world = World::open("silent");
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
    let world = World::open("withdraws");
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
    let world = World::open("unsigns");
    let name = world.sign("charity");
    world.delete::<AgreementSignature>(&world.ns("charity"), &name);
    world.closed();
    world.phase(Phase::AwaitingSignatures);
    world.not_ready();
}

#[test]
fn every_list_entry_that_is_taken_out_closes_what_it_opened() {
    let world = World::open("removes");
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
    let world = World::open("parties");
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
    let world = World::open("products");
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
    let world = World::open("suspends");
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

#[test]
fn deleting_the_agreement_closes_first_and_then_lets_it_go() {
    let world = World::open("deletes");
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
    let world = World::open("restores");
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
    let world = World::open("sweeps");
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
    let world = World::open("dissolves");
    world.patch_cluster::<PartnerOrg>(&world.org("charity"), &json!({"spec": {"state": "Dissolved"}}));
    world.until("the charity is closed", || !world.open_to().contains(&"charity"));
}

#[test]
fn the_clock_opens_and_closes() {
    let world = World::new("expires");
    let now = Timestamp::now();
    let (start, end) = (now + SignedDuration::from_secs(6), now + SignedDuration::from_secs(20));
    world.apply_all_with(json!({"term": {"start": start, "end": end, "reviewBy": end}}));
    world.sign_all();
    world.phase(Phase::Scheduled);
    assert_eq!(world.grants(), []);
    world.until("it has begun", || world.grants().len() == 3);
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
    let world = World::open("restarts");
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
    let world = World::open("leaves");
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
    let world = World::open("unmanages");
    let mut functions = json!(world.get_cluster::<PartnerOrg>(&world.org("pcn")).unwrap().spec.functions);
    functions[0]["egress"] = json!("Unmanaged");
    world.patch_cluster::<PartnerOrg>(&world.org("pcn"), &json!({"spec": {"functions": functions}}));
    world.until_parts(&[("ingress", 3), ("isolation", 2)]);
}

#[test]
fn a_function_stays_isolated_when_its_organisation_becomes_invalid() {
    let world = World::open("invalid");
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
    let world = World::new("missing");
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
    world.until("ingress is there", || world.parts().get("ingress") == Some(&3));
    World::open("missing-other");

    world.namespace(&elsewhere);
    world.ready();
    let namespaces = Api::<Namespace>::all(world.client.clone());
    world.block(namespaces.delete(&elsewhere, &DeleteParams::default())).unwrap();
}

#[test]
fn other_finalizers_and_labels_are_left_alone() {
    let world = World::new("others");
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
    let _world = World::open("health");
    let answer = |path: &str| {
        let mut stream = TcpStream::connect(health_addr()).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let code = head.split(' ').nth(1).unwrap().to_owned();
        (code, body.lines().map(str::to_owned).collect::<Vec<_>>())
    };
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
#[cfg(all(unix, feature = "cli"))]
#[test]
fn the_command_ends_when_it_is_told_to() {
    let _world = World::open("command");
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
                controller::run_until(client, options, end).await.unwrap();
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

async fn connect() -> Client {
    let kubeconfig = Kubeconfig::read_from(support::kubeconfig().unwrap()).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

// ---- a world ----

/// A council that controls bins and contacts, a primary care network and a charity that receive them.
struct World {
    stem: String,
    runtime: Runtime,
    client: Client,
}

impl World {
    fn new(stem: &str) -> Self {
        if std::env::var_os("RUST_LOG").is_some() {
            let lines =
                tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env());
            let _set_before = lines.with_writer(std::io::stderr).try_init();
        }
        let runtime = Runtime::new().unwrap();
        let client = runtime.block_on(connect());
        let world = Self { stem: support::unique(stem), runtime, client };
        world.definitions();
        Operator::ensure();
        for place in ["council", "pcn", "charity"] {
            world.namespace(&world.ns(place));
        }
        world
    }

    /// A world in which everybody has signed and everything is open.
    fn open(stem: &str) -> Self {
        let world = Self::new(stem);
        world.apply_all();
        world.sign_all();
        world.ready();
        world.until("every grant is ready", || {
            world.mine::<DataAccessGrant>().into_iter().all(|it| it.object.status.is_some())
        });
        world
    }

    fn ns(&self, of: &str) -> String {
        format!("{}-{of}", self.stem)
    }

    fn org(&self, of: &str) -> String {
        format!("{}-{of}", self.stem)
    }

    fn agreement(&self) -> ObjectRef {
        ObjectRef { namespace: self.ns("council"), name: "sharing".to_owned() }
    }

    /// Installs the kinds, once.
    fn definitions(&self) {
        static ONCE: OnceLock<()> = OnceLock::new();
        ONCE.get_or_init(|| {
            for definition in custom_resource_definitions() {
                self.apply::<CustomResourceDefinition>(json!(definition));
            }
            self.until("the kinds are served", || {
                let listed = self.block(
                    Api::<DataSharingAgreement>::all(self.client.clone()).list(&ListParams::default()),
                );
                let grants =
                    self.block(Api::<DataAccessGrant>::all(self.client.clone()).list(&ListParams::default()));
                listed.is_ok() && grants.is_ok()
            });
        });
    }

    fn namespace(&self, name: &str) {
        self.apply::<Namespace>(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
    }

    fn apply_all(&self) {
        self.apply_all_with(json!({}));
    }

    /// Everything but the signatures; the agreement's spec with these fields instead.
    fn apply_all_with(&self, fields: Value) {
        let place = self.org("place");
        self.apply::<PlaceFootprint>(json!({
            "apiVersion": "concordat.dev/v1alpha1", "kind": "PlaceFootprint", "metadata": {"name": place},
            "spec": {"tier": "Place", "leadOrg": self.org("council")},
        }));
        for (of, sector, function, care, egress) in [
            ("council", "LocalAuthority", "waste", false, "Unmanaged"),
            ("pcn", "Nhs", "care-team", true, "Managed"),
            ("charity", "Vcse", "befriending", false, "Unmanaged"),
        ] {
            self.apply::<PartnerOrg>(json!({
                "apiVersion": "concordat.dev/v1alpha1", "kind": "PartnerOrg", "metadata": {"name": self.org(of)},
                "spec": {
                    "displayName": format!("{of} of {}", self.stem), "sector": sector,
                    "identifiers": [{"scheme": "OrgId", "value": format!("GB-TEST-{}", self.org(of))}],
                    "publicAuthority": of != "charity", "homeNamespace": self.ns(of), "state": "Active",
                    "footprints": [place],
                    "functions": [{
                        "name": function, "providesCare": care, "egress": egress,
                        "workloads": [{"namespace": self.ns(of), "podSelector": {"matchLabels": {"app": function}}}],
                    }],
                    "assurance": {"dspt": {
                        "status": "StandardsMet", "publishedOn": "2026-06-01T00:00:00Z",
                        "validUntil": "2036-06-30T00:00:00Z",
                    }},
                    "ico": {"status": "Registered", "validUntil": "2036-06-30T00:00:00Z"},
                    "people": {
                        "siro": "siro@example.org", "caldicottGuardian": "cg@example.org",
                        "dpo": "dpo@example.org", "igLead": "ig@example.org",
                    },
                },
            }));
        }
        for (name, category) in [("bins", "Waste"), ("contacts", "Contact")] {
            self.apply::<DataProduct>(json!({
                "apiVersion": "concordat.dev/v1alpha1", "kind": "DataProduct",
                "metadata": {"namespace": self.ns("council"), "name": name},
                "spec": {
                    "controller": self.org("council"), "title": name, "categories": [category],
                    "personalData": true, "specialCategory": false, "confidentialPatientInfo": false,
                    "legallyRestricted": false, "childrensData": false, "identifiability": "Identifiable",
                    "dataItems": [{"name": "address", "justification": "finds the household"}],
                    "endpoint": {
                        "podSelector": {"matchLabels": {"app": format!("{name}-gateway")}},
                        "ports": [{"port": 8443}],
                    },
                },
            }));
        }
        let now = Timestamp::now();
        let days = |days: i64| now + SignedDuration::from_hours(24 * days);
        let mut spec = json!({
            "title": "Bins and contacts", "reference": self.reference(),
            "framework": {"name": "england", "version": "1.0.0"}, "footprint": place,
            "controllerModel": "Independent",
            "parties": self.parties(), "purposes": self.purposes(),
            "confidentiality": {"basis": "ExplicitConsent", "validUntil": days(300)},
            "term": {"start": days(-2), "end": days(200), "reviewBy": days(220)},
            "dpia": {"reference": "DPIA-1", "approvedOn": days(-30), "reviewBy": days(300)},
            "retention": {"days": 30, "method": "Destroy"}, "onwardSharing": {"allowed": false},
            "privacyNotice": "https://example.org/privacy", "register": {"publish": true},
            "publicInvolvement": [{"who": "residents", "method": "letter", "date": days(-60), "changed": "fewer fields"}],
            "outcomeMeasures": [{"name": "falls", "baseline": "10", "target": "5", "reviewOn": days(100)}],
        });
        for (field, value) in fields.as_object().unwrap() {
            spec[field] = value.clone();
        }
        self.apply::<DataSharingAgreement>(json!({
            "apiVersion": "concordat.dev/v1alpha1", "kind": "DataSharingAgreement",
            "metadata": {"namespace": self.ns("council"), "name": "sharing"},
            "spec": spec,
        }));
    }

    /// A reference that no other world has.
    fn reference(&self) -> String {
        let mut letters = String::new();
        let mut number = self.stem.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        for _ in 0..8 {
            letters.push(char::from(b'A' + u8::try_from(number % 26).unwrap()));
            number /= 26;
        }
        format!("{letters}-2026-{:05}", number % 100_000)
    }

    fn parties(&self) -> Vec<Value> {
        let party = |of: &str, role: &str, function: Option<&str>| {
            let mut party = json!({
                "org": self.org(of), "role": role, "article6": "6(1)(e)", "article9": "9(2)(h)",
                "schedule1": "Part 1 paragraph 2",
            });
            if let Some(function) = function {
                party["function"] = json!(function);
            }
            party
        };
        vec![
            party("council", "Controller", None),
            party("pcn", "Recipient", Some("care-team")),
            party("charity", "Recipient", Some("befriending")),
        ]
    }

    fn purposes(&self) -> Vec<Value> {
        let product = |name: &str| json!({"namespace": self.ns("council"), "name": name});
        let purpose = |code: &str, product: Value, recipients: Value| {
            json!({
                "code": code, "justification": "helps people early", "products": [product],
                "recipients": recipients, "actions": ["readRecord"], "roles": ["CareCoordinator"],
                "maxIdentifiability": "Identifiable",
            })
        };
        let pcn = json!({"org": self.org("pcn"), "function": "care-team"});
        let charity = json!({"org": self.org("charity"), "function": "befriending"});
        vec![
            purpose("ProactiveCare", product("bins"), json!([pcn, charity])),
            purpose("DirectCare", product("contacts"), json!([pcn])),
        ]
    }

    /// Changes fields of the agreement's spec.
    fn change(&self, spec: Value) {
        self.patch::<DataSharingAgreement>(&self.ns("council"), "sharing", &json!({"spec": spec}));
    }

    fn annotate(&self, key: &str, value: &str) {
        let patch = json!({"metadata": {"annotations": {format!("example.org/{key}"): value}}});
        self.patch::<DataSharingAgreement>(&self.ns("council"), "sharing", &patch);
    }

    fn sign(&self, of: &str) -> String {
        self.signed(of, false)
    }

    fn withdraw(&self, of: &str) -> String {
        self.signed(of, true)
    }

    fn sign_all(&self) {
        for of in ["council", "pcn", "charity"] {
            self.sign(of);
        }
    }

    fn signed(&self, of: &str, withdraw: bool) -> String {
        let request = SignatureRequest {
            agreement: self.agreement(),
            party: self.org(of),
            purposes: None,
            withdraw,
            acting_role: None,
            signed_on: None,
        };
        let signature = signature(&self.snapshot(), &request).unwrap();
        let mut signature = json!(signature);
        signature.as_object_mut().unwrap().remove("status");
        let name = signature["metadata"]["name"].as_str().unwrap().to_owned();
        self.apply::<AgreementSignature>(signature);
        name
    }

    // ---- what there is ----

    /// The objects of this world, as a source of files would give them.
    fn snapshot(&self) -> Snapshot {
        Snapshot {
            cluster: ClusterView::Unnamed,
            footprints: self.mine(),
            orgs: self.mine(),
            products: self.mine(),
            agreements: self.mine(),
            signatures: self.mine(),
            ..Snapshot::default()
        }
    }

    fn mine<K>(&self) -> Vec<Sourced<K>>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let all = self.block(Api::<K>::all(self.client.clone()).list(&ListParams::default())).unwrap();
        let mine = all.into_iter().filter(|it| {
            it.name_any().starts_with(&self.stem)
                || it.namespace().is_some_and(|it| it.starts_with(&self.stem))
        });
        mine.map(Sourced::live).collect()
    }

    fn offline_plan(&self) -> Plan {
        Judgement::new(&self.snapshot(), Timestamp::now()).plan()
    }

    /// Compares whole specs, and that nothing else is there.
    fn is_as_planned(&self, plan: &Plan) {
        let mut planned_policies = BTreeMap::new();
        let mut planned_grants = BTreeMap::new();
        for object in &plan.objects {
            match object {
                PlannedObject::Isolation(policy) | PlannedObject::Allow { policy, .. } => {
                    planned_policies.insert(place(policy), policy.spec.clone());
                }
                PlannedObject::Grant(grant) => {
                    let mut spec = grant.spec.clone();
                    let agreement = self.get_agreement();
                    spec.agreement.uid = agreement.uid();
                    spec.agreement.generation = agreement.metadata.generation;
                    planned_grants.insert(place(grant), spec);
                }
            }
        }
        let policies: BTreeMap<_, _> = self.policies().into_iter().map(|it| (place(&it), it.spec)).collect();
        assert_eq!(policies, planned_policies);
        let grants: BTreeMap<_, _> = self
            .mine::<DataAccessGrant>()
            .into_iter()
            .map(|it| (place(&it.object), it.object.spec))
            .collect();
        assert_eq!(grants, planned_grants);
    }

    /// The operator's policies of this world.
    fn policies(&self) -> Vec<NetworkPolicy> {
        let all = self.mine::<NetworkPolicy>().into_iter().map(|it| it.object);
        all.filter(|it| it.labels().contains_key(PART)).collect()
    }

    /// How many policies there are of each part.
    fn parts(&self) -> BTreeMap<String, usize> {
        let mut parts = BTreeMap::new();
        for policy in self.policies() {
            *parts.entry(policy.labels()[PART].clone()).or_default() += 1;
        }
        parts
    }

    fn until_parts(&self, parts: &[(&str, usize)]) {
        let parts: BTreeMap<String, usize> =
            parts.iter().map(|(part, count)| ((*part).to_owned(), *count)).collect();
        self.until(&format!("the policies are {parts:?}"), || self.parts() == parts);
    }

    /// Waits until nothing is open and all that denies still stands.
    fn closed(&self) {
        self.until_parts(&[("isolation", 3)]);
        self.until("the grants are gone", || self.grants().is_empty());
    }

    fn grants(&self) -> Vec<ObjectRef> {
        let grants = self.mine::<DataAccessGrant>().into_iter().map(|it| place(&it.object));
        grants.collect()
    }

    /// To whom products are open, one entry for each flow, of those whose grant and ingress policy both stand.
    fn open_to(&self) -> Vec<&'static str> {
        let mut open: Vec<&str> = Vec::new();
        let names: Vec<ObjectRef> = self.policies().iter().map(place).collect();
        for grant in self.mine::<DataAccessGrant>() {
            let org = &grant.object.spec.recipient.org;
            let of = ["council", "pcn", "charity"].into_iter().find(|of| self.org(of) == *org).unwrap();
            if names.contains(&place(&grant.object)) {
                open.push(of);
            }
        }
        open.sort_unstable();
        open
    }

    /// The version of every object that the operator may write.
    fn versions(&self) -> BTreeMap<String, String> {
        fn versions<K: Resource<DynamicType = ()>>(objects: Vec<Sourced<K>>) -> Vec<(String, String)> {
            let version = |it: Sourced<K>| {
                let at = place(&it.object);
                (format!("{} {at}", K::kind(&())), it.object.resource_version().unwrap())
            };
            objects.into_iter().map(version).collect()
        }
        let mut all = versions(self.mine::<NetworkPolicy>());
        all.extend(versions(self.mine::<DataAccessGrant>()));
        all.extend(versions(self.mine::<DataSharingAgreement>()));
        all.extend(versions(self.mine::<AgreementSignature>()));
        all.extend(versions(self.mine::<DataProduct>()));
        all.extend(versions(self.mine::<PartnerOrg>()));
        all.extend(versions(self.mine::<PlaceFootprint>()));
        all.extend(versions(self.mine::<Event>()));
        all.into_iter().collect()
    }

    /// Reason and note of each event about the agreement.
    fn events(&self) -> Vec<(String, String)> {
        let events = self.mine::<Event>().into_iter().map(|it| it.object);
        let about = events.filter(|it| it.involved_object.kind.as_deref() == Some("DataSharingAgreement"));
        about.map(|it| (it.reason.unwrap_or_default(), it.message.unwrap_or_default())).collect()
    }

    fn get_agreement(&self) -> DataSharingAgreement {
        self.get(&self.ns("council"), "sharing").unwrap()
    }

    fn condition(&self, type_: &str) -> Option<(String, String)> {
        let conditions = self.get_agreement().status?.conditions;
        let condition = conditions.into_iter().find(|it| it.type_ == type_)?;
        Some((format!("{:?}", condition.status), condition.message))
    }

    fn message(&self, type_: &str) -> Option<String> {
        self.condition(type_).map(|(_, message)| message)
    }

    fn phase(&self, phase: Phase) {
        self.until(&format!("the phase is {}", phase.as_str()), || {
            let agreement = self.get_agreement();
            agreement.status.is_some_and(|it| {
                it.phase == Some(phase) && it.observed_generation == agreement.metadata.generation
            })
        });
    }

    /// Waits until the agreement is in force and that has been seen to stand.
    fn ready(&self) {
        self.until("the agreement is ready", || {
            let agreement = self.get_agreement();
            let generation = agreement.metadata.generation;
            agreement.status.is_some_and(|it| {
                let ready = it.conditions.iter().find(|it| it.type_ == "Ready");
                it.phase == Some(Phase::Active)
                    && ready.is_some_and(|it| {
                        format!("{:?}", it.status) == "True" && it.observed_generation == generation
                    })
            })
        });
    }

    fn not_ready(&self) {
        assert_eq!(self.condition("Ready").map(|(status, _)| status), Some("False".to_owned()));
        assert_eq!(self.condition("Enforced").map(|(status, _)| status), Some("False".to_owned()));
    }

    // ---- calls ----

    fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let began = Instant::now();
        while !holds() {
            if began.elapsed() > SOON {
                let status =
                    self.get::<DataSharingAgreement>(&self.ns("council"), "sharing").and_then(|it| it.status);
                let status = serde_json::to_string_pretty(&status).unwrap();
                panic!("never: {what}\nopen to {:?}, parts {:?}\n{status}", self.open_to(), self.parts());
            }
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    fn block<T>(&self, call: impl Future<Output = T>) -> T {
        self.runtime.block_on(call)
    }

    fn apply<K>(&self, object: Value)
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Serialize,
    {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let resource = kube::core::ApiResource::erase::<K>(&());
        let client = self.client.clone();
        let api: Api<kube::core::DynamicObject> = match object["metadata"]["namespace"].as_str() {
            Some(namespace) => Api::namespaced_with(client, namespace, &resource),
            None => Api::all_with(client, &resource),
        };
        let params = PatchParams::apply("test").force();
        if let Err(error) = self.block(api.patch(&name, &params, &Patch::Apply(&object))) {
            panic!("{name} was refused: {error}");
        }
    }

    fn get<K>(&self, namespace: &str, name: &str) -> Option<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        self.block(Api::<K>::namespaced(self.client.clone(), namespace).get_opt(name)).unwrap()
    }

    fn get_cluster<K>(&self, name: &str) -> Option<K>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        self.block(Api::<K>::all(self.client.clone()).get_opt(name)).unwrap()
    }

    fn patch<K>(&self, namespace: &str, name: &str, patch: &Value)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        let api = Api::<K>::namespaced(self.client.clone(), namespace);
        self.block(api.patch(name, &PatchParams::default(), &Patch::Merge(patch))).unwrap();
    }

    fn patch_cluster<K>(&self, name: &str, patch: &Value)
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let api = Api::<K>::all(self.client.clone());
        self.block(api.patch(name, &PatchParams::default(), &Patch::Merge(patch))).unwrap();
    }

    fn delete<K>(&self, namespace: &str, name: &str)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        let api = Api::<K>::namespaced(self.client.clone(), namespace);
        self.block(api.delete(name, &DeleteParams::default())).unwrap();
    }
}

/// Leaves the cluster as it was found, so that a run's hundredth agreement is judged as fast as its first.
impl Drop for World {
    fn drop(&mut self) {
        let params = DeleteParams::default();
        let agreements = Api::<DataSharingAgreement>::namespaced(self.client.clone(), &self.ns("council"));
        // what is not there, or cannot be deleted, must not hide why a test has failed
        let _gone = self.block(agreements.delete("sharing", &params));
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(10)
            && self.block(agreements.get_opt("sharing")).is_ok_and(|it| it.is_some())
        {
            std::thread::sleep(Duration::from_millis(30));
        }
        let _gone =
            self.block(Api::<PlaceFootprint>::all(self.client.clone()).delete(&self.org("place"), &params));
        for of in ["council", "pcn", "charity"] {
            let _gone =
                self.block(Api::<PartnerOrg>::all(self.client.clone()).delete(&self.org(of), &params));
            let _gone = self.block(Api::<Namespace>::all(self.client.clone()).delete(&self.ns(of), &params));
        }
    }
}

fn place<K: Resource>(object: &K) -> ObjectRef {
    ObjectRef { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
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
