//! A made-up country, as large as one likes: organisations that share many agreements among themselves.
//!
//! The same size, seed and moment always give the same objects. Nothing here reads a clock, a file or a random
//! source. Names, codes and mailboxes are fictional.

#![allow(dead_code, reason = "each bench and test uses its part")]

pub mod shared;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use concordat_api::{DataProductSpec, DataSharingAgreementSpec, ObjectRef};
use concordat_core::snapshot::{Snapshot, Sourced};
use concordat_core::terms;
use jiff::Timestamp;
use kube::Resource;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const SYSTEMS: usize = 8;
const PLACES: usize = 40;
const ORGS: usize = 200;

/// What decides everything.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub agreements: usize,
    pub seed: u64,
    /// The moment around which every date lies.
    pub at: Timestamp,
}

/// How an agreement was meant to stand at the moment.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Fate {
    Active,
    AwaitingSignatures,
    Scheduled,
    Expired,
    Refused,
    Suspended,
}

/// An agreement with the signatures on it.
#[derive(Clone, Debug)]
pub struct Signed {
    pub fate: Fate,
    pub agreement: Value,
    pub signatures: Vec<Value>,
}

/// Every object, as it is applied.
#[derive(Clone, Debug, Default)]
pub struct World {
    pub namespaces: Vec<String>,
    pub places: Vec<Value>,
    pub orgs: Vec<Value>,
    pub products: Vec<Value>,
    pub agreements: Vec<Signed>,
    pub policies: Vec<Value>,
}

/// Numbers that look random and follow from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.roll() % bound).unwrap_or(0)
    }
}

/// One organisation, as the generator thinks of it.
struct Org {
    name: String,
    place: usize,
    care: bool,
    products: Vec<ObjectRef>,
}

fn day(at: Timestamp, days: i64) -> Value {
    // whole days, so that a date reads as somebody would write it
    let second = at.as_second() - at.as_second().rem_euclid(86_400) + days * 86_400;
    Value::String(Timestamp::from_second(second).unwrap_or(at).to_string())
}

