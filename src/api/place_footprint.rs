//! `PlaceFootprint`: a place, system, region or provider collaborative.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ObjectStatus, Sector, common::is_false, shape};

/// The place: its tier, its geography, who leads it and who may rule in it.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "concordat.dev",
    version = "v1alpha1",
    kind = "PlaceFootprint",
    doc = "PlaceFootprint is a place, system, region or provider collaborative: its geography, what it lies in, and which namespaces may hold local policy for it.",
    status = "ObjectStatus",
    derive = "PartialEq",
    shortname = "place",
    category = "concordat",
    printcolumn = r#"{"name": "Tier", "type": "string", "jsonPath": ".spec.tier"}"#,
    printcolumn = r#"{"name": "Lead", "type": "string", "jsonPath": ".spec.leadOrg"}"#,
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}"#,
    validation = Rule::new("!has(self.spec.parents) || !self.spec.parents.exists(p, p == self.metadata.name)")
        .message("`spec.parents` must not list the footprint itself")
)]
#[serde(rename_all = "camelCase")]
pub struct PlaceFootprintSpec {
    /// What kind of place it is. The sizes are what people expect of one; another size is a warning.
    #[schemars(transform = shape::values)]
    pub tier: Tier,
    /// Names of the PlaceFootprints that it lies in, several where a place spans systems. No circles. Left out, none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = shape::list(0, 32, shape::object_name))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("`parents` lists one footprint twice: keep one"))]
    pub parents: Vec<String>,
    /// The areas that it covers. Places need not follow the boundaries of councils. Left out, none is on record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = shape::list(0, 2048, shape::choice))]
    pub geographies: Vec<Geography>,
    /// How many people live there. Left out, not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub population: Option<Population>,
    /// Why the place is right although its population is not what its tier expects. Left out, the odd size is a warning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::text)]
    pub population_justification: Option<String>,
    /// Name of the PartnerOrg that leads it.
    #[schemars(transform = shape::object_name)]
    pub lead_org: String,
    /// Who has a seat where the place decides. Left out, nothing is on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub governance: Option<Governance>,
    /// The namespaces whose LocalPolicy objects count for this footprint. Elsewhere they are an error. Left out, the place
    /// has no local policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = shape::list(0, 64, shape::label))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("`policyNamespaces` lists one namespace twice: keep one"))]
    pub policy_namespaces: Vec<String>,
    /// The sectors that should take part. One that no organisation of the footprint is in is a warning. Left out, none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = shape::list(0, 16, shape::values))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("`expectedSectors` lists one sector twice: keep one"))]
    pub expected_sectors: Vec<Sector>,
    /// What the place calls things, by the word of the framework, such as `ProactiveCare: Neighbourhood health`. The codes
    /// underneath stay national. Left out, the national words are used.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(transform = shape::map(0, 256, shape::line))]
    pub glossary: BTreeMap<String, String>,
}

/// What kind of place a footprint is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Tier {
    /// About 30,000 to 50,000 people, as a primary care network.
    Neighbourhood,
    /// About 250,000 to 500,000 people, as a rule one council.
    Place,
    /// About 500,000 to 3 million people, as an integrated care board.
    System,
    /// A region of NHS England.
    Region,
    /// Providers who work together across places or systems.
    ProviderCollaborative,
}

/// One area.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.scheme != 'Gss' || self.code.matches('^[A-Z][0-9]{8}$')")
        .message("`code` of scheme `Gss` must be a capital letter and 8 digits, such as `E07000118`"),
    validation = Rule::new("self.scheme != 'Ods' || self.code.matches('^[A-Z0-9]{3,12}$')")
        .message("`code` of scheme `Ods` must be 3 to 12 capital letters and digits, such as `QE1`"),
    validation = Rule::new("self.scheme != 'Lsoa' || self.code.matches('^[EW]01[0-9]{6}$')")
        .message("`code` of scheme `Lsoa` must be `E01` or `W01` and 6 digits, such as `E01024967`"),
    validation = Rule::new("!has(self.validFrom) || !has(self.validTo) || self.validFrom < self.validTo")
        .message("`validFrom` must be before `validTo`")
)]
pub struct Geography {
    /// The kind of code.
    #[schemars(transform = shape::values)]
    pub scheme: GeographyScheme,
    /// The code, in the form of its scheme, such as `E07000118`. Codes change when boundaries do.
    #[schemars(transform = shape::scheme_value)]
    pub code: String,
    /// Whether the whole area belongs to the place.
    #[schemars(transform = shape::values)]
    pub share: GeographyShare,
    /// When the code began. Left out, it always was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<Timestamp>,
    /// When the code ends. Left out, no end is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<Timestamp>,
}

/// The kind of code of an area.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum GeographyScheme {
    /// Government Statistical Service: councils, boards, regions.
    Gss,
    /// Organisation Data Service: the area of a board or network.
    Ods,
    /// Lower layer super output area, about 1,500 people.
    Lsoa,
}

impl GeographyScheme {
    /// The value in YAML.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gss => "Gss",
            Self::Ods => "Ods",
            Self::Lsoa => "Lsoa",
        }
    }
}

/// How much of an area belongs to a place.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum GeographyShare {
    /// All of it.
    Full,
    /// A part of it.
    Partial,
}

/// How many people live in a place.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Population {
    /// The number of people.
    #[schemars(transform = shape::between(0, 100_000_000))]
    pub value: i64,
    /// The day that the number is for.
    pub as_of: Timestamp,
    /// Where the number comes from, such as `ONS mid-2024 estimate`.
    #[schemars(transform = shape::line)]
    pub source: String,
}

/// Who has a seat where the place decides.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Governance {
    /// Whether the voluntary sector has a seat. Left out, it has none.
    #[serde(default, skip_serializing_if = "is_false")]
    pub vcse_seat: bool,
    /// Whether lay people have a seat. Left out, they have none.
    #[serde(default, skip_serializing_if = "is_false")]
    pub lay_seat: bool,
    /// Name of the board that decides. Left out, not on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::line)]
    pub board: Option<String>,
}
