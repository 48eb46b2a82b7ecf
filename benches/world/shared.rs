//! A shared care record: one agreement with accession, of many practices, many trusts that read their records, and a board
//! that plans with them. All fictional.

use std::collections::BTreeMap;

use concordat_api::{DataProductSpec, DataSharingAgreementSpec, ObjectRef};
use concordat_core::terms;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Fate, Signed, World, day, object};

/// How many take part.
#[derive(Clone, Copy, Debug)]
pub struct Members {
    pub practices: usize,
    pub recipients: usize,
}

impl World {
    /// The record of a county, signed by all.
    pub fn shared_care_record(members: Members, at: Timestamp) -> Self {
        let mut world = Self::default();
        world.places.push(object(
            "PlaceFootprint",
            None,
            "county",
            json!({ "tier": "System", "leadOrg": "board" }),
        ));
        let practices: Vec<String> = (0..members.practices).map(|it| format!("practice-{it:04}")).collect();
        let trusts: Vec<String> = (0..members.recipients).map(|it| format!("trust-{it:04}")).collect();
        for (number, name) in practices.iter().enumerate() {
            world.member(name, &format!("Y9{number:04}"), None, at);
            world.products.push(object("DataProduct", Some(name), "record", record(name)));
        }
        for (number, name) in trusts.iter().enumerate() {
            world.member(name, &format!("T9{number:04}"), Some(("care", true)), at);
        }
        world.member("board", "B90000", Some(("planning", false)), at);
        world.agreements.push(agreement(&world, &practices, &trusts, at));
        world
    }

    fn member(&mut self, name: &str, code: &str, function: Option<(&str, bool)>, at: Timestamp) {
        let mailbox = |role: &str| format!("{role}@{name}.example");
        let functions: Vec<Value> = function
            .into_iter()
            .map(|(function, care)| {
                json!({
                    "name": function, "providesCare": care, "egress": "Managed",
                    "workloads": [{
                        "namespace": format!("{name}-{function}"), "serviceAccounts": ["worker"],
                        "podSelector": { "matchLabels": { "app": "worker" } },
                    }],
                })
            })
            .collect();
        self.namespaces.push(name.to_owned());
        self.namespaces.extend(function.map(|(function, _)| format!("{name}-{function}")));
        let spec = json!({
            "displayName": format!("{name} (fictional)"), "sector": "Nhs",
            "identifiers": [{ "scheme": "OrgId", "value": format!("GB-EXAMPLE-{code}") }],
            "publicAuthority": true, "homeNamespace": name, "state": "Active", "footprints": ["county"],
            "functions": functions,
            "assurance": { "dspt": { "status": "StandardsMet", "publishedOn": day(at, -150), "validUntil": day(at, 220) } },
            "ico": { "status": "Registered", "validUntil": day(at, 200) },
            "people": { "siro": mailbox("siro"), "caldicottGuardian": mailbox("caldicott"), "dpo": mailbox("dpo"), "igLead": mailbox("ig-lead") },
        });
        self.orgs.push(object("PartnerOrg", None, name, spec));
    }
}

fn record(controller: &str) -> Value {
    json!({
        "controller": controller, "title": "The GP record", "description": "The record of everybody on the list.",
        "categories": ["Demographics"], "personalData": true, "specialCategory": true,
        "confidentialPatientInfo": true, "legallyRestricted": false, "childrensData": false,
        "identifiability": "Identifiable",
        "dataItems": [{ "name": "problems", "justification": "who treats somebody has to know of them" }],
        "endpoint": {
            "podSelector": { "matchLabels": { "app": "record-gateway" } },
            "ports": [{ "port": 8443, "protocol": "TCP" }],
        },
        "pep": { "serviceAccounts": ["gateway"] },
    })
}