fn object(kind: &str, namespace: Option<&str>, name: &str, spec: Value) -> Value {
    let metadata = match namespace {
        Some(namespace) => json!({ "namespace": namespace, "name": name }),
        None => json!({ "name": name }),
    };
    json!({ "apiVersion": "concordat.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec })
}

fn place_name(place: usize) -> String {
    format!("place-{place:02}")
}

fn system_name(system: usize) -> String {
    format!("system-{system}")
}

impl World {
    /// Makes the world of a size.
    pub fn new(size: Size) -> Self {
        let mut dice = Dice(size.seed);
        let mut world = Self::default();
        let orgs = world.organisations(size.at);
        let specs: BTreeMap<ObjectRef, DataProductSpec> = world
            .products
            .iter()
            .filter_map(|product| {
                let reference = serde_json::from_value(product.get("metadata")?.clone()).ok()?;
                Some((reference, serde_json::from_value(product.get("spec")?.clone()).ok()?))
            })
            .collect();
        let specs = specs.iter().map(|(reference, spec)| (reference.clone(), spec)).collect();
        for number in 0..size.agreements {
            let signed = agreement(number, size.at, &orgs, &specs, &mut dice);
            world.agreements.push(signed);
        }
        world.local_policies(size.at, &orgs);
        world
    }

    fn organisations(&mut self, at: Timestamp) -> Vec<Org> {
        self.places.push(object(
            "PlaceFootprint",
            None,
            "north",
            json!({ "tier": "Region", "leadOrg": "org-000" }),
        ));
        for system in 0..SYSTEMS {
            let spec =
                json!({ "tier": "System", "parents": ["north"], "leadOrg": format!("org-{system:03}") });
            self.places.push(object("PlaceFootprint", None, &system_name(system), spec));
        }
        for place in 0..PLACES {
            let namespace = format!("{}-rules", place_name(place));
            let spec = json!({
                "tier": "Place",
                "parents": [system_name(place % SYSTEMS)],
                "leadOrg": format!("org-{place:03}"),
                "policyNamespaces": [namespace],
            });
            self.places.push(object("PlaceFootprint", None, &place_name(place), spec));
            self.namespaces.push(namespace);
        }
        let mut orgs = Vec::new();
        for number in 0..ORGS {
            let (name, place) = (format!("org-{number:03}"), number % PLACES);
            let sector = ["Nhs", "LocalAuthority", "Nhs", "Vcse"][number % 4];
            let care = sector == "Nhs";
            let identifier = match sector {
                "Nhs" if number % 4 == 0 => {
                    json!({ "scheme": "Ods", "value": format!("Z999{:02}", number / 4) })
                }
                "Nhs" => json!({ "scheme": "Ods", "value": format!("U999{:02}", number / 4) }),
                "Vcse" => json!({ "scheme": "CharityCommission", "value": format!("9999{:02}", number / 4) }),
                _ => json!({ "scheme": "OrgId", "value": format!("GB-EXAMPLE-{number:03}") }),
            };
            let egress = if number % 3 == 0 { "Managed" } else { "Unmanaged" };
            let functions: Vec<Value> = ["care", "planning"]
                .iter()
                .map(|function| {
                    let namespace = format!("{name}-{function}");
                    self.namespaces.push(namespace.clone());
                    json!({
                        "name": function,
                        "providesCare": care && *function == "care",
                        "egress": egress,
                        "workloads": [{
                            "namespace": namespace,
                            "serviceAccounts": ["worker"],
                            "podSelector": { "matchLabels": { "app": "worker" } },
                        }],
                    })
                })
                .collect();
            self.namespaces.push(name.clone());
            let mailbox = |role: &str| format!("{role}@{name}.example");
            let spec = json!({
                "displayName": format!("Organisation {number} (fictional)"),
                "sector": sector,
                "identifiers": [identifier],
                "publicAuthority": sector != "Vcse",
                "homeNamespace": name,
                "state": "Active",
                "footprints": [place_name(place)],
                "functions": functions,
                "assurance": { "dspt": { "status": "StandardsMet", "publishedOn": day(at, -150), "validUntil": day(at, 220 + i64::from(u8::try_from(number).unwrap_or(0))) } },
                "ico": { "status": "Registered", "validUntil": day(at, 200) },
                "people": { "siro": mailbox("siro"), "caldicottGuardian": mailbox("caldicott"), "dpo": mailbox("dpo"), "igLead": mailbox("ig-lead") },
            });
            self.orgs.push(object("PartnerOrg", None, &name, spec));
            let mut products = Vec::new();
            for (product, category) in [("register", "Frailty"), ("contacts", "Contact")] {
                let confidential = care && product == "register";
                let spec = json!({
                    "controller": name,
                    "title": format!("The {product} of organisation {number}"),
                    "description": "One row for each person who is known to the service.",
                    "categories": [category, "Demographics"],
                    "personalData": true,
                    "specialCategory": confidential,
                    "confidentialPatientInfo": confidential,
                    "legallyRestricted": false,
                    "childrensData": false,
                    "identifiability": "Identifiable",
                    "dataItems": [
                        { "name": "pseudonym", "justification": "lets the list be worked through without names" },
                        { "name": "age band", "justification": "the offer is for people from 45 to 60" },
                        { "name": "reason band", "justification": "tells a lasting need from a passing one" },
                    ],
                    "endpoint": {
                        "podSelector": { "matchLabels": { "app": format!("{product}-gateway") } },
                        "ports": [{ "port": 8443, "protocol": "TCP" }],
                    },
                    "pep": { "serviceAccounts": ["gateway"] },
                });
                self.products.push(object("DataProduct", Some(&name), product, spec));
                products.push(ObjectRef { namespace: name.clone(), name: product.to_owned() });
            }
            orgs.push(Org { name, place, care, products });
        }
        orgs
    }

    /// A policy of its own for every second place, about the first agreement in force that starts there.
    fn local_policies(&mut self, at: Timestamp, orgs: &[Org]) {
        for place in (0..PLACES).step_by(2) {
            let found = self.agreements.iter().find(|signed| {
                let controller = signed.agreement.pointer("/spec/parties/0/org").and_then(Value::as_str);
                let own = orgs.iter().any(|org| Some(org.name.as_str()) == controller && org.place == place);
                own && signed.fate == Fate::Active
            });
            let Some(Signed { agreement, .. }) = found else { continue };
            let text =
                |path: &str| agreement.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
            let product = format!(
                "{}/{}",
                text("/spec/purposes/0/products/0/namespace"),
                text("/spec/purposes/0/products/0/name")
            );
            let subject = format!(
                "{}/{}",
                text("/spec/purposes/0/recipients/0/org"),
                text("/spec/purposes/0/recipients/0/function")
            );
            let request = json!({
                "subject": { "type": "OrgFunction", "id": subject },
                "action": { "name": "readRecord" },
                "resource": { "type": "DataProduct", "id": product },
                "context": {
                    "purpose": text("/spec/purposes/0/code"), "identifiability": "Pseudonymised",
                    "roles": ["Clinician"], "region": "GB",
                },
            });
            let name = format!("{}-rules", place_name(place));
            let tests: Vec<Value> = [0, 1, 2 + i64::try_from(place % 5).unwrap_or(0)]
                .iter()
                .map(|days| {
                    json!({
                        "name": format!("no one looks without a relationship, {days} days on"),
                        "at": day(at, *days),
                        "request": request,
                        "expect": { "decision": false },
                    })
                })
                .collect();
            let cedar = format!(
                "@id(\"relationship\")\n@reason(\"A person is looked up only by a team that already cares for them\")\n\
                 forbid (\n  principal,\n  action == Concordat::Action::\"readRecord\",\n  \
                 resource == Concordat::DataProduct::\"{product}\"\n)\nunless {{ context.legitimateRelationship }};\n"
            );
            let spec = json!({
                "footprint": place_name(place),
                "owner": format!("ig-lead@{}.example", place_name(place)),
                "reason": "The place wants a relationship behind every look.",
                "reviewBy": day(at, 200),
                "cedar": cedar,
                "tests": tests,
            });
            self.policies.push(object("LocalPolicy", Some(&name), "relationship", spec));
        }
    }

    /// Every object, in an order in which a cluster takes them.
    pub fn manifests(&self) -> impl Iterator<Item = &Value> {
        let Self { namespaces: _, places, orgs, products, agreements, policies } = self;
        let agreements =
            agreements.iter().flat_map(|signed| std::iter::once(&signed.agreement).chain(&signed.signatures));
        places.iter().chain(orgs).chain(products).chain(agreements).chain(policies)
    }

    /// The same as a snapshot, without a file.
    pub fn snapshot(&self) -> Result<Snapshot, serde_json::Error> {
        Ok(Snapshot {
            footprints: live(&self.places)?,
            orgs: live(&self.orgs)?,
            products: live(&self.products)?,
            agreements: live(self.agreements.iter().map(|signed| &signed.agreement))?,
            signatures: live(self.agreements.iter().flat_map(|signed| &signed.signatures))?,
            policies: live(&self.policies)?,
            ..Snapshot::default()
        })
    }

    /// Writes a folder as a Git repository would hold it: one file for an agreement, one for the signatures on it.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        write(&folder.join("places.yaml"), &self.places)?;
        write(&folder.join("organisations.yaml"), &self.orgs)?;
        write(&folder.join("products.yaml"), &self.products)?;
        write(&folder.join("local-policies.yaml"), &self.policies)?;
        for Signed { fate: _, agreement, signatures } in &self.agreements {
            let text = |path: &str| agreement.pointer(path).and_then(Value::as_str).unwrap_or_default();
            let own = folder.join(text("/metadata/namespace")).join(text("/metadata/name"));
            fs::create_dir_all(&own)?;
            write(&own.join("agreement.yaml"), std::iter::once(agreement))?;
            write(&own.join("signatures.yaml"), signatures)?;
        }
        Ok(())
    }
}

fn live<'a, T>(values: impl IntoIterator<Item = &'a Value>) -> Result<Vec<Sourced<T>>, serde_json::Error>
where
    T: DeserializeOwned + Resource<DynamicType = ()>,
{
    values.into_iter().map(|value| Ok(Sourced::live(T::deserialize(value)?))).collect()
}

