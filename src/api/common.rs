//! Shapes that several kinds share.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shape;

pub(crate) fn is_false(value: &bool) -> bool {
    !*value
}

/// Left out of what is written, and so no `default:` of the schema: see the law on terms in `core::terms`.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A reference to a namespaced object.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize, Hash)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    /// Namespace of the object, such as `chorley-council`.
    #[schemars(transform = shape::label)]
    pub namespace: String,
    /// Name of the object, such as `assisted-bins`.
    #[schemars(transform = shape::object_name)]
    pub name: String,
}

impl std::fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Which pods are meant, by their labels, as in a Kubernetes label selector. Never empty: that would be every pod.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = shape::whole)]
#[x_kube(
    validation = Rule::new("(has(self.matchLabels) && self.matchLabels.size() > 0) || (has(self.matchExpressions) && self.matchExpressions.size() > 0)")
        .message("`podSelector` must not be empty, which would be every pod: give `matchLabels` or `matchExpressions`")
)]
pub struct PodSelector {
    /// Labels that a pod must carry, all of them, such as `app: bins-gateway`. Left out, `matchExpressions` decides.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(transform = shape::map(0, 16, shape::label_value))]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements, all of which must hold. Left out, there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = shape::list(0, 16, shape::choice))]
    pub match_expressions: Vec<PodSelectorRequirement>,
}

impl PodSelector {
    /// Whether nothing is asked of a pod, so that every pod would match.
    pub fn is_empty(&self) -> bool {
        let Self { match_labels, match_expressions } = self;
        match_labels.is_empty() && match_expressions.is_empty()
    }
}

/// One requirement on a pod's labels.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.operator in ['Exists', 'DoesNotExist'] || (has(self.values) && self.values.size() > 0)")
        .message("`values` is missing: operator `In` or `NotIn` needs at least one value"),
    validation = Rule::new("self.operator in ['In', 'NotIn'] || !has(self.values) || self.values.size() == 0")
        .message("`values` must be left out with operator `Exists` or `DoesNotExist`")
)]
pub struct PodSelectorRequirement {
    /// The label's key, such as `app.kubernetes.io/name`.
    #[schemars(transform = shape::label_key)]
    pub key: String,
    /// How the label's value relates to `values`.
    #[schemars(transform = shape::values)]
    pub operator: SelectorOperator,
    /// The values to compare with. Required with `In` and `NotIn`, left out with `Exists` and `DoesNotExist`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = shape::set(0, 16, shape::label_value))]
    pub values: Vec<String>,
}

/// The operators of a label selector.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub enum SelectorOperator {
    /// The label's value is one of `values`.
    In,
    /// The label is not there, or its value is none of `values`.
    NotIn,
    /// The label is there, whatever its value.
    Exists,
    /// The label is not there.
    DoesNotExist,
}

/// How closely data can be tied to a person. The order is the rank that Cedar compares: 0 to 3.
/// Source: the classification used in NHS England's DARS audits.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize, Hash)]
pub enum Identifiability {
    /// Tables with small numbers hidden and the rest rounded. Rank 0.
    AggregateSuppressed,
    /// Tables that still show small numbers. Rank 1.
    AggregateSmallNumbers,
    /// One row for each person, under a pseudonym. Rank 2.
    Pseudonymised,
    /// Names, addresses or numbers that say who a person is. Rank 3.
    Identifiable,
}

impl Identifiability {
    /// The rank in Cedar: 0 (aggregate, suppressed) to 3 (identifiable).
    pub fn rank(self) -> i64 {
        match self {
            Self::AggregateSuppressed => 0,
            Self::AggregateSmallNumbers => 1,
            Self::Pseudonymised => 2,
            Self::Identifiable => 3,
        }
    }
}

/// What may be done with a product. The names are the Cedar action names.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize, Hash)]
#[serde(rename_all = "camelCase")]
pub enum DataAction {
    /// Read one record.
    ReadRecord,
    /// Ask for a table of counts.
    QueryAggregate,
    /// Take a copy of many records.
    Extract,
    /// Turn a pseudonym back into a person.
    Reidentify,
    /// Pass data on to another organisation.
    ShareOnward,
}

impl DataAction {
    /// All actions, in the order of the schema.
    pub const ALL: [Self; 5] =
        [Self::ReadRecord, Self::QueryAggregate, Self::Extract, Self::Reidentify, Self::ShareOnward];

    /// The name in YAML, Cedar and AuthZEN.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadRecord => "readRecord",
            Self::QueryAggregate => "queryAggregate",
            Self::Extract => "extract",
            Self::Reidentify => "reidentify",
            Self::ShareOnward => "shareOnward",
        }
    }
}

impl std::fmt::Display for DataAction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A framework by name and version.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize, Hash)]
#[serde(rename_all = "camelCase")]
pub struct FrameworkRef {
    /// Name of the framework, such as `england`.
    #[schemars(transform = shape::label)]
    pub name: String,
    /// Its version, as semantic versioning writes it: `1.0.0`.
    #[schemars(transform = shape::version)]
    pub version: String,
}

impl std::fmt::Display for FrameworkRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.name, self.version)
    }
}

/// One aspect of an object's state, as Kubernetes conditions have it.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What the condition is about, such as `Ready`.
    #[serde(rename = "type")]
    #[schemars(transform = shape::word)]
    pub type_: String,
    /// Whether it holds.
    #[schemars(transform = shape::values)]
    pub status: ConditionStatus,
    /// The cause in one word, for machines, such as `AwaitingSignatures`.
    #[schemars(transform = shape::word)]
    pub reason: String,
    /// The cause in plain English, and what would help.
    #[schemars(transform = shape::message)]
    pub message: String,
    /// The generation of the object that was looked at. Older than `metadata.generation`: the condition is out of date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::count)]
    pub observed_generation: Option<i64>,
    /// When `status` last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Timestamp>,
}

/// The three values of a condition.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It is not known.
    Unknown,
}

/// What the operator makes of the object. Written by the operator, and never a source of access.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectStatus {
    /// The generation of the object that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::count)]
    pub observed_generation: Option<i64>,
    /// `Valid` says whether the object counts, `Ready` whether what follows from it is in place; if not, why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = shape::list(0, 16, shape::choice))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
