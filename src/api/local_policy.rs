//! `LocalPolicy`: a place's own Cedar text, with its own tests.

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{Condition, PolicyTestCase, shape};

/// What the place rules, who answers for it, and the tests that show it.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "concordat.dev",
    version = "v1alpha1",
    kind = "LocalPolicy",
    doc = "LocalPolicy is a place's own Cedar text, with an owner, a review date and its own tests. It binds only that place's data and people, under the national ceiling and above the national floor.",
    namespaced,
    status = "LocalPolicyStatus",
    derive = "PartialEq",
    shortname = "lpol",
    category = "concordat",
    printcolumn = r#"{"name": "Footprint", "type": "string", "jsonPath": ".spec.footprint"}"#,
    printcolumn = r#"{"name": "Owner", "type": "string", "jsonPath": ".spec.owner"}"#,
    printcolumn = r#"{"name": "ReviewBy", "type": "string", "jsonPath": ".spec.reviewBy"}"#,
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct LocalPolicySpec {
    /// Name of the PlaceFootprint that it binds. The object must be in one of that footprint's `policyNamespaces`.
    #[schemars(transform = shape::object_name)]
    pub footprint: String,
    /// Who answers for it: a body or a role, never a person's name.
    #[schemars(transform = shape::line)]
    pub owner: String,
    /// Why the place wants it, in words that the public may read.
    #[schemars(transform = shape::text)]
    pub reason: String,
    /// When it must be looked at again, at most 12 months ahead. Past it, its forbids stay and its permits go.
    pub review_by: Timestamp,
    /// Cedar policies, at most 64 KiB. Each has an `@id` and a `@reason`. A permit names its agreement at the top of its
    /// `when`: `context.agreement == Concordat::Agreement::"namespace/name"`.
    #[schemars(transform = shape::cedar)]
    pub cedar: String,
    /// Questions and the answers that are expected, at least one. They run on everything there is, with every agreement taken
    /// as signed and unsuspended. A text that fails one is loaded without its permits; its forbids bind all the same.
    #[schemars(transform = shape::list(1, 128, shape::choice))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, b.name == a.name))").message("`tests` has two entries of one `name`: keep one"))]
    pub tests: Vec<PolicyTestCase>,
}

/// What the operator makes of the policy. Written by the operator, and never a source of a permit.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalPolicyStatus {
    /// The generation of the object that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::count)]
    pub observed_generation: Option<i64>,
    /// The last text that was loaded; its forbids stay while a later text cannot be loaded. Left out, none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = shape::cedar)]
    pub loaded: Option<String>,
    /// `Valid` says whether the text is loaded, `Ready` whether its permits count; if not, why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[schemars(transform = shape::list(0, 16, shape::choice))]
    pub conditions: Vec<Condition>,
}