fn agreement(world: &World, practices: &[String], trusts: &[String], at: Timestamp) -> Signed {
    let row = |org: &str, role: &str, function: Option<&str>| {
        json!({
            "org": org, "role": role, "function": function, "article6": "6(1)(e)", "article9": "9(2)(h)",
            "schedule1": "Part 1 paragraph 2",
        })
    };
    let mut parties: Vec<Value> = practices.iter().map(|it| row(it, "Controller", None)).collect();
    parties.extend(trusts.iter().map(|it| row(it, "Recipient", Some("care"))));
    parties.push(row("board", "Recipient", Some("planning")));
    for party in &mut parties {
        party.as_object_mut().into_iter().for_each(|fields| fields.retain(|_, value| !value.is_null()));
    }
    let products: Vec<Value> =
        practices.iter().map(|it| json!({ "namespace": it, "name": "record" })).collect();
    let readers: Vec<Value> = trusts.iter().map(|it| json!({ "org": it, "function": "care" })).collect();
    let purpose = |code: &str, recipients: Value, actions: Value, roles: Value, level: &str| {
        json!({
            "code": code, "justification": "Who treats somebody sees what others know, and the county plans for all.",
            "products": products, "recipients": recipients, "actions": actions, "roles": roles,
            "maxIdentifiability": level,
        })
    };
    let spec = json!({
        "title": "A shared care record (fictional)", "summary": "Everybody who treats a person sees the record.",
        "reference": "SCR-2026-0001", "framework": { "name": "england", "version": "1.0.0" },
        "footprint": "county", "controllerModel": "Independent", "accession": true, "parties": parties,
        "confidentiality": { "basis": "Section251", "reference": "26/CAG/9999 (fictional)", "validUntil": day(at, 330) },
        "purposes": [
            purpose("DirectCare", json!(readers), json!(["readRecord"]), json!(["Clinician"]), "Identifiable"),
            purpose(
                "Planning",
                json!([{ "org": "board", "function": "planning" }]),
                json!(["extract", "queryAggregate"]),
                json!(["Analyst"]),
                "Pseudonymised",
            ),
        ],
        "term": { "start": day(at, -60), "end": day(at, 200), "reviewBy": day(at, 150) },
        "dpia": { "reference": "DPIA-1", "approvedOn": day(at, -120), "reviewBy": day(at, 240) },
        "retention": { "days": 90, "method": "Destroy" }, "onwardSharing": { "allowed": false },
        "territories": ["GB"], "privacyNotice": "https://board.example/privacy", "register": { "publish": true },
        "publicInvolvement": [{
            "who": "People who use the service", "method": "Letter", "date": day(at, -140), "changed": "Nothing.",
        }],
        "outcomeMeasures": [{ "name": "Repeated tests", "baseline": "31", "target": "25", "reviewOn": day(at, 100) }],
        "suspend": false,
    });
    let typed: DataSharingAgreementSpec =
        serde_json::from_value(spec.clone()).expect("the spec of an agreement");
    let known: BTreeMap<ObjectRef, DataProductSpec> = world
        .products
        .iter()
        .map(|product| {
            let at = serde_json::from_value(product["metadata"].clone()).expect("a name");
            (at, serde_json::from_value(product["spec"].clone()).expect("the spec of a product"))
        })
        .collect();
    let known: BTreeMap<ObjectRef, &DataProductSpec> =
        known.iter().map(|(at, spec)| (at.clone(), spec)).collect();
    let signers = practices.iter().chain(trusts).map(String::as_str).chain(["board"]);
    let signatures = signers
        .map(|org| {
            let hash = terms::terms_hash(&typed, &known, org).expect("a hash");
            let spec = json!({
                "agreement": { "namespace": "board", "name": "record" }, "party": org, "termsHash": hash,
                "actingRole": "Siro", "signedOn": day(at, -70),
            });
            object("AgreementSignature", Some(org), &format!("board.record.{org}"), spec)
        })
        .collect();
    Signed {
        fate: Fate::Active,
        agreement: object("DataSharingAgreement", Some("board"), "record", spec),
        signatures,
    }
}
