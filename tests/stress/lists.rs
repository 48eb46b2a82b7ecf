//! Each entry of each list that bears on access, taken out one by one: every one is a revocation.
//!
//! What is to be left is said here, entry by entry, and not by the code under test. An entry that a table does not
//! name bears on nothing that the network can see, and leaves everything.

use concordat_api::{
    AgreementSignature, DataProduct, DataSharingAgreement, LocalPolicy, PartnerOrg, PlaceFootprint,
};
use concordat_core::snapshot::ClusterView;
use jiff::{SignedDuration, Timestamp};
use kube::api::{Patch, PatchParams};

use super::*;

/// Every list within a value, by its JSON pointer, with its length.
fn lists(value: &Value, at: &str, found: &mut Vec<(String, usize)>) {
    match value {
        Value::Array(list) => {
            found.push((at.to_owned(), list.len()));
            for (index, entry) in list.iter().enumerate() {
                lists(entry, &format!("{at}/{index}"), found);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                lists(field, &format!("{at}/{name}"), found);
            }
        }
        _ => {}
    }
}

/// What has come of taking entries out.
#[derive(Debug, Default)]
struct Count {
    taken: usize,
    /// By the API server: a list that may not be empty.
    refused: usize,
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.taken += other.taken;
        self.refused += other.refused;
    }
}

/// Takes each entry of each list of an object's spec out, one by one, and puts it back. `left` says what is left of
/// what was open. `fixed` brings back what may be open without the entry, and says what that is.
fn without_each<K>(
    story: &mut Story<'_>,
    api: &Api<K>,
    name: &str,
    whole_is: &Open,
    left: &dyn Fn(&str) -> Open,
    fixed: Option<&dyn Fn(&str) -> Open>,
) -> Count
where
    K: kube::Resource<DynamicType = ()>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug
        + serde::Serialize,
{
    let world = story.world;
    let whole = json!(world.block(api.get(name)).unwrap())["spec"].clone();
    let mut found = Vec::new();
    lists(&whole, "", &mut found);
    let mut count = Count::default();
    for (at, length) in found {
        for index in 0..length {
            let mut spec = whole.clone();
            spec.pointer_mut(&at).unwrap().as_array_mut().unwrap().remove(index);
            let set = |spec: &Value| {
                let patch = json!([{"op": "replace", "path": "/spec", "value": spec}]);
                let patch: Patch<()> = Patch::Json(serde_json::from_value(patch).unwrap());
                world.block(api.patch(name, &PatchParams::default(), &patch))
            };
            match set(&spec) {
                Err(kube::Error::Api(status)) if status.code == 422 => count.refused += 1,
                Err(error) => panic!("{error}"),
                Ok(_) => {
                    count.taken += 1;
                    let entry = format!("{at}/{index}");
                    let what = format!("{name}: {entry} is taken out");
                    // it is out already; the story begins with what the operator makes of it
                    story.step(&what, left(&entry), || {});
                    if let Some(fixed) = fixed {
                        let then = fixed(&entry);
                        story.step(&format!("{what}, and signed again"), then, || resign(world));
                    }
                    story.step(&format!("{what}, and put back"), whole_is.clone(), || {
                        set(&whole).unwrap();
                        if fixed.is_some() {
                            resign(world);
                        }
                    });
                }
            }
        }
    }
    count
}

/// Every party signs the agreement as it stands.
fn resign(world: &World) {
    let parties = world.get_agreement().spec.parties;
    for of in ["council", "pcn", "charity"] {
        if parties.iter().any(|party| party.org == world.org(of)) {
            world.sign(of);
        }
    }
}

/// Those flows of a set that a table does not take away.
fn but(all: &Open, gone: impl Fn(&str) -> bool) -> Open {
    all.iter().filter(|flow| !gone(flow)).cloned().collect()
}

fn moment(days: i64) -> Timestamp {
    Timestamp::now() + SignedDuration::from_hours(24 * days)
}

