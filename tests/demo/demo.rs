//! The demonstration behind `make demo`: from an agreement in Git to what opens and closes in a running cluster.
//!
//! It starts a real API server, or uses the cluster that `KUBECONFIG` names; installs the definitions; runs the
//! operator; applies two scenarios of `examples/`; and prints what opened and closed, and how soon. What it made, it
//! takes away again. The operator goes by the real clock, and so the dates of the scenarios are moved to today.

#![allow(clippy::print_stdout, reason = "what it prints is what it is for")]

#[path = "../folders/mod.rs"]
mod folders;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use concordat_api::{
    AgreementSignature, ConditionStatus, DataAccessGrant, DataSharingAgreement, ObjectRef, SignatureState,
    Standing,
};
use concordat_core::plan::PART;
use folders::today::Today;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt as _;
use support::scenario::{Cluster, documents, eventually, namespaces, signature};
use support::{ControlPlane, Origin, Process};

type Attempt<T> = Result<T, String>;

const SOON: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    match demonstrate() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("\nthe demonstration failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn title(text: &str) {
    println!("\n{text}\n{}", "─".repeat(text.chars().count()));
}

/// A command that a person would type for what happens here.
fn typed(command: &str) {
    println!("  $ {command}");
}

fn demonstrate() -> Attempt<()> {
    title("1. A cluster");
    let control_plane = ControlPlane::start()?;
    match control_plane.origin() {
        Origin::External => println!("  the one that KUBECONFIG names"),
        Origin::Assets | Origin::Embedded => {
            println!("  a real Kubernetes API server with etcd, of its own, on this machine")
        }
    }
    let mut cluster = Cluster::connect(control_plane.kubeconfig())?;
    let result = in_cluster(&mut cluster, control_plane.kubeconfig());
    if result.is_err() {
        // what is left is taken away as far as it can be; the first error is the one to tell
        let _ = cluster.clean_up();
    }
    result
}

fn in_cluster(cluster: &mut Cluster, kubeconfig: &Path) -> Attempt<()> {
    typed("concordat crds | kubectl apply --server-side -f -");
    println!("  {} kinds are served", cluster.install_definitions()?);
    typed("concordat run");
    let operator = Operator::start(kubeconfig)?;
    let outcome = scenarios(cluster);
    let cleaned = outcome.and_then(|()| {
        title("4. Taken away");
        cluster.clean_up()?;
        println!("  everything that this demonstration made is gone");
        Ok(())
    });
    cleaned.map_err(|error| format!("{error}\nthe operator's last words:\n{}", operator.process.tail()))
}

fn scenarios(cluster: &mut Cluster) -> Attempt<()> {
    chorley(cluster)?;
    shared_care_record(cluster)
}

/// The operator, as its own process.
struct Operator {
    process: Process,
}

impl Operator {
    fn start(kubeconfig: &Path) -> Attempt<Self> {
        let binary = std::env::current_exe()
            .map_err(|error| error.to_string())?
            .ancestors()
            .nth(2)
            .map(|folder| folder.join("concordat"))
            .filter(|path| path.exists())
            .ok_or("the binary `concordat` is not built: run `cargo build`")?;
        let mut command = Command::new(binary);
        command.arg("run").arg("--kubeconfig").arg(kubeconfig).args(["--health-addr", "127.0.0.1:0"]);
        let process = Process::start("operator", &mut command)?;
        println!("  the operator runs as process {}", process.pid());
        Ok(Self { process })
    }
}