fn write<'a>(path: &Path, values: impl IntoIterator<Item = &'a Value>) -> io::Result<()> {
    let mut text = String::new();
    for value in values {
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string(value).map_err(io::Error::other)?);
    }
    fs::write(path, text)
}

fn agreement(
    number: usize,
    at: Timestamp,
    orgs: &[Org],
    products: &BTreeMap<ObjectRef, &DataProductSpec>,
    dice: &mut Dice,
) -> Signed {
    let fate = match dice.below(100) {
        0..6 => Fate::AwaitingSignatures,
        6..10 => Fate::Scheduled,
        10..14 => Fate::Expired,
        14..17 => Fate::Refused,
        17..19 => Fate::Suspended,
        _ => Fate::Active,
    };
    // parties of one system: a controller, a recipient, and perhaps a second of each
    let system = dice.below(SYSTEMS);
    let mut pool: Vec<&Org> = orgs.iter().filter(|org| org.place % SYSTEMS == system).collect();
    let mut pick = |dice: &mut Dice| {
        let at = dice.below(pool.len());
        pool.swap_remove(at)
    };
    let controllers: Vec<&Org> = (0..1 + usize::from(dice.below(4) == 0)).map(|_| pick(dice)).collect();
    let recipients: Vec<&Org> = (0..1 + usize::from(dice.below(3) == 0)).map(|_| pick(dice)).collect();
    let function = |purpose: &str| if purpose == "Planning" { "planning" } else { "care" };
    let codes: &[&str] = match dice.below(4) {
        0 => &["DirectCare", "Planning"],
        1 => &["Planning"],
        _ => &["ProactiveCare"],
    };
    let row = |org: &Org, role: &str, function: Option<&str>| {
        let mut row = json!({
            "org": org.name, "role": role, "article6": "6(1)(e)", "article9": "9(2)(h)",
            "schedule1": "Part 1 paragraph 2",
        });
        if let (Some(function), Some(fields)) = (function, row.as_object_mut()) {
            fields.insert("function".to_owned(), json!(function));
        }
        row
    };
    let mut parties: Vec<Value> = controllers.iter().map(|org| row(org, "Controller", None)).collect();
    for code in codes {
        parties.extend(recipients.iter().map(|org| row(org, "Recipient", Some(function(code)))));
    }
    let listed: Vec<&ObjectRef> =
        controllers.iter().flat_map(|org| org.products.iter().take(1 + dice.below(2))).take(2).collect();
    let purposes: Vec<Value> = codes
        .iter()
        .map(|code| {
            let planning = *code == "Planning";
            json!({
                "code": code,
                "justification": "Finds people before a crisis does, and offers them a visit.",
                "products": listed,
                "recipients": recipients.iter().map(|org| json!({ "org": org.name, "function": function(code) })).collect::<Vec<_>>(),
                "actions": if planning { json!(["extract", "queryAggregate"]) } else { json!(["readRecord"]) },
                "roles": if planning { json!(["Analyst"]) } else { json!(["Clinician", "CareCoordinator"]) },
                "maxIdentifiability": "Pseudonymised",
            })
        })
        .collect();
    let (start, end) = match fate {
        Fate::Scheduled => (20, 300),
        Fate::Expired => (-400, -3),
        _ => (
            -60 - i64::try_from(dice.below(60)).unwrap_or(0),
            180 + i64::try_from(dice.below(120)).unwrap_or(0),
        ),
    };
    let lead = controllers.first().map_or("org-000", |org| org.name.as_str());
    let name = format!("share-{number:05}");
    let spec = json!({
        "title": format!("Agreement {number} of a made-up country"),
        "summary": "One team tells another who has asked for help, and people are visited before they lose strength.",
        "reference": format!("SCALE-2026-{number:05}"),
        "framework": { "name": "england", "version": "1.0.0" },
        "footprint": system_name(system),
        "controllerModel": "Independent",
        "parties": parties,
        "confidentiality": { "basis": "Section251", "reference": "26/CAG/9999 (fictional)", "validUntil": day(at, 330) },
        "purposes": purposes,
        "term": { "start": day(at, start), "end": day(at, end), "reviewBy": day(at, 150) },
        "dpia": { "reference": format!("DPIA-{number:05}"), "approvedOn": day(at, -120), "reviewBy": day(at, 240) },
        "retention": { "days": 90, "method": "Destroy" },
        "onwardSharing": { "allowed": false },
        "territories": if fate == Fate::Refused { json!(["GB", "US"]) } else { json!(["GB"]) },
        "privacyNotice": format!("https://{lead}.example/privacy/{name}"),
        "register": { "publish": true },
        "publicInvolvement": [{
            "who": "People who use the service", "method": "Letter and two drop-in mornings",
            "date": day(at, -140), "changed": "The reason is shared as one of four bands.",
        }],
        "outcomeMeasures": [{
            "name": "Unplanned hospital admissions", "baseline": "31 last year",
            "target": "25 or fewer", "reviewOn": day(at, 100),
        }],
        "suspend": fate == Fate::Suspended,
    });
    let mut signers: Vec<&str> = controllers.iter().chain(&recipients).map(|org| org.name.as_str()).collect();
    if fate == Fate::AwaitingSignatures {
        signers.pop();
    }
    let reference = ObjectRef { namespace: lead.to_owned(), name: name.clone() };
    // the hash is that of the terms as somebody reads them from the manifest
    let hash = serde_json::from_value::<DataSharingAgreementSpec>(spec.clone())
        .ok()
        .and_then(|spec| terms::terms_hash(&spec, products, lead).ok())
        .unwrap_or_default();
    let signatures = signers
        .into_iter()
        .map(|org| {
            let spec = json!({
                "agreement": reference, "party": org, "termsHash": hash, "actingRole": "Siro",
                "signedOn": day(at, -70),
            });
            object("AgreementSignature", Some(org), &format!("{lead}.{name}.{org}"), spec)
        })
        .collect();
    Signed { fate, agreement: object("DataSharingAgreement", Some(lead), &name, spec), signatures }
}