/// The one manifest of a kind and name.
fn manifest<'a>(all: &'a mut [Value], kind: &str, name: &str) -> &'a mut Value {
    all.iter_mut().find(|it| it["kind"] == kind && it["metadata"]["name"] == name).unwrap()
}

/// Begins a world with these manifests, which everybody signs.
fn begin<'a>(world: &'a World, observer: &'a Observer, manifests: &[Value], open: &Open) -> Story<'a> {
    let mut story = Story::begin(world, observer);
    story.step("everybody signs", open.clone(), || {
        for manifest in manifests {
            world.apply_manifest(manifest);
        }
        world.sign_all();
    });
    story
}

/// An agreement with something in each of its lists. What is signed is changed: nothing is open until all have signed
/// again, and then what is left of it.
fn terms(world: &World, observer: &Observer) -> (Count, usize) {
    let mut all = world.manifests(json!({}));
    let border = json!({
        "apiVersion": "concordat.dev/v1alpha1", "kind": "PlaceFootprint",
        "metadata": {"name": world.org("border")},
        "spec": {"tier": "Place", "leadOrg": world.org("council")},
    });
    let agreement = manifest(&mut all, "DataSharingAgreement", "sharing");
    let spec = &mut agreement["spec"];
    spec["crossBoundary"] = json!({"reason": "people move", "footprints": [world.org("border")]});
    spec["territories"] = json!(["GB"]);
    spec["purposes"][0]["actions"] = json!(["readRecord", "reidentify"]);
    spec["purposes"][0]["roles"] = json!(["CareCoordinator", "Clinician"]);
    let contacts = spec["purposes"][1]["products"][0].clone();
    spec["purposes"][0]["products"].as_array_mut().unwrap().push(contacts);
    all.insert(0, border);
    let whole = open(&["pcn>bins", "charity>bins", "pcn>contacts", "charity>contacts"]);
    let mut story = begin(world, observer, &all, &whole);
    let api: Api<DataSharingAgreement> = Api::namespaced(world.client.clone(), &world.ns("council"));
    let signed_again = |entry: &str| match entry {
        // what is left names somebody who is no party, or measures nothing: invalid or refused
        "/parties/0" | "/parties/1" | "/parties/2" | "/outcomeMeasures/0" => nothing(),
        "/purposes/0" => open(&["pcn>contacts"]),
        "/purposes/0/recipients/0" => open(&["charity>bins", "charity>contacts", "pcn>contacts"]),
        "/purposes/0/recipients/1" => open(&["pcn>bins", "pcn>contacts"]),
        "/purposes/0/products/0" => open(&["pcn>contacts", "charity>contacts"]),
        "/purposes/0/products/1" => open(&["pcn>bins", "charity>bins", "pcn>contacts"]),
        _ => whole.clone(),
    };
    let count = without_each(&mut story, &api, "sharing", &whole, &|_| nothing(), Some(&signed_again));
    (count, story.verify())
}

/// With accession each party signs its own row: one that goes takes its own flows with it, and no one else's.
fn accession(world: &World, observer: &Observer) -> (Count, usize) {
    let mut all = world.manifests(json!({"accession": true}));
    for purpose in [0, 1] {
        let agreement = manifest(&mut all, "DataSharingAgreement", "sharing");
        let purpose = agreement["spec"]["purposes"][purpose].as_object_mut().unwrap();
        // every Recipient
        purpose.remove("recipients");
    }
    let whole = open(&["pcn>bins", "charity>bins", "pcn>contacts", "charity>contacts"]);
    let mut story = begin(world, observer, &all, &whole);
    let api: Api<DataSharingAgreement> = Api::namespaced(world.client.clone(), &world.ns("council"));
    let left = |entry: &str| match entry {
        "/parties/1" => open(&["charity>bins", "charity>contacts"]),
        "/parties/2" => open(&["pcn>bins", "pcn>contacts"]),
        // terms that all have signed
        _ => nothing(),
    };
    let count = without_each(&mut story, &api, "sharing", &whole, &left, None);
    (count, story.verify())
}

