//! `DataProduct`: a described data set with an endpoint.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Identifiability, ObjectRef, ObjectStatus, PodSelector, common::is_false, shape};

/// The data: what it is, what the law makes of it, and where to ask for it.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "concordat.dev",
    version = "v1alpha1",
    kind = "DataProduct",
    doc = "DataProduct describes a data set, by the controller that answers for it, and names the pods of the gateway in front of it. Nothing reaches those pods but through an agreement in force.",
    namespaced,
    status = "ObjectStatus",
    derive = "PartialEq",
    shortname = "dprod",
    category = "concordat",
    printcolumn = r#"{"name": "Controller", "type": "string", "jsonPath": ".spec.controller"}"#,
    printcolumn = r#"{"name": "Identifiability", "type": "string", "jsonPath": ".spec.identifiability"}"#,
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!self.confidentialPatientInfo || self.specialCategory")
        .message("`specialCategory` is false and `confidentialPatientInfo` true: set `specialCategory: true`, as confidential patient information is about health"),
    validation = Rule::new("!self.confidentialPatientInfo || self.personalData")
        .message("`personalData` is false and `confidentialPatientInfo` true: set `personalData: true`, as confidential patient information is about people"),
    validation = Rule::new("!self.specialCategory || self.personalData")
        .message("`personalData` is false and `specialCategory` true: set `personalData: true`, as a special category is one of personal data"),
    validation = Rule::new("!self.legallyRestricted || self.personalData")
        .message("`personalData` is false and `legallyRestricted` true: set `personalData: true`, as the restriction protects people"),
    validation = Rule::new("!self.childrensData || self.personalData")
        .message("`personalData` is false and `childrensData` true: set `personalData: true`, as children are people")
)]
pub struct DataProductSpec {
    /// Name of the PartnerOrg that controls the data. This namespace must be one of its own.
    #[schemars(transform = shape::object_name)]
    pub controller: String,
    /// What people call it, such as `Assisted bin collections`.
    #[schemars(transform = shape::line)]
    pub title: String,
    /// What it holds, in plain English. Left out, the title must do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::text)]
    pub description: Option<String>,
    /// What it is about, in words of the framework, such as `Frailty`. An unlisted one is a warning. Left out, none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = shape::list(0, 64, shape::code))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("`categories` lists one category twice: keep one"))]
    pub categories: Vec<String>,
    /// Whether it is about people who can be told apart (UK GDPR, article 4(1)). True wherever one of the next four is.
    pub personal_data: bool,
    /// Whether it holds special category data, such as about health (UK GDPR, article 9).
    pub special_category: bool,
    /// Whether it is confidential patient information: about an identifiable person's health or care, and given in
    /// confidence (NHS Act 2006, section 251). Then it is special category data too.
    pub confidential_patient_info: bool,
    /// Whether a law of its own restricts it beyond that, such as data on gender recognition or fertility treatment.
    pub legally_restricted: bool,
    /// Whether it is about children.
    pub childrens_data: bool,
    /// How closely its rows can be tied to a person.
    #[schemars(transform = shape::values)]
    pub identifiability: Identifiability,
    /// The items that it holds, each with the reason why, at least one. They are part of what parties sign.
    #[schemars(transform = shape::list(1, 200, shape::choice))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, b.name == a.name))").message("`dataItems` has two entries of one `name`: keep one"))]
    pub data_items: Vec<DataItem>,
    /// The products that it was made from. Its flags must be at least the union of theirs. Left out, it is a source.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = shape::list(0, 64, shape::choice))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, b.__namespace__ == a.__namespace__ && b.name == a.name))").message("`derivedFrom` lists one product twice: keep one"))]
    pub derived_from: Vec<ObjectRef>,
    /// How small numbers are hidden in its tables. Left out, the framework's smallest cell holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suppression: Option<Suppression>,
    /// Name of the cluster that serves it, as the operator there has it in `--cluster`. Left out, any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::cluster)]
    pub cluster: Option<String>,
    /// The pods that answer requests for it: the gateway, never the store behind it.
    pub endpoint: Endpoint,
    /// Who may ask the decision point about it. Left out, any service account of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pep: Option<Pep>,
    /// The database that holds the data, for an agent beside it that keeps the database to the grants. No secret belongs
    /// here: the agent has its own. Left out, no agent serves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<Store>,
}