fn chorley(cluster: &mut Cluster) -> Attempt<()> {
    title("2. S01: Chorley's assisted bins");
    let today = Today::of_folder(Path::new("examples/s01-chorley-assisted-bins"));
    say_days(&today);
    let folder = today.folder();
    let places = namespaces(folder)?;
    let agreement = ObjectRef { namespace: "chorley-council".to_owned(), name: "assisted-bins".to_owned() };
    typed("kubectl apply -f examples/s01-chorley-assisted-bins/");
    println!("  {} objects applied; no one has signed", cluster.apply_folder(folder)?);
    wait_for_phase(cluster, &agreement, "AwaitingSignatures")?;
    wait_for_policies(cluster, &places, "isolation of both products and of the care team", |parts| {
        parts.isolation == 3 && parts.open == 0
    })?;
    show(cluster, &agreement, &places)?;

    println!("\n  Each party signs from an account of its own namespace. No one signs for another:");
    for party in ["chorley-council", "northvale-pcn"] {
        cluster.make_signer(party)?;
    }
    let council = signature(&folder.join("signatures/chorley-council.yaml"))?;
    let pcn = signature(&folder.join("signatures/northvale-pcn.yaml"))?;
    typed(
        "kubectl apply -f …/signatures/northvale-pcn.yaml --as system:serviceaccount:chorley-council:ig-lead",
    );
    match cluster.sign_as("chorley-council", &pcn) {
        Ok(()) => return Err("the council could sign for the network".to_owned()),
        Err(_) => println!("  refused by the API server: the council's account may not write there"),
    }
    typed(
        "kubectl apply -f …/signatures/chorley-council.yaml --as system:serviceaccount:chorley-council:ig-lead",
    );
    cluster.sign_as("chorley-council", &council)?;
    eventually("the first signature to be seen", SOON, || {
        let status = cluster.agreement(&agreement.namespace, &agreement.name).ok()?.status?;
        (status.parties.as_deref() == Some("1/2")).then_some(())
    })?;
    println!("  1 of 2 has signed, and still nothing is open");
    typed(
        "kubectl apply -f …/signatures/northvale-pcn.yaml --as system:serviceaccount:northvale-pcn:ig-lead",
    );
    let begun = Instant::now();
    cluster.sign_as("northvale-pcn", &pcn)?;
    wait_for_policies(cluster, &places, "both paths to open", |parts| parts.paths == 2 && parts.open == 3)?;
    println!("  the last party has signed: everything is written after {}", took(begun));
    wait_for_ready(cluster, &agreement)?;
    show(cluster, &agreement, &places)?;

    println!("\n  Each request for data is decided against it:");
    ask(folder, "read-bin-list.yaml")?;
    ask(folder, "read-frailty-names.yaml")?;
    ask(folder, "council-reads-back.yaml")?;

    println!("\n  The network withdraws:");
    typed("concordat sign … --party northvale-pcn --withdraw | kubectl apply -f -");
    let begun = Instant::now();
    cluster.sign_as("northvale-pcn", &withdrawn(&pcn))?;
    wait_for_policies(cluster, &places, "every path to close", |parts| parts.paths == 0 && parts.open == 0)?;
    println!("  closed after {}; what isolates is still there", took(begun));
    show(cluster, &agreement, &places)
}

fn shared_care_record(cluster: &mut Cluster) -> Attempt<()> {
    title("3. S25: a shared care record, and one practice that leaves one purpose");
    let today = Today::of_folder(Path::new("examples/s25-shared-care-record"));
    say_days(&today);
    let folder = today.folder();
    let places = namespaces(folder)?;
    let agreement =
        ObjectRef { namespace: "west-yorkshire-icb".to_owned(), name: "shared-care-record".to_owned() };
    typed("kubectl apply -f examples/s25-shared-care-record/");
    println!("  {} objects applied", cluster.apply_folder(folder)?);
    let mut narrowed = None;
    for file in files(&folder.join("signatures"))? {
        let mut signed = signature(&file)?;
        let home = signed.namespace().ok_or("a signature without a namespace")?;
        cluster.make_signer(&home)?;
        if signed.spec.purposes.is_some() {
            narrowed = Some((home.clone(), signed.clone()));
            signed.spec.purposes = None;
        }
        cluster.sign_as(&home, &signed)?;
    }
    let (home, narrowed) = narrowed.ok_or("no practice narrows its signature")?;
    wait_for_policies(cluster, &places, "six paths to open", |parts| parts.paths == 6)?;
    wait_for_ready(cluster, &agreement)?;
    show(cluster, &agreement, &places)?;

    println!("\n  One practice signs again, for direct care alone:");
    typed(&format!("concordat sign … --party {home} --purposes DirectCare | kubectl apply -f -"));
    let begun = Instant::now();
    cluster.sign_as(&home, &narrowed)?;
    wait_for_policies(cluster, &places, "its planning to close", |parts| parts.paths == 5)?;
    println!(
        "  its planning is closed after {}; its direct care, and everybody else, carries on",
        took(begun)
    );
    show(cluster, &agreement, &places)?;
    ask(folder, "emergency-reads-beckside.yaml")?;
    ask(folder, "board-extracts-beckside.yaml")
}

fn files(folder: &Path) -> Attempt<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    Ok(files)
}

fn withdrawn(signature: &AgreementSignature) -> AgreementSignature {
    let mut signature = signature.clone();
    signature.spec.state = Some(SignatureState::Withdrawn);
    signature.spec.purposes = None;
    signature
}

fn took(begun: Instant) -> String {
    format!("{:.1} s", begun.elapsed().as_secs_f64())
}

/// A reader who looks into the example finds other dates than are shown.
fn say_days(today: &Today) {
    if today.days != 0 {
        println!("  every date of the example is moved by {} days, so that it is in force today", today.days);
    }
}

/// What stands in a scenario's namespaces, counted.
struct Parts {
    paths: usize,
    isolation: usize,
    open: usize,
}