/// Everything else that has lists: products, organisations, a place, signatures, a local policy.
fn others(world: &World, observer: &Observer) -> (Count, usize) {
    let all = rich(world);
    let whole = rich_whole();
    let mut story = Story::begin(world, observer);
    story.step("everybody signs", whole.clone(), || {
        for manifest in &all {
            world.apply_manifest(manifest);
        }
    });
    let mut count = Count::default();
    let from = |flow: &str, of: &str| flow.starts_with(&format!("{of}>"));
    let to = |flow: &str, what: &str| flow.split('>').nth(1).unwrap().starts_with(what);
    let client = || world.client.clone();

    let products: Api<DataProduct> = Api::namespaced(client(), &world.ns("council"));
    count += without_each(
        &mut story,
        &products,
        "bins",
        &whole,
        &|entry| match entry {
            "/endpoint/ports/0" => but(&whole, |flow| to(flow, "bins") && !flow.ends_with(":8444")),
            "/endpoint/ports/1" => but(&whole, |flow| flow.ends_with(":8444")),
            // what a product holds is signed with the agreement
            entry if entry.starts_with("/dataItems/") || entry.starts_with("/categories/") => nothing(),
            _ => whole.clone(),
        },
        None,
    );

    let orgs: Api<PartnerOrg> = Api::all(client());
    count += without_each(
        &mut story,
        &orgs,
        &world.org("pcn"),
        &whole,
        &|entry| match entry {
            // the agreement names a function that is not there, or somebody who is not of the place
            "/functions/0" | "/footprints/0" => nothing(),
            "/functions/0/workloads/0" => but(&whole, |flow| from(flow, "pcn")),
            "/functions/0/workloads/1" => but(&whole, |flow| from(flow, "night")),
            _ => whole.clone(),
        },
        None,
    );
    count += without_each(
        &mut story,
        &orgs,
        &world.org("charity"),
        &whole,
        &|entry| match entry {
            "/functions/0" | "/footprints/0" | "/delegatedSigning/0" => nothing(),
            "/functions/0/workloads/0" | "/delegatedSigning/0/purposes/0" => {
                but(&whole, |flow| from(flow, "charity"))
            }
            _ => whole.clone(),
        },
        None,
    );
    let left = |entry: &str| if entry == "/footprints/0" { nothing() } else { whole.clone() };
    count += without_each(&mut story, &orgs, &world.org("council"), &whole, &left, None);

    let places: Api<PlaceFootprint> = Api::all(client());
    count += without_each(
        &mut story,
        &places,
        &world.org("place"),
        &whole,
        &|entry| match entry {
            // the exception is for what lies in the system
            "/parents/0" => nothing(),
            _ => whole.clone(),
        },
        None,
    );

    for (of, flows) in [("pcn", ["pcn", "night"].as_slice()), ("council", &["pcn", "night", "charity"])] {
        let signatures: Api<AgreementSignature> = Api::namespaced(client(), &world.ns(of));
        let name = world.signature(&world.snapshot(), of, false)["metadata"]["name"].clone();
        let is_of = |flow: &str| flows.iter().any(|of| from(flow, of));
        count += without_each(
            &mut story,
            &signatures,
            name.as_str().unwrap(),
            &whole,
            &|entry| match entry {
                "/purposes/0" => but(&whole, |flow| is_of(flow) && to(flow, "bins")),
                "/purposes/1" => but(&whole, |flow| is_of(flow) && to(flow, "contacts")),
                other => panic!("a list that is not thought of: {other}"),
            },
            None,
        );
    }

    // what a place says further is asked of each request, and opens and closes no path
    let policies: Api<LocalPolicy> = Api::namespaced(client(), &world.ns("council"));
    count += without_each(&mut story, &policies, "careful", &whole, &|_| whole.clone(), None);
    (count, story.verify())
}

