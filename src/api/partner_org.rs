//! `PartnerOrg`: one legal body, its functions and their workloads.

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ObjectStatus, PodSelector, shape};

/// The organisation: who it is, whether it may take part, what it does and where it runs.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "concordat.dev",
    version = "v1alpha1",
    kind = "PartnerOrg",
    doc = "PartnerOrg is one legal body that can be a party to agreements: its identity, its assurance, its functions and their workloads. The registry of the system writes it.",
    status = "ObjectStatus",
    derive = "PartialEq",
    shortname = "porg",
    category = "concordat",
    printcolumn = r#"{"name": "Sector", "type": "string", "jsonPath": ".spec.sector"}"#,
    printcolumn = r#"{"name": "State", "type": "string", "jsonPath": ".spec.state"}"#,
    printcolumn = r#"{"name": "Home", "type": "string", "jsonPath": ".spec.homeNamespace"}"#,
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}"#,
    validation = Rule::new("!has(self.spec.successor) || self.spec.successor != self.metadata.name")
        .message("`spec.successor` must be another organisation than this one"),
    validation = Rule::new("!has(self.spec.delegatedSigning) || self.spec.delegatedSigning.all(d, d.to != self.metadata.name)")
        .message("`spec.delegatedSigning[].to` must be another organisation than this one, which signs for itself anyway")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.state != 'Merged' || has(self.successor)")
        .message("`successor` is missing: an organisation that is `Merged` names the one that took its place"),
    validation = Rule::new("!has(self.functions) || self.functions.all(a, self.functions.exists_one(b, b.name == a.name))")
        .message("`functions` has two entries of one `name`: give each function its own"),
    validation = Rule::new("self.identifiers.all(a, self.identifiers.exists_one(b, b.scheme == a.scheme && b.value == a.value))")
        .message("`identifiers` lists one code twice: keep one entry for each `scheme` and `value`")
)]
pub struct PartnerOrgSpec {
    /// The name that people know, such as `Chorley Council`.
    #[schemars(transform = shape::line)]
    pub display_name: String,
    /// What kind of body it is. It describes; no rule may turn on it alone.
    #[schemars(transform = shape::values)]
    pub sector: Sector,
    /// Its codes in public registers, at least one. None has to be an ODS code, so that a charity can take part.
    #[schemars(transform = shape::list(1, 32, shape::choice))]
    pub identifiers: Vec<Identifier>,
    /// Whether it is a public authority. Then it may not rely on `6(1)(f)` or `6(1)(ea)` (Data (Use and Access) Act
    /// 2025, section 70), and it needs a data protection officer (UK GDPR, article 37).
    pub public_authority: bool,
    /// The namespace where its signatures count. No other organisation may have the same.
    #[schemars(transform = shape::label)]
    pub home_namespace: String,
    /// Whether it takes part. All but `Active` close every flow to and from it.
    #[schemars(transform = shape::values)]
    pub state: OrgState,
    /// Name of the PartnerOrg that took its place. Required when `state` is `Merged`. The successor signs agreements
    /// again: nothing passes to it by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::object_name)]
    pub successor: Option<String>,
    /// When the organisation ends. From then on it counts as `Merged` where a `successor` is named, and else as `Dissolved`.
    /// Left out, no end is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_on: Option<Timestamp>,
    /// Names of the PlaceFootprints that it belongs to. Left out, it belongs to none, and only a declared
    /// cross-boundary agreement can include it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = shape::list(0, 64, shape::object_name))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("`footprints` lists one footprint twice: keep one"))]
    pub footprints: Vec<String>,
    /// What it does, as far as data is concerned. Left out, it can sign but no workload of it can receive data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = shape::list(0, 64, shape::choice))]
    pub functions: Vec<Function>,
    /// How its traffic looks to other clusters. Left out, only workloads in the product's own cluster can reach it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = shape::list(0, 32, shape::choice))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, b.cluster == a.cluster))").message("`gateways` has two entries of one `cluster`: put all `cidrs` of a cluster into one entry"))]
    pub gateways: Vec<Gateway>,
    /// What is known of its data security. Left out, nothing is, and a framework may keep confidential patient
    /// information from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assurance: Option<Assurance>,
    /// Its entry in the register of fee payers of the Information Commissioner's Office. Left out, it has none, and
    /// a framework may refuse agreements that name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ico: Option<Ico>,
    /// The mailboxes of those who answer for data: roles, never names of people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub people: Option<People>,
    /// Who may sign for it, for which purposes, until when. Left out, it signs for itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = shape::list(0, 32, shape::choice))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("`delegatedSigning` lists one delegation twice: keep one"))]
    pub delegated_signing: Vec<DelegatedSigning>,
}

