//! The texts of a request and an answer: an OpenID AuthZEN Authorization API 1.0 evaluation.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    DecisionTier, Identifiability,
    common::{is_default, is_false},
    shape,
};

/// A question: may this subject do this to that product, in this context?
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = shape::open)]
pub struct AccessRequest {
    /// Who asks.
    pub subject: Subject,
    /// What they want to do.
    pub action: RequestAction,
    /// What they want it of.
    pub resource: RequestResource,
    /// What is known of the request. Left out, every value is the safe one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub context: RequestContext,
}

/// Who asks.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = shape::open)]
pub struct Subject {
    /// What kind of subject it is.
    #[serde(rename = "type")]
    #[schemars(transform = shape::values)]
    pub type_: SubjectType,
    /// `cluster/namespace/serviceAccount` of a Workload, `org/function` of an OrgFunction.
    #[schemars(transform = shape::entity_id)]
    pub id: String,
}

/// What kind of subject asks.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum SubjectType {
    /// A service account of a namespace in a cluster.
    Workload,
    /// A function of an organisation, whichever workload acts for it.
    OrgFunction,
}

/// What somebody wants to do.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = shape::open)]
pub struct RequestAction {
    /// `readRecord`, `queryAggregate`, `extract`, `reidentify` or `shareOnward`.
    #[schemars(transform = shape::word)]
    pub name: String,
}

/// What somebody wants it of.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = shape::open)]
pub struct RequestResource {
    /// `DataProduct`.
    #[serde(rename = "type")]
    #[schemars(transform = shape::word)]
    pub type_: String,
    /// `namespace/name` of the DataProduct.
    #[schemars(transform = shape::entity_id)]
    pub id: String,
}

/// What the enforcement point knows of the request. Left out, a value is the safe one.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = shape::open)]
pub struct RequestContext {
    /// What the data is wanted for, such as `DirectCare`. Left out or empty, nothing permits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::optional_line)]
    pub purpose: Option<String>,
    /// The closest that the answer will be tied to a person. Left out, `Identifiable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::values)]
    pub identifiability: Option<Identifiability>,
    /// The roles of the person who asks, such as `CareCoordinator`. Left out, none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = shape::list(0, 64, shape::line))]
    pub roles: Vec<String>,
    /// Whether the person asked about is in the asker's care. Left out, no.
    #[serde(default, skip_serializing_if = "is_false")]
    pub legitimate_relationship: bool,
    /// Whether the person asked about agreed to this. Left out, no.
    #[serde(default, skip_serializing_if = "is_false")]
    pub explicit_consent: bool,
    /// Whether those who opted out have been left out (national data opt-out). Left out, no.
    #[serde(default, skip_serializing_if = "is_false")]
    pub opt_outs_applied: bool,
    /// The smallest count above zero in the table that is wanted. Left out, 1 for `queryAggregate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::between(0, 1_000_000_000))]
    pub min_cell_count: Option<i64>,
    /// The case that it is about, where a rule asks for one. Left out or empty, none. Never an NHS number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::optional_line)]
    pub case_reference: Option<String>,
    /// Whether it is an emergency in which no one can be asked. It is looked at afterwards. Left out, no.
    #[serde(default, skip_serializing_if = "is_false")]
    pub break_glass: bool,
    /// The country where the data will be processed, as ISO 3166-1 alpha-2 writes it. Left out, `ZZ`, which is nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::country)]
    pub region: Option<String>,
    /// Name of the organisation that it is passed on to, for `shareOnward`. Left out, none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::object_name)]
    pub onward_to: Option<String>,
}

/// The answer to an [`AccessRequest`], an AuthZEN evaluation response.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessAnswer {
    pub decision: bool,
    pub context: AnswerContext,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AnswerContext {
    pub tier: DecisionTier,
    /// The `@id` of what decided.
    pub rule: Option<String>,
    /// Every guardrail that fired.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    /// `namespace/name`.
    pub agreement: Option<String>,
    pub reason: String,
    pub near_miss: Option<NearMiss>,
}

/// The permit that came closest, and what it wanted.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NearMiss {
    /// `namespace/name` of the closest agreement, where there is one.
    pub agreement: Option<String>,
    /// The permit that came closest, where one was asked.
    pub rule: Option<String>,
    /// The clause that failed.
    pub clause: String,
    /// The value it saw.
    pub saw: String,
    /// The value it wants.
    pub wants: String,
    /// Who can change that.
    pub who: String,
    /// What has to change besides, in this order. With it, the request is allowed: it was tried.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub then: Vec<NearMissStep>,
    /// Other changes that would do, each with what has to change besides. Each was tried.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub or: Vec<Vec<NearMissStep>>,
    /// Where nothing that was tried helps: everything that is in the way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub obstacles: Vec<String>,
}

/// One of several things that have to change.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NearMissStep {
    /// What was looked at.
    pub clause: String,
    /// The value it saw.
    pub saw: String,
    /// The value it wants.
    pub wants: String,
    /// Who can change that.
    pub who: String,
}
