//! Worlds: every kind, agreements that supersede each other, dates at and beside every boundary, and what is broken.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::generate_local::policies;
use super::local::Rules;
use super::model::Model;
use super::random::Random;
use super::terms;
use super::world::{Framework, World, text};

/// A world, when it is judged, and what its local rules say.
#[derive(Clone, Debug)]
pub struct Generated {
    pub seed: u64,
    pub at: Timestamp,
    pub manifests: Vec<Value>,
    pub rules: Rules,
}

pub const PLACES: [&str; 5] = ["county", "north", "south", "hamlet", "afar"];
pub const RECIPIENTS: [&str; 4] = ["care", "help", "watch", "force"];
pub const ROLES: [&str; 3] = ["Clinician", "CareCoordinator", "Analyst"];
pub const ACTIONS: [&str; 5] = ["readRecord", "queryAggregate", "extract", "reidentify", "shareOnward"];
pub const LEVELS: [&str; 4] =
    ["AggregateSuppressed", "AggregateSmallNumbers", "Pseudonymised", "Identifiable"];
const PRODUCTS: [(&str, &str); 4] =
    [("alder", "frailty"), ("alder", "bins"), ("birch", "notes"), ("birch", "tables")];

pub fn middle() -> Timestamp {
    "2026-11-22T09:00:00Z".parse().unwrap()
}

pub fn days(count: i64) -> Timestamp {
    middle() + SignedDuration::from_hours(24 * count)
}

