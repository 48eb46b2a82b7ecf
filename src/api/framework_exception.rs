//! `FrameworkException`: a named rule lifted for a named place until a date.

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{ObjectStatus, shape};

/// Which rule, where, by whose leave and until when.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "concordat.dev",
    version = "v1alpha1",
    kind = "FrameworkException",
    doc = "FrameworkException lifts one national rule for one place until a date. Only the national approver writes it; the framework says which rules may be lifted at all.",
    status = "ObjectStatus",
    derive = "PartialEq",
    shortname = "pfx",
    category = "concordat",
    printcolumn = r#"{"name": "Rule", "type": "string", "jsonPath": ".spec.rule"}"#,
    printcolumn = r#"{"name": "Footprint", "type": "string", "jsonPath": ".spec.footprint"}"#,
    printcolumn = r#"{"name": "Until", "type": "string", "jsonPath": ".spec.until"}"#,
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.from < self.until")
        .message("`until` must be after `from`"),
    validation = Rule::new("self.from < self.evaluationDue")
        .message("`evaluationDue` must be after `from`")
)]
pub struct FrameworkExceptionSpec {
    /// Id of the rule that is lifted, as its `@id` says. The framework must list it in `exceptable`.
    #[schemars(transform = shape::rule_id)]
    pub rule: String,
    /// Name of the PlaceFootprint that it is lifted for. It is lifted for agreements whose footprint lies inside this one.
    #[schemars(transform = shape::object_name)]
    pub footprint: String,
    /// Who approved it: a body or a role, such as `NHS England, Director of Privacy`.
    #[schemars(transform = shape::line)]
    pub approved_by: String,
    /// Why, in words that the public may read.
    #[schemars(transform = shape::text)]
    pub reason: String,
    /// When it begins.
    pub from: Timestamp,
    /// When it ends. There is no exception without an end.
    pub until: Timestamp,
    /// When its effect is to be evaluated.
    pub evaluation_due: Timestamp,
}
