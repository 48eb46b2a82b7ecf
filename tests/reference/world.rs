//! The objects of a world as the design page names their fields, read from manifests. What cannot be read is kept as broken.

#![allow(dead_code, reason = "some fields are here because they must be given")]

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// An object's namespace and name. The namespace is empty for cluster-scoped kinds.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
pub struct Ref {
    #[serde(default)]
    pub namespace: String,
    pub name: String,
}

impl std::fmt::Display for Ref {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// An object that can be read.
#[derive(Clone, Debug)]
pub struct Object<T> {
    pub key: Ref,
    /// It has a deletion timestamp.
    pub deleted: bool,
    pub spec: T,
    /// Its spec as it was written.
    pub raw: Value,
    pub status: Value,
}

/// An object that exists and cannot be read.
#[derive(Clone, Debug)]
pub struct Broken {
    pub kind: String,
    pub key: Ref,
    pub spec: Value,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Org {
    pub sector: String,
    pub identifiers: Vec<Value>,
    pub public_authority: bool,
    pub home_namespace: String,
    pub state: String,
    pub successor: Option<String>,
    pub ends_on: Option<Timestamp>,
    #[serde(default)]
    pub footprints: Vec<String>,
    #[serde(default)]
    pub functions: Vec<Function>,
    #[serde(default)]
    pub assurance: Assurance,
    #[serde(default)]
    pub ico: Option<Ico>,
    #[serde(default)]
    pub people: People,
    #[serde(default)]
    pub delegated_signing: Vec<Delegation>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Function {
    pub name: String,
    pub provides_care: bool,
    #[serde(default)]
    pub workloads: Vec<Workload>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    pub cluster: Option<String>,
    pub namespace: String,
    pub service_accounts: Option<Vec<String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct Assurance {
    pub dspt: Option<Dspt>,
    pub equivalent: Option<Equivalent>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dspt {
    pub status: String,
    pub valid_until: Option<Timestamp>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Equivalent {
    pub scheme: String,
    pub valid_until: Timestamp,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ico {
    pub status: String,
    pub valid_until: Option<Timestamp>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct People {
    pub siro: Option<String>,
    pub caldicott_guardian: Option<String>,
    pub dpo: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Delegation {
    pub to: String,
    pub purposes: Vec<String>,
    pub until: Timestamp,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Footprint {
    pub tier: String,
    #[serde(default)]
    pub parents: Vec<String>,
    pub lead_org: String,
    #[serde(default)]
    pub policy_namespaces: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Product {
    pub controller: String,
    pub personal_data: bool,
    pub special_category: bool,
    pub confidential_patient_info: bool,
    pub legally_restricted: bool,
    pub childrens_data: bool,
    pub identifiability: String,
    pub data_items: Vec<Value>,
    #[serde(default)]
    pub derived_from: Vec<Ref>,
    #[serde(default)]
    pub suppression: Suppression,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Suppression {
    pub min_cell: Option<i64>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Agreement {
    pub title: String,
    pub reference: String,
    pub framework: FrameworkName,
    pub footprint: String,
    pub cross_boundary: Option<CrossBoundary>,
    #[serde(default)]
    pub accession: bool,
    pub parties: Vec<Row>,
    pub confidentiality: Confidentiality,
    pub purposes: Vec<Purpose>,
    pub term: Term,
    pub dpia: Option<Dpia>,
    pub retention: Retention,
    pub onward_sharing: Onward,
    pub territories: Option<Vec<String>>,
    pub privacy_notice: Option<String>,
    #[serde(default)]
    pub register: Register,
    #[serde(default)]
    pub public_involvement: Vec<Value>,
    #[serde(default)]
    pub outcome_measures: Vec<Value>,
    pub emergency: Option<Emergency>,
    pub supersedes: Option<Ref>,
    pub superseded_by: Option<Ref>,
    #[serde(default)]
    pub suspend: bool,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct FrameworkName {
    pub name: String,
    pub version: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct CrossBoundary {
    pub footprints: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Row {
    pub org: String,
    pub role: String,
    pub function: Option<String>,
    pub article6: Option<String>,
    pub article9: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Confidentiality {
    pub basis: String,
    pub reference: Option<String>,
    pub valid_until: Timestamp,
    #[serde(default)]
    pub opt_out_exempt: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Purpose {
    pub code: String,
    pub products: Vec<Ref>,
    pub recipients: Option<Vec<RecipientRef>>,
    pub actions: Vec<String>,
    pub roles: Option<Vec<String>>,
    pub max_identifiability: String,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct RecipientRef {
    pub org: String,
    pub function: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Term {
    pub start: Timestamp,
    pub end: Timestamp,
    pub review_by: Timestamp,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dpia {
    pub approved_on: Timestamp,
    pub review_by: Timestamp,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Retention {
    pub days: i64,
    pub method: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Onward {
    pub allowed: bool,
    #[serde(default)]
    pub to: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct Register {
    #[serde(default)]
    pub publish: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Emergency {
    pub expires: Timestamp,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Signature {
    pub agreement: Ref,
    pub party: String,
    pub terms_hash: String,
    pub state: Option<String>,
    pub purposes: Option<Vec<String>>,
    #[serde(default)]
    pub ends: Vec<End>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct End {
    pub purpose: Option<String>,
    pub on: Timestamp,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    pub footprint: String,
    pub review_by: Timestamp,
    pub cedar: String,
    pub tests: Vec<PolicyTest>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct PolicyTest {
    pub at: Option<Timestamp>,
    pub request: Value,
    pub expect: Value,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Exception {
    pub rule: String,
    pub footprint: String,
    pub from: Timestamp,
    pub until: Timestamp,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Framework {
    pub name: String,
    pub version: String,
    pub effective_from: Timestamp,
    pub retires_on: Option<Timestamp>,
    pub exceptable: Vec<String>,
    pub vocabulary: Vocabulary,
    pub limits: Limits,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Vocabulary {
    pub purposes: Vec<PurposeDefinition>,
    #[serde(default)]
    pub assurance_schemes: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PurposeDefinition {
    pub code: String,
    #[serde(default)]
    pub individual_care: bool,
    #[serde(default)]
    pub prohibited: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    pub term_months: i64,
    pub review_months: i64,
    pub local_policy_review_months: i64,
    pub min_cell: i64,
    pub emergency_days: i64,
    pub time_zone: String,
}

/// Everything that there is.
#[derive(Clone, Debug, Default)]
pub struct World {
    pub frameworks: Vec<Object<Framework>>,
    pub exceptions: Vec<Object<Exception>>,
    pub footprints: Vec<Object<Footprint>>,
    pub orgs: Vec<Object<Org>>,
    pub products: Vec<Object<Product>>,
    pub agreements: Vec<Object<Agreement>>,
    pub signatures: Vec<Object<Signature>>,
    pub policies: Vec<Object<Policy>>,
    pub broken: Vec<Broken>,
    /// Every moment that is written anywhere.
    pub dates: BTreeSet<Timestamp>,
}

impl World {
    pub fn read(manifests: &[Value]) -> Self {
        let mut world = Self::default();
        for manifest in manifests {
            dates_in(&manifest["spec"], &mut world.dates);
            let read = match manifest["kind"].as_str().unwrap_or_default() {
                "PolicyFramework" => put(&mut world.frameworks, manifest),
                "FrameworkException" => put(&mut world.exceptions, manifest),
                "PlaceFootprint" => put(&mut world.footprints, manifest),
                "PartnerOrg" => put(&mut world.orgs, manifest),
                "DataProduct" => put(&mut world.products, manifest),
                "DataSharingAgreement" => put(&mut world.agreements, manifest),
                "AgreementSignature" => put(&mut world.signatures, manifest),
                "LocalPolicy" => put(&mut world.policies, manifest),
                _ => true,
            };
            if !read {
                world.broken.push(Broken {
                    kind: text(&manifest["kind"]),
                    key: key(manifest),
                    // of one without any field nothing can be told
                    spec: if manifest["spec"] == json!({}) { Value::Null } else { manifest["spec"].clone() },
                });
            }
        }
        world
    }
}

pub fn key(manifest: &Value) -> Ref {
    Ref { namespace: text(&manifest["metadata"]["namespace"]), name: text(&manifest["metadata"]["name"]) }
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Empty or nothing but blanks, which say the same.
pub fn is_blank(text: Option<&str>) -> bool {
    text.is_none_or(|it| it.trim().is_empty())
}

fn put<T: DeserializeOwned>(list: &mut Vec<Object<T>>, manifest: &Value) -> bool {
    let spec = &manifest["spec"];
    if has_flaw(spec) {
        return false;
    }
    let Ok(read) = serde_json::from_value(spec.clone()) else { return false };
    list.push(Object {
        key: key(manifest),
        deleted: !manifest["metadata"]["deletionTimestamp"].is_null(),
        spec: read,
        raw: spec.clone(),
        status: manifest["status"].clone(),
    });
    true
}

/// What no kind may hold: a null, an empty text where one is, a text of blanks where one is required, a list that holds a
/// thing twice. Where lists may not be empty, an empty one is a flaw as well.
fn has_flaw(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => {
            let distinct: BTreeSet<String> = items.iter().map(Value::to_string).collect();
            distinct.len() != items.len() || items.iter().any(has_flaw)
        }
        Value::Object(fields) => {
            const NEVER_EMPTY: [&str; 11] = [
                "purposes",
                "products",
                "recipients",
                "actions",
                "roles",
                "parties",
                "territories",
                "dataItems",
                "identifiers",
                "ports",
                "tests",
            ];
            fields.iter().any(|(name, value)| {
                let request = name == "request" || name == "expect";
                !request
                    && (has_flaw(value)
                        || (NEVER_EMPTY.contains(&name.as_str())
                            && value.as_array().is_some_and(Vec::is_empty)))
            })
        }
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn dates_in(value: &Value, dates: &mut BTreeSet<Timestamp>) {
    match value {
        Value::String(text) => dates.extend(text.parse::<Timestamp>().ok()),
        Value::Array(items) => items.iter().for_each(|it| dates_in(it, dates)),
        Value::Object(fields) => fields.values().for_each(|it| dates_in(it, dates)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Where an organisation has got to by a moment: its state, and `endsOn` once it has come.
pub fn state(org: &Org, at: Timestamp) -> &str {
    match org.ends_on {
        Some(ends) if ends <= at && (org.state == "Active" || org.state == "Suspended") => {
            if org.successor.is_some() { "Merged" } else { "Dissolved" }
        }
        _ => &org.state,
    }
}

/// 0 to 3, as identifiability is ranked.
pub fn rank(level: &str) -> i64 {
    match level {
        "AggregateSuppressed" => 0,
        "AggregateSmallNumbers" => 1,
        "Pseudonymised" => 2,
        _ => 3,
    }
}