pub fn manifest(kind: &str, namespace: &str, name: &str, spec: Value) -> Value {
    let mut metadata = json!({"name": name});
    if !namespace.is_empty() {
        metadata["namespace"] = json!(namespace);
    }
    json!({"apiVersion": "concordat.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})
}

/// The framework of the worlds: the one that is built in, or a later version with other dates.
pub struct National {
    pub built_in: Framework,
    spec: Value,
}

impl National {
    pub fn read() -> Self {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/national");
        let mut spec: Value =
            serde_json::from_str(&std::fs::read_to_string(folder.join("england.json")).unwrap()).unwrap();
        let built_in = serde_json::from_value(spec.clone()).unwrap();
        let mut policies = BTreeMap::new();
        for file in std::fs::read_dir(&folder).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|it| it == "cedar") {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                policies.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
        spec["policies"] = json!(policies);
        Self { built_in, spec }
    }

    fn later(&self, random: &mut Random) -> Value {
        let mut spec = self.spec.clone();
        spec["version"] = json!("1.1.0");
        spec["effectiveFrom"] = json!(days(-400));
        match random.below(3) {
            0 => spec["effectiveFrom"] = json!(random.beside(middle())),
            1 => spec["retiresOn"] = json!(random.beside(middle())),
            _ => spec["limits"]["minCell"] = json!(5),
        }
        manifest("PolicyFramework", "", "england-1.1.0", spec)
    }
}

/// A world by its number.
pub fn generate(seed: u64, national: &National) -> Generated {
    let mut random = Random::new(seed);
    let random = &mut random;
    let mut manifests = Vec::new();
    let framework = if random.chance(8) {
        manifests.push(national.later(random));
        json!({"name": "england", "version": "1.1.0"})
    } else {
        json!({"name": "england", "version": "1.0.0"})
    };
    manifests.extend(footprints(random));
    manifests.extend(orgs(random));
    manifests.extend(products(random));
    let agreements = agreements(random, &framework);
    if random.chance(12) {
        manifests.push(exception(random));
    }
    let (local, rules) = policies(random, &agreements);
    manifests.extend(agreements);
    manifests.extend(local);
    if random.chance(6) {
        let lost =
            random.pick(&["PartnerOrg care", "PartnerOrg birch", "DataProduct notes", "DataProduct bins"]);
        manifests.retain(|it| format!("{} {}", text(&it["kind"]), text(&it["metadata"]["name"])) != lost);
    }
    let mut signatures = signatures(random, &mut manifests, national);
    if random.chance(12) {
        // half of the time what somebody has said of an agreement
        let going = if random.chance(50) { &mut signatures } else { &mut manifests };
        if !going.is_empty() {
            let index = random.below(going.len());
            going[index]["metadata"]["deletionTimestamp"] = json!(days(-1));
            going[index]["metadata"]["finalizers"] = json!(["example.org/keep"]);
        }
    }
    manifests.extend(signatures);
    let at = if random.chance(70) { middle() } else { beside_a_date(random, &manifests) };
    Generated { seed, at, manifests, rules }
}

fn beside_a_date(random: &mut Random, manifests: &[Value]) -> Timestamp {
    let world = World::read(manifests);
    let far = |it: &Timestamp| (days(-800)..days(800)).contains(it);
    let dates: Vec<Timestamp> = world.dates.into_iter().filter(far).collect();
    let moment = if dates.is_empty() { middle() } else { random.pick(&dates) };
    moment + SignedDuration::from_millis(random.pick(&[-1, 0, 0, 1]))
}

fn footprints(random: &mut Random) -> Vec<Value> {
    let mut place = |name: &str, tier: &str, parents: &[&str]| {
        let mut spec =
            json!({"tier": tier, "leadOrg": "registry", "policyNamespaces": [format!("{name}-rules")]});
        if !parents.is_empty() {
            spec["parents"] = json!(parents);
        }
        if random.chance(3) {
            spec["governance"] = json!({"vcseSeat": true});
        }
        manifest("PlaceFootprint", "", name, spec)
    };
    vec![
        place("county", "System", &[]),
        place("north", "Place", &["county"]),
        place("south", "Place", &["county"]),
        place("hamlet", "Neighbourhood", &["north"]),
        place("afar", "Place", &[]),
    ]
}

fn orgs(random: &mut Random) -> Vec<Value> {
    let mut made = Vec::new();
    let table: [(&str, &str, &[(&str, bool)], &[&str]); 9] = [
        ("registry", "Nhs", &[], &["county"]),
        ("alder", "Nhs", &[("desk", true)], &["north"]),
        ("birch", "LocalAuthority", &[("office", false)], &["south"]),
        ("care", "Nhs", &[("team", true), ("planning", false)], &["north"]),
        ("help", "Vcse", &[("support", false)], &["south"]),
        ("watch", "National", &[("review", false)], &[]),
        ("force", "Police", &[("hub", false)], &["county"]),
        ("vendor", "Supplier", &[("host", false)], &["county"]),
        ("shire", "LocalAuthority", &[("hall", false)], &["county"]),
    ];
    for (name, sector, functions, footprints) in table {
        let functions: Vec<Value> = functions
            .iter()
            .map(|(function, care)| {
                let mut workload = json!({"namespace": format!("{name}-{function}")});
                if random.chance(15) {
                    workload["serviceAccounts"] = json!(["reader"]);
                    workload["podSelector"] = json!({"matchLabels": {"app": function}});
                }
                json!({"name": function, "providesCare": care, "workloads": [workload]})
            })
            .collect();
        let public = name != "help" && name != "vendor";
        let mut spec = json!({
            "displayName": format!("The {name}"), "sector": sector, "publicAuthority": public,
            "identifiers": [{"scheme": "OrgId", "value": format!("GB-TEST-{name}")}],
            "homeNamespace": name, "state": "Active",
            "assurance": {"dspt": {"status": "StandardsMet", "validUntil": days(400)}},
            "ico": {"status": "Registered", "validUntil": days(500)},
            "people": {
                "siro": "siro@example.org", "caldicottGuardian": "guardian@example.org", "dpo": "dpo@example.org",
                "igLead": "lead@example.org",
            },
        });
        if !functions.is_empty() {
            spec["functions"] = json!(functions);
        }
        if !footprints.is_empty() {
            spec["footprints"] = json!(footprints);
        }
        if name != "registry" {
            change_org(random, name, &mut spec);
        }
        made.push(manifest("PartnerOrg", "", name, spec));
    }
    made
}

fn change_org(random: &mut Random, name: &str, spec: &mut Value) {
    if random.chance(10) {
        spec["footprints"] = json!(random.some(&PLACES, 35));
    }
    if random.chance(6) {
        spec["assurance"] = match random.below(5) {
            0 => json!({}),
            1 => json!({"dspt": {"status": "ApproachingStandards", "validUntil": days(100)}}),
            2 => json!({"dspt": {"status": "StandardsExceeded", "validUntil": random.beside(middle())}}),
            3 => json!({"equivalent": {
                "scheme": random.pick(&["Iso27001", "HouseRules"]), "reference": "A-1",
                "validUntil": random.beside(days(30)),
            }}),
            _ => json!({"dspt": {"status": "StandardsMet"}}),
        };
    }
    if random.chance(4) {
        spec["ico"] = match random.below(3) {
            0 => json!({"status": "Exempt"}),
            1 => json!({"status": "Registered"}),
            _ => json!({"status": "Registered", "validUntil": random.beside(middle())}),
        };
    }
    if random.chance(3) {
        let lost = random.pick(&["siro", "caldicottGuardian", "dpo"]);
        spec["people"].as_object_mut().unwrap().remove(lost);
    }
    if random.chance(4) {
        spec["state"] = json!(random.pick(&["Suspended", "Dissolved", "Merged"]));
        if spec["state"] == "Merged" {
            spec["successor"] = json!("shire");
        }
    }
    if random.chance(4) && name != "shire" {
        spec["endsOn"] = json!(random.beside(middle()));
        if random.chance(50) {
            spec["successor"] = json!("shire");
        }
    }
    if random.chance(8) && name != "shire" {
        let purposes = random.some(&["DirectCare", "ProactiveCare", "Planning"], 70);
        let until = if random.chance(60) { days(300) } else { random.beside(middle()) };
        let to = if random.chance(20) { "gone" } else { "shire" };
        let mut delegations = vec![json!({"to": to, "purposes": purposes, "until": until})];
        if random.chance(30) && name != "vendor" {
            delegations.push(
                json!({"to": "vendor", "purposes": ["DirectCare", "ProactiveCare"], "until": days(90)}),
            );
        }
        spec["delegatedSigning"] = json!(delegations);
    }
}

fn products(random: &mut Random) -> Vec<Value> {
    let mut made = Vec::new();
    for (namespace, name) in PRODUCTS {
        let patient = name == "frailty" || name == "notes";
        let personal = name != "tables";
        let mut spec = json!({
            "controller": namespace, "title": name, "categories": ["Demographics"],
            "personalData": personal, "specialCategory": patient, "confidentialPatientInfo": patient,
            "legallyRestricted": false, "childrensData": false, "identifiability": "Identifiable",
            "dataItems": [{"name": "one", "justification": "it is needed"}],
            "endpoint": {"podSelector": {"matchLabels": {"app": name}}, "ports": [{"port": 8443}]},
        });
        if random.chance(5) {
            let flag =
                random.pick(&["legallyRestricted", "childrensData", "specialCategory", "personalData"]);
            let now = spec[flag].as_bool().unwrap();
            spec[flag] = json!(!now);
        }
        if random.chance(8) {
            spec["suppression"] = json!({"minCell": random.pick(&[3, 12])});
        }
        if random.chance(4) && name == "tables" {
            spec["derivedFrom"] = json!([{"namespace": "birch", "name": "notes"}]);
        }
        made.push(manifest("DataProduct", namespace, name, spec));
    }
    made
}

fn exception(random: &mut Random) -> Value {
    let rule = random.pick(&["NF-02", "NF-08", "NF-09", "NF-10", "NF-11", "NF-13", "NF-16", "NF-05"]);
    let mut spec = json!({
        "rule": rule, "footprint": random.pick(&["county", "county", "north", "afar"]),
        "approvedBy": "The national body", "reason": "a trial",
        "from": days(-30), "until": days(60), "evaluationDue": days(50),
    });
    match random.below(5) {
        0 => spec["from"] = json!(random.beside(middle())),
        1 => spec["until"] = json!(random.beside(middle())),
        _ => {}
    }
    let sane = spec["from"].as_str() < spec["until"].as_str();
    if !sane {
        spec["from"] = json!(days(-90));
    }
    manifest("FrameworkException", "", "trial", spec)
}

fn agreements(random: &mut Random, framework: &Value) -> Vec<Value> {
    let count = random.pick(&[1, 1, 1, 2, 2, 3]);
    let names = ["first", "second", "third"];
    let accession = random.chance(25);
    let mut made = Vec::new();
    for (index, name) in names.into_iter().enumerate().take(count) {
        let mut spec = agreement(random, framework, index);
        if accession != random.chance(5) {
            spec["accession"] = json!(true);
        }
        if index > 0 && random.chance(85) {
            let target = if random.chance(97) { names[random.below(index)] } else { name };
            spec["supersedes"] = json!({"namespace": "alder", "name": target});
        }
        if index == 0 && count > 1 && random.chance(2) {
            spec["supersedes"] = json!({"namespace": "alder", "name": "second"});
        }
        if random.chance(6) && (spec["supersedes"].is_null() || random.chance(20)) {
            let start: Timestamp = text(&spec["term"]["start"]).parse().unwrap();
            let month = start + SignedDuration::from_hours(24 * 30);
            let expires = if random.chance(70) { month } else { random.beside(month) };
            spec["emergency"] = json!({"reason": "a flood", "expires": expires});
        }
        let mut made_one = manifest("DataSharingAgreement", "alder", name, spec);
        if random.chance(2) {
            made_one["status"] = json!({"supersededBy": {"namespace": "alder", "name": "later"}});
        }
        if random.chance(2) {
            made_one["metadata"]["deletionTimestamp"] = json!(days(-1));
            made_one["metadata"]["finalizers"] = json!(["concordat.dev/closing"]);
        }
        made.push(made_one);
    }
    made
}

fn agreement(random: &mut Random, framework: &Value, index: usize) -> Value {
    let article = |org: &str, role: &str| json!({"org": org, "role": role, "article6": "6(1)(e)", "article9": "9(2)(h)"});
    let mut parties = vec![article("alder", "Controller")];
    if random.chance(60) {
        parties.push(article("birch", "Controller"));
    }
    let mut care = article("care", "Recipient");
    match random.below(4) {
        0 => care["function"] = json!("planning"),
        1 => care["function"] = json!("team"),
        _ => {}
    }
    parties.push(care);
    for (org, percent) in [("help", 45), ("watch", 8), ("force", 8)] {
        if random.chance(percent) {
            parties.push(article(org, "Recipient"));
        }
    }
    if random.chance(10) {
        parties.push(article("vendor", "Processor"));
    }
    if random.chance(6) {
        parties.push(article("alder", "Recipient"));
    }
    if random.chance(5) {
        let row = random.below(parties.len());
        let row = &mut parties[row];
        match random.below(4) {
            0 => drop(row.as_object_mut().unwrap().remove("article6")),
            1 => drop(row.as_object_mut().unwrap().remove("article9")),
            2 => row["article6"] = json!("6(1)(f)"),
            _ => row["article6"] = json!("6(1)(ea)"),
        }
    }
    let mut basis = json!({"basis": "Section251", "reference": "CAG-1", "validUntil": days(350)});
    if random.chance(22) {
        basis["basis"] = json!(random.pick(&[
            "ImpliedConsent",
            "ExplicitConsent",
            "Statutory",
            "PublicInterest",
            "NotConfidential",
        ]));
    }
    let start = [-200, -100, -50][index.min(2)];
    let mut spec = json!({
        "title": "Sharing for care", "reference": format!("TEST-2026-00{}", index + 1), "framework": framework,
        "footprint": "county", "controllerModel": "Independent",
        "purposes": purposes(random, &parties), "parties": parties, "confidentiality": basis,
        "term": {"start": days(start), "end": days(300), "reviewBy": days(100)},
        "dpia": {"reference": "DPIA-1", "approvedOn": days(-300), "reviewBy": days(320)},
        "retention": {"days": 30, "method": "Destroy"}, "onwardSharing": {"allowed": true, "to": ["shire", "force"]},
        "privacyNotice": "https://example.org/privacy", "register": {"publish": true},
        "publicInvolvement": [{"who": "residents", "method": "letter", "date": days(-60), "changed": "fewer items"}],
        "outcomeMeasures": [{"name": "falls", "baseline": "10", "target": "5", "reviewOn": days(100)}],
    });
    for _ in 0..random.pick(&[0, 0, 0, 0, 1, 1, 2]) {
        change_agreement(random, &mut spec);
    }
    spec
}

fn change_agreement(random: &mut Random, spec: &mut Value) {
    let moment = random.beside(middle());
    let start: Timestamp = text(&spec["term"]["start"]).parse().unwrap();
    match random.below(24) {
        0 => spec["term"]["start"] = json!(moment),
        1 if moment > start => spec["term"]["end"] = json!(moment),
        2 => spec["term"]["reviewBy"] = json!(moment),
        3 => {
            let latest = super::gate::months_after(start, 36);
            spec["term"]["end"] = json!(random.beside(latest));
        }
        4 => {
            let latest = super::gate::months_after(middle().max(start), 12);
            spec["term"]["reviewBy"] = json!(random.beside(latest));
        }
        5 => spec["confidentiality"]["validUntil"] = json!(moment),
        6 => drop(spec["confidentiality"].as_object_mut().unwrap().remove("reference")),
        7 => spec["confidentiality"]["optOutExempt"] = json!(true),
        8 => drop(spec.as_object_mut().unwrap().remove("dpia")),
        9 => spec["dpia"]["reviewBy"] = json!(moment),
        10 => spec["dpia"]["approvedOn"] = json!(moment),
        11 => spec["retention"] = json!({"days": random.pick(&[0, 10])}),
        12 => spec["onwardSharing"] = json!({"allowed": false}),
        13 => spec["territories"] = json!(random.pick(&[vec!["GB"], vec!["GB", "IE"], vec!["IE"]])),
        14 => drop(spec.as_object_mut().unwrap().remove("privacyNotice")),
        15 => spec["register"] = json!({"publish": false}),
        16 => drop(spec.as_object_mut().unwrap().remove("publicInvolvement")),
        17 => drop(spec.as_object_mut().unwrap().remove("outcomeMeasures")),
        18 => spec["footprint"] = json!(random.pick(&["north", "south", "afar"])),
        19 => spec["crossBoundary"] = json!({"reason": "people move", "footprints": ["afar"]}),
        20 => {
            spec["footprint"] = json!("north");
            spec["crossBoundary"] = json!({"reason": "people move", "footprints": ["south"]});
        }
        21 => spec["suspend"] = json!(true),
        22 if random.chance(30) => spec["supersededBy"] = json!({"namespace": "alder", "name": "elsewhere"}),
        _ if spec["outcomeMeasures"].is_null() => {}
        _ => spec["outcomeMeasures"][0]["reported"] = json!([{"value": "7", "on": days(-5)}]),
    }
}

fn purposes(random: &mut Random, parties: &[Value]) -> Vec<Value> {
    let holds = |org: &str| parties.iter().any(|it| it["org"] == org && it["role"] == "Controller");
    let products: Vec<Value> = PRODUCTS
        .iter()
        .filter(|(org, _)| holds(org))
        .map(|(namespace, name)| json!({"namespace": namespace, "name": name}))
        .collect();
    let recipients: Vec<Value> = parties
        .iter()
        .filter(|it| it["role"] == "Recipient")
        .map(|it| {
            let mut listed = json!({"org": it["org"]});
            if let Some(function) = it.get("function") {
                listed["function"] = function.clone();
            }
            listed
        })
        .collect();
    let mut codes = vec!["DirectCare", "ProactiveCare", "Planning"];
    codes.push(random.pick(&["Research", "PublicTransparency", "Safeguarding", "Marketing", "PublicHealth"]));
    let codes = random.some(&codes, 45);
    codes
        .into_iter()
        .map(|code| {
            let mut purpose = json!({
                "code": code, "justification": "people are helped", "products": random.some(&products, 60),
                "actions": random.some(&ACTIONS, 45),
                "maxIdentifiability": random.pick(&["AggregateSuppressed", "Pseudonymised", "Identifiable", "Identifiable"]),
            });
            if random.chance(40) {
                purpose["recipients"] = json!(random.some(&recipients, 60));
            }
            if random.chance(50) {
                purpose["roles"] = json!(random.some(&ROLES, 50));
            }
            purpose
        })
        .collect()
}

/// The signatures of a world: right ones mostly.
fn signatures(random: &mut Random, manifests: &mut [Value], national: &National) -> Vec<Value> {
    let world = World::read(manifests);
    let model = Model::new(&world, &national.built_in);
    let mut made = Vec::new();
    // in half of the worlds everybody has signed as they should
    let noise = if random.chance(50) { 100 } else { 2000 };
    for agreement in &world.agreements {
        let mut orgs: Vec<&str> = agreement.spec.parties.iter().map(|it| it.org.as_str()).collect();
        // somebody who has no row in it any more
        if random.chance(4) {
            orgs.push(random.pick(&["birch", "care", "help", "force"]));
        }
        orgs.sort_unstable();
        orgs.dedup();
        let older = random.chance(4);
        for org in orgs {
            let right = terms::hash(agreement, org, &|it| model.products.get(it).map(|it| (*it).clone()));
            let other = |digit: char| format!("sha256:{}", digit.to_string().repeat(64));
            let right = right.unwrap_or_else(|| other('d'));
            let hash = if older && random.chance(80) { other('a') } else { right };
            let name = format!("{}-{org}", agreement.key.name);
            let mut spec = json!({
                "agreement": {"namespace": agreement.key.namespace, "name": agreement.key.name},
                "party": org, "termsHash": hash,
            });
            let codes: Vec<&str> = agreement.spec.purposes.iter().map(|it| it.code.as_str()).collect();
            let mut home = org.to_owned();
            match random.below(noise) {
                0..=4 => spec["state"] = json!("Withdrawn"),
                5..=6 => spec["state"] = json!("Declined"),
                7..=9 => spec["termsHash"] = json!(other('b')),
                10..=14 => continue,
                15..=20 => spec["purposes"] = json!(random.some(&codes, 50)),
                21..=23 => spec["ends"] = json!([{"on": random.beside(middle())}]),
                24..=26 => {
                    spec["ends"] = json!([{"purpose": random.pick(&codes), "on": random.beside(middle())}]);
                }
                27..=28 => made.push(manifest("AgreementSignature", &home, &format!("{name}-again"), spec.clone())),
                29..=32 => home = "shire".to_owned(),
                34 => {
                    made.push(manifest("AgreementSignature", "vendor", &name, spec.clone()));
                    home = "shire".to_owned();
                }
                33 | 35 => home = "nowhere".to_owned(),
                36 => spec["termsHash"] = json!(""),
                37 => spec["state"] = json!("Perhaps"),
                38 => made.push(manifest("AgreementSignature", "shire", &name, json!({
                    "agreement": spec["agreement"], "party": org, "termsHash": spec["termsHash"], "state": "Withdrawn",
                }))),
                39 => {
                    spec["state"] = json!("Withdrawn");
                    spec["purposes"] = json!([codes[0]]);
                }
                _ => {}
            }
            made.push(manifest("AgreementSignature", &home, &name, spec));
        }
    }
    made
}