/// One item of a data set.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DataItem {
    /// What the item is, such as `reason band`.
    #[schemars(transform = shape::short_line)]
    pub name: String,
    /// Why it is needed (Caldicott principle 3: the minimum necessary).
    #[schemars(transform = shape::text)]
    pub justification: String,
}

/// How small numbers are hidden in tables.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Suppression {
    /// The smallest count that is shown. A value below the framework's changes nothing. Left out, the framework's holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::between(1, 1_000_000))]
    pub min_cell: Option<i64>,
    /// Counts are rounded to a multiple of this, such as 5. For the reader. Left out, they are not rounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::between(1, 1_000_000))]
    pub round_to: Option<i64>,
}

/// The pods that answer requests for the product.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// Which pods of this namespace they are. Immutable: other pods are another product. Never empty.
    #[x_kube(validation = Rule::new("self == oldSelf").message("`endpoint.podSelector` cannot be changed: other pods are another product, so make a new one"))]
    pub pod_selector: PodSelector,
    /// The ports that an agreement opens, at least one.
    #[schemars(transform = shape::list(1, 16, shape::choice))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, b.port == a.port && (has(b.protocol) ? b.protocol : 'TCP') == (has(a.protocol) ? a.protocol : 'TCP')))").message("`endpoint.ports` lists one port twice: keep one"))]
    pub ports: Vec<EndpointPort>,
}

/// One port.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointPort {
    /// The number of the port, 1 to 65535, such as 8443.
    #[schemars(transform = shape::between(1, 65_535))]
    pub port: i32,
    /// The protocol. Left out, `TCP`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::values)]
    pub protocol: Option<Protocol>,
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Protocol {
    /// Transmission Control Protocol.
    #[default]
    #[serde(rename = "TCP")]
    Tcp,
    /// User Datagram Protocol.
    #[serde(rename = "UDP")]
    Udp,
    /// Stream Control Transmission Protocol.
    #[serde(rename = "SCTP")]
    Sctp,
}

impl Protocol {
    /// The value in a NetworkPolicy.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }
}

/// The policy enforcement point: what asks the decision point before it answers.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pep {
    /// The service accounts of this namespace that may ask. Left out, any of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::list(1, 64, shape::object_name))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("`pep.serviceAccounts` lists one account twice: keep one"))]
    pub service_accounts: Option<Vec<String>>,
}

/// A store of data that an agent keeps to the grants.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Store {
    /// A PostgreSQL database.
    pub postgresql: PostgresqlStore,
}

/// Where a product lies in a PostgreSQL database, and who may log in there.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PostgresqlStore {
    /// Name of the database.
    #[schemars(transform = shape::sql_name)]
    pub database: String,
    /// The tables and views that hold the product, each with how closely its rows can be tied to a person.
    #[schemars(transform = shape::list(1, 256, shape::choice))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, b.schema == a.schema && b.name == a.name))").message("`relations` lists one relation twice: keep one"))]
    pub relations: Vec<StoreRelation>,
    /// The database roles of recipients, which the agent grants to and never makes. Left out, none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = shape::list(0, 256, shape::choice))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, b.role == a.role))").message("`logins` lists one role twice: keep one"))]
    pub logins: Vec<StoreLogin>,
    /// Whether the agent undoes what others have granted on these relations. Left out, it reports them only.
    #[serde(default, skip_serializing_if = "is_false")]
    pub take_over: bool,
}

/// A table or view.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreRelation {
    /// Name of its schema, such as `public`.
    #[schemars(transform = shape::sql_name)]
    pub schema: String,
    /// Its name.
    #[schemars(transform = shape::sql_name)]
    pub name: String,
    /// How closely its rows can be tied to a person.
    #[schemars(transform = shape::values)]
    pub identifiability: Identifiability,
}

/// A database role that acts for a recipient.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreLogin {
    /// Name of the PartnerOrg.
    #[schemars(transform = shape::object_name)]
    pub org: String,
    /// Its function. Left out, every function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::label)]
    pub function: Option<String>,
    /// The role in the database.
    #[schemars(transform = shape::sql_name)]
    pub role: String,
}