/// What kind of body an organisation is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Sector {
    /// A body of the NHS, a GP practice or a primary care network.
    Nhs,
    /// A council or combined authority.
    LocalAuthority,
    /// A voluntary, community or social enterprise body.
    Vcse,
    /// A provider of care that is neither.
    IndependentCare,
    /// A school, college or university.
    Education,
    /// A housing association or provider.
    Housing,
    /// A police force.
    Police,
    /// A supplier of services or systems, as a rule a processor.
    Supplier,
    /// A national body, such as a regulator or department.
    National,
}

impl Sector {
    /// Every sector.
    pub const ALL: [Self; 9] = [
        Self::Nhs,
        Self::LocalAuthority,
        Self::Vcse,
        Self::IndependentCare,
        Self::Education,
        Self::Housing,
        Self::Police,
        Self::Supplier,
        Self::National,
    ];

    /// The value in YAML and Cedar.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nhs => "Nhs",
            Self::LocalAuthority => "LocalAuthority",
            Self::Vcse => "Vcse",
            Self::IndependentCare => "IndependentCare",
            Self::Education => "Education",
            Self::Housing => "Housing",
            Self::Police => "Police",
            Self::Supplier => "Supplier",
            Self::National => "National",
        }
    }
}

/// A code of an organisation in a public register.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.scheme != 'Ods' || self.value.matches('^[A-Z0-9]{3,12}$')")
        .message("`value` of scheme `Ods` must be 3 to 12 capital letters and digits, such as `Z99901`"),
    validation = Rule::new("self.scheme != 'Gss' || self.value.matches('^[A-Z][0-9]{8}$')")
        .message("`value` of scheme `Gss` must be a capital letter and 8 digits, such as `E07000118`"),
    validation = Rule::new("self.scheme != 'CharityCommission' || self.value.matches('^[0-9]{6,8}$')")
        .message("`value` of scheme `CharityCommission` must be 6 to 8 digits"),
    validation = Rule::new("self.scheme != 'CompaniesHouse' || self.value.matches('^[A-Z0-9]{8}$')")
        .message("`value` of scheme `CompaniesHouse` must be 8 capital letters and digits"),
    validation = Rule::new("self.scheme != 'CqcProvider' || self.value.matches('^1-[0-9]{1,20}$')")
        .message("`value` of scheme `CqcProvider` must be `1-` and digits, such as `1-999900001`"),
    validation = Rule::new("self.scheme != 'OrgId' || self.value.matches('^[A-Z]{2,3}-[A-Z0-9]{2,20}-.+$')")
        .message("`value` of scheme `OrgId` must be a country, a register and a code, such as `GB-CHC-9999001`"),
    validation = Rule::new("!has(self.validFrom) || !has(self.validTo) || self.validFrom < self.validTo")
        .message("`validFrom` must be before `validTo`")
)]
pub struct Identifier {
    /// The register that the code comes from.
    #[schemars(transform = shape::values)]
    pub scheme: IdentifierScheme,
    /// The code, in the form of its scheme.
    #[schemars(transform = shape::scheme_value)]
    pub value: String,
    /// When the code began. Left out, it always was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<Timestamp>,
    /// When the code ends. Left out, no end is known. Codes change when boundaries do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<Timestamp>,
}

/// The register that a code of an organisation comes from.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum IdentifierScheme {
    /// Organisation Data Service, 3 to 12 capital letters and digits, such as `Z99901`.
    Ods,
    /// Government Statistical Service, such as `E07000118` for Chorley.
    Gss,
    /// Charity Commission for England and Wales, 6 to 8 digits.
    CharityCommission,
    /// Companies House, 8 capital letters and digits.
    CompaniesHouse,
    /// Care Quality Commission, such as `1-999900001`.
    CqcProvider,
    /// org-id.guide, such as `GB-CHC-9999001`.
    OrgId,
}

/// Whether an organisation takes part.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum OrgState {
    /// It takes part.
    Active,
    /// It is stopped for now; its signatures stay and count again later.
    Suspended,
    /// It is no more. Every flow to and from it is closed for good.
    Dissolved,
    /// It went into another body, which `successor` names.
    Merged,
}

impl OrgState {
    /// The value in YAML and Cedar.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "Active",
            Self::Suspended => "Suspended",
            Self::Dissolved => "Dissolved",
            Self::Merged => "Merged",
        }
    }
}

/// One thing that the organisation does with data, and the workloads that do it.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Function {
    /// Name of the function, once per organisation, such as `care-team`.
    #[schemars(transform = shape::label)]
    pub name: String,
    /// Whether it provides care to the person whose data it is. Implied consent reaches no further than functions that do
    /// (NHS England's guidance on sharing with the voluntary sector).
    pub provides_care: bool,
    /// Where it runs. Left out, nothing of it can receive data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = shape::list(0, 64, shape::choice))]
    pub workloads: Vec<Workload>,
    /// Whether the operator limits what its workloads may reach. Left out, `Unmanaged`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::values)]
    pub egress: Option<Egress>,
}

