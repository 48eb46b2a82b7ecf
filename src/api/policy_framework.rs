//! `PolicyFramework`: the national rules, versioned.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{FrameworkRef, ObjectStatus, common::is_false, shape};

/// The national rules, as one body issued them under one version. Never edited.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "concordat.dev",
    version = "v1alpha1",
    kind = "PolicyFramework",
    doc = "PolicyFramework is one version of the national rules: guardrails that no place can break, a floor that no place can take away, the vocabulary and the limits. It is named NAME-VERSION and never edited: a change is a new version.",
    status = "ObjectStatus",
    derive = "PartialEq",
    shortname = "pfw",
    category = "concordat",
    printcolumn = r#"{"name": "Version", "type": "string", "jsonPath": ".spec.version"}"#,
    printcolumn = r#"{"name": "Effective", "type": "string", "jsonPath": ".spec.effectiveFrom"}"#,
    printcolumn = r#"{"name": "Retires", "type": "string", "jsonPath": ".spec.retiresOn"}"#,
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}"#,
    validation = Rule::new("self.metadata.name == self.spec.name + '-' + self.spec.version")
        .message("`metadata.name` must be `spec.name`, `-` and `spec.version`, such as `england-1.0.0`"),
    validation = Rule::new("self.spec == oldSelf.spec")
        .message("`spec` of a framework is never edited: publish a new `version` as a new object")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.retiresOn) || self.effectiveFrom < self.retiresOn")
        .message("`retiresOn` must be after `effectiveFrom`"),
    validation = Rule::new("!has(self.supersedes) || self.supersedes.name != self.name || self.supersedes.version != self.version")
        .message("`supersedes` must be another framework or version than this one")
)]
pub struct PolicyFrameworkSpec {
    /// Name of the framework, such as `england`.
    #[schemars(transform = shape::label)]
    pub name: String,
    /// Its version, as semantic versioning writes it, in lower case and without build metadata: `1.0.0`.
    #[schemars(transform = shape::version)]
    pub version: String,
    /// The body that answers for the rules, such as `NHS England`.
    #[schemars(transform = shape::line)]
    pub issuer: String,
    /// When the rules begin. Agreements that name the framework are refused before.
    pub effective_from: Timestamp,
    /// When the rules end. Agreements that name the framework are refused from then on. Left out, no end is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retires_on: Option<Timestamp>,
    /// The framework that this one replaces. For the reader: agreements move when they name the new one. Left out, none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supersedes: Option<FrameworkRef>,
    /// Cedar text by file name, such as `guardrails.cedar`. Each rule carries an `@id` and a `@reason`.
    #[schemars(transform = shape::map(1, 64, shape::cedar))]
    pub policies: BTreeMap<String, String>,
    /// The words that agreements and requests may use.
    pub vocabulary: Vocabulary,
    /// Numbers that rules compare with.
    pub limits: Limits,
    /// Ids of the rules that a FrameworkException may lift, as their `@id` says. Left out, none. Never a rule
    /// annotated `@lift("never")`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = shape::list(0, 128, shape::rule_id))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("`exceptable` lists one rule twice: keep one"))]
    pub exceptable: Vec<String>,
}

/// The words that agreements and requests may use.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Vocabulary {
    /// The purposes that data may, or must never, be used for, at least one.
    #[schemars(transform = shape::list(1, 128, shape::choice))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, b.code == a.code))").message("`purposes` has two entries of one `code`: keep one"))]
    pub purposes: Vec<PurposeDefinition>,
    /// The categories of data products, such as `Frailty`. An unlisted one is a warning. Left out, none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = shape::list(0, 256, shape::code))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("`categories` lists one category twice: keep one"))]
    pub categories: Vec<String>,
    /// The roles of people who ask, such as `CareCoordinator`. An unlisted one is a warning. Left out, none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = shape::list(0, 256, shape::code))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("`roles` lists one role twice: keep one"))]
    pub roles: Vec<String>,
    /// The schemes that count in `assurance.equivalent` of an organisation, such as `Iso27001`. Left out, none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = shape::list(0, 64, shape::code))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("`assuranceSchemes` lists one scheme twice: keep one"))]
    pub assurance_schemes: Vec<String>,
}

/// One purpose.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.individualCare) || !has(self.prohibited) || !(self.individualCare && self.prohibited)")
        .message("`prohibited` and `individualCare` cannot both be true: care is never a prohibited purpose")
)]
pub struct PurposeDefinition {
    /// The word for it in agreements and requests, such as `DirectCare`.
    #[schemars(transform = shape::code)]
    pub code: String,
    /// Whether it is the care of one person. Implied consent reaches no further, and the national data opt-out not as far.
    /// Left out, it is not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub individual_care: bool,
    /// Whether no agreement may ever allow it, such as `Marketing`. Left out, agreements may.
    #[serde(default, skip_serializing_if = "is_false")]
    pub prohibited: bool,
    /// What people call it, such as `Care of one person`.
    #[schemars(transform = shape::line)]
    pub title: String,
}

/// Numbers that rules compare with, and what the clock goes by. All of them are required.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.staleSeconds <= self.staleDirectCareSeconds")
        .message("`staleDirectCareSeconds` must not be shorter than `staleSeconds`")
)]
pub struct Limits {
    /// The longest term of an agreement, in months, such as 36.
    #[schemars(transform = shape::between(1, 1200))]
    pub term_months: i64,
    /// The longest time from one review of an agreement to the next, in months, such as 12.
    #[schemars(transform = shape::between(1, 1200))]
    pub review_months: i64,
    /// How far ahead the review of a local policy may lie, in months, such as 12.
    #[schemars(transform = shape::between(1, 1200))]
    pub local_policy_review_months: i64,
    /// The smallest count that a suppressed table may show, such as 8. A product may ask for more, never for less.
    #[schemars(transform = shape::between(1, 1_000_000))]
    pub min_cell: i64,
    /// The longest life of an emergency agreement, in days, such as 30.
    #[schemars(transform = shape::between(1, 3660))]
    pub emergency_days: i64,
    /// How long a decision point that hears nothing new may go on permitting, in seconds, such as 60.
    #[schemars(transform = shape::between(1, 604_800))]
    pub stale_seconds: i64,
    /// How long it may for direct care, in seconds, such as 3600.
    #[schemars(transform = shape::between(1, 604_800))]
    pub stale_direct_care_seconds: i64,
    /// The time zone of `context.weekday` and `context.localMinute`, as the IANA database names it: `Europe/London`.
    #[schemars(transform = shape::time_zone)]
    pub time_zone: String,
}