/// What is open in the world that [`rich`] makes.
pub fn rich_whole() -> Open {
    open(&[
        "pcn>bins",
        "pcn>bins:8444",
        "night>bins",
        "night>bins:8444",
        "charity>bins",
        "charity>bins:8444",
        "pcn>contacts",
        "night>contacts",
    ])
}

/// A world in which every list of every kind has something in it, and everything is signed.
pub fn rich(world: &World) -> Vec<Value> {
    let mut all = world.manifests(json!({}));
    let object = |kind: &str, name: &str, spec: Value| {
        json!({
            "apiVersion": "concordat.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec,
        })
    };
    let (council, pcn) = (world.ns("council"), world.ns("pcn"));
    let place = &mut manifest(&mut all, "PlaceFootprint", &world.org("place"))["spec"];
    place["parents"] = json!([world.org("system")]);
    place["policyNamespaces"] = json!([council, pcn]);
    place["expectedSectors"] = json!(["Nhs", "Vcse"]);
    place["geographies"] = json!([
        {"scheme": "Gss", "code": "E07999901", "share": "Full"},
        {"scheme": "Gss", "code": "E07999902", "share": "Partial"},
    ]);
    let bins = &mut manifest(&mut all, "DataProduct", "bins")["spec"];
    bins["endpoint"]["ports"] = json!([{"port": 8443}, {"port": 8444}]);
    bins["derivedFrom"] = json!([{"namespace": council, "name": "contacts"}]);
    bins["pep"] = json!({"serviceAccounts": ["gateway", "spare"]});
    bins["dataItems"] = json!([
        {"name": "address", "justification": "finds the household"},
        {"name": "day", "justification": "finds the day"},
    ]);
    let network = &mut manifest(&mut all, "PartnerOrg", &world.org("pcn"))["spec"];
    network["identifiers"].as_array_mut().unwrap().push(json!({"scheme": "Ods", "value": "Z99901"}));
    network["functions"][0]["workloads"][0]["serviceAccounts"] = json!(["care", "spare"]);
    network["functions"][0]["workloads"].as_array_mut().unwrap().push(json!({
        "namespace": pcn, "podSelector": {"matchLabels": {"app": "night-team"}},
    }));
    let charity = &mut manifest(&mut all, "PartnerOrg", &world.org("charity"))["spec"];
    charity["delegatedSigning"] = json!([{
        "to": world.org("pcn"), "purposes": ["ProactiveCare", "DirectCare"], "until": moment(100),
    }]);
    // no one measures what comes of it, which only an exception for the system allows
    manifest(&mut all, "DataSharingAgreement", "sharing")["spec"]
        .as_object_mut()
        .unwrap()
        .remove("outcomeMeasures");
    let system = json!({"tier": "System", "leadOrg": world.org("council")});
    all.insert(0, object("PlaceFootprint", &world.org("system"), system));
    all.insert(
        1,
        object(
            "FrameworkException",
            &world.org("measures"),
            json!({
                "rule": "NF-10", "footprint": world.org("system"), "approvedBy": "the national approver",
                "reason": "the first year is for learning", "from": moment(-1), "until": moment(100),
                "evaluationDue": moment(90),
            }),
        ),
    );
    let asks = |name: &str, break_glass: bool| {
        json!({
            "name": name, "at": Timestamp::now(),
            "request": {
                "subject": {"type": "Workload", "id": format!("local/{pcn}/care")},
                "action": {"name": "readRecord"},
                "resource": {"type": "DataProduct", "id": format!("{council}/bins")},
                "context": {"purpose": "ProactiveCare", "breakGlass": break_glass},
            },
            "expect": {"decision": false},
        })
    };
    let mut policy = object(
        "LocalPolicy",
        "careful",
        json!({
            "footprint": world.org("place"), "owner": "the place", "reason": "no one breaks the glass for bins",
            "reviewBy": moment(50), "tests": [asks("not with glass", true), asks("not without a role", false)],
            "cedar": "@id(\"no-glass\")\n@reason(\"no one breaks the glass for bins\")\nforbid (principal, \
                      action == Concordat::Action::\"readRecord\", resource) when { context.breakGlass };\n",
        }),
    );
    policy["metadata"]["namespace"] = json!(council);
    all.push(policy);
    let snapshot = world.snapshot_of(&all);
    for of in ["council", "pcn", "charity"] {
        let mut signature = world.signature(&snapshot, of, false);
        signature["spec"]["purposes"] = json!(["ProactiveCare", "DirectCare"]);
        if of == "charity" {
            // for all that the network may sign for
            signature["spec"].as_object_mut().unwrap().remove("purposes");
            signature["metadata"]["namespace"] = json!(pcn);
        }
        all.push(signature);
    }
    all
}