/// Pods that act for a function. A namespace belongs to one function of one organisation.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// Name of the cluster, as the operator there has it in `--cluster`. Left out, any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::cluster)]
    pub cluster: Option<String>,
    /// The namespace that they run in.
    #[schemars(transform = shape::label)]
    pub namespace: String,
    /// The service accounts that they run as. Left out, all of the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::set(1, 64, shape::object_name))]
    pub service_accounts: Option<Vec<String>>,
    /// Which pods of the namespace are meant. Left out, all. Network policies cannot see service accounts, so give both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<PodSelector>,
}

/// Whether the operator limits what the workloads of a function may reach.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Egress {
    /// The operator writes no egress policies for it.
    #[default]
    Unmanaged,
    /// Its pods may reach DNS and what agreements open, and nothing else.
    Managed,
}

/// The addresses that traffic from one cluster comes from.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Gateway {
    /// Name of the cluster that the traffic leaves.
    #[schemars(transform = shape::cluster)]
    pub cluster: String,
    /// The blocks of addresses that it leaves from, IPv4 or IPv6, such as `203.0.113.0/28`.
    #[schemars(transform = shape::set(1, 64, shape::cidr))]
    pub cidrs: Vec<String>,
}

/// What is known of an organisation's data security.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Assurance {
    /// Its outcome in the Data Security and Protection Toolkit. Left out, it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dspt: Option<Dspt>,
    /// Another assurance, which counts where the framework's `vocabulary.assuranceSchemes` lists its scheme. Left out, none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equivalent: Option<EquivalentAssurance>,
}

/// An outcome in the Data Security and Protection Toolkit of NHS England.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.publishedOn) || !has(self.validUntil) || self.publishedOn <= self.validUntil")
        .message("`publishedOn` must not be after `validUntil`")
)]
pub struct Dspt {
    /// The outcome. `StandardsMet` and `StandardsExceeded` satisfy a rule that asks for it while in date.
    #[schemars(transform = shape::values)]
    pub status: DsptStatus,
    /// When it was published. For the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_on: Option<Timestamp>,
    /// When it lapses, as a rule 30 June of the next year. Left out, it counts as lapsed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Timestamp>,
}

/// An outcome of the Data Security and Protection Toolkit.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum DsptStatus {
    /// Standards Exceeded.
    StandardsExceeded,
    /// Standards Met.
    StandardsMet,
    /// Approaching Standards: a plan is agreed.
    ApproachingStandards,
    /// Standards Not Met.
    StandardsNotMet,
    /// Nothing has been published for this year.
    NotPublished,
}

impl DsptStatus {
    /// The value in YAML and Cedar.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StandardsExceeded => "StandardsExceeded",
            Self::StandardsMet => "StandardsMet",
            Self::ApproachingStandards => "ApproachingStandards",
            Self::StandardsNotMet => "StandardsNotMet",
            Self::NotPublished => "NotPublished",
        }
    }
}

/// An assurance other than the Data Security and Protection Toolkit.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EquivalentAssurance {
    /// The scheme, as the framework lists it, such as `Iso27001`.
    #[schemars(transform = shape::code)]
    pub scheme: String,
    /// Number of the certificate or report.
    #[schemars(transform = shape::line)]
    pub reference: String,
    /// When it lapses.
    pub valid_until: Timestamp,
}

/// An entry in the register of fee payers of the Information Commissioner's Office.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ico {
    /// Whether it pays the data protection fee.
    #[schemars(transform = shape::values)]
    pub status: IcoStatus,
    /// Its registration number, such as `ZA123456`. For the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::ico_number)]
    pub number: Option<String>,
    /// When the registration lapses. Left out, it counts as lapsed, unless `Exempt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Timestamp>,
}

/// Whether an organisation pays the data protection fee.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum IcoStatus {
    /// It pays the fee.
    Registered,
    /// It need not pay the fee (Data Protection (Charges and Information) Regulations 2018).
    Exempt,
}

/// The mailboxes of those who answer for data: roles, never names of people.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct People {
    /// Senior information risk owner, who answers for risk to information. Left out, none, and a framework may refuse
    /// agreements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::mailbox)]
    pub siro: Option<String>,
    /// Caldicott Guardian. Public authorities that handle confidential patient information need one (National Data
    /// Guardian, 2021).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::mailbox)]
    pub caldicott_guardian: Option<String>,
    /// Data protection officer. Public authorities need one (UK GDPR, article 37).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::mailbox)]
    pub dpo: Option<String>,
    /// Information governance lead, who is asked first about an agreement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::mailbox)]
    pub ig_lead: Option<String>,
}

/// Leave for another organisation to sign for this one.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DelegatedSigning {
    /// Name of the PartnerOrg that may sign.
    #[schemars(transform = shape::object_name)]
    pub to: String,
    /// The purposes that it may sign for, such as `DirectCare`.
    #[schemars(transform = shape::list(1, 64, shape::code))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("`purposes` lists one purpose twice: keep one"))]
    pub purposes: Vec<String>,
    /// When the leave ends. What was signed under it stops counting then.
    pub until: Timestamp,
}