fn is_isolation(policy: &NetworkPolicy) -> bool {
    policy.labels().get(PART).is_some_and(|part| part == "isolation")
}

fn wait_for_policies(
    cluster: &Cluster,
    places: &BTreeSet<String>,
    what: &str,
    holds: impl Fn(&Parts) -> bool,
) -> Attempt<()> {
    eventually(what, SOON, || {
        let (grants, policies) = (cluster.grants(places).ok()?, cluster.policies(places).ok()?);
        let isolation = policies.iter().filter(|policy| is_isolation(policy)).count();
        let paths = grants.iter().map(|grant| grant.spec.recipients.len()).sum();
        let parts = Parts { paths, isolation, open: policies.len() - isolation };
        holds(&parts).then_some(())
    })
}

fn wait_for_phase(cluster: &Cluster, agreement: &ObjectRef, phase: &str) -> Attempt<()> {
    eventually(&format!("`{agreement}` to be {phase}"), SOON, || {
        let status = cluster.agreement(&agreement.namespace, &agreement.name).ok()?.status?;
        (status.phase?.as_str() == phase).then_some(())
    })
}

fn wait_for_ready(cluster: &Cluster, agreement: &ObjectRef) -> Attempt<()> {
    eventually(&format!("`{agreement}` to be Ready"), SOON, || {
        let status = cluster.agreement(&agreement.namespace, &agreement.name).ok()?.status?;
        let ready = status.conditions.into_iter().find(|condition| condition.type_ == "Ready")?;
        (ready.status == ConditionStatus::True).then_some(())
    })
}

/// Prints the agreement, its grants and its network policies as they stand.
fn show(cluster: &Cluster, reference: &ObjectRef, places: &BTreeSet<String>) -> Attempt<()> {
    typed("kubectl get dsa,dag,netpol -A");
    show_agreement(&cluster.agreement(&reference.namespace, &reference.name)?);
    for grant in cluster.grants(places)? {
        show_grant(&grant);
    }
    for policy in cluster.policies(places)? {
        let part = policy.labels().get(PART).map_or("", String::as_str);
        println!("    netpol {part:<9} {}/{}", policy.namespace().unwrap_or_default(), policy.name_any());
    }
    Ok(())
}

fn show_agreement(agreement: &DataSharingAgreement) {
    let status = agreement.status.clone().unwrap_or_default();
    let phase = status.phase.map_or("", concordat_api::Phase::as_str);
    println!(
        "    dsa    {}/{}  {phase}  parties {}  purposes {}",
        agreement.namespace().unwrap_or_default(),
        agreement.name_any(),
        status.parties.unwrap_or_default(),
        status.purposes.unwrap_or_default(),
    );
    for standing in status.standings {
        let said = match (standing.needed, standing.purposes) {
            (Some(needed), _) => needed,
            (None, Some(purposes)) => format!("stands signed for {}", purposes.join(",")),
            (None, None) if standing.standing == Standing::Withdrawn => "has withdrawn".to_owned(),
            (None, None) => continue,
        };
        println!("             {} {said}", standing.org);
    }
}

fn show_grant(grant: &DataAccessGrant) {
    let spec = &grant.spec;
    for recipient in &spec.recipients {
        let purposes: Vec<&str> = recipient.purposes.iter().map(|purpose| purpose.code.as_str()).collect();
        println!(
            "    dag    {} -> {}/{}  {}  until {}",
            spec.product,
            recipient.org,
            recipient.function,
            purposes.join(","),
            recipient.not_after,
        );
    }
}

/// Decides a request file of a scenario as `concordat explain` does, and prints the answer's first words.
fn ask(folder: &Path, name: &str) -> Attempt<()> {
    use concordat_core::evaluate::Judgement;
    let file = folder.join("requests").join(name);
    let example = folder.file_name().unwrap_or_default().to_string_lossy();
    typed(&format!("concordat explain examples/{example} --request …/requests/{name}"));
    let request = documents(&file)?.into_iter().next().ok_or("an empty request")?;
    let request = serde_json::from_value(request).map_err(|error| error.to_string())?;
    let (snapshot, findings, _) = concordat_source::files::read(&[folder.to_owned()]);
    if let Some(finding) = findings.first() {
        return Err(format!("{} {}", finding.origin, finding.message));
    }
    let answer = Judgement::new(&snapshot, jiff::Timestamp::now()).decide(&request).answer;
    let verdict = if answer.decision { "ALLOWED" } else { "REFUSED" };
    let context = answer.context;
    println!(
        "    {verdict} ({}{}): {}",
        context.tier.as_str(),
        context.rule.map(|rule| format!(", {rule}")).unwrap_or_default(),
        context.reason
    );
    Ok(())
}