#[test]
fn every_entry_of_every_list_that_is_taken_out_closes_what_it_opened_and_opens_nothing() {
    let _cluster = cluster();
    let audit = Audit::default();
    let (_proxy, operator) = started(&audit);
    let worlds = ["terms", "joined", "others"].map(World::new);
    let observer = Observer::begin(&worlds[0]);
    let [(terms, one), (joined, two), (others, three)] = std::thread::scope(|scope| {
        let (observer, [first, second, third]) = (&observer, &worlds);
        let terms = scope.spawn(move || terms(first, observer));
        let joined = scope.spawn(move || accession(second, observer));
        let others = scope.spawn(move || others(third, observer));
        [terms, joined, others].map(|run| run.join().unwrap())
    });
    falls_silent(&audit, Duration::from_secs(1));
    note(&format!("an agreement, {terms:?}, {one} revisions"));
    note(&format!("an agreement with accession, {joined:?}, {two} revisions"));
    note(&format!(
        "products, organisations, places, signatures, local policies, {others:?}, {three} revisions"
    ));
    drop(worlds);
    operator.terminate();
}

#[test]
fn each_address_of_a_gateway_that_is_taken_out_closes() {
    let _cluster = cluster();
    let audit = Audit::default();
    let mut world = World::new("gateways");
    world.cluster = ClusterView::Named("here".to_owned());
    let proxy = Proxy::start("operator", &audit);
    let operator = Replica::start_with(&proxy, &["--cluster=here"]);
    let observer = Observer::begin(&world);
    let mut all = world.manifests(json!({}));
    for name in ["bins", "contacts"] {
        manifest(&mut all, "DataProduct", name)["spec"]["cluster"] = json!("here");
    }
    for (of, cluster) in [("council", "here"), ("pcn", "there"), ("charity", "here")] {
        let org = &mut manifest(&mut all, "PartnerOrg", &world.org(of))["spec"];
        org["functions"][0]["workloads"][0]["cluster"] = json!(cluster);
        if of == "pcn" {
            org["gateways"] = json!([{"cluster": "there", "cidrs": ["10.1.0.0/16", "10.2.0.0/16"]}]);
        }
    }
    let whole =
        open(&["there>bins", "there too>bins", "there>contacts", "there too>contacts", "charity>bins"]);
    let mut story = begin(&world, &observer, &all, &whole);
    let orgs: Api<PartnerOrg> = Api::all(world.client.clone());
    let count = without_each(
        &mut story,
        &orgs,
        &world.org("pcn"),
        &whole,
        &|entry| match entry {
            "/functions/0" | "/footprints/0" => nothing(),
            "/functions/0/workloads/0" | "/gateways/0" => open(&["charity>bins"]),
            "/gateways/0/cidrs/0" => but(&whole, |flow| flow.starts_with("there>")),
            "/gateways/0/cidrs/1" => but(&whole, |flow| flow.starts_with("there too>")),
            _ => whole.clone(),
        },
        None,
    );
    note(&format!("an organisation in another cluster, {count:?}, {} revisions", story.verify()));
    drop(world);
    operator.terminate();
}
